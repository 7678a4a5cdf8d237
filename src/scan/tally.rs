//! What a scan has come to, in numbers and in words.

use std::collections::BTreeMap;
use std::time::Duration;

use attachment_seal::verdict::report::reason;
use attachment_seal::verdict::{Verdict, Verification};
use bytesize::ByteSize;

use super::is_alteration;
use crate::phrase::counted;

/// Counts of a scan.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Messages by verdict.
    verdicts: BTreeMap<&'static str, u64>,
    octets: u64,
    /// What could not be read: files, folders, messages.
    pub unread: u64,
    /// Messages that were not asked for.
    pub left_out: u64,
    /// Messages that were altered, or may have been.
    pub altered: u64,
    /// Messages whose key could not be looked up.
    pub undecided: u64,
    /// Messages without a seal whose author's policy could not be looked up.
    pub without_policy: u64,
}

impl Tally {
    /// Counts a message that was judged, of so many octets.
    pub fn count(&mut self, verification: &Verification, octets: u64) {
        let verdict = verification.verdict();
        *self.verdicts.entry(verdict.as_str()).or_default() += 1;
        self.octets += octets;
        self.altered += u64::from(is_alteration(verdict));
        if verdict == Verdict::Temperror {
            self.undecided += 1;
        } else {
            let is_policy = |reason: &str| reason.starts_with("policy-lookup");
            self.without_policy += u64::from(reason(verification).is_some_and(is_policy));
        }
    }

    /// Messages that were judged.
    pub fn messages(&self) -> u64 {
        self.verdicts.values().sum()
    }

    /// Octets of these messages.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Messages by verdict.
    pub fn verdicts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.verdicts.iter().map(|(verdict, count)| (*verdict, *count))
    }

    /// Whether there is something that this scan could not find out.
    pub fn is_incomplete(&self) -> bool {
        self.unread > 0 || self.undecided > 0
    }

    /// The counts in one line: `5 messages: 1 fail, 4 pass; 1 could not be read`.
    pub fn line(&self) -> String {
        let counts: Vec<String> =
            self.verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        let mut line = match counts.as_slice() {
            [] => "no message was checked".to_owned(),
            counts => format!("{}: {}", counted(self.messages(), "message"), counts.join(", ")),
        };
        if self.left_out > 0 {
            line += &format!("; {} left out, as asked", self.left_out);
        }
        if self.unread > 0 {
            line += &format!("; {} could not be read", self.unread);
        }
        line
    }

    /// What else somebody should know who takes comfort in the counts.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.undecided > 0 {
            let messages = counted(self.undecided, "message");
            remarks.push(format!(
                "{messages} cannot be decided now (temperror): a key could not be looked up; scan again later"
            ));
        }
        if self.without_policy > 0 {
            let messages = counted(self.without_policy, "message");
            remarks.push(format!(
                "{messages} might be `missing` or `key-changed`: the author's policy could not be looked up in DNS"
            ));
        }
        remarks
    }

    /// How fast it went: `read 12.0 MB in 2.0 s: 300 messages and 6.0 MB a second`.
    pub fn rate(&self, elapsed: Duration) -> String {
        // Messages of a hundredth of a second tell nothing about the next thousand.
        let seconds = elapsed.as_secs_f64().max(0.01);
        format!(
            "read {} in {seconds:.1} s: {:.0} messages and {} a second",
            size(self.octets as f64),
            self.messages() as f64 / seconds,
            size(self.octets as f64 / seconds)
        )
    }
}

/// Octets in decimal units, as rates are given.
fn size(octets: f64) -> String {
    ByteSize(octets as u64).display().si().to_string()
}
