//! `waxseal setup`: questions, the plan for the administrator to see, and what is to be published afterwards.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use attachment_seal::domain::{DomainName, Selector};
use clap::ValueEnum;
use tokio::runtime::Runtime;

use super::table::shown;
use super::{check_config, complain, dns_record, doctor, fail, say_on_stderr};
use crate::config::{self, Config};
use crate::doctor::probe::{self as outgoing, Probe};
use crate::doctor::{Options, examine};
use crate::gateway::setup::Setup;
use crate::setup::probe::{self, Arrival};
use crate::setup::{
    Answers, Applied, CONFIG, Places, STATE, SetupError, Site, Undone, apply, open_journal, read_journal,
    recover, undo,
};

/// Arguments of `setup`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 done, or nothing to do; 1 this Postfix or configuration is left as it is, and the lines to put \
                  in by hand are printed; 2 the command could not do its work, and everything is as it was; 3 Postfix is as it \
                  was, because the gateway must be started first.\n\n\
                  Run it as root. It changes master.cf, waxseal.toml and nothing else of Postfix, shows each change before it \
                  makes it, and changes Postfix only once the gateway listens. Run it again at any time: what is done already \
                  is left alone. If it is interrupted, the next run finishes the work or takes it back."
)]
pub(super) struct Args {
    /// What the gateway does [default: both]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// The domain in your users' addresses, which is sealed for [default: Postfix's mydomain]
    #[arg(long)]
    domain: Option<DomainName>,
    /// The name of the domain's first key [default: today's date]
    #[arg(long)]
    selector: Option<Selector>,
    /// Whom to tell about held mail, or `none`. The test messages go there, too [default: postmaster@DOMAIN]
    #[arg(long, value_name = "ADDRESS")]
    alert: Option<String>,
    /// Whether mail that programs of this machine hand in by `sendmail` is sealed [default: yes]
    #[arg(long, value_enum, value_name = "YES OR NO")]
    sendmail: Option<YesNo>,
    /// The first of four ports on 127.0.0.1 between Postfix and the gateway [default: 10025, or the next that are free]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=65_532))]
    port: Option<u16>,
    /// Ask nothing: take the options, and the defaults for those that are not given
    #[arg(long)]
    yes: bool,
    /// Show each file's changes, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Put everything back as it was; keys stay
    #[arg(long, conflicts_with_all = ["mode", "domain", "selector", "alert", "sendmail", "port", "dry_run"])]
    undo: bool,
    /// Postfix's configuration folder, if it is not the one that `postconf` uses by itself
    #[arg(long, value_name = "DIR")]
    postfix_config: Option<PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// The state folder of a new configuration
    #[arg(long, value_name = "DIR", default_value = STATE)]
    state: PathBuf,
    /// Without systemd: how long to wait for the gateway that you start by hand, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

/// What the gateway is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Seal what users send
    Seal,
    /// Check what arrives
    Verify,
    /// Do both
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        <Self as ValueEnum>::from_str(text, true).map_err(|_| "answer seal, verify or both".to_owned())
    }
}

impl FromStr for YesNo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "yes" | "y" => Ok(Self::Yes),
            "no" | "n" => Ok(Self::No),
            _ => Err("answer yes or no".to_owned()),
        }
    }
}

const WAITING: u8 = 3;

pub(super) fn run(args: &Args) -> ExitCode {
    if !args.dry_run && !rustix::process::geteuid().is_root() {
        return fail("setup changes Postfix's configuration: run it as root, or with --dry-run");
    }
    let done = if args.undo { take_back(args) } else { set_up(args) };
    done.unwrap_or_else(|error| refuse(&error))
}

/// Says why nothing was done, and with which status it ends.
fn refuse(error: &SetupError) -> ExitCode {
    match error {
        SetupError::NotUnderstood { by_hand, .. } => {
            complain(format!("{error}. Nothing was changed. To do it by hand:"));
            say!("{by_hand}");
            ExitCode::from(1)
        }
        SetupError::Waiting(_) => {
            complain(error);
            ExitCode::from(WAITING)
        }
        SetupError::Configuration(mistakes) => {
            check_config::print(mistakes);
            fail(error)
        }
        _ => fail(error),
    }
}

fn tell(line: &str) {
    say!("{line}");
}

