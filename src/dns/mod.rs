//! Key and policy records from DNS (SPEC.md §9 and §10), DNSSEC-proved where that is wanted. With the files of its
//! folder the only one that names hickory.
//!
//! Four things are never confused: an answer that DNSSEC proves, one that nothing proves, one whose proof is wrong, and
//! no answer. After a wrong proof no weaker answer is taken, or whoever strips signatures would win.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::key::KeyRecord;
use attachment_seal::seal::knowledge::{Answer, Failure};
use attachment_seal::seal::policy_record::PolicyRecord;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::Instant;
use tracing::{debug, warn};

use self::anchors::Anchored;
use self::cache::{Cache, Heard};
use self::questions::Counting;
use self::silence::Silence;
use crate::dns::lookup::{Bounds, LookupKey};

mod anchors;
mod cache;
mod chain;
pub mod lookup;
pub(crate) mod questions;
mod silence;
mod zone;

pub use self::anchors::TrustAnchorError;
pub use self::zone::{
    Said, ZoneAnswer, ZoneError, ZoneFailure, all_say, key_record_name, policy_record_name, resolvers,
};

/// The label that all our records stand under.
const LABEL: &str = "_attachment-seal";

/// Longest record that is read, its segments joined, in octets.
const MAX_RECORD: usize = 4096;

/// Most records of one name that are read.
const MAX_RECORDS: usize = 16;

/// Most aliases that one answer may lead through.
const MAX_ALIASES: usize = 8;

/// hickory keeps what it has proved, a million answers of it, and nobody can tell it how many; so after so many octets
/// of answers it begins anew.
const MAX_PROVED: usize = 4 << 20;

/// Asks name servers.
type Resolver = hickory_resolver::Resolver<Counting>;

/// Each question is put this often within the wait for one message.
const TRIES: u32 = 3;

/// What is asked, and what of the answers is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name servers; `None` for the system's, an empty list for none: then nothing is looked up.
    pub servers: Option<Vec<SocketAddr>>,
    /// What DNSSEC decides.
    pub dnssec: Dnssec,
    /// The longest wait for all answers that one message needs.
    pub timeout: Duration,
    /// The most questions that one message may cause, those of aliases, proofs and second tries included.
    pub questions: usize,
    /// Octets of answers that are remembered.
    pub cache: u64,
    /// DNSKEY and DS records in zone-file form that proofs end at; of the root, where it has none, those that are built in.
    pub trust_anchors: Option<String>,
}

impl Settings {
    /// What the lookups of one message may take.
    pub fn bounds(&self) -> Bounds {
        Bounds { timeout: self.timeout, questions: self.questions }
    }
}

impl Default for Settings {
    /// The system's name servers, nothing proved, 10 seconds, 300 questions, 4 MiB.
    fn default() -> Self {
        let timeout = Duration::from_secs(10);
        Self {
            servers: None,
            dnssec: Dnssec::Off,
            timeout,
            questions: 300,
            cache: 4 << 20,
            trust_anchors: None,
        }
    }
}

/// What DNSSEC decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dnssec {
    /// Nothing: every answer counts as unproved.
    Off,
    /// Whether an answer counts as proved. One of an unsigned zone is taken, one with a wrong proof has failed.
    Prefer,
    /// Whether a record counts at all: one of an unsigned zone is as if it were not there.
    Require,
}

/// Reads trust anchors: DNSKEY and DS records in zone-file form. The zones whose keys they are.
pub fn trust_anchor_zones(text: &str) -> Result<Vec<String>, TrustAnchorError> {
    Ok(anchors::parse(text)?.iter().map(|anchored| anchored.zone.to_ascii()).collect())
}

/// Looks records up in DNS, and remembers them for as long as they say. Clones share everything.
#[derive(Clone, Debug)]
pub struct Dns(Arc<ArcSwap<Client>>);

impl Dns {
    /// Nothing is asked yet. Trust anchors must have been checked before.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Client::new(settings))))
    }

    /// Takes other settings from now on; where they are the old ones, what is remembered stays. The system's name servers
    /// are read anew.
    pub fn reconfigure(&self, settings: Settings) {
        if self.0.load().settings != settings || settings.servers.is_none() {
            self.0.store(Arc::new(Client::new(settings)));
        }
    }
}

impl Dns {
    /// The texts at any name, as they stand there.
    pub async fn texts(&self, name: &str) -> Answer<String> {
        let client = self.0.load_full();
        client.records(name, |text| Some(text.to_owned())).await
    }
}

impl Dns {
    /// The error that the name servers answer about the TXT records at a name (RFC 1035 §4.1.1), if they answer so.
    pub async fn error_about(&self, name: &str) -> Option<&'static str> {
        let client = self.0.load_full();
        let Servers::Some(resolver, _) = &*client.servers() else { return None };
        match resolver.lookup(Name::from_ascii(name).ok()?, RecordType::TXT).await {
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Some(code_word(code)),
            _ => None,
        }
    }
}

