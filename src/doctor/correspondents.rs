//! Pinned correspondents who publish something else than what is pinned. For a pinned domain only the pin is
//! trusted, so their next seal may be refused; or somebody forges their records.

use std::collections::BTreeSet;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::key::{KeyRecord, PublicKey};
use attachment_seal::seal::knowledge::{Answer, Pin, PinnedKey, Pins};
use attachment_seal::seal::policy_record::PolicyRecord;

use super::Site;
use super::finding::{Finding, Subject};
use super::resolvers::Resolvers;
use crate::dns::{self, Dnssec};
use crate::gateway::setup::Setup;
use crate::phrase::counted;
use crate::store::{KeyRecord as SeenKey, State};

pub(super) async fn check(site: &Site, resolvers: &Resolvers, findings: &mut Vec<Finding>) {
    let mut pins = Pins::default();
    for (domain, pin) in Setup::read_pins(&site.config).unwrap_or_default() {
        pins.add(domain, pin);
    }
    // A file that cannot be read is a finding about the state folder.
    let _ = State::open_to_look(&site.config.state).pins.add_to(&mut pins);
    let mut pinned: Vec<(&DomainName, &Pin)> = pins.iter().collect();
    pinned.sort_by_key(|(domain, _)| *domain);
    whom(&pinned, site, &mut Subject::new(findings, "pinned", "correspondents"));
    for (domain, pin) in pinned {
        let seen = seen(site, domain);
        let selectors = selectors(pin, &seen);
        let mut published = Published { seen, ..Published::default() };
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

/// Whom this site pins, and by what.
fn whom(pinned: &[(&DomainName, &Pin)], site: &Site, subject: &mut Subject<'_>) {
    if pinned.is_empty() {
        if site.config.dns.servers.as_ref().is_some_and(Vec::is_empty) {
            return subject.warning(
                "nobody is pinned, and nothing is looked up ([dns] servers = []): no seal can be checked",
                "waxseal keys pin DOMAIN --fingerprint …, read to you by telephone; or remove servers from [dns]",
            );
        }
        let detail = "nobody is pinned: every key comes from DNS";
        return if site.config.dns.dnssec == Dnssec::Off {
            subject.warning(
                format!("{detail}, where an attacker can forge the first one"),
                "waxseal keys pin DOMAIN --fingerprint …, read to you by telephone; or [dns] dnssec = \"prefer\"",
            );
        } else {
            subject.ok(detail);
        };
    }
    let by = |pin: &Pin| {
        let kinds = [
            ("revocation", pin.keys.iter().filter(|key| key.record.key.is_none()).count()),
            ("key", pin.keys.iter().filter(|key| key.record.key.is_some()).count()),
            ("root", pin.roots.len()),
            ("fingerprint", pin.fingerprints.len()),
        ];
        let kinds = kinds.into_iter().filter(|(_, count)| *count > 0);
        kinds.map(|(kind, count)| counted(count, kind)).collect::<Vec<_>>().join(", ")
    };
    let all: Vec<String> = pinned.iter().map(|(domain, pin)| format!("{domain} ({})", by(pin))).collect();
    subject.ok(format!("for these domains only the pin is trusted: {}", all.join("; ")));
}

/// The keys that a domain's seals were seen with; roots have no selector.
fn seen(site: &Site, domain: &DomainName) -> Vec<(Option<Selector>, PublicKey)> {
    let keys = State::open_to_look(&site.config.state).memories.keys(domain);
    let selector = |key: &SeenKey| if key.is_root { None } else { key.selector.parse().ok() };
    keys.unwrap_or_default().iter().map(|key| (selector(key), key.key)).collect()
}

/// Under which selectors a domain may publish keys: those of the pins, and those of its seals that were seen.
fn selectors(pin: &Pin, seen: &[(Option<Selector>, PublicKey)]) -> BTreeSet<Selector> {
    let seen = seen.iter().filter_map(|(selector, _)| selector.clone());
    pin.keys.iter().filter_map(|key| key.selector.clone()).chain(seen).collect()
}

/// What a correspondent publishes.
#[derive(Debug, Default)]
struct Published {
    keys: Vec<(Selector, KeyRecord)>,
    roots: Vec<PublicKey>,
    failed: bool,
    /// What was seen with their seals before.
    seen: Vec<(Option<Selector>, PublicKey)>,
}

/// What of it the pin covers.
struct Compared<'a> {
    pin: &'a Pin,
    published: &'a Published,
}

impl Compared<'_> {
    fn told(&self, key: &PublicKey) -> bool {
        self.pin.fingerprints.iter().any(|told| told.is(&key.fingerprint()))
    }

    fn covers(&self, selector: &Selector, record: &KeyRecord) -> bool {
        record.key.as_ref().is_some_and(|key| self.told(key))
            || self.pin.keys.iter().any(|pinned| {
                pinned.record.key == record.key && pinned.selector.as_ref().is_none_or(|own| own == selector)
            })
    }

    fn covers_root(&self, root: &PublicKey) -> bool {
        self.pin.roots.contains(root) || self.told(root)
    }

    /// Whether a root is pinned: it vouches for sealing keys that nobody pinned, so that other keys contradict nothing.
    fn is_rooted(&self) -> bool {
        let seen = self.published.seen.iter().filter(|(selector, _)| selector.is_none());
        let mut roots = self.published.roots.iter().chain(seen.map(|(_, key)| key));
        !self.pin.roots.is_empty() || roots.any(|root| self.told(root))
    }

    /// The live keys under selectors that the pin covers nothing of.
    fn uncovered(&self) -> Vec<(&Selector, PublicKey)> {
        let is_covered =
            |own: &Selector| self.published.keys.iter().any(|(s, record)| s == own && self.covers(s, record));
        let keys = self.published.keys.iter().filter(|(selector, _)| !is_covered(selector));
        keys.filter_map(|(selector, record)| Some((selector, record.key?))).collect()
    }

    /// Selectors whose records revoke a pinned key, if the pin does not.
    fn revoked_pins(&self) -> Vec<&Selector> {
        let revoked = self.published.keys.iter().filter(|(_, record)| record.key.is_none());
        let revoked = revoked.filter(|(selector, record)| !self.covers(selector, record));
        let is_pinned = |selector: &Selector| {
            let was_there = |key: &PublicKey| {
                self.published.seen.iter().any(|(s, seen)| s.as_ref() == Some(selector) && seen == key)
            };
            let has_told = || {
                let mut seen = self.published.seen.iter().filter(|(s, _)| s.as_ref() == Some(selector));
                seen.any(|(_, key)| self.told(key))
            };
            let is_it = |pinned: &PinnedKey| match (&pinned.selector, &pinned.record.key) {
                (_, None) => false,
                (Some(own), Some(_)) => own == selector,
                (None, Some(key)) => was_there(key),
            };
            self.pin.keys.iter().any(is_it) || has_told()
        };
        revoked.map(|(selector, _)| selector).filter(|selector| is_pinned(selector)).collect()
    }
}

