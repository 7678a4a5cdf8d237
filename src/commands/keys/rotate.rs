//! `waxseal keys rotate`: a new sealing key in the place of the old one, step by step, to be interrupted and gone on with at
//! will.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use attachment_seal::domain::{DomainName, Selector};
use jiff::Timestamp;

use super::super::{ConfigArg, FAILED, check_config, fail};
use crate::clock::second;
use crate::config::Config;
use crate::gateway::setup::Setup;
use crate::keys::shown;
use crate::rotation::reminder::{self, Remains};
use crate::rotation::{Awaits, Ended, Order, RotateError, Rotated, Rotation, Wishes};
use crate::store::{Retired, RotationFile, UnderWay};

/// Arguments of `keys rotate`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The new key's selector [default: the next number, gate2 after gate1]
    #[arg(long)]
    selector: Option<Selector>,
    /// Where to make the new key: a file, or the `pkcs11:` URI of one in a token [default: beside the old one]
    #[arg(long, value_name = "KEY", conflicts_with = "key")]
    out: Option<PathBuf>,
    /// Take a key that was made before, rather than make one: a file, or as `key` in the configuration names it
    #[arg(long, value_name = "KEY")]
    key: Option<PathBuf>,
    /// Ask this name server of the zone, rather than those that its NS records name; repeatable
    #[arg(long, value_name = "IP:PORT")]
    name_server: Vec<SocketAddr>,
    /// Others have the old key: switch as soon as the new one is published, and have the old one revoked
    #[arg(long)]
    compromised: bool,
    /// Do what can be done now, and exit with 3 where something is to be waited for
    #[arg(long)]
    no_wait: bool,
    /// Leave the configuration file alone, and print what to change
    #[arg(long)]
    no_edit: bool,
    /// Seconds between two looks at DNS
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Only say what is under way, and which old keys are in DNS still
    #[arg(long, conflicts_with_all = ["selector", "out", "key", "compromised"])]
    status: bool,
    /// Give up the rotation under way; what was made and published stays
    #[arg(long, conflicts_with_all = ["selector", "out", "key", "compromised", "status"])]
    abandon: bool,
    /// Be reminded no more of this old selector, whose record is gone where the gateway cannot see it
    #[arg(long, value_name = "SELECTOR", conflicts_with_all = ["out", "key", "compromised", "status", "abandon"])]
    gone: Option<Selector>,
    /// The sealing domain [default: the only one of the configuration]
    domain: Option<DomainName>,
}

const HELP: &str = "\
Run it beside the gateway, as root. The gateway's user can run it as well: where that may not write to the key's folder, name \
another with --out; what it cannot change of the configuration is printed, for root to change. It makes a key, prints the record to publish, and waits until \
every name server of the zone and every configured resolver answers with it, and until no resolver can remember that there \
was none. Then it changes the configuration, has the gateway reload, and sees that it seals with the new key. The old record \
must stay as long as mail may be under way; the gateway reminds you when it can go.

Ctrl-C does no harm: run the same command again, and it goes on where it was. Within a day of its end it says only what is \
left to do; for another rotation name the --selector.

Exit status: 0 the new key seals; 2 it cannot go on, stderr says why; 3 something is waited for, run it again.";

/// The exit status of a rotation that goes on another time.
const PENDING: u8 = 3;

pub(super) fn run(args: &Args, config: &Config) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(format!("cannot start: {error}")),
    };
    if args.status {
        return runtime.block_on(status(config)).map_or_else(fail, |()| ExitCode::SUCCESS);
    }
    let domain = match (&args.domain, config.domains.as_slice()) {
        (Some(domain), _) => domain,
        (None, [only]) => &only.name,
        (None, _) => return fail("say whose key is to be rotated: DOMAIN"),
    };
    if args.abandon || args.gone.is_some() {
        return set_aside(args, config, domain).map_or_else(fail, |()| ExitCode::SUCCESS);
    }
    match runtime.block_on(rotate(args, config, domain)) {
        Ok(Ended::Rotated(Rotated { selector, since, old, is_earlier })) => {
            say!("{domain}: the new key {selector} seals since {}", second(since));
            match old {
                Some(old) => say!("{}", farewell(&old)),
                None => say!("nothing is left to do about the old one"),
            }
            if is_earlier {
                say!("nothing was done now; for another rotation within a day name the new --selector");
            }
            ExitCode::SUCCESS
        }
        Ok(Ended::Pending(awaits)) => {
            say!("{}; then run this command again", wanted(awaits));
            ExitCode::from(PENDING)
        }
        Err(RotateError::Mistakes(mistakes)) if !mistakes.is_empty() => {
            check_config::print(&mistakes);
            ExitCode::from(FAILED)
        }
        Err(error) => fail(error),
    }
}

