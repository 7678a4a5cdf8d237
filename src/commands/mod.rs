//! The commands: one file each, arguments in, words or JSON out. Nothing is decided here.

/// Prints a line on stdout, see [`say_line`].
macro_rules! say {
    ($($text:tt)*) => { $crate::commands::say_line(format_args!($($text)*)) };
}

mod check_config;
#[cfg(feature = "console")]
mod console;
mod demo;
mod dns_record;
mod doctor;
mod health;
mod judge;
mod keygen;
mod keys;
mod quarantine;
mod report;
mod root;
mod run;
mod scan;
mod seal;
mod setup;
mod state;
mod table;
mod verify;

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use attachment_seal::domain::{DomainName, Selector};
use clap::{Parser, Subcommand};

use crate::config::{self, Partial};
use crate::store::Location;

/// Seals the attachments of mail where it is sent, and checks them where it is received.
#[derive(Debug, Parser)]
#[command(name = "waxseal", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
See it work:          waxseal demo
Set it up:            waxseal setup
Start to seal:        waxseal keygen --domain example.org --selector gate1 --out gate1.pem
Check stored mail:    waxseal verify --keys pins/ message.eml
Run the gateway:      waxseal check-config && waxseal run
Is everything right:  waxseal doctor";

#[derive(Debug, Subcommand)]
enum Command {
    /// Lead the mail of this machine's Postfix through the gateway: key, configuration, Postfix, and a test
    Setup(setup::Args),
    /// Run the gateway
    Run(run::Args),
    /// Send sealed mail through a hostile relay on this machine, and show what is caught
    Demo(demo::Args),
    /// Make a new sealing key, and print the DNS record to publish and the key's fingerprint
    Keygen(keygen::Args),
    /// Print the DNS record of a sealing key
    DnsRecord(dns_record::Args),
    /// Make a domain's offline root key, and vouch for sealing keys with it
    Root(root::Args),
    /// Show the verdicts of the last days, and what was held or would have been
    Report(report::Args),
    /// Manage correspondents' keys and your own
    Keys(keys::Args),
    /// Seal one message: message in, sealed message out
    Seal(seal::Args),
    /// Check stored messages, one by one
    Verify(verify::Args),
    /// Check every message of Maildirs, mbox files and folders, and list what was altered
    Scan(scan::Args),
    /// Read the configuration and print every mistake
    CheckConfig(check_config::Args),
    /// Check everything that sealed mail depends on, and print a remedy for each fault
    Doctor(doctor::Args),
    /// Ask the gateway that runs on this machine whether it is alive, or ready
    Health(health::Args),
    /// List, show, export, release, keep and delete held mail
    Quarantine(quarantine::Args),
    /// Manage the accounts of the console, the pages for people
    #[cfg(feature = "console")]
    Console(console::Args),
    /// Check, back up, restore and move what the gateway holds, remembers and has to send
    State(state::Args),
}

impl Cli {
    /// Runs the command; a command that could not do its work ends with one line on stderr.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Setup(args) => setup::run(&args),
            Command::Run(args) => run::run(&args),
            Command::Demo(args) => demo::run(&args),
            Command::Keygen(args) => keygen::run(&args),
            Command::DnsRecord(args) => dns_record::run(&args),
            Command::Root(args) => root::run(&args),
            Command::Report(args) => report::run(&args),
            Command::Keys(args) => keys::run(&args),
            Command::Seal(args) => seal::run(&args),
            Command::Verify(args) => verify::run(&args),
            Command::Scan(args) => scan::run(&args),
            Command::CheckConfig(args) => check_config::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Health(args) => health::run(&args),
            Command::Quarantine(args) => quarantine::run(&args),
            #[cfg(feature = "console")]
            Command::Console(args) => console::run(&args),
            Command::State(args) => state::run(&args),
        }
    }
}

/// The configuration file's place.
#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/waxseal/waxseal.toml")]
    config: PathBuf,
}

/// The configuration, of which the place of the state is right; each mistake in it is printed, once. `None` if nothing can be done
/// without correcting them.
fn partial_config(config: &ConfigArg) -> Option<(Partial, Location)> {
    let partial = match config::load_parts(&config.config) {
        Ok(partial) => partial,
        Err(mistakes) => {
            check_config::print(&mistakes);
            return None;
        }
    };
    check_config::print(partial.mistakes());
    let location = partial.with(&["state"])?.state.clone();
    Some((partial, location))
}

/// A sealing key, and what it is published as.
#[derive(Debug, clap::Args)]
struct SealingKeyArgs {
    /// The private key: PKCS#8 PEM, readable by its owner alone, or the `pkcs11:` URI of one in a token
    #[arg(long, value_name = "FILE OR URI")]
    key: PathBuf,
    /// The sealing domain: the author's, or a parent of it
    #[arg(long)]
    domain: DomainName,
    /// The key's selector
    #[arg(long)]
    selector: Selector,
}

/// A command that could not do its work.
const FAILED: u8 = 2;

/// Says on stderr why the command could not do its work.
fn fail(reason: impl std::fmt::Display) -> ExitCode {
    complain(reason);
    ExitCode::from(FAILED)
}

/// One line on stderr, whatever the reason holds.
fn complain(reason: impl std::fmt::Display) {
    let line = reason.to_string().replace(['\n', '\r'], " ");
    say_error(format_args!("waxseal: {line}"));
}

/// An error on stderr, with its priority if the journal reads there.
fn say_error(text: std::fmt::Arguments<'_>) {
    say_on_stderr(format_args!("{}{text}", crate::log::error_priority()));
}

/// A line on stderr, which nobody may read any more.
fn say_on_stderr(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A line on stdout. Its reader may have closed it, as in `waxseal report | head -1`: then the command ends,
/// and that is no fault of its own.
fn say_line(text: std::fmt::Arguments<'_>) {
    let Err(error) = writeln!(io::stdout().lock(), "{text}") else { return };
    if error.kind() != io::ErrorKind::BrokenPipe {
        complain(format!("cannot write: {error}"));
    }
    std::process::exit(i32::from(FAILED));
}

/// Whether somebody at the terminal answers yes. A command without a terminal is a script's, which decided before.
fn confirmed(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        return true;
    }
    let mut answer = String::new();
    let asked = write!(io::stderr(), "{question}").and_then(|()| io::stdin().read_line(&mut answer));
    asked.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Writes a new file; an existing one stays as it is.
fn write_new(path: &Path, content: &[u8]) -> Result<(), String> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.map_err(|error| format!("{}: {error}", path.display()))
}
