//! Transfer encodings (RFC 2045 §6) removed in windows, so that no attachment is ever held decoded as a whole.
//! Decoding never fails: what decoders would read differently is a doubt, and some reading of it is given.

use encodify::base64;
use memchr::{memchr, memchr2};

use super::leaf::Encoding;
use crate::doubt::{Doubt, Doubts};

/// Octets of a body that are decoded at once.
pub const WINDOW: usize = 256 << 10;

/// Decodes bodies; keeps its buffers from one leaf to the next.
#[derive(Debug, Default)]
pub struct Decoder {
    decoded: Vec<u8>,
    symbols: Vec<u8>,
}

impl Decoder {
    /// Hands the decoded octets of `body` to `sink`, a window at a time, and returns the doubts met.
    pub fn decode(&mut self, body: &[u8], encoding: Encoding, sink: &mut impl FnMut(&[u8])) -> Doubts {
        match encoding {
            Encoding::Base64 => self.decode_base64(body, sink),
            Encoding::QuotedPrintable => self.decode_quoted_printable(body, sink),
            Encoding::SevenBit | Encoding::EightBit | Encoding::Unknown => pass(body, encoding, sink),
            Encoding::Binary => {
                body.chunks(WINDOW).for_each(sink);
                Doubts::NONE
            }
        }
    }