impl LookupKey for Dns {
    async fn lookup(&self, domain: &DomainName, selector: &Selector) -> Answer<KeyRecord> {
        let client = self.0.load_full();
        client.records(&format!("{selector}.{LABEL}.{domain}."), |text| KeyRecord::parse(text).ok()).await
    }

    async fn lookup_policy(&self, domain: &DomainName) -> Answer<PolicyRecord> {
        let client = self.0.load_full();
        client.records(&format!("{LABEL}.{domain}."), PolicyRecord::parse).await
    }
}

/// Whom to ask by some settings, and what they said.
struct Client {
    settings: Settings,
    servers: ArcSwap<Servers>,
    /// Zones with trust anchors of their own.
    islands: Vec<Island>,
    cache: Cache,
    silence: Silence,
}

enum Servers {
    /// To be asked, by way of what counts the questions.
    Some(Box<Resolver>, Counting),
    /// None: nothing is looked up.
    None,
    /// None that could be found out: every lookup fails.
    Unknown,
}

impl Servers {
    fn of(settings: &Settings) -> Self {
        match name_servers(settings) {
            Ok(servers) if servers.is_empty() => Self::None,
            Ok(servers) => match anchored(settings) {
                Ok(anchored) => resolver(servers, settings, anchored.iter().find_map(Anchored::of_root)),
                Err(error) => {
                    warn!(%error, "the trust anchors cannot be used");
                    Self::Unknown
                }
            },
            Err(error) => {
                warn!(%error, "cannot find the system's name servers; name some under [dns]");
                Self::Unknown
            }
        }
    }
}

/// A zone whose keys are proved by its own anchors, and not from above.
struct Island {
    anchored: Anchored,
    /// What proves by the keys that it has now, and until when they are its keys.
    proving: ArcSwapOption<(Arc<Servers>, Instant)>,
}

impl Client {
    fn new(settings: Settings) -> Self {
        let servers = ArcSwap::from_pointee(Servers::of(&settings));
        let cache = Cache::new(settings.cache);
        let islands = anchored(&settings)
            .unwrap_or_default()
            .into_iter()
            .filter(|anchored| anchored.of_root().is_none());
        let islands = islands.map(|anchored| Island { anchored, proving: ArcSwapOption::empty() }).collect();
        Self { settings, servers, islands, cache, silence: Silence::default() }
    }

    /// Whom to ask about a name now: for one of a zone with trust anchors of its own, by these alone.
    async fn servers_for(&self, name: &Name) -> Result<Arc<Servers>, Failure> {
        let Some(island) = self.island(name) else { return Ok(self.servers()) };
        if let Some(proving) = &*island.proving.load()
            && let (Servers::Some(_, counting), until) = (&*proving.0, proving.1)
            && Instant::now() < until
            && counting.heard() <= MAX_PROVED
        {
            return Ok(Arc::clone(&proving.0));
        }
        let servers = name_servers(&self.settings).map_err(|_| Failure::Unanswered)?;
        if servers.is_empty() {
            return Ok(self.servers());
        }
        let found = island.anchored.look_up(servers.clone(), self.settings.timeout / TRIES).await;
        if found.as_ref().err() == Some(&Failure::Unanswered) {
            drop(self.silence.ask(name));
        }
        let (anchors, until) = found?;
        let proving = Arc::new(resolver(servers, &self.settings, Some(anchors)));
        island.proving.store(Some(Arc::new((Arc::clone(&proving), until))));
        Ok(proving)
    }

    /// The lowest zone with trust anchors of its own that holds a name.
    fn island(&self, name: &Name) -> Option<&Island> {
        let above = self.islands.iter().filter(|island| island.anchored.zone.zone_of(name));
        above.max_by_key(|island| island.anchored.zone.num_labels())
    }

    /// Whom to ask now.
    fn servers(&self) -> Arc<Servers> {
        let servers = self.servers.load_full();
        match &*servers {
            Servers::Some(_, counting) if self.validates() && counting.heard() > MAX_PROVED => {
                let anew = Arc::new(Servers::of(&self.settings));
                self.servers.store(Arc::clone(&anew));
                anew
            }
            _ => servers,
        }
    }

    /// The records at a name that `parse` takes. Others there, and those that are no records of ours, are passed over.
    async fn records<R>(&self, name: &str, parse: impl Fn(&str) -> Option<R>) -> Answer<R> {
        // A name that DNS cannot hold has no records.
        let Ok(name) = Name::from_ascii(name) else { return Answer::NotFound { secure: false } };
        let Heard { texts, secure } = match self.texts(&name).await {
            Ok(heard) => heard,
            Err(failure) => return Answer::Failed(failure),
        };
        let records: Vec<R> = texts.iter().filter_map(|text| parse(text)).collect();
        if records.is_empty() {
            return Answer::NotFound { secure };
        }
        if self.settings.dnssec == Dnssec::Require && !secure {
            warn!(%name, "a record is not trusted: DNSSEC is required, and the zone is unsigned");
            return Answer::NotFound { secure };
        }
        Answer::Found { records, secure }
    }

