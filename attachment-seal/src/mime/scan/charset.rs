//! The octets of a text to the UTF-8 that its reader sees, and whether its charset can hide other text.

use encoding_rs::{Decoder, Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};
use memchr::{memchr, memchr_iter, memmem, memrchr};

use super::place::Unit;

/// Reads a text in its declared charset.
#[derive(Debug)]
pub(super) struct Charset {
    label: String,
    family: Family,
    is_html: bool,
    /// The first octets, until there are enough of them for a byte order mark.
    start: Option<Vec<u8>>,
    reader: Reader,
    size: u64,
    /// The last octets, where an escape can begin that the next ones end.
    tail: Vec<u8>,
    hides_text: bool,
    buffer: Vec<u8>,
}

/// How a text is made UTF-8.
#[derive(Debug)]
enum Reader {
    /// As it is: UTF-8, ASCII, and charsets that we do not know but that have ASCII in its place.
    AsIs,
    Convert(Box<Decoder>, Unit),
}

/// What a charset's octets can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// One or more octets a character, with ASCII in its place and no states.
    Ascii,
    Utf7,
    Utf16,
    /// In ISO-2022 escapes (or HZ's, or shifts), which are declared then.
    Escapes,
    /// UTF-32, EBCDIC and others that have no ASCII in its place.
    Alien,
}

/// EBCDIC code pages, as `ibm037`, `cp1047` and the like name them.
const EBCDIC: &[&str] = &[
    "037", "273", "274", "275", "277", "278", "280", "281", "284", "285", "290", "297", "420", "423", "424",
    "500", "838", "870", "871", "875", "880", "905", "918", "924", "930", "933", "935", "937", "939", "1025",
    "1026", "1047", "1112", "1122", "1123", "1140", "1141", "1142", "1143", "1144", "1145", "1146", "1147",
    "1148", "1149",
];

impl Family {
    fn of(label: &str) -> Self {
        let plain: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.trim_start_matches("cs").trim_start_matches('x');
        let page = ["ibm", "cp", "ccsid"].iter().find_map(|start| plain.strip_prefix(start));
        let has = |start: &[&str]| start.iter().any(|start| plain.starts_with(start));
        if plain.contains("utf7") || plain == "unicode11utf7" || plain == "unicode20utf7" {
            Self::Utf7
        } else if has(&["utf16", "ucs2", "iso10646ucs2", "unicodefffe", "unicodefeff", "unicode"]) {
            Self::Utf16
        } else if has(&["utf32", "ucs4", "iso10646ucs4", "utfebcdic", "ebcdic", "bocu", "scsu"])
            || page.is_some_and(|page| EBCDIC.contains(&page.trim_start_matches('0')) || page == "037")
        {
            Self::Alien
        } else if has(&["iso2022", "hzgb", "cp5022", "windows5022"]) || plain == "jis" || plain == "hz" {
            Self::Escapes
        } else {
            Self::Ascii
        }
    }
}

impl Charset {
    /// For a text declared to be in the charset `label`.
    pub(super) fn new(label: Option<&str>, is_html: bool) -> Self {
        let label = label.unwrap_or_default().trim().to_ascii_lowercase();
        Self {
            family: Family::of(&label),
            label,
            is_html,
            start: Some(Vec::new()),
            reader: Reader::AsIs,
            size: 0,
            tail: Vec::new(),
            hides_text: false,
            buffer: Vec::new(),
        }
    }

    /// Hands on the next octets in UTF-8. `is_last` with the last of them.
    pub(super) fn convert(&mut self, octets: &[u8], is_last: bool, sink: &mut impl FnMut(&[u8], Unit)) {
        self.size += octets.len() as u64;
        self.watch(octets);
        let Some(start) = &mut self.start else { return self.pass(octets, is_last, sink) };
        start.extend_from_slice(octets);
        if start.len() >= 4 || is_last {
            let start = self.start.take().unwrap_or_default();
            self.choose(&start);
            self.pass(&start, is_last, sink);
        }
    }

    /// Octets so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether places in the UTF-8 are known in the text.
    pub(super) fn keeps_places(&self) -> bool {
        !matches!(self.reader, Reader::Convert(_, Unit::Unknown))
    }

    /// Whether readers could see other text than ours, or than each other.
    pub(super) fn hides_text(&self) -> bool {
        self.hides_text || self.tail.len() == 2 && is_designation(&self.tail[1..])
    }

