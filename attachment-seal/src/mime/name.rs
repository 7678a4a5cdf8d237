//! The file name of a part: RFC 2231's extended and split forms, RFC 2047's encoded-words where senders misuse them,
//! raw octets as UTF-8. One name comes out, in Unicode NFC, and a doubt wherever readers could show another.

use encoding_rs::Encoding;
use percent_encoding::percent_decode;
use unicode_normalization::UnicodeNormalization;

use super::field::{Parameter, Structured};
use crate::doubt::{Doubt, Doubts};

/// Longest file name that is read, in octets as written.
const MAX_NAME: usize = 16 << 10;

/// The name of a part: Content-Disposition `filename`, else Content-Type `name`; empty if there is none.
pub fn file_name(disposition: Option<&Structured>, content_type: Option<&Structured>) -> (String, Doubts) {
    let mut doubts = Doubts::NONE;
    let mut read =
        |field: Option<&Structured>, attribute| parameter_text(&field?.parameters, attribute, &mut doubts);
    let filename = read(disposition, "filename");
    let name = read(content_type, "name");
    let conflict = matches!((&filename, &name), (Some(filename), Some(name)) if filename != name);
    doubts.insert_if(conflict, Doubt::NameConflict);
    let chosen = filename.or(name).unwrap_or_default();
    doubts.insert_if(stray_names(disposition, content_type).any(|name| name != chosen), Doubt::NameConflict);
    doubts.insert_if(chosen.chars().any(char::is_control), Doubt::BadName);
    (chosen, doubts)
}

/// Names where no standard puts them, but some readers look: `name` of a disposition (other than `form-data`, whose
/// own it is) and `filename` of a type.
fn stray_names<'a>(
    disposition: Option<&'a Structured>,
    content_type: Option<&'a Structured>,
) -> impl Iterator<Item = String> + 'a {
    let disposition = disposition.filter(|disposition| disposition.word != "form-data");
    let text = |field: Option<&Structured>, attribute| {
        parameter_text(&field?.parameters, attribute, &mut Doubts::default())
    };
    [(disposition, "name"), (content_type, "filename")]
        .into_iter()
        .filter_map(move |(field, attribute)| text(field, attribute))
}

/// A parameter's text in whichever form it is given, the extended one before the plain.
fn parameter_text(parameters: &[Parameter], attribute: &str, doubts: &mut Doubts) -> Option<String> {
    let plain = parameters.iter().find(|p| p.attribute == attribute).map(|p| {
        doubts.insert_if(p.oddly_escaped, Doubt::BadName);
        plain_text(&p.value, doubts)
    });
    let extended = extended_text(parameters, attribute, doubts);
    let disagree = matches!((&plain, &extended), (Some(plain), Some(extended)) if plain != extended);
    doubts.insert_if(disagree, Doubt::DuplicateParameter);
    extended.or(plain)
}

/// A plain value: encoded-words decoded, other octets as UTF-8.
fn plain_text(value: &[u8], doubts: &mut Doubts) -> String {
    doubts.insert_if(value.len() > MAX_NAME, Doubt::BadName);
    let value = &value[..value.len().min(MAX_NAME)];
    let mut well_formed = std::str::from_utf8(value).is_ok();
    if memchr::memmem::find(value, b"=?").is_none() {
        doubts.insert_if(!well_formed, Doubt::BadName);
        return String::from_utf8_lossy(value).nfc().collect();
    }
    let text = encodify::rfc2047::decode_text(value, |charset, octets, out| {
        well_formed &= decode_charset(charset, octets, out);
    });
    doubts.insert_if(!well_formed || text.contains('\u{fffd}'), Doubt::BadName);
    text.nfc().collect()
}

/// One section of an RFC 2231 value.
struct Section<'a> {
    number: usize,
    encoded: bool,
    value: &'a [u8],
}

/// The value of `attribute*` or of `attribute*0…`, joined and decoded.
fn extended_text(parameters: &[Parameter], attribute: &str, doubts: &mut Doubts) -> Option<String> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut whole = 0;
    for parameter in parameters {
        let Some(suffix) =
            parameter.attribute.strip_prefix(attribute).and_then(|rest| rest.strip_prefix('*'))
        else {
            continue;
        };
        let (number, encoded) = if suffix.is_empty() {
            whole += 1;
            (0, true)
        } else {
            let digits = suffix.strip_suffix('*').unwrap_or(suffix);
            let canonical = digits == "0" || !digits.starts_with('0');
            match digits.parse() {
                Ok(number) if canonical => (number, suffix.ends_with('*')),
                _ => {
                    doubts.insert(Doubt::DuplicateParameter);
                    continue;
                }
            }
        };
        doubts.insert_if(parameter.oddly_escaped, Doubt::BadName);
        sections.push(Section { number, encoded, value: &parameter.value });
    }
    if sections.is_empty() {
        return None;
    }
    let in_order = sections.iter().enumerate().all(|(at, section)| section.number == at);
    doubts.insert_if(!in_order || whole > 1 || whole == 1 && sections.len() > 1, Doubt::DuplicateParameter);
    sections.sort_by_key(|section| section.number);
    Some(join(&sections, doubts).nfc().collect())
}

