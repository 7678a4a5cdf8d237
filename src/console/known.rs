//! What the pages about correspondents show: what is pinned, and what is remembered.

use std::collections::{BTreeMap, BTreeSet};

use attachment_seal::domain::DomainName;
use attachment_seal::seal::fingerprint::Told;
use attachment_seal::seal::key::{KeyRecord, PublicKey};

use super::looks::{CorrespondentsQuery, LookError, offers};
use super::pages::view::{self, Action, Expected};
use super::session::{Who, encoded};
use super::{Console, shown};
use crate::clock::{moment, unix_time};
use crate::store::{self, DatabaseError, DomainRecord, KeyState, Said};

/// Correspondents on a page.
const PAGE: usize = 100;
/// Messages of one correspondent.
const MESSAGES: usize = 5;

/// All that is said and remembered.
struct Known {
    pins: BTreeMap<String, Vec<view::Pin>>,
    also_unsealed: BTreeSet<String>,
    remembered: BTreeMap<String, DomainRecord>,
}

impl Known {
    fn read(console: &Console, only: Option<&DomainName>) -> Result<Self, LookError> {
        let remembered = match console.state.memories.list(only, unix_time().unwrap_or_default()) {
            Ok(remembered) => remembered,
            Err(DatabaseError::None(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let said = console.state.pins.read()?;
        let mut pins = configured(console);
        add_said(&said, &mut pins);
        Ok(Self {
            pins,
            also_unsealed: said.also_unsealed.into_iter().collect(),
            remembered: remembered.into_iter().map(|record| (record.name.to_string(), record)).collect(),
        })
    }

    fn domains(&self) -> BTreeSet<&String> {
        self.pins.keys().chain(&self.also_unsealed).chain(self.remembered.keys()).collect()
    }

    fn expected(&self, domain: &str) -> Expected {
        if self.pins.contains_key(domain) {
            Expected::Pinned
        } else if self.also_unsealed.contains(domain) {
            Expected::Noted
        } else if self.remembered.get(domain).is_some_and(|record| record.seals) {
            Expected::Memory
        } else {
            Expected::Policy
        }
    }
}

/// What the configuration pins.
fn configured(console: &Console) -> BTreeMap<String, Vec<view::Pin>> {
    let running = console.running.load();
    let mut pins: BTreeMap<String, Vec<view::Pin>> = BTreeMap::new();
    for (domain, pin) in running.setup.pins.iter() {
        let of_domain = pins.entry(domain.to_string()).or_default();
        of_domain.extend(pin.keys.iter().map(|key| {
            let selector = key.selector.as_ref().map(ToString::to_string);
            pin_view("key", "configuration", selector, key.record.key)
        }));
        of_domain.extend(pin.roots.iter().map(|root| pin_view("root", "configuration", None, Some(*root))));
    }
    pins
}

/// What was pinned by command, or at the console.
fn add_said(said: &Said, pins: &mut BTreeMap<String, Vec<view::Pin>>) {
    for pin in &said.pins {
        let of_domain = pins.entry(pin.domain.clone()).or_default();
        of_domain.extend(pin.keys.iter().map(|said| {
            let key = KeyRecord::parse(&said.record).ok().and_then(|record| record.key);
            pin_view("key", "command", said.selector.clone(), key)
        }));
        let roots = pin.roots.iter().map(|root| PublicKey::from_base64url(root).ok());
        of_domain.extend(roots.map(|root| pin_view("root", "command", None, root)));
        of_domain.extend(pin.fingerprints.iter().map(|told| {
            let is_words = matches!(told.parse::<Told>(), Ok(Told::Words(_)));
            let (digits, words) = if is_words { (None, Some(told)) } else { (Some(told), None) };
            view::Pin {
                kind: "fingerprint".to_owned(),
                by: "command".to_owned(),
                digits: digits.cloned(),
                words: words.cloned(),
                ..view::Pin::default()
            }
        }));
    }
}

fn pin_view(kind: &str, by: &str, selector: Option<String>, key: Option<PublicKey>) -> view::Pin {
    let fingerprint = key.map(|key| key.fingerprint());
    view::Pin {
        kind: kind.to_owned(),
        by: by.to_owned(),
        selector,
        digits: fingerprint.as_ref().map(|fingerprint| fingerprint.digits()),
        words: fingerprint.as_ref().map(|fingerprint| fingerprint.words()),
        is_revoked: key.is_none(),
    }
}

fn is_offered(key: &store::KeyRecord) -> bool {
    matches!(key.state, KeyState::Offered | KeyState::Revoked)
}

/// Everybody of whom something is known, page by page.
pub(super) fn correspondents(
    console: &Console,
    query: &CorrespondentsQuery,
) -> Result<view::Correspondents, LookError> {
    let known = Known::read(console, None)?;
    let wanted = query.domain.trim().to_lowercase();
    let fitting: Vec<&String> =
        known.domains().into_iter().filter(|domain| domain.contains(&wanted)).collect();
    let begin = fitting.partition_point(|domain| !query.after.is_empty() && **domain <= query.after);
    let page = &fitting[begin..fitting.len().min(begin + PAGE)];
    let address = |after: Option<&String>| {
        let pairs = [("domain", Some(&wanted).filter(|wanted| !wanted.is_empty())), ("after", after)];
        let pairs = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded((*value)?))));
        format!("/correspondents?{}", pairs.collect::<Vec<_>>().join("&"))
    };
    let after = (begin + PAGE < fitting.len()).then(|| address(page.last().copied()));
    let before = (begin > 0).then(|| {
        let first = begin.saturating_sub(PAGE);
        address(first.checked_sub(1).and_then(|at| fitting.get(at)).copied())
    });
    let rows = page.iter().map(|domain| {
        let record = known.remembered.get(*domain);
        view::CorrespondentRow {
            domain: (*domain).clone(),
            is_pinned: known.pins.contains_key(*domain),
            expected: known.expected(domain),
            offered: record.map_or(0, |record| record.keys.iter().filter(|key| is_offered(key)).count())
                as u64,
            last_seen: record.map(|record| moment(record.last_seen)),
            verdicts: record.map(|record| record.counts.clone()).unwrap_or_default(),
        }
    });
    Ok(view::Correspondents { wanted: query.domain.trim().to_owned(), rows: rows.collect(), before, after })
}