const ASK: &str = "ask them by telephone, not by mail, and compare fingerprints; then waxseal keys pin, or waxseal keys forget --pin";

fn judge(subject: &mut Subject<'_>, pin: &Pin, published: &Published) {
    let compared = Compared { pin, published };
    let revoked_pins = compared.revoked_pins();
    for selector in &revoked_pins {
        subject.warning(
            format!("they revoked a key that you have pinned, that of {selector}: seals made with it may still pass here"),
            "ask them by telephone, not by mail; then remove that key from the pin, or pin its record with \
             an empty p instead: \"v=SEAL1; k=ed25519; p=\"",
        );
    }
    let covers_live =
        published.keys.iter().any(|(s, record)| record.key.is_some() && compared.covers(s, record));
    let has_root = published.roots.iter().any(|root| compared.covers_root(root));
    let is_rooted = compared.is_rooted();
    let uncovered = if is_rooted { Vec::new() } else { compared.uncovered() };
    // A selector is one key's: another key there is none that merely stands beside the pinned one.
    let is_pinned_there = |selector: &Selector| {
        let mut keys = pin.keys.iter();
        keys.any(|pinned| pinned.record.key.is_some() && pinned.selector.as_ref() == Some(selector))
    };
    let says = |(selector, key): &(&Selector, PublicKey)| {
        format!("under {selector} another key, {}", key.fingerprint().digits())
    };
    let (beside, against): (Vec<_>, Vec<_>) = uncovered
        .iter()
        .partition(|(selector, _)| (covers_live || published.failed) && !is_pinned_there(selector));
    let mut contradictions: Vec<String> = against.into_iter().map(says).collect();
    if !pin.roots.is_empty()
        && let Some(root) = published.roots.first()
        && !has_root
    {
        contradictions.push(format!("another root, {}", root.fingerprint().digits()));
    }
    let is_revocation_pinned =
        published.keys.iter().any(|(s, record)| record.key.is_none() && compared.covers(s, record));
    // What was told by telephone may be the root's, which need not be published.
    let is_only_told = pin.keys.is_empty() && pin.roots.is_empty() && !covers_live && !has_root;
    if !contradictions.is_empty() {
        let contradictions = contradictions.join("; ");
        if is_only_told {
            return subject.unknown(
                format!(
                    "whether they publish the same: {contradictions}; right if the fingerprint that they read to you \
                     is their root's"
                ),
                ASK,
            );
        }
        return subject.warning(format!("they publish what the pin contradicts: {contradictions}"), ASK);
    }
    if published.failed {
        return subject.not_checked("no answer about what they publish now");
    }
    if !revoked_pins.is_empty() {
        return;
    }
    if covers_live && !beside.is_empty() {
        let beside = beside.into_iter().map(says).collect::<Vec<_>>().join("; ");
        return subject
            .ok(format!("they publish what is pinned; and also {beside}, which is not trusted here"));
    }
    if covers_live || has_root || is_revocation_pinned {
        return subject.ok("they publish what is pinned");
    }
    if is_rooted {
        return subject.not_checked(
            "whether they publish the same root: they publish none, and need not; seals carry its delegation",
        );
    }
    if published.keys.iter().any(|(_, record)| record.key.is_none()) {
        return subject.unknown(
            "whether they publish the same: of the selectors that are known, they publish that the key is revoked",
            ASK,
        );
    }
    subject.not_checked(
        "whether they publish the same: no selector of theirs is known, or they publish nothing",
    );
}

