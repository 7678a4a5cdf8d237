//! The author's domain: what From says (RFC 5322 §3.6.2), read strictly. A seal is aligned with one author or with none.

use crate::domain::DomainName;
use crate::header::{Field, HeaderSection, is_blank, trim_blanks};

/// Whose message it is, by its From fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// Exactly one From field with exactly one address, in this domain.
    One(DomainName),
    /// Anything else; the domains that some reader might take for the author's.
    Unclear(Vec<DomainName>),
}

impl Author {
    /// Reads the author off a message's header section.
    pub fn of(header: &HeaderSection<'_>) -> Self {
        let values: Vec<Vec<u8>> = header.all("From").map(Field::unfolded).collect();
        if let [value] = values.as_slice()
            && let Some(domain) = sole_mailbox(value)
        {
            return Author::One(domain);
        }
        Author::Unclear(values.iter().flat_map(|value| domains_in(value)).take(MAX_DOMAINS).collect())
    }

    /// The domains to look up what is known of: the author's, or all that might be.
    pub fn domains(&self) -> &[DomainName] {
        match self {
            Author::One(domain) => std::slice::from_ref(domain),
            Author::Unclear(domains) => domains,
        }
    }
}

/// Domains of an unclear author that are kept.
const MAX_DOMAINS: usize = 16;

/// The domain of the one mailbox that a From value holds; `None` for groups, lists, routes and whatever is malformed.
fn sole_mailbox(value: &[u8]) -> Option<DomainName> {
    let parts = Parts::of(value)?;
    match parts.angle {
        Some(address) => {
            let domain = domain_of(&address)?;
            // `a@b <c@d>`: two addresses to some readers, and no harm where the domains are one.
            let claimed = domains_in(&parts.phrase);
            claimed.iter().all(|other| *other == domain).then_some(domain)
        }
        None => domain_of(trim_blanks(&parts.phrase)),
    }
}

/// A mailbox taken apart: text outside the angle brackets (without comments and quoted strings' content) and inside.
struct Parts {
    phrase: Vec<u8>,
    angle: Option<Vec<u8>>,
}

impl Parts {
    fn of(value: &[u8]) -> Option<Self> {
        let mut parts = Self { phrase: Vec::new(), angle: None };
        let mut at = 0;
        while at < value.len() {
            match value[at] {
                b'(' => {
                    at = skip_comment(value, at)?;
                    parts.phrase.push(b' ');
                    continue;
                }
                b'"' if parts.angle.is_none() => {
                    let end = skip_quoted(value, at)?;
                    // A quoted local part counts, a quoted display name does not.
                    let local = value.get(end) == Some(&b'@');
                    parts.phrase.extend_from_slice(if local { b"quoted" } else { b" " });
                    at = end;
                    continue;
                }
                b'<' if parts.angle.is_none() => {
                    let end = angle_end(value, at)?;
                    parts.angle = Some(value[at + 1..end].to_vec());
                    at = end;
                }
                // A list, a group, a second address or a stray bracket.
                b'<' | b'>' | b',' | b':' | b';' | b'\\' | 0 | b'\r' | b'\n' => return None,
                octet if parts.angle.is_some() && !is_blank(octet) => return None,
                octet => parts.phrase.push(octet),
            }
            at += 1;
        }
        Some(parts)
    }
}

/// Offset behind the comment that opens at `at`; comments nest.
fn skip_comment(value: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut octets = value.iter().enumerate().skip(at);
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => drop(octets.next()),
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Offset behind the quoted string that opens at `at`.
fn skip_quoted(value: &[u8], at: usize) -> Option<usize> {
    let mut octets = value.iter().enumerate().skip(at + 1);
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => drop(octets.next()),
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Offset of the `>` that closes the `<` at `at`.
fn angle_end(value: &[u8], at: usize) -> Option<usize> {
    let mut next = at + 1;
    while next < value.len() {
        match value[next] {
            b'"' => next = skip_quoted(value, next)?,
            b'>' => return Some(next),
            b'<' | b'(' | b',' => return None,
            _ => next += 1,
        }
    }
    None
}

/// The domain of an addr-spec without comments.
fn domain_of(address: &[u8]) -> Option<DomainName> {
    let (local, domain) = match address.first() {
        Some(b'"') => {
            let end = skip_quoted(address, 0)?;
            (&address[..end], address[end..].strip_prefix(b"@")?)
        }
        _ => {
            let at = address.iter().position(|&octet| octet == b'@')?;
            (&address[..at], &address[at + 1..])
        }
    };
    let one_word =
        |text: &[u8]| !text.is_empty() && !text.iter().any(|&octet| is_blank(octet) || octet < b' ');
    let quoted = local.first() == Some(&b'"');
    if !(quoted || one_word(local)) || !one_word(domain) || domain.contains(&b'@') {
        return None;
    }
    std::str::from_utf8(domain).ok()?.parse().ok()
}

/// Every domain that follows an `@` somewhere in `text`.
fn domains_in(text: &[u8]) -> Vec<DomainName> {
    memchr::memchr_iter(b'@', text)
        .filter_map(|at| {
            let rest = &text[at + 1..];
            let end = rest
                .iter()
                .position(|&octet| {
                    !(octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_' | 128..))
                })
                .unwrap_or(rest.len());
            std::str::from_utf8(&rest[..end.min(1024)]).ok()?.parse().ok()
        })
        .take(MAX_DOMAINS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(froms: &[&str]) -> Author {
        let text: String = froms.iter().map(|from| format!("From: {from}\r\n")).collect();
        Author::of(&HeaderSection::parse(text.as_bytes()))
    }

    #[test]
    fn reads_one_mailbox_as_people_write_it() {
        for from in [
            "a@example.org",
            "  a@Example.ORG ",
            "Office <a@example.org>",
            "\"Office, the; x@evil.example\" <a@example.org>",
            "=?utf-8?q?B=C3=BCro?= <a@example.org>",
            "a@example.org (Office)",
            "(one) Office (two (three)) <a@example.org> (four)",
            "\"a b\"@example.org",
            "Office <\"a b\"@example.org>",
            "a@example.org <a@example.org>",
            "O. Ffice <a.b+c=d@example.org>",
            "Office\r\n <a@example.org>",
        ] {
            assert_eq!(author(&[from]), Author::One("example.org".parse().unwrap()), "{from}");
        }
        assert_eq!(author(&["ü@bücher.example"]), Author::One("xn--bcher-kva.example".parse().unwrap()));
    }

    #[test]
    fn anything_else_is_unclear() {
        for from in [
            "",
            "nobody",
            "a@example.org, b@example.org",
            "Team: a@example.org;",
            "<@relay.example:a@example.org>",
            "a@evil.example <a@example.org>",
            "Office <a@example.org> b@evil.example",
            "<a@example.org> <b@evil.example>",
            "Office <a@example.org",
            "a@[192.0.2.1]",
            "a@example.org@evil.example",
            "\"open <a@example.org>",
            "a@(x)example.org",
            "a@exa mple.org",
        ] {
            assert!(matches!(author(&[from]), Author::Unclear(_)), "{from}");
        }
        assert!(matches!(author(&["a@example.org", "a@example.org"]), Author::Unclear(_)));
        assert_eq!(author(&[]), Author::Unclear(vec![]));
    }

    #[test]
    fn an_unclear_author_names_every_candidate() {
        let found = author(&["a@one.example, b@two.example", "c@three.example"]);
        assert_eq!(found.domains().len(), 3);
    }
}
