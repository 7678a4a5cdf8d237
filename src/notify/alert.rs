//! The content of an alert: its facts, and the words for them. Every text in it was chosen by strangers.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use attachment_seal::verdict::report::is_plain;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::mail::Mail;
use crate::clock::second;

/// Attachments listed of one message.
const MAX_ATTACHMENTS: usize = 20;
/// Links listed of one message.
const MAX_LINKS: usize = 20;
/// Messages listed in a mail without their texts.
const MAX_TERSE: usize = 500;
/// Recipients listed of one message.
const MAX_RECIPIENTS: usize = 10;
/// Characters shown of a text that a stranger chose.
const MAX_TEXT: usize = 120;

/// One message that the administrator should know of. Its text stays out of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The session's id in the log or the quarantine's id of the message.
    pub id: String,
    /// SPEC.md's word, such as `fail`.
    pub verdict: String,
    /// SPEC.md's reason, where the verdict has one.
    pub reason: Option<String>,
    /// What was done about it.
    pub outcome: Outcome,
    /// When it was received.
    pub received: Timestamp,
    /// The listener that it came in by.
    pub listener: String,
    /// The client that it came from.
    pub client: IpAddr,
    /// The domain in From, where there is exactly one.
    pub from_domain: Option<String>,
    /// The author's address, where it is clear.
    pub author: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// The reverse-path without its brackets; empty for the null reverse-path.
    pub reverse_path: String,
    /// The first of its recipients, as the client gave them.
    pub recipients: Vec<String>,
    /// How many more of those there are.
    pub more_recipients: usize,
    /// The Message-ID field's value.
    pub message_id: Option<String>,
    /// What happened to attachments that are not intact, the first ones.
    pub attachments: Vec<Finding>,
    /// How many more of those there are.
    pub more_attachments: usize,
    /// What happened to links of its text, the first ones; the targets written so that no program makes a link of them.
    pub links: Vec<Finding>,
    /// How many more of those there are.
    pub more_links: usize,
}

impl Alert {
    /// The same with no more of what strangers chose than will be shown: an alert may wait for its turn.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.more_attachments += self.attachments.len().saturating_sub(MAX_ATTACHMENTS);
        self.attachments.truncate(MAX_ATTACHMENTS);
        self.more_links += self.links.len().saturating_sub(MAX_LINKS);
        self.links.truncate(MAX_LINKS);
        self.more_recipients += self.recipients.len().saturating_sub(MAX_RECIPIENTS);
        self.recipients.truncate(MAX_RECIPIENTS);
        let texts = [&mut self.id, &mut self.verdict, &mut self.listener, &mut self.reverse_path];
        let texts = texts.into_iter().chain(&mut self.recipients);
        let more = [
            &mut self.reason,
            &mut self.from_domain,
            &mut self.author,
            &mut self.subject,
            &mut self.message_id,
        ];
        let findings = self.attachments.iter_mut().chain(&mut self.links);
        let findings = findings.flat_map(|found| [&mut found.status, &mut found.name]);
        for text in texts.chain(more.into_iter().flatten()).chain(findings) {
            // One character more than is shown, so that what is left out is seen to be.
            if let Some((end, _)) = text.char_indices().nth(MAX_TEXT + 1) {
                text.truncate(end);
            }
            text.shrink_to_fit();
        }
        self
    }
}

/// What was done about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Held in the quarantine.
    Quarantined,
    /// Refused with 550.
    Rejected,
    /// Put off with 451.
    Deferred,
    /// Delivered with a warning.
    Marked,
    /// Delivered, though it would have been held or refused: the policy is only to observe, or the key on trial.
    Observed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Quarantined => "quarantined",
            Self::Rejected => "rejected",
            Self::Deferred => "deferred",
            Self::Marked => "marked",
            Self::Observed => "only observed",
        })
    }
}

/// What happened to one attachment or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// SPEC.md's word, such as `altered`.
    pub status: String,
    /// The attachment's name, empty if it has none; or the link's target.
    pub name: String,
}

/// Something that the administrator should know of and that is no message's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// One line, in our own words.
    pub subject: String,
    /// What to do about it, in our own words.
    pub text: String,
}

impl Notice {
    /// The mail that tells of it.
    pub fn mail(&self, to: &str) -> Mail {
        our_mail(to, &format!("[waxseal] {}", self.subject), &format!("{}\n", self.text))
    }
}

/// The mail that tells of these messages; `more` alerts are counted only.
pub fn alerts_mail(to: &str, batch: &[Alert], more: u64) -> Mail {
    our_mail(to, &subject(batch), &body(batch, more))
}

