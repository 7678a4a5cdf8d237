//! The notice to a recipient: a message to them is held. It has no link and no attachment, and of what strangers wrote only the
//! author's address and the subject, neither of which can be clicked.

use attachment_seal::verdict::report::is_plain;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::languages::Words;
use super::mail::Mail;

/// Messages that are named in one notice; the others are counted.
pub const MAX_NAMED: usize = 20;
/// Characters shown of a text that a stranger chose.
const MAX_SHOWN: usize = 80;
/// Characters kept of such a text. More than is shown, so that what is left out is seen to be.
const MAX_TEXT: usize = 100;

/// A held message, as its recipient may know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldNotice {
    /// What the administrators find it by.
    pub reference: String,
    /// When it was received.
    pub received: Timestamp,
    /// The author's address, where it is clear.
    pub author: Option<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// Why it is held.
    pub why: Why,
}

/// Why a message is held, as far as that helps its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// An attachment was altered, added, removed or renamed.
    Attachments,
    /// Links were added to its text.
    Links,
    /// It has no seal, and should have one.
    Missing,
    /// Its key is not one of the sender's.
    Key,
    /// Anything else that is wrong with its seal.
    Seal,
}

impl Why {
    /// From the verdict and its reason, in SPEC.md's words.
    pub fn of(verdict: &str, reason: Option<&str>) -> Self {
        match (verdict, reason) {
            ("fail", Some("attachments")) => Self::Attachments,
            ("pass", _) => Self::Links,
            ("missing" | "none", _) => Self::Missing,
            ("unaligned" | "unknown-key" | "key-changed", _) => Self::Key,
            _ => Self::Seal,
        }
    }
}

impl HeldNotice {
    /// The same with no more of what strangers chose than will be shown: a notice may wait for its turn.
    #[must_use]
    pub fn cut(mut self) -> Self {
        for text in [&mut self.author, &mut self.subject].into_iter().flatten() {
            if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
                text.truncate(end);
            }
            text.shrink_to_fit();
        }
        self
    }
}

/// A notice of these messages, of which there is one at least; `more` are counted only. `contact` is whom to ask.
pub fn mail(words: Words<'_>, to: &str, held: &[HeldNotice], more: u64, contact: Option<&str>) -> Mail {
    let count = held.len() as u64 + more;
    let (subject, intro) = if count == 1 {
        (words.line("subject", &[]), words.text("intro", &[]))
    } else {
        (words.line("subject-many", &[("count", &count.to_string())]), words.text("intro-many", &[]))
    };
    let mut body = format!("{intro}\n\n");
    for message in held.iter().take(MAX_NAMED) {
        body.push_str(&paragraph(words, message));
        body.push('\n');
    }
    if let rest @ 1.. = count - held.len().min(MAX_NAMED) as u64 {
        body.push_str(&words.text("more", &[("count", &rest.to_string())]));
        body.push_str("\n\n");
    }
    let contact = match contact {
        Some(contact) => words.text("contact", &[("contact", contact)]),
        None => words.text("contact-none", &[]),
    };
    let plain = |message| words.text(message, &[]);
    for line in [plain("forgery"), plain("next"), contact, plain("defused"), plain("closing")] {
        body.push_str(&line);
        body.push('\n');
    }
    Mail {
        to: to.to_owned(),
        sender: words.line("sender-name", &[]),
        subject,
        body: body.replace('\n', "\r\n"),
        language: Some(words.language().to_owned()),
    }
}

fn paragraph(words: Words<'_>, held: &HeldNotice) -> String {
    let author = held.author.as_deref().map_or_else(
        || words.text("author-unclear", &[]),
        |author| words.text("author", &[("author", &defused(author))]),
    );
    let topic = held.subject.as_deref().filter(|subject| !subject.trim().is_empty());
    let topic = topic.map_or_else(
        || words.text("topic-none", &[]),
        |topic| words.text("topic", &[("topic", &defused(topic))]),
    );
    let date = held.received.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M (UTC%:z)").to_string();
    let why = words.text(
        match held.why {
            Why::Attachments => "why-attachments",
            Why::Links => "why-links",
            Why::Missing => "why-missing",
            Why::Key => "why-key",
            Why::Seal => "why-seal",
        },
        &[],
    );
    let date = words.text("date", &[("date", &date)]);
    let reference = words.text("reference", &[("reference", &held.reference)]);
    [author, date, topic, why, reference].map(|line| format!("{line}\n")).concat()
}

