//! What a zone's own name servers say of a record, each asked directly: a resolver's cache says what was, and one server
//! that lags behind is one that others may be asking. Nothing here is proved by DNSSEC, so nothing here makes a key believed;
//! it tells an administrator how far a change in the zone has come.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use attachment_seal::domain::{DomainName, Selector};
use futures_util::future::join_all;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequestOptions, DnsResponse, Query};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use thiserror::Error;
use tokio::time::timeout;

use super::{
    Client, Dns, LABEL, MAX_ALIASES, MAX_RECORDS, Servers, Settings, code_word, joined, name_servers,
};

/// Where name servers listen.
const PORT: u16 = 53;

/// Most name servers of one zone that are asked, by their addresses.
const MAX_SERVERS: usize = 32;

/// The name of a key record (SPEC.md §9).
pub fn key_record_name(domain: &DomainName, selector: &Selector) -> String {
    format!("{selector}.{LABEL}.{domain}")
}

/// The name of a policy record (SPEC.md §10).
pub fn policy_record_name(domain: &DomainName) -> String {
    format!("{LABEL}.{domain}")
}

/// The addresses of the resolvers that these settings lead to: those named, else the system's.
pub fn resolvers(settings: &Settings) -> Result<Vec<SocketAddr>, ZoneError> {
    let servers = name_servers(settings).map_err(|_| ZoneError::NoResolver)?;
    let port = |server: &NameServerConfig| server.connections.first().map_or(PORT, |first| first.port);
    Ok(servers.iter().map(|server| SocketAddr::new(server.ip, port(server))).collect())
}

/// Why it cannot be found out which servers a zone has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ZoneError {
    /// Nobody to ask for them.
    #[error("no resolver to ask for the name servers of a zone")]
    NoResolver,
    /// DNS cannot hold the name.
    #[error("`{0}` is no name that DNS can hold")]
    Name(String),
    /// Neither the name nor any above it has name servers.
    #[error("no zone that holds {0} was found")]
    NotFound(String),
    /// A question on the way to them was not answered, or not with the proof it needs.
    #[error("the name servers of {0} cannot be looked up now")]
    Failed(String),
}

impl ZoneError {
    /// Whether asking again will be of no use.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

/// One name server, and what it says of the TXT records at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The server's name, by the zone's NS records; `None` where an address was all that was given.
    pub server: Option<String>,
    /// The address that was asked; `None` where the name has none.
    pub address: Option<SocketAddr>,
    /// What it says.
    pub answer: ZoneAnswer,
    /// For how many seconds resolvers may remember that this server said "there is none" (RFC 2308 §5).
    pub negative_ttl: Option<u32>,
}

/// What a name server says of the TXT records at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneAnswer {
    /// These, the segments of each joined; never empty.
    Found(Vec<String>),
    /// The name is an alias of this one, for which its own zone's servers are asked.
    Alias(String),
    /// There are none.
    Absent,
    /// Nothing that is of use.
    Failed(ZoneFailure),
}

/// Why a name server's answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneFailure {
    /// The server's name has no address.
    NoAddress,
    /// No answer within the wait, neither by UDP nor by TCP.
    Silent,
    /// An error, in DNS's own word for it.
    Refused(String),
    /// It is not authoritative for the zone.
    NotAuthoritative,
}

impl fmt::Display for ZoneFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("has no address"),
            Self::Silent => f.write_str("does not answer"),
            Self::Refused(code) => write!(f, "answers with an error: {code}"),
            Self::NotAuthoritative => f.write_str("is not authoritative for the zone"),
        }
    }
}

impl fmt::Display for Said {
    /// The server, by name and address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.server, &self.address) {
            (Some(name), Some(address)) => write!(f, "{name} ({address})"),
            (Some(name), None) => f.write_str(name),
            (None, Some(address)) => write!(f, "{address}"),
            (None, None) => f.write_str("?"),
        }
    }
}