/// The same without a word that strangers chose, for a server on the way that takes offence at one.
pub fn terse_mail(to: &str, batch: &[Alert], more: u64) -> Mail {
    let subject = format!("[waxseal] {} messages: {}", batch.len() as u64 + more, tally(batch));
    let mut text = "A server would not take the full text of this alert.\n\n".to_owned();
    for alert in batch.iter().take(MAX_TERSE) {
        let Alert { id, outcome, verdict, received, .. } = alert;
        let _ = writeln!(text, "{} {outcome} {verdict}: {}", second(*received), printable(id));
    }
    if let rest @ 1.. = more + batch.len().saturating_sub(MAX_TERSE) as u64 {
        let _ = writeln!(text, "and {rest} more");
    }
    let _ = writeln!(text, "\n    waxseal quarantine list\n    waxseal report --all");
    our_mail(to, &subject, &text)
}

/// A mail to the administrator, its subject in ASCII on one line, whatever a message held.
pub(super) fn our_mail(to: &str, subject: &str, text: &str) -> Mail {
    Mail {
        to: to.to_owned(),
        sender: "waxseal".to_owned(),
        subject: subject.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect(),
        body: text.replace('\n', "\r\n"),
        language: None,
    }
}

fn subject(batch: &[Alert]) -> String {
    match batch {
        [alert] => format!(
            "[waxseal] mail from {} {}: {}",
            alert.from_domain.as_deref().map_or_else(|| "an unclear author".to_owned(), printable),
            alert.outcome,
            ruling(alert)
        ),
        _ => format!("[waxseal] {} messages: {}", batch.len(), tally(batch)),
    }
}

/// `12 quarantined, 5 rejected`.
fn tally(batch: &[Alert]) -> String {
    let outcomes =
        [Outcome::Quarantined, Outcome::Rejected, Outcome::Deferred, Outcome::Marked, Outcome::Observed];
    let count = |outcome: &Outcome| batch.iter().filter(|alert| alert.outcome == *outcome).count();
    let counts = outcomes.iter().map(|outcome| (count(outcome), outcome)).filter(|(count, _)| *count > 0);
    counts.map(|(count, outcome)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", ")
}

/// `fail (attachments)`.
fn ruling(alert: &Alert) -> String {
    let reason = alert.reason.as_ref().map(|reason| format!(" ({})", printable(reason)));
    printable(&alert.verdict) + &reason.unwrap_or_default()
}

/// The whole text; `more` alerts are counted only.
fn body(batch: &[Alert], more: u64) -> String {
    let mut text = String::new();
    for alert in batch {
        text.push_str(&paragraph(alert));
        text.push('\n');
    }
    if more > 0 {
        let _ = writeln!(text, "{more} more alerts came too fast to be listed here; the log has them all.\n");
    }
    text.push_str(&what_to_do(batch));
    text
}

/// The commands for what may be done now, ready to copy where there is one message.
fn what_to_do(batch: &[Alert]) -> String {
    let mut text = String::new();
    let (id, domain) = match batch {
        [alert] => {
            (printable(&alert.id), alert.from_domain.as_deref().map_or("DOMAIN".to_owned(), printable))
        }
        _ => ("ID".to_owned(), "DOMAIN".to_owned()),
    };
    let has = |outcome| batch.iter().any(|alert| alert.outcome == outcome);
    if has(Outcome::Quarantined) {
        let _ = writeln!(
            text,
            "Held mail stays until you release or delete it. See what changed, and ask the author by telephone:\n\n    \
             waxseal quarantine show {id}\n    waxseal quarantine release {id} --reason \"why\"\n    waxseal quarantine delete {id} --reason \"why\"\n"
        );
    }
    if [Outcome::Rejected, Outcome::Deferred, Outcome::Marked, Outcome::Observed].into_iter().any(has) {
        text.push_str(
            "The gateway keeps no copy of mail that it rejected, marked or only observed. See what it found:\n\n    \
             waxseal report --all\n\n",
        );
    }
    if batch.iter().any(|alert| alert.verdict == "key-changed") {
        let _ = writeln!(
            text,
            "The key is not the known one. Ask the correspondent by telephone whether it is theirs. Compare the\n\
             fingerprint. Approve the key only if it is the same:\n\n    waxseal keys list {domain}\n    \
             waxseal keys approve {domain}\n"
        );
    }
    text
}

