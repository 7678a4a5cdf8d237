//! From as it is hashed into a message's identity (SPEC.md §4): what it means, however a relay writes it anew. Two texts
//! that mean different names or addresses never come out the same; a text of which we are not sure stays as it is.

use encoding_rs::Encoding;
use unicode_normalization::UnicodeNormalization;

use crate::domain::DomainName;
use crate::message::header::{is_blank, trim_blanks};

/// The canonical form of a From value that is in relaxed form already.
pub(super) fn canonical(relaxed: Vec<u8>) -> Vec<u8> {
    Mailbox::parse(&relaxed).and_then(|mailbox| mailbox.to_text()).map_or(relaxed, String::into_bytes)
}

/// One address, and the name that is shown with it, both as written but for quotes and comments.
struct Mailbox {
    name: Vec<u8>,
    address: Vec<u8>,
}

impl Mailbox {
    /// `name <address>`, `<address>`, `address` or `address (name)`, and what is strewn in without a meaning: comments, blanks
    /// in the brackets, commas and semicolons at the end.
    fn parse(value: &[u8]) -> Option<Self> {
        if value.iter().any(u8::is_ascii_control) {
            return None;
        }
        let mut parts = Parts::default();
        let mut at = 0;
        while at < value.len() {
            at = parts.take(value, at)?;
        }
        parts.mailbox()
    }

    fn to_text(&self) -> Option<String> {
        let address = address(&self.address)?;
        let name = name(&self.name)?;
        if name.is_empty() {
            return Some(address);
        }
        // A name that would read as more than a name without its quotes keeps them.
        if name.contains(['@', '<', '>', '(', ')', '"', '\\']) {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            return Some(format!("\"{quoted}\" <{address}>"));
        }
        Some(format!("{name} <{address}>"))
    }
}

#[derive(Default)]
struct Parts {
    /// What is outside brackets and comments, quotes taken off.
    phrase: Vec<u8>,
    /// Whether there were quotes.
    is_quoted: bool,
    /// Whether an octet outside quotes means more than itself.
    is_odd: bool,
    /// What is in the brackets.
    brackets: Option<Vec<u8>>,
    /// The comments outside brackets.
    comments: Vec<Vec<u8>>,
}

impl Parts {
    /// Takes what begins at `at`, and returns where the next begins.
    fn take(&mut self, value: &[u8], at: usize) -> Option<usize> {
        match value[at] {
            b'(' => {
                let (comment, end) = comment(value, at)?;
                self.comments.push(comment);
                self.phrase.push(b' ');
                Some(end)
            }
            b'"' if self.brackets.is_none() => {
                let (text, end) = quoted(value, at)?;
                self.phrase.extend(text);
                self.is_quoted = true;
                Some(end)
            }
            b'<' if self.brackets.is_none() => {
                let (address, end) = brackets(value, at)?;
                self.brackets = Some(address);
                Some(end)
            }
            octet if self.brackets.is_some() => {
                (is_blank(octet) || matches!(octet, b',' | b';')).then_some(at + 1)
            }
            octet => {
                self.is_odd |= matches!(octet, b'@' | b'<' | b'>' | b'"' | b'(' | b')' | b'\\');
                self.phrase.push(octet);
                Some(at + 1)
            }
        }
    }

    fn mailbox(self) -> Option<Mailbox> {
        let mut comments = self.comments;
        // With a name, a comment is no more than a remark; without one, many readers show it for a name.
        let of_comment = |comments: &mut Vec<Vec<u8>>| match comments.len() {
            0 => Some(Vec::new()),
            1 => comments.pop(),
            _ => None,
        };
        match self.brackets {
            Some(_) if self.is_odd => None,
            Some(address) if trim_blanks(&self.phrase).is_empty() => {
                Some(Mailbox { name: of_comment(&mut comments)?, address })
            }
            Some(address) => Some(Mailbox { name: self.phrase, address }),
            None if self.is_quoted => None,
            None => {
                let end =
                    self.phrase.iter().rposition(|octet| !matches!(octet, b' ' | b'\t' | b',' | b';'))?;
                let address = self.phrase[..=end].to_vec();
                Some(Mailbox { name: of_comment(&mut comments)?, address })
            }
        }
    }
}