async fn rotate(args: &Args, config: &Config, domain: &DomainName) -> Result<Ended, RotateError> {
    let file = &args.config.config;
    let path = std::path::absolute(file).map_err(|error| RotateError::File { path: file.clone(), error })?;
    let wishes = Wishes {
        selector: args.selector.clone(),
        out: args.out.clone(),
        key: args.key.clone(),
        name_servers: args.name_server.clone(),
        compromised: args.compromised,
        wait: !args.no_wait,
        edit: !args.no_edit,
        every: Duration::from_secs(args.every),
    };
    Rotation::new(config, &path, domain, &wishes, &|line| say!("{line}"))?.run().await
}

/// A reload hands over no credential.
const RESTART: &str = "systemctl daemon-reload && systemctl restart waxseal";

fn wanted(awaits: Awaits) -> String {
    match awaits {
        Awaits::Record => "to be done: publish the record on every name server of the zone".to_owned(),
        Awaits::Resolvers(until) => {
            let until = second(until);
            format!("to be waited for: {until}, when nobody remembers the record's absence")
        }
        Awaits::Delegation => "to be done: have the domain's root vouch for the new key".to_owned(),
        Awaits::Configuration(Order::Reload) => {
            "to be done: change the configuration, and reload the gateway".to_owned()
        }
        Awaits::Configuration(Order::Restart) => {
            format!("to be done: change the configuration, and restart the gateway ({RESTART})")
        }
        Awaits::Gateway(Order::Reload) => {
            "to be done: start the gateway, or reload it (systemctl reload waxseal)".to_owned()
        }
        Awaits::Gateway(Order::Restart) => format!("to be done: restart the gateway ({RESTART})"),
    }
}

/// What is left to do about the old key.
fn farewell(old: &Retired) -> String {
    if old.compromised {
        return reminder::words(old);
    }
    format!(
        "leave {} in DNS until {}; the gateway reminds you then",
        reminder::record_name(old),
        reminder::day(old.remove_after)
    )
}

fn set_aside(args: &Args, config: &Config, domain: &DomainName) -> Result<(), String> {
    let file = RotationFile::new(&config.state);
    let words = |error: &dyn std::error::Error| error.to_string();
    let _at_work = file.begin().map_err(|error| words(&error))?;
    if let Some(selector) = &args.gone {
        let forgotten = file.change(|all| all.forget(domain.as_str(), selector.as_str()));
        if !forgotten.map_err(|error| words(&error))? {
            return Err(format!("{selector} of {domain} is no old key whose record is waited for"));
        }
        say!("{domain}: no more is said of {selector}");
        return Ok(());
    }
    let all = file.read().map_err(|error| words(&error))?;
    let Some(UnderWay { to, key, .. }) = all.of(domain.as_str()) else {
        return Err(format!("no rotation of {domain} is under way"));
    };
    file.change(|all| all.end(domain.as_str())).map_err(|error| words(&error))?;
    say!("{domain}: the rotation to {to} is given up; its key stays in {}", shown(key));
    say!("take its record out of DNS, if it is there");
    Ok(())
}

async fn status(config: &Config) -> Result<(), String> {
    let rotations = RotationFile::new(&config.state).read().map_err(|error| error.to_string())?;
    if rotations.under_way.is_empty() && rotations.retired.is_empty() {
        say!("no rotation is under way, and no old key is in DNS");
        return Ok(());
    }
    for under_way in &rotations.under_way {
        say!("{}", progress(config, under_way));
    }
    let (_, dns) = Setup::read_for_verifying(config)
        .map_err(|mistakes| mistakes.first().map(ToString::to_string).unwrap_or_default())?;
    for old in &rotations.retired {
        let line = match reminder::remains(&dns, old).await {
            Remains::Nothing if old.compromised => format!("{} of {} is revoked", old.selector, old.domain),
            Remains::Nothing => format!("{} of {} is gone from DNS", old.selector, old.domain),
            _ if reminder::is_due(old, Timestamp::now()) => reminder::words(old),
            _ => farewell(old),
        };
        say!("{line}");
    }
    Ok(())
}

fn progress(config: &Config, under_way: &UnderWay) -> String {
    let UnderWay { domain, from, to, began, .. } = under_way;
    let seals = config.domains.iter().find(|own| own.name.as_str() == domain);
    let stage = if seals.is_some_and(|own| own.selector.as_str() == to) {
        "is in the configuration, and the gateway has yet to take it in".to_owned()
    } else {
        match (under_way.published, under_way.settled) {
            (Some(published), Some(settled)) => {
                format!("is published since {}, and may seal from {} on", second(published), second(settled))
            }
            _ => "is not published everywhere".to_owned(),
        }
    };
    format!("{domain}: since {} {to} is to follow {from}; it {stage}", reminder::day(*began))
}
