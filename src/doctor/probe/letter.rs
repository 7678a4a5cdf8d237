//! The probe: one message with everything in it that is legal, that mail programs send, and that relays are known to change.

use std::fmt::Write as _;

use attachment_seal::domain::DomainName;
use encodify::base64;

use crate::clock::moment;

/// The prefix of every probe's id.
const MARK: &str = "waxseal-probe-";
/// The field of a probe that is sent to a verifying gateway.
const INCOMING: &str = "X-Waxseal-Probe: incoming\r\n";
/// Octets of an id: `20261123T121500-7f3a9c`.
const ID: usize = 22;

/// What makes one probe.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Its name: when it was made, and chance.
    pub(super) id: String,
    /// Author, of a sealing domain.
    pub(super) from: String,
    /// The author's domain.
    pub(super) domain: DomainName,
    /// Recipient.
    pub(super) to: String,
    /// When it was made, in Unix seconds.
    pub(super) made: u64,
    /// Whether lines of any octets may be sent (8BITMIME).
    pub(super) eight_bit: bool,
    /// Whether it goes to a verifying gateway, from outside.
    pub(super) is_incoming: bool,
}

impl Letter {
    /// The message as it goes over the wire.
    pub(super) fn message(&self) -> Vec<u8> {
        let Self { id, from, domain, to, .. } = self;
        let date = moment(self.made).strftime("%a, %d %b %Y %H:%M:%S +0000");
        let (text_encoding, text) = self.encoded(&text(id));
        let (table_encoding, table) = self.encoded(&table());
        let (mixed, alternative, related) = (format!("=_m_{id}"), format!("=_a_{id}"), format!("=_r_{id}"));
        let mut message = String::new();
        // Folding where few expect it, all of it legal (RFC 5322 §2.2.3).
        write!(
            message,
            "From:\r\n Waxseal probe\r\n\t<{from}>\r\nTo: <{to}>\r\n\
             Subject: waxseal probe {id}\r\n   =?utf-8?Q?=E2=9C=93?= please keep\r\n\tthis message\r\n{incoming}\
             Date: {date}\r\nMessage-ID: <{MARK}{id}@{domain}>\r\nMIME-Version: 1.0\r\nContent-Language: en\r\n\
             Content-Type: multipart/mixed;\r\n\tboundary=\"{mixed}\"\r\n{eight_bit}\r\n\
             This is a message in several parts.\r\n\
             --{mixed}\r\nContent-Type: multipart/alternative; boundary=\"{alternative}\"\r\n{eight_bit}\r\n\
             --{alternative}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: {text_encoding}\r\n\r\n{text}\r\n\
             --{alternative}\r\nContent-Type: multipart/related; boundary=\"{related}\"\r\n\r\n\
             --{related}\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\n{HTML}\r\n\
             --{related}\r\nContent-Type: image/png\r\nContent-ID: <pixel.{id}@{domain}>\r\n\
             Content-Transfer-Encoding: base64\r\nContent-Disposition: inline; filename=\"pixel.png\"\r\n\r\n{PIXEL}\r\n\
             --{related}--\r\n\r\n--{alternative}--\r\n\r\n\
             --{mixed}\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n\tfilename*=utf-8''{DOCUMENT}\r\n\r\n{document}\r\n\
             --{mixed}\r\nContent-Type: application/octet-stream; name=\"narrow.bin\"\r\n\
             Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"narrow.bin\"\r\n\r\n\
             {narrow}\r\n\
             --{mixed}\r\nContent-Type: text/csv; charset=utf-8\r\nContent-Transfer-Encoding: {table_encoding}\r\n\
             Content-Disposition: attachment; filename=\"table.csv\"\r\n\r\n{table}\r\n\
             --{mixed}\r\nContent-Type: text/calendar; charset=utf-8; name=\"meeting.ics\"\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\
             Content-Disposition: attachment; filename=\"meeting.ics\"\r\n\r\n{CALENDAR}\r\n\
             --{mixed}\r\nContent-Type: message/rfc822\r\n\
             Content-Disposition: attachment; filename=\"forwarded.eml\"\r\n\r\n\
             From: someone@example.com\r\nTo: office@{domain}\r\nSubject: forwarded\r\n\
             Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <forwarded@example.com>\r\n\r\n\
             An attached message is one sealed object.\r\n\
             --{mixed}--\r\n",
            incoming = if self.is_incoming { INCOMING } else { "" },
            eight_bit = if self.eight_bit { "Content-Transfer-Encoding: 8bit\r\n" } else { "" },
            document = wrapped(&octets(3_000), 76),
            narrow = wrapped(&octets(500), 60),
        )
        .expect("a String takes every text");
        message.into_bytes()
    }

    /// As it is, or in quoted-printable if that may not be sent.
    fn encoded(&self, text: &str) -> (&'static str, String) {
        if self.eight_bit { ("8bit", text.to_owned()) } else { ("quoted-printable", quoted_printable(text)) }
    }
}

/// Whether a probe was sent to a verifying gateway.
pub(super) fn is_incoming(sent: &[u8]) -> bool {
    memchr::memmem::find(sent, INCOMING.as_bytes()).is_some()
}

/// The id of the probe that an arrived message is, wherever in it that has survived.
pub(super) fn id_in(message: &[u8]) -> Option<String> {
    [MARK, "waxseal probe "].iter().find_map(|mark| {
        let at = memchr::memmem::find(message, mark.as_bytes())? + mark.len();
        let id = String::from_utf8(message.get(at..at + ID)?.to_vec()).ok()?;
        let is_id = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        id.bytes().all(is_id).then_some(id)
    })
}

