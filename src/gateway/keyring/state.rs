//! How each key of a domain does, and what is to be done next: by whom, and from when on. The same for people, metrics, doctor,
//! log and alerts.

use super::{Found, Keyring, Known};
use crate::clock::{moment, second};

/// Late readers have so many seconds more once the last seal has run out.
const MARGIN: u64 = 7 * 86_400;

/// How a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Somebody must publish its record.
    Publish,
    /// The domain's root must vouch for it.
    Delegate,
    /// It seals from this moment on, in Unix seconds.
    Waiting(u64),
    /// It seals.
    Sealing,
    /// It seals no more; mail under way needs its record until this moment.
    Old(u64),
    /// No mail needs its record any more: somebody must remove that.
    Remove,
    /// It is out of use, and somebody must publish that.
    Revoke,
    /// There is nothing more to do.
    Done,
}

impl State {
    /// The word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Delegate => "delegate",
            Self::Waiting(_) => "waiting",
            Self::Sealing => "sealing",
            Self::Old(_) => "old",
            Self::Remove => "remove",
            Self::Revoke => "revoke",
            Self::Done => "done",
        }
    }

    /// Whether it goes on only if somebody does something.
    pub fn needs_somebody(self) -> bool {
        matches!(self, Self::Publish | Self::Delegate | Self::Remove | Self::Revoke)
    }

    /// When it changes by itself, in Unix seconds.
    pub fn until(self) -> Option<u64> {
        match self {
            Self::Waiting(until) | Self::Old(until) => Some(until),
            _ => None,
        }
    }
}

/// One key's state, and what is known of the key.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a> {
    /// The key.
    pub key: &'a Known,
    /// Its state.
    pub state: State,
    /// Whether it seals now; a domain's first key does before it is published.
    pub seals: bool,
}

impl Keyring {
    /// Each key's state at `now`, where seals are valid for `lifetime` seconds; the oldest key first.
    pub fn statuses(&self, lifetime: u64, now: u64) -> impl Iterator<Item = Status<'_>> {
        let sealing = self.keys.iter().position(Known::seals);
        self.keys.iter().enumerate().map(move |(at, key)| {
            let is_next = key.is_usable() && sealing.is_none_or(|sealing| at > sealing);
            let state = if is_next && key.sealed.is_none() { coming(key) } else { used(key, lifetime, now) };
            Status { key, state, seals: key.seals() }
        })
    }

    /// From when on each key is to be looked for again.
    pub fn next_look(&self, lifetime: u64, now: u64) -> impl Iterator<Item = (&Known, u64)> {
        const HOURS: u64 = 3_600;
        self.statuses(lifetime, now).map(move |Status { key, state, .. }| {
            let pause = match state {
                // Often at first, when most records are published; and where no key seals, as long as that lasts.
                State::Publish | State::Delegate | State::Waiting(_) => {
                    (now.saturating_sub(key.since) / 10).clamp(2, 60)
                }
                State::Remove | State::Revoke => HOURS / 6,
                _ if self.sealing().is_none() => 10,
                State::Sealing | State::Old(_) | State::Done => 6 * HOURS,
            };
            let again = key.looked.filter(|looked| *looked <= now).map_or(now, |looked| looked + pause);
            // It may seal from a certain second on.
            let end = state.until().filter(|until| *until > now).unwrap_or(u64::MAX);
            (key, again.min(end))
        })
    }
}

/// Of a key that has not sealed yet, and may.
fn coming(key: &Known) -> State {
    match key.published {
        None => State::Publish,
        Some(_) if !key.delegated => State::Delegate,
        // Though a server be silent for a moment.
        Some(_) => State::Waiting(key.may_seal_from()),
    }
}

/// Of one that seals, has sealed, or never will.
fn used(key: &Known, lifetime: u64, now: u64) -> State {
    let is_there = matches!(key.record, Found::Everywhere | Found::OnTrial | Found::Partly | Found::Silent);
    if key.revoked {
        return if key.record == Found::Revoked { State::Done } else { State::Revoke };
    }
    if key.seals() {
        return match key.record {
            denied if denied.is_denied() => State::Publish,
            _ if !key.delegated => State::Delegate,
            _ => State::Sealing,
        };
    }
    let needed_until = key.replaced.map(|since| since.saturating_add(lifetime).saturating_add(MARGIN));
    match needed_until.filter(|_| key.sealed.is_some()) {
        Some(until) if now < until && key.record == Found::Nowhere => State::Publish,
        Some(until) if now < until => State::Old(until),
        Some(_) if key.record == Found::Unknown => State::Remove,
        _ if is_there => State::Remove,
        _ => State::Done,
    }
}

