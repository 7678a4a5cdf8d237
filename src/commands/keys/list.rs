//! `waxseal keys list`: what is pinned and what is remembered.

use attachment_seal::domain::DomainName;
use attachment_seal::seal::fingerprint::Told;
use attachment_seal::seal::key::{self, PublicKey};
use serde::Serialize;

use super::super::ConfigArg;
use super::super::table::shown;
use crate::clock::{moment, unix_time};
use crate::config::Config;
use crate::gateway::setup::Setup;
use crate::store::{DatabaseError, DomainRecord, Said, State};

/// Arguments of `keys list`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "States of a remembered key: `accepted`, `delegated` (a root vouches for it, for as long as its statement says), \
                        `offered` (it contradicts what is known; see `keys approve`) and `revoked`."
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// One JSON object a line, one line a domain
    #[arg(long)]
    json: bool,
    /// Only this domain
    domain: Option<DomainName>,
}

/// What is known of one domain.
#[derive(Debug, Serialize)]
struct Line {
    domain: String,
    pinned: Vec<PinLine>,
    also_unsealed: bool,
    memory: Option<MemoryLine>,
}

#[derive(Debug, Serialize)]
struct PinLine {
    /// `key`, `root` or `fingerprint`.
    kind: &'static str,
    /// `configuration` or `command`.
    by: &'static str,
    selector: Option<String>,
    /// Base64url; null where only the fingerprint was told, or the key is revoked.
    key: Option<String>,
    fingerprint: Option<String>,
}

#[derive(Debug, Serialize)]
struct MemoryLine {
    first_seen: String,
    last_seen: String,
    seals: bool,
    verdicts: serde_json::Map<String, serde_json::Value>,
    keys: Vec<KeyLine>,
}

#[derive(Debug, Serialize)]
struct KeyLine {
    /// `key` or `root`.
    kind: &'static str,
    selector: String,
    state: &'static str,
    first_seen: String,
    last_seen: String,
    key: String,
    fingerprint: String,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<(), String> {
    let state = State::open(&config.state);
    let said = state.pins.read().map_err(|error| error.to_string())?;
    let remembered = match state.memories.list(args.domain.as_ref(), unix_time().unwrap_or_default()) {
        Ok(remembered) => remembered,
        Err(DatabaseError::None(_)) => Vec::new(),
        Err(error) => return Err(error.to_string()),
    };
    let mut lines = Vec::new();
    gather_configured(config, &mut lines)?;
    gather_said(&said, &mut lines);
    for record in remembered {
        let memory = MemoryLine::of(&record);
        entry(&mut lines, record.name.as_str()).memory = Some(memory);
    }
    lines.sort_by(|one, other| one.domain.cmp(&other.domain));
    let is_wanted = |line: &&Line| args.domain.as_ref().is_none_or(|only| only.as_str() == line.domain);
    if !args.json && !lines.iter().any(|line| is_wanted(&line)) {
        say!("nothing is pinned or remembered");
    }
    for line in lines.iter().filter(is_wanted) {
        if args.json {
            say!("{}", serde_json::to_string(line).map_err(|error| error.to_string())?);
        } else {
            print(line);
        }
    }
    Ok(())
}

fn entry<'a>(lines: &'a mut Vec<Line>, domain: &str) -> &'a mut Line {
    let at = lines.iter().position(|line| line.domain == domain).unwrap_or_else(|| {
        let domain = domain.to_owned();
        lines.push(Line { domain, pinned: Vec::new(), also_unsealed: false, memory: None });
        lines.len() - 1
    });
    &mut lines[at]
}

/// What the configuration pins, key files included.
fn gather_configured(config: &Config, lines: &mut Vec<Line>) -> Result<(), String> {
    for (domain, pin) in Setup::read_pins(config).map_err(|mistakes| {
        let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        texts.join("; ")
    })? {
        let keys = pin.keys.iter().map(|key| {
            let selector = key.selector.as_ref().map(ToString::to_string);
            PinLine::of("key", "configuration", selector, key.record.key)
        });
        let roots = pin.roots.iter().map(|root| PinLine::of("root", "configuration", None, Some(*root)));
        let pinned: Vec<PinLine> = keys.chain(roots).collect();
        entry(lines, domain.as_str()).pinned.extend(pinned);
    }
    Ok(())
}

