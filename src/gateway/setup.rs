//! From configuration to working parts: keys read, pins gathered, each mistake named where it was written.

use std::collections::HashMap;
use std::sync::Arc;

use attachment_seal::domain::DomainName;
use attachment_seal::seal::key::{KeyRecord, PublicKey};
use attachment_seal::seal::knowledge::{Pin, PinnedKey, Pins};
use attachment_seal::seal::sign::Sealer;

use crate::config::{self, Config, ListenAddress, Mistake, NextHopTls, Warning};
use crate::dns;
use crate::gateway::keyring::OwnDomain;
use crate::keys;
use crate::notify::Languages;
use crate::policy::Policy;
use crate::smtp;
use crate::smtp::tls::{CertificateFileError, ClientTls, ServerTls, Trust};

/// All that judging and sealing need, as one snapshot; a reload makes another.
#[derive(Debug)]
pub struct Setup {
    /// What it was made from.
    pub config: Config,
    /// Our name, as authserv-id.
    pub hostname: DomainName,
    /// The domains that we seal for.
    pub domains: Vec<Arc<OwnDomain>>,
    /// The pinned correspondents.
    pub pins: Pins,
    /// What is done about each verdict.
    pub policy: Policy,
    /// Whom to ask for keys and policies that are not pinned.
    pub dns: dns::Settings,
    /// What recipients of held mail are told in.
    pub languages: Languages,
    /// When our certificate for clients ends, in Unix seconds.
    pub certificate_ends: Option<u64>,
    /// From when on it is valid, likewise.
    pub certificate_begins: Option<u64>,
    /// The certificate for people at the console, where they come by the network.
    pub console_tls: Option<ServerTls>,
    /// What the SMTP side needs to know, by listener.
    smtp: HashMap<String, Arc<smtp::Settings>>,
}

