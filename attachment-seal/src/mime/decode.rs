//! Transfer encodings (RFC 2045 §6) removed in windows, so that no attachment is ever held decoded as a whole.
//! Decoding never fails: what decoders would read differently is damage, and some reading of it is given.

use encodify::base64;
use memchr::{memchr, memchr2};

use super::leaf::Encoding;

/// Octets of a body that are decoded at once.
pub const WINDOW: usize = 256 << 10;

/// What decoders would read differently in one body: the first thing met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage(Option<&'static str>);

impl Damage {
    pub(super) fn note_if(&mut self, met: bool, what: &'static str) {
        if met {
            self.0.get_or_insert(what);
        }
    }

    fn and(&mut self, other: Self) {
        self.0 = self.0.or(other.0);
    }

    /// What it is, in words; `None` where every decoder reads the same.
    pub fn what(self) -> Option<&'static str> {
        self.0
    }
}

/// Octets over 127 under a label that promises none: a habit of honest programs, and no harm where the hash is a sealed one.
pub(crate) const EIGHT_BIT: &str = "an octet over 127 in a part declared 7bit";
const NUL: &str = "a NUL";
const BARE_LINE_END: &str = "a bare CR or LF";
const NO_BASE64: &str = "an octet that is no base64";

/// Decodes bodies; keeps its buffers from one leaf to the next.
#[derive(Debug, Default)]
pub struct Decoder {
    decoded: Vec<u8>,
    symbols: Vec<u8>,
}

impl Decoder {
    /// Hands the decoded octets of `body` to `sink`, a window at a time, and returns the damage met.
    pub fn decode(&mut self, body: &[u8], encoding: Encoding, sink: &mut impl FnMut(&[u8])) -> Damage {
        match encoding {
            Encoding::Base64 => self.decode_base64(body, sink),
            Encoding::QuotedPrintable => self.decode_quoted_printable(body, sink),
            Encoding::SevenBit | Encoding::EightBit | Encoding::Unknown => pass(body, encoding, sink),
            Encoding::Binary => {
                body.chunks(WINDOW).for_each(sink);
                Damage::default()
            }
        }
    }

    fn decode_base64(&mut self, body: &[u8], sink: &mut impl FnMut(&[u8])) -> Damage {
        let mut damage = Damage::default();
        let mut line_ends = LineEnds::default();
        let (mut symbols, mut at) = (0, 0);
        let mut carried = Vec::new();
        for (window, padding) in windows_up_to_padding(body) {
            if padding.is_none()
                && carried.is_empty()
                && !line_ends.after_cr
                && let Some(length) = self.decode_regular(window)
            {
                sink(&self.decoded[..length]);
                symbols += length / 3 * 4;
                at += window.len();
                continue;
            }
            let text = &window[..padding.unwrap_or(window.len())];
            line_ends.look(window);
            // Vertical tab and form feed are white space to our decoder and to few others.
            damage.note_if(memchr2(0x0b, 0x0c, text).is_some(), NO_BASE64);
            let blanks = count_up_to_space(text);
            symbols += text.len() - blanks;
            let aligned = if carried.is_empty() && (text.len() - blanks).is_multiple_of(4) {
                text
            } else {
                carried = self.align(&carried, text);
                &self.symbols
            };
            damage.and(decode_window(&mut self.decoded, aligned, sink));
            at += text.len();
            if padding.is_some() {
                line_ends.look(body.get(at - text.len() + window.len()..).unwrap_or_default());
                break;
            }
        }
        if !carried.is_empty() {
            damage.and(decode_window(&mut self.decoded, &carried, sink));
        }
        // What follows the first padding can only be more of it.
        let padding = &body[at..];
        let only_padding = padding.iter().all(|octet| matches!(octet, b'=' | b' ' | b'\t' | b'\r' | b'\n'));
        let padding = padding.iter().filter(|&&octet| octet == b'=').count();
        let well_padded = matches!((symbols % 4, padding), (0, 0) | (2, 2) | (3, 1));
        let loose = has_loose_bits(&body[..at], symbols);
        damage.note_if(!only_padding, "base64 that goes on after its padding");
        damage.note_if(!well_padded, "base64 with wrong padding");
        damage.note_if(loose, "base64 with bits set that belong to no octet");
        damage.note_if(line_ends.are_bare(), BARE_LINE_END);
        damage
    }

