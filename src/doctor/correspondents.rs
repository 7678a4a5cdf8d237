//! Pinned correspondents who publish something else than what is pinned. For a pinned domain nothing else is believed, so
//! their next seal may be refused; or somebody forges their records.

use std::collections::BTreeSet;

use super::Site;
use super::finding::{Finding, Subject};
use super::resolvers::Resolvers;
use crate::dns;
use crate::domain::{DomainName, Selector};
use crate::seal::key::{KeyRecord, PublicKey};
use crate::seal::knowledge::{Answer, Pin, Pins};
use crate::seal::policy_record::PolicyRecord;
use crate::setup::Setup;
use crate::store::{Memories, PinFile};

pub(super) async fn check(site: &Site, resolvers: &Resolvers, findings: &mut Vec<Finding>) {
    let mut pins = Pins::default();
    for (domain, pin) in Setup::read_pins(&site.config).unwrap_or_default() {
        pins.add(domain, pin);
    }
    // A file that cannot be read is a finding about the state folder.
    let _ = PinFile::new(&site.config.state).add_to(&mut pins);
    let mut pinned: Vec<(&DomainName, &Pin)> = pins.iter().collect();
    pinned.sort_by_key(|(domain, _)| *domain);
    for (domain, pin) in pinned {
        let selectors = selectors(site, domain, pin);
        let mut published = Published { keys: Vec::new(), roots: Vec::new(), failed: false };
        let Some(asked) = &resolvers.plain else {
            Subject::new(findings, "correspondent", domain.as_str())
                .not_checked("whether what they publish agrees with the pin: no name server can be asked");
            continue;
        };
        for selector in &selectors {
            match asked.texts(&format!("{}.", dns::key_record_name(domain, selector))).await {
                Answer::Found { records, .. } => {
                    let records = records.iter().filter_map(|text| KeyRecord::parse(text).ok());
                    published.keys.extend(records.map(|record| (selector.clone(), record)));
                }
                Answer::NotFound { .. } => {}
                Answer::Failed(_) => published.failed = true,
            }
        }
        match asked.texts(&format!("{}.", dns::policy_record_name(domain))).await {
            Answer::Found { records, .. } => {
                let policies = records.iter().filter_map(|text| PolicyRecord::parse(text));
                published.roots.extend(policies.flat_map(|policy| policy.roots));
            }
            Answer::NotFound { .. } => {}
            Answer::Failed(_) => published.failed = true,
        }
        judge(&mut Subject::new(findings, "correspondent", domain.as_str()), pin, &published);
    }
}

/// Under which selectors a domain may publish keys: those of the pins, and those of its seals that were seen.
fn selectors(site: &Site, domain: &DomainName, pin: &Pin) -> BTreeSet<Selector> {
    let seen = Memories::open_to_read(&site.config.state).and_then(|memories| memories.keys(domain));
    let seen = seen.unwrap_or_default();
    let seen = seen.iter().filter(|key| !key.is_root).filter_map(|key| key.selector.parse().ok());
    pin.keys.iter().filter_map(|key| key.selector.clone()).chain(seen).collect()
}

/// What a correspondent publishes.
#[derive(Debug)]
struct Published {
    keys: Vec<(Selector, KeyRecord)>,
    roots: Vec<PublicKey>,
    failed: bool,
}