#[cfg(test)]
mod tests {
    use attachment_seal::seal::key::SealingKey;

    use super::super::State;
    use super::*;

    fn key(seed: u8) -> PublicKey {
        SealingKey::from_seed(&[seed; 32]).public()
    }

    fn record(seed: Option<u8>) -> KeyRecord {
        KeyRecord { key: seed.map(key), trial: false }
    }

    /// Pins of keys by selector, `None` for a revocation.
    fn by_keys(keys: &[(Option<&str>, Option<u8>)]) -> Pin {
        let pinned = |(selector, seed): &(Option<&str>, Option<u8>)| PinnedKey {
            selector: selector.map(|selector| selector.parse().unwrap()),
            record: record(*seed),
        };
        Pin { keys: keys.iter().map(pinned).collect(), ..Pin::default() }
    }

    fn by_fingerprint(seed: u8) -> Pin {
        let told = key(seed).fingerprint().digits().parse().unwrap();
        Pin { fingerprints: vec![told], ..Pin::default() }
    }

    fn says(keys: &[(&str, Option<u8>)], roots: &[u8]) -> Published {
        let keys = keys.iter().map(|(selector, seed)| (selector.parse().unwrap(), record(*seed)));
        let roots = roots.iter().map(|seed| key(*seed));
        Published { keys: keys.collect(), roots: roots.collect(), ..Published::default() }
    }

    /// Asserts how that is judged: each finding's state and a part of its words.
    fn assert_judged(pin: &Pin, published: &Published, expected: &[(State, &str)]) {
        let mut findings = Vec::new();
        judge(&mut Subject::new(&mut findings, "", ""), pin, published);
        let states: Vec<State> = findings.iter().map(|found| found.state).collect();
        let wanted: Vec<State> = expected.iter().map(|(state, _)| *state).collect();
        assert_eq!(states, wanted, "{pin:?} {published:?}: {findings:?}");
        for (found, (_, words)) in findings.iter().zip(expected) {
            assert!(found.detail.contains(words), "{words}: {findings:?}");
        }
    }

