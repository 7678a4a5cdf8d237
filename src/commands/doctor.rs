//! `waxseal doctor`: everything that a sealed-mail site depends on, checked, with the remedy for each fault.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::table::shown;
use super::{ConfigArg, fail};
use crate::doctor::probe::{self, Probe};
use crate::doctor::{self, Finding, NOT_RUNNING, Options, State};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 nothing is wrong, though there may be warnings and checks that could not \
                  be made; 1 some problem; 2 the command could not do its work.\nRun it as root: another \
                  user cannot see what the service's user may read. It changes nothing, and sends no mail \
                  without --probe."
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// One JSON object a line, one line a check: check, subject, state, detail, remedy
    #[arg(long)]
    json: bool,
    /// Postfix's configuration folder, if it is not the one that `postconf` uses by itself
    #[arg(long, value_name = "DIR")]
    postfix: Option<PathBuf>,
    /// Compare the clock with this time server (SNTP), if not with the one that the machine is synchronised with
    #[arg(long, value_name = "HOST[:PORT]")]
    time_server: Option<String>,
    /// Send a test message to an address that you can read, to find out what becomes of it: through a sealing
    /// listener, or to the server that hands mail to a verifying one; nothing else is checked
    #[arg(long, value_name = "ADDRESS")]
    probe: Option<String>,
    /// The probe's author [default: postmaster at the first sealing domain; for a verifying listener an author
    /// of no domain]
    #[arg(long, value_name = "ADDRESS", requires = "probe")]
    from: Option<String>,
    /// The listener that the probe is for [default: the first that seals, else the first]
    #[arg(long, value_name = "NAME", requires = "probe")]
    listener: Option<String>,
    /// The server that takes mail from outside, for a probe of a verifying listener [default: 127.0.0.1:25]
    #[arg(long, value_name = "HOST[:PORT]", requires = "probe")]
    server: Option<String>,
    /// Compare a probe as it arrived (a file with the whole message) with what was sent; nothing else is
    /// checked
    #[arg(long, value_name = "FILE", conflicts_with_all = ["probe", "postfix"])]
    arrived: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let path = &args.config.config;
    if let Err(error) = std::fs::File::open(path) {
        return fail(format!("{}: {error}", path.display()));
    }
    if let Some(file) = &args.arrived {
        return match probe::arrived(path, file) {
            Ok(findings) => report(&findings, args.json),
            Err(error) => fail(error),
        };
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format!("cannot start: {error}")),
    };
    if let Some(to) = &args.probe {
        let (from, listener, server) = (args.from.clone(), args.listener.clone(), args.server.clone());
        let probe = Probe { config: path.clone(), to: to.clone(), from, listener, server };
        return match runtime.block_on(probe::send(&probe)) {
            Ok(findings) => report(&findings, args.json),
            Err(error) => fail(error),
        };
    }
    let (postfix, time_server) = (args.postfix.clone(), args.time_server.clone());
    let options = Options { config: path.clone(), postfix, time_server };
    let findings = runtime.block_on(doctor::examine(&options));
    report(&findings, args.json)
}

/// Prints the findings; the exit status tells whether something is wrong.
pub(super) fn report(findings: &[Finding], json: bool) -> ExitCode {
    let text = if json { for_programs(findings) } else { for_people(findings) };
    if let Err(error) = io::stdout().lock().write_all(text.as_bytes()) {
        return fail(format!("cannot write: {error}"));
    }
    ExitCode::from(u8::from(findings.iter().any(|finding| finding.state == State::Problem)))
}

fn for_programs(findings: &[Finding]) -> String {
    let line = |finding| serde_json::to_string(finding).expect("a finding holds only strings") + "\n";
    findings.iter().map(line).collect()
}

fn for_people(findings: &[Finding]) -> String {
    listed(findings, |_| true)
}

/// The findings that are to be thought about, for people, and the counts of all.
pub(super) fn faults(findings: &[Finding]) -> String {
    listed(findings, |state| state >= State::Warning)
}

fn listed(findings: &[Finding], is_shown: fn(State) -> bool) -> String {
    let mut text = String::new();
    for finding in findings.iter().filter(|finding| is_shown(finding.state)) {
        let word = paint(finding.state);
        let (check, subject, detail) = (finding.check, shown(&finding.subject), shown(&finding.detail));
        text.push_str(&format!("{word}  {check}: {subject}: {detail}\n"));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("{:WIDTH$}  -> {}\n", "", shown(remedy)));
        }
    }
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let counts = [
        (State::Problem, "problems"),
        (State::Warning, "warnings"),
        (State::NotChecked, "not checked"),
        (State::Ok, "ok"),
    ]
    .map(|(state, name)| format!("{name}: {}", count(state)));
    let is_stopped = findings.iter().any(|finding| finding.detail == NOT_RUNNING);
    let note = if is_stopped { "; the gateway does not run, at one address at least" } else { "" };
    text + "\n" + &counts.join(", ") + note + "\n"
}

/// Columns of the longest state.
const WIDTH: usize = "not checked".len();

/// A state's word in its column, on a terminal in the colour of its weight.
fn paint(state: State) -> String {
    let word = format!("{:WIDTH$}", state.as_str());
    let code = match state {
        State::Ok => "32",
        State::NotChecked => "36",
        State::Warning => "33",
        State::Problem => "31",
    };
    let in_colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if in_colour { format!("\x1b[1;{code}m{word}\x1b[0m") } else { word }
}