    /// Decodes a window into `self.decoded` and tells how many octets that made, if it is whole quanta in lines, as encoders
    /// write it: then symbols and line ends are all there is, and no closer look is due.
    fn decode_regular(&mut self, text: &[u8]) -> Option<usize> {
        memchr(b'\n', text)?;
        let length = base64::MIME.decode_slice(text, room(&mut self.decoded, text)).ok()?;
        (length % 3 == 0 && length / 3 * 4 + 2 * count_line_ends(text) == text.len()).then_some(length)
    }

    /// Puts the symbols of `carried` and `window`, up to a multiple of four, into `self.symbols`; returns the rest.
    fn align(&mut self, carried: &[u8], window: &[u8]) -> Vec<u8> {
        self.symbols.clear();
        self.symbols.extend_from_slice(carried);
        self.symbols.extend(window.iter().filter(|octet| !matches!(octet, b' ' | b'\t' | b'\r' | b'\n')));
        let whole = self.symbols.len() / 4 * 4;
        self.symbols.split_off(whole)
    }

    fn decode_quoted_printable(&mut self, body: &[u8], sink: &mut impl FnMut(&[u8])) -> Damage {
        let mut damage = bare_line_ends(body);
        // Some decoders drop a final `=`, others wait for the line that should follow.
        damage.note_if(body.ends_with(b"="), "a soft line break at the end");
        for window in windows_of_lines(body) {
            // A line longer than a window, cut anywhere: no encoder writes it (RFC 2045 §6.7 rule 5: 76 columns).
            damage.note_if(window.len() == WINDOW && window.last() != Some(&b'\n'), "an endless line");
            self.decoded.clear();
            let mut rest = window;
            while !rest.is_empty() {
                let line_end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                damage.and(decode_line(&rest[..line_end], &mut self.decoded));
                rest = &rest[line_end..];
            }
            sink(&self.decoded);
        }
        damage
    }
}

/// Room in `decoded` for what `text` may decode to. It only grows: clearing it for each window would cost more than
/// decoding a small one.
fn room<'a>(decoded: &'a mut Vec<u8>, text: &[u8]) -> &'a mut [u8] {
    let wanted = base64::MIME.decoded_len_estimate(text.len());
    if decoded.len() < wanted {
        decoded.resize(wanted, 0);
    }
    decoded
}

/// Decodes one window of base64, through `decoded`.
fn decode_window(decoded: &mut Vec<u8>, window: &[u8], sink: &mut impl FnMut(&[u8])) -> Damage {
    match base64::MIME.decode_slice(window, room(decoded, window)) {
        Ok(length) => {
            sink(&decoded[..length]);
            Damage::default()
        }
        Err(_) => {
            let valid: Vec<u8> = window.iter().copied().filter(|&octet| is_base64(octet)).collect();
            let length = base64::MIME.decode_slice(&valid, decoded).unwrap_or(0);
            sink(&decoded[..length]);
            Damage(Some(if memchr(0, window).is_some() { NUL } else { NO_BASE64 }))
        }
    }
}

/// Whether the last symbol holds bits that belong to no octet: they should be zero (RFC 4648 §3.5), and decoders that
/// check it refuse the rest.
fn has_loose_bits(text: &[u8], symbols: usize) -> bool {
    let last = text.iter().rfind(|octet| !octet.is_ascii_whitespace());
    let is_zero = |loose: &[u8]| last.is_none_or(|last| loose.contains(last));
    match symbols % 4 {
        2 => !is_zero(b"AQgw"),
        3 => !is_zero(b"AEIMQUYcgkosw048"),
        _ => false,
    }
}

fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/')
}

