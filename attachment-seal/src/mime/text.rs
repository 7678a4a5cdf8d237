//! Texts: the canonical form that a seal hashes (SPEC.md §6), charsets that can hide text, and files smuggled in text.

use memchr::{memchr, memchr_iter, memchr2, memmem, memrchr};

use super::decode::has_bare_line_end;

use crate::message::header::{is_blank, trim_blanks_end};

/// Hashes the canonical form of a text: line ends made CR LF, white space at line ends and trailing empty lines gone,
/// runs of blanks made one space.
#[derive(Debug, Default)]
pub struct TextHasher {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    size: u64,
    after_cr: bool,
    blank: bool,
    line_has_text: bool,
    empty_lines: u64,
}

/// Octets gathered before they are hashed; BLAKE3 is fast on large pieces only.
const BUFFER: usize = 64 << 10;

impl TextHasher {
    /// Takes the next decoded octets.
    pub fn update(&mut self, text: &[u8]) {
        let mut rest = text;
        while !rest.is_empty() {
            let near = &rest[..rest.len().min(BLOCK)];
            let end = memrchr(b'\n', near).map_or(near.len(), |at| at + 1);
            let (block, after) = rest.split_at(end);
            let (lines, empty_lines) = block.split_at(text_end(block));
            let at_line_start = !self.line_has_text && !self.blank && !self.after_cr;
            if at_line_start && is_canonical(lines) {
                self.put_empty_lines();
                self.put(lines);
                self.take_piecewise(empty_lines);
            } else {
                self.take_lines(block);
            }
            rest = after;
        }
    }

    /// Takes lines of which some have a blank at the end, as in texts that flow (RFC 3676), and few more than that.
    fn take_lines(&mut self, text: &[u8]) {
        let mut rest = text;
        while !rest.is_empty() {
            let (line, after) = rest.split_at(memchr(b'\n', rest).map_or(rest.len(), |at| at + 1));
            let at_line_start = !self.line_has_text && !self.blank && !self.after_cr;
            match line.strip_suffix(b"\r\n").map(trim_blanks_end) {
                Some(words) if at_line_start && is_one_spaced(words) => self.take_whole_line(words),
                _ => self.take_piecewise(line),
            }
            rest = after;
        }
    }

    fn take_whole_line(&mut self, words: &[u8]) {
        self.put_empty_lines();
        self.put(words);
        self.put(b"\r\n");
    }

    fn take_piecewise(&mut self, text: &[u8]) {
        let mut rest = text;
        while let [first, ..] = rest {
            let length = match first {
                b'\n' if self.after_cr => 1,
                b'\r' | b'\n' => {
                    self.end_line();
                    1
                }
                b' ' | b'\t' => {
                    self.blank = true;
                    rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count()
                }
                _ => {
                    let word = rest.iter().position(|octet| matches!(octet, b' ' | b'\t' | b'\r' | b'\n'));
                    let word = &rest[..word.unwrap_or(rest.len())];
                    self.take_word(word);
                    word.len()
                }
            };
            self.after_cr = *first == b'\r';
            rest = &rest[length..];
        }
    }

    /// The hash and size in octets of the canonical form.
    pub fn finish(mut self) -> (blake3::Hash, u64) {
        if self.line_has_text {
            self.end_line();
        }
        self.flush();
        (self.hasher.finalize(), self.size)
    }

    fn take_word(&mut self, word: &[u8]) {
        self.put_empty_lines();
        if self.blank {
            self.blank = false;
            self.put(b" ");
        }
        self.line_has_text = true;
        self.put(word);
    }

    fn put_empty_lines(&mut self) {
        while self.empty_lines > 0 {
            self.empty_lines -= 1;
            self.put(b"\r\n");
        }
    }

    fn end_line(&mut self) {
        if self.line_has_text {
            self.put(b"\r\n");
        } else {
            self.empty_lines += 1;
        }
        self.line_has_text = false;
        self.blank = false;
    }

    fn put(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
        if self.buffer.len() > BUFFER {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.buffer);
        self.size += self.buffer.len() as u64;
        self.buffer.clear();
    }
}

/// Whole lines that are looked at together; most are in their canonical form already.
const BLOCK: usize = 8 << 10;

