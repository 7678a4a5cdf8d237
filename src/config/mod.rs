//! The configuration: a TOML file and environment variables `WAXSEAL_<SECTION>__<KEY>` to one typed [`Config`].
//!
//! Everything is checked here except what needs the disk or the seal's own formats (key files, key records):
//! those come out as [`Located`], so that whoever reads them can say where they were written.
//! A wrong configuration gives every [`Mistake`] at once; a right one comes with [`Warning`]s where it is dangerous.

mod address;
mod admin;
mod authentication;
mod check;
mod console;
mod dns;
mod keys;
mod layers;
mod limits;
mod listeners;
mod mistake;
mod notices;
mod open_relay;
mod parsed;
mod partial;
mod places;
mod policy;
mod quantity;
mod raw;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use attachment_seal::domain::{DomainName, Selector};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Deserialize;
use thiserror::Error;

pub use self::address::{ClientNet, Clients, Host, ListenAddress, NextHop, ParseAddressError, Server};
pub use self::keys::{Section, keys};
pub use self::mistake::{Located, Mistake, Place, Warning};
pub use self::partial::Partial;
use crate::dns::Dnssec;
use crate::policy::Policy;
use crate::smtp::limits::Limits;
use crate::smtp::{BareLineEnds, Introduction};
use crate::store::{Location, Quotas};

/// All that an administrator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our name in greetings and as authserv-id. Default: the system's host name.
    pub hostname: DomainName,
    /// Where all is that outlives a restart. Default: the folder `/var/lib/waxseal`.
    pub state: Location,
    /// Where we listen; at least one.
    pub listeners: Vec<Listener>,
    /// What we seal for; at least one where a listener seals.
    pub domains: Vec<SealingDomain>,
    /// Whose keys are pinned.
    pub correspondents: Vec<Correspondent>,
    /// What is done about each verdict.
    pub policy: Policy,
    /// Whom to ask for keys and policies that are not pinned.
    pub dns: Dns,
    /// Limits of sessions and messages.
    pub limits: Limits,
    /// How much may be held.
    pub quarantine: Quotas,
    /// How held mail is dealt with.
    pub held_mail: HeldMail,
    /// Our certificate for clients; without it there is no TLS with them.
    pub tls: Option<Tls>,
    /// Whom to tell about mail that was held or refused; nobody unless set.
    pub alerts: Option<Alerts>,
    /// What recipients of held mail are told; nothing unless set.
    pub notices: Option<Notices>,
    /// Where metrics and health are told; nowhere unless set.
    pub admin: Admin,
    /// The pages for people; none unless set.
    pub console: Option<Console>,
    /// How to log.
    pub log: Log,
    /// What works and should be thought about all the same, in the file's order.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// The sealing domain for mail from `from`: itself, else the nearest parent with `subdomains`.
    pub fn sealing_domain(&self, from: &DomainName) -> Option<&SealingDomain> {
        let covers = |d: &&SealingDomain| d.name == *from || (d.subdomains && from.is_at_or_below(&d.name));
        self.domains.iter().filter(covers).max_by_key(|domain| domain.name.label_count())
    }
}

/// One `[[listener]]`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name in logs and in the quarantine; unique.
    pub name: String,
    /// Whether it seals or verifies.
    pub mode: Mode,
    /// The addresses it listens on; at least one.
    pub listen: Vec<ListenAddress>,
    /// Where its mail goes.
    pub next_hop: NextHop,
    /// Whether that is under TLS. Default: off.
    pub next_hop_tls: Located<NextHopTls>,
    /// The roots by which its certificate is checked, if it is. Default: the system's.
    pub next_hop_ca: Option<Located<PathBuf>>,
    /// Whether TLS begins with the connection, and not by STARTTLS. Default false; true needs [`Config::tls`].
    pub implicit_tls: bool,
    /// Who may connect. Default: loopback when sealing, everyone when verifying.
    pub clients: Clients,
    /// Whether clients must prove to the next hop who they are; sealing only. Default: as the next hop wishes.
    pub auth: Auth,
    /// What happens to a message with a bare CR or LF. Default: refused.
    pub bare_line_ends: BareLineEnds,
    /// What happens to a message whose header section cannot be sealed; sealing only. Default: refused.
    pub unclean_header: UncleanHeader,
    /// How the next hop is told who the client is. Default: not at all.
    pub introduction: Introduction,
    /// Whose XCLIENT is believed. Default: nobody's.
    pub xclient_from: Clients,
    /// Whose XFORWARD goes through. Default: nobody's.
    pub xforward_from: Clients,
    /// Whose connections begin with a PROXY header. Default: nobody's.
    pub proxy_protocol_from: Clients,
}

/// Whether mail goes to the next hop under TLS (RFC 3207).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NextHopTls {
    /// Never.
    #[default]
    Off,
    /// Where the next hop offers it and it works; else in clear.
    May,
    /// Always, whatever certificate the next hop has.
    Encrypt,
    /// Always, with a certificate that bears the next hop's name and leads to a root in [`Listener::next_hop_ca`], or to one
    /// of the system's.
    Verify,
    /// The same, with TLS from the first octet on instead of STARTTLS.
    Implicit,
}

