//! Link targets in one form, so that two texts can be compared by them.

use std::collections::BTreeSet;

use idna::AsciiDenyList;
use percent_encoding::percent_decode_str;

use super::lines::Piece;
use crate::mime::octets;

/// Most links that are kept of one text.
pub const MAX_LINKS: usize = 500;

/// Octets of the longest link that is kept, in canonical form.
pub const MAX_LINK: usize = 4096;

/// Most links that are counted beyond those that are kept.
pub const MAX_COUNTED_LINKS: usize = 9999;

/// Octets of a link's hash.
///
/// 16, so that neither half a birthday's luck (2^64 for two links of an attacker's own) nor another link for one of a
/// message's (2^119 for one of 500) is in anybody's reach, at half the length of a whole hash.
pub const LINK_HASH: usize = 16;

/// A link's hash, as seals list it.
pub type LinkHash = [u8; LINK_HASH];

/// The link targets of a text, or of several, in canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Sorted by their octets, without doubles, at most [`MAX_LINKS`]: the first of all in that order.
    pub targets: BTreeSet<String>,
    /// The hashes of all others, at most [`MAX_COUNTED_LINKS`]: of those over [`MAX_LINKS`] or over [`MAX_LINK`].
    pub more: BTreeSet<LinkHash>,
    /// Whether there may be links that were not read: where markup hides them, or a line is cut.
    pub may_hide_some: bool,
}

impl Links {
    /// Whether the targets are all that there are.
    pub fn is_complete(&self) -> bool {
        self.more.is_empty() && !self.may_hide_some
    }

    /// Takes the links of another text as well.
    pub fn extend(&mut self, other: Self) {
        other.targets.into_iter().for_each(|target| self.keep(target));
        other.more.into_iter().for_each(|hash| self.count(hash));
        self.may_hide_some |= other.may_hide_some;
    }

    /// Notes the target of a link.
    pub(super) fn note(&mut self, target: &str) {
        if let Some(target) = canonical_link(target) {
            self.keep(target);
        }
    }

    fn keep(&mut self, target: String) {
        if target.len() > MAX_LINK {
            return self.count(link_hash(&target));
        }
        self.targets.insert(target);
        if self.targets.len() > MAX_LINKS
            && let Some(last) = self.targets.pop_last()
        {
            self.count(link_hash(&last));
        }
    }

    fn count(&mut self, hash: LinkHash) {
        if self.more.len() < MAX_COUNTED_LINKS {
            self.more.insert(hash);
        }
    }

    /// Notes the links that readers make of URLs in plain text.
    pub(super) fn take_plain(&mut self, piece: &Piece<'_>) {
        let text = piece.text;
        let mut done = 0;
        // `w.` and `:/`, the ends of `www.` and of `https://`, with what is around them.
        let ends = octets::find(text, |[before, octet, behind]| {
            (octet == b':') & (behind == b'/') | (octet == b'.') & (before | 0x20 == b'w')
        });
        for at in ends.map(|at| at + 1) {
            if at < done {
                continue;
            }
            let Some(start) = link_start(text, at) else { continue };
            let length =
                text[start..].iter().position(|&octet| ends_link(octet)).unwrap_or(text.len() - start);
            done = start + length;
            // A link that a piece's end cuts off is too long for us.
            self.may_hide_some |= piece.is_cut && done == text.len();
            let words = String::from_utf8_lossy(&text[start..done]);
            let target = words.split(char::is_whitespace).next().unwrap_or_default();
            self.note(target.trim_end_matches(|end| ".,;:!?)>]'\"".contains(end)));
        }
    }
}

/// The start of a link whose scheme ends, or whose `www` does, at `at`.
fn link_start(text: &[u8], at: usize) -> Option<usize> {
    let ends_with = |word: &[u8]| {
        let start = at.checked_sub(word.len())?;
        text[start..at].eq_ignore_ascii_case(word).then_some(start)
    };
    if text[at] == b':' {
        let is_url =
            text[at + 1..].starts_with(b"//") && text.get(at + 3).is_some_and(|&octet| !ends_link(octet));
        return [b"https".as_slice(), b"http", b"ftp"].into_iter().find_map(ends_with).filter(|_| is_url);
    }
    let start = ends_with(b"www")?;
    let follows_word =
        start > 0 && (text[start - 1].is_ascii_alphanumeric() || b".-_@".contains(&text[start - 1]));
    let is_name = text.get(at + 1).is_some_and(|octet| octet.is_ascii_alphanumeric() || *octet >= 0x80);
    (is_name && !follows_word).then_some(start)
}

/// Whether a URL in plain text ends before this octet.
fn ends_link(octet: u8) -> bool {
    octet <= b' ' || octet == 0x7f || matches!(octet, b'<' | b'>' | b'"')
}