    /// The TXT records at a name.
    async fn texts(&self, name: &Name) -> Result<Heard, Failure> {
        let heard = self.believed_texts(name).await;
        if heard != Err(Failure::Bogus) {
            return heard;
        }
        if self.gets_proofs(name).await {
            warn!(%name, "an answer is not trusted: its DNSSEC proof is wrong");
            return heard;
        }
        warn!(%name, "an answer is not trusted: its DNSSEC proof cannot be looked up now");
        Err(Failure::Unanswered)
    }

    /// Whether all that proofs are made of can be looked up, so that one which fails is wrong.
    async fn gets_proofs(&self, name: &Name) -> bool {
        let Ok(servers) = name_servers(&self.settings) else { return false };
        let plain = Settings { dnssec: Dnssec::Off, ..self.settings.clone() };
        let top = self.island(name).map_or_else(Name::root, |island| island.anchored.zone.clone());
        match resolver(servers, &plain, None) {
            Servers::Some(resolver, _) => chain::answers(&resolver, name, &top).await,
            Servers::None | Servers::Unknown => false,
        }
    }

    /// The TXT records at a name, if they can be believed.
    async fn believed_texts(&self, name: &Name) -> Result<Heard, Failure> {
        match &*self.servers() {
            Servers::Some(..) => {}
            Servers::None => return Ok(Heard { texts: Vec::new(), secure: false }),
            Servers::Unknown => {
                drop(self.silence.ask(name));
                return Err(Failure::Unanswered);
            }
        }
        if let Some(heard) = self.cache.get(name) {
            return Ok(heard);
        }
        let (mut owner, mut is_chain_secure, mut min_ttl) = (name.clone(), true, u32::MAX);
        for _ in 0..MAX_ALIASES {
            let servers = self.servers_for(&owner).await?;
            let Servers::Some(resolver, _) = &*servers else { return Err(Failure::Unanswered) };
            match self.ask(resolver, &owner).await {
                Ok((heard, ttl)) => {
                    let heard = Heard { secure: heard.secure && is_chain_secure, ..heard };
                    self.cache.insert(name, &heard, ttl.min(min_ttl));
                    return Ok(heard);
                }
                // hickory takes an alias to nothing for forged; the alias alone it can prove.
                Err(Failure::Bogus) => {
                    let (target, is_secure, ttl) = alias(resolver, &owner).await.ok_or(Failure::Bogus)?;
                    is_chain_secure &= is_secure;
                    min_ttl = min_ttl.min(ttl);
                    owner = target;
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Bogus)
    }

    /// Asks for the TXT records at a name, and for how long they, or their absence, may be remembered.
    async fn ask(&self, resolver: &Resolver, name: &Name) -> Result<(Heard, u32), Failure> {
        let mut question = self.silence.ask(name);
        let answer = resolver.lookup(name.clone(), RecordType::TXT).await;
        if matches!(
            answer,
            Ok(_)
                | Err(NetError::Dns(
                    DnsError::NoRecordsFound(_) | DnsError::Nsec { .. } | DnsError::DnssecBogus
                ))
        ) {
            question.answered();
        } else if let Err(NetError::Dns(DnsError::ResponseCode(code))) = &answer {
            question.failed(code_word(*code));
        }
        match answer {
            Ok(lookup) => self.present(name, &lookup),
            Err(NetError::Dns(DnsError::NoRecordsFound(absent))) => {
                let secure = self.absent(&absent)?;
                let ttl = absent.soa.map_or(0, |soa| soa.ttl.min(soa.data.minimum));
                Ok((Heard { texts: Vec::new(), secure }, ttl))
            }
            Err(NetError::Dns(DnsError::Nsec { proof: Proof::Insecure, .. })) => {
                Ok((Heard { texts: Vec::new(), secure: false }, 0))
            }
            Err(error @ NetError::Dns(DnsError::Nsec { .. } | DnsError::DnssecBogus)) => {
                debug!(%name, %error, "an answer is not believed");
                Err(Failure::Bogus)
            }
            Err(error) => {
                debug!(%name, %error, "no answer");
                Err(Failure::Unanswered)
            }
        }
    }

    /// The texts that an answer gives for `name`, by way of its aliases only: an answer may hold well-signed records of
    /// quite other names.
    fn present(&self, name: &Name, lookup: &Lookup) -> Result<(Heard, u32), Failure> {
        let (mut owner, mut used) = (name, Vec::new());
        for _ in 0..MAX_ALIASES {
            let Some((record, target)) = alias_in(lookup, owner) else { break };
            used.push(record);
            owner = target;
        }
        let mut texts = Vec::new();
        for record in lookup.answers().iter().filter(|record| record.name == *owner).take(MAX_RECORDS) {
            if let RData::TXT(txt) = &record.data {
                used.push(record);
                texts.extend(joined(&txt.txt_data));
            }
        }
        // An alias that nothing proves may lead to well-signed records of a stranger.
        let proofs = || used.iter().map(|record| record.proof);
        if self.validates() && !proofs().all(|proof| matches!(proof, Proof::Secure | Proof::Insecure)) {
            return Err(Failure::Bogus);
        }
        let secure = !used.is_empty() && proofs().all(|proof| proof.is_secure());
        let ttl = used.iter().map(|record| record.ttl).min().unwrap_or_default();
        Ok((Heard { texts, secure }, ttl))
    }

    /// Whether an absence is proved. hickory lets one pass whose every record is of some unsigned zone: of which one, it
    /// does not ask, and anybody has one.
    fn absent(&self, absent: &NoRecords) -> Result<bool, Failure> {
        if !self.validates() {
            return Ok(false);
        }
        let name = absent.query.name();
        let authorities = absent.authorities.as_deref().unwrap_or_default();
        let denies = |record: &&Record| matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3);
        if authorities.iter().filter(denies).any(|record| record.proof.is_secure()) {
            return Ok(true);
        }
        let is_above = |record: &Record| record.proof == Proof::Insecure && record.name.zone_of(name);
        if authorities.is_empty() || authorities.iter().any(is_above) {
            return Ok(false);
        }
        debug!(%name, "a denial is not trusted: it is another zone's");
        Err(Failure::Bogus)
    }

    fn validates(&self) -> bool {
        self.settings.dnssec != Dnssec::Off
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The alias at a name by itself: its target, whether it is proved, for how long it may be remembered.
async fn alias(resolver: &Resolver, name: &Name) -> Option<(Name, bool, u32)> {
    let lookup = resolver.lookup(name.clone(), RecordType::CNAME).await.ok()?;
    let (record, target) = alias_in(&lookup, name)?;
    let is_judged = matches!(record.proof, Proof::Secure | Proof::Insecure);
    is_judged.then(|| (target.clone(), record.proof.is_secure(), record.ttl))
}

fn alias_in<'a>(lookup: &'a Lookup, name: &Name) -> Option<(&'a Record, &'a Name)> {
    lookup.answers().iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == *name => Some((record, &target.0)),
        _ => None,
    })
}