    fn choose(&mut self, start: &[u8]) {
        let mark = match start {
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some(Family::Alien),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(Family::Utf16),
            _ => None,
        };
        // Readers that go by the mark see other text than those that go by the name.
        self.hides_text |= mark.is_some_and(|mark| mark != self.family);
        self.hides_text |= match self.family {
            Family::Alien => !start.is_empty(),
            Family::Utf16 => mark.is_none() && !start.is_empty(),
            Family::Ascii | Family::Utf7 | Family::Escapes => false,
        };
        let encoding = match (self.family, mark) {
            (_, Some(Family::Utf16)) | (Family::Utf16, _) => match start {
                [0xfe, 0xff, ..] => UTF_16BE,
                _ if self.label.contains("be") => UTF_16BE,
                _ => UTF_16LE,
            },
            (Family::Escapes, _) => Encoding::for_label(self.label.as_bytes())
                .filter(|&encoding| encoding != REPLACEMENT)
                .unwrap_or(encoding_rs::ISO_2022_JP),
            _ => Encoding::for_label(self.label.as_bytes()).unwrap_or(UTF_8),
        };
        let is_ascii_label = self.label.contains("ascii") || self.label.contains("646");
        let as_is = encoding == UTF_8
            || encoding == REPLACEMENT
            || encoding == X_USER_DEFINED
            || encoding == WINDOWS_1252 && is_ascii_label;
        let unit = if encoding == UTF_16BE || encoding == UTF_16LE {
            Unit::Utf16
        } else if encoding.is_single_byte() {
            Unit::Character
        } else {
            Unit::Unknown
        };
        if !as_is {
            self.reader = Reader::Convert(Box::new(encoding.new_decoder_without_bom_handling()), unit);
        }
    }

    fn pass(&mut self, octets: &[u8], is_last: bool, sink: &mut impl FnMut(&[u8], Unit)) {
        let Reader::Convert(decoder, unit) = &mut self.reader else { return sink(octets, Unit::Octet) };
        // Enough for any charset: at most three octets of UTF-8 for each octet, and a few for what came before.
        self.buffer.resize(octets.len() * 3 + 16, 0);
        let (_, _, written, _) = decoder.decode_to_utf8(octets, &mut self.buffer, is_last);
        sink(&self.buffer[..written], *unit);
    }

    /// Looks for states that the charset does not declare.
    fn watch(&mut self, octets: &[u8]) {
        self.hides_text |= match self.family {
            // Without a plus it is ASCII to every reader; Exchange's reports name it throughout.
            Family::Utf7 => memchr(b'+', octets).is_some(),
            // Of the charsets with escapes we read the Japanese ones.
            Family::Escapes => self.is_html && !self.is_japanese() && has_shift(octets),
            Family::Ascii => self.has_designation(octets),
            Family::Utf16 | Family::Alien => false,
        };
    }

    fn is_japanese(&self) -> bool {
        self.label.contains("jp") || self.label.contains("5022") || self.label.contains("jis")
    }

    fn has_designation(&mut self, octets: &[u8]) -> bool {
        if !self.tail.is_empty() {
            self.tail.extend_from_slice(&octets[..octets.len().min(2)]);
        }
        let found = self.tail.len() > 2 && is_designation(&self.tail[1..])
            || memchr_iter(0x1b, octets).any(|at| octets.len() - at > 2 && is_designation(&octets[at + 1..]));
        let end = &octets[octets.len().saturating_sub(2)..];
        match memrchr(0x1b, end) {
            Some(at) => self.tail = end[at..].to_vec(),
            None if self.tail.len() > 2 => self.tail.clear(),
            None => {}
        }
        found
    }
}