fn judge(subject: &mut Subject<'_>, pin: &Pin, published: &Published) {
    let told = |key: &PublicKey| pin.fingerprints.iter().any(|told| told.is(&key.fingerprint()));
    let is_pinned = |(selector, record): &&(Selector, KeyRecord)| {
        record.key.as_ref().is_some_and(told)
            || pin.keys.iter().any(|pinned| {
                pinned.record.key == record.key && pinned.selector.as_ref().is_none_or(|own| own == selector)
            })
    };
    let is_pinned_root = |root: &&PublicKey| pin.roots.contains(root) || told(root);
    let ask = "ask them by telephone, not by mail, and compare fingerprints; then waxseal keys pin, or waxseal keys forget --pin";
    let agrees = published.keys.iter().any(|key| is_pinned(&key))
        || published.roots.iter().any(|root| is_pinned_root(&root));
    let is_rooted = !pin.roots.is_empty() || published.roots.iter().any(told);
    let mut contradictions = Vec::new();
    for (selector, record) in published.keys.iter().filter(|key| !is_pinned(key)) {
        match record.key {
            None => contradictions.push(format!("that the key under {selector} is revoked")),
            // A root vouches for keys that nobody pinned.
            Some(_) if is_rooted => {}
            Some(key) => {
                contradictions.push(format!("under {selector} another key, {}", key.fingerprint().digits()));
            }
        }
    }
    if !pin.roots.is_empty()
        && let Some(root) = published.roots.first()
        && !published.roots.iter().any(|root| is_pinned_root(&root))
    {
        contradictions.push(format!("another root, {}", root.fingerprint().digits()));
    }
    // What was told by telephone may be the root's, which need not be published.
    let is_only_told = pin.keys.is_empty() && pin.roots.is_empty() && !agrees;
    let is_revoked = published.keys.iter().any(|(_, record)| record.key.is_none());
    match () {
        () if is_only_told && !is_revoked && !contradictions.is_empty() => subject.unknown(
            format!(
                "whether they publish the same: {}; right if the fingerprint you were told is their root's",
                contradictions.join("; ")
            ),
            ask,
        ),
        () if !contradictions.is_empty() => {
            subject.warning(
                format!("they publish what the pin contradicts: {}", contradictions.join("; ")),
                ask,
            );
        }
        () if published.failed => subject.not_checked("no answer about what they publish now"),
        () if agrees => subject.ok("they publish what is pinned"),
        () => subject.not_checked(
            "whether they publish the same: no selector of theirs is known, or they publish nothing",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::seal::key::SealingKey;
    use crate::seal::knowledge::PinnedKey;

    fn key(seed: u8) -> PublicKey {
        SealingKey::from_seed(&[seed; 32]).public()
    }

    fn record(seed: Option<u8>) -> KeyRecord {
        KeyRecord { key: seed.map(key), trial: false }
    }

    #[test]
    fn tells_a_contradiction_from_silence() {
        let selector = || "gate1".parse::<Selector>().unwrap();
        let by_key =
            Pin { keys: vec![PinnedKey { selector: None, record: record(Some(1)) }], ..Pin::default() };
        let by_root = Pin { roots: vec![key(3)], ..Pin::default() };
        let told = key(1).fingerprint().digits().parse().unwrap();
        let by_fingerprint = Pin { fingerprints: vec![told], ..Pin::default() };
        let says = |keys: &[Option<u8>], roots: &[u8]| Published {
            keys: keys.iter().map(|seed| (selector(), record(*seed))).collect(),
            roots: roots.iter().map(|seed| key(*seed)).collect(),
            failed: false,
        };
        for (pin, published, state) in [
            (&by_key, says(&[Some(1)], &[]), State::Ok),
            (&by_key, says(&[Some(2)], &[]), State::Warning),
            (&by_key, says(&[None], &[]), State::Warning),
            (&by_key, says(&[], &[]), State::NotChecked),
            (&by_key, Published { failed: true, ..says(&[], &[]) }, State::NotChecked),
            (&by_key, says(&[], &[3]), State::NotChecked),
            (&by_root, says(&[Some(2)], &[]), State::NotChecked),
            (&by_root, says(&[Some(2)], &[3]), State::Ok),
            (&by_root, says(&[Some(2)], &[4]), State::Warning),
            (&by_root, says(&[None], &[3]), State::Warning),
            (&by_fingerprint, says(&[Some(1)], &[]), State::Ok),
            (&by_fingerprint, says(&[Some(2)], &[1]), State::Ok),
            (&by_fingerprint, says(&[Some(2)], &[]), State::NotChecked),
            (&by_fingerprint, says(&[None], &[]), State::Warning),
        ] {
            let mut findings = Vec::new();
            judge(&mut Subject::new(&mut findings, "", ""), pin, &published);
            assert_eq!(findings.iter().map(|found| found.state).collect::<Vec<_>>(), [state], "{findings:?}");
        }
    }
}
