//! The author's domain: what From says (RFC 5322 §3.6.2), read strictly. A seal is aligned with one author or with none.

use crate::domain::DomainName;
use crate::message::header::{Field, HeaderSection, is_blank, trim_blanks};

/// Whose message it is, by its From fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// Exactly one From field with exactly one address, in this domain.
    One(DomainName),
    /// Anything else.
    Unclear(Candidates),
}

/// The domains that some reader might take for the author's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    domains: Vec<DomainName>,
    /// Whether there are others, more than can be looked up.
    more: bool,
    /// Places that were looked at.
    places: usize,
}

/// Different domains of an unclear author that are looked up.
const MAX_DOMAINS: usize = 16;

/// Places at which a domain is looked for in one reading of one From field.
const MAX_PLACES: usize = 4_096;

/// Places in all readings of all of them: however many there are, they are looked through in no time.
const MAX_PLACES_IN_ALL: usize = 4 * MAX_PLACES;

impl Author {
    /// Reads the author off a message's header section, as any reader may.
    pub fn of(header: &HeaderSection<'_>) -> Self {
        if header.disguised_froms.is_empty() {
            return Self::as_written(header);
        }
        Self::unclear(header)
    }

    /// Reads the author off the From fields alone, as whoever seals does: it refuses a header section that is not clean.
    pub fn as_written(header: &HeaderSection<'_>) -> Self {
        let mut froms = header.all("From");
        if let (Some(from), None) = (froms.next(), froms.next())
            && let Some(domain) = sole_mailbox(&from.unfolded())
        {
            return Author::One(domain);
        }
        Self::unclear(header)
    }

    fn unclear(header: &HeaderSection<'_>) -> Self {
        let values: Vec<Vec<u8>> = header.all("From").map(Field::unfolded).collect();
        let mut candidates = Candidates::default();
        let disguised = header.disguised_froms.iter().copied();
        for value in values.iter().map(Vec::as_slice).chain(disguised) {
            if candidates.more {
                break;
            }
            readings(value).iter().for_each(|reading| candidates.add(reading));
        }
        Author::Unclear(candidates)
    }

    /// The domains to look up what is known of: the author's, or all that might be.
    pub fn domains(&self) -> &[DomainName] {
        match self {
            Author::One(domain) => std::slice::from_ref(domain),
            Author::Unclear(candidates) => &candidates.domains,
        }
    }

    /// Whether more domains are named than can be looked up, which no honest author does.
    pub fn is_crowd(&self) -> bool {
        matches!(self, Author::Unclear(Candidates { more: true, .. }))
    }
}

impl Candidates {
    /// Adds every domain that follows an `@` somewhere in `text`.
    fn add(&mut self, text: &[u8]) {
        for (place, domain) in domains_in(text).enumerate() {
            self.places += 1;
            match domain {
                _ if place >= MAX_PLACES || self.places > MAX_PLACES_IN_ALL => self.more = true,
                Some(domain) if self.domains.contains(&domain) => {}
                Some(domain) if self.domains.len() < MAX_DOMAINS => self.domains.push(domain),
                Some(_) => self.more = true,
                None => {}
            }
            if self.more {
                return;
            }
        }
    }
}

/// A From value as one reader or another takes it: as it stands; without what may stand between the parts of an address
/// (RFC 5322 §3.2.2, §4.4); with encoded-words decoded (RFC 2047), which do not belong in an address.
fn readings(value: &[u8]) -> [Vec<u8>; 3] {
    let mut bare = Vec::with_capacity(value.len());
    let (mut at, mut may_close) = (0, true);
    while at < value.len() {
        match value[at] {
            b'(' if may_close => {
                let end = skip_comment(value, at);
                // One that stays open is looked through to the end once, not for each bracket.
                may_close = end.is_some();
                at = end.unwrap_or(at + 1);
            }
            octet => {
                if octet > b' ' && !matches!(octet, b'"' | b'(' | b')' | b'\\' | 127) {
                    bare.push(octet);
                }
                at += 1;
            }
        }
    }
    let decoded = encodify::rfc2047::decode_text(value, |_, octets, out| {
        out.push_str(&String::from_utf8_lossy(octets));
    });
    [value.to_vec(), bare, decoded.into_owned().into_bytes()]
}

