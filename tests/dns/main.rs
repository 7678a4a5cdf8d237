//! Keys and policies from real zones (SPEC.md §9 and §10), with a name server and, where it says so, a liar before it.
//! Needs Knot DNS; without it the tests are skipped, unless `WAXSEAL_REQUIRE_LIVE` is set.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod anchors;
mod forged;
mod forger;
mod gateway;
mod lookups;
mod own_servers;
#[path = "../program/mod.rs"]
mod program;
mod zone;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use attachment_seal::seal::key::{KeyRecord, SealingKey};
use attachment_seal::seal::knowledge::Answer;
use attachment_seal::seal::policy_record::PolicyRecord;
use waxseal::dns::lookup::LookupKey;
use waxseal::dns::{Dns, Dnssec, Settings};
use zone::Knot;

/// The key whose seed is this octet, as its record.
fn record(seed: u8) -> String {
    KeyRecord { key: Some(SealingKey::from_seed(&[seed; 32]).public()), trial: false }.to_string()
}

/// What asks a server, with the zones' root as the end of every proof.
fn asking(server: SocketAddr, knot: &Knot, dnssec: Dnssec) -> Dns {
    waiting(server, knot, dnssec, Duration::from_secs(15))
}

/// The same, with this long to wait for all that a message needs.
fn waiting(server: SocketAddr, knot: &Knot, dnssec: Dnssec, timeout: Duration) -> Dns {
    let anchors = fs::read_to_string(knot.anchors()).unwrap();
    Dns::new(Settings {
        servers: Some(vec![server]),
        dnssec,
        timeout,
        trust_anchors: (dnssec != Dnssec::Off).then_some(anchors),
        ..Settings::default()
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn key(dns: &Dns, domain: &str, selector: &str) -> Answer<KeyRecord> {
    dns.lookup(&domain.parse().unwrap(), &selector.parse().unwrap()).await
}

async fn policy(dns: &Dns, domain: &str) -> Answer<PolicyRecord> {
    dns.lookup_policy(&domain.parse().unwrap()).await
}

/// The keys that were found, by the seeds that made them, in order; `-` for a revoked one.
fn seeds(answer: &Answer<KeyRecord>) -> String {
    let Answer::Found { records, .. } = answer else { return String::new() };
    let seed = |record: &KeyRecord| match record.key {
        None => "-".to_owned(),
        Some(key) => {
            let seed = (0..=9_u8).find(|seed| SealingKey::from_seed(&[*seed; 32]).public() == key).unwrap();
            format!("{seed}{}", if record.trial { "t" } else { "" })
        }
    };
    let mut seeds: Vec<String> = records.iter().map(seed).collect();
    seeds.sort();
    seeds.join(" ")
}
