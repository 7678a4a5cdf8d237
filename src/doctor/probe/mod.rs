//! A message that goes the way of users' mail, and what became of it: what no look at settings can show.

mod compare;
mod incoming;
mod letter;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use attachment_seal::domain::DomainName;
use attachment_seal::message::edits::Edits;
use attachment_seal::message::stored::{to_wire, unquoted};
use thiserror::Error;

use self::compare::{OwnKey, compare};
use self::letter::{Letter, id_in, is_incoming, new_id};
use super::finding::{Finding, Subject};
use super::listeners::as_client;
use super::{admin, now, quoted};
use crate::config::{self, Auth, Config, Listener, Mistake, Mode};
use crate::gateway::keyring::OwnDomain;
use crate::smtp::Settings;
use crate::smtp::next_hop::RelayError;
use crate::smtp::next_hop::hand_over::{self, Fate, HandOverError, Recipient, hand_over};
use crate::smtp::next_hop::visit::Visit;
use crate::store::State;

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The configuration file.
    pub config: PathBuf,
    /// An address that the administrator can read.
    pub to: String,
    /// The author; `None` for `postmaster` at the first sealing domain.
    pub from: Option<String>,
    /// The listener; `None` for the first that seals, or the first.
    pub listener: Option<String>,
    /// The server that takes mail for a verifying listener; `None` for the one at this machine's port 25.
    pub server: Option<String>,
}

