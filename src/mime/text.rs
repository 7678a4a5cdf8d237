//! Texts: the canonical form that a seal hashes (SEAL.md §5), charsets that can hide text, and files smuggled in text.

use memchr::{memchr_iter, memmem};

use crate::header::{is_blank, is_token};

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
        for &octet in text {
            match octet {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\r' | b'\n' => {
                    self.end_line();
                    self.after_cr = octet == b'\r';
                }
                b' ' | b'\t' => {
                    self.blank = true;
                    self.after_cr = false;
                }
                _ => {
                    self.after_cr = false;
                    self.take_text(octet);
                }
            }
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

    fn take_text(&mut self, octet: u8) {
        while self.empty_lines > 0 {
            self.empty_lines -= 1;
            self.put(b"\r\n");
        }
        if self.blank {
            self.blank = false;
            self.put(b" ");
        }
        self.line_has_text = true;
        self.put(&[octet]);
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
        if self.buffer.len() + octets.len() > BUFFER {
            self.flush();
        }
        self.buffer.extend_from_slice(octets);
    }

    fn flush(&mut self) {
        self.hasher.update(&self.buffer);
        self.size += self.buffer.len() as u64;
        self.buffer.clear();
    }
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
        let found = matches!(
            charset.as_str(),
            "utf-7" | "utf7" | "unicode-1-1-utf-7" | "csunicode11utf7" | "unicode-2-0-utf-7"
        );
        Self { charset, start: Vec::new(), cut: Vec::new(), found }
    }

    /// Takes the next decoded octets.
    pub fn update(&mut self, text: &[u8]) {
        let wanted = 4 - self.start.len().min(4);
        self.start.extend_from_slice(&text[..text.len().min(wanted)]);
        if self.charset.starts_with("iso-2022") || self.charset.starts_with("csiso2022") {
            return;
        }
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
const TAIL: usize = 512;

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

/// A `data:` URL (RFC 2397) with a media type other than `image/*`, or with base64 of an unnamed one.
fn has_data_url(text: &[u8]) -> bool {
    memchr_iter(b':', text).any(|colon| {
        let scheme = colon >= 4
            && text[colon - 4..colon].eq_ignore_ascii_case(b"data")
            && !colon.checked_sub(5).is_some_and(|before| text[before].is_ascii_alphanumeric());
        let head = &text[colon + 1..text.len().min(colon + 1 + 256)];
        scheme
            && head
                .split(|&octet| octet == b',')
                .next()
                .is_some_and(|head_to_comma| head_to_comma.len() < head.len() && holds_a_file(head_to_comma))
    })
}

fn holds_a_file(media_type: &[u8]) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    let plain = media_type.iter().all(|&octet| is_token(octet) || matches!(octet, b'/' | b';' | b'=' | b'"'));
    let named = media_type.contains(&b'/');
    plain && !media_type.starts_with(b"image/") && (named || media_type.ends_with(b";base64"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule of SEAL.md §5, said a second time.
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
        fn agrees_with_the_rule_for_any_split(text in "[ab \t\r\n]{0,60}", at in 0_usize..60) {
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
            "metadata:text/plain,x",
            "data:one,two",
        ] {
            assert!(!embedded(text), "{text}");
        }
    }
}
