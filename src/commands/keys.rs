//! `waxseal keys`: what is known of correspondents' keys, what the administrator says of them, and how our own do. All of it works
//! while the gateway runs, which sees a change with the next message.

mod fingerprint;
mod list;
mod pin;
mod revoke;
mod status;

use std::process::ExitCode;

use attachment_seal::domain::DomainName;
use attachment_seal::seal::fingerprint::Told;
use clap::Subcommand;

use super::quarantine::login;
use super::table::shown;
use super::{ConfigArg, FAILED, check_config, complain, confirmed, fail};
use crate::config::{self, Config};
use crate::gateway::correspondents;
use crate::store::{By, KeyRecord, State};

/// Arguments of `keys`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what is pinned and what is remembered, domain by domain
    List(list::Args),
    /// Pin a correspondent's key or root: only the pin is trusted, and its unsealed mail is `missing`
    Pin(pin::Args),
    /// Accept a key that contradicted what was remembered
    Approve(Approve),
    /// Forget what is remembered of a domain, or undo a pin
    Forget(Forget),
    /// Note that a domain sends unsealed mail too, so that its unsealed mail is not flagged from memory alone
    Unsealed(Unsealed),
    /// How each of our own keys does, and what is to be done next
    Status(status::Args),
    /// Take one of our own keys out of use, at once and for good
    Revoke(revoke::Args),
    /// Gone: the gateway rotates keys by itself
    #[command(hide = true)]
    Rotate(Rotate),
    /// Print fingerprints of keys, or of a message's attachments, as digits and as words
    Fingerprint(fingerprint::Args),
}

/// Whatever a script gave to the command that there was.
#[derive(Debug, clap::Args)]
struct Rotate {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ask the correspondent first, by telephone: an attacker who can forge DNS answers can offer a key. Held mail is not judged a second time; `waxseal quarantine release` delivers it."
)]
struct Approve {
    #[command(flatten)]
    config: ConfigArg,
    /// The domain
    domain: DomainName,
    /// The key's fingerprint as the correspondent read it to you; needed where several keys wait
    #[arg(long, value_name = "DIGITS OR WORDS")]
    fingerprint: Option<Told>,
    /// Do not ask. Without a terminal the command never asks
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
struct Forget {
    #[command(flatten)]
    config: ConfigArg,
    /// Undo the pin that `keys pin` made, rather than forget what is remembered
    #[arg(long)]
    pin: bool,
    /// The domain
    domain: DomainName,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Pins and published policies still count: if they state that all mail is sealed, unsealed mail is `missing`. The note is for the domains below as well."
)]
struct Unsealed {
    #[command(flatten)]
    config: ConfigArg,
    /// Take the note back
    #[arg(long)]
    undo: bool,
    /// The domain
    domain: DomainName,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let config = match &args.command {
        Command::Fingerprint(args) => return fingerprint::run(args),
        Command::Rotate(_) => {
            return fail(
                "keys rotate is no more: with `keys`, a folder, in [[domain]] run waxseal keygen --domain DOMAIN, publish the record \
                 that it prints, and the gateway does the rest; waxseal keys status says how far it is, waxseal keys revoke takes a \
                 stolen key out of use (docs/KEYS.md, Changing keys)",
            );
        }
        Command::List(list::Args { config, .. })
        | Command::Pin(pin::Args { config, .. })
        | Command::Approve(Approve { config, .. })
        | Command::Forget(Forget { config, .. })
        | Command::Status(status::Args { config, .. })
        | Command::Revoke(revoke::Args { config, .. })
        | Command::Unsealed(Unsealed { config, .. }) => config,
    };
    let config = match config::load(&config.config) {
        Ok(config) => config,
        Err(mistakes) => {
            check_config::print(&mistakes);
            return ExitCode::from(FAILED);
        }
    };
    let done = match &args.command {
        Command::Fingerprint(_) | Command::Rotate(_) => Ok(()),
        Command::List(args) => list::run(args, &config),
        Command::Pin(args) => pin::run(args, &config),
        Command::Approve(args) => approve(args, &config),
        Command::Forget(args) => forget(args, &config),
        Command::Unsealed(args) => unsealed(args, &config),
        Command::Status(args) => status::run(args, &config),
        Command::Revoke(args) => revoke::run(args, &config),
    };
    done.map_or_else(fail, |()| ExitCode::SUCCESS)
}

/// Whoever runs the command, for the audit trail.
fn by_login() -> By {
    By::user(login())
}

fn approve(args: &Approve, config: &Config) -> Result<(), String> {
    let domain = &args.domain;
    let state = State::open(&config.state);
    let waiting = correspondents::waiting(&state, domain).map_err(|error| error.to_string())?;
    let is_meant =
        |key: &&KeyRecord| args.fingerprint.as_ref().is_none_or(|told| told.is(&key.key.fingerprint()));
    let meant: Vec<&KeyRecord> = waiting.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [] if args.fingerprint.is_some() => Err(format!(
            "no key of {domain} with this fingerprint waits; `waxseal keys list {domain}` shows those that do"
        )),
        [] => Err(format!("no key of {domain} waits to be approved")),
        [key] => {
            let fingerprint = key.key.fingerprint();
            say!("{domain}: key {} ({})", shown(&key.selector), key.state.as_str());
            say!("  {}\n  {}", fingerprint.digits(), fingerprint.words());
            let is_sure = args.yes || args.fingerprint.is_some();
            if !is_sure && !confirmed("Did the correspondent read this fingerprint to you? [y/N] ") {
                return Err("the key is not accepted".to_owned());
            }
            correspondents::approve(&state, domain, &key.key, &by_login())
                .map_err(|error| error.to_string())?;
            say!("{domain}: accepted the key of {}", shown(&key.selector));
            Ok(())
        }
        several => {
            for key in several {
                let (digits, state) = (key.key.fingerprint().digits(), key.state.as_str());
                complain(format!("{} ({state}): {digits}", shown(&key.selector)));
            }
            Err(format!("{} keys of {domain} wait: name one with --fingerprint", several.len()))
        }
    }
}

fn forget(args: &Forget, config: &Config) -> Result<(), String> {
    let domain = &args.domain;
    let is_configured = config.correspondents.iter().any(|pinned| pinned.domain == *domain);
    if args.pin {
        let was_pinned = correspondents::unpin(&State::open(&config.state), domain, &by_login())
            .map_err(|error| error.to_string())?;
        if was_pinned {
            say!("{domain}: no longer pinned by command");
        } else if !is_configured {
            return Err(format!("{domain} is not pinned"));
        }
        if is_configured {
            return Err(format!(
                "{domain} is pinned by a [[correspondent]] of the configuration, which stays"
            ));
        }
        return Ok(());
    }
    let was_known = correspondents::forget(&State::open(&config.state), domain, &by_login());
    if !was_known.map_err(|error| error.to_string())? {
        return Err(format!("nothing is remembered of {domain}"));
    }
    say!("{domain}: forgotten; the next key that DNS gives is accepted as its first");
    Ok(())
}

fn unsealed(args: &Unsealed, config: &Config) -> Result<(), String> {
    let domain = &args.domain;
    correspondents::note_unsealed(&State::open(&config.state), domain, !args.undo, &by_login())
        .map_err(|error| error.to_string())?;
    let not = if args.undo { "not " } else { "" };
    say!("{domain}: {not}noted as a domain that sends unsealed mail too");
    Ok(())
}
