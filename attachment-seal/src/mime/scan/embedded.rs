//! Files that are lines of a text: uuencode, yEnc, BinHex, PostScript, OpenPGP and PEM armour, calendars and cards, and
//! header fields that describe one.
//!
//! Gnus, MIME::Parser, ripMIME, uudeview, Roundcube, Thunderbird and Outlook Express find them each in a way of its own;
//! this is the sum of their ways. None takes a lone `begin` in prose for a file unless something follows: encoded lines,
//! or a line `end`.

use std::ops::Range;

use memchr::{memchr2, memmem};

use super::lines::Piece;
use super::place::Finds;
use crate::message::header::is_blank;
use crate::mime::octets;

/// Looks for files in the lines of one text.
#[derive(Debug)]
pub(super) struct EmbeddedScan {
    is_html: bool,
    /// What may be a uuencoded file, if the lines go on so.
    begun: Option<Begun>,
    /// A file whose last line has not come yet.
    block: Option<Block>,
}

/// A `begin` line.
#[derive(Debug)]
struct Begun {
    start: u64,
    coding: Coding,
    /// Whether only blank lines have followed.
    is_next: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// `begin 644`.
    Uu,
    /// `begin-base64`.
    Base64,
    /// `begin` and words that some readers take for a mode and a name.
    Words,
}

/// A file from its first line on.
#[derive(Debug)]
struct Block {
    kind: &'static str,
    start: u64,
    ends: fn(&[u8]) -> bool,
}

/// What a place in the text could begin.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Begin(Coding),
    Block(&'static str, fn(&[u8]) -> bool),
    /// A header field with a name of so many octets.
    Field(usize),
}

impl EmbeddedScan {
    pub(super) fn new(is_html: bool) -> Self {
        Self { is_html, begun: None, block: None }
    }

    /// Looks through the next lines.
    pub(super) fn scan(&mut self, piece: &Piece<'_>, finds: &mut Finds) {
        let mut marks = self.marks(piece);
        marks.sort_by_key(|&(at, _)| at);
        let (mut read, mut line_end) = (0, 0);
        for (at, mark) in marks {
            if at >= line_end {
                line_end = end_of_line(piece.text, at);
                self.read_lines(piece, read..line_end, finds);
                read = line_end;
            }
            self.open(piece, at, mark, finds);
        }
        self.read_lines(piece, read..piece.text.len(), finds);
    }

    /// The text of `size` octets is over.
    pub(super) fn finish(&mut self, size: u64, finds: &mut Finds) {
        if let Some(block) = self.block.take() {
            finds.note(block.kind, block.start..size);
        }
    }

    fn open(&mut self, piece: &Piece<'_>, at: usize, mark: Mark, finds: &mut Finds) {
        let start = piece.place.at(at);
        match mark {
            // A later line does not replace an earlier one: more is taken for the file, and never less.
            Mark::Begin(coding) => {
                let kept = self.begun.as_ref().filter(|begun| begun.coding != Coding::Words);
                let start = kept.map_or(start, |begun| begun.start);
                let coding = kept.map_or(coding, |begun| begun.coding);
                self.begun = Some(Begun { start, coding, is_next: true });
            }
            Mark::Field(length) => finds.note("mime", start..piece.place.at(at + length)),
            Mark::Block(kind, ends) => {
                self.block.get_or_insert(Block { kind, start, ends });
            }
        }
    }

    /// Reads lines that may go on with what began before them.
    fn read_lines(&mut self, piece: &Piece<'_>, range: Range<usize>, finds: &mut Finds) {
        let mut at = range.start;
        while at < range.end && (self.begun.is_some() || self.block.is_some()) {
            let end = end_of_line(&piece.text[..range.end], at);
            self.read_begun(piece, at..end, finds);
            self.end_block(piece, at..end, finds);
            at = end;
        }
    }