fn paragraph(alert: &Alert) -> String {
    let optional =
        |text: &Option<String>, none: &str| text.as_deref().map_or_else(|| none.to_owned(), printable);
    let mut lines = vec![
        ("verdict", ruling(alert)),
        ("action", alert.outcome.to_string()),
        ("id", printable(&alert.id)),
        ("received", second(alert.received)),
        ("listener", printable(&alert.listener)),
        ("client", alert.client.to_string()),
        ("author", optional(&alert.author, "unclear")),
        ("author's domain", optional(&alert.from_domain, "unclear")),
        ("subject", optional(&alert.subject, "none")),
        ("reverse-path", format!("<{}>", printable(&alert.reverse_path))),
        ("Message-ID", optional(&alert.message_id, "none")),
    ];
    lines.extend(alert.recipients.iter().take(MAX_RECIPIENTS).map(|to| ("recipient", printable(to))));
    if let rest @ 1.. = alert.recipients.len().saturating_sub(MAX_RECIPIENTS) + alert.more_recipients {
        lines.push(("recipient", format!("and {rest} more")));
    }
    for (name, findings, max, more) in [
        ("attachment", &alert.attachments, MAX_ATTACHMENTS, alert.more_attachments),
        ("link", &alert.links, MAX_LINKS, alert.more_links),
    ] {
        lines.extend(findings.iter().take(max).map(|finding| (name, describe(finding))));
        if let rest @ 1.. = findings.len().saturating_sub(max) + more {
            lines.push((name, format!("and {rest} more")));
        }
    }
    lines.iter().map(|(name, value)| format!("{name:>15}: {value}\n")).collect()
}

fn describe(finding: &Finding) -> String {
    let name = if finding.name.is_empty() { "(no name)".to_owned() } else { printable(&finding.name) };
    format!("{}: {name}", printable(&finding.status))
}

/// A stranger's text, safe to show: one line, nothing invisible or turning the direction of text, not too long.
pub(super) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_TEXT).map(|c| if is_plain(c) { c } else { '?' }).collect();
    if text.chars().nth(MAX_TEXT).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A quarantined message.
    pub(in crate::notify) fn alert(id: &str) -> Alert {
        Alert {
            id: id.into(),
            verdict: "fail".into(),
            reason: Some("attachments".into()),
            outcome: Outcome::Quarantined,
            received: "2026-11-23T06:11:12Z".parse().unwrap(),
            listener: "inbound".into(),
            client: "192.0.2.7".parse().unwrap(),
            from_domain: Some("partner.example".into()),
            author: Some("anna@partner.example".into()),
            subject: Some("Agenda".into()),
            reverse_path: "a@partner.example".into(),
            recipients: vec!["desk@example.org".into(), "chair@example.org".into()],
            more_recipients: 0,
            message_id: Some("<1@partner.example>".into()),
            attachments: vec![Finding { status: "altered".into(), name: "Agenda 2026.pdf".into() }],
            more_attachments: 0,
            links: Vec::new(),
            more_links: 0,
        }
    }

    #[test]
    fn strangers_cannot_write_header_fields() {
        let hostile = Alert {
            from_domain: Some("x\r\nBcc: victim@example.org".into()),
            attachments: vec![
                Finding { status: "added".into(), name: "a\u{202e}fdp.exe\r\n.\r\nQUIT".into() };
                30
            ],
            message_id: Some("y".repeat(10_000)),
            ..alert("id")
        };
        let mail = alerts_mail("root@example.org", std::slice::from_ref(&hostile), 0);
        assert_eq!(
            mail.subject,
            "[waxseal] mail from x??Bcc: victim@example.org quarantined: fail (attachments)"
        );
        let body = mail.body;
        assert!(body.lines().all(|line| line.len() < 200));
        assert!(body.contains("added: a?fdp.exe??.??QUIT\r\n") && body.contains("and 10 more"), "{body}");
    }

    /// A message's header section may be 1 MiB, and a hundred alerts may wait.
    #[test]
    fn what_waits_is_no_more_than_what_is_shown() {
        let hostile = Alert {
            message_id: Some("\u{20ac}".repeat(300_000)),
            reverse_path: "r".repeat(2_000),
            attachments: vec![Finding { status: "added".into(), name: "n".repeat(10_000) }; 900],
            links: vec![Finding { status: "added".into(), name: "n".repeat(10_000) }; 500],
            ..alert("id")
        };
        let cut = hostile.clone().cut();
        assert_eq!(paragraph(&cut), paragraph(&hostile));
        assert!(paragraph(&cut).contains("attachment: and 880 more"));
        assert!(paragraph(&cut).contains("link: and 480 more"));
        let Alert { message_id, reverse_path, attachments, links, .. } = cut;
        let names: usize = attachments.iter().chain(&links).map(|found| found.name.capacity()).sum();
        let octets = message_id.map_or(0, |id| id.capacity()) + reverse_path.capacity() + names;
        assert!(octets < 6_000, "{octets}");
    }
}