/// RFC 2231 §4: the first encoded section begins with `charset'language'`; octets are joined before they are decoded.
fn join(sections: &[Section<'_>], doubts: &mut Doubts) -> String {
    let mut charset: &[u8] = b"utf-8";
    let mut octets = Vec::new();
    for (at, section) in sections.iter().enumerate() {
        let mut value = section.value;
        if at == 0 && section.encoded {
            let mut parts = value.splitn(3, |&octet| octet == b'\'');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(named), Some(_), Some(rest)) => {
                    charset = if named.is_empty() { charset } else { named };
                    value = rest;
                }
                _ => doubts.insert(Doubt::BadName),
            }
        }
        if section.encoded {
            doubts.insert_if(!is_percent_encoded(value), Doubt::BadName);
            octets.extend(percent_decode(value));
        } else {
            octets.extend_from_slice(value);
        }
        if octets.len() > MAX_NAME {
            doubts.insert(Doubt::BadName);
            break;
        }
    }
    let mut text = String::with_capacity(octets.len());
    doubts.insert_if(!decode_charset(charset, &octets, &mut text), Doubt::BadName);
    text
}

fn is_percent_encoded(value: &[u8]) -> bool {
    memchr::memchr_iter(b'%', value)
        .all(|at| value.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
}

/// Appends `octets` in `charset` to `out`; says whether the charset is known and all of it decoded.
fn decode_charset(charset: &[u8], octets: &[u8], out: &mut String) -> bool {
    // RFC 2231 §5: a language may follow the charset of an encoded-word.
    let label = charset.split(|&octet| octet == b'*').next().unwrap_or_default();
    match Encoding::for_label_no_replacement(label) {
        Some(encoding) => {
            let (text, failed) = encoding.decode_without_bom_handling(octets);
            out.push_str(&text);
            !failed
        }
        None => {
            out.push_str(&String::from_utf8_lossy(octets));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::field::{content_disposition, content_type};
    use super::*;

    fn name(disposition: &str, kind: &str) -> (String, Vec<&'static str>) {
        let (disposition, kind) =
            (content_disposition(disposition.as_bytes()), content_type(kind.as_bytes()));
        let (name, mut doubts) = file_name(Some(&disposition), Some(&kind));
        doubts.extend(disposition.doubts);
        doubts.extend(kind.doubts);
        (name, doubts.iter().map(Doubt::code).collect())
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
            assert_eq!(name(disposition, "a/b"), ("Besuch in Köln.pdf".into(), vec![]), "{disposition}");
        }
        assert_eq!(name("inline", "a/b; name=x.pdf").0, "x.pdf");
        assert_eq!(name("attachment; filename=x.pdf", "a/b; name=x.pdf"), ("x.pdf".into(), vec![]));
        assert_eq!(name("inline", "a/b"), (String::new(), vec![]));
        assert_eq!(name("attachment; filename=x; name=x", "a/b; filename=x"), ("x".into(), vec![]));
        assert_eq!(name("form-data; name=field; filename=x", "a/b"), ("x".into(), vec![]));
    }

    #[test]
    fn doubts_what_readers_show_differently() {
        for (disposition, kind, code) in [
            ("attachment; filename=a.pdf", "a/b; name=a.exe", "name-conflict"),
            ("attachment; filename=a.pdf; name=a.exe", "a/b", "name-conflict"),
            ("inline", "a/b; filename=a.exe", "name-conflict"),
            ("attachment; name*=utf-8''a.exe", "a/b; name=a.pdf", "name-conflict"),
            ("attachment; filename=a.pdf; filename*=utf-8''a.exe", "a/b", "duplicate-parameter"),
            ("attachment; filename*0=a; filename*2=b", "a/b", "duplicate-parameter"),
            ("attachment; filename*1=b; filename*0=a", "a/b", "duplicate-parameter"),
            ("attachment; filename*0=a; filename*0=b", "a/b", "duplicate-parameter"),
            ("attachment; filename*00=a", "a/b", "duplicate-parameter"),
            ("attachment; filename*=utf-8''a; filename*0=a", "a/b", "duplicate-parameter"),
            ("attachment; filename*=no-such-charset''a", "a/b", "bad-name"),
            ("attachment; filename*=utf-8''%ff", "a/b", "bad-name"),
            ("attachment; filename*=utf-8''%zz", "a/b", "bad-name"),
            ("attachment; filename*=plain", "a/b", "bad-name"),
            ("attachment; filename=\"=?utf-8?Q?a=00?=\"", "a/b", "bad-name"),
            ("attachment; filename=\"a\\.pdf\"", "a/b", "bad-name"),
        ] {
            assert!(name(disposition, kind).1.contains(&code), "{disposition} {kind}");
        }
        let raw = content_disposition(b"attachment; filename=\"K\xf6ln\"");
        let (name, doubts) = file_name(Some(&raw), None);
        assert_eq!(name, "K\u{fffd}ln");
        assert!(doubts.contains(Doubt::BadName));
    }
}