impl Setup {
    /// Reads every key that the configuration names. Finds all mistakes, not only the first.
    pub fn read(mut config: Config) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let domains = config.domains.iter().filter_map(|domain| OwnDomain::read(domain, &mut mistakes));
        let domains: Vec<_> = domains.map(Arc::new).collect();
        config.warnings.extend(domains.iter().filter_map(|own| advice(own)));
        let mut pins = Pins::default();
        for (domain, pin) in read_pins(&config, &mut mistakes) {
            pins.add(domain, pin);
        }
        let certificate =
            config.tls.as_ref().map(|tls| certificate(tls, &mut mistakes, &mut config.warnings));
        let mut smtp = HashMap::new();
        for listener in &config.listeners {
            let next_hop_tls = next_hop_tls(listener, &mut mistakes);
            let tls = match &certificate {
                None => Some(smtp::Tls::Off),
                Some(None) => None,
                Some(Some(certificate)) if listener.implicit_tls => {
                    Some(smtp::Tls::Implicit(certificate.clone()))
                }
                Some(Some(certificate)) => Some(smtp::Tls::StartTls(certificate.clone())),
            };
            // What cannot be had is a mistake on record, and never goes without.
            if let Some((tls, next_hop_tls)) = tls.zip(next_hop_tls) {
                let settings = smtp_settings(&config, listener, tls, next_hop_tls);
                smtp.insert(listener.name.clone(), Arc::new(settings));
            }
        }
        let certificate = certificate.flatten();
        let console_tls = console_certificate(&config, certificate.as_ref(), &mut mistakes);
        let (console_tls, warnings) = console_tls;
        config.warnings.extend(warnings);
        let dns = dns_settings(&config.dns, &mut mistakes);
        let languages = languages(config.notices.as_ref(), &mut mistakes);
        let Some(languages) = languages.filter(|_| mistakes.is_empty()) else { return Err(mistakes) };
        Ok(Self {
            languages,
            hostname: config.hostname.clone(),
            policy: config.policy.clone(),
            domains,
            pins,
            dns,
            certificate_ends: certificate.as_ref().and_then(ServerTls::ends),
            certificate_begins: certificate.as_ref().and_then(ServerTls::begins),
            console_tls,
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

    /// Reads what verifying stored mail takes of a configuration: pins, and whom to ask for what is not pinned. Our own
    /// keys are not needed for it, and an investigator may not be allowed to read them.
    pub fn read_for_verifying(config: &Config) -> Result<(Pins, dns::Settings), Vec<Mistake>> {
        let (mut mistakes, mut pins) = (Vec::new(), Pins::default());
        for (domain, pin) in read_pins(config, &mut mistakes) {
            pins.add(domain, pin);
        }
        let dns = dns_settings(&config.dns, &mut mistakes);
        if mistakes.is_empty() { Ok((pins, dns)) } else { Err(mistakes) }
    }

    /// The domain that mail from `author` is sealed for, if we do that.
    pub fn own_domain(&self, author: &DomainName) -> Option<&OwnDomain> {
        let domain = self.config.sealing_domain(author)?;
        self.domains.iter().find(|own| *own.name() == domain.name).map(Arc::as_ref)
    }

    /// What seals now, of each domain for which a key may.
    pub fn sealers(&self) -> impl Iterator<Item = Arc<Sealer>> {
        self.domains.iter().filter_map(|own| own.sealer())
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
    pub fn addresses(&self) -> Vec<(String, config::Mode, ListenAddress)> {
        let listeners = self.config.listeners.iter();
        listeners
            .flat_map(|listener| {
                listener.listen.iter().map(|address| (listener.name.clone(), listener.mode, address.clone()))
            })
            .collect()
    }
}

/// What the SMTP side needs to know to hand mail to a listener's next hop, from its configuration alone: no key is read.
pub fn next_hop_settings(
    config: &Config,
    listener: &config::Listener,
) -> Result<smtp::Settings, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    match next_hop_tls(listener, &mut mistakes) {
        Some(tls) => Ok(smtp_settings(config, listener, smtp::Tls::Off, tls)),
        None => Err(mistakes),
    }
}

/// What is to be said of a domain's keys though they can be read.
fn advice(own: &OwnDomain) -> Option<Warning> {
    match &own.config.keys {
        config::SealingKeys::Fixed { key, .. } => {
            let advice = keys::advice(&key.value)?.to_owned();
            Some(Warning { place: key.place.clone(), advice })
        }
        config::SealingKeys::Folder(folder) if own.keys().is_empty() => {
            let name = own.name();
            let advice = format!(
                "holds no key that may seal, so that mail of {name} is answered 451: waxseal keygen --domain {name}"
            );
            Some(Warning { place: folder.place.clone(), advice })
        }
        config::SealingKeys::Folder(_) => None,
    }
}

fn smtp_settings(
    config: &Config,
    listener: &config::Listener,
    tls: smtp::Tls,
    next_hop_tls: smtp::NextHopTls,
) -> smtp::Settings {
    smtp::Settings {
        listener: listener.name.clone(),
        hostname: config.hostname.to_string(),
        next_hop: match &listener.next_hop {
            config::NextHop::Server(server) => smtp::Address::Tcp(server.to_string()),
            config::NextHop::Unix(path) => smtp::Address::Unix(path.clone()),
        },
        next_hop_tls,
        tls,
        clients: listener.clients.networks().to_vec(),
        introduction: listener.introduction,
        xclient_from: listener.xclient_from.networks().to_vec(),
        xforward_from: listener.xforward_from.networks().to_vec(),
        proxy_header_from: listener.proxy_protocol_from.networks().to_vec(),
        requires_auth: listener.auth == config::Auth::Required,
        growth: match listener.mode {
            config::Mode::Seal => SEAL_GROWTH,
            config::Mode::Verify => VERDICT_GROWTH,
        },
        bare_line_ends: listener.bare_line_ends,
        limits: config.limits.clone(),
    }
}

/// Most octets that a seal adds to a message, but for one with more than some 500 attachments.
const SEAL_GROWTH: u64 = 64 << 10;

/// Most octets that a verdict and a warning add.
const VERDICT_GROWTH: u64 = 4 << 10;

/// Our certificate for clients.
fn certificate(
    tls: &config::Tls,
    mistakes: &mut Vec<Mistake>,
    warnings: &mut Vec<Warning>,
) -> Option<ServerTls> {
    let certificates = tls.certificate.note(keys::read_certificates(&tls.certificate.value), mistakes);
    let key = tls.key.note(keys::read_certificate_key(&tls.key.value), mistakes);
    let (certificates, (key, is_exposed)) = (certificates?, key?);
    if is_exposed {
        let advice = "everybody on this machine can read this private key: run chmod o-r on it".to_owned();
        warnings.push(Warning { place: tls.key.place.clone(), advice });
    }
    let usable = ServerTls::from_pem(&certificates, &key);
    let place = match &usable {
        Err(CertificateFileError::Key(_) | CertificateFileError::Mismatch) => &tls.key,
        _ => &tls.certificate,
    };
    place.note(usable, mistakes)
}

/// The certificate for people at the console: its own, or ours for clients.
fn console_certificate(
    config: &Config,
    ours: Option<&ServerTls>,
    mistakes: &mut Vec<Mistake>,
) -> (Option<ServerTls>, Vec<Warning>) {
    let mut warnings = Vec::new();
    let console = config.console.as_ref();
    let tls = console.and_then(|console| console.tls.as_ref());
    let tls = match tls {
        Some(own) if config.tls.as_ref() != Some(own) => certificate(own, mistakes, &mut warnings),
        Some(_) => ours.cloned(),
        None => None,
    };
    (tls, warnings)
}

/// How the next hop gets TLS, with the roots by which its certificate is checked. `None` and a mistake where that cannot be.
fn next_hop_tls(listener: &config::Listener, mistakes: &mut Vec<Mistake>) -> Option<smtp::NextHopTls> {
    let place = &listener.next_hop_tls;
    let trust = match (place.value, &listener.next_hop_ca) {
        (NextHopTls::Off, _) => return Some(smtp::NextHopTls::Off),
        (NextHopTls::May | NextHopTls::Encrypt, _) => Trust::Anybody,
        (NextHopTls::Verify | NextHopTls::Implicit, Some(file)) => {
            let roots = file.note(keys::read_certificates(&file.value), mistakes)?;
            file.note(Trust::from_pem(&roots), mistakes)?
        }
        (NextHopTls::Verify | NextHopTls::Implicit, None) => {
            let reason = "the system has no root certificates; name a file with next_hop_ca";
            place.note(Trust::of_system().ok_or(reason), mistakes)?
        }
    };
    let name = match &listener.next_hop {
        config::NextHop::Server(server) => server.host.to_string(),
        // It has none, and its certificate is not checked.
        config::NextHop::Unix(_) => "localhost".to_owned(),
    };
    let tls = place.note(ClientTls::new(&name, &trust), mistakes)?;
    Some(match place.value {
        NextHopTls::May => smtp::NextHopTls::May(tls),
        NextHopTls::Implicit => smtp::NextHopTls::Implicit(tls),
        NextHopTls::Off | NextHopTls::Encrypt | NextHopTls::Verify => smtp::NextHopTls::Must(tls),
    })
}

fn dns_settings(dns: &config::Dns, mistakes: &mut Vec<Mistake>) -> dns::Settings {
    let trust_anchors = dns.trust_anchors.as_ref().and_then(|file| {
        let text = file.note(keys::read_text(&file.value), mistakes)?;
        file.note(dns::trust_anchor_zones(&text), mistakes)?;
        Some(text)
    });
    dns::Settings {
        servers: dns.servers.clone(),
        dnssec: dns.dnssec,
        timeout: dns.timeout,
        questions: dns.questions,
        cache: dns.cache,
        trust_anchors,
    }
}

/// The texts for recipients: ours and the site's, with every language that the configuration names. `None` and a mistake where
/// they cannot be had.
fn languages(notices: Option<&config::Notices>, mistakes: &mut Vec<Mistake>) -> Option<Languages> {
    let folder = notices.and_then(|notices| notices.folder.as_ref());
    let read = Languages::read(folder.map(|folder| folder.value.as_path()));
    let languages = match folder {
        Some(folder) => folder.note(read, mistakes)?,
        // Ours can always be read: a test does.
        None => read.ok()?,
    };
    if let Some(notices) = notices {
        let exceptions = notices.exceptions.iter().filter_map(|exception| exception.language.as_ref());
        for language in std::iter::once(&notices.language).chain(exceptions) {
            language.note(languages.find(&language.value), mistakes);
        }
    }
    Some(languages)
}

fn read_pins(config: &Config, mistakes: &mut Vec<Mistake>) -> Vec<(DomainName, Pin)> {
    let pins = config.correspondents.iter();
    pins.map(|correspondent| (correspondent.domain.clone(), pin(correspondent, mistakes))).collect()
}

fn pin(correspondent: &config::Correspondent, mistakes: &mut Vec<Mistake>) -> Pin {
    let mut pin = Pin { subdomains: correspondent.subdomains, ..Pin::default() };
    for text in &correspondent.keys {
        if let Some(record) = text.note(KeyRecord::parse(&text.value), mistakes) {
            if record.key.is_none() {
                mistakes.push(text.mistake("a revoked key (empty `p`) needs a selector: put it in keys_dir"));
            }
            pin.keys.push(PinnedKey { selector: None, record });
        }
    }
    for text in &correspondent.roots {
        pin.roots.extend(text.note(PublicKey::from_base64url(&text.value), mistakes));
    }
    if let Some(folder) = &correspondent.keys_dir
        && let Some(found) = folder.note(keys::read_keys_dir(&folder.value), mistakes)
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