/// Whether all servers are heard, and each gives texts that are `wanted`. One that has several addresses is heard if one of
/// them answers, since this machine may have no IPv6; but none of them may say otherwise.
pub fn all_say(said: &[Said], wanted: impl Fn(&[String]) -> bool) -> bool {
    let is_heard = |said: &Said| !matches!(said.answer, ZoneAnswer::Failed(_));
    let is_heard_elsewhere = |one: &Said| {
        said.iter().any(|other| one.server.is_some() && other.server == one.server && is_heard(other))
    };
    let agrees = |one: &Said| match &one.answer {
        ZoneAnswer::Found(texts) => wanted(texts),
        // Whether the target is there, its own zone's servers say.
        ZoneAnswer::Alias(_) => true,
        ZoneAnswer::Absent => false,
        ZoneAnswer::Failed(_) => is_heard_elsewhere(one),
    };
    said.iter().any(|one| matches!(one.answer, ZoneAnswer::Found(_))) && said.iter().all(agrees)
}

impl Dns {
    /// What each name server of the zone that holds `name` says of the TXT records there. Where some say that it is an alias,
    /// the servers of its target's zone are asked as well. The zone's servers are found by way of the resolvers.
    pub async fn ask_zone(&self, name: &str) -> Result<Vec<Said>, ZoneError> {
        let client = self.0.load_full();
        if !matches!(*client.servers(), Servers::Some(..)) {
            return Err(ZoneError::NoResolver);
        }
        let (mut said, mut names) = (Vec::new(), vec![parse(name)?]);
        let mut next = 0;
        while let Some(name) = names.get(next).cloned() {
            let servers = zone_servers(&client, &name).await?;
            let answers =
                join_all(servers.iter().map(|server| server.ask(&name, client.settings.timeout))).await;
            for target in answers.iter().filter_map(|said| match &said.answer {
                ZoneAnswer::Alias(target) => parse(target).ok(),
                _ => None,
            }) {
                if names.len() < MAX_ALIASES && !names.contains(&target) {
                    names.push(target);
                }
            }
            said.extend(answers);
            next += 1;
        }
        Ok(said)
    }

    /// What each of these name servers says of the TXT records at a name; aliases are not followed.
    pub async fn ask_servers(&self, servers: &[SocketAddr], name: &str) -> Result<Vec<Said>, ZoneError> {
        let (name, wait) = (parse(name)?, self.0.load().settings.timeout);
        let servers: Vec<_> =
            servers.iter().map(|at| ZoneServer { name: None, address: Some(*at) }).collect();
        Ok(join_all(servers.iter().map(|server| server.ask(&name, wait))).await)
    }
}

fn parse(name: &str) -> Result<Name, ZoneError> {
    let mut parsed = Name::from_ascii(name).map_err(|_| ZoneError::Name(name.chars().take(80).collect()))?;
    parsed.set_fqdn(true);
    Ok(parsed.to_lowercase())
}

/// A name server that may be asked.
struct ZoneServer {
    name: Option<String>,
    address: Option<SocketAddr>,
}

/// The servers of the zone that holds `name`: those of the nearest name above it that has NS records, the root's excepted.
/// The name itself is not asked about: if it is yet to come, resolvers would remember that it is not there.
async fn zone_servers(client: &Client, name: &Name) -> Result<Vec<ZoneServer>, ZoneError> {
    let mut zone = name.base_name();
    while !zone.is_root() {
        let names = records(client, &zone, RecordType::NS).await;
        let names: Vec<Name> = names?
            .iter()
            .filter_map(|data| match data {
                RData::NS(ns) => Some(ns.0.to_lowercase()),
                _ => None,
            })
            .collect();
        if !names.is_empty() {
            let servers = join_all(names.iter().map(|name| addressed(client, name))).await;
            return Ok(servers.into_iter().flatten().take(MAX_SERVERS).collect());
        }
        zone = zone.base_name();
    }
    Err(ZoneError::NotFound(shown(name)))
}

