//! The content of an alert: its facts, and the words for them. Every text in it was chosen by strangers.

use std::fmt::{self, Write as _};

use attachment_seal::verdict::report::is_plain;

/// Attachments listed of one message.
const MAX_ATTACHMENTS: usize = 20;
/// Links listed of one message.
const MAX_LINKS: usize = 20;
/// Characters shown of a text that a stranger chose.
const MAX_TEXT: usize = 120;

/// One message that the administrator should know of. Its subject and text stay out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The session's id in the log or the quarantine's id of the message.
    pub id: String,
    /// SPEC.md's word, such as `fail`.
    pub verdict: String,
    /// SPEC.md's reason, where the verdict has one.
    pub reason: Option<String>,
    /// What was done about it.
    pub outcome: Outcome,
    /// The domain in From, where there is exactly one.
    pub from_domain: Option<String>,
    /// The reverse-path without its brackets; empty for the null reverse-path.
    pub reverse_path: String,
    /// How many recipients it had.
    pub recipients: usize,
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
    pub(super) fn cut(mut self) -> Self {
        self.more_attachments += self.attachments.len().saturating_sub(MAX_ATTACHMENTS);
        self.attachments.truncate(MAX_ATTACHMENTS);
        self.more_links += self.links.len().saturating_sub(MAX_LINKS);
        self.links.truncate(MAX_LINKS);
        let texts = [&mut self.id, &mut self.verdict, &mut self.reverse_path];
        let more = [&mut self.reason, &mut self.from_domain, &mut self.message_id];
        let findings = self.attachments.iter_mut().chain(&mut self.links);
        let findings = findings.flat_map(|found| [&mut found.status, &mut found.name]);
        for text in texts.into_iter().chain(more.into_iter().flatten()).chain(findings) {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// SPEC.md's word, such as `altered`.
    pub status: String,
    /// The attachment's name, empty if it has none; or the link's target.
    pub name: String,
}

/// Something that the administrator should know of and that is no message's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// One line, in our own words.
    pub subject: String,
    /// What to do about it, in our own words.
    pub text: String,
}

impl Notice {
    pub(super) fn subject(&self) -> String {
        let text = format!("[waxseal] {}", self.subject);
        text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
    }

    pub(super) fn body(&self) -> String {
        format!("{}\r\n", self.text.replace('\n', "\r\n"))
    }
}

/// ASCII on one line, whatever the message held.
pub(super) fn subject(batch: &[Alert]) -> String {
    let text = match batch {
        [alert] => format!(
            "[waxseal] mail from {} {}: {}",
            alert.from_domain.as_deref().map_or_else(|| "an unclear author".to_owned(), printable),
            alert.outcome,
            ruling(alert)
        ),
        _ => format!("[waxseal] {} messages: {}", batch.len(), tally(batch)),
    };
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
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
pub(super) fn body(batch: &[Alert], more: u64) -> String {
    let mut text = String::new();
    for alert in batch {
        text.push_str(&paragraph(alert));
        text.push('\n');
    }
    if more > 0 {
        let _ = writeln!(text, "{more} more alerts came too fast to be listed here; the log has them all.\n");
    }
    if batch.iter().any(|alert| alert.outcome == Outcome::Quarantined) {
        text.push_str("Held mail: waxseal quarantine show ID, then export ID, release ID or delete ID.\n");
    }
    if batch.iter().any(|alert| alert.verdict == "key-changed") {
        text.push_str(
            "The key is not the known one. Ask the correspondent by telephone whether it is theirs, compare \
             the fingerprint\nthat `waxseal keys list DOMAIN` shows, and only then: waxseal keys approve \
             DOMAIN.\n",
        );
    }
    text.replace('\n', "\r\n")
}

fn paragraph(alert: &Alert) -> String {
    let reverse_path = format!("<{}>", printable(&alert.reverse_path));
    let mut lines = vec![
        ("verdict", ruling(alert)),
        ("action", alert.outcome.to_string()),
        ("id", printable(&alert.id)),
        ("author's domain", alert.from_domain.as_deref().map_or_else(|| "unclear".to_owned(), printable)),
        ("reverse-path", reverse_path),
        ("recipients", alert.recipients.to_string()),
        ("Message-ID", alert.message_id.as_deref().map_or_else(|| "none".to_owned(), printable)),
    ];
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
            from_domain: Some("partner.example".into()),
            reverse_path: "a@partner.example".into(),
            recipients: 2,
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
        let subject = subject(std::slice::from_ref(&hostile));
        assert_eq!(subject, "[waxseal] mail from x??Bcc: victim@example.org quarantined: fail (attachments)");
        let body = body(&[hostile], 0);
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
