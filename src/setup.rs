//! From configuration to working parts: keys read, pins gathered, each mistake named where it was written.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, Config, Located, Mistake};
use crate::domain::DomainName;
use crate::keyfile;
use crate::policy::Policy;
use crate::seal::delegation::{Delegation, Delegations};
use crate::seal::key::{KeyRecord, PublicKey, SealingKey};
use crate::seal::knowledge::{Pin, PinnedKey, Pins};
use crate::seal::sign::Sealer;
use crate::smtp;

/// All that judging and sealing need, as one snapshot; a reload makes another.
#[derive(Debug)]
pub struct Setup {
    /// What it was made from.
    pub config: Config,
    /// Our name, as authserv-id.
    pub hostname: DomainName,
    /// Who seals, by the domains of the configuration.
    pub sealers: Vec<Arc<Sealer>>,
    /// The pinned correspondents.
    pub pins: Pins,
    /// What is done about each verdict.
    pub policy: Policy,
    /// What the SMTP side needs to know, by listener.
    smtp: HashMap<String, Arc<smtp::Settings>>,
}

impl Setup {
    /// Reads every key that the configuration names. Finds all mistakes, not only the first.
    pub fn read(config: Config) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let sealers: Vec<_> =
            config.domains.iter().filter_map(|domain| sealer(domain, &mut mistakes)).collect();
        let mut pins = Pins::default();
        for (domain, pin) in read_pins(&config, &mut mistakes) {
            pins.add(domain, pin);
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let listeners = config.listeners.iter();
        let smtp =
            listeners.map(|listener| (listener.name.clone(), smtp_settings(&config, listener))).collect();
        Ok(Self {
            hostname: config.hostname.clone(),
            policy: config.policy.clone(),
            sealers,
            pins,
            smtp,
            config,
        })
    }

    /// Reads what the configuration pins, and nothing else.
    pub fn read_pins(config: &Config) -> Result<Vec<(DomainName, Pin)>, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let pins = read_pins(config, &mut mistakes);
        if mistakes.is_empty() { Ok(pins) } else { Err(mistakes) }
    }

    /// Who seals for mail from `author`, if we do.
    pub fn sealer(&self, author: &DomainName) -> Option<Arc<Sealer>> {
        let domain = self.config.sealing_domain(author)?;
        self.sealers.iter().find(|sealer| sealer.domain == domain.name).cloned()
    }

    /// The configuration of a listener.
    pub fn listener(&self, name: &str) -> Option<&config::Listener> {
        self.config.listeners.iter().find(|listener| listener.name == name)
    }

    /// What the SMTP side needs to know of a listener.
    pub fn smtp_settings(&self, listener: &str) -> Option<Arc<smtp::Settings>> {
        self.smtp.get(listener).cloned()
    }

    /// Every address to listen on, with its listener's name and mode.
    pub fn addresses(&self) -> Vec<(String, config::Mode, SocketAddr)> {
        let listeners = self.config.listeners.iter();
        listeners
            .flat_map(|listener| {
                listener.listen.iter().map(|address| (listener.name.clone(), listener.mode, *address))
            })
            .collect()
    }
}

/// What the SMTP side needs to know of a listener, from its configuration alone: no key is read.
pub fn smtp_settings(config: &Config, listener: &config::Listener) -> Arc<smtp::Settings> {
    Arc::new(smtp::Settings {
        listener: listener.name.clone(),
        hostname: config.hostname.to_string(),
        next_hop: listener.next_hop.to_string(),
        clients: listener.clients.networks().to_vec(),
        introduction: match listener.introduction {
            config::Introduction::Nothing => smtp::Introduction::Nothing,
            config::Introduction::Xclient => smtp::Introduction::Xclient,
            config::Introduction::ProxyProtocol => smtp::Introduction::ProxyHeader,
        },
        xclient_from: listener.xclient_from.networks().to_vec(),
        xforward_from: listener.xforward_from.networks().to_vec(),
        proxy_header_from: listener.proxy_protocol_from.networks().to_vec(),
        bare_line_ends: match listener.bare_line_ends {
            config::BareLineEnds::Refuse => smtp::BareLineEnds::Refuse,
            config::BareLineEnds::Normalize => smtp::BareLineEnds::Normalize,
        },
        limits: config.limits.clone(),
    })
}