/// Decodes one line of quoted-printable (RFC 2045 §6.7), its line end included, onto `out`.
fn decode_line(line: &[u8], out: &mut Vec<u8>) -> Damage {
    let mut damage = Damage::default();
    let (text, line_end) = match line.strip_suffix(b"\r\n") {
        Some(text) => (text, &b"\r\n"[..]),
        None => line.strip_suffix(b"\n").map_or((line, &b""[..]), |text| (text, &b"\n"[..])),
    };
    // RFC 2045 §6.7 rule 3: white space at the end of a line was added on the way.
    let kept = text.iter().rposition(|octet| !matches!(octet, b' ' | b'\t')).map_or(0, |last| last + 1);
    let trailing_blanks = kept < text.len();
    let mut rest = &text[..kept];
    let soft = rest.last() == Some(&b'=') && !trailing_blanks;
    if soft {
        rest = &rest[..kept - 1];
    }
    while let Some(&first) = rest.first() {
        if first != b'=' {
            let end = memchr(b'=', rest).unwrap_or(rest.len());
            damage.and(raw_octets(&rest[..end], out));
            rest = &rest[end..];
            continue;
        }
        let escapes = take_escapes(rest, out);
        rest = &rest[escapes..];
        if escapes == 0 {
            damage.note_if(true, "a `=` without two hexadecimal digits");
            out.push(b'=');
            rest = &rest[1..];
        }
    }
    if !soft {
        out.extend_from_slice(line_end);
    }
    damage
}

fn raw_octets(octets: &[u8], out: &mut Vec<u8>) -> Damage {
    let mut damage = Damage::default();
    if octets.iter().any(|&octet| !matches!(octet, b'\t' | b' '..=b'~')) {
        damage.note_if(memchr(0, octets).is_some(), NUL);
        // A bare CR is noted for the whole body.
        let is_raw = |&octet: &u8| !matches!(octet, b'\t' | b'\r' | b' '..=b'~');
        damage.note_if(octets.iter().any(is_raw), "an octet that quoted-printable must encode");
    }
    out.extend_from_slice(octets);
    damage
}

/// Decodes the escapes that `text` begins with onto `out`; tells how many octets they are.
fn take_escapes(text: &[u8], out: &mut Vec<u8>) -> usize {
    let before = out.len();
    // Whole room at once, because some bodies are nothing but escapes.
    let likely = text.iter().skip(3).step_by(3).take_while(|&&octet| octet == b'=').count() + 1;
    out.resize(before + likely, 0);
    let escapes = out[before..].iter_mut().zip(text.chunks_exact(3));
    let decoded = escapes
        .map_while(|(octet, escape)| {
            *octet = hex_octet(&escape[1..])?;
            Some(())
        })
        .count();
    out.truncate(before + decoded);
    3 * decoded
}

fn hex_octet(digits: &[u8]) -> Option<u8> {
    let (high, low) = (HEX[usize::from(digits[0])], HEX[usize::from(digits[1])]);
    (high < 16 && low < 16).then_some(high << 4 | low)
}

/// The value of each octet as a hexadecimal digit; 16 for those that are none.
const HEX: [u8; 256] = {
    let mut values = [16; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit as usize] as usize] = digit;
        values[b"0123456789ABCDEF"[digit as usize] as usize] = digit;
        digit += 1;
    }
    values
};

/// Passes a 7bit or 8bit body on as it is.
fn pass(body: &[u8], encoding: Encoding, sink: &mut impl FnMut(&[u8])) -> Damage {
    let mut damage = bare_line_ends(body);
    if encoding == Encoding::SevenBit {
        damage.note_if(memchr(0, body).is_some(), NUL);
        damage.note_if(!body.is_ascii(), EIGHT_BIT);
    }
    body.chunks(WINDOW).for_each(sink);
    damage
}

/// Whether a CR or LF is alone somewhere in `text`.
pub fn has_bare_line_end(text: &[u8]) -> bool {
    let mut line_ends = LineEnds::default();
    line_ends.look(text);
    line_ends.are_bare()
}

/// Looks for a CR or LF that is alone, a window at a time.
#[derive(Default)]
struct LineEnds {
    after_cr: bool,
    bare: bool,
}