impl NextHopTls {
    /// Whether the next hop must show a certificate of its own.
    pub fn checks_certificate(self) -> bool {
        matches!(self, Self::Verify | Self::Implicit)
    }
}

/// `[tls]`: our certificate for clients, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and behind it those that lead to its root.
    pub certificate: Located<PathBuf>,
    /// Its private key.
    pub key: Located<PathBuf>,
}

/// What a listener does with mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Seals mail of our own domains.
    Seal,
    /// Verifies mail that comes in.
    Verify,
}

impl Mode {
    /// The word that the configuration uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Verify => "verify",
        }
    }
}

/// Whether a client may send mail before the next hop has accepted its credentials (RFC 4954).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// If the next hop takes it.
    #[default]
    Optional,
    /// No: MAIL is answered with `530 5.7.0`.
    Required,
}

/// What happens to a message whose header section cannot be sealed (SPEC.md §7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UncleanHeader {
    /// Answered with `550 5.6.0`.
    #[default]
    Refuse,
    /// Passed on unsealed.
    Pass,
}

/// One `[[domain]]`: what this gateway seals for.
#[derive(Clone, Debug)]
pub struct SealingDomain {
    /// The sealing domain, `d`; unique.
    pub name: DomainName,
    /// What seals.
    pub keys: SealingKeys,
    /// Whom to ask for a new key's record in the place of the zone's name servers. Default: those that its NS records name.
    pub name_servers: Vec<SocketAddr>,
    /// How long a seal is valid. Default 14 days, between 1 hour and 90 days.
    pub lifetime: Duration,
    /// Whether mail from domains below is sealed, too. Default false.
    pub subdomains: bool,
    /// A file or folder with delegation statements by the domain's root key (SPEC.md §9).
    pub delegation: Option<Located<PathBuf>>,
}

/// What seals for a domain.
#[derive(Clone, Debug)]
pub enum SealingKeys {
    /// The newest key in this folder that everybody finds in DNS (`keys`).
    Folder(Located<PathBuf>),
    /// One key that stays (`key` and `selector`).
    Fixed {
        /// What it is published as, `s`.
        selector: Selector,
        /// Its PEM file, credential or place in a token.
        key: Located<PathBuf>,
        /// A file with a delegation by the sealing key before this one, for those who remember that (SPEC.md §9). It may end.
        succession: Option<Located<PathBuf>>,
    },
}

/// One `[[correspondent]]`: a pinned domain (SPEC.md §9). At least one of `keys`, `roots`, `keys_dir` is given.
#[derive(Clone, Debug)]
pub struct Correspondent {
    /// The pinned domain; unique.
    pub domain: DomainName,
    /// Key records, `v=SEAL1; …`, not yet parsed.
    pub keys: Vec<Located<String>>,
    /// Root public keys in base64url, not yet parsed.
    pub roots: Vec<Located<String>>,
    /// A folder with `<domain>/<selector>.txt` and `<domain>/root.txt`.
    pub keys_dir: Option<Located<PathBuf>>,
    /// Whether the domains below are pinned with it. Default true.
    pub subdomains: bool,
}

/// `[dns]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The name servers. Default: the system's. An empty list: nothing is looked up, and only pins are believed.
    pub servers: Option<Vec<SocketAddr>>,
    /// What DNSSEC decides. Default: nothing.
    pub dnssec: Dnssec,
    /// Longest wait for all answers that one message needs. Default 10 seconds, between 1 second and 2 minutes.
    pub timeout: Duration,
    /// Most questions that one message may cause. Default 300.
    pub questions: usize,
    /// Octets of answers that are remembered. Default 4 MiB.
    pub cache: u64,
    /// A file of DNSKEY records that proofs end at. Default: the root's keys, built in.
    pub trust_anchors: Option<Located<PathBuf>>,
}

/// How held mail is dealt with, the rest of `[quarantine]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldMail {
    /// For how long it is kept before it is removed by age. Default: for ever; between 7 days and 10 years.
    pub keep: Option<Duration>,
    /// How many people it takes to release a message: 1, the default, or 2.
    pub release_needs: usize,
}

/// `[alerts]`: whom to tell, and how to reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// The administrator's address.
    pub to: String,
    /// The alerts' From. Default `waxseal@<hostname>`.
    pub from: String,
    /// The server that takes them, best not this gateway. Default `127.0.0.1:25`.
    pub next_hop: Server,
    /// When the daily digest goes out, in the system's time zone; `None` for never. Default 07:00.
    pub digest: Option<Time>,
}

/// `[notices]` with `to = "recipients"`: how the recipients of held mail are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notices {
    /// The language of the text (BCP 47). Default `en`.
    pub language: Located<String>,
    /// A folder with the site's own texts.
    pub folder: Option<Located<PathBuf>>,
    /// Whom recipients may ask.
    pub contact: Option<String>,
    /// The notices' From. Default: that of the alerts, or `waxseal@<hostname>`.
    pub from: String,
    /// The server that takes them, best not this gateway. Default: that of the alerts, or `127.0.0.1:25`.
    pub next_hop: Server,
    /// What is different for some recipients' domains.
    pub exceptions: Vec<NoticeFor>,
}