fn set_up(args: &Args) -> Result<ExitCode, SetupError> {
    let places = Places {
        config: args.config.clone(),
        state: args.state.clone(),
        postfix: args.postfix_config.clone(),
    };
    let journal = if args.dry_run {
        read_journal(&places)
    } else {
        let journal = open_journal(&places)?;
        recover(&journal, &mut tell)?;
        journal
    };
    let site = Site::look(&places, &journal)?;
    say!("Postfix: {}", site.postfix.folder().display());
    let answers = ask(args, &site)?;
    let plan = site.plan(&answers)?;
    if plan.is_empty() {
        for note in &plan.notes {
            say!("note: {note}");
        }
        say!("Everything is set up already: nothing to change.");
        return Ok(ExitCode::SUCCESS);
    }
    say!("\nThese are the changes:\n\n{}", plan.shown());
    for note in &plan.notes {
        say!("note: {note}");
    }
    if args.dry_run {
        say!("Nothing was changed (--dry-run).");
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes && question("Make these changes (yes, no)", Some(YesNo::Yes), "yes")? != Some(YesNo::Yes) {
        say!("Nothing was changed.");
        return Ok(ExitCode::SUCCESS);
    }
    let applied = apply(&site, plan, &journal, Duration::from_secs(args.wait), &mut tell)?;
    drop(journal);
    look_back(&site, &answers, applied);
    Ok(ExitCode::SUCCESS)
}

/// The options, and answers to what they leave open.
fn ask(args: &Args, site: &Site) -> Result<Answers, SetupError> {
    let usual = site.suggestions();
    let usual_mode = match (usual.seals, usual.verifies) {
        (true, false) => Mode::Seal,
        (false, true) => Mode::Verify,
        _ => Mode::Both,
    };
    let mode = match args.mode {
        Some(mode) => mode,
        None if args.yes => usual_mode,
        None => {
            let name =
                usual_mode.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            let text = "Seal what your users send, check what arrives, or both (seal, verify, both)";
            question(text, Some(usual_mode), &name)?.unwrap_or(usual_mode)
        }
    };
    let (seals, verifies) = (mode != Mode::Verify, mode != Mode::Seal);
    let domain = match &args.domain {
        Some(domain) => Some(domain.clone()),
        None if args.yes || !seals => usual.domain.clone(),
        None => {
            let name = usual.domain.as_ref().map(ToString::to_string).unwrap_or_default();
            question("The domain in your users' addresses", usual.domain.clone(), &name)?
        }
    };
    if seals && domain.is_none() {
        return Err(SetupError::Machine(
            "Postfix's mydomain is no public domain: name the domain in your users' addresses with --domain"
                .to_owned(),
        ));
    }
    let sendmail = match args.sendmail {
        Some(answer) => answer == YesNo::Yes,
        None if args.yes || !seals => usual.sendmail,
        None => {
            let (value, name) = if usual.sendmail { (YesNo::Yes, "yes") } else { (YesNo::No, "no") };
            let text = "Seal mail that programs of this machine hand in by sendmail, too (yes, no)";
            question(text, Some(value), name)? == Some(YesNo::Yes)
        }
    };
    let usual_alert = usual.alert.or_else(|| Some(format!("postmaster@{}", domain.as_ref()?)));
    let alert = match &args.alert {
        Some(alert) => Some(alert.clone()),
        None if args.yes => usual_alert,
        None => {
            let name = usual_alert.clone().unwrap_or_else(|| "none".to_owned());
            let text = "Whom to tell about held mail, and to send test messages to (an address, or none)";
            question(text, Some(name.clone()), &name)?
        }
    };
    let alert = alert.filter(|alert| alert != "none");
    Ok(Answers { seals, verifies, domain, selector: args.selector.clone(), alert, sendmail, port: args.port })
}

/// Asks until there is an answer; an empty one is the default.
fn question<T: FromStr>(text: &str, default: Option<T>, shown: &str) -> Result<Option<T>, SetupError>
where
    T::Err: std::fmt::Display,
{
    loop {
        let _ = write!(
            io::stdout(),
            "{text}{}: ",
            if shown.is_empty() { String::new() } else { format!(" [{shown}]") }
        );
        let _ = io::stdout().flush();
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        if !io::stdin().is_terminal() {
            say!("");
        }
        match read {
            Ok(0) | Err(_) => {
                return Err(SetupError::Machine(
                    "there was no answer; --yes takes the options and the defaults".to_owned(),
                ));
            }
            Ok(_) if line.trim().is_empty() && default.is_some() => return Ok(default),
            Ok(_) => match line.trim().parse() {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => say!("{error}"),
            },
        }
    }
}

/// Shows that it works, and what is left to do.
fn look_back(site: &Site, answers: &Answers, applied: Applied) {
    say!("\nDone. `waxseal setup --undo` puts everything back.");
    let config = match config::load(site.config()) {
        Ok(config) => config,
        Err(mistakes) => return check_config::print(&mistakes),
    };
    let Ok(runtime) = Runtime::new() else { return complain("cannot start the tests: no threads") };
    if answers.seals {
        publish(&config);
    }
    if answers.verifies {
        say!("\nTo have a correspondent's unsealed mail held, pin their key once all their mail is sealed:");
        say!("    waxseal keys pin DOMAIN --fingerprint 'DIGITS'");
    }
    say!("\nwaxseal check-config: {} is good", site.config().display());
    for warning in &config.warnings {
        say!("warning: {warning}");
    }
    say!("\nwaxseal doctor:");
    let postfix = Some(site.postfix.folder().to_owned());
    let findings =
        runtime.block_on(examine(&Options { config: site.config().to_owned(), postfix, time_server: None }));
    say!("{}", doctor::faults(&findings));
    if !applied.is_running || !applied.is_listening {
        let which = if applied.is_listening { "Postfix does" } else { "the gateway does" };
        say!(
            "No test message was sent, because {which} not run. Start it, and then run waxseal doctor --probe ADDRESS."
        );
        return;
    }
    match &answers.alert {
        Some(to) => send_probes(site, answers, to, &runtime),
        None => say!(
            "No test message was sent, because there is no address for it: waxseal doctor --probe ADDRESS sends one."
        ),
    }
}

/// The records of our keys, and what correspondents must know.
fn publish(config: &Config) {
    let setup = match Setup::read(config.clone()) {
        Ok(setup) => setup,
        Err(mistakes) => return check_config::print(&mistakes),
    };
    for own in &setup.domains {
        for (selector, key) in own.keys() {
            say!(
                "\nPublish this record in DNS. Add `; t=y` at its end for a trial (docs/KEYS.md, Publish it):\n"
            );
            dns_record::print(own.name(), &selector, key);
            say!("\nTell your correspondents, and have them compare it by telephone, not by mail:\n");
            say!("    {} seals its attachments. Fingerprint of its key:", own.name());
            say!("    {}", key.fingerprint().digits());
            say!("    {}", key.fingerprint().words());
            say!(
                "    To pin it: waxseal keys pin {} --fingerprint '{}'",
                own.name(),
                key.fingerprint().digits()
            );
        }
    }
}

fn send_probes(site: &Site, answers: &Answers, to: &str, runtime: &Runtime) {
    if answers.seals {
        let probe = Probe {
            config: site.config().to_owned(),
            to: to.to_owned(),
            from: None,
            listener: None,
            server: None,
        };
        match runtime.block_on(outgoing::send(&probe)) {
            Ok(findings) => {
                for finding in &findings {
                    let (subject, detail) = (shown(&finding.subject), shown(&finding.detail));
                    say!("{}: {subject}: {detail}", finding.state.as_str());
                    if let Some(remedy) = &finding.remedy {
                        say!("  -> {}", shown(remedy));
                    }
                }
            }
            Err(error) => {
                say_on_stderr(format_args!("warning: the test message to be sealed was not sent: {error}"));
            }
        }
    }
    if !answers.verifies {
        return;
    }
    match runtime.block_on(probe::arrive(site.config(), site.front_door(), to)) {
        Ok(Arrival::Judged { verdict, done, is_sealed }) => {
            let what = if is_sealed { "sealed with our own key" } else { "without a seal" };
            say!("A test message {what} came in at port 25. The gateway's verdict: {verdict} ({done})");
            if is_sealed && verdict != "pass" {
                say!("Once the record is published, the verdict of such a message is `pass`.");
            }
        }
        Ok(Arrival::Taken) => {
            say!("A test message came in at port 25. The verdict is not known yet: waxseal report shows it.");
        }
        Ok(Arrival::Refused(reply)) => say!("A test message at port 25 was answered: {}", shown(&reply)),
        Err(error) => {
            say_on_stderr(format_args!("warning: the test message to port 25 was not sent: {error}"));
        }
    }
}

fn take_back(args: &Args) -> Result<ExitCode, SetupError> {
    let places = Places {
        config: args.config.clone(),
        state: args.state.clone(),
        postfix: args.postfix_config.clone(),
    };
    let journal = open_journal(&places)?;
    match undo(&journal, &mut tell)? {
        Undone::Nothing => say!("Setup has changed nothing here: there is nothing to undo."),
        Undone::Everything { kept, has_queue } => {
            for path in kept {
                say!("note: {} was edited since, and stays as it is.", path.display());
            }
            if has_queue {
                say!(
                    "note: mail in Postfix's queue may still be bound for the gateway (`mail transport unavailable`). Run postsuper -r ALL"
                );
            }
            let keys = places.config.parent().map(|folder| folder.join("keys")).unwrap_or_default();
            say!("Postfix is as it was before setup. Keys stay in {}.", keys.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
