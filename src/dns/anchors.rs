//! Trust anchors: the keys at which proofs end, as DNSKEY or DS records. hickory takes a zone's key for an anchor only where it
//! is the root's, or where every key of the zone is one. So the keys of other zones are looked up here, and those count that an
//! anchor vouches for (RFC 4035 §5).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use attachment_seal::seal::knowledge::Failure;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_resolver::proto::dnssec::{TrustAnchors, Verifier};
use hickory_resolver::proto::op::DnsRequestOptions;
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::txt::trust_anchor::{Entry, Parser};
use hickory_resolver::proto::serialize::txt::{ParseError, ParseResult};
use thiserror::Error;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::zone::ask;

/// Trust anchors that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrustAnchorError {
    /// Not zone-file text with DNSKEY or DS records.
    #[error("not DNSKEY or DS records in zone-file form: {0}")]
    Form(String),
    /// No record in it.
    #[error("holds no DNSKEY or DS record")]
    Empty,
}

/// A zone, and the anchors of its keys.
#[derive(Clone, Debug)]
pub(super) struct Anchored {
    pub(super) zone: Name,
    keys: Vec<DNSKEY>,
    digests: Vec<DS>,
}

/// Reads anchors: one record a line, with TTL and class or without, as zone files, `dig` and Knot's `keymgr` have them.
pub(super) fn parse(text: &str) -> Result<Vec<Anchored>, TrustAnchorError> {
    let mut zones: Vec<Anchored> = Vec::new();
    for line in lines(text) {
        let wrong = |why: String| {
            TrustAnchorError::Form(format!("`{}`: {why}", line.chars().take(60).collect::<String>()))
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_type = |word: &&str| ["DNSKEY", "DS"].iter().any(|name| name.eq_ignore_ascii_case(word));
        let at = words.iter().take(4).position(is_type).filter(|at| *at > 0);
        let at = at.ok_or_else(|| wrong("neither DNSKEY nor DS".to_owned()))?;
        let mut zone = Name::from_ascii(words[0]).map_err(|error| wrong(error.to_string()))?.to_lowercase();
        zone.set_fqdn(true);
        let data = words[at + 1..].join(" ");
        let known = zones.iter_mut().position(|anchored| anchored.zone == zone);
        let index = known.unwrap_or_else(|| {
            zones.push(Anchored { zone, keys: Vec::new(), digests: Vec::new() });
            zones.len() - 1
        });
        if words[at].eq_ignore_ascii_case("DS") {
            zones[index].digests.push(digest(&data).map_err(|error| wrong(error.to_string()))?);
        } else {
            zones[index].keys.push(key(&data).map_err(|error| wrong(error.to_string()))?);
        }
    }
    if zones.is_empty() { Err(TrustAnchorError::Empty) } else { Ok(zones) }
}

fn digest(data: &str) -> ParseResult<DS> {
    match RData::try_from_str(RecordType::DS, data)? {
        RData::DNSSEC(DNSSECRData::DS(digest)) => Ok(digest),
        _ => Err(ParseError::Message("not a digest")),
    }
}

/// hickory reads DNSKEY records in a file of anchors only.
fn key(data: &str) -> ParseResult<DNSKEY> {
    match Parser::new(format!(". IN DNSKEY {data}\n")).parse()?.first() {
        Some(Entry::DNSKEY(record)) => Ok(record.data().clone()),
        _ => Err(ParseError::Message("not a key")),
    }
}

/// The lines of a zone file: comments left out, what parentheses hold together in one.
fn lines(text: &str) -> Vec<String> {
    let (mut lines, mut line, mut depth) = (Vec::new(), String::new(), 0_usize);
    for part in text.lines() {
        let part = part.split(';').next().unwrap_or_default();
        depth = (depth + part.matches('(').count()).saturating_sub(part.matches(')').count());
        line.push_str(&part.replace(['(', ')'], " "));
        line.push(' ');
        if depth == 0 {
            lines.push(std::mem::take(&mut line));
        }
    }
    lines.push(line);
    lines.retain(|line| !line.trim().is_empty());
    lines
}

impl Anchored {
    /// The anchors as hickory takes them for the root, if none is a mere digest.
    pub(super) fn of_root(&self) -> Option<TrustAnchors> {
        (self.zone.is_root() && self.digests.is_empty())
            .then(|| self.with(&self.keys.iter().collect::<Vec<_>>()))
    }

    /// All keys of the zone that an anchor vouches for, and for how long.
    pub(super) async fn look_up(
        &self,
        servers: Vec<NameServerConfig>,
        wait: Duration,
    ) -> Result<(TrustAnchors, Instant), Failure> {
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        options.edns_set_dnssec_ok = true;
        let answer = timeout(wait, ask(servers, &self.zone, RecordType::DNSKEY, wait, options)).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                debug!(zone = %self.zone, %error, "no answer about the keys of a zone with a trust anchor");
                return Err(Failure::Unanswered);
            }
            Err(_) => return Err(Failure::Unanswered),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match self.vouched(&answer.answers, now) {
            Some((anchors, seconds)) => Ok((anchors, Instant::now() + Duration::from_secs(seconds))),
            None => {
                warn!(zone = %self.zone, "no trust anchor vouches for the keys that this zone has now");
                Err(Failure::Bogus)
            }
        }
    }

    /// The zone's keys, if one that is anchored signed them all, and the seconds until they must be looked up again.
    fn vouched(&self, answers: &[Record], now: u64) -> Option<(TrustAnchors, u64)> {
        let records: Vec<&Record> = answers
            .iter()
            .filter(|record| record.name == self.zone && record.record_type() == RecordType::DNSKEY)
            .collect();
        let keys: Vec<&DNSKEY> = records
            .iter()
            .filter_map(|record| match &record.data {
                RData::DNSSEC(DNSSECRData::DNSKEY(key)) if key.zone_key() && !key.revoke() => Some(key),
                _ => None,
            })
            .collect();
        let signatures = answers.iter().filter(|record| record.name == self.zone).filter_map(|record| {
            let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data else { return None };
            Some(signature)
        });
        let signature = signatures.into_iter().find(|signature| {
            is_current(signature, &self.zone, now)
                && keys.iter().filter(|key| self.is_anchored(key)).any(|key| {
                    let records = records.iter().copied();
                    key.verify_rrsig(&self.zone, DNSClass::IN, signature, records).is_ok()
                })
        })?;
        let ends = u64::from(signature.input().sig_expiration.get());
        let ttl = records.iter().map(|record| u64::from(record.ttl)).min().unwrap_or_default();
        Some((self.with(&keys), ttl.min(ends.saturating_sub(now))))
    }

    fn is_anchored(&self, key: &DNSKEY) -> bool {
        self.keys.iter().any(|own| own.public_key() == key.public_key())
            || self.digests.iter().any(|digest| {
                digest.algorithm() == key.algorithm() && digest.covers(&self.zone, key).unwrap_or(false)
            })
    }

    fn with(&self, keys: &[&DNSKEY]) -> TrustAnchors {
        let mut anchors = TrustAnchors::empty();
        for key in keys {
            if self.zone.is_root() {
                anchors.insert(key.public_key());
            } else {
                anchors.insert_with_name(key.public_key(), (&self.zone).into());
            }
        }
        anchors
    }
}