impl LineEnds {
    fn look(&mut self, window: &[u8]) {
        let ([first, ..], [.., last]) = (window, window) else { return };
        // Without a branch, so that the compiler makes vector code of it.
        let bare = window
            .iter()
            .zip(&window[1..])
            .fold(0, |bare, (octet, next)| bare | u8::from((*octet == b'\r') != (*next == b'\n')));
        self.bare |= bare != 0 || self.after_cr != (*first == b'\n');
        self.after_cr = *last == b'\r';
    }

    fn are_bare(&self) -> bool {
        self.bare || self.after_cr
    }
}

fn bare_line_ends(body: &[u8]) -> Damage {
    Damage(has_bare_line_end(body).then_some(BARE_LINE_END))
}

/// How many CR LFs there are.
fn count_line_ends(text: &[u8]) -> usize {
    let Some((_, behind)) = text.split_first() else { return 0 };
    let pairs = text.chunks(255).zip(behind.chunks(255));
    let count = |(some, next): (&[u8], &[u8])| {
        let is_line_end = |(octet, next): (&u8, &u8)| u8::from((*octet == b'\r') & (*next == b'\n'));
        usize::from(some.iter().zip(next).map(is_line_end).sum::<u8>())
    };
    pairs.map(count).sum()
}

/// How many octets are space or a control: in base64 that decodes, the white space.
fn count_up_to_space(text: &[u8]) -> usize {
    // Small sums of octets are what the compiler turns into vector code.
    text.chunks(255)
        .map(|chunk| usize::from(chunk.iter().map(|&octet| u8::from(octet <= b' ')).sum::<u8>()))
        .sum()
}

/// `text` in windows of whole lines; a line longer than a window is cut.
fn windows_of_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = if rest.len() <= WINDOW {
            rest.len()
        } else {
            memchr::memrchr(b'\n', &rest[..WINDOW]).map_or(WINDOW, |at| at + 1)
        };
        let (window, after) = rest.split_at(end);
        rest = after;
        Some(window)
    })
}

