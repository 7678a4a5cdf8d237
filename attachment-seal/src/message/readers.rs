//! How mail readers find the addresses in a From value. They agree about comments, quotes and encoded-words only where
//! nobody plays with them, so each value is read in several ways, and every domain that one of them finds counts.

use memchr::{memchr, memchr_iter, memchr2, memrchr};

use super::words::{decoded, run_at, without_escapes};
use crate::domain::DomainName;
use crate::message::header::is_blank;

/// Most `@` in the value of a From that holds one address.
const MAX_ATS: usize = 64;

/// Longest value of a From that holds one address, in octets.
const MAX_VALUE: usize = 64 << 10;

/// The domain of the one address in a From value, if every reader finds an address in this domain or none at all.
pub(super) fn sole_domain(value: &[u8]) -> Option<DomainName> {
    let ats = memchr_iter(b'@', value).count();
    // Some readers stop at these, others go on.
    if value.len() > MAX_VALUE
        || value.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'))
        || ats > MAX_ATS
    {
        return None;
    }
    let main = sole_address(&Reader::STRICT.look_at(value).shown)?;
    let mut all_agree = true;
    let has_escapes = memchr(0x1b, value).is_some();
    let unescaped = has_escapes.then(|| without_escapes(value));
    // Where it matters to those who decode first: what is decoded has quotes or the like in it.
    let decoded = decoded(value).map(|decoded| decoded.texts).unwrap_or_default();
    let is_decoy = |text: &&String| text.contains(['"', '\\', '(', ')']);
    let decoded = decoded.iter().filter(is_decoy).map(String::as_bytes);
    for value in std::iter::once(value).chain(unescaped.as_deref()).chain(decoded) {
        for reader in Reader::all() {
            let sight = reader.look_at(value);
            let mut agrees = |text: &[u8], is_exact: bool| {
                for named in Named::all(text) {
                    // `Sales @ Acme <…>`, and the second octet of a Japanese character, are no address to anybody.
                    let is_stray = !is_exact || named.is_detached || has_escapes;
                    let is_harmless =
                        |domain: &DomainName| *domain == main || is_stray && domain.label_count() == 1;
                    all_agree &= named.domains.iter().all(is_harmless);
                }
            };
            agrees(&sight.shown, true);
            agrees(&sight.revealed, true);
            agrees(&sight.bare, false);
            all_agree &= !sight.is_glued && (ats == 1 || has_square_brackets_in_pairs(&sight.shown));
        }
    }
    all_agree.then_some(main)
}

/// Whether what is in square brackets ends, to those who take nothing in them for quotes.
fn has_square_brackets_in_pairs(text: &[u8]) -> bool {
    memchr_iter(b'[', text).count() == memchr_iter(b']', text).count()
}

/// The domain of the only address in a text, which may have another one of the same domain for a display name
/// (`a@b <a@b>`).
fn sole_address(shown: &[u8]) -> Option<DomainName> {
    let mut addresses = shown.split(|octet| matches!(octet, b',' | b';')).filter(|part| part.contains(&b'@'));
    let (Some(address), None) = (addresses.next(), addresses.next()) else { return None };
    let in_brackets = address.split(|&octet| octet == b'<').skip(1);
    let in_brackets = in_brackets.filter_map(|text| text.split(|&octet| octet == b'>').next());
    if in_brackets.filter(|text| text.contains(&b'@')).count() > 1 {
        return None;
    }
    memchr_iter(b'@', address).filter_map(|at| clean_domain(&address[at + 1..])).next_back()
}

/// The domain that a text begins with, where nothing is in it or at its end that another reader takes otherwise.
fn clean_domain(text: &[u8]) -> Option<DomainName> {
    let start = text.iter().position(|&octet| !is_blank(octet))?;
    let text = &text[start..];
    let end = text.iter().position(|octet| !is_domain_part(octet)).unwrap_or(text.len());
    let is_over = matches!(text.get(end), None | Some(b' ' | b'\t' | b'<' | b'>' | b'\''));
    std::str::from_utf8(&text[..end]).ok()?.parse().ok().filter(|_| is_over)
}

