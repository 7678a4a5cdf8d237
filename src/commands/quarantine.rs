//! `waxseal quarantine`: held mail listed, shown, exported, released, deleted, while the gateway runs.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::table::shown;
use super::{ConfigArg, FAILED, check_config, complain, fail};
use crate::clock::second;
use crate::config::{self, Config};
use crate::gateway::release;
use crate::phrase::{counted, with_causes};
use crate::store::{By, Filter, Held, HeldId, Listed, Quarantine, State, StoreError};

/// Arguments of `quarantine`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List held mail, one line a message, its id first
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// One JSON object a line, one line a message
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of a message
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
    /// Send a message to its next hop, with its envelope, once
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
        /// The message's id, as `list` prints it
        id: String,
    },
    /// Delete messages
    Delete {
        #[command(flatten)]
        config: ConfigArg,
        /// The messages' ids, as `list` prints them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

pub(super) fn run(args: &Args) -> ExitCode {
    let config = match &args.command {
        Command::List { config, .. }
        | Command::Show { config, .. }
        | Command::Export { config, .. }
        | Command::Release { config, .. }
        | Command::Delete { config, .. } => config,
    };
    let config = match config::load(&config.config) {
        Ok(config) => config,
        Err(mistakes) => {
            check_config::print(&mistakes);
            return ExitCode::from(FAILED);
        }
    };
    let quarantine = &*State::open(&config.state).quarantine;
    let done = match &args.command {
        Command::List { json, .. } => list(quarantine, *json),
        Command::Show { json, id, .. } => show(quarantine, id, *json),
        Command::Export { id, .. } => export(quarantine, id),
        Command::Release { listener, again, id, .. } => {
            let options = release::Options { listener: listener.as_deref(), again: *again };
            return release(&config, quarantine, id, options).unwrap_or_else(fail);
        }
        Command::Delete { ids, .. } => delete(quarantine, ids),
    };
    done.unwrap_or_else(|error| fail(with_causes(&error)))
}

const RELEASE_HELP: &str = "\
The message goes as it was held, with our result on top and without results that pretend to be ours. It stays \
held until every recipient has it, so a refused recipient can be tried again. If the next hop is lost between \
the end of the message and its reply, nobody can know whether it has the message. The command reports that, and \
sends the message again only with --again.

Exit status: 0 delivered to all; 1 not to all, and stdout lists the recipients; 2 nothing was sent, and stderr \
has the reason.";

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    #[serde(flatten)]
    held: &'a Held,
    /// Recipients to whom it was released.
    delivered: Vec<&'a str>,
    /// Recipients to whom a release that was cut short may have delivered it or not.
    in_doubt: Vec<&'a str>,
}

impl<'a> Line<'a> {
    fn new(quarantine: &dyn Quarantine, id: &'a HeldId, held: &'a Held) -> Result<Self, StoreError> {
        let releases = quarantine.releases(id)?;
        let path = |at: &usize| held.recipients.get(*at).map(String::as_str);
        Ok(Self {
            id: id.as_str(),
            held,
            delivered: releases.delivered.iter().filter_map(path).collect(),
            in_doubt: releases.in_doubt.keys().filter_map(path).collect(),
        })
    }
}

fn list(quarantine: &dyn Quarantine, json: bool) -> Result<ExitCode, StoreError> {
    let listing = quarantine.list(&Filter::default(), None, usize::MAX)?;
    for Listed { id, held, .. } in &listing.held {
        let line = if json {
            to_json(&Line::new(quarantine, id, held)?)
        } else {
            let recipients: Vec<String> = held.recipients.iter().map(|path| format!("<{path}>")).collect();
            let words = [
                &id.to_string(),
                &held.verdict,
                &format!("<{}>", held.reverse_path),
                "->",
                &recipients.join(","),
                &held.summary,
            ];
            shown(&words.join(" "))
        };
        say!("{line}");
    }
    for damaged in &listing.damaged {
        complain(with_causes(damaged));
    }
    Ok(if listing.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn to_json(line: &Line<'_>) -> String {
    serde_json::to_string(line).expect("a held message's facts are strings and numbers")
}

fn show(quarantine: &dyn Quarantine, id: &str, json: bool) -> Result<ExitCode, StoreError> {
    let id: HeldId = id.parse()?;
    let held = quarantine.show(&id)?.held;
    let line = Line::new(quarantine, &id, &held)?;
    if json {
        say!("{}", to_json(&line));
        return Ok(ExitCode::SUCCESS);
    }
    let reason = held.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    for (what, value) in [
        ("id", id.to_string()),
        ("verdict", format!("{}{reason}", held.verdict)),
        ("why", held.summary.clone()),
        ("received", second(held.received)),
        ("listener", held.listener.clone()),
        ("client", held.client.to_string()),
        ("from", format!("<{}>", held.reverse_path)),
        ("to", held.recipients.iter().map(|path| format!("<{path}>")).collect::<Vec<_>>().join(", ")),
        ("released to", line.delivered.join(", ")),
        ("in doubt", line.in_doubt.join(", ")),
        ("message-id", held.message_id.clone().unwrap_or_default()),
        ("size", counted(held.size, "octet")),
    ] {
        if !(value.is_empty() && matches!(what, "released to" | "in doubt")) {
            say!("{what:<11} {}", shown(&value));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export(quarantine: &dyn Quarantine, id: &str) -> Result<ExitCode, StoreError> {
    let mut message = quarantine.open_message(&id.parse()?)?;
    let mut out = io::stdout().lock();
    Ok(match io::copy(&mut message, &mut out).and_then(|_| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format!("cannot export: {error}")),
    })
}

fn release(
    config: &Config,
    quarantine: &dyn Quarantine,
    id: &str,
    options: release::Options<'_>,
) -> Result<ExitCode, String> {
    let id: HeldId = id.parse().map_err(|error: StoreError| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let released = runtime
        .block_on(release::release(config, quarantine, &id, &By::default(), options))
        .map_err(|error| with_causes(&error))?;
    for path in &released.delivered {
        say!("{id}: delivered to <{}>", shown(path));
    }
    for (path, reply) in &released.refused {
        say!("{id}: refused for <{}>: {}", shown(path), shown(reply));
    }
    for path in &released.in_doubt {
        say!("{id}: in doubt for <{}>: the next hop was lost before it answered", shown(path));
    }
    let is_done = released.refused.is_empty() && released.in_doubt.is_empty();
    if !is_done {
        say!("{id}: still held for those who have not got it");
    }
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn delete(quarantine: &dyn Quarantine, ids: &[String]) -> Result<ExitCode, StoreError> {
    let ids: Vec<HeldId> = ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    for id in &ids {
        quarantine.delete(id, &By::default())?;
    }
    Ok(ExitCode::SUCCESS)
}