/// The same for base64, with the offset of the first padding in each. The lines before the one that holds it are a window
/// of their own: most bodies are regular up to there.
fn windows_up_to_padding(text: &[u8]) -> impl Iterator<Item = (&[u8], Option<usize>)> {
    windows_of_lines(text).flat_map(|window| {
        let padding = memchr(b'=', window);
        let last_line = padding.and_then(|at| memchr::memrchr(b'\n', &window[..at])).map_or(0, |at| at + 1);
        let (regular, last) = window.split_at(last_line);
        let regular = (!regular.is_empty()).then_some((regular, None));
        regular.into_iter().chain(std::iter::once((last, padding.map(|at| at - last_line))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(body: &[u8], encoding: Encoding) -> (Vec<u8>, Option<&'static str>) {
        let mut out = Vec::new();
        let damage = Decoder::default().decode(body, encoding, &mut |window| out.extend_from_slice(window));
        (out, damage.what())
    }

    #[test]
    fn decodes_base64_however_it_is_wrapped() {
        for body in [
            "SGVsbG8sIHdvcmxk",
            "SGVs\r\nbG8s\r\nIHdvcmxk\r\n",
            "S\r\nGVsbG8sIH\r\ndvcmxk",
            " SGVsbG8s\t\r\n\r\nIHdvcmxk\r\n\r\n",
        ] {
            assert_eq!(
                decoded(body.as_bytes(), Encoding::Base64),
                (b"Hello, world".to_vec(), None),
                "{body:?}"
            );
        }
        for (body, text) in
            [("QQ==", "A"), ("QUI=\r\n", "AB"), ("QQ\r\n==\r\n", "A"), ("Q\r\nQ=\r\n=", "A"), ("", "")]
        {
            assert_eq!(
                decoded(body.as_bytes(), Encoding::Base64),
                (text.as_bytes().to_vec(), None),
                "{body:?}"
            );
        }
    }

    #[test]
    fn notes_base64_that_decoders_read_differently() {
        for (body, code) in [
            ("QUJD!", "base64"),
            ("QUJ-", "base64"),
            ("QUJDR", "base64"),
            ("QUI", "base64"),
            ("QR==", "base64"),
            ("QUJ=", "base64"),
            ("QQ=", "base64"),
            ("QQ===", "base64"),
            ("QUJD=", "base64"),
            ("QUI==", "base64"),
            ("QQ==QUJD", "base64"),
            ("=QUJD", "base64"),
            ("QUJD\x0bQUJD", "base64"),
            ("QUJD\0", "NUL"),
            ("QUJD\nQUJD", "bare CR or LF"),
            ("QUJD\rQUJD", "bare CR or LF"),
        ] {
            assert!(
                decoded(body.as_bytes(), Encoding::Base64).1.is_some_and(|what| what.contains(code)),
                "{body:?}"
            );
        }
    }

    #[test]
    fn decodes_quoted_printable() {
        for (body, text) in [
            ("a=3Db=c3=A4", "a=bä"),
            ("soft=\r\nbreak\r\nhard", "softbreak\r\nhard"),
            ("white \t\r\nspace", "white\r\nspace"),
            ("kept=20\r\n", "kept \r\n"),
        ] {
            assert_eq!(
                decoded(body.as_bytes(), Encoding::QuotedPrintable),
                (text.as_bytes().to_vec(), None),
                "{body:?}"
            );
        }
    }

    #[test]
    fn notes_quoted_printable_that_decoders_read_differently() {
        for (body, what) in [
            ("a=zz", "two hexadecimal digits"),
            ("a=4", "two hexadecimal digits"),
            ("a==\r\n", "two hexadecimal digits"),
            ("a= \r\nb", "two hexadecimal digits"),
            ("ends=", "soft line break"),
            ("a\x01", "must encode"),
            ("ä", "must encode"),
            ("a\0", "NUL"),
            ("a\nb", "bare CR or LF"),
            ("a\rb", "bare CR or LF"),
        ] {
            let found = decoded(body.as_bytes(), Encoding::QuotedPrintable).1;
            assert!(found.is_some_and(|found| found.contains(what)), "{body:?}: {found:?}");
        }
    }

    #[test]
    fn passes_the_rest_as_it_stands() {
        assert_eq!(decoded("ä\0".as_bytes(), Encoding::Binary).1, None);
        assert_eq!(decoded(b"a\nb", Encoding::Binary).1, None);
        assert_eq!(decoded("ä".as_bytes(), Encoding::EightBit).1, None);
        assert_eq!(decoded("ä".as_bytes(), Encoding::SevenBit).1, Some(EIGHT_BIT));
        assert_eq!(decoded(b"a\0", Encoding::SevenBit).1, Some(NUL));
        assert_eq!(decoded(b"a\nb", Encoding::EightBit).1, Some(BARE_LINE_END));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn decodes_base64_of_any_size_and_line_length(
            content in proptest::collection::vec(any::<u8>(), 0..400), repeat in 1_usize..2000, columns in 1_usize..120,
        ) {
            let content: Vec<u8> = content.repeat(repeat);
            let encoded = base64::STANDARD.encode(&content);
            let wrapped: Vec<u8> = encoded.as_bytes().chunks(columns).flat_map(|line| [line, b"\r\n"].concat()).collect();
            prop_assert_eq!(decoded(&wrapped, Encoding::Base64), (content, None));
        }

        #[test]
        fn decodes_quoted_printable_escapes(content in proptest::collection::vec(any::<u8>(), 0..60), plain in any::<u64>()) {
            let is_plain = |(at, octet): (usize, &u8)| plain >> at & 1 == 1 && octet.is_ascii_alphanumeric();
            let encoded: String = content
                .iter()
                .enumerate()
                .map(|(at, octet)| if is_plain((at, octet)) { char::from(*octet).into() } else { format!("={octet:02X}") })
                .collect();
            prop_assert_eq!(decoded(encoded.as_bytes(), Encoding::QuotedPrintable), (content, None));
        }

        #[test]
        fn any_octets_decode_to_something(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            for encoding in [Encoding::Base64, Encoding::QuotedPrintable, Encoding::SevenBit] {
                decoded(&body, encoding);
            }
        }
    }
}
