//! The fields that a verifying gateway adds: Authentication-Results (RFC 8601) and a warning. Ours go on top; those that some
//! program could take for ours are found, so that they can be cut out.

use std::ops::Range;

use super::report::{self, not_intact, printable};
use super::{Verification, links};
use crate::domain::DomainName;
use crate::message::header::{first_line, is_blank};
use crate::message::words::decoded;

/// The field that our result is in.
const RESULTS: &str = "Authentication-Results";

/// The method that our result is under.
pub const METHOD: &str = "x-attachment-seal";

/// The field that marks a message.
pub const WARNING: &str = "X-Attachment-Seal-Warning";

/// Longest reason that is given, in octets.
const MAX_REASON: usize = 300;

/// Our field with its CR LF, on one line of at most 998 octets.
pub fn field(hostname: &DomainName, verification: &Verification) -> String {
    let mut text = format!("{RESULTS}: {hostname}; {METHOD}={}", verification.verdict.as_str());
    if let Some(reason) = reason(verification) {
        let quoted = printable(&reason, MAX_REASON).replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&format!(" reason=\"{quoted}\""));
    }
    if let (Some(domain), Some(selector)) = (&verification.domain, &verification.selector) {
        text.push_str(&format!(" header.d={domain} header.s={selector}"));
    }
    text.push_str("\r\n");
    text
}

/// Why, in the result's words, naming attachments that are not intact, and links.
fn reason(verification: &Verification) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(report::reason(verification).map(str::to_owned));
    parts.extend(verification.doubts.iter().map(|doubt| doubt.code().to_owned()));
    parts.extend(not_intact(verification));
    if verification.trial {
        parts.push("on trial".to_owned());
    }
    parts.extend(links::in_words(verification));
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Whether a field that is put on top of a message ends there to every reader: the first line begins like a field, and not
/// with a blank, or with what some take for one or for nothing.
pub fn has_clean_top(message: &[u8]) -> bool {
    message.is_empty() || message.starts_with(b"\r\n") || matches!(message[0], 33..=126)
}

/// What has to be cut out of a message, in order, before our fields go on top: fields that some program could take for
/// ours, and first lines that some program could take for more of ours.
pub fn forged(message: &[u8], hostname: &DomainName) -> Vec<Range<usize>> {
    let mut cuts: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < message.len() && !message[at..].starts_with(b"\r\n") {
        let is_top = match cuts.as_slice() {
            [] => at == 0,
            [cut] => *cut == (0..at),
            _ => false,
        };
        let end = if is_top && !has_clean_top(&message[at..]) {
            at + first_line(&message[at..]).len()
        } else {
            let end = field_end(message, at);
            if !is_forged(&message[at..end], hostname) {
                at = end;
                continue;
            }
            end
        };
        match cuts.last_mut() {
            Some(last) if last.end == at => last.end = end,
            _ => cuts.push(at..end),
        }
        at = end;
    }
    cuts
}

/// Offset after the field at `at` and the lines that continue it.
fn field_end(message: &[u8], at: usize) -> usize {
    let mut end = at + first_line(&message[at..]).len();
    while message.get(end).copied().is_some_and(is_blank) {
        end += first_line(&message[end..]).len();
    }
    end
}

/// Whether a field is ours to some program: one that ends lines at a bare CR or LF, drops what is not printable, or decodes
/// first; one that knows neither comments nor quotes.
fn is_forged(field: &[u8], hostname: &DomainName) -> bool {
    let mut lines = field.split(|octet| matches!(octet, b'\r' | b'\n'));
    let is_named = |line: &[u8], wanted: &str| {
        let name = line.iter().take_while(|&&octet| octet != b':').filter(|octet| octet.is_ascii_graphic());
        line.contains(&b':')
            && name.map(u8::to_ascii_lowercase).eq(wanted.bytes().map(|o| o.to_ascii_lowercase()))
    };
    if lines.clone().any(|line| is_named(line, WARNING)) {
        return true;
    }
    if !lines.any(|line| is_named(line, RESULTS)) {
        return false;
    }
    let decoded = decoded(field);
    let texts = decoded.iter().flat_map(|decoded| &decoded.texts).map(String::as_bytes);
    std::iter::once(field).chain(texts).any(|text| is_our_result(text, hostname))
}

/// Whether a text has our name and our method in it.
fn is_our_result(text: &[u8], hostname: &DomainName) -> bool {
    let is_kept = |octet: &u8| octet.is_ascii_graphic() && *octet != b'\\';
    let compact: String = text.iter().copied().filter(is_kept).map(char::from).collect();
    let spaced: String =
        text.iter().map(|octet| if is_kept(octet) { char::from(*octet) } else { ' ' }).collect();
    [compact, spaced].iter().any(|text| {
        let text = text.to_ascii_lowercase();
        text.contains(METHOD) && names(&text, hostname.as_str())
    })
}