fn name_servers(settings: &Settings) -> Result<Vec<NameServerConfig>, NetError> {
    let Some(servers) = &settings.servers else {
        let (system, _) = hickory_resolver::system_conf::read_system_conf()?;
        return Ok(system.name_servers);
    };
    let server = |address: &SocketAddr| {
        let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = address.port());
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    Ok(servers.iter().map(server).collect())
}

/// The trust anchors that are named, by their zones.
fn anchored(settings: &Settings) -> Result<Vec<Anchored>, TrustAnchorError> {
    let text = settings.trust_anchors.as_deref().filter(|_| settings.dnssec != Dnssec::Off);
    text.map_or_else(|| Ok(Vec::new()), anchors::parse)
}

/// What asks these servers, and proves by these anchors; by the root's own if there are none.
fn resolver(servers: Vec<NameServerConfig>, settings: &Settings, anchors: Option<TrustAnchors>) -> Servers {
    // The system's search domains and hosts are for people who type names.
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut options = ResolverOpts::default();
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = settings.timeout / TRIES;
    options.attempts = TRIES as usize - 1;
    options.preserve_intermediates = true;
    options.cache_size = 0;
    options.validate = settings.dnssec != Dnssec::Off;
    let counting = Counting::new();
    let mut builder = Resolver::builder_with_config(config, counting.clone());
    *builder.options_mut() = options;
    if let Some(anchors) = anchors {
        builder = builder.with_trust_anchor(Arc::new(anchors));
    }
    match builder.build() {
        Ok(resolver) => Servers::Some(Box::new(resolver), counting),
        Err(error) => {
            warn!(%error, "cannot look anything up");
            Servers::Unknown
        }
    }
}

/// A response code as administrators know it.
fn code_word(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::NotAuth => "NOTAUTH",
        other => other.to_str(),
    }
}

/// A TXT record's segments without anything between them; `None` for one too long to be ours, or not text.
fn joined(segments: &[Box<[u8]>]) -> Option<String> {
    let octets = segments.concat();
    (octets.len() <= MAX_RECORD).then(|| String::from_utf8(octets).ok()).flatten()
}
