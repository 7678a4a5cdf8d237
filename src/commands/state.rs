//! `waxseal state`: what the gateway holds, remembers and has to send, checked, backed up, restored, moved.

use std::path::PathBuf;
use std::process::ExitCode;

use bytesize::ByteSize;
use clap::Subcommand;

use super::{ConfigArg, FAILED, check_config, doctor, fail};
use crate::config::{self, Config};
use crate::doctor::examine_state;
use crate::phrase::{counted, with_causes};
use crate::store::{self, Digest, ExchangeError};

/// Arguments of `state`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the database, held mail and the outbox, and print a remedy for each fault
    #[command(after_help = CHECK_HELP)]
    Check {
        #[command(flatten)]
        config: ConfigArg,
        /// One JSON object a line, one line a check: check, subject, state, detail, remedy
        #[arg(long)]
        json: bool,
    },
    /// Write all of it into one new file, while the gateway runs
    #[command(after_help = BACKUP_HELP)]
    Backup {
        #[command(flatten)]
        config: ConfigArg,
        /// The file to make
        file: PathBuf,
    },
    /// Make a state of a backup, where there is none
    #[command(after_help = RESTORE_HELP)]
    Restore {
        #[command(flatten)]
        config: ConfigArg,
        /// The file that `backup` wrote
        file: PathBuf,
    },
    /// Move the state to where another configuration has it: from SQLite to PostgreSQL, or back
    #[command(after_help = MOVE_HELP)]
    Move {
        #[command(flatten)]
        config: ConfigArg,
        /// The configuration that names the new place
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

const CHECK_HELP: &str = "\
Exit status: 0 nothing is wrong, though there may be warnings and checks that could not be made; 1 some problem; \
2 the command could not do its work. It changes nothing.";

const BACKUP_HELP: &str = "\
The file is a tar archive with held mail, the database and pins, as they were at one moment. Only its owner can \
read it. A file that is there already stays as it is. The command reads the archive back before it reports success. \
Sealing keys and the configuration are not in it.";

const RESTORE_HELP: &str = "\
Stop the gateway first. The state must be empty: a new folder, or a new PostgreSQL database. If the command fails, \
it leaves nothing behind. Letters that were sent after the backup are sent again, and mail that was released after \
the backup is held again: look at it before you release it.";

const MOVE_HELP: &str = "\
Stop the gateways of both configurations first. The new place must be empty. The command compares counts and hashes \
before it reports success. It leaves the old state as it is, and marks it, so that no gateway starts with it.";

pub(super) fn run(args: &Args) -> ExitCode {
    let (Command::Check { config, .. }
    | Command::Backup { config, .. }
    | Command::Restore { config, .. }
    | Command::Move { config, .. }) = &args.command;
    let path = &config.config;
    if let Command::Check { json, .. } = &args.command {
        if let Err(error) = std::fs::File::open(path) {
            return fail(format!("{}: {error}", path.display()));
        }
        return doctor::report(&examine_state(path), *json);
    }
    let done = match &args.command {
        Command::Check { .. } => return ExitCode::SUCCESS,
        Command::Backup { file, .. } => load(path).map(|config| {
            told(store::back_up(&config.state, file), &format!("written to {}", file.display()))
        }),
        Command::Restore { file, .. } => load(path).map(|config| {
            told(store::restore(&config.state, file), &format!("restored from {}", file.display()))
        }),
        Command::Move { to, .. } => load(path).and_then(|from| {
            let to_place = load(to)?;
            let moved = store::move_state(&from.state, &to_place.state);
            Ok(told(moved, &format!("moved; start the gateway with {}", to.display())))
        }),
    };
    done.unwrap_or_else(|status| status)
}

/// A configuration; or the exit status, when its mistakes are printed.
fn load(path: &std::path::Path) -> Result<Config, ExitCode> {
    config::load(path).map_err(|mistakes| {
        check_config::print(&mistakes);
        ExitCode::from(FAILED)
    })
}

/// Prints what was done.
fn told(done: Result<Digest, ExchangeError>, what: &str) -> ExitCode {
    let digest = match done {
        Ok(digest) => digest,
        Err(error) => return fail(with_causes(&error)),
    };
    let rows = |table: &str| digest.tables.get(table).map_or(0, |table| table.count);
    say!(
        "{} held ({}), {} remembered, {}, {}: {what}",
        counted(digest.messages.count, "message"),
        ByteSize(digest.octets).display().iec(),
        counted(rows("domain"), "domain"),
        counted(rows("deed"), "deed"),
        counted(rows("letter"), "letter"),
    );
    ExitCode::SUCCESS
}
