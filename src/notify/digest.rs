//! The daily digest: what became of mail, what was done to held mail, what somebody must see to. Facts come in, text goes out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alert::{our_mail, printable};
use super::mail::Mail;
use crate::clock::second;
use crate::phrase::counted;

/// Correspondents that are listed, those with the most messages first.
const MAX_CORRESPONDENTS: usize = 30;
/// Lines of each other list.
const MAX_LINES: usize = 50;

/// A part of a digest, ready to be sent: of the site, or of one of its gateways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// A few words for the subject.
    pub summary: String,
    /// Its text.
    pub text: String,
}

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Became {
    /// It was held.
    Held,
    /// It was rejected.
    Rejected,
    /// It was deferred.
    Deferred,
    /// It was delivered with a warning.
    Marked,
    /// It was delivered, though the policy would have it held or rejected.
    Observed,
}

impl Became {
    fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Rejected => "rejected",
            Self::Deferred => "deferred",
            Self::Marked => "marked",
            Self::Observed => "only observed",
        }
    }
}

/// What happened at a site within a day.
#[derive(Clone, Debug, Default)]
pub struct Day {
    /// What became of messages, by the correspondent's domain.
    pub messages: BTreeMap<String, BTreeMap<Became, u64>>,
    /// What was done to held mail, a line each.
    pub deeds: Vec<String>,
    /// Messages that were released.
    pub released: u64,
    /// Held messages that are removed by age within a week, a line each; and how many more.
    pub expiring: Vec<String>,
    /// Domains that offered another key than the known one.
    pub offering: Vec<String>,
    /// Messages with a valid seal that was dated ahead of our clock.
    pub dated_ahead: u64,
}

impl Day {
    /// Counts a message.
    pub fn count(&mut self, domain: &str, became: Became) {
        *self.messages.entry(printable(domain)).or_default().entry(became).or_default() += 1;
    }

    /// The site's part; `None` if there is nothing to tell.
    pub fn part(&self, from: Timestamp, until: Timestamp) -> Option<Part> {
        let mut totals: BTreeMap<Became, u64> = BTreeMap::new();
        for (became, count) in self.messages.values().flatten() {
            *totals.entry(*became).or_default() += count;
        }
        let mut summary: Vec<String> =
            totals.iter().map(|(became, count)| format!("{count} {}", became.word())).collect();
        if self.released > 0 {
            summary.push(format!("{} released", self.released));
        }
        let mut text = format!("From {} to {}\n", second(from), second(until));
        self.tell_messages(&mut text);
        list(&mut text, "Done to held mail", &self.deeds);
        list(
            &mut text,
            "Removed by age within a week. To keep one: waxseal quarantine keep ID",
            &self.expiring,
        );
        let offering: Vec<String> =
            self.offering.iter().map(|domain| format!("waxseal keys list {}", printable(domain))).collect();
        list(
            &mut text,
            "Another key was offered. Ask the correspondent by telephone before you approve it",
            &offering,
        );
        if self.dated_ahead > 0 {
            let count = counted(self.dated_ahead, "message");
            let _ = writeln!(
                text,
                "\n{count} had a valid seal dated ahead of this clock. Check it: waxseal doctor"
            );
        }
        let is_quiet = summary.is_empty()
            && self.deeds.is_empty()
            && self.expiring.is_empty()
            && offering.is_empty()
            && self.dated_ahead == 0;
        if summary.is_empty() {
            summary.push("nothing was held".to_owned());
        }
        (!is_quiet).then(|| Part { summary: summary.join(", "), text })
    }

    fn tell_messages(&self, text: &mut String) {
        if self.messages.is_empty() {
            return;
        }
        text.push_str("\nMessages by correspondent\n");
        let mut domains: Vec<_> = self.messages.iter().collect();
        domains.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.values().sum::<u64>()));
        for (domain, counts) in domains.iter().take(MAX_CORRESPONDENTS) {
            let counts: Vec<_> =
                counts.iter().map(|(became, count)| format!("{count} {}", became.word())).collect();
            let _ = writeln!(text, "    {domain}: {}", counts.join(", "));
        }
        if let more @ 1.. = domains.len().saturating_sub(MAX_CORRESPONDENTS) {
            let _ = writeln!(text, "    and {}: waxseal report", counted(more, "more domain"));
        }
    }
}

