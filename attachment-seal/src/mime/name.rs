//! The file name of a part: RFC 2231's extended and split forms, RFC 2047's encoded-words where senders misuse them,
//! raw octets as UTF-8. One name comes out, in Unicode NFC. Where readers could show another one is asked in
//! [`super::plain`].

use encoding_rs::Encoding;
use percent_encoding::percent_decode;
use unicode_normalization::UnicodeNormalization;

use super::field::{Parameter, Structured};

/// Longest file name that is read, in octets as written.
const MAX_NAME: usize = 16 << 10;

/// The name of a part: Content-Disposition `filename`, else Content-Type `name`; empty if there is none.
pub(super) fn file_name(disposition: Option<&Structured>, content_type: Option<&Structured>) -> String {
    let read = |field: Option<&Structured>, attribute| parameter_text(&field?.parameters, attribute);
    read(disposition, "filename").or_else(|| read(content_type, "name")).unwrap_or_default()
}

/// A parameter's text in whichever form it is given, the extended one before the plain.
fn parameter_text(parameters: &[Parameter], attribute: &str) -> Option<String> {
    let plain = || parameters.iter().find(|p| p.attribute == attribute).map(|p| plain_text(&p.value));
    extended_text(parameters, attribute).or_else(plain)
}

/// A plain value, such as a file name or Subject's, of which 16 KiB are read: encoded-words decoded, other octets as UTF-8.
pub fn plain_text(value: &[u8]) -> String {
    let value = &value[..value.len().min(MAX_NAME)];
    if memchr::memmem::find(value, b"=?").is_none() {
        return as_shown(&String::from_utf8_lossy(value));
    }
    as_shown(&encodify::rfc2047::decode_text(value, decode_charset))
}

/// A name in NFC. A tab in it was a blank that somebody folded at.
fn as_shown(text: &str) -> String {
    text.nfc().map(|c| if c == '\t' { ' ' } else { c }).collect()
}

/// One section of an RFC 2231 value.
struct Section<'a> {
    number: usize,
    encoded: bool,
    value: &'a [u8],
}

/// The value of `attribute*` or of `attribute*0…`, joined and decoded.
pub(super) fn extended_text(parameters: &[Parameter], attribute: &str) -> Option<String> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for parameter in parameters {
        let Some(suffix) =
            parameter.attribute.strip_prefix(attribute).and_then(|rest| rest.strip_prefix('*'))
        else {
            continue;
        };
        let (number, encoded) = match suffix.strip_suffix('*').unwrap_or(suffix) {
            "" => (0, true),
            digits if digits != "0" && digits.starts_with('0') => continue,
            digits => match digits.parse() {
                Ok(number) => (number, suffix.ends_with('*')),
                Err(_) => continue,
            },
        };
        sections.push(Section { number, encoded, value: &parameter.value });
    }
    if sections.is_empty() {
        return None;
    }
    sections.sort_by_key(|section| section.number);
    Some(as_shown(&join(&sections)))
}

/// RFC 2231 §4: the first encoded section begins with `charset'language'`; octets are joined before they are decoded.
fn join(sections: &[Section<'_>]) -> String {
    let mut charset: &[u8] = b"utf-8";
    let mut octets = Vec::new();
    for (at, section) in sections.iter().enumerate() {
        let mut value = section.value;
        if at == 0 && section.encoded {
            let mut parts = value.splitn(3, |&octet| octet == b'\'');
            if let (Some(named), Some(_), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
                charset = if named.is_empty() { charset } else { named };
                value = rest;
            }
        }
        if section.encoded {
            octets.extend(percent_decode(value));
        } else {
            octets.extend_from_slice(value);
        }
        if octets.len() > MAX_NAME {
            break;
        }
    }
    let mut text = String::with_capacity(octets.len());
    decode_charset(charset, &octets, &mut text);
    text
}

/// Appends `octets` in `charset` to `out`, as UTF-8 where the charset is unknown.
fn decode_charset(charset: &[u8], octets: &[u8], out: &mut String) {
    // RFC 2231 §5: a language may follow the charset of an encoded-word.
    let label = charset.split(|&octet| octet == b'*').next().unwrap_or_default();
    match Encoding::for_label_no_replacement(label) {
        Some(encoding) => out.push_str(&encoding.decode_without_bom_handling(octets).0),
        None => out.push_str(&String::from_utf8_lossy(octets)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::field::{content_disposition, content_type};
    use super::*;

    fn name(disposition: &str, kind: &str) -> String {
        let (disposition, kind) =
            (content_disposition(disposition.as_bytes()), content_type(kind.as_bytes()));
        file_name(Some(&disposition), Some(&kind))
    }

    #[test]
    fn reads_every_honest_form() {
        for disposition in [
            "attachment; filename=\"Besuch in Köln.pdf\"",
            "attachment; filename=\"Besuch in Köln.pdf\"; x=\"\\a\"",
            "attachment; filename*=utf-8''Besuch%20in%20K%C3%B6ln.pdf",
            "attachment; filename*=iso-8859-1'de'Besuch%20in%20K%F6ln.pdf",
            "attachment; filename*0*=utf-8''Besuch%20in%20K%C3; filename*1*=%B6ln; filename*2=.pdf",
            "attachment; filename=\"=?utf-8?Q?Besuch_in_K=C3=B6ln.pdf?=\"",
            "attachment; filename=\"=?utf-8?B?QmVzdWNoIGluIEs=?= =?iso-8859-1?Q?=F6ln.pdf?=\"",
            "attachment; filename=\"=?utf-8?Q?Besuch_in_K=C3=B6ln.pdf?=\"; filename*=utf-8''Besuch%20in%20K%C3%B6ln.pdf",
            "attachment; filename=\"Besuch in Ko\u{308}ln.pdf\"",
        ] {
            assert_eq!(name(disposition, "a/b"), "Besuch in Köln.pdf", "{disposition}");
        }
        assert_eq!(name("inline", "a/b; name=x.pdf"), "x.pdf");
        assert_eq!(name("attachment; filename=x.pdf", "a/b; name=x.pdf"), "x.pdf");
        assert_eq!(name("inline", "a/b"), "");
        assert_eq!(name("attachment; filename=x; name=x", "a/b; filename=x"), "x");
        assert_eq!(name("form-data; name=field; filename=x", "a/b"), "x");
    }
}