/// A way to tell what is in quotes, comments and encoded-words.
#[derive(Clone, Copy)]
struct Reader {
    escapes: Escapes,
    comments: Comments,
    /// Whether encoded-words are taken off first, whatever is in them.
    words: bool,
}

/// Where a backslash takes the next octet's meaning away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Nowhere,
    /// As RFC 5322 §3.2.1 has it.
    Covered,
    Everywhere,
}

/// How comments are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comments {
    /// As RFC 5322 §3.2.2 has it: comments in comments, and no quotes.
    Nested,
    /// Up to the first `)`.
    Flat,
    /// A `)` in quotes is none.
    WithQuotes,
}

/// What a reader sees of a value.
#[derive(Default)]
struct Sight {
    /// The text outside comments, quotes and encoded-words.
    shown: Vec<u8>,
    /// Text inside those that some reader takes for an address nevertheless.
    revealed: Vec<u8>,
    /// What is shown, without comments, blanks, quotes and the like: what is left where those are thrown away.
    bare: Vec<u8>,
    /// Whether an encoded-word is glued to an address, so that decoding it makes another one.
    is_glued: bool,
}

impl Sight {
    /// Takes covered text; `is_open` means that no other address follows whose name it could be.
    fn cover(&mut self, inside: &[u8], cover: Cover, is_open: bool) {
        let mut take = |text: &[u8], cover| {
            if is_open || claims_address(text, cover) {
                self.revealed.push(b' ');
                self.revealed.extend(text);
                self.revealed.push(b' ');
            }
        };
        take(inside, cover);
        if cover != Cover::EncodedWord
            && let Some(decoded) = decoded(inside)
        {
            decoded.texts.iter().for_each(|text| take(text.as_bytes(), Cover::EncodedWord));
        }
        self.shown.push(b' ');
    }

    fn put(&mut self, octet: u8) {
        self.shown.push(octet);
        if octet > b' ' && !matches!(octet, b'"' | b'(' | b')' | b'\\' | 127) {
            self.bare.push(octet);
        }
    }
}

impl Reader {
    const STRICT: Self = Self { escapes: Escapes::Covered, comments: Comments::Nested, words: true };

    fn all() -> impl Iterator<Item = Self> {
        let escapes = [Escapes::Nowhere, Escapes::Covered, Escapes::Everywhere];
        let comments = [Comments::Nested, Comments::Flat, Comments::WithQuotes];
        escapes.into_iter().flat_map(move |escapes| {
            comments
                .into_iter()
                .flat_map(move |comments| [true, false].map(|words| Self { escapes, comments, words }))
        })
    }

    fn look_at(self, value: &[u8]) -> Sight {
        let mut sight = Sight::default();
        let (mut at, mut in_brackets) = (0, false);
        // What stays open is looked through to the end once, not for each that opens.
        let (mut quotes_close, mut comments_close) = (true, true);
        let mut next_mark = 0;
        while at < value.len() {
            let octet = value[at];
            match octet {
                b'"' if quotes_close => {
                    let end = self.quotes_end(value, at);
                    quotes_close = end.is_some();
                    if let Some(end) = end {
                        let inside = &value[at + 1..end - 1];
                        let is_address = in_brackets || value.get(end) == Some(&b'@');
                        sight.put(b' ');
                        if is_address {
                            inside.iter().for_each(|&octet| sight.put(octet));
                        } else {
                            let is_name = is_followed_by_address(value, end, &mut next_mark);
                            sight.cover(inside, Cover::Quotes, !is_name);
                        }
                        sight.put(b' ');
                        at = end;
                        continue;
                    }
                }
                b'(' if comments_close => {
                    let end = self.comment_end(value, at);
                    comments_close = end.is_some();
                    if let Some(end) = end {
                        let inside = &value[at + 1..end - 1];
                        sight.shown.push(b' ');
                        // `a@(b.example)c.example`
                        let is_in_address = in_brackets || at > 0 && value[at - 1] == b'@';
                        if is_in_address && inside.iter().any(|octet| matches!(octet, b'@' | b'.')) {
                            sight.shown.extend(inside);
                        } else {
                            sight.cover(inside, Cover::Comment, false);
                        }
                        sight.shown.push(b' ');
                        at = end;
                        continue;
                    }
                }
                b'\\' if self.escapes == Escapes::Everywhere && at + 1 < value.len() => {
                    sight.put(octet);
                    sight.put(value[at + 1]);
                    at += 2;
                    continue;
                }
                b'=' if self.words && value[at..].starts_with(b"=?") => {
                    if let Some(run) = run_at(value, at) {
                        let raw = &value[at..run.end];
                        let has_at = run.texts.iter().any(|text| text.contains('@'));
                        sight.is_glued |= is_glued(&value[..at], &value[run.end..], has_at);
                        let is_name = !in_brackets && is_followed_by_address(value, run.end, &mut next_mark);
                        for text in &run.texts {
                            sight.cover(text.as_bytes(), Cover::EncodedWord, !is_name);
                        }
                        if raw.contains(&b'@') || in_brackets {
                            raw.iter().for_each(|&octet| sight.put(octet));
                        }
                        at = run.end;
                        continue;
                    }
                }
                b'<' => in_brackets = true,
                b'>' => in_brackets = false,
                _ => {}
            }
            sight.put(octet);
            at += 1;
        }
        sight
    }