/// Whether a host name is in a text, and not as a part of another one.
fn names(text: &str, hostname: &str) -> bool {
    let is_part =
        |octet: Option<&u8>| octet.is_some_and(|octet| octet.is_ascii_alphanumeric() || *octet == b'-');
    text.match_indices(hostname).any(|(start, _)| {
        let (before, behind) = (&text.as_bytes()[..start], &text.as_bytes()[start + hostname.len()..]);
        let goes_on = is_part(behind.first()) || behind.first() == Some(&b'.') && is_part(behind.get(1));
        !goes_on && !is_part(before.last()) && before.last() != Some(&b'.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Reason, Verdict};

    fn hostname() -> DomainName {
        "mx.example.org".parse().unwrap()
    }

    #[test]
    fn writes_one_line() {
        let result = Verification {
            domain: Some("example.org".parse().unwrap()),
            selector: Some("gate1".parse().unwrap()),
            ..Verification::new(Verdict::Fail(Reason::BadSignature), None)
        };
        assert_eq!(
            field(&hostname(), &result),
            "Authentication-Results: mx.example.org; x-attachment-seal=fail reason=\"bad-signature\" \
             header.d=example.org header.s=gate1\r\n"
        );
    }

    fn forged_in(text: &str) -> Vec<String> {
        let cuts = forged(text.as_bytes(), &hostname());
        cuts.into_iter().map(|cut| String::from_utf8_lossy(&text.as_bytes()[cut]).into_owned()).collect()
    }

    #[test]
    fn recognises_what_pretends_to_be_ours() {
        for value in [
            "mx.example.org; x-attachment-seal=pass",
            "MX.Example.ORG; X-Attachment-Seal=pass",
            "mx.example.org. ; x-attachment-seal=pass",
            "mx.example.org 1; x-attachment-seal=pass",
            "(hi) mx.example.org (there) 1 ; dkim=pass; x-attachment-seal (x) = pass",
            "(a (nested) one) \"mx.example.org\"; x-attachment-seal/1=pass",
            "mx.example.org; dkim=pass (x-) reason=\"open; x-attachment-seal=pass",
            "mx.example.org; dkim=pass (open; x-attachment-seal=pass",
            // Ours to programs that know neither comments nor quotes.
            "mx.example.org; dkim=pass (x-attachment-seal=pass)",
            "mx.example.org; dkim=pass reason=\"x-attachment-seal=pass\"",
            "other.example (; mx.example.org; x-attachment-seal=pass)",
            // Ours to programs that drop what is not printable, or decode first.
            "\u{a0}mx.example.org; x-attachment-seal=pass",
            "\u{feff}mx.example.org; x-attachment-seal=pass",
            "\0mx.example.org; x-attachment-seal=pass",
            "\u{1}\u{7f}mx.exam\0ple.org; x-attach\u{8}ment-seal=pass",
            "mx.example.org\u{a0}1; x-attachment-seal=pass",
            "\r\n mx.example.org;\r\n\tx-attachment-seal=pass",
            "=?utf-8?q?mx=2Eexample.org=3B_x-attachment-seal=3Dpass?=",
            "\"mx\\.example.org\"; x-attachment-seal=pass",
        ] {
            let field = format!("Authentication-Results: {value}\r\n");
            assert_eq!(forged_in(&format!("A: b\r\n{field}C: d\r\n\r\n")), [field], "{value}");
        }
        for value in [
            "mx.example.org; dkim=pass header.d=example.org",
            "mx.example.net; x-attachment-seal=pass",
            "amx.example.org; x-attachment-seal=pass",
            "a.mx.example.org; x-attachment-seal=pass",
            "mx.example.org.net; x-attachment-seal=pass",
        ] {
            let field = format!("Authentication-Results: {value}\r\n\r\n");
            assert!(forged_in(&field).is_empty(), "{value}");
        }
    }

    /// However the name is disguised, and wherever another program begins a line.
    #[test]
    fn recognises_disguised_names() {
        let result = "mx.example.org; x-attachment-seal=pass\r\n";
        for name in [
            "Authentication-Results",
            "AUTHENTICATION-RESULTS ",
            "Authentication-Results\0",
            "Authentication\u{b}-Results",
            "\u{feff}Authentication-Results",
            "\u{a0}Authentication-Results",
            "X: a\nAuthentication-Results",
            "X: a\rAuthentication-Results",
            "X: a\r\n Authentication-Results",
            "X: a\r\n\t\nAuthentication-Results",
        ] {
            let field = format!("{name}: {result}");
            assert_eq!(forged_in(&format!("A: b\r\n{field}C: d\r\n\r\n")), [field], "{name}");
        }
        assert_eq!(forged_in("a: b\r\nX-attachment-seal-warning : x\r\n y\r\nc: d\r\n\r\n").len(), 1);
        for text in [
            "DKIM-Signature: h=from:\r\n authentication-results:to; d=mx.example.org\r\n\r\n",
            "A: b\r\n\r\nAuthentication-Results: mx.example.org; x-attachment-seal=pass\r\n",
            "X-Authentication-Results: mx.example.org; x-attachment-seal=pass\r\n\r\n",
        ] {
            assert!(forged_in(text).is_empty(), "{text}");
        }
        let far = format!("{}Authentication-Results: {result}\r\n", "A: b\r\n".repeat(200_000));
        assert_eq!(forged_in(&far).len(), 1);
    }

    /// What begins a message becomes a part of the field above it, if some program takes it for its continuation.
    #[test]
    fn leaves_a_clean_top() {
        for top in [
            " mx.example.org; x-attachment-seal=pass\r\n",
            "\t\r\n \r\n",
            "\u{b}x\r\n",
            "\u{c} x\r\n",
            "\0\r\n",
            "\n x\r\n",
            "\r x\r\n",
            "\u{a0}x\r\n",
            "\u{feff}From: a\r\n",
            "\u{feff}Authentication-Results: mx.example.org; x-attachment-seal=pass\r\n x\r\n",
            "Authentication-Results: mx.example.org; x-attachment-seal=pass\r\n\0x\r\n",
        ] {
            let text = format!("{top}From: a@b.example\r\n\r\n");
            assert_eq!(forged_in(&text), [top], "{top:?}");
        }
        for text in ["", "\r\nbody", "From: a\r\n\r\n", "junk\r\n x\r\n\r\n"] {
            assert!(has_clean_top(text.as_bytes()) && forged_in(text).is_empty(), "{text:?}");
        }
        assert_eq!(forged_in(" x"), [" x"]);
    }
}
