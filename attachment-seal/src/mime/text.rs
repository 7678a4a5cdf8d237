//! Texts: the canonical form that a seal hashes (SPEC.md §6).

use memchr::{memchr, memmem, memrchr};

use super::decode::has_bare_line_end;

use crate::message::header::trim_blanks_end;
use crate::message::line_ends;

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
    /// The canonical form, where it is wanted.
    kept: Option<Vec<u8>>,
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
                self.take_lines(empty_lines);
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
            let at_line_start = !self.line_has_text && !self.blank && !self.after_cr;
            let empty_lines = if at_line_start { line_ends::leading(rest) } else { 0 };
            self.empty_lines += empty_lines as u64 / 2;
            rest = &rest[empty_lines..];
            let (line, after) = rest.split_at(memchr(b'\n', rest).map_or(rest.len(), |at| at + 1));
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
                    run(rest, |octet| (octet == b' ') | (octet == b'\t'))
                }
                _ => {
                    let is_of_word =
                        |octet: u8| (octet != b' ') & (octet != b'\t') & (octet != b'\r') & (octet != b'\n');
                    let word = &rest[..run(rest, is_of_word)];
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
        self.end();
        (self.hasher.finalize(), self.size)
    }

    fn end(&mut self) {
        if self.line_has_text {
            self.end_line();
        }
        self.flush();
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
        let empty_lines = std::mem::take(&mut self.empty_lines);
        line_ends::repeat(usize::try_from(empty_lines).unwrap_or(usize::MAX), |some| self.put(some));
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
        match &mut self.kept {
            Some(kept) => kept.extend_from_slice(&self.buffer),
            None => _ = self.hasher.update(&self.buffer),
        }
        self.size += self.buffer.len() as u64;
        self.buffer.clear();
    }
}

/// Whole lines that are looked at together; most are in their canonical form already.
const BLOCK: usize = 8 << 10;

/// Whether words without a blank at the end, and there are some, are unchanged in the canonical form.
fn is_one_spaced(words: &[u8]) -> bool {
    // Without a branch, so that the compiler makes vector code of it.
    let pairs = words.iter().zip(words.iter().skip(1));
    let other = pairs.fold(0, |other, (octet, next)| {
        other | u8::from(*octet == b' ' && *next == b' ') | u8::from(matches!(next, b'\t' | b'\r'))
    });
    other == 0 && !matches!(words.first(), None | Some(b'\t' | b'\r'))
}

/// How many octets of `text` from its start are what `is_of_run` says. Where that does not branch, the compiler makes vector
/// code of all but the first.
fn run(text: &[u8], is_of_run: impl Fn(u8) -> bool + Copy) -> usize {
    const NEAR: usize = 16;
    const SOME: usize = 64;
    let near = text.iter().take(NEAR).position(|&octet| !is_of_run(octet));
    if let Some(near) = near {
        return near;
    }
    let (some, _) = text.as_chunks::<SOME>();
    let is_run = |octets: &&[u8; SOME]| {
        octets.iter().fold(0, |others, &octet| others | u8::from(!is_of_run(octet))) == 0
    };
    let whole = some.iter().take_while(is_run).count() * SOME;
    whole + text[whole..].iter().take_while(|&&octet| is_of_run(octet)).count()
}

/// Where the last line of a block that is not empty ends.
fn text_end(block: &[u8]) -> usize {
    let end = block.len() - line_ends::trailing(block);
    let last = block[..end].iter().rposition(|octet| !matches!(octet, b'\r' | b'\n'));
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

/// The canonical form itself, a piece at a time.
#[derive(Debug)]
pub(crate) struct Canonical(TextHasher);

impl Default for Canonical {
    fn default() -> Self {
        Self(TextHasher { kept: Some(Vec::new()), ..TextHasher::default() })
    }
}

impl Canonical {
    /// Takes the next decoded octets.
    pub(crate) fn update(&mut self, text: &[u8], out: &mut impl FnMut(&[u8])) {
        self.0.update(text);
        self.hand_on(out);
    }

    /// Hands on the rest.
    pub(crate) fn finish(mut self, out: &mut impl FnMut(&[u8])) {
        self.0.end();
        self.hand_on(out);
    }

    fn hand_on(&mut self, out: &mut impl FnMut(&[u8])) {
        if let Some(kept) = &mut self.0.kept {
            out(kept);
            kept.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule of SPEC.md §6, said a second time.
    fn by_rule(text: &[u8]) -> Vec<u8> {
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

    fn canonical(text: &[u8]) -> Vec<u8> {
        let (mut form, mut canonical) = (Vec::new(), Canonical::default());
        let mut keep = |piece: &[u8]| form.extend_from_slice(piece);
        text.chunks(7).for_each(|piece| canonical.update(piece, &mut keep));
        canonical.finish(&mut keep);
        form
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
            let expected = by_rule(text.as_bytes());
            prop_assert_eq!(&canonical(text.as_bytes()), &expected);
            prop_assert_eq!(hash(&[one, other]), (blake3::hash(&expected), expected.len() as u64));
        }
    }
}
