//! The configuration as it is written: every key optional, each value parsed on its own.
//! What values mean together is judged in `check.rs`; defaults are there, too.

use std::net::SocketAddr;
use std::path::PathBuf;

use attachment_seal::domain::{DomainName, Selector};
use serde::Deserialize;

use super::address::{ClientNet, Clients, ListenAddress, NextHop, Server};
use super::dns::{DnssecWord, NameServer};
use super::notices::{DigestTime, Told};
use super::parsed::{List, Parsed};
use super::quantity::{Seconds, Size};
use super::{Auth, BareLineEnds, LogFormat, Mode, NextHopTls, UncleanHeader};
use crate::policy::{Choice, LinkChoice, Mode as PolicyMode};
use crate::store::Label;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) hostname: Option<Parsed<DomainName>>,
    pub(super) state: Option<String>,
    pub(super) folder: Option<PathBuf>,
    pub(super) label: Option<Parsed<Label>>,
    pub(super) listener: Vec<Listener>,
    pub(super) domain: Vec<Domain>,
    pub(super) correspondent: Vec<Correspondent>,
    pub(super) policy: Policy,
    pub(super) dns: Dns,
    pub(super) limits: Limits,
    pub(super) quarantine: Quarantine,
    pub(super) tls: Option<Tls>,
    pub(super) alerts: Option<Alerts>,
    pub(super) notices: Notices,
    pub(super) admin: Admin,
    pub(super) console: Option<Console>,
    pub(super) log: Log,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listener {
    pub(super) name: Option<String>,
    pub(super) mode: Option<Mode>,
    pub(super) listen: Option<Vec<Parsed<ListenAddress>>>,
    pub(super) next_hop: Option<Parsed<NextHop>>,
    pub(super) next_hop_tls: NextHopTls,
    pub(super) next_hop_ca: Option<PathBuf>,
    pub(super) implicit_tls: bool,
    pub(super) clients: Option<Clients>,
    pub(super) auth: Auth,
    pub(super) bare_line_ends: BareLineEnds,
    pub(super) unclean_header: Option<UncleanHeader>,
    pub(super) xclient: bool,
    pub(super) xforward: bool,
    pub(super) proxy_protocol: bool,
    pub(super) xclient_from: Clients,
    pub(super) proxy_protocol_from: Clients,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Domain {
    pub(super) name: Option<Parsed<DomainName>>,
    pub(super) selector: Option<Parsed<Selector>>,
    pub(super) key: Option<PathBuf>,
    pub(super) keys: Option<PathBuf>,
    pub(super) name_servers: Option<Vec<Parsed<SocketAddr>>>,
    pub(super) lifetime: Option<Seconds>,
    pub(super) subdomains: Option<bool>,
    pub(super) delegation: Option<PathBuf>,
    pub(super) succession: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Correspondent {
    pub(super) domain: Option<Parsed<DomainName>>,
    pub(super) keys: Option<Vec<String>>,
    pub(super) roots: Option<Vec<String>>,
    pub(super) keys_dir: Option<PathBuf>,
    pub(super) subdomains: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Policy {
    pub(super) pass: Option<Parsed<Choice>>,
    pub(super) none: Option<Parsed<Choice>>,
    pub(super) missing: Option<Parsed<Choice>>,
    pub(super) fail: Option<Parsed<Choice>>,
    pub(super) ambiguous: Option<Parsed<Choice>>,
    pub(super) unaligned: Option<Parsed<Choice>>,
    pub(super) expired: Option<Parsed<Choice>>,
    pub(super) unknown_key: Option<Parsed<Choice>>,
    pub(super) key_changed: Option<Parsed<Choice>>,
    pub(super) temperror: Option<Parsed<Choice>>,
    pub(super) links: Option<Parsed<LinkChoice>>,
    pub(super) links_except: Option<Vec<Parsed<DomainName>>>,
    pub(super) mode: Option<Parsed<PolicyMode>>,
    pub(super) subject_prefix: Option<String>,
    #[serde(rename = "for")]
    pub(super) exceptions: Vec<Exception>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Exception {
    pub(super) correspondents: Option<Vec<Parsed<DomainName>>>,
    pub(super) recipients: Option<Vec<Parsed<DomainName>>>,
    pub(super) mode: Option<Parsed<PolicyMode>>,
    pub(super) pass: Option<Parsed<Choice>>,
    pub(super) none: Option<Parsed<Choice>>,
    pub(super) missing: Option<Parsed<Choice>>,
    pub(super) fail: Option<Parsed<Choice>>,
    pub(super) ambiguous: Option<Parsed<Choice>>,
    pub(super) unaligned: Option<Parsed<Choice>>,
    pub(super) expired: Option<Parsed<Choice>>,
    pub(super) unknown_key: Option<Parsed<Choice>>,
    pub(super) key_changed: Option<Parsed<Choice>>,
    pub(super) temperror: Option<Parsed<Choice>>,
    pub(super) links: Option<Parsed<LinkChoice>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dns {
    pub(super) servers: Option<List<NameServer>>,
    pub(super) dnssec: Option<DnssecWord>,
    pub(super) timeout: Option<Seconds>,
    pub(super) questions: Option<i64>,
    pub(super) cache: Option<Size>,
    pub(super) trust_anchors: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) message_size: Option<Size>,
    pub(super) header_size: Option<Size>,
    pub(super) connections: Option<i64>,
    pub(super) connections_per_client: Option<i64>,
    pub(super) memory: Option<Size>,
    pub(super) recipients: Option<i64>,
    pub(super) spool: Option<Size>,
    pub(super) spool_per_client: Option<Size>,
    pub(super) spool_reserve: Option<Size>,
    pub(super) command_timeout: Option<Seconds>,
    pub(super) data_timeout: Option<Seconds>,
    pub(super) next_hop_timeout: Option<Seconds>,
    pub(super) bad_commands: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Quarantine {
    pub(super) size: Option<Size>,
    pub(super) messages: Option<i64>,
    pub(super) unverified_size: Option<Size>,
    pub(super) unverified_messages: Option<i64>,
    pub(super) keep: Option<Seconds>,
    pub(super) release_needs: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Alerts {
    pub(super) to: Option<String>,
    pub(super) from: Option<String>,
    pub(super) next_hop: Option<Parsed<Server>>,
    pub(super) digest: Option<Parsed<DigestTime>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Notices {
    pub(super) to: Option<Parsed<Told>>,
    pub(super) language: Option<String>,
    pub(super) folder: Option<PathBuf>,
    pub(super) contact: Option<String>,
    pub(super) from: Option<String>,
    pub(super) next_hop: Option<Parsed<Server>>,
    #[serde(rename = "for")]
    pub(super) exceptions: Vec<NoticeFor>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NoticeFor {
    pub(super) domain: Option<Parsed<DomainName>>,
    pub(super) language: Option<String>,
    pub(super) contact: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    pub(super) listen: Option<List<ListenAddress>>,
    pub(super) hosts: Option<List<DomainName>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Console {
    pub(super) listen: Option<List<ListenAddress>>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) names: Option<List<DomainName>>,
    pub(super) time_zone: Option<String>,
    pub(super) trusted_header: Option<String>,
    pub(super) trusted_proxies: Option<List<ClientNet>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) format: Option<Parsed<LogFormat>>,
    pub(super) level: Option<String>,
}