/// Whether a document that names this charset can be other text to those that believe it.
pub(super) fn hides_by_name(label: &str) -> bool {
    matches!(Family::of(&label.trim().to_ascii_lowercase()), Family::Utf7 | Family::Alien)
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

/// Whether the octets switch to double-octet characters: by an escape, a shift, or in HZ's way.
fn has_shift(octets: &[u8]) -> bool {
    memchr::memchr2(0x1b, 0x0e, octets).is_some() || memmem::find(octets, b"~{").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(label: Option<&str>, text: &[u8], cut: usize) -> (String, bool, bool) {
        let mut charset = Charset::new(label, true);
        let mut seen = Vec::new();
        let mut sink = |text: &[u8], _: Unit| seen.extend_from_slice(text);
        text.chunks(cut.max(1)).for_each(|piece| charset.convert(piece, false, &mut sink));
        charset.convert(b"", true, &mut sink);
        (String::from_utf8_lossy(&seen).into_owned(), charset.hides_text(), charset.keeps_places())
    }

    fn hides(label: Option<&str>, text: &[u8]) -> bool {
        read(label, text, 3).1
    }

    #[test]
    fn doubts_charsets_that_hide_text() {
        for label in ["UTF-7", "unicode-1-1-utf-7", "x-imap4-modified-utf7", "csUnicode11UTF7"] {
            assert!(hides(Some(label), b"a +AGE-"), "{label}");
            assert!(!hides(Some(label), b"not delivered"), "{label}");
        }
        assert!(hides(Some("utf-16"), b"a\0b\0"));
        assert!(hides(Some("utf-16le"), b"a\0b\0"));
        assert!(hides(Some("us-ascii"), b"ab\x1b$B..."));
        assert!(hides(None, b"ab\x1b(J"));
        assert!(!hides(Some("utf-16"), b"\xff\xfea\0b\0"));
        assert!(!hides(Some("ISO-2022-JP"), b"\x1b$B..."));
        assert!(!hides(Some("cp50221"), b"\x1b$B..."));
        assert!(!hides(Some("utf-8"), b"colour \x1b[1m"));
        assert!(!hides(Some("utf-16"), b""));
        assert!(!hides(None, b"plain"));
        for lead in ["", "a", "ab", "abc"] {
            assert!(!hides(None, format!("{lead}\x1b(B\x1b[m").as_bytes()));
            assert!(!hides(None, format!("{lead}\x1b").as_bytes()));
            for tail in ["", "x", "xy"] {
                assert!(hides(None, format!("{lead}\x1b$B{tail}").as_bytes()));
                assert!(hides(None, format!("{lead}\x1b${tail}").as_bytes()));
            }
        }
    }

    #[test]
    fn doubts_charsets_without_ascii() {
        for label in
            ["utf-32", "UTF-32LE", "ibm037", "cp037", "IBM-1047", "ebcdic-cp-us", "cp1140", "csIBM500"]
        {
            assert!(hides(Some(label), b"\x4c\x81@"), "{label}");
        }
        for label in
            ["ibm850", "cp437", "cp1252", "windows-1252", "x-unknown", "iso-8859-15", "koi8-r", "gb18030"]
        {
            assert!(!hides(Some(label), b"\x4c\x81@abc"), "{label}");
        }
    }

    #[test]
    fn doubts_a_mark_against_the_name() {
        assert!(hides(Some("utf-8"), b"\xff\xfea\0b\0"));
        assert!(hides(None, b"\xfe\xff\0a"));
        assert!(hides(Some("utf-16"), b"\xff\xfe\0\0a\0\0\0"));
        assert_eq!(read(Some("utf-8"), b"\xff\xfea\0b\0", 9).0, "\u{feff}ab");
    }

    #[test]
    fn doubts_shifts_that_it_does_not_read() {
        assert!(hides(Some("iso-2022-kr"), b"<p>\x0e!!\x0f"));
        assert!(hides(Some("hz-gb-2312"), b"~{!!~}"));
        assert!(!hides(Some("iso-2022-kr"), b"<p>"));
        let mut plain = Charset::new(Some("iso-2022-kr"), false);
        plain.convert(b"\x1b$)C\x0e!!\x0f", true, &mut |_, _| {});
        assert!(!plain.hides_text());
    }

    #[test]
    fn reads_what_readers_see() {
        assert_eq!(read(Some("iso-8859-1"), b"caf\xe9", 1), ("café".into(), false, true));
        assert_eq!(read(Some("utf-16"), b"\xfe\xff\0<\0a", 3), ("\u{feff}<a".into(), false, true));
        assert_eq!(read(Some("shift_jis"), b"\x83\x5c<", 1), ("ソ<".into(), false, false));
        assert_eq!(read(Some("iso-2022-jp"), b"\x1b$B$\"\x1b(B<", 2), ("あ<".into(), false, false));
        assert_eq!(read(Some("us-ascii"), "é".as_bytes(), 1), ("é".into(), false, true));
        assert_eq!(read(Some("x-nonsense"), "é".as_bytes(), 1), ("é".into(), false, true));
    }

    proptest! {
        #[test]
        fn reads_the_same_for_any_cut(
            label in "(utf-8|utf-16|utf-16be|shift_jis|gb18030|iso-2022-jp|koi8-r|utf-7|iso-2022-kr|)",
            text in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0x1b), Just(b'$'), Just(b'+')], 0..60),
            cut in 1_usize..60,
        ) {
            prop_assert_eq!(read(Some(&label), &text, cut), read(Some(&label), &text, 60));
        }
    }
}
