//! Encoded-words (RFC 2047) as one mail reader or another decodes them: also badly formed ones, and charsets in which ASCII
//! is not written as ASCII. What follows from them is what some reader might show, not what is right.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use memchr::memmem;

/// Longest encoded-word that is read, in octets; a line has no more than 998.
const MAX_WORD: usize = 2_048;

/// Most encoded-words that are read in one value.
const MAX_WORDS: usize = 1_000;

/// How many texts one encoded-word is read as.
const READINGS: usize = 3;

/// Encoded-words with nothing but blanks between them.
pub(super) struct Run {
    /// Offset just after them.
    pub(super) end: usize,
    /// What readers may show.
    pub(super) texts: [String; READINGS],
    /// Whether every charset is one that we decode.
    pub(super) is_decoded: bool,
}

/// A value with its encoded-words decoded.
pub(crate) struct Decoded {
    /// What readers may show.
    pub(crate) texts: [String; READINGS],
    /// Whether all that there was to decode was decoded.
    pub(crate) is_complete: bool,
}

/// A value with its encoded-words decoded in each way; `None` where it holds none.
pub(crate) fn decoded(value: &[u8]) -> Option<Decoded> {
    memmem::find(value, b"=?")?;
    let mut texts: [Vec<u8>; READINGS] = Default::default();
    let (mut at, mut runs, mut is_complete) = (0, 0, true);
    while let Some(found) = memmem::find(&value[at..], b"=?") {
        let start = at + found;
        texts.iter_mut().for_each(|text| text.extend_from_slice(&value[at..start]));
        runs += 1;
        if runs > MAX_WORDS {
            return Some(Decoded { texts: texts.map(|text| lossy(&text)), is_complete: false });
        }
        at = match run_at(value, start) {
            Some(run) => {
                is_complete &= run.is_decoded;
                texts.iter_mut().zip(&run.texts).for_each(|(text, word)| text.extend(word.as_bytes()));
                run.end
            }
            None => {
                texts.iter_mut().for_each(|text| text.extend_from_slice(b"=?"));
                start + 2
            }
        };
    }
    texts.iter_mut().for_each(|text| text.extend_from_slice(&value[at..]));
    Some(Decoded { texts: texts.map(|text| lossy(&text)), is_complete })
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// The encoded-words that begin at `at`, those that follow after blanks included.
pub(super) fn run_at(value: &[u8], at: usize) -> Option<Run> {
    let mut word = Word::at(value, at)?;
    let mut run = Run { end: word.end, texts: Default::default(), is_decoded: true };
    loop {
        let behind = &value[run.end..];
        let blanks = behind.iter().take_while(|octet| matches!(octet, b' ' | b'\t' | b'\r' | b'\n')).count();
        let next = Word::at(value, run.end + blanks);
        let goes_on = next.as_ref().is_some_and(|next| next.charset.eq_ignore_ascii_case(word.charset));
        match next {
            // A character may be cut in two by the end of a word.
            Some(next) if goes_on => {
                word.octets.extend(next.octets);
                word.base64.extend(next.base64);
                run.end = next.end;
            }
            next => {
                run.is_decoded &= word.decode(&mut run.texts);
                let Some(next) = next else { return Some(run) };
                run.end = next.end;
                word = next;
            }
        }
    }
}

/// One encoded-word.
struct Word<'a> {
    charset: &'a [u8],
    octets: Vec<u8>,
    /// What it is written in, if that is base64: some readers join words before they decode them.
    base64: Vec<u8>,
    end: usize,
}

impl<'a> Word<'a> {
    fn at(value: &'a [u8], at: usize) -> Option<Self> {
        let text = value.get(at..)?;
        let text = text[..text.len().min(MAX_WORD)].strip_prefix(b"=?")?;
        let mut parts = text.splitn(3, |&octet| octet == b'?');
        let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let is_name = !charset.is_empty() && charset.iter().all(u8::is_ascii_graphic);
        let payload = &rest[..memmem::find(rest, b"?=")?];
        let (octets, base64) = match encoding {
            b"b" | b"B" => (base64(payload), payload.to_vec()),
            b"q" | b"Q" => (quoted(payload), Vec::new()),
            _ => return None,
        };
        let end = at + 2 + charset.len() + 1 + encoding.len() + 1 + payload.len() + 2;
        // RFC 2231 §5: a language may follow the charset.
        let charset = charset.split(|&octet| octet == b'*').next().unwrap_or_default();
        is_name.then_some(Self { charset, octets, base64, end })
    }

    /// Appends what readers make of it; returns whether the charset is known.
    fn decode(&self, texts: &mut [String; READINGS]) -> bool {
        let octets = self.octets.as_slice();
        let charset = self.charset.to_ascii_lowercase();
        let is_like = |start: &str| charset.starts_with(start.as_bytes());
        let [first, second, bare] = texts;
        bare.push_str(&ascii_within(octets));
        if is_like("utf-16") || is_like("ucs-2") || is_like("iso-10646-ucs-2") || charset == b"unicode" {
            first.push_str(&UTF_16BE.decode_without_bom_handling(octets).0);
            second.push_str(&UTF_16LE.decode_without_bom_handling(octets).0);
            return true;
        }
        if memmem::find(&charset, b"utf-7").is_some() || memmem::find(&charset, b"unicode11utf7").is_some() {
            first.push_str(&utf_7(octets, b'+'));
            second.push_str(&utf_7(octets, b'&'));
            return true;
        }
        // Their ASCII is ASCII, between escape sequences.
        let is_plain = ["utf-32", "ucs-4", "iso-10646-ucs-4", "iso-2022-"].into_iter().any(is_like);
        let encoding = Encoding::for_label_no_replacement(&charset);
        let text = |octets: &[u8]| match encoding {
            Some(encoding) => encoding.decode_without_bom_handling(octets).0.into_owned(),
            None => String::from_utf8_lossy(octets).into_owned(),
        };
        first.push_str(&text(octets));
        let joined = if self.base64.is_empty() { Vec::new() } else { base64(&self.base64) };
        second.push_str(&text(if joined.is_empty() { octets } else { &joined }));
        encoding.is_some() || is_plain
    }
}