    fn end_block(&mut self, piece: &Piece<'_>, line: Range<usize>, finds: &mut Finds) {
        let words = piece.text[line.clone()].trim_ascii_end();
        if let Some(block) = self.block.take_if(|block| (block.ends)(words)) {
            finds.note(block.kind, block.start..piece.place.at(line.start + words.len()));
        }
    }

    fn read_begun(&mut self, piece: &Piece<'_>, range: Range<usize>, finds: &mut Finds) {
        let Some(begun) = &mut self.begun else { return };
        let line = trim_line_end(&piece.text[range.clone()]);
        let words = line.trim_ascii();
        if words.is_empty() {
            return;
        }
        let is_next = std::mem::take(&mut begun.is_next);
        let ends = words.eq_ignore_ascii_case(b"end") && begun.coding != Coding::Words || words == b"====";
        let is_data = match begun.coding {
            Coding::Base64 => is_base64_line(words),
            Coding::Uu => is_uu_line(line) || is_next && is_uu_line_of_any_letters(line),
            Coding::Words => is_uu_line(line),
        };
        if ends || is_data {
            finds.note("uuencode", begun.start..piece.place.at(range.start + line.len()));
        }
        if ends || begun.coding == Coding::Words && !is_data {
            self.begun = None;
        }
    }

    fn marks(&self, piece: &Piece<'_>) -> Vec<(usize, Mark)> {
        let text = piece.text;
        let at_line_start = |at: usize| match at.checked_sub(1) {
            Some(before) => matches!(text[before], b'\r' | b'\n'),
            None => piece.starts_line,
        };
        let (mut marks, mut content) = (Vec::new(), Vec::new());
        for place in octets::find(text, is_of_a_word) {
            // What was found is not the start of each word.
            let word_at = |before: usize, word: &[u8]| {
                place.checked_sub(before).filter(|&at| starts(&text[at..], word))
            };
            if let Some(at) = word_at(0, b"begin") {
                marks.extend(begin(text, at, at_line_start));
            } else if let Some(at) = word_at(5, b"content-") {
                content.push(at);
            } else if let Some(at) = word_at(4, b"----gnatsweb-attachment----") {
                marks.extend(at_line_start(at).then_some((at, Mark::Block("mime", |_| false))));
            } else if let Some(at) = word_at(0, b"(this file must be converted with") {
                // MIME::Parser needs no name after it, uudeview no line of its own.
                marks.push((at, Mark::Block("binhex", |_| false)));
            } else if let Some(at) = word_at(0, b"%!ps-").filter(|&at| at_line_start(at)) {
                marks.push((at, Mark::Block("postscript", |line| line == b"%%EOF")));
            }
        }
        marks.extend(mime_fields(piece, &content));
        if !self.is_html {
            let first = (piece.starts_line && text.starts_with(b":")).then_some(0);
            let others =
                octets::find(text, |[end, colon]| (colon == b':') & ((end == b'\r') | (end == b'\n')));
            let lines = first.into_iter().chain(others.map(|at| at + 1));
            let data = lines.filter(|&at| starts_with_binhex_line(&text[at..]));
            marks.extend(data.map(|at| (at, Mark::Block("binhex", |line| line.ends_with(b":")))));
        }
        marks
    }
}

/// Whether three octets are of a word that begins a file, in any case: of `begin`, `content-`, `gnatsweb`, `(this` or `%!ps`.
fn is_of_a_word(octets: [u8; 3]) -> bool {
    let are = |three: &[u8; 3]| {
        (octets[0] | 0x20 == three[0]) & (octets[1] | 0x20 == three[1]) & (octets[2] | 0x20 == three[2])
    };
    are(b"beg") | are(b"nt-") | are(b"gna") | are(b"(th") | are(b"%!p")
}