/// Schemes whose links lead to no file and no page.
const NO_PAGES: &[&str] = &[
    "mailto",
    "tel",
    "sms",
    "cid",
    "mid",
    "data",
    "blob",
    "filesystem",
    "javascript",
    "vbscript",
    "livescript",
    "mocha",
];

/// The canonical form of a link's target, or `None` where it leads nowhere: an address, a place in the same text, or a
/// name that only a base would complete.
pub fn canonical_link(target: &str) -> Option<String> {
    let text: String = target
        .trim_matches(|end| end <= ' ')
        .chars()
        .filter(|character| !matches!(character, '\t' | '\r' | '\n'))
        .collect();
    let starts = |start: &str| text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    if starts("www.") {
        return Some(format!("http:{}", with_authority(&text, "http")));
    }
    if text.starts_with(['/', '\\']) && text[1..].starts_with(['/', '\\']) {
        return Some(with_authority(&text, ""));
    }
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character));
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        _ if !is_scheme => None,
        "http" | "https" | "ftp" | "ws" | "wss" => {
            Some(format!("{scheme}:{}", with_authority(rest, &scheme)))
        }
        scheme if NO_PAGES.contains(&scheme) => None,
        scheme => Some(format!("{scheme}:{rest}")),
    }
}

/// What follows the scheme's colon, from two slashes on.
fn with_authority(rest: &str, scheme: &str) -> String {
    let rest = rest.trim_start_matches(['/', '\\']);
    let (authority, tail) = rest.split_at(rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|octet| octet.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            (name, port)
        }
        _ => (host, ""),
    };
    let port = match (scheme, port.trim_start_matches('0')) {
        ("http" | "ws", "80") | ("https" | "wss", "443") | ("ftp", "21") | (_, "") => "",
        (_, port) => port,
    };
    let (path, query) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
    let path = if path.is_empty() { "/".to_owned() } else { path.replace('\\', "/") };
    if host.is_empty() {
        return format!("//{authority}{path}{query}");
    }
    let at = if user.is_empty() { "" } else { "@" };
    let colon = if port.is_empty() { "" } else { ":" };
    format!("//{user}{at}{}{colon}{port}{path}{query}", canonical_host(host))
}

fn canonical_host(host: &str) -> String {
    let decoded = percent_decode_str(host).collect::<Vec<u8>>();
    match idna::domain_to_ascii_cow(&decoded, AsciiDenyList::URL) {
        Ok(name) if !name.is_empty() => name.into_owned(),
        _ => host.to_ascii_lowercase(),
    }
}

/// The hash of a link in canonical form: the first [`LINK_HASH`] octets of its BLAKE3.
pub fn link_hash(canonical: &str) -> LinkHash {
    let mut hash = [0; LINK_HASH];
    hash.copy_from_slice(&blake3::hash(canonical.as_bytes()).as_bytes()[..LINK_HASH]);
    hash
}