/// Whether words without a blank at the end, and there are some, stand as they are in the canonical form.
fn is_one_spaced(words: &[u8]) -> bool {
    // Without a branch, so that the compiler makes vector code of it.
    let pairs = words.iter().zip(words.iter().skip(1));
    let other = pairs.fold(0, |other, (octet, next)| {
        other | u8::from(*octet == b' ' && *next == b' ') | u8::from(matches!(next, b'\t' | b'\r'))
    });
    other == 0 && !matches!(words.first(), None | Some(b'\t' | b'\r'))
}

/// Where the last line of a block that is not empty ends.
fn text_end(block: &[u8]) -> usize {
    let last = block.iter().rposition(|octet| !matches!(octet, b'\r' | b'\n'));
    last.map_or(0, |last| (last + 3).min(block.len()))
}

/// Whether whole lines are in their canonical form, and the last of them is not empty.
fn is_canonical(lines: &[u8]) -> bool {
    lines
        .strip_suffix(b"\r\n")
        .and_then(<[u8]>::last)
        .is_some_and(|last| !matches!(last, b' ' | b'\t' | b'\r' | b'\n'))
        && memchr(b'\t', lines).is_none()
        && memmem::find(lines, b"  ").is_none()
        && memmem::find(lines, b" \r\n").is_none()
        && !has_bare_line_end(lines)
}

/// Looks for text in a charset that readers could take for another (the doubt `text-charset`).
#[derive(Debug)]
pub struct CharsetScan {
    charset: String,
    start: Vec<u8>,
    /// The last window's final ESC and what followed it, where that was too short to tell.
    cut: Vec<u8>,
    found: bool,
}

impl CharsetScan {
    /// For a text declared to be in `charset`.
    pub fn new(charset: Option<&str>) -> Self {
        let charset = charset.unwrap_or("us-ascii").trim().to_ascii_lowercase();
        let found = matches!(charset.as_str(), "utf-7" | "utf7" | "csunicode11utf7" | "unicode-2-0-utf-7");
        Self { charset, start: Vec::new(), cut: Vec::new(), found }
    }

    /// Takes the next decoded octets.
    pub fn update(&mut self, text: &[u8]) {
        let wanted = 4 - self.start.len().min(4);
        self.start.extend_from_slice(&text[..text.len().min(wanted)]);
        if self.charset.starts_with("iso-2022") || self.charset.starts_with("csiso2022") {
            return;
        }
        // Exchange's reports name it throughout; without a plus sign it is ASCII to every reader.
        self.found |= self.charset == "unicode-1-1-utf-7" && memchr::memchr(b'+', text).is_some();
        if !self.cut.is_empty() {
            self.cut.extend_from_slice(&text[..text.len().min(2)]);
            self.found |= self.cut.len() > 2 && is_designation(&self.cut[1..]);
        }
        self.found |=
            memchr_iter(0x1b, text).any(|at| text.len() - at > 2 && is_designation(&text[at + 1..]));
        let end = &text[text.len().saturating_sub(2)..];
        match memchr::memrchr(0x1b, end) {
            Some(at) => self.cut = end[at..].to_vec(),
            None if self.cut.len() > 2 => self.cut.clear(),
            None => {}
        }
    }

    /// Whether readers could disagree.
    pub fn is_doubtful(&self) -> bool {
        let marked = self.start.starts_with(b"\xfe\xff")
            || self.start.starts_with(b"\xff\xfe")
            || self.start.starts_with(b"\0\0\xfe\xff");
        let wide = ["utf-16", "utf16", "utf-32", "utf32", "ucs-2", "ucs-4", "iso-10646-ucs", "csunicode"]
            .iter()
            .any(|label| self.charset.starts_with(label));
        self.found
            || self.cut.len() == 2 && is_designation(&self.cut[1..])
            || wide && !marked && !self.start.is_empty()
    }
}

/// ISO/IEC 2022: whether what follows ESC switches character sets. `( B` switches to ASCII, which alone says nothing;
/// terminals write it in their logs.
fn is_designation(rest: &[u8]) -> bool {
    !rest.starts_with(b"(B") && rest.first().is_some_and(is_designator)
}

/// ISO/IEC 2022: what follows ESC where it switches character sets.
fn is_designator(octet: &u8) -> bool {
    matches!(octet, b'$' | b'(' | b')' | b'*' | b'+' | b'-' | b'.' | b'/' | b'N' | b'O' | b'n' | b'o')
}

/// Looks for a uuencode, yEnc or BinHex block, or a `data:` URL of something other than an image, in a text.
#[derive(Debug, Default)]
pub struct EmbeddedScan {
    tail: Vec<u8>,
    tail_is_cut: bool,
    found: bool,
}