/// Fields that make ripMIME, munpack, uudeview and Email::MIME look for a file below them. ripMIME finds the name inside a
/// longer word that begins a line, and minds neither what follows it nor whether a colon does.
fn mime_fields(piece: &Piece<'_>, content: &[usize]) -> Vec<(usize, Mark)> {
    let text = piece.text;
    let ends_word = |octet: &u8| matches!(octet, b':' | b' ' | b'\t' | b'\r' | b'\n');
    let mut marks = Vec::new();
    // Up to where the text is read, and whether the word there is the first of its line.
    let (mut read, mut is_first) = (0, piece.starts_line);
    for &at in content {
        if at < read {
            continue;
        }
        if let Some(end) = text[read..at].iter().rposition(ends_word) {
            is_first = matches!(text[read + end], b'\r' | b'\n');
        }
        read = text[at..].iter().position(ends_word).map_or(text.len(), |length| at + length);
        if is_first && let Some(length) = mime_field(&text[read..], &text[at..read]) {
            marks.push((at, Mark::Field(read + length - at)));
        }
    }
    marks
}

/// How long what separates a word from a field's value is, if it is the name of such a field.
fn mime_field(rest: &[u8], word: &[u8]) -> Option<usize> {
    let word = word.to_ascii_lowercase();
    let holds = |name: &[u8]| memmem::find(&word, name).is_some();
    let rest = &rest[..rest.len().min(MAX_VALUE)];
    let blanks = rest.iter().take_while(|&&octet| is_blank(octet)).count();
    let length = blanks + usize::from(rest.get(blanks) == Some(&b':'));
    let value = &rest[length..end_of_field(rest, length)];
    let line = &value[..end_of_line(value, 0)];
    let first = line.split(|&octet| octet == b';').next().unwrap_or_default().trim_ascii();
    let has = |word: &[u8]| contains(value, word);
    // Prose may begin with the name of a field: a type or a place is the only word, or is before parameters.
    let is_only_word = !first.is_empty() && !first.iter().any(|&octet| is_blank(octet));
    // `<meta http-equiv=Content-Type content="text/html; charset=utf-8">`
    let is_type =
        if starts(first, b"content=") { has(b"name") } else { is_only_word && first.contains(&b'/') };
    let is_disposition = || length > blanks || has(b"attachment") || has(b"inline") || has(b"name");
    let describes_file = holds(b"content-type") && is_type
        || holds(b"content-location") && is_only_word
        || holds(b"content-disposition") && is_disposition();
    describes_file.then_some(length)
}

/// Octets of a field's value that are looked at.
const MAX_VALUE: usize = 1024;

/// What a `begin` at `at` begins.
fn begin(text: &[u8], at: usize, at_line_start: impl Fn(usize) -> bool) -> Option<(usize, Mark)> {
    let rest = &text[at + b"begin".len()..];
    let dashes = text[..at].ends_with(b"-----").then(|| at - 5);
    if let Some(start) = dashes.filter(|_| rest.is_empty() || is_blank(rest[0])) {
        let label = rest[..end_of_line(rest, 0)].trim_ascii_start();
        let may_go_on = !matches!(rest[..end_of_line(rest, 0)].last(), Some(b'\r' | b'\n'));
        // Mailvelope takes OpenPGP's from the middle of a line, too; a piece of a long line may end just here.
        if label.is_empty() && may_go_on || starts(label, b"pgp ") {
            return Some((start, Mark::Block("pgp", |line| contains(line, b"-----end pgp "))));
        }
        let is_label = |octet: &&u8| octet.is_ascii_alphanumeric() || **octet == b' ' || **octet == b'#';
        let length = label.iter().take(64).take_while(is_label).count();
        let is_armour = at_line_start(start) && length > 0 && label[length..].starts_with(b"-----");
        return is_armour.then_some((start, Mark::Block("pem", |line| contains(line, b"-----end "))));
    }
    let before = text[..at].iter().rev().take(8).take_while(|&&octet| is_blank(octet)).count();
    if let Some(name) = rest.strip_prefix(b":") {
        let start = at - before;
        let calendars =
            [b"vcalendar".as_slice(), b"vevent", b"vtodo", b"vjournal", b"vfreebusy", b"vtimezone"];
        let kind = if calendars.iter().any(|calendar| starts(name, calendar)) {
            "calendar"
        } else if starts(name, b"vcard") || starts(name, b"vnote") {
            "vcard"
        } else {
            return None;
        };
        return at_line_start(start).then_some((start, Mark::Block(kind, |line| contains(line, b"end:v"))));
    }
    if at >= 2 && starts(&text[at - 2..], b"=y") && at_line_start(at - 2) {
        let line = &rest[..end_of_line(rest, 0).min(256)];
        let is_yenc = rest.first().copied().is_some_and(is_blank)
            && [b"size=".as_slice(), b"name=", b"line="].iter().any(|name| contains(line, name));
        return is_yenc.then_some((at - 2, Mark::Block("yenc", |line| starts(line, b"=yend"))));
    }
    let (rest, coding) = match rest.get(..b"-base64".len()) {
        Some(word) if word.eq_ignore_ascii_case(b"-base64") => (&rest[word.len()..], Coding::Base64),
        _ => (rest, Coding::Uu),
    };
    let gap = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t' | 0x0b | 0x0c)).count();
    let words = &rest[gap..];
    let digits = words.iter().take(3).filter(|octet| matches!(octet, b'0'..=b'7')).count();
    if gap == 0 {
        return None;
    }
    // Where a piece ends within the mode, the rest of it may be there.
    if digits == 3 || digits == words.len() {
        return Some((at, Mark::Begin(coding)));
    }
    // ripMIME and uudeview take any word for the mode, at the start of a line only.
    let is_line = at_line_start(at) && !matches!(words[0], b'\r' | b'\n');
    is_line.then_some((at, Mark::Begin(Coding::Words)))
}