/// A stranger's text that no program makes a link or an address of: on one line, nothing invisible in it or turning the
/// direction of text, not too long.
fn defused(text: &str) -> String {
    let mut shown = String::new();
    let mut characters = text.trim().chars().peekable();
    for _ in 0..MAX_SHOWN {
        let Some(c) = characters.next() else { return shown };
        let goes_on = characters.peek().is_some_and(|next| !next.is_whitespace());
        match c {
            '@' | '\u{fe6b}' | '\u{ff20}' => shown.push_str("[at]"),
            // Browsers take all of these for the dot of a name (UTS #46).
            '.' | '\u{2024}' | '\u{3002}' | '\u{fe52}' | '\u{ff0e}' | '\u{ff61}' if goes_on => {
                shown.push_str("[.]");
            }
            ':' | '\u{ff1a}' if goes_on && shown.ends_with(char::is_alphabetic) => shown.push_str("[:]"),
            '\t' => shown.push(' '),
            c if is_plain(c) => shown.push(c),
            _ => shown.push('?'),
        }
    }
    if characters.next().is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::languages::Languages;
    use super::*;

    fn held(subject: &str) -> HeldNotice {
        HeldNotice {
            reference: "20261123T061112-7f3a9c".into(),
            received: "2026-11-23T06:11:12Z".parse().unwrap(),
            author: Some("anna@partner.example".into()),
            subject: Some(subject.into()),
            why: Why::Attachments,
        }
    }

    #[test]
    fn strangers_write_nothing_that_can_be_clicked() {
        for (text, shown) in [
            ("Agenda for Tuesday", "Agenda for Tuesday"),
            ("Re: hello. Bye.", "Re: hello. Bye."),
            ("at 12:30", "at 12:30"),
            ("see https://evil.example/x", "see https[:]//evil[.]example/x"),
            ("www.evil.example", "www[.]evil[.]example"),
            ("ask help@evil.example", "ask help[at]evil[.]example"),
            ("mailto:help", "mailto[:]help"),
            ("evil\u{3002}example", "evil[.]example"),
            ("a\u{202e}b\u{0}c\r\nd\u{200b}e", "a?b?c??d?e"),
            ("  x\ty ", "x y"),
        ] {
            assert_eq!(defused(text), shown, "{text:?}");
        }
        let long = defused(&"\u{20ac}".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_SHOWN + 3);
        assert_eq!(defused(&"x".repeat(MAX_SHOWN)).len(), MAX_SHOWN);
    }

    /// In every language: who, when, what and why, and nothing that a program makes a link of.
    #[test]
    fn a_notice_says_it_all_in_every_language() {
        let languages = Languages::read(None).unwrap();
        for tag in ["ar", "bo", "de", "en", "es", "fr", "ru", "zh-Hans", "zh-Hant"] {
            let words = languages.find(tag).unwrap();
            for why in [Why::Attachments, Why::Links, Why::Missing, Why::Key, Why::Seal] {
                let message = HeldNotice { why, ..held("see www.evil.example") };
                let mail = mail(words, "b@example.org", &[message], 0, Some("Tashi, 2222"));
                let Mail { to, subject, body, language, .. } = &mail;
                assert_eq!((to.as_str(), language.as_deref()), ("b@example.org", Some(tag)));
                for part in [
                    "\u{2068}anna[at]partner[.]example\u{2069}",
                    "\u{2068}see www[.]evil[.]example\u{2069}",
                    "\u{2068}2026-11-23 ",
                    "\u{2068}20261123T061112-7f3a9c\u{2069}",
                    "\u{2068}Tashi, 2222\u{2069}",
                ] {
                    assert!(body.contains(part), "{part} in\n{body}");
                }
                assert!(!subject.contains(['\u{2068}', '\u{2069}', '\n']) && !subject.is_empty());
                assert!(!body.contains("://") && !body.contains("www.") && !body.contains("evil.example"));
                // The one sign @ is the one that is explained.
                assert_eq!(body.matches('@').count(), 1, "{body}");
                assert!(body.split("\r\n").all(|line| !line.contains('\n') && line.len() < 900), "{body}");
            }
        }
    }

    #[test]
    fn the_reason_follows_from_the_verdict() {
        for (verdict, reason, why) in [
            ("fail", Some("attachments"), Why::Attachments),
            ("fail", Some("bad-signature"), Why::Seal),
            ("pass", Some("links-added"), Why::Links),
            ("missing", None, Why::Missing),
            ("key-changed", None, Why::Key),
            ("unknown-key", Some("key-not-found"), Why::Key),
            ("ambiguous", None, Why::Seal),
        ] {
            assert_eq!(Why::of(verdict, reason), why, "{verdict} {reason:?}");
        }
    }

    #[test]
    fn many_messages_are_one_notice() {
        let languages = Languages::read(None).unwrap();
        let words = languages.find("en").unwrap();
        let many = vec![HeldNotice { author: None, subject: None, ..held("") }; 30];
        let mail = mail(words, "b@example.org", &many, 5, None);
        assert_eq!(mail.subject, "Messages to you that are held: 35");
        assert_eq!(mail.body.matches("From: unclear").count(), MAX_NAMED);
        assert!(
            mail.body.contains("Further messages to you that are held: \u{2068}15\u{2069}"),
            "{}",
            mail.body
        );
        assert!(mail.body.contains("the administrators of your mail"));
    }

    #[test]
    fn what_waits_is_no_more_than_what_is_shown() {
        let hostile = held(&"\u{1f4ce}".repeat(100_000));
        let cut = hostile.clone().cut();
        assert!(cut.subject.as_ref().unwrap().len() <= 4 * MAX_TEXT);
        let languages = Languages::read(None).unwrap();
        let words = languages.find("en").unwrap();
        assert_eq!(paragraph(words, &cut), paragraph(words, &hostile));
    }
}