/// What is kept of a window for the next one: longer than anything looked for.
const TAIL: usize = 2048;

impl EmbeddedScan {
    /// Takes the next decoded octets.
    pub fn update(&mut self, text: &[u8]) {
        let window = [self.tail.as_slice(), text].concat();
        self.found |= has_encoded_block(&window, !self.tail_is_cut) || has_data_url(&window);
        self.tail = window[window.len().saturating_sub(TAIL)..].to_vec();
        self.tail_is_cut |= self.tail.len() < window.len();
    }

    /// Whether there is one.
    pub fn found(&self) -> bool {
        self.found
    }
}

fn has_encoded_block(text: &[u8], starts_line: bool) -> bool {
    let at_line_start = |at: &usize| match at.checked_sub(1) {
        Some(before) => matches!(text[before], b'\r' | b'\n'),
        None => starts_line,
    };
    memmem::find_iter(text, b"begin").filter(at_line_start).any(|at| is_uuencode_begin(&text[at..]))
        || memmem::find_iter(text, b"=ybegin ").any(|at| at_line_start(&at))
        || memmem::find(text, b"(This file must be converted with BinHex").is_some()
}

/// `begin 644 name`, or `begin-base64 644 name` (POSIX uuencode).
fn is_uuencode_begin(line: &[u8]) -> bool {
    let rest = line.strip_prefix(b"begin-base64 ").or_else(|| line.strip_prefix(b"begin "));
    let Some(rest) = rest else { return false };
    let digits = rest.iter().take_while(|octet| matches!(octet, b'0'..=b'7')).count();
    let blanks = rest[digits..].iter().take_while(|&&octet| is_blank(octet)).count();
    matches!(digits, 3 | 4)
        && rest.get(digits) == Some(&b' ')
        && rest.get(digits + blanks).is_some_and(|octet| !octet.is_ascii_whitespace())
}

/// Octets of a `data:` URL that are enough to know it by.
const MAX_HEAD: usize = 1024;

/// A `data:` URL (RFC 2397) that holds something other than an image.
fn has_data_url(text: &[u8]) -> bool {
    memchr_iter(b':', text).any(|colon| {
        let scheme = colon >= 4
            && text[colon - 4..colon].eq_ignore_ascii_case(b"data")
            && !colon.checked_sub(5).is_some_and(|before| text[before].is_ascii_alphanumeric());
        if !scheme {
            return false;
        }
        let rest = &text[colon + 1..text.len().min(colon + 1 + MAX_HEAD)];
        match memchr2(b':', b',', rest) {
            Some(end) => rest[end] == b',' && holds_a_file(&rest[..end]),
            // A head so long that its comma is further on, or cut off by the end.
            None => rest.len() == MAX_HEAD && holds_a_file(rest),
        }
    })
}

/// The top-level types that a file in a `data:` URL can have (RFC 6838 §4.2), images aside.
const FILE_TYPES: [&[u8]; 8] =
    [b"application", b"audio", b"chemical", b"font", b"message", b"model", b"multipart", b"text"];

