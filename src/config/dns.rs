//! `[dns]`: whom to ask, how long to wait, and what of the answers to believe.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::check::Checker;
use super::limits::{count, size};
use super::parsed::List;
use super::{Dns, raw};
use crate::dns::Dnssec;

/// Long enough for a resolver that must ask around first, far below any client's patience.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Some hundred questions are an honest message's with DNSSEC, with eight names above its author's.
const DEFAULT_QUESTIONS: usize = 300;

const DEFAULT_CACHE: u64 = 4 << 20;

/// From 64 KiB, which is one name's answer at its largest, to 1 GiB.
const CACHES: RangeInclusive<u64> = 64 << 10..=1 << 30;

/// From a second to two minutes.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// The settings in force; mistakes are recorded.
pub(super) fn check(checker: &mut Checker<'_>, raw: raw::Dns) -> Dns {
    let timeout = checker.duration("dns.timeout", raw.timeout, DEFAULT_TIMEOUT, TIMEOUTS);
    let questions = count(checker, "dns.questions", raw.questions, DEFAULT_QUESTIONS, 100_000);
    let cache = size(checker, "dns.cache", raw.cache, DEFAULT_CACHE, CACHES);
    let dnssec = raw.dnssec.map_or(Dnssec::Off, |word| word.0);
    if dnssec == Dnssec::Off && raw.trust_anchors.is_some() {
        checker
            .wrong("dns.trust_anchors", "means nothing without DNSSEC; set dnssec = \"prefer\" or remove it");
    }
    let trust_anchors = raw.trust_anchors.and_then(|file| checker.path("dns.trust_anchors", file));
    let servers = raw.servers.map(|List(servers)| servers.into_iter().map(|server| server.0).collect());
    Dns { servers, dnssec, timeout, questions, cache, trust_anchors }
}

/// A name server: an address with its port, or 53.
#[derive(Debug)]
pub(super) struct NameServer(SocketAddr);

impl FromStr for NameServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alone = || text.trim_matches(['[', ']']).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        let server: Result<SocketAddr, _> = text.parse().or_else(|_| alone());
        match server {
            Ok(server) if server.port() == 0 || server.ip().is_unspecified() => {
                Err(format!("`{text}` cannot be asked; write an address and a port, as \"192.0.2.53:53\""))
            }
            Ok(server) => Ok(Self(server)),
            Err(_) => Err(format!("`{text}` is not an address with a port; write it as \"192.0.2.53:53\"")),
        }
    }
}

/// `"off"`, `"prefer"`, `"require"`, or `false`.
#[derive(Debug)]
pub(super) struct DnssecWord(Dnssec);

impl<'de> Deserialize<'de> for DnssecWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DnssecVisitor)
    }
}

struct DnssecVisitor;

impl Visitor<'_> for DnssecVisitor {
    type Value = DnssecWord;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"off\", \"prefer\" or \"require\"")
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
        if on {
            return Err(E::custom("`true`: choose \"prefer\" or \"require\""));
        }
        Ok(DnssecWord(Dnssec::Off))
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
        match word.trim() {
            "off" | "false" => Ok(DnssecWord(Dnssec::Off)),
            "prefer" => Ok(DnssecWord(Dnssec::Prefer)),
            "require" => Ok(DnssecWord(Dnssec::Require)),
            _ => Err(E::custom(format!("`{word}`: use \"off\", \"prefer\" or \"require\""))),
        }
    }
}
