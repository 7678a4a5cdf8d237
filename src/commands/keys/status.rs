//! `waxseal keys status`: how each of our own keys does, and what is to be done next, by whom and from when on.

use attachment_seal::domain::DomainName;
use attachment_seal::seal::key::PublicKey;
use serde::Serialize;

use super::super::{ConfigArg, complain};
use crate::clock::{moment, second, unix_time};
use crate::config::{Config, SealingDomain, SealingKeys};
use crate::gateway::keyring::{Keyrings, OwnDomain, Status, watch};
use crate::store::Announcement;

/// Arguments of `keys status`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(in super::super) struct Args {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// One JSON object a line, one line a key
    #[arg(long)]
    json: bool,
    /// Only this sealing domain
    domain: Option<DomainName>,
}

const HELP: &str = "\
States of a key, with the word that --json has: `publish this record` (publish), `have the root vouch for it` (delegate), `waiting \
until …` (waiting), `sealing` (sealing), `old: leave its record until …` (old), `remove the record now` (remove), `revoked: publish \
that now` (revoke), and `old: its record is gone` or `revoked`, with nothing more to do (done).

Nobody is asked: the running gateway looks about every minute, and this shows what it found.";

#[derive(Debug, Serialize)]
struct Line {
    domain: String,
    selector: String,
    state: &'static str,
    /// When the state changes by itself.
    until: Option<String>,
    /// Whether seals are made with this key now.
    seals: bool,
    not_before: Option<String>,
    /// What is to be done next.
    next: String,
    /// By whom; null where nothing is to be done.
    by: Option<&'static str>,
    record_name: String,
    record: String,
    fingerprint: Option<String>,
    /// Who answered what when the record was looked for.
    answers: Vec<String>,
    looked: Option<String>,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<(), String> {
    let keyrings = Keyrings::read(&config.state.folder).map_err(|error| error.to_string())?;
    let now = unix_time().unwrap_or_default();
    let is_wanted = |domain: &&SealingDomain| args.domain.as_ref().is_none_or(|only| *only == domain.name);
    let domains: Vec<_> = config.domains.iter().filter(is_wanted).collect();
    if domains.is_empty() {
        return Err(match &args.domain {
            Some(domain) => format!("no [[domain]] of the configuration is for {domain}"),
            None => "the configuration has no [[domain]]".to_owned(),
        });
    }
    for domain in domains {
        if let SealingKeys::Fixed { selector, key, .. } = &domain.keys {
            print_fixed(args, domain, selector.as_str(), &crate::keys::shown(&key.value));
            continue;
        }
        let own = OwnDomain::unread(domain);
        let mut ring = keyrings.of(&own);
        match own.read_folder() {
            wrong if wrong.is_empty() => ring.take_stock(&own.held(now), now),
            wrong => wrong.iter().for_each(|reason| complain(format!("{}: {reason}", domain.name))),
        }
        if !args.json {
            say!("{}", domain.name);
        }
        let statuses: Vec<_> = ring.statuses(domain.lifetime.as_secs(), now).collect();
        for status in &statuses {
            let line = line(&own, status);
            if args.json {
                say!("{}", serde_json::to_string(&line).map_err(|error| error.to_string())?);
            } else {
                print(&line, status);
            }
        }
        if !args.json && !statuses.iter().any(|status| status.seals) {
            say!("  no key seals, so mail of {} is put off (451)", domain.name);
        }
    }
    match Announcement::of(&config.state.folder) {
        Ok(Some(_)) => {}
        _ if args.json => {}
        Ok(None) => complain("no gateway runs with this state folder, so nobody looks for records"),
        Err(error) => complain(error),
    }
    Ok(())
}

fn line(own: &OwnDomain, status: &Status<'_>) -> Line {
    let key = status.key;
    let at = |seconds: u64| second(moment(seconds));
    Line {
        domain: own.name().to_string(),
        selector: key.selector.clone(),
        state: status.state.as_str(),
        until: status.state.until().map(at),
        seals: status.seals,
        not_before: key.not_before.map(at),
        next: watch::sentence(own, status),
        by: status.by(),
        record_name: watch::record_name(own, key),
        record: watch::record(key),
        fingerprint: PublicKey::from_base64url(&key.public).ok().map(|key| key.fingerprint().digits()),
        answers: key.answers.clone(),
        looked: key.looked.map(at),
    }
}

fn print(line: &Line, status: &Status<'_>) {
    say!("  {:<12} {}", line.selector, status.words());
    if status.state.needs_somebody() {
        for answer in &line.answers {
            say!("    {answer}");
        }
    }
    if let Some(by) = line.by {
        say!("    next, by {by}: {}", line.next);
    }
}

/// A key that stays.
fn print_fixed(args: &Args, domain: &SealingDomain, selector: &str, key: &str) {
    if args.json {
        let fixed = serde_json::json!({
            "domain": domain.name.as_str(), "selector": selector, "state": "sealing", "until": null, "seals": true,
            "next": "nothing: the configuration names this key", "by": null,
        });
        say!("{fixed}");
    } else {
        say!("{}\n  {selector:<12} sealing", domain.name);
        say!(
            "    the configuration names this key, {key}; with `keys`, a folder, the next one takes its place by itself"
        );
    }
}