/// A name server under each of its addresses.
async fn addressed(client: &Client, name: &Name) -> Vec<ZoneServer> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for record_type in [RecordType::A, RecordType::AAAA] {
        // One that cannot be looked up now counts as one without an address: either way it is not heard.
        for data in records(client, name, record_type).await.unwrap_or_default() {
            match data {
                RData::A(address) => addresses.push(address.0.into()),
                RData::AAAA(address) => addresses.push(address.0.into()),
                _ => {}
            }
        }
    }
    let server = |address: Option<IpAddr>| ZoneServer {
        name: Some(shown(name)),
        address: address.map(|address| SocketAddr::new(address, PORT)),
    };
    if addresses.is_empty() {
        vec![server(None)]
    } else {
        addresses.into_iter().map(|at| server(Some(at))).collect()
    }
}

/// The records of this type at exactly this name, as the resolvers give them.
async fn records(client: &Client, name: &Name, record_type: RecordType) -> Result<Vec<RData>, ZoneError> {
    let servers = client.servers_for(name).await.map_err(|_| ZoneError::Failed(shown(name)))?;
    let Servers::Some(resolver, _) = &*servers else { return Err(ZoneError::NoResolver) };
    match resolver.lookup(name.clone(), record_type).await {
        Ok(lookup) => {
            let own = lookup
                .answers()
                .iter()
                .filter(|record| record.name == *name && record.record_type() == record_type);
            let own: Vec<&Record> = own.take(MAX_RECORDS).collect();
            // What the resolver has refuted is not followed, not even to ask.
            let is_refuted = |record: &&Record| record.proof.is_bogus();
            if client.validates() && own.iter().any(is_refuted) {
                return Err(ZoneError::Failed(shown(name)));
            }
            Ok(own.into_iter().map(|record| record.data.clone()).collect())
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(_) | DnsError::Nsec { .. })) => Ok(Vec::new()),
        // hickory takes an alias to nothing for forged; no zone begins at an alias.
        Err(NetError::Dns(DnsError::DnssecBogus)) => Ok(Vec::new()),
        Err(_) => Err(ZoneError::Failed(shown(name))),
    }
}

impl ZoneServer {
    /// What it says of the TXT records at a name.
    async fn ask(&self, name: &Name, wait: Duration) -> Said {
        let said = |answer, negative_ttl| Said {
            server: self.name.clone(),
            address: self.address,
            answer,
            negative_ttl,
        };
        let Some(address) = self.address else {
            return said(ZoneAnswer::Failed(ZoneFailure::NoAddress), None);
        };
        let answers = async {
            let answer = ask_authority(address, name, RecordType::TXT, wait).await;
            let negative_ttl = match &answer {
                Ok(_) => negative_ttl(&ask_authority(address, name, RecordType::SOA, wait).await),
                Err(_) => negative_ttl(&answer),
            };
            (answer, negative_ttl)
        };
        match timeout(wait, answers).await {
            Ok((Ok(response), ttl)) => said(read(&response, name), ttl),
            Ok((Err(error), ttl)) => said(refusal(&error), ttl),
            Err(_) => said(ZoneAnswer::Failed(ZoneFailure::Silent), None),
        }
    }
}

/// One question to one server of a zone.
async fn ask_authority(
    server: SocketAddr,
    name: &Name,
    record_type: RecordType,
    wait: Duration,
) -> Result<DnsResponse, NetError> {
    let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    connections.iter_mut().for_each(|connection| connection.port = server.port());
    let server = NameServerConfig::new(server.ip(), true, connections.into());
    let mut options = DnsRequestOptions::default();
    options.recursion_desired = false;
    ask(vec![server], name, record_type, wait, options).await
}

/// One question to some servers: by UDP, and by TCP where the answer does not fit.
pub(super) async fn ask(
    servers: Vec<NameServerConfig>,
    name: &Name,
    record_type: RecordType,
    wait: Duration,
    request: DnsRequestOptions,
) -> Result<DnsResponse, NetError> {
    let mut options = ResolverOpts::default();
    options.timeout = wait;
    options.try_tcp_on_error = true;
    let context = PoolContext::new(options, TlsConfig::new()?);
    let pool = NameServerPool::from_config(servers, Arc::new(context), TokioRuntimeProvider::default());
    pool.lookup(Query::query(name.clone(), record_type), request).first_answer().await
}