/// The comment at `at`, which must be simple, and the offset after it.
fn comment(value: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let rest = &value[at + 1..];
    let length =
        rest.iter().position(|octet| matches!(octet, b'(' | b')' | b'\\' | b'@' | b'<' | b'>' | b'"'))?;
    (rest[length] == b')').then(|| (rest[..length].to_vec(), at + length + 2))
}

/// The text of the quoted string at `at`, and the offset after it.
fn quoted(value: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut text = Vec::new();
    let mut octets = value.iter().enumerate().skip(at + 1);
    while let Some((at, &octet)) = octets.next() {
        match octet {
            b'\\' => text.push(*octets.next()?.1),
            b'"' => return Some((text, at + 1)),
            octet => text.push(octet),
        }
    }
    None
}

/// The text in the brackets at `at` without comments, and the offset after them.
fn brackets(value: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut text = Vec::new();
    let mut at = at + 1;
    loop {
        match value.get(at)? {
            b'>' => return Some((text, at + 1)),
            b'(' => at = comment(value, at)?.1,
            octet => {
                text.push(*octet);
                at += 1;
            }
        }
    }
}

/// An address as it is hashed: nothing but a plain local part, `@`, and the domain in lower case.
fn address(text: &[u8]) -> Option<String> {
    let (local, domain) = std::str::from_utf8(text).ok()?.split_once('@')?;
    let (local, domain) = (local.trim_matches([' ', '\t']), domain.trim_matches([' ', '\t']));
    let is_plain =
        |c: char| !matches!(c, ' ' | '(' | ')' | '<' | '>' | '[' | ']' | ':' | ';' | '@' | '\\' | ',' | '"');
    let is_sound = !local.is_empty() && local.chars().all(is_plain) && domain.chars().all(is_plain);
    (is_sound && !local.contains("=?") && domain.parse::<DomainName>().is_ok())
        .then(|| format!("{local}@{}", domain.to_ascii_lowercase()))
}

