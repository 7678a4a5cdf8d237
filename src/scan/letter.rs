//! What a message says of itself, for people who look for it; and whether it is mail at all.

use attachment_seal::message::header::HeaderSection;
use attachment_seal::message::stored::to_wire;
use attachment_seal::mime::plain_text;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::Serialize;

use crate::clock::second;

/// Fields of which every message has some, and hardly anything else has two.
const FIELDS: [&str; 16] = [
    "From",
    "Date",
    "To",
    "Subject",
    "Message-ID",
    "Received",
    "Return-Path",
    "Delivered-To",
    "MIME-Version",
    "Content-Type",
    "Cc",
    "Sender",
    "Reply-To",
    "Resent-From",
    "DKIM-Signature",
    "Attachment-Seal",
];

/// Characters of a field's text that are kept.
const MAX_TEXT: usize = 500;

/// What a message says of itself. Anybody may have written it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Message-ID, with its angle brackets.
    pub message_id: Option<String>,
    /// Date in UTC (RFC 3339); as it is written, if it is no date.
    pub date: Option<String>,
    /// From, its encoded-words decoded.
    pub from: Option<String>,
    /// Subject, its encoded-words decoded.
    pub subject: Option<String>,
}

impl Letter {
    /// Reads the first field of each name.
    pub fn of(header: &HeaderSection<'_>) -> Self {
        let text = |name: &str| header.all(name).next().map(|field| text(&field.unfolded()));
        let date = header.all("Date").next().map(|field| {
            let value = field.unfolded();
            time(&value).map_or_else(|| self::text(&value), second)
        });
        Self { message_id: text("Message-ID"), date, from: text("From"), subject: text("Subject") }
    }

    /// The fields that it has, each with its name.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = [
            ("From", &self.from),
            ("Subject", &self.subject),
            ("Date", &self.date),
            ("Message-ID", &self.message_id),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

fn text(value: &[u8]) -> String {
    plain_text(value).chars().take(MAX_TEXT).collect()
}

/// A moment as RFC 5322 writes it.
fn time(value: &[u8]) -> Option<Timestamp> {
    DateTimeParser::new().relaxed_weekday(true).parse_timestamp(value.trim_ascii()).ok()
}

/// The latest time that a message was on its way, as far as it tells: when our own server received it, or Date. `None` if
/// it tells neither.
pub fn latest_time(header: &HeaderSection<'_>) -> Option<Timestamp> {
    let received = header.all("Received").next().and_then(|field| {
        let value = field.unfolded();
        time(value.rsplit(|&octet| octet == b';').next()?)
    });
    let date = header.all("Date").next().and_then(|field| time(&field.unfolded()));
    received.max(date)
}

/// Whether these octets, with this header section, are a message. Junk on top hides none that has two of the usual fields.
pub fn is_mail(wire: &[u8], header: &HeaderSection<'_>) -> bool {
    let enough = if begins_well(wire, header) { 1 } else { 2 };
    known_fields(header) >= enough
}

/// Whether a file that begins like this is likely to be one message, whatever its name is.
pub fn begins(start: &[u8]) -> bool {
    let (wire, _) = to_wire(start.to_vec());
    let header = HeaderSection::parse(&wire);
    begins_well(&wire, &header) && known_fields(&header) > 1
}

/// Whether a field is on top. Some programs leave the quoted separator of an mbox file there.
fn begins_well(wire: &[u8], header: &HeaderSection<'_>) -> bool {
    header.fields.first().is_some_and(|first| first.start == 0) || wire.starts_with(b">From ")
}

/// How many of the fields that messages have are in it.
fn known_fields(header: &HeaderSection<'_>) -> usize {
    FIELDS.iter().filter(|name| header.all(name).next().is_some()).count()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn header_of<T>(text: &str, look: impl Fn(&HeaderSection<'_>) -> T) -> T {
        let (wire, _) = to_wire(text.as_bytes().to_vec());
        look(&HeaderSection::parse(&wire))
    }

    fn is_mail_as_stored(text: &str) -> bool {
        let (wire, _) = to_wire(text.as_bytes().to_vec());
        is_mail(&wire, &HeaderSection::parse(&wire))
    }

    #[test]
    fn reads_what_people_look_for() {
        let letter = header_of(
            "From: =?utf-8?q?B=C3=BCro?= <a@example.org>\nSubject: one\n  and two\nDate: Tue, 23 Nov 2026 09:00:00 +0100\n\
             Message-ID: <1@example.org>\nSubject: another\n\nbody\n",
            Letter::of,
        );
        assert_eq!(letter.from.as_deref(), Some("Büro <a@example.org>"));
        assert_eq!(letter.subject.as_deref(), Some("one  and two"));
        assert_eq!(letter.date.as_deref(), Some("2026-11-23T08:00:00Z"));
        assert_eq!(letter.message_id.as_deref(), Some("<1@example.org>"));
        let letter = header_of("Date: yesterday\n\n", Letter::of);
        assert_eq!((letter.date.as_deref(), letter.from), (Some("yesterday"), None));
    }

    #[test]
    fn a_date_of_long_ago_does_not_hide_mail_of_today() {
        let date = |text: &str| text.parse::<Timestamp>().ok();
        let received = "Received: from a by b; Mon, 23 Nov 2026 09:00:00 +0000 (UTC)\nReceived: by c; Thu, 1 Jan 2026 00:00:00 +0000\n";
        for (text, latest) in [
            (
                &format!("{received}Date: Thu, 1 Jan 1970 00:00:00 +0000\n\n")[..],
                date("2026-11-23T09:00:00Z"),
            ),
            ("Date: Thu, 1 Jan 1970 00:00:00 +0000\n\n", date("1970-01-01T00:00:00Z")),
            ("Date: soon\nReceived: nobody knows\n\n", None),
            ("From: a@example.org\n\n", None),
        ] {
            assert_eq!(header_of(text, latest_time), latest, "{text}");
        }
    }

    #[test]
    fn tells_mail_from_other_files() {
        for text in
            ["From: a@example.org\n\n", "received: by a; today\n", ">From a 12:00\nDate: x\n\nFrom: \n"]
        {
            assert!(is_mail_as_stored(text), "{text}");
        }
        for text in [
            "",
            "\n",
            "\nFrom: a@example.org\n\n",
            "#!/bin/sh\nFrom: a\n",
            "\x7fELF\x02\x01\x01\0\nFrom: a\n",
            "a: b\nc: d\n",
            "no mail\n",
        ] {
            assert!(!is_mail_as_stored(text), "{text}");
        }
        assert!(begins(b"From: a@example.org\nTo: b@example.org\nSubj"));
        assert!(!begins(b"From: the beginning\nuntil: the end\n"));
    }

    /// Every message of the core's tests with a From or Date field, however odd, is mail.
    #[test]
    fn takes_the_oddest_messages_for_mail() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("attachment-seal/tests");
        let mut seen = 0;
        for folder in ["vectors", "messages/clients"] {
            for entry in fs::read_dir(tests.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "eml") {
                    let (wire, _) = to_wire(fs::read(&path).unwrap());
                    assert!(is_mail(&wire, &HeaderSection::parse(&wire)), "{}", path.display());
                    seen += 1;
                }
            }
        }
        assert!(seen > 100, "{seen}");
    }
}