fn sealer(domain: &config::SealingDomain, mistakes: &mut Vec<Mistake>) -> Option<Arc<Sealer>> {
    let key = note(keyfile::read_sealing_key(&domain.key.value), &domain.key, mistakes)?;
    let delegations = match &domain.delegation {
        Some(path) => delegations(domain, path, &key, mistakes)?,
        None => Delegations::default(),
    };
    Some(Arc::new(Sealer {
        domain: domain.name.clone(),
        selector: domain.selector.clone(),
        key,
        lifetime: domain.lifetime.as_secs(),
        delegations,
    }))
}

/// Those of the file or folder that are for the key. One that has ended is no mistake: the gateway starts, seals nothing
/// for the domain, and says why.
fn delegations(
    domain: &config::SealingDomain,
    path: &Located<PathBuf>,
    key: &SealingKey,
    mistakes: &mut Vec<Mistake>,
) -> Option<Delegations> {
    let found = note(keyfile::read_delegations(&path.value, &domain.name, &domain.selector), path, mistakes)?;
    let own: Vec<Delegation> =
        found.iter().filter(|delegation| delegation.key == key.public()).cloned().collect();
    if own.is_empty() {
        let reason =
            if found.is_empty() { "holds no delegation" } else { "the delegation is for another key" };
        mistakes.push(path.mistake(reason));
        return None;
    }
    if !own.iter().all(Delegation::is_signed) {
        let (domain, selector) = (&domain.name, &domain.selector);
        let reason = format!("the root's signature is not for {domain} and {selector}, or is damaged");
        mistakes.push(path.mistake(reason));
        return None;
    }
    Some(Delegations::new(own))
}

fn read_pins(config: &Config, mistakes: &mut Vec<Mistake>) -> Vec<(DomainName, Pin)> {
    let pins = config.correspondents.iter();
    pins.map(|correspondent| (correspondent.domain.clone(), pin(correspondent, mistakes))).collect()
}

fn pin(correspondent: &config::Correspondent, mistakes: &mut Vec<Mistake>) -> Pin {
    let mut pin = Pin { subdomains: correspondent.subdomains, ..Pin::default() };
    for text in &correspondent.keys {
        if let Some(record) = note(KeyRecord::parse(&text.value), text, mistakes) {
            if record.key.is_none() {
                mistakes.push(text.mistake("a revoked key (empty `p`) needs a selector: put it in keys_dir"));
            }
            pin.keys.push(PinnedKey { selector: None, record });
        }
    }
    for text in &correspondent.roots {
        pin.roots.extend(note(PublicKey::from_base64url(&text.value), text, mistakes));
    }
    if let Some(folder) = &correspondent.keys_dir
        && let Some(found) = note(keyfile::read_keys_dir(&folder.value), folder, mistakes)
    {
        let own = found.into_iter().find(|(domain, _)| *domain == correspondent.domain);
        match own {
            Some((_, own)) => {
                pin.keys.extend(own.keys);
                pin.roots.extend(own.roots);
            }
            None => mistakes.push(folder.mistake(format!("holds no folder {}", correspondent.domain))),
        }
    }
    pin
}

/// The value, or `None` and a mistake at the place that named it.
fn note<T, U, E: std::fmt::Display>(
    result: Result<T, E>,
    place: &Located<U>,
    mistakes: &mut Vec<Mistake>,
) -> Option<T> {
    result.map_err(|error| mistakes.push(place.mistake(error))).ok()
}