/// A line of uuencode: how many octets it holds, and as many characters as they need. Decoders disagree on
/// final blanks that were lost on the way, and on a checksum after them.
fn is_uu_line(line: &[u8]) -> bool {
    let Some((&first, data)) = line.split_first() else { return false };
    let needed = usize::from(first.wrapping_sub(b' ') & 0x3f).div_ceil(3) * 4;
    (b'!'..b'`').contains(&first)
        && (needed * 3 / 4..=needed + 2).contains(&data.len())
        && data.iter().all(|octet| (b' '..=b'`').contains(octet))
}

/// The same with letters that only some decoders take: they look at six bits of each.
fn is_uu_line_of_any_letters(line: &[u8]) -> bool {
    let Some((&first, data)) = line.split_first() else { return false };
    let octets = usize::from(first.wrapping_sub(b' ') & 0x3f);
    octets > 0 && data.len() == octets.div_ceil(3) * 4 && line.iter().all(u8::is_ascii_graphic)
}

fn is_base64_line(line: &[u8]) -> bool {
    line.len().is_multiple_of(4)
        && line.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'='))
}

/// A first line of BinHex as Gnus knows it: a colon and 63 more characters.
fn starts_with_binhex_line(text: &[u8]) -> bool {
    text.get(..64).is_some_and(|line| line.iter().all(u8::is_ascii_graphic))
        && matches!(text.get(64), None | Some(b'\r' | b'\n'))
}