/// Why no probe was sent, or none could be compared.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The configuration is wrong; the first mistake says enough.
    #[error("{0}")]
    Config(Mistake),
    /// There is no such listener.
    #[error("no listener `{0}` in the configuration: there is nothing to probe")]
    NoListener(String),
    /// The author's domain is none of ours.
    #[error("`{0}` is no address of a sealing domain: nothing would be sealed for it")]
    From(String),
    /// Not an address at all.
    #[error("`{0}` is no mail address: name the probe's author with --from")]
    Author(String),
    /// Not an address.
    #[error("`{0}` is no mail address")]
    To(String),
    /// How to reach the listener is not known.
    #[error(
        "listener `{0}` cannot be reached: port 0, or TLS from the beginning; name another with --listener"
    )]
    Unreachable(String),
    /// It takes mail from those who have an account, and the probe has none.
    #[error(
        "listener `{0}` has auth = \"required\", and the probe has no account: name another with --listener, or send a message with \
         an attachment from a mail program"
    )]
    NeedsAccount(String),
    /// The server that is to take the probe cannot be spoken to.
    #[error("{0} does not answer: {1}")]
    Visit(String, RelayError),
    /// The probe was not taken.
    #[error("the probe was not sent: {0}")]
    HandOver(#[from] HandOverError),
    /// The file of what arrived, or that of what was sent.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no probe.
    #[error("{}: no `waxseal-probe-…` in it; it must be the whole message as it arrived", .0.display())]
    NoProbe(PathBuf),
    /// Nothing is known of this probe.
    #[error("probe {0} was not sent from here, or long ago: {1}")]
    Unknown(String, io::Error),
    /// No randomness.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

fn load(path: &std::path::Path) -> Result<Config, ProbeError> {
    config::load(path).map_err(|mistakes| ProbeError::Config(mistakes.into_iter().next().unwrap_or_default()))
}

/// How a probe sets out.
struct Way {
    /// The server that takes it.
    settings: Settings,
    /// That server, in words.
    server: String,
    /// The author.
    from: String,
    /// The author's domain.
    domain: DomainName,
    /// The reverse-path.
    reverse_path: String,
}

/// Sends a probe as any client would: to a sealing listener, or to the server that takes mail from outside for a verifying one.
/// Needs a Tokio runtime.
pub async fn send(probe: &Probe) -> Result<Vec<Finding>, ProbeError> {
    let config = load(&probe.config)?;
    let listeners = || config.listeners.iter();
    let listener = match &probe.listener {
        Some(name) => listeners().find(|listener| listener.name == *name),
        None => listeners().find(|listener| listener.mode == Mode::Seal).or_else(|| listeners().next()),
    };
    let listener =
        listener.ok_or_else(|| ProbeError::NoListener(probe.listener.clone().unwrap_or_default()))?;
    if !is_address(&probe.to) {
        return Err(ProbeError::To(probe.to.clone()));
    }
    let is_incoming = listener.mode == Mode::Verify;
    let way = if is_incoming {
        incoming::way(&config, listener, probe)?
    } else {
        outgoing(&config, listener, probe)?
    };
    let visit = Visit::pay(&way.settings, Ipv4Addr::LOCALHOST.into()).await;
    let visit = visit.map_err(|error| ProbeError::Visit(way.server.clone(), error))?;
    let eight_bit = visit.offers("8BITMIME");
    visit.leave().await;

    let mut chance = [0; 3];
    getrandom::fill(&mut chance).map_err(|_| ProbeError::NoRandomness)?;
    let made = now();
    let id = new_id(made, chance);
    let Way { mut settings, server, from, domain, reverse_path } = way;
    let (author, to) = (from.clone(), probe.to.clone());
    let message = Letter { id: id.clone(), from: author, domain, to, made, eight_bit, is_incoming }.message();
    let kept = State::open(&config.state)
        .probes
        .keep(&id, &message)
        .map_err(|error| ProbeError::File { path: config.state.folder.join("probes"), error })?;
    // As long as the gateway waits for its next hop, and a little more.
    settings.limits.next_hop_timeout = config.limits.next_hop_timeout + super::listeners::PATIENCE;
    let sent = hand_over::Letter {
        client: Ipv4Addr::LOCALHOST.into(),
        reverse_path: &reverse_path,
        mail_parameters: &["BODY=8BITMIME".to_owned()],
        recipients: &[Recipient { path: &probe.to, parameters: &[] }],
        message: &message,
        edits: &Edits::none(),
    };
    let judged = if is_incoming { admin::judged(&config, &listener.name).await } else { None };
    let fates = hand_over(&settings, &sent, |_| Ok(())).await?;
    let mut findings = Vec::new();
    let mut subject = Subject::new(&mut findings, "probe", format!("probe {id} to {}", probe.to));
    match fates.into_iter().next() {
        Some(Fate::Delivered(reply)) => {
            subject.ok(format!("{server} took it from {from}: {reply}"));
            if let Some(before) = judged {
                incoming::passage(&config, listener, &server, before, &mut subject).await;
            }
            subject.unknown(
                format!("what becomes of it on the way (a copy as it was sent is in {kept})"),
                format!(
                    "save the whole message as it arrives (\"show original\"), then run: waxseal doctor \
                     --config {} --arrived FILE{}",
                    quoted(&probe.config),
                    if is_incoming { "; if it does not arrive: waxseal quarantine list" } else { "" }
                ),
            );
        }
        Some(Fate::Refused(reply)) => subject.problem(
            format!("refused: {reply}"),
            "journalctl -u waxseal shows whether by the gateway or by its next hop; --from names another \
             author",
        ),
        Some(Fate::InDoubt) | None => {
            subject.not_checked("the gateway was lost before it answered: perhaps it is sent");
        }
    }
    Ok(findings)
}

/// By a sealing listener, from an author whom it seals for.
fn outgoing(config: &Config, listener: &Listener, probe: &Probe) -> Result<Way, ProbeError> {
    let first = || config.domains.first().map(|domain| format!("postmaster@{}", domain.name));
    let from = probe.from.clone().or_else(first).unwrap_or_default();
    let domain = domain_of(&from).filter(|domain| config.sealing_domain(domain).is_some());
    let domain = domain.ok_or_else(|| ProbeError::From(from.clone()))?;
    if listener.auth == Auth::Required {
        return Err(ProbeError::NeedsAccount(listener.name.clone()));
    }
    let unreachable = || ProbeError::Unreachable(listener.name.clone());
    let settings = listener.listen.iter().find_map(|address| as_client(config, listener, address));
    let settings = settings.filter(|_| !listener.implicit_tls).ok_or_else(unreachable)?;
    let server = format!("listener {}", listener.name);
    Ok(Way { settings, server, reverse_path: from.clone(), from, domain })
}

/// Compares a probe that has arrived, as a file, with the one that was sent.
pub fn arrived(config: &std::path::Path, file: &std::path::Path) -> Result<Vec<Finding>, ProbeError> {
    let config = load(config)?;
    let stored = std::fs::read(file).map_err(|error| ProbeError::File { path: file.to_owned(), error })?;
    let id = id_in(&stored).ok_or_else(|| ProbeError::NoProbe(file.to_owned()))?;
    let sent = State::open_to_look(&config.state)
        .probes
        .read(&id)
        .map_err(|error| ProbeError::Unknown(id.clone(), error))?;
    let keys: Vec<OwnKey> = config
        .domains
        .iter()
        .filter_map(|domain| OwnDomain::read(domain, &mut Vec::new()))
        .flat_map(|own| {
            let keys = own.keys().into_iter();
            let domain = own.name().clone();
            keys.map(move |(selector, key)| OwnKey { domain: domain.clone(), selector, key })
        })
        .collect();
    let (wire, _) = to_wire(stored.clone());
    let mut findings = Vec::new();
    let mut subject = Subject::new(&mut findings, "probe", format!("probe {id}"));
    if is_incoming(&sent) {
        incoming::judge(&wire, &config.hostname, &mut subject);
        return Ok(findings);
    }
    let unquoted = unquoted(&stored).map(|raw| to_wire(raw).0);
    compare(&sent, &wire, unquoted.as_deref(), &keys, now(), &mut subject);
    Ok(findings)
}

/// `local@domain`, and nothing in it that could be more than one address of an SMTP command.
fn is_address(text: &str) -> bool {
    domain_of(text).is_some()
}

/// The domain of such an address.
fn domain_of(address: &str) -> Option<DomainName> {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let (local, domain) = address.rsplit_once('@')?;
    let is_local = !local.is_empty() && local.chars().all(is_atom);
    domain.parse().ok().filter(|_| is_local)
}
