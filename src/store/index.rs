//! What held mail is found by in a database: short columns beside its facts, and a filter in their terms.

use jiff::Timestamp;

use super::held::{Filter, Held, HeldState, Releases};

/// The columns of a message, from its facts. Text is in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// Unix seconds.
    pub(super) received: i64,
    /// The author's address and the reverse-path, each in a line.
    pub(super) senders: String,
    /// The forward-paths, each in a line.
    pub(super) recipients: String,
    /// The domains of the senders and of the seal, each in a line with a dot before it.
    pub(super) domains: String,
    /// SPEC.md's word.
    pub(super) verdict: String,
    /// Without brackets.
    pub(super) message_id: Option<String>,
}

impl Index {
    pub(super) fn of(held: &Held) -> Self {
        let author = held.details.from.as_deref().unwrap_or_default();
        let senders = [author, &held.reverse_path];
        let domain = |address: &&str| address.rsplit_once('@').map(|(_, domain)| domain.to_owned());
        let mut domains: Vec<String> = senders.iter().filter_map(domain).collect();
        domains.extend(held.details.sealing_domain.clone());
        domains.dedup();
        let lines = |texts: &mut dyn Iterator<Item = &str>| -> String {
            texts.map(|text| format!("{}\n", plain(text).to_lowercase())).collect()
        };
        Self {
            received: seconds(held.received),
            senders: lines(&mut senders.into_iter()),
            recipients: lines(&mut held.recipients.iter().map(String::as_str)),
            domains: domains.iter().map(|domain| format!(".{}\n", plain(domain).to_lowercase())).collect(),
            verdict: plain(&held.verdict),
            message_id: held.message_id.as_deref().map(bare_message_id),
        }
    }
}

/// How it is with a message, in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// Recipients who may have it or not.
    pub(super) in_doubt: i64,
    /// Recipients who have it.
    pub(super) delivered: i64,
    /// Whether somebody asks for its release.
    pub(super) requested: bool,
    /// Whether it is not to be removed by age.
    pub(super) keep: bool,
}

impl Marks {
    pub(super) fn of(releases: &Releases) -> Self {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            in_doubt: count(releases.in_doubt.len()),
            delivered: count(releases.delivered.len()),
            requested: releases.request.is_some(),
            keep: releases.keep,
        }
    }

    pub(super) fn state(self) -> HeldState {
        match self {
            Self { in_doubt: 1.., .. } => HeldState::InDoubt,
            Self { delivered: 1.., .. } => HeldState::Partly,
            Self { requested: true, .. } => HeldState::Requested,
            Self { keep: true, .. } => HeldState::Kept,
            _ => HeldState::Held,
        }
    }
}

/// A filter in the terms of the columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) sender: Option<String>,
    pub(super) recipient: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) verdict: Option<String>,
    pub(super) since: Option<i64>,
    pub(super) until: Option<i64>,
    pub(super) message_id: Option<String>,
    pub(super) state: Option<&'static str>,
    pub(super) expires: Option<i64>,
}

impl Wanted {
    pub(super) fn by(filter: &Filter) -> Self {
        let lower = |text: &Option<String>| text.as_deref().map(|text| plain(text).to_lowercase());
        Self {
            sender: lower(&filter.from),
            recipient: lower(&filter.to),
            domain: lower(&filter.domain).map(|domain| format!(".{}\n", domain.trim_matches('.'))),
            verdict: filter.verdict.as_deref().map(plain),
            since: filter.since.map(seconds),
            until: filter.until.map(seconds),
            message_id: filter.message_id.as_deref().map(bare_message_id),
            state: filter.state.map(HeldState::as_str),
            expires: filter.expires.map(seconds),
        }
    }
}

/// A Message-ID without its brackets.
pub(super) fn bare_message_id(text: &str) -> String {
    let text = text.trim();
    let inner = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
    plain(inner.unwrap_or(text))
}

/// Text that every database takes.
pub(super) fn plain(text: &str) -> String {
    text.replace(['\0', '\n'], "\u{fffd}")
}

/// A time as the database has it.
pub(super) fn seconds(time: Timestamp) -> i64 {
    time.as_second()
}

/// A time that was written by [`seconds`].
pub(super) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}