fn read(response: &DnsResponse, name: &Name) -> ZoneAnswer {
    if !response.authoritative {
        return ZoneAnswer::Failed(ZoneFailure::NotAuthoritative);
    }
    let mut texts = Vec::new();
    for record in response.answers.iter().filter(|record| record.name == *name).take(MAX_RECORDS) {
        match &record.data {
            RData::TXT(txt) => texts.extend(joined(&txt.txt_data)),
            RData::CNAME(target) => return ZoneAnswer::Alias(shown(&target.0)),
            _ => {}
        }
    }
    if texts.is_empty() { ZoneAnswer::Absent } else { ZoneAnswer::Found(texts) }
}

/// An answer without records, which hickory calls an error, or none.
fn refusal(error: &NetError) -> ZoneAnswer {
    match error {
        // Who speaks for the zone says so by its start of authority; the others refer to somebody else.
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.soa.is_some() => ZoneAnswer::Absent,
        NetError::Dns(DnsError::NoRecordsFound(_)) => ZoneAnswer::Failed(ZoneFailure::NotAuthoritative),
        NetError::Dns(DnsError::ResponseCode(code)) => {
            ZoneAnswer::Failed(ZoneFailure::Refused(code_word(*code).to_owned()))
        }
        _ => ZoneAnswer::Failed(ZoneFailure::Silent),
    }
}

/// From the start of authority in an answer, which stands there where there is nothing else.
fn negative_ttl(answer: &Result<DnsResponse, NetError>) -> Option<u32> {
    match answer {
        Ok(response) => response.answers.iter().chain(&response.authorities).find_map(|record| {
            let RData::SOA(soa) = &record.data else { return None };
            Some(record.ttl.min(soa.minimum))
        }),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            none.soa.as_ref().map(|soa| soa.ttl.min(soa.data.minimum))
        }
        Err(_) => None,
    }
}

/// As people write it.
fn shown(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(server: Option<&str>, last: u8, answer: ZoneAnswer) -> Said {
        let address = Some(SocketAddr::from(([192, 0, 2, last], PORT)));
        Said { server: server.map(str::to_owned), address, answer, negative_ttl: None }
    }

    #[test]
    fn all_servers_must_say_it() {
        let found = |text: &str| ZoneAnswer::Found(vec![text.to_owned()]);
        let silent = || ZoneAnswer::Failed(ZoneFailure::Silent);
        let alias = || ZoneAnswer::Alias("keys.example.net".to_owned());
        for (what, answers, agreed) in [
            ("nobody", vec![], false),
            ("all", vec![(Some("a"), found("new")), (Some("b"), found("new"))], true),
            ("one lags", vec![(Some("a"), found("new")), (Some("b"), ZoneAnswer::Absent)], false),
            ("one has another", vec![(Some("a"), found("new")), (Some("b"), found("old"))], false),
            ("one is silent", vec![(Some("a"), found("new")), (Some("b"), silent())], false),
            ("no IPv6 here", vec![(Some("a"), found("new")), (Some("a"), silent())], true),
            ("one address lags", vec![(Some("a"), found("new")), (Some("a"), ZoneAnswer::Absent)], false),
            ("two without names", vec![(None, found("new")), (None, silent())], false),
            ("an alias and its target", vec![(Some("a"), alias()), (Some("b"), found("new"))], true),
            ("an alias to nothing", vec![(Some("a"), alias()), (Some("b"), ZoneAnswer::Absent)], false),
            ("an alias alone", vec![(Some("a"), alias())], false),
        ] {
            let all: Vec<Said> =
                answers.into_iter().zip(1..).map(|((server, answer), n)| said(server, n, answer)).collect();
            assert_eq!(all_say(&all, |texts| texts == ["new"]), agreed, "{what}");
        }
    }
}
