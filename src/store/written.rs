//! What judged messages are written down as, whichever database it is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::judged::{DAY, Judged, JudgedId, MAX_RECIPIENTS, MAX_TEXT, Particulars, is_delivered, is_named};
use super::recorder::Entry;
use super::search::Shelf;
use super::terms::{hash, terms};

/// A message as it is written down.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) id: JudgedId,
    pub(super) at: i64,
    /// JSON text.
    pub(super) record: String,
    /// The hashes of its terms.
    pub(super) terms: Vec<i64>,
    /// JSON text.
    pub(super) findings: Option<String>,
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(flatten)]
    judged: &'a Judged,
    #[serde(flatten)]
    particulars: &'a Particulars,
}

impl Written {
    /// Those of the messages that belong into a table.
    pub(super) fn all(entries: &[Box<Entry>], shelf: Shelf) -> impl Iterator<Item = Self> {
        let belongs = move |entry: &&Entry| {
            let Judged { asked, done, .. } = &entry.judged;
            match shelf {
                Shelf::Named => is_named(asked, done),
                Shelf::Delivered => is_delivered(asked, done),
            }
        };
        entries.iter().map(|entry| &**entry).filter(belongs).map(Self::of)
    }

    fn of(entry: &Entry) -> Self {
        let Entry { judged, particulars, findings, .. } = entry;
        let particulars = &*bounded(particulars);
        let record = serde_json::to_string(&Text { judged, particulars });
        let record = record.expect("a judged message is strings and numbers");
        let id = JudgedId::of(judged.at, &record);
        let terms = terms(judged, particulars, &id).iter().map(|term| hash(term)).collect();
        let findings = findings
            .as_ref()
            .map(|findings| serde_json::to_string(findings).expect("what was found is strings and numbers"));
        Self { id, at: i64::try_from(judged.at).unwrap_or(i64::MAX), record, terms, findings }
    }
}

/// As much of it as is kept.
fn bounded(particulars: &Particulars) -> Cow<'_, Particulars> {
    let Particulars { author, to, subject, client_name, .. } = particulars;
    let mut texts = [author, subject, client_name].into_iter().flatten().chain(to);
    if to.len() <= MAX_RECIPIENTS && texts.all(|text| text.len() <= MAX_TEXT) {
        return Cow::Borrowed(particulars);
    }
    let start = |text: &String| text.chars().take(MAX_TEXT).collect::<String>();
    let to = to.iter().take(MAX_RECIPIENTS).map(start).collect();
    let [author, subject, client_name] = [author, subject, client_name].map(|text| text.as_ref().map(start));
    Cow::Owned(Particulars { author, to, subject, client_name, ..particulars.clone() })
}

/// What messages are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alike<'a> {
    pub(super) day: u64,
    pub(super) verdict: &'a str,
    pub(super) asked: &'a str,
    pub(super) done: &'a str,
}

impl<'a> Alike<'a> {
    /// How many messages are alike.
    pub(super) fn all(entries: &'a [Box<Entry>]) -> BTreeMap<Self, u64> {
        let mut counts = BTreeMap::new();
        for Judged { at, verdict, asked, done, .. } in entries.iter().map(|entry| &entry.judged) {
            *counts.entry(Self { day: at / DAY, verdict, asked, done }).or_default() += 1;
        }
        counts
    }
}
