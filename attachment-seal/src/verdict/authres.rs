//! Authentication-Results (RFC 8601): our result on top, and those that only pretend to be ours recognised.

use super::Verification;
use super::report::{self, not_intact, printable};
use crate::domain::DomainName;
use crate::message::header::{Field, HeaderSection, is_blank};

/// The method that our result is under.
pub const METHOD: &str = "x-attachment-seal";

/// Longest reason that is given, in octets.
const MAX_REASON: usize = 300;

/// Our field with its CR LF, on one line of at most 998 octets.
pub fn field(hostname: &DomainName, verification: &Verification) -> String {
    let mut text = format!("Authentication-Results: {hostname}; {METHOD}={}", verification.verdict.as_str());
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

/// Why, in the result's words, naming attachments that are not intact.
fn reason(verification: &Verification) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(report::reason(verification).map(str::to_owned));
    parts.extend(verification.doubts.iter().map(|doubt| doubt.code().to_owned()));
    parts.extend(not_intact(verification));
    if verification.trial {
        parts.push("on trial".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The Authentication-Results fields that carry our name and our method, and so were forged.
pub fn forged<'s, 'a>(
    header: &'s HeaderSection<'a>,
    hostname: &'s DomainName,
) -> impl Iterator<Item = &'s Field<'a>> {
    header.all("Authentication-Results").filter(move |field| is_forged(&field.unfolded(), hostname))
}

fn is_forged(value: &[u8], hostname: &DomainName) -> bool {
    let bare = Bare::of(value);
    let is_ours = bare.authserv_id.trim_end_matches('.').eq_ignore_ascii_case(hostname.as_str());
    // Where quotes or comments are not closed, readers differ about what is inside them.
    let text = if bare.is_balanced { bare.text } else { String::from_utf8_lossy(value).to_ascii_lowercase() };
    is_ours && text.contains(METHOD)
}

/// A value without comments and quoted strings, in lower case, and the authserv-id, which may be quoted itself.
struct Bare {
    authserv_id: String,
    text: String,
    is_balanced: bool,
}

impl Bare {
    fn of(value: &[u8]) -> Self {
        let (mut id, mut text) = (String::new(), String::new());
        let (mut id_is_over, mut quoted, mut escaped, mut depth) = (false, false, false, 0_usize);
        for &octet in value {
            let was_escaped = std::mem::take(&mut escaped);
            let c = char::from(octet.to_ascii_lowercase());
            match octet {
                b'\\' if (quoted || depth > 0) && !was_escaped => escaped = true,
                b'"' if depth == 0 && !was_escaped => quoted = !quoted,
                b'(' if !quoted && !was_escaped => depth += 1,
                b')' if depth > 0 && !was_escaped => depth -= 1,
                _ if depth > 0 => {}
                _ if quoted && !id_is_over => id.push(c),
                _ if quoted => {}
                _ => {
                    id_is_over |= octet == b';' || is_blank(octet) && !id.is_empty();
                    if !id_is_over && !is_blank(octet) {
                        id.push(c);
                    }
                    text.push(c);
                }
            }
        }
        Self { authserv_id: id, text, is_balanced: !quoted && depth == 0 }
    }
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
        ] {
            assert!(is_forged(value.as_bytes(), &hostname()), "{value}");
        }
        for value in [
            "mx.example.org; dkim=pass header.d=example.org",
            "mx.example.org; dkim=pass (x-attachment-seal=pass)",
            "mx.example.org; dkim=pass reason=\"x-attachment-seal=pass\"",
            "mx.example.net; x-attachment-seal=pass",
            "amx.example.org; x-attachment-seal=pass",
        ] {
            assert!(!is_forged(value.as_bytes(), &hostname()), "{value}");
        }
    }
}
