//! `waxseal quarantine`: held mail listed, shown, exported, released, kept, deleted, while the gateway runs.

mod by;
pub(super) mod deeds;
mod list;
pub(super) mod moment;
mod release;
mod show;

use std::process::ExitCode;

use clap::Subcommand;

pub(super) use self::by::login;
use super::{ConfigArg, complain, fail, partial_config};
use crate::gateway::release::Options;
use crate::phrase::with_causes;
use crate::store::{By, HeldId, State, StoreError};

/// Arguments of `quarantine`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
These commands work while the configuration has a mistake in a section that they do not need. Each mistake is \
printed once, on stderr.";

#[derive(Debug, Subcommand)]
enum Command {
    /// List held mail, oldest first, one line a message, its id first
    List {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        filter: list::FilterArgs,
        /// One JSON object a line, one line a message
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of a message: why it is held, what changed, what to do next, and what was done
    Show {
        #[command(flatten)]
        config: ConfigArg,
        /// One JSON object
        #[arg(long)]
        json: bool,
        /// The message's id, as `list` prints it
        id: String,
    },
    /// Write the exact message to stdout
    Export {
        #[command(flatten)]
        config: ConfigArg,
        /// The message's id, as `list` prints it
        id: String,
    },
    /// Send messages to their next hop, with their envelopes, once
    #[command(after_help = RELEASE_HELP)]
    Release {
        #[command(flatten)]
        config: ConfigArg,
        /// Use the next hop of another listener
        #[arg(long, value_name = "NAME")]
        listener: Option<String>,
        /// Send also to recipients who may have it already, because an earlier attempt was cut short
        #[arg(long)]
        again: bool,
        /// Send only to this recipient of the message; give it once for each
        #[arg(long, value_name = "RECIPIENT")]
        to: Vec<String>,
        #[command(flatten)]
        reason: ReasonArg,
        /// The messages' ids, as `list` prints them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Delete messages
    Delete {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        reason: ReasonArg,
        /// The messages' ids, as `list` prints them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Have messages not removed by age, whatever `[quarantine] keep` is
    Keep {
        #[command(flatten)]
        config: ConfigArg,
        /// Have them removed by age again
        #[arg(long)]
        off: bool,
        #[command(flatten)]
        reason: ReasonArg,
        /// The messages' ids, as `list` prints them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
struct ReasonArg {
    /// Why; it goes on record with your login. At a terminal you are asked for it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl ReasonArg {
    fn by(&self) -> By {
        by::by(self.reason.as_deref())
    }
}

const RELEASE_HELP: &str = "\
The message goes as it was held, with our result on top and without results that pretend to be ours. It stays \
held until every recipient has it, so a refused recipient can be tried again. If the next hop is lost between \
the end of the message and its reply, nobody can know whether it has the message. The command reports that, and \
sends the message again only with --again.

With `release_needs = 2` in [quarantine], the first release is a request. It sends nothing. The second one, by \
another user, sends the message.

Exit status: 0 delivered to all; 1 not to all, and stdout lists the recipients; 2 nothing was sent, and stderr \
has the reason; 3 requested, and another person must release it. Of several messages, the worst: 2, 1, 3, 0.";

pub(super) fn run(args: &Args) -> ExitCode {
    let config = match &args.command {
        Command::List { config, .. }
        | Command::Show { config, .. }
        | Command::Export { config, .. }
        | Command::Release { config, .. }
        | Command::Delete { config, .. }
        | Command::Keep { config, .. } => config,
    };
    let Some((partial, location)) = partial_config(config) else { return ExitCode::from(super::FAILED) };
    let state = State::open(&location);
    let quarantine = &*state.quarantine;
    let done = match &args.command {
        Command::List { filter, json, .. } => list::list(quarantine, filter, *json),
        Command::Show { json, id, .. } => show::show(&partial, &state, id, *json),
        Command::Export { id, .. } => show::export(&state, id),
        Command::Release { listener, again, to, reason, ids, .. } => {
            let options = Options { listener: listener.as_deref(), again: *again, to };
            return release::release(&partial, quarantine, &reason.by(), ids, options);
        }
        Command::Delete { reason, ids, .. } => {
            let by = reason.by();
            each(ids, |id| quarantine.delete(id, &by))
        }
        Command::Keep { off, reason, ids, .. } => {
            let by = reason.by();
            each(ids, |id| quarantine.keep(id, !off, &by))
        }
    };
    done.unwrap_or_else(|error| fail(with_causes(&error)))
}

/// Does something to each message. One that fails keeps nobody from the next.
fn each(ids: &[String], act: impl Fn(&HeldId) -> Result<(), StoreError>) -> Result<ExitCode, StoreError> {
    let ids: Vec<HeldId> = ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    let mut is_done = true;
    for id in &ids {
        if let Err(error) = act(id) {
            complain(with_causes(&error));
            is_done = false;
        }
    }
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) })
}