/// What `keys pin` and `keys unsealed` said.
fn gather_said(said: &Said, lines: &mut Vec<Line>) {
    for pin in &said.pins {
        let keys = pin.keys.iter().map(|said| {
            let key = key::KeyRecord::parse(&said.record).ok().and_then(|record| record.key);
            PinLine::of("key", "command", said.selector.clone(), key)
        });
        let roots = pin
            .roots
            .iter()
            .map(|root| PinLine::of("root", "command", None, PublicKey::from_base64url(root).ok()));
        let fingerprints = pin.fingerprints.iter().map(|told| PinLine {
            fingerprint: told.parse::<Told>().ok().map(|told| told.to_string()),
            ..PinLine::of("fingerprint", "command", None, None)
        });
        let pinned: Vec<PinLine> = keys.chain(roots).chain(fingerprints).collect();
        entry(lines, &pin.domain).pinned.extend(pinned);
    }
    for domain in &said.also_unsealed {
        entry(lines, domain).also_unsealed = true;
    }
}

impl PinLine {
    fn of(kind: &'static str, by: &'static str, selector: Option<String>, key: Option<PublicKey>) -> Self {
        Self {
            kind,
            by,
            selector,
            key: key.map(PublicKey::to_base64url),
            fingerprint: key.map(|key| key.fingerprint().digits()),
        }
    }
}

impl MemoryLine {
    fn of(record: &DomainRecord) -> Self {
        let keys = record.keys.iter().map(|known| KeyLine {
            kind: if known.is_root { "root" } else { "key" },
            selector: known.selector.clone(),
            state: known.state.as_str(),
            first_seen: time(known.first_seen),
            last_seen: time(known.last_seen),
            key: known.key.to_base64url(),
            fingerprint: known.key.fingerprint().digits(),
        });
        Self {
            first_seen: time(record.first_seen),
            last_seen: time(record.last_seen),
            seals: record.seals,
            verdicts: record
                .counts
                .iter()
                .map(|(verdict, count)| (verdict.clone(), (*count).into()))
                .collect(),
            keys: keys.collect(),
        }
    }
}

fn time(seconds: u64) -> String {
    moment(seconds).to_string()
}

fn print(line: &Line) {
    say!("{}", shown(&line.domain));
    for pin in &line.pinned {
        let selector = pin.selector.as_ref().map(|selector| format!(" {selector}")).unwrap_or_default();
        let fingerprint = pin.fingerprint.as_deref().unwrap_or("revoked");
        say!("  pinned by {}: {}{selector}: {}", pin.by, pin.kind, shown(fingerprint));
    }
    if line.also_unsealed {
        say!("  noted: sends unsealed mail too");
    }
    let remembered = line.memory.as_ref();
    let expected = if !line.pinned.is_empty() {
        "yes, it is pinned"
    } else if line.also_unsealed {
        "only if its DNS policy asks for one"
    } else if remembered.is_some_and(|memory| memory.seals) {
        "yes, by its earlier mail"
    } else {
        "only if its DNS policy asks for one; its earlier mail does not"
    };
    say!("  a seal is expected: {expected}");
    let Some(memory) = remembered else { return };
    say!("  seen: {} to {}", memory.first_seen, memory.last_seen);
    let counts: Vec<String> =
        memory.verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    say!("  messages: {}", counts.join(", "));
    for key in &memory.keys {
        let KeyLine { kind, selector, state, first_seen, last_seen, fingerprint, .. } = key;
        say!("  {kind} {} ({state}), seen {first_seen} to {last_seen}: {fingerprint}", shown(selector));
    }
}