    fn decode_base64(&mut self, body: &[u8], sink: &mut impl FnMut(&[u8])) -> Doubts {
        let mut doubts = Doubts::NONE;
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
            doubts.insert_if(memchr2(0x0b, 0x0c, text).is_some(), Doubt::BadBase64);
            let blanks = count_up_to_space(text);
            symbols += text.len() - blanks;
            let aligned = if carried.is_empty() && (text.len() - blanks).is_multiple_of(4) {
                text
            } else {
                carried = self.align(&carried, text);
                &self.symbols
            };
            doubts.extend(decode_window(&mut self.decoded, aligned, sink));
            at += text.len();
            if padding.is_some() {
                line_ends.look(body.get(at - text.len() + window.len()..).unwrap_or_default());
                break;
            }
        }
        if !carried.is_empty() {
            doubts.extend(decode_window(&mut self.decoded, &carried, sink));
        }
        // What follows the first padding can only be more of it.
        let padding = &body[at..];
        let only_padding = padding.iter().all(|octet| matches!(octet, b'=' | b' ' | b'\t' | b'\r' | b'\n'));
        let padding = padding.iter().filter(|&&octet| octet == b'=').count();
        let well_padded = matches!((symbols % 4, padding), (0, 0) | (2, 2) | (3, 1));
        let loose = has_loose_bits(&body[..at], symbols);
        doubts.insert_if(!only_padding || !well_padded || loose, Doubt::BadBase64);
        doubts.insert_if(line_ends.are_bare(), Doubt::BareLineEnd);
        doubts
    }

    /// Decodes a window into `self.decoded` and tells how many octets that made, if it is whole quanta in lines of one
    /// length, as encoders write it: then symbols and line ends are all there is, and no closer look is due.
    fn decode_regular(&mut self, text: &[u8]) -> Option<usize> {
        let columns = memchr(b'\n', text)? + 1;
        let length = base64::MIME.decode_slice(text, room(&mut self.decoded, text)).ok()?;
        let line_ends = text.chunks(columns).filter(|line| line.ends_with(b"\r\n")).count();
        (length % 3 == 0 && length / 3 * 4 + 2 * line_ends == text.len()).then_some(length)
    }

    /// Puts the symbols of `carried` and `window`, up to a multiple of four, into `self.symbols`; returns the rest.
    fn align(&mut self, carried: &[u8], window: &[u8]) -> Vec<u8> {
        self.symbols.clear();
        self.symbols.extend_from_slice(carried);
        self.symbols.extend(window.iter().filter(|octet| !matches!(octet, b' ' | b'\t' | b'\r' | b'\n')));
        let whole = self.symbols.len() / 4 * 4;
        self.symbols.split_off(whole)
    }

    fn decode_quoted_printable(&mut self, body: &[u8], sink: &mut impl FnMut(&[u8])) -> Doubts {
        let mut doubts = bare_line_ends(body);
        for window in windows_of_lines(body) {
            // A line longer than a window, cut anywhere: no encoder writes it (RFC 2045 §6.7 rule 5: 76 columns).
            doubts.insert_if(window.len() == WINDOW && window.last() != Some(&b'\n'), Doubt::BadQp);
            self.decoded.clear();
            let mut rest = window;
            while !rest.is_empty() {
                let line_end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                doubts.extend(decode_line(&rest[..line_end], &mut self.decoded));
                rest = &rest[line_end..];
            }
            sink(&self.decoded);
        }
        doubts
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
fn decode_window(decoded: &mut Vec<u8>, window: &[u8], sink: &mut impl FnMut(&[u8])) -> Doubts {
    match base64::MIME.decode_slice(window, room(decoded, window)) {
        Ok(length) => {
            sink(&decoded[..length]);
            Doubts::NONE
        }
        Err(_) => {
            let valid: Vec<u8> = window.iter().copied().filter(|&octet| is_base64(octet)).collect();
            let length = base64::MIME.decode_slice(&valid, decoded).unwrap_or(0);
            sink(&decoded[..length]);
            let mut doubts = Doubts::from(Doubt::BadBase64);
            doubts.insert_if(memchr(0, window).is_some(), Doubt::Nul);
            doubts
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
fn decode_line(line: &[u8], out: &mut Vec<u8>) -> Doubts {
    let mut doubts = Doubts::NONE;
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
            doubts.extend(raw_octets(&rest[..end], out));
            rest = &rest[end..];
            continue;
        }
        match rest.get(1..3).and_then(hex_octet) {
            Some(octet) => {
                out.push(octet);
                rest = &rest[3..];
            }
            None => {
                doubts.insert(Doubt::BadQp);
                out.push(b'=');
                rest = &rest[1..];
            }
        }
    }
    if !soft {
        out.extend_from_slice(line_end);
    }
    doubts
}

fn raw_octets(octets: &[u8], out: &mut Vec<u8>) -> Doubts {
    let mut doubts = Doubts::NONE;
    if octets.iter().any(|&octet| !matches!(octet, b'\t' | b' '..=b'~')) {
        let nul = memchr(0, octets).is_some();
        doubts.insert_if(nul, Doubt::Nul);
        // A bare CR has its own doubt, raised for the whole body.
        doubts.insert_if(
            octets.iter().any(|&octet| !matches!(octet, b'\t' | b'\r' | 0 | b' '..=b'~')),
            Doubt::BadQp,
        );
    }
    out.extend_from_slice(octets);
    doubts
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

/// Hands a 7bit or 8bit body on as it stands.
fn pass(body: &[u8], encoding: Encoding, sink: &mut impl FnMut(&[u8])) -> Doubts {
    let mut doubts = bare_line_ends(body);
    for window in body.chunks(WINDOW) {
        if encoding == Encoding::SevenBit {
            doubts.insert_if(memchr(0, window).is_some(), Doubt::Nul);
            doubts.insert_if(!window.is_ascii(), Doubt::EightBit);
        }
        sink(window);
    }
    doubts
}

/// Whether a CR or LF stands alone somewhere in `text`.
pub fn has_bare_line_end(text: &[u8]) -> bool {
    let mut line_ends = LineEnds::default();
    line_ends.look(text);
    line_ends.are_bare()
}

/// Looks for a CR or LF that stands alone, a window at a time.
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

fn bare_line_ends(body: &[u8]) -> Doubts {
    if has_bare_line_end(body) { Doubt::BareLineEnd.into() } else { Doubts::NONE }
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

    fn decoded(body: &[u8], encoding: Encoding) -> (Vec<u8>, Vec<&'static str>) {
        let mut out = Vec::new();
        let doubts = Decoder::default().decode(body, encoding, &mut |window| out.extend_from_slice(window));
        (out, doubts.iter().map(Doubt::code).collect())
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
                (b"Hello, world".to_vec(), vec![]),
                "{body:?}"
            );
        }
        for (body, text) in
            [("QQ==", "A"), ("QUI=\r\n", "AB"), ("QQ\r\n==\r\n", "A"), ("Q\r\nQ=\r\n=", "A"), ("", "")]
        {
            assert_eq!(
                decoded(body.as_bytes(), Encoding::Base64),
                (text.as_bytes().to_vec(), vec![]),
                "{body:?}"
            );
        }
    }

    #[test]
    fn doubts_base64_that_decoders_read_differently() {
        for (body, code) in [
            ("QUJD!", "bad-base64"),
            ("QUJ-", "bad-base64"),
            ("QUJDR", "bad-base64"),
            ("QUI", "bad-base64"),
            ("QR==", "bad-base64"),
            ("QUJ=", "bad-base64"),
            ("QQ=", "bad-base64"),
            ("QQ===", "bad-base64"),
            ("QUJD=", "bad-base64"),
            ("QUI==", "bad-base64"),
            ("QQ==QUJD", "bad-base64"),
            ("=QUJD", "bad-base64"),
            ("QUJD\x0bQUJD", "bad-base64"),
            ("QUJD\0", "nul"),
            ("QUJD\nQUJD", "bare-line-end"),
            ("QUJD\rQUJD", "bare-line-end"),
        ] {
            assert!(decoded(body.as_bytes(), Encoding::Base64).1.contains(&code), "{body:?}");
        }
    }

    #[test]
    fn decodes_quoted_printable() {
        for (body, text) in [
            ("a=3Db=c3=A4", "a=bä"),
            ("soft=\r\nbreak\r\nhard", "softbreak\r\nhard"),
            ("ends=", "ends"),
            ("white \t\r\nspace", "white\r\nspace"),
            ("kept=20\r\n", "kept \r\n"),
        ] {
            assert_eq!(
                decoded(body.as_bytes(), Encoding::QuotedPrintable),
                (text.as_bytes().to_vec(), vec![]),
                "{body:?}"
            );
        }
    }

    #[test]
    fn doubts_quoted_printable_that_decoders_read_differently() {
        for (body, code) in [
            ("a=zz", "bad-qp"),
            ("a=4", "bad-qp"),
            ("a==\r\n", "bad-qp"),
            ("a= \r\nb", "bad-qp"),
            ("a\x01", "bad-qp"),
            ("ä", "bad-qp"),
            ("a\0", "nul"),
            ("a\nb", "bare-line-end"),
            ("a\rb", "bare-line-end"),
        ] {
            assert_eq!(decoded(body.as_bytes(), Encoding::QuotedPrintable).1, [code], "{body:?}");
        }
    }

    #[test]
    fn passes_the_rest_as_it_stands() {
        assert_eq!(decoded("ä\0".as_bytes(), Encoding::Binary).1, [""; 0]);
        assert_eq!(decoded(b"a\nb", Encoding::Binary).1, [""; 0]);
        assert_eq!(decoded("ä".as_bytes(), Encoding::EightBit).1, [""; 0]);
        assert_eq!(decoded("ä".as_bytes(), Encoding::SevenBit).1, ["eight-bit"]);
        assert_eq!(decoded(b"a\0", Encoding::SevenBit).1, ["nul"]);
        assert_eq!(decoded(b"a\nb", Encoding::EightBit).1, ["bare-line-end"]);
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
            prop_assert_eq!(decoded(&wrapped, Encoding::Base64), (content, vec![]));
        }

        #[test]
        fn any_octets_decode_to_something(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            for encoding in [Encoding::Base64, Encoding::QuotedPrintable, Encoding::SevenBit] {
                decoded(&body, encoding);
            }
        }
    }
}