/// The host that an http or https link in canonical form leads to.
pub fn link_host(canonical: &str) -> Option<&str> {
    let rest = canonical.strip_prefix("https://").or_else(|| canonical.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    Some(host.rsplit_once(':').map_or(host, |(host, _)| host))
}

#[cfg(test)]
mod tests {
    use super::super::TextScan;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_one_form() {
        for (target, expected) in [
            ("HTTPS://Example.ORG", "https://example.org/"),
            (" https://example.org:443/a?b#c ", "https://example.org/a?b#c"),
            ("http://example.org:0080?q", "http://example.org/?q"),
            ("http://example.org:/x", "http://example.org/x"),
            ("http://example.org:8080/x", "http://example.org:8080/x"),
            ("ht\ntps:\\\\example.org\\a\\b?c\\d", "https://example.org/a/b?c\\d"),
            ("https:example.org/x", "https://example.org/x"),
            ("https:////example.org/x", "https://example.org/x"),
            ("https://bücher.example/ü", "https://xn--bcher-kva.example/ü"),
            ("https://ex%61mple.org/%61", "https://example.org/%61"),
            ("https://Trusted.example@evil.example/", "https://Trusted.example@evil.example/"),
            ("http://:80/x", "http://:80/x"),
            ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]/"),
            ("www.Example.org", "http://www.example.org/"),
            ("//Example.org/x", "//example.org/x"),
            ("\\\\Server\\share\\a.exe", "//server/share/a.exe"),
            ("MS-Word:ofe|u|https://A.example", "ms-word:ofe|u|https://A.example"),
            ("file:///c:/a.exe", "file:///c:/a.exe"),
        ] {
            assert_eq!(canonical_link(target).as_deref(), Some(expected), "{target}");
        }
        for target in [
            "",
            "#top",
            "page.html",
            "/page",
            "mailto:a@b.example",
            "TEL:1",
            "cid:x",
            "data:,x",
            "a b:c",
            "é",
        ] {
            assert_eq!(canonical_link(target), None, "{target}");
        }
    }

    fn plain(text: &str) -> Vec<String> {
        let links = |cut: usize| {
            let mut scan = TextScan::new("text/plain", Some("utf-8"));
            text.as_bytes().chunks(cut).for_each(|piece| scan.update(piece));
            scan.finish().links
        };
        assert_eq!(links(5), links(1 << 20), "{text}");
        links(5).targets.into_iter().collect()
    }

    #[test]
    fn finds_links_in_plain_text() {
        for (text, expected) in [
            ("see https://a.example/x.", &["https://a.example/x"][..]),
            (
                "(see http://a.example/x?y=1), or\r\n<FTP://b.example>",
                &["ftp://b.example/", "http://a.example/x?y=1"],
            ),
            ("Www.A.example, xwww.b.example, e@www.c.example", &["http://www.a.example/"]),
            ("https://a.example/?u=http://b.example www.", &["https://a.example/?u=http://b.example"]),
            ("xhttp://a.example\u{a0}and", &["http://a.example/"]),
            ("http:// and https:x and mailto:a@b.example", &[]),
            ("https://a.example/)\"> https://a.example/", &["https://a.example/"]),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn keeps_no_more_than_its_limits() {
        let mut links = Links::default();
        (0..MAX_LINKS).for_each(|number| links.note(&format!("https://a.example/{number}")));
        assert!(links.is_complete());
        for _ in 0..2 {
            links.note("https://a.example/0/");
            assert!(!links.is_complete() && links.targets.len() == MAX_LINKS && links.more.len() == 1);
        }
        let mut long = Links::default();
        long.note(&format!("https://a.example/{}", "x".repeat(MAX_LINK)));
        assert!(long.more.len() == 1 && long.targets.is_empty() && !long.may_hide_some);
        let mut scan = TextScan::new("text/plain", None);
        scan.update(format!("https://a.example/{}", "x".repeat(100_000)).as_bytes());
        assert!(scan.finish().links.may_hide_some);
    }

    #[test]
    fn links_of_several_texts_are_one_set_in_any_order() {
        let numbered = |numbers: std::ops::Range<usize>| {
            let mut links = Links::default();
            numbers.for_each(|number| links.note(&format!("https://a.example/{number}")));
            links
        };
        let (one, two, all) = (numbered(0..700), numbered(400..1200), numbered(0..1200));
        assert_eq!((all.targets.len(), all.more.len()), (MAX_LINKS, 700));
        for (first, second) in [(&one, &two), (&two, &one)] {
            let mut both = first.clone();
            both.extend(second.clone());
            assert_eq!(both, all);
        }
        let mut flood = numbered(0..MAX_LINKS + MAX_COUNTED_LINKS + 10);
        assert_eq!(flood.more.len(), MAX_COUNTED_LINKS);
        flood.extend(two);
        assert_eq!(flood.more.len(), MAX_COUNTED_LINKS);
    }

    #[test]
    fn finds_the_host_that_a_link_leads_to() {
        for (target, host) in [
            ("https://Lists.example.org/x?y@z", Some("lists.example.org")),
            ("http://lists.example.org:8080", Some("lists.example.org")),
            ("https://lists.example.org@evil.example/", Some("evil.example")),
            ("https://evil.example\\@lists.example.org/", Some("evil.example")),
            ("https://evil.example?@lists.example.org/", Some("evil.example")),
            ("https://evil.example#@lists.example.org/", Some("evil.example")),
            ("//lists.example.org/x", None),
            ("ftp://lists.example.org/x", None),
        ] {
            assert_eq!(link_host(&canonical_link(target).unwrap()), host, "{target}");
        }
    }

    #[test]
    fn hashes_the_canonical_form() {
        let hash = link_hash("https://example.org/");
        assert_eq!(hash, blake3::hash(b"https://example.org/").as_bytes()[..16]);
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_canonical(target in "(https?|ftp|x-y|www)?[:./]{0,3}([a-zA-Z0-9é.%@:\\\\\\[/?# -]|%61){0,30}") {
            if let Some(once) = canonical_link(&target) {
                let twice = canonical_link(&once);
                prop_assert_eq!(twice.as_deref(), Some(once.as_str()));
            }
        }

        #[test]
        fn finds_a_link_between_words(words in "[a-z ,(]{0,20}", path in "[a-z0-9/._-]{0,10}[a-z0-9/]") {
            let text = format!("{words} https://a.example/{path}, {words}");
            prop_assert_eq!(plain(&text), vec![format!("https://a.example/{path}")]);
        }
    }
}