/// Whether a signature is of a zone's keys, by the zone itself, and in date.
fn is_current(signature: &RRSIG, zone: &Name, now: u64) -> bool {
    let input = signature.input();
    input.type_covered == RecordType::DNSKEY
        && input.signer_name == *zone
        && u64::from(input.sig_inception.get()) <= now
        && now < u64::from(input.sig_expiration.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==";
    const DIGEST: &str = "1F987CC6583E92DF0890718C42D0E43F8CD2D52A5A4A2C3F8C6F2C3E8E4F6F2C";

    #[test]
    fn takes_what_zone_files_dig_and_keymgr_have() {
        for text in [
            format!("corp.example. DNSKEY 257 3 13 {KEY}\n"),
            format!("; a comment\ncorp.example IN DNSKEY 257 3 13 {KEY} ; KSK\n"),
            format!("corp.example.\t3600\tIN\tDNSKEY 257 3 13 {} {}\n", &KEY[..44], &KEY[44..]),
            format!("Corp.Example. 3600 DNSKEY 257 3 13 (\n {}\n {} )\n", &KEY[..44], &KEY[44..]),
        ] {
            let zones = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((zones.len(), zones[0].keys.len(), zones[0].digests.len()), (1, 1, 0), "{text}");
            assert_eq!(zones[0].zone.to_ascii(), "corp.example.");
        }
        let both = format!(
            "corp.example. DS 4711 13 2 {DIGEST}\n. IN DNSKEY 257 3 13 {KEY}\ncorp.example. DS 4711 13 4 {DIGEST}\n"
        );
        let zones = parse(&both).unwrap();
        assert_eq!(zones.iter().map(|zone| zone.digests.len()).collect::<Vec<_>>(), [2, 0]);
        assert!(zones[0].of_root().is_none() && zones[1].of_root().is_some());
    }

    #[test]
    fn refuses_what_is_no_anchor() {
        for text in
            ["corp.example. IN A 192.0.2.1", "DNSKEY 257 3 13 AAAA", "corp.example. DS x 13 2 00", "hello"]
        {
            assert!(matches!(parse(text), Err(TrustAnchorError::Form(_))), "{text}");
        }
        assert_eq!(parse("; nothing\n\n").unwrap_err(), TrustAnchorError::Empty);
    }
}