/// Whether what stands before a `data:` URL's comma names a file: a media type, or base64 of an unnamed one. Browsers
/// skip white space around it, so `data: text/html,` counts, and the data of a sentence does not.
fn holds_a_file(head: &[u8]) -> bool {
    let head = head.trim_ascii();
    if !head.iter().all(|octet| matches!(octet, b' '..=b'~') && !matches!(octet, b'<' | b'>')) {
        return false;
    }
    let head = head.to_ascii_lowercase();
    let media_type = head.split(|&octet| octet == b';').next().unwrap_or_default();
    let top = media_type.split(|&octet| octet == b'/').next().unwrap_or_default();
    let is_image = top == b"image" && media_type.len() > top.len();
    let is_file = media_type.len() > top.len()
        && (FILE_TYPES.contains(&top) || top == b"video" || top.starts_with(b"x-"));
    is_file || !is_image && head.ends_with(b"base64") && head.contains(&b';')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule of SPEC.md §6, said a second time.
    fn canonical(text: &[u8]) -> Vec<u8> {
        let unix = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n");
        let squeeze = |line: &str| {
            let mut out = String::new();
            for word in line.split_inclusive([' ', '\t']) {
                let text = word.trim_end_matches([' ', '\t']);
                out.push_str(text);
                if text.len() < word.len() && !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            out.trim_end_matches(' ').to_owned()
        };
        let mut lines: Vec<String> = unix.split('\n').map(squeeze).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect()
    }

    fn hash(pieces: &[&[u8]]) -> (blake3::Hash, u64) {
        let mut hasher = TextHasher::default();
        pieces.iter().for_each(|piece| hasher.update(piece));
        hasher.finish()
    }

    #[test]
    fn white_space_does_not_count() {
        let one = hash(&[b"Dear all,\r\n\r\n the  agenda\tis attached. \r\n\r\n\r\n"]);
        assert_eq!(one, hash(&[b"Dear all,\n\n \tthe agenda is attached."]));
        assert_eq!(one.1, "Dear all,\r\n\r\n the agenda is attached.\r\n".len() as u64);
        assert_eq!(hash(&[b" \r\n\t\r\n"]), (blake3::hash(b""), 0));
    }

    proptest! {
        #[test]
        fn agrees_with_the_rule_for_any_split(text in "([ab \t\r\n]|a b\r\n|\r\n){0,60}", at in 0_usize..60) {
            let (one, other) = text.as_bytes().split_at(at.min(text.len()));
            let expected = canonical(text.as_bytes());
            prop_assert_eq!(hash(&[one, other]), (blake3::hash(&expected), expected.len() as u64));
        }
    }

    fn doubtful(charset: Option<&str>, text: &[u8]) -> bool {
        let mut scan = CharsetScan::new(charset);
        text.chunks(3).for_each(|piece| scan.update(piece));
        scan.is_doubtful()
    }

    #[test]
    fn doubts_charsets_that_hide_text() {
        assert!(doubtful(Some("UTF-7"), b"+AGE-"));
        assert!(doubtful(Some("unicode-1-1-utf-7"), b"a +AGE-"));
        assert!(!doubtful(Some("unicode-1-1-utf-7"), b"not delivered"));
        assert!(doubtful(Some("utf-16"), b"a\0b\0"));
        assert!(doubtful(Some("utf-16le"), b"a\0b\0"));
        assert!(doubtful(Some("us-ascii"), b"ab\x1b$B..."));
        assert!(doubtful(None, b"ab\x1b(J"));
        assert!(!doubtful(Some("utf-16"), b"\xff\xfea\0b\0"));
        assert!(!doubtful(Some("ISO-2022-JP"), b"\x1b$B..."));
        assert!(!doubtful(Some("utf-8"), b"colour \x1b[1m"));
        assert!(!doubtful(None, b"plain"));
        for lead in ["", "a", "ab", "abc"] {
            assert!(!doubtful(None, format!("{lead}\x1b(B\x1b[m").as_bytes()));
            assert!(!doubtful(None, format!("{lead}\x1b").as_bytes()));
            for tail in ["", "x", "xy"] {
                assert!(doubtful(None, format!("{lead}\x1b$B{tail}").as_bytes()));
                assert!(doubtful(None, format!("{lead}\x1b${tail}").as_bytes()));
            }
        }
    }

    fn embedded(text: &str) -> bool {
        let mut whole = EmbeddedScan::default();
        whole.update(text.as_bytes());
        let mut split = EmbeddedScan::default();
        text.as_bytes().chunks(7).for_each(|piece| split.update(piece));
        assert_eq!(whole.found(), split.found(), "{text}");
        whole.found()
    }

    #[test]
    fn finds_files_in_texts() {
        for text in [
            "see below\r\nbegin 644 agenda.exe\r\nM...\r\nend",
            "begin 644  \tagenda.exe\r\n",
            "begin-base64 755 a\r\n",
            "=ybegin line=128 size=1 name=a\r\n",
            "(This file must be converted with BinHex 4.0)",
            "<a href=\"DATA:application/pdf;base64,JVBE\">",
            "data:;base64,AAAA",
            "data:text/html,<script>",
            "data: application/pdf;base64,JVBE",
            "data:application/pdf;name=\"a b\"; base64,JVBE",
        ] {
            assert!(embedded(text), "{text}");
        }
        for text in [
            "we begin 644 things",
            "begin with this",
            "begin 644 \r\nin a line of its own",
            "begin 9 o'clock",
            "<img src=\"data:image/png;base64,AAAA\">",
            "the data: one, two",
            "the data: temperature/humidity, pressure",
            "metadata:text/plain,x",
            "data:one,two",
        ] {
            assert!(!embedded(text), "{text}");
        }
    }
}