    #[test]
    fn tells_a_contradiction_from_silence() {
        let by_key = by_keys(&[(None, Some(1))]);
        let by_root = Pin { roots: vec![key(3)], ..Pin::default() };
        let told = by_fingerprint(1);
        let one = |seed| says(&[("gate1", seed)], &[]);
        for (pin, published, state) in [
            (&by_key, one(Some(1)), State::Ok),
            (&by_key, one(Some(2)), State::Warning),
            (&by_key, one(None), State::NotChecked),
            (&by_key, says(&[], &[]), State::NotChecked),
            (&by_key, Published { failed: true, ..says(&[], &[]) }, State::NotChecked),
            (&by_key, says(&[], &[3]), State::NotChecked),
            (&by_root, one(Some(2)), State::NotChecked),
            (&by_root, says(&[("gate1", Some(2))], &[3]), State::Ok),
            (&by_root, says(&[("gate1", Some(2))], &[4]), State::Warning),
            (&by_root, says(&[("gate1", None)], &[3]), State::Ok),
            (&told, one(Some(1)), State::Ok),
            (&told, says(&[("gate1", Some(2))], &[1]), State::Ok),
            (&told, one(Some(2)), State::NotChecked),
            (&told, one(None), State::NotChecked),
        ] {
            assert_judged(pin, &published, &[(state, "")]);
        }
    }

    #[test]
    fn an_old_key_beside_the_pinned_new_one_contradicts_nothing() {
        let both = says(&[("gate1", Some(1)), ("gate2", Some(2))], &[]);
        assert_judged(
            &by_keys(&[(Some("gate1"), Some(1)), (Some("gate2"), Some(2))]),
            &both,
            &[(State::Ok, "")],
        );
        assert_judged(
            &by_keys(&[(Some("gate2"), Some(2))]),
            &both,
            &[(State::Ok, "under gate1 another key")],
        );
        assert_judged(&by_keys(&[(None, Some(2))]), &both, &[(State::Ok, "also")]);
        assert_judged(&by_fingerprint(2), &both, &[(State::Ok, "also")]);
        let old = says(&[("gate1", Some(1))], &[]);
        let unheard = Published { failed: true, ..old };
        assert_judged(&by_keys(&[(Some("gate2"), Some(2))]), &unheard, &[(State::NotChecked, "no answer")]);
        // Another key in the place of a pinned one is something else.
        let swapped = says(&[("gate1", Some(3)), ("gate2", Some(2))], &[]);
        let pins = by_keys(&[(Some("gate1"), Some(1)), (Some("gate2"), Some(2))]);
        assert_judged(&pins, &swapped, &[(State::Warning, "under gate1 another key")]);
    }

    #[test]
    fn a_revoked_record_matters_where_its_key_is_pinned() {
        let revoked = says(&[("gate1", None), ("gate2", Some(2))], &[]);
        assert_judged(&by_keys(&[(Some("gate2"), Some(2))]), &revoked, &[(State::Ok, "what is pinned")]);
        let pins_revocation = by_keys(&[(Some("gate1"), None), (Some("gate2"), Some(2))]);
        assert_judged(&pins_revocation, &revoked, &[(State::Ok, "what is pinned")]);
        let warned = [(State::Warning, "they revoked a key that you have pinned")];
        let pins_both = by_keys(&[(Some("gate1"), Some(1)), (Some("gate2"), Some(2))]);
        assert_judged(&pins_both, &revoked, &warned);
        // Which key a selector had is remembered.
        let seen = vec![(Some("gate1".parse().unwrap()), key(1))];
        let remembered = Published { seen, ..revoked };
        assert_judged(&by_fingerprint(1), &remembered, &[warned[0], (State::NotChecked, "another key")]);
        assert_judged(&by_keys(&[(None, Some(1)), (None, Some(2))]), &remembered, &warned);
        assert_judged(&by_keys(&[(None, Some(2))]), &remembered, &[(State::Ok, "what is pinned")]);
    }

    #[test]
    fn a_pinned_root_proves_keys_that_nobody_pinned() {
        let keys = [("gate1", None), ("gate2", Some(2)), ("gate3", Some(4))];
        let by_root = Pin { roots: vec![key(3)], ..Pin::default() };
        assert_judged(&by_root, &says(&keys, &[3]), &[(State::Ok, "")]);
        assert_judged(&by_root, &says(&keys, &[]), &[(State::NotChecked, "the same root")]);
        assert_judged(&by_fingerprint(3), &says(&keys, &[3]), &[(State::Ok, "")]);
        let right_if = [(State::NotChecked, "right if")];
        assert_judged(&by_fingerprint(3), &says(&keys, &[]), &right_if);
        let seen = Published { seen: vec![(None, key(3))], ..says(&keys, &[]) };
        assert_judged(&by_fingerprint(3), &seen, &[(State::NotChecked, "the same root")]);
    }
}