impl Status<'_> {
    /// The state in a few words, as a table has it.
    pub fn words(&self) -> String {
        let looked = self.key.looked.unwrap_or_default();
        match self.state {
            _ if self.is_dead() => "revoked in DNS: make another key".to_owned(),
            State::Publish if self.seals => "sealing; publish this record".to_owned(),
            State::Publish => "publish this record".to_owned(),
            State::Delegate => "have the root vouch for it".to_owned(),
            State::Waiting(until) if until <= looked => "waiting for every server's answer".to_owned(),
            State::Waiting(until) if until - looked >= 86_400 => format!("waiting until {}", day(until)),
            State::Waiting(until) => format!("waiting until {}", moment(until).strftime("%H:%M")),
            State::Sealing => "sealing".to_owned(),
            State::Old(until) => format!("old: leave its record until {}", day(until)),
            State::Remove => "remove the record now".to_owned(),
            State::Revoke => "revoked: publish that now".to_owned(),
            State::Done if self.key.revoked => "revoked".to_owned(),
            State::Done => "old: its record is gone".to_owned(),
        }
    }

    /// Whether DNS revokes a key that we would go on with.
    fn is_dead(&self) -> bool {
        self.state == State::Publish && self.key.record == Found::Revoked
    }

    /// Who is to do something next; `None` where nothing is to be done.
    pub fn by(&self) -> Option<&'static str> {
        match self.state {
            State::Publish | State::Remove | State::Revoke => Some("you"),
            State::Delegate => Some("the root's holder"),
            State::Waiting(_) => Some("the gateway"),
            State::Old(_) => Some("you"),
            State::Sealing | State::Done => None,
        }
    }

    /// What is to be done next, in a sentence; `name` is the record's name in DNS, `record` the key's record.
    pub fn next(&self, name: &str, record: &str) -> String {
        let Known { selector, .. } = self.key;
        match self.state {
            _ if self.is_dead() => format!(
                "the record of {selector} revokes it, and a revoked selector stays so for good: make another key (waxseal keygen)"
            ),
            State::Publish if self.key.record == Found::OnTrial => {
                format!("publish the record of {selector} without t=y: {name}. IN TXT \"{record}\"")
            }
            State::Publish if self.key.replaced.is_some() => {
                format!(
                    "mail under way needs the record of {selector}: publish it again: {name}. IN TXT \"{record}\""
                )
            }
            State::Publish => format!(
                "publish the record of {selector} on every name server of the zone, alone under its name: {name}. IN TXT \"{record}\""
            ),
            State::Delegate => format!(
                "have the domain's root vouch for {selector} (waxseal root delegate), and put the delegation where `delegation` is"
            ),
            State::Waiting(until) => {
                format!(
                    "the record of {selector} is everywhere; the gateway seals with it from {} on",
                    second(moment(until))
                )
            }
            State::Sealing => format!("{selector} seals; nothing is to be done"),
            State::Old(until) => format!(
                "{selector} seals no more, and mail under way needs its record: leave {name}. in DNS until {}",
                day(until)
            ),
            State::Remove => format!("no mail needs {selector} any more: remove {name}. from DNS"),
            State::Revoke => format!(
                "{selector} is revoked here, and others believe it still: publish {name}. IN TXT \"v=SEAL1; k=ed25519; p=\" now, \
                 and leave that there for good"
            ),
            State::Done if self.key.revoked => {
                format!("{selector} is revoked; leave that record there for good")
            }
            State::Done => format!("the record of {selector} is gone; nothing is to be done"),
        }
    }
}

/// The day of a moment, UTC.
pub fn day(seconds: u64) -> String {
    moment(seconds).strftime("%Y-%m-%d").to_string()
}