/// The domain of the one mailbox that a From value holds; `None` for groups, lists, routes and whatever is malformed.
fn sole_mailbox(value: &[u8]) -> Option<DomainName> {
    let parts = Parts::of(value)?;
    match parts.angle {
        Some(address) => {
            let domain = domain_of(&address)?;
            // `a@b <c@d>`: two addresses to some readers, and no harm where the domains are one.
            let mut claimed = domains_in(&parts.phrase).flatten();
            claimed.all(|other| other == domain).then_some(domain)
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

/// What follows each `@` of `text`: a domain, or something else.
fn domains_in(text: &[u8]) -> impl Iterator<Item = Option<DomainName>> {
    memchr::memchr_iter(b'@', text).map(|at| {
        let rest = &text[at + 1..text.len().min(at + 1024)];
        let is_part =
            |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_' | 128..);
        let end = rest.iter().position(|octet| !is_part(octet)).unwrap_or(rest.len());
        // A dot too many is overlooked by some.
        let name = &rest[..end];
        let latin_1 = || name.iter().map(|&octet| char::from(octet)).collect();
        let name: String = std::str::from_utf8(name).map_or_else(|_| latin_1(), str::to_owned);
        name.trim_matches('.').parse().ok()
    })
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
        assert_eq!(author(&[]), Author::Unclear(Candidates::default()));
    }

    #[test]
    fn an_unclear_author_names_every_candidate() {
        let found = author(&["a@one.example, b@two.example", "c@three.example"]);
        assert_eq!(found.domains().len(), 3);
    }

    /// An address that some reader puts together names its domain as well.
    #[test]
    fn no_disguise_hides_a_domain() {
        for from in [
            "a@(x)example.org",
            "a@example(x).org",
            "a@ example.org",
            "a @\r\n example . org",
            "a@\"example\".org",
            "a@exa\\mple.org",
            "a@exam\0ple.org",
            "a@example.org..",
            "a@.example.org",
            "a@EXAMPLE.org@evil.example",
            "<@relay.example:a@example.org>",
            "=?utf-8?q?a=40example.org?=",
            "=?utf-8?b?YUBleGFtcGxlLm9yZw==?=",
            "\"a@example.org\"",
            "(a@example.org)",
        ] {
            let found = author(&[from]);
            let example = "example.org".parse().unwrap();
            assert!(found.domains().contains(&example), "{from}: {found:?}");
            assert!(matches!(found, Author::Unclear(_)), "{from}");
        }
        let raw = b"From: a@b\xfccher.example\r\n";
        let found = Author::of(&HeaderSection::parse(raw));
        assert!(found.domains().contains(&"xn--bcher-kva.example".parse().unwrap()), "{found:?}");
    }

    /// Whoever checks counts it; whoever seals has a From field of his own, and refuses such a header section.
    #[test]
    fn a_disguised_from_is_one_for_readers() {
        let header = HeaderSection::parse(b"From: a@example.org\r\nFr\0om: b@other.example\r\n\r\n");
        assert_eq!(Author::as_written(&header), Author::One("example.org".parse().unwrap()));
        let found = Author::of(&header);
        assert!(matches!(found, Author::Unclear(_)));
        assert_eq!(found.domains().len(), 2);
    }

    #[test]
    fn a_crowd_is_no_author() {
        let decoys = |count: usize| (0..count).map(|n| format!("a@d{n}.example, ")).collect::<String>();
        for (from, crowd) in [
            (decoys(15) + "a@example.org", false),
            (decoys(16) + "a@example.org", true),
            ("a@example.org, ".repeat(4_000), false),
            ("a@, ".repeat(5_000) + "a@example.org", true),
        ] {
            let found = author(&[&from]);
            assert_eq!(found.is_crowd(), crowd, "{} {:?}", from.len(), found.domains().len());
        }
        assert!(author(&[&decoys(12), &decoys(20)]).is_crowd());
        let one = "a@example.org, ".repeat(50);
        assert!(author(&vec![one.as_str(); 1_000]).is_crowd());
    }
}
