//! `waxseal quarantine`: held mail listed, shown, exported, deleted, while the gateway runs.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::table::shown;
use super::{ConfigArg, FAILED, check_config, complain, fail};
use crate::config;
use crate::store::{Held, HeldId, Quarantine, StoreError};

/// Arguments of `quarantine`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One line a message, its id first
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// One JSON object a line, one line a message
        #[arg(long)]
        json: bool,
    },
    /// All that is known of a message
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
        | Command::Delete { config, .. } => config,
    };
    let quarantine = match config::load(&config.config) {
        Ok(config) => Quarantine::open(&config.state),
        Err(mistakes) => {
            check_config::print(&mistakes);
            return ExitCode::from(FAILED);
        }
    };
    let done = match &args.command {
        Command::List { json, .. } => list(&quarantine, *json),
        Command::Show { json, id, .. } => show(&quarantine, id, *json),
        Command::Export { id, .. } => export(&quarantine, id),
        Command::Delete { ids, .. } => delete(&quarantine, ids),
    };
    done.unwrap_or_else(|error| fail(with_source(&error)))
}

fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    #[serde(flatten)]
    held: &'a Held,
}

fn list(quarantine: &Quarantine, json: bool) -> Result<ExitCode, StoreError> {
    let listing = quarantine.list()?;
    for (id, held) in &listing.held {
        let line = if json {
            to_json(id, held)
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
        println!("{line}");
    }
    for damaged in &listing.damaged {
        complain(with_source(damaged));
    }
    Ok(if listing.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn to_json(id: &HeldId, held: &Held) -> String {
    serde_json::to_string(&Line { id: id.as_str(), held })
        .expect("a held message's facts are strings and numbers")
}

fn show(quarantine: &Quarantine, id: &str, json: bool) -> Result<ExitCode, StoreError> {
    let id: HeldId = id.parse()?;
    let held = quarantine.show(&id)?;
    if json {
        println!("{}", to_json(&id, &held));
        return Ok(ExitCode::SUCCESS);
    }
    let reason = held.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    for (what, value) in [
        ("id", id.to_string()),
        ("verdict", format!("{}{reason}", held.verdict)),
        ("why", held.summary.clone()),
        ("received", held.received.to_string()),
        ("listener", held.listener.clone()),
        ("client", held.client.to_string()),
        ("from", format!("<{}>", held.reverse_path)),
        ("to", held.recipients.iter().map(|path| format!("<{path}>")).collect::<Vec<_>>().join(", ")),
        ("message-id", held.message_id.clone().unwrap_or_default()),
        ("size", format!("{} octets", held.size)),
    ] {
        println!("{what:<11} {}", shown(&value));
    }
    Ok(ExitCode::SUCCESS)
}

fn export(quarantine: &Quarantine, id: &str) -> Result<ExitCode, StoreError> {
    let mut message = quarantine.open_message(&id.parse()?)?;
    let mut out = io::stdout().lock();
    Ok(match io::copy(&mut message, &mut out).and_then(|_| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format!("cannot export: {error}")),
    })
}

fn delete(quarantine: &Quarantine, ids: &[String]) -> Result<ExitCode, StoreError> {
    let ids: Vec<HeldId> = ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    for id in &ids {
        quarantine.delete(id)?;
    }
    Ok(ExitCode::SUCCESS)
}