/// The part of one gateway: what somebody must see to; `None` if there is nothing.
pub fn gateway_part(gateway: &str, keys: &[String], health: &[String]) -> Option<Part> {
    if keys.is_empty() && health.is_empty() {
        return None;
    }
    let mut text = format!("The gateway {gateway}\n");
    list(&mut text, "Keys, delegations and certificates", keys);
    list(&mut text, "Health. For remedies: waxseal doctor", health);
    let count = keys.len() + health.len();
    let summary =
        if count == 1 { "one thing to see to".to_owned() } else { format!("{count} things to see to") };
    Some(Part { summary, text })
}

fn list(text: &mut String, heading: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{heading}");
    for line in lines.iter().take(MAX_LINES) {
        let _ = writeln!(text, "    {line}");
    }
    if let more @ 1.. = lines.len().saturating_sub(MAX_LINES) {
        let _ = writeln!(text, "    and {more} more");
    }
}

/// One mail of these parts.
pub fn digest_mail(to: &str, parts: &[Part]) -> Mail {
    let summaries: Vec<&str> = parts.iter().map(|part| part.summary.as_str()).collect();
    let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
    our_mail(to, &format!("[waxseal] daily digest: {}", summaries.join(", ")), &texts.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_795_392_000 + hour * 3_600).unwrap()
    }

    #[test]
    fn a_quiet_day_has_no_digest() {
        assert_eq!(Day::default().part(at(0), at(24)), None);
        assert_eq!(gateway_part("mx.example.org", &[], &[]), None);
    }

    #[test]
    fn tells_of_messages_deeds_and_what_goes() {
        let mut day = Day { released: 1, dated_ahead: 2, ..Day::default() };
        day.count("partner.example", Became::Held);
        day.count("partner.example", Became::Held);
        day.count("shop.example\r\nBcc: x@evil.example", Became::Observed);
        day.deeds.push("2026-11-23T07:00:00Z released by anna: 20261122T061112-7f3a9c".into());
        day.expiring.push("20260830T061112-7f3a9c".into());
        day.offering.push("shop.example".into());
        let site = day.part(at(0), at(24)).unwrap();
        let gateway = gateway_part("mx.example.org", &["the delegation of gate1 ends".into()], &[]).unwrap();
        let mail = digest_mail("root@example.org", &[site, gateway]);
        assert_eq!(
            mail.subject,
            "[waxseal] daily digest: 2 held, 1 only observed, 1 released, one thing to see to"
        );
        for line in [
            "From 2026-11-23T00:00:00Z to 2026-11-24T00:00:00Z",
            "    partner.example: 2 held",
            "    shop.example??Bcc: x@evil.example: 1 only observed",
            "    2026-11-23T07:00:00Z released by anna: 20261122T061112-7f3a9c",
            "    20260830T061112-7f3a9c",
            "    waxseal keys list shop.example",
            "2 messages had a valid seal dated ahead of this clock. Check it: waxseal doctor",
            "The gateway mx.example.org",
            "    the delegation of gate1 ends",
        ] {
            assert!(mail.body.split("\r\n").any(|found| found == line), "{line} in\n{}", mail.body);
        }
    }

    #[test]
    fn a_flood_makes_no_long_digest() {
        let mut day = Day::default();
        for n in 0..5_000 {
            day.count(&format!("d{n}.example"), Became::Held);
            day.deeds.push("deleted".into());
        }
        let text = day.part(at(0), at(24)).unwrap().text;
        assert!(text.lines().count() < 100, "{}", text.lines().count());
        assert!(text.contains("and 4970 more domains: waxseal report") && text.contains("and 4950 more"));
    }
}