/// A name as it is hashed: encoded-words decoded, in NFC, with single spaces.
fn name(text: &[u8]) -> Option<String> {
    let mut is_decoded = std::str::from_utf8(text).is_ok();
    let name = encodify::rfc2047::decode_text(text, |charset, octets, out| {
        let label = charset.split(|&octet| octet == b'*').next().unwrap_or_default();
        match Encoding::for_label_no_replacement(label)
            .map(|encoding| encoding.decode_without_bom_handling(octets))
        {
            Some((text, false)) => out.push_str(&text),
            _ => is_decoded = false,
        }
    });
    // What is left of an encoded-word may be one to somebody else.
    if !is_decoded || name.contains("=?") || name.chars().any(char::is_control) {
        return None;
    }
    let words: Vec<&str> = name.split(' ').filter(|word| !word.is_empty()).collect();
    Some(words.join(" ").nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> String {
        String::from_utf8(canonical(text.as_bytes().to_vec())).unwrap()
    }

    /// Hashes of ordinary messages are what they were when From was hashed as written.
    #[test]
    fn a_plain_from_stays_as_it_is() {
        for text in [
            "Office <office@example.org>",
            "office@example.org",
            "Mail Delivery System <Mailer-Daemon@example.org>",
            "Ines O'Brien <ines@example.org>",
            "J. R. Amari <ines+x=y@mail.example.org>",
            "Amari, Inc. <ines@example.org>",
            "Inès Amari <ines@example.org>",
            "ines@bücher.example",
        ] {
            assert_eq!(form(text), text);
        }
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        for (text, same) in [
            ("Ines O'Brien <ines@example.org>", "\"Ines O'Brien\" <ines@example.org>"),
            ("Amari, Inc. <ines@example.org>", "\"Amari, Inc.\" <ines@example.org>"),
            ("Ines Amari <ines@example.org>", "\"Ines\" \"Amari\" <ines@example.org>"),
            ("Ines Amari <ines@example.org>", "\"Ines  Amari \"<ines@example.org>"),
            ("Ines Amari <ines@example.org>", "Ines Amari < ines@example.org >"),
            ("Ines Amari <ines@example.org>", "Ines Amari <ines@Example.ORG>"),
            ("Ines Amari <ines@example.org>", "Ines (sales) Amari <(x) ines@example.org (y)> (z)"),
            ("Ines Amari <ines@example.org>", "ines@example.org (Ines Amari)"),
            ("Ines Amari <ines@example.org>", "Ines Amari <ines@example.org>;"),
            ("ines@example.org", "<ines@example.org>"),
            ("ines@example.org", "ines@EXAMPLE.org;"),
            ("ines@example.org", " \"\" <ines@example.org>"),
            ("Inès Amari <ines@example.org>", "=?utf-8?q?In=C3=A8s?= Amari <ines@example.org>"),
            ("Inès Amari <ines@example.org>", "=?iso-8859-1?Q?In=E8s_Amari?= <ines@example.org>"),
            ("Inès Amari <ines@example.org>", "=?utf-8?b?SW7DqHMg?= =?utf-8?q?Amari?= <ines@example.org>"),
            ("Inès Amari <ines@example.org>", "=?utf-8?b?SW7D?= =?utf-8?b?qHMgQW1hcmk=?= <ines@example.org>"),
            ("Inès Amari <ines@example.org>", "\"=?utf-8?q?In=C3=A8s_Amari?=\" <ines@example.org>"),
            ("Inès Amari <ines@example.org>", "Ine\u{300}s Amari <ines@example.org>"),
            ("Müller, Jörg <j@example.org>", "=?utf-8?q?M=C3=BCller=2C_J=C3=B6rg?= <j@example.org>"),
            ("\"a@b \\\"c\\\"\" <a@example.org>", "=?utf-8?q?a=40b_=22c=22?= <a@example.org>"),
        ] {
            assert_eq!(form(text), form(same), "{text} {same}");
        }
    }

    #[test]
    fn what_means_another_is_another() {
        for (text, other) in [
            ("Ines Amari <ines@example.org>", "Ines Amar <ines@example.org>"),
            ("Ines Amari <ines@example.org>", "ines amari <ines@example.org>"),
            ("Ines Amari <ines@example.org>", "Ines Amari <INES@example.org>"),
            ("Ines Amari <ines@example.org>", "ines@example.org"),
            ("Ines Amari <ines@example.org>", "Ines Amari <ines@mail.example.org>"),
            ("Ines Amari <ines@example.org>", "InesAmari <ines@example.org>"),
            ("\"ceo@example.org\" <ines@example.org>", "ceo@example.org <ines@example.org>"),
            ("\"<ceo@example.org>\" <ines@example.org>", "<ceo@example.org> <ines@example.org>"),
            ("\"Ines \\\"Amari\" <ines@example.org>", "Ines \"Amari <ines@example.org>"),
            ("\"Ines (ceo)\" <ines@example.org>", "Ines (ceo) <ines@example.org>"),
            ("\"=?x?q?a?=\" <ines@example.org>", "a <ines@example.org>"),
            ("ines@example.org (Ines)", "ines@example.org (Ines) (Amari)"),
            ("ines@example.org (Ines)", "ines@example.org (Anna)"),
            ("\"Ines\" ines@example.org", "Ines ines@example.org"),
            ("=?utf-8?q?a=00b?= <ines@example.org>", "ab <ines@example.org>"),
            ("Ines <ines@example.org>", "Ines <=?utf-8?q?ines?=@example.org>"),
        ] {
            assert_ne!(form(text), form(other), "{text} {other}");
        }
    }

    #[test]
    fn the_unreadable_stays_as_written() {
        for text in [
            "",
            "nobody",
            "a@example.org, b@example.org",
            "Team: a@example.org;",
            "a@example.org <b@example.org>",
            "<a@example.org> <b@example.org>",
            "\"open <a@example.org>",
            "Ines (open <a@example.org>",
            "Ines (a@b) <a@example.org>",
            "\"a b\"@example.org",
            "<@relay.example:a@example.org>",
            "a@[192.0.2.1]",
            "=?no-such?q?a?= <a@example.org>",
            "=?utf-8?q?=FF?= <a@example.org>",
            "Ines <a@example.org> Amari",
        ] {
            assert_eq!(form(text), text);
        }
    }
}