/// Whether `text` starts with the lower-case `word`, in any case.
fn starts(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Whether the lower-case `word` is in `line`, in any case. It looks at the first 256 octets.
fn contains(line: &[u8], word: &[u8]) -> bool {
    line[..line.len().min(256)].windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// Where the line at `at` ends, with its line end.
fn end_of_line(text: &[u8], at: usize) -> usize {
    let end = memchr2(b'\r', b'\n', &text[at..]).map_or(text.len(), |end| at + end + 1);
    if text[..end].ends_with(b"\r") && text[end..].starts_with(b"\n") { end + 1 } else { end }
}

/// Where the field at `at` ends: at a line that no line with a blank at its start continues, or behind a few.
fn end_of_field(text: &[u8], at: usize) -> usize {
    let mut end = end_of_line(text, at);
    for _ in 0..8 {
        if !text.get(end).copied().is_some_and(is_blank) {
            break;
        }
        end = end_of_line(text, end);
    }
    end
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::super::{Embedded, TextScan};
    use proptest::prelude::*;

    fn found(text: &str) -> Option<(Embedded, Embedded)> {
        let scanned = |cut: usize| {
            let mut scan = TextScan::new("text/plain", Some("utf-8"));
            text.as_bytes().chunks(cut).for_each(|piece| scan.update(piece));
            let scanned = scan.finish();
            scanned.first.zip(scanned.last)
        };
        assert_eq!(scanned(7), scanned(1 << 20), "{text}");
        scanned(7)
    }

    fn kind(text: &str) -> Option<&'static str> {
        let kind = found(text).map(|(first, _)| first.kind);
        assert_eq!(super::super::holds_file(text.as_bytes()), kind, "{text}");
        kind
    }

    #[test]
    fn finds_uuencode_as_its_readers_do() {
        for begin in [
            "begin 644 evil.exe",
            "begin  644 evil.exe",
            "begin\t644\tevil.exe",
            "begin 00644 evil.exe",
            "begin 0644 evil.exe",
            "BEGIN 644 EVIL.EXE",
            "begin 644",
            "Hello, see begin 644 evil.exe",
            "xbegin 644 evil.exe",
            "begin anything evil.exe",
            "begin  evil.exe",
        ] {
            assert_eq!(
                kind(&format!("Hi.\r\n\r\n{begin}\r\n#86)C\r\n`\r\nend\r\n")),
                Some("uuencode"),
                "{begin}"
            );
            assert_eq!(kind(&format!("{begin}\n\n#35J%")), Some("uuencode"), "{begin}");
        }
        // A file of no lines of its own, which Gnus cuts out all the same.
        assert_eq!(kind("begin 644 a.exe\nany lines\nat all\nEnd \n"), Some("uuencode"));
        assert_eq!(kind("words\r\ncontent-TYPE : application/x-msdownload\r\n\r\nMZ"), Some("mime"));
        // Letters that decoders take six bits of.
        assert_eq!(kind("begin 644 a\ncxyza\n"), Some("uuencode"));
        assert_eq!(kind("begin-base64 755 a\r\nTVqQAAMA\r\n===="), Some("uuencode"));
    }

    #[test]
    fn leaves_prose_alone() {
        for text in [
            "We begin 2027 with a new budget.\r\nIt is the same for all.\r\n\r\nThe end\r\n",
            "begin 2027 with\r\nthe new budget\r\n",
            "use `begin 644 x` as the first line\r\nand so on\r\n",
            "> begin 644 a.exe\r\n> #86)C\r\n> `\r\n> end\r\n",
            "begin with this\r\nand that\r\nend\r\n",
            "begin\r\n  x := 1;\r\nend\r\n",
            "beginning 644 things\r\n#86)C\r\n",
            "SIZE\r\n#86)C\r\nend",
            "the =ybegin line of yEnc",
            "100%!PS-Adobe",
            ": a list\r\n: of things\r\n",
            "data:text/html,<script>alert(1)</script>",
            "you wrote data:application/pdf;base64,JVBE",
            "BEGIN: the vote\r\n",
            "---------- Forwarded message ---------\r\nFrom: a@b.example\r\n",
            "Content-Type: text/plain is what you wrote",
            "the Content-Disposition: attachment that you wrote",
            "Content-Disposition is a field",
            "Content-Location: the place",
            "http-equiv=Content-Type content=\"text/html; charset=utf-8\">",
            "Content-Length: 5\r\n",
            "My answer $B",
        ] {
            assert_eq!(kind(text), None, "{text}");
        }
    }

    #[test]
    fn finds_the_other_kinds() {
        let line = format!(":{}\r\nabc:\r\n", "a".repeat(63));
        for (text, expected) in [
            ("=ybegin line=128 size=1 name=a\r\n", "yenc"),
            ("x\n=ybegin part=1 line=128 size=1\n", "yenc"),
            ("(This file must be converted with BinHex 4.0)", "binhex"),
            ("see (this file MUST be converted with", "binhex"),
            (line.as_str(), "binhex"),
            ("\r\n%!PS-Adobe-3.0\r\n", "postscript"),
            ("-----BEGIN PGP MESSAGE-----\r\n", "pgp"),
            ("see -----BEGIN PGP SIGNED MESSAGE-----\r\n", "pgp"),
            ("-----BEGIN PKCS7-----\r\n", "pem"),
            ("\n-----BEGIN CERTIFICATE-----\r\n", "pem"),
            ("BEGIN:VCALENDAR\r\n", "calendar"),
            ("  begin:vcard\r\n", "vcard"),
            ("----gnatsweb-attachment----\r\n", "mime"),
            ("xContent-Disposition: attachment; filename=a.exe\r\n", "mime"),
            ("words\nx-content-disposition attachment;\n filename=a.exe\n", "mime"),
            ("Content-Type-x application/x-msdownload; name=a.exe\r\n", "mime"),
            ("Content-Location: a.exe\r\n", "mime"),
        ] {
            assert_eq!(kind(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn tells_where_a_block_is() {
        let sealed = "Hello\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nabc\r\n-----END PGP MESSAGE-----\r\n";
        let (first, last) = found(&format!("{sealed}a footer\r\n")).expect("a block");
        let block = 7..sealed.len() as u64 - 2;
        assert_eq!((first.range, last.range), (block.clone(), block));
        let open = "Hello\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nabc\r\n";
        let (_, last) = found(open).expect("a block");
        assert_eq!(last.range, 7..open.len() as u64);
        let two = "begin 644 a\r\n#86)C\r\nend\r\nfooter\r\nbegin 644 b\r\n#86)C\r\nend\r\n";
        let (first, last) = found(two).expect("two files");
        assert_eq!((first.range.start, last.range), (0, 33..two.len() as u64 - 2));
    }

    #[test]
    fn finds_a_file_behind_a_line_longer_than_a_piece() {
        for length in [65_520, 65_530, 65_536, 65_540, 200_000] {
            let text = format!("{}begin 644 evil.exe\r\n#86)C\r\n", "x".repeat(length));
            assert_eq!(kind(&text), Some("uuencode"), "{length}");
            let text = format!("begin{}644 evil.exe\r\n#86)C\r\n", " ".repeat(length));
            assert_eq!(kind(&text), Some("uuencode"), "{length}");
            let text = format!("{}-----BEGIN PGP MESSAGE-----\r\n#86)C\r\n", "x".repeat(length));
            assert_eq!(kind(&text), Some("pgp"), "{length}");
        }
    }

    /// The text on the next line is no label.
    #[test]
    fn an_armour_without_a_label_is_none() {
        assert_eq!(kind("-----begin\t\r\nbegin\r\n"), None);
        assert_eq!(kind("-----begin\t\r\n"), None);
    }

    proptest! {
        #[test]
        fn finds_the_same_for_any_cut(
            text in "(begin|BEGIN|:V|CARD|[ \t]|644|\r\n|\n|\r|#86\\)C|end|END|=y|size=|-----|PGP |x|:[a-z]{63}){0,40}",
            cut in 1_usize..50,
        ) {
            let scanned = |cut: usize| {
                let mut scan = TextScan::new("text/plain", None);
                text.as_bytes().chunks(cut).for_each(|piece| scan.update(piece));
                let scanned = scan.finish();
                (scanned.first, scanned.last)
            };
            prop_assert_eq!(scanned(cut), scanned(text.len().max(1)));
        }

        #[test]
        fn finds_a_file_wherever_it_is(before in "([a-z ]|\n){0,80}", after in "([a-z ]|\n){0,80}") {
            let text = format!("{before}\nbegin 644 a\n#86)C\nend\n{after}");
            let (first, _) = found(&text).expect("a file");
            prop_assert!(first.range.start <= before.len() as u64 + 1);
        }
    }
}