/// Base64 as the most careless decoder reads it.
fn base64(payload: &[u8]) -> Vec<u8> {
    let (mut bits, mut count) = (0_u32, 0);
    let mut octets = Vec::with_capacity(payload.len());
    for value in payload.iter().copied().filter_map(base64_value) {
        (bits, count) = (bits << 6 | value, count + 6);
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count) as u8);
        }
    }
    octets
}

fn base64_value(octet: u8) -> Option<u32> {
    let value = match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b',' | b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

/// RFC 2047 §4.2, with whatever is no escape left as it is.
fn quoted(payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(payload.len());
    let mut rest = payload;
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).filter(|hex| *first == b'=' && hex.iter().all(u8::is_ascii_hexdigit));
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        octets.push(escaped.unwrap_or(if *first == b'_' { b' ' } else { *first }));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    octets
}

/// UTF-7 (RFC 2152), or with `&` that of IMAP (RFC 3501 §5.1.3).
fn utf_7(octets: &[u8], shift: u8) -> String {
    let mut text = String::with_capacity(octets.len());
    let mut rest = octets;
    while let [first, after @ ..] = rest {
        if *first != shift {
            text.push(char::from(*first));
            rest = after;
            continue;
        }
        // `-` ends what is encoded, and is none of it.
        let is_encoded = |octet: &u8| *octet != b'-' && base64_value(*octet).is_some();
        let length = after.iter().take_while(|octet| is_encoded(octet)).count();
        let behind = &after[length..];
        match length {
            0 => text.push(char::from(shift)),
            _ => text.push_str(&UTF_16BE.decode_without_bom_handling(&base64(&after[..length])).0),
        }
        rest = behind.strip_prefix(b"-").unwrap_or(behind);
    }
    text
}

/// The printable ASCII among the octets, without the escape sequences of ISO 2022: what is left of UTF-16 and UTF-32, of
/// ISO-2022-JP, and of anything that control characters are strewn into.
fn ascii_within(octets: &[u8]) -> String {
    let printable = without_escapes(octets).into_iter().filter(|octet| matches!(octet, b' '..=b'~'));
    printable.map(char::from).collect()
}

/// The octets without the escape sequences of ISO 2022.
pub(super) fn without_escapes(octets: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != 0x1b {
            kept.push(*first);
            continue;
        }
        let intermediate = after.iter().take_while(|octet| matches!(octet, b' '..=b'/')).count();
        let is_sequence = intermediate > 0 && matches!(after.get(intermediate), Some(b'0'..=b'~'));
        rest = if is_sequence { &after[intermediate + 1..] } else { after };
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_reading_has_the_text() {
        for word in [
            "=?utf-8?q?a=40example.org?=",
            "=?UTF-8*en?Q?a@example.org?=",
            "=?utf-8?b?YUBleGFtcGxlLm9yZw==?=",
            "=?utf-8?b?YUBleGFtcGxlLm9yZw?=",
            "=?utf-8?b?YUBleGFt?= =?UTF-8?b?cGxlLm9yZw==?=",
            "=?utf-8?b?YUBleGFtc?=  =?utf-8?b?GxlLm9yZw==?=",
            "=?iso-2022-jp?q?=1B$B=3D=3D=1B(Ba@exam=1B(Jple.org?=",
            "=?iso-2022-kr?q?=1B$)Ca@exam=0Eple.org?=",
            "=?utf-16?q?=00a=00@=00e=00x=00a=00m=00p=00l=00e=00.=00o=00r=00g?=",
            "=?utf-16le?q?a=00@=00e=00x=00a=00m=00p=00l=00e=00.=00o=00r=00g=00?=",
            "=?utf-32?q?=00=00=00a=00=00=00@example.org?=",
            "=?utf-7?q?a+AEA-exam+AHA-le.org?=",
            "=?unicode-1-1-utf-7?b?YStBRUEtZXhhbXBsZS5vcmc=?=",
        ] {
            let found = decoded(word.as_bytes()).unwrap();
            assert!(
                found.texts.iter().any(|text| text.contains("a@example.org")),
                "{word}: {:?}",
                found.texts
            );
            assert!(found.is_complete, "{word}");
        }
        assert!(!decoded(b"=?cp037?q?=81=7C=85?=").unwrap().is_complete);
        assert!(decoded(b"a@example.org").is_none());
    }

    #[test]
    fn what_is_no_word_is_left() {
        for text in ["=?", "=?a", "a =?utf-8?x?b?= c", "=?utf-8?q?open", "=???=", "=? ?q?a?="] {
            assert_eq!(decoded(text.as_bytes()).unwrap().texts[0], text);
        }
    }

    #[test]
    fn many_words_are_no_burden() {
        let found = decoded("=?a?b?".repeat(150_000).as_bytes()).unwrap();
        assert!(!found.is_complete);
    }
}