    /// Offset after the quoted string that opens at `at`.
    fn quotes_end(self, value: &[u8], at: usize) -> Option<usize> {
        let mut octets = value.iter().enumerate().skip(at + 1);
        while let Some((at, octet)) = octets.next() {
            match octet {
                b'\\' if self.escapes != Escapes::Nowhere => drop(octets.next()),
                b'"' => return Some(at + 1),
                _ => {}
            }
        }
        None
    }

    /// Offset after the comment that opens at `at`.
    fn comment_end(self, value: &[u8], at: usize) -> Option<usize> {
        let (mut depth, mut at, mut quotes_close) = (0_usize, at, true);
        while at < value.len() {
            match value[at] {
                b'\\' if self.escapes != Escapes::Nowhere => at += 1,
                b'"' if self.comments == Comments::WithQuotes && quotes_close => {
                    let end = self.quotes_end(value, at);
                    quotes_close = end.is_some();
                    at = end.map_or(at, |end| end - 1);
                }
                b'(' if self.comments != Comments::Flat || depth == 0 => depth += 1,
                b')' if depth <= 1 => return Some(at + 1),
                b')' => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        None
    }
}

/// What covers a piece of text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cover {
    Quotes,
    Comment,
    EncodedWord,
}

/// Whether some reader takes an address in a covered text for the author's, and no name: all that look for brackets
/// first, and those that decode first, where a comma ends it.
fn claims_address(text: &[u8], cover: Cover) -> bool {
    let in_brackets = memchr(b'<', text).is_some_and(|at| text[at..].contains(&b'@'));
    let is_listed = || memchr(b'@', text).is_some_and(|at| memchr2(b',', b';', &text[at..]).is_some());
    // `["] a@b.example, ["]`: quotes in what is in square brackets are none to some.
    let is_astride = || match (memchr(b']', text), memchr(b'[', text)) {
        (Some(end), Some(start)) => end < start,
        (end, _) => end.is_some(),
    };
    in_brackets || text.contains(&b'@') && is_astride() || cover == Cover::EncodedWord && is_listed()
}

/// Whether an encoded-word and the text directly before or after it have an `@` in them.
fn is_glued(before: &[u8], behind: &[u8], has_at: bool) -> bool {
    let ends = |octet: &u8| matches!(octet, b' ' | b'\t' | b'<' | b'>' | b'(' | b')' | b',' | b';' | b':');
    let (before, behind) = (before.rchunks(1024).next(), behind.chunks(1024).next());
    let before = before.into_iter().flatten().rev().take_while(|octet| !ends(octet));
    let mut glued = before.chain(behind.into_iter().flatten().take_while(|octet| !ends(octet)));
    glued.any(|&octet| octet == b'@' || has_at)
}

/// Whether an address in brackets follows after `at` before anything else that could be one, or cover one.
/// `next_mark` is where the last look ended, so that no text is looked at twice.
fn is_followed_by_address(value: &[u8], at: usize, next_mark: &mut usize) -> bool {
    if *next_mark < at {
        let is_mark = |octet: &u8| matches!(octet, b'<' | b',' | b';' | b'"' | b'(' | b'@');
        *next_mark = value[at..].iter().position(is_mark).map_or(value.len(), |mark| at + mark);
    }
    value.get(*next_mark) == Some(&b'<') && memrchr(b'@', value).is_some_and(|last| last > *next_mark)
}

/// What follows one `@`.
pub(super) struct Named {
    /// The domains that it may be: none, one, or two where some reader ends it earlier than another.
    pub(super) domains: Vec<DomainName>,
    /// Whether no local part ends just before the `@`.
    is_detached: bool,
}

impl Named {
    /// What follows each `@` of `text`.
    pub(super) fn all(text: &[u8]) -> impl Iterator<Item = Self> {
        memchr_iter(b'@', text).map(|at| {
            let is_detached = at == 0 || is_blank(text[at - 1]);
            Self { domains: domains_at(&text[at + 1..text.len().min(at + 1024)]), is_detached }
        })
    }
}

fn is_domain_part(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_' | 128..)
}

fn domains_at(text: &[u8]) -> Vec<DomainName> {
    let end = text.iter().position(|octet| !is_domain_part(octet)).unwrap_or(text.len());
    let latin_1 = || text[..end].iter().map(|&octet| char::from(octet)).collect();
    let name: String = std::str::from_utf8(&text[..end]).map_or_else(|_| latin_1(), str::to_owned);
    // A reader may end it at what looks like a blank, or like a dot.
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name = name.trim_start_matches(|c| !is_part(c));
    let start = name.split(|c| !is_part(c)).next().unwrap_or_default();
    // A dot too many is overlooked by some.
    let domain = |name: &str| name.trim_matches('.').parse().ok();
    let mut domains: Vec<DomainName> = domain(name).into_iter().collect();
    if start.len() < name.len() {
        domains.extend(domain(start).filter(|start| !domains.contains(start)));
    }
    domains
}

/// A value as one reader or another takes it that is left with no address, or with several: as it stands; without what may
/// stand between the parts of an address (RFC 5322 §3.2.2, §4.4); with encoded-words decoded, which do not belong in one.
/// Says as well whether there are encoded-words that we cannot decode.
pub(super) fn readings(value: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let decoded = decoded(value);
    let is_complete = decoded.as_ref().is_none_or(|decoded| decoded.is_complete);
    let texts = decoded.into_iter().flat_map(|decoded| decoded.texts);
    // Characters that look like an `@`, and become one in a reader that knows as much.
    let texts = texts.map(|text| text.replace(['\u{ff20}', '\u{fe6b}'], "@").into_bytes());
    let mut all: Vec<Vec<u8>> = std::iter::once(value.to_vec()).chain(texts).collect();
    let bare: Vec<Vec<u8>> = all.iter().flat_map(|text| paddings_off(&without_escapes(text))).collect();
    for text in bare {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    (all, !is_complete)
}

/// The value without control characters and backslashes; without comments and quotes as well; without blanks as well.
fn paddings_off(value: &[u8]) -> [Vec<u8>; 3] {
    let is_printed = |octet: &u8| !octet.is_ascii_control() && *octet != b'\\';
    let printed: Vec<u8> = value.iter().copied().filter(is_printed).collect();
    let mut plain = Vec::with_capacity(value.len());
    let (mut at, mut comments_close) = (0, true);
    while at < value.len() {
        if value[at] == b'(' && comments_close {
            let end = Reader::STRICT.comment_end(value, at);
            comments_close = end.is_some();
            at = end.unwrap_or(at + 1);
        } else {
            if is_printed(&value[at]) && !matches!(value[at], b'"' | b'(' | b')') {
                plain.push(value[at]);
            }
            at += 1;
        }
    }
    let bare = plain.iter().copied().filter(|&octet| octet != b' ').collect();
    [printed, plain, bare]
}