/// An id for a probe made at a time in Unix seconds.
pub(super) fn new_id(made: u64, chance: [u8; 3]) -> String {
    let [a, b, c] = chance;
    format!("{}-{a:02x}{b:02x}{c:02x}", moment(made).strftime("%Y%m%dT%H%M%S"))
}

/// Umlauts, blanks at line ends, a line of nearly the greatest length, lines that begin with `From ` and with dots.
fn text(id: &str) -> String {
    format!(
        "This is waxseal probe {id}. Save it with all its header fields, as it\r\narrived, and run: waxseal \
         doctor --arrived FILE\r\n\r\nGrüße aus Zürich, schöne Ostern — naïve façade.  \r\nblanks at the \
         end   \r\n\ta tab,  two  blanks\r\nFrom here on mail stores may quote this line.\r\n.a \
         dot\r\n..two dots\r\n.\r\n{}\r\n\r\n-- \r\nwaxseal\r\n",
        long_line()
    )
}

/// An attachment in which every octet counts, and which travels as lines of text.
fn table() -> String {
    format!(
        "Posten;Betrag\r\nÜbernachtung;800 €  \r\nFrom Zürich;1200 €\r\n.;0\r\n\r\nlang;{}\r\nohne Zeilenende;1",
        long_line()
    )
}

fn long_line() -> String {
    (0..150).map(|n| format!("w{n:03} ")).collect::<String>() + "end"
}

const HTML: &str = "<html><body><p style=3D\"color:#333\">Gr=C3=BC=C3=9Fe&nbsp;aus Z=C3=BCrich</p>=\r\n\
                    <img src=3D\"cid:pixel\"></body></html>";

/// One transparent pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9\r\n\
                     awAAAABJRU5ErkJggg==";

/// `Tagesordnung – Übersicht.pdf` (RFC 2231).
const DOCUMENT: &str = "Tagesordnung%20%E2%80%93%20%C3%9Cbersicht.pdf";

const CALENDAR: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//waxseal//probe//EN\r\nBEGIN:VEVENT\r\n\
                        SUMMARY:Besprechung in Z=C3=BCrich=20\r\nDTSTART:20261201T090000Z\r\nUID:probe@example.org\r\n\
                        END:VEVENT\r\nEND:VCALENDAR=20";

/// Octets of every kind, always the same.
fn octets(count: u32) -> Vec<u8> {
    let mut octets = b"%PDF-1.4\n".to_vec();
    octets.extend((0..count).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    octets
}

/// Base64 in lines of this length.
fn wrapped(octets: &[u8], columns: usize) -> String {
    let text = base64::STANDARD.encode(octets);
    let lines: Vec<&str> =
        (0..text.len()).step_by(columns).map(|at| &text[at..text.len().min(at + columns)]).collect();
    lines.join("\r\n")
}

/// RFC 2045 §6.7.
fn quoted_printable(text: &str) -> String {
    const MAX: usize = 72;
    let line = |line: &str| {
        let (mut out, mut column) = (String::new(), 0);
        let octets = line.as_bytes();
        for (at, octet) in octets.iter().enumerate() {
            let is_last = at + 1 == octets.len();
            let symbol = match octet {
                b' ' | b'\t' if !is_last => char::from(*octet).to_string(),
                b'!'..=b'~' if *octet != b'=' && !(*octet == b'.' && column == 0) => {
                    char::from(*octet).to_string()
                }
                _ => format!("={octet:02X}"),
            };
            if column + symbol.len() > MAX {
                out.push_str("=\r\n");
                column = 0;
            }
            column += symbol.len();
            out.push_str(&symbol);
        }
        out
    };
    text.split("\r\n").map(line).collect::<Vec<_>>().join("\r\n")
}

#[cfg(test)]
mod tests {
    use attachment_seal::manifest::{Manifest, digests, judge::plainness};
    use attachment_seal::message::header::HeaderSection;
    use attachment_seal::mime;

    use super::*;

    fn letter(eight_bit: bool) -> Letter {
        Letter {
            id: new_id(1_795_400_000, [1, 2, 3]),
            from: "postmaster@example.org".to_owned(),
            domain: "example.org".parse().unwrap(),
            to: "a@example.net".to_owned(),
            made: 1_795_400_000,
            eight_bit,
            is_incoming: false,
        }
    }

    #[test]
    fn is_a_message_that_leaves_no_doubt() {
        let found = [true, false].map(|eight_bit| {
            let message = letter(eight_bit).message();
            assert_eq!(message.is_ascii(), !eight_bit);
            let lines: Vec<&[u8]> = message.split(|octet| *octet == b'\n').collect();
            assert!(lines.iter().all(|line| line.len() <= 999), "no line is over 998 octets and CR");
            let header = HeaderSection::parse(&message);
            assert!(header.faults.is_empty());
            let structure = mime::walk(&message, &header);
            assert_eq!(plainness(&message, &header).iter().next(), None);
            assert_eq!(id_in(&message), Some(letter(eight_bit).id));
            Manifest::of(&structure.leaves, &digests(&message, &structure.leaves)).entries
        });
        // However it is encoded, it is the same message.
        assert_eq!(found[0], found[1]);
        assert_eq!(found[0].len(), 8);
        assert!(found[0].iter().any(|found| found.name == "Tagesordnung – Übersicht.pdf"));
    }
}