/// All that is known of one.
pub(super) fn correspondent(
    console: &Console,
    who: &Who,
    domain: &str,
) -> Result<view::Correspondent, LookError> {
    let domain: DomainName = domain.parse().map_err(|_| LookError::NotFound)?;
    let known = Known::read(console, Some(&domain))?;
    let name = domain.to_string();
    let record = known.remembered.get(&name);
    let mut keys: Vec<&store::KeyRecord> = record.iter().flat_map(|record| &record.keys).collect();
    keys.sort_by_key(|key| !is_offered(key));
    let actions = [Action::Pin, Action::Forget, Action::AlsoUnsealed];
    Ok(view::Correspondent {
        expected: known.expected(&name),
        also_unsealed: known.also_unsealed.contains(&name),
        pins: known.pins.get(&name).cloned().unwrap_or_default(),
        first_seen: record.map(|record| moment(record.first_seen)),
        last_seen: record.map(|record| moment(record.last_seen)),
        verdicts: record.map(|record| record.counts.clone()).unwrap_or_default(),
        keys: keys.into_iter().map(|key| key_view(who, &name, key)).collect(),
        messages: shown::latest_of(console, &name, MESSAGES)?,
        offers: offers(who, &actions, &name),
        domain: name,
        wrong: None,
    })
}

fn key_view(who: &Who, domain: &str, key: &store::KeyRecord) -> view::Key {
    let fingerprint = key.key.fingerprint();
    let approve = is_offered(key).then(|| offers(who, &[Action::Approve], domain).pop()).flatten();
    view::Key {
        key: key.key.to_base64url(),
        is_root: key.is_root,
        selector: key.selector.clone(),
        state: key.state.as_str().to_owned(),
        first_seen: moment(key.first_seen),
        last_seen: moment(key.last_seen),
        digits: fingerprint.digits(),
        words: fingerprint.words(),
        approve,
    }
}