/// One `[[notices.for]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeFor {
    /// The recipients' domain, with all below it; unique.
    pub domain: DomainName,
    /// The language, if it is another one.
    pub language: Option<Located<String>>,
    /// Whom to ask, if that is somebody else.
    pub contact: Option<String>,
}

impl Notices {
    /// The language and the contact for recipients of this domain.
    pub fn of(&self, domain: Option<&DomainName>) -> (&str, Option<&str>) {
        let covers =
            |exception: &&NoticeFor| domain.is_some_and(|domain| domain.is_at_or_below(&exception.domain));
        let nearest =
            self.exceptions.iter().filter(covers).max_by_key(|exception| exception.domain.label_count());
        let language = nearest.and_then(|exception| exception.language.as_ref()).unwrap_or(&self.language);
        let contact = nearest.and_then(|exception| exception.contact.as_deref()).or(self.contact.as_deref());
        (&language.value, contact)
    }
}

/// `[admin]`: metrics and health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The addresses they are told at, by HTTP. Default: none.
    pub listen: Vec<ListenAddress>,
    /// Names by which those who watch call this gateway, beside its own and names without a dot. Default: none.
    pub hosts: Vec<DomainName>,
}

/// `[console]`: the pages for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// The addresses they are at; at least one.
    pub listen: Vec<ListenAddress>,
    /// The certificate for addresses that other machines reach. Default: that of [`Config::tls`].
    pub tls: Option<Tls>,
    /// Names by which people call the console, beside our own and names without a dot. Default: none.
    pub names: Vec<DomainName>,
    /// The zone of dates and times, for those who have chosen none. Default: UTC.
    pub time_zone: TimeZone,
    /// Reverse proxies, who tell the address of a client (`X-Forwarded-For`). Default: none.
    pub trusted_proxies: Clients,
    /// The header field by which they say who somebody is, in lower case. Default: none.
    pub trusted_header: Option<String>,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Lines for people or for programs. Default text.
    pub format: LogFormat,
    /// A level, or a filter such as `info,waxseal::smtp=debug`. Default info.
    pub level: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A word that is no log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a format; use text or json")]
pub struct ParseLogFormatError;

impl FromStr for LogFormat {
    type Err = ParseLogFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(ParseLogFormatError),
        }
    }
}

/// Reads the file at `path` and the process's environment.
pub fn load(path: &Path) -> Result<Config, Vec<Mistake>> {
    parse(&read(path)?, path, environment()?)
}

/// Reads the file at `path` and the process's environment, for a command that needs only parts of it.
pub fn load_parts(path: &Path) -> Result<Partial, Vec<Mistake>> {
    let layers = layers::read(&read(path)?, places::Places::new(path), environment()?);
    Ok(check::check_parts(layers, path.parent().unwrap_or(Path::new(""))))
}

/// Reads `text` as the content of `file`, with `env` for an environment.
/// A relative path in it starts at the file's folder.
pub fn parse(
    text: &str,
    file: &Path,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, Vec<Mistake>> {
    let layers = layers::read(text, places::Places::new(file), env);
    check::check(layers, file.parent().unwrap_or(Path::new("")))
}

/// Where a gateway of this file serves metrics and health. Mistakes elsewhere in it do not matter: a gateway that
/// runs with the configuration before it serves them all the same.
pub fn admin_addresses(path: &Path) -> Result<Vec<ListenAddress>, Vec<Mistake>> {
    let layers = layers::read(&read(path)?, places::Places::new(path), environment()?);
    let folder = path.parent().unwrap_or(Path::new(""));
    let at = |address| match address {
        ListenAddress::Unix(socket) => ListenAddress::Unix(folder.join(socket)),
        tcp @ ListenAddress::Tcp(_) => tcp,
    };
    Ok(layers.raw.admin.listen.map(|listen| listen.0.into_iter().map(at).collect()).unwrap_or_default())
}

fn read(path: &Path) -> Result<String, Vec<Mistake>> {
    let place = Place { file: Some(path.to_owned()), ..Place::default() };
    std::fs::read_to_string(path)
        .map_err(|error| vec![Mistake { place, reason: format!("cannot be read: {error}") }])
}

/// Our variables, as text.
fn environment() -> Result<impl Iterator<Item = (String, String)>, Vec<Mistake>> {
    let (mut variables, mut mistakes) = (Vec::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            Err(_) if name.starts_with(layers::PREFIX) => {
                let place = Place { key: format!("environment variable {name}"), ..Place::default() };
                mistakes.push(Mistake { place, reason: "not UTF-8".to_owned() });
            }
            Err(_) => {}
        }
    }
    if mistakes.is_empty() { Ok(variables.into_iter()) } else { Err(mistakes) }
}
