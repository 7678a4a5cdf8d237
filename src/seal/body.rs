//! The body hash `bh` (SEAL.md §4): BLAKE3 over the body canonicalised as RFC 6376 §3.4.3 (simple).

use std::borrow::Cow;

/// The body with its trailing empty lines reduced to one CR LF, which an empty body has too.
pub fn canonical(body: &[u8]) -> Cow<'_, [u8]> {
    let end = content_end(body);
    match body.get(end..end + 2) {
        Some(_) => Cow::Borrowed(&body[..end + 2]),
        None => Cow::Owned([&body[..end], b"\r\n"].concat()),
    }
}

/// The body hash of a whole body.
pub fn hash(body: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(&body[..content_end(body)]).update(b"\r\n").finalize()
}

/// Where the body ends without its final line end and trailing empty lines.
fn content_end(body: &[u8]) -> usize {
    let mut end = body.len();
    while body[..end].ends_with(b"\r\n") {
        end -= 2;
    }
    end
}

/// The body hash of a message that is still coming in, so that at its end next to nothing is left to do.
#[derive(Debug, Default)]
pub struct ArrivingBody {
    hasher: blake3::Hasher,
    /// Offset of the body, once the header section is over.
    start: Option<usize>,
    /// Up to where the end of the header section was looked for.
    searched: usize,
    /// Up to where the message is hashed; what follows may yet turn out to be trailing empty lines.
    hashed: usize,
    /// Up to where all behind `hashed` is CR and LF.
    blank: usize,
}

/// Octets that must have come in before they are hashed: BLAKE3 is at its best on large pieces.
const STEP: usize = 128 << 10;

impl ArrivingBody {
    /// Looks at the message as far as it has come in; each time it begins with what was there before.
    pub fn see(&mut self, message: &[u8]) {
        if message.len().saturating_sub(self.hashed.max(self.searched)) < STEP || !self.find_start(message) {
            return;
        }
        let tail = self.blank.max(self.hashed);
        match message[tail..].iter().rposition(|octet| !matches!(octet, b'\r' | b'\n')) {
            Some(last) => {
                let end = tail + last + 1;
                self.hasher.update(&message[self.hashed..end]);
                self.hashed = end;
            }
            None => self.blank = message.len(),
        }
    }

    /// The hash, now that the message is complete and its body known to start at `body_start`.
    pub fn finish(mut self, message: &[u8], body_start: usize) -> blake3::Hash {
        if self.start != Some(body_start) {
            return hash(&message[body_start..]);
        }
        let rest = &message[self.hashed..];
        self.hasher.update(&rest[..content_end(rest)]).update(b"\r\n").finalize()
    }

    fn find_start(&mut self, message: &[u8]) -> bool {
        if self.start.is_none() {
            let from = self.searched.saturating_sub(3);
            self.start = memchr::memmem::find(&message[from..], b"\r\n\r\n").map(|at| from + at + 4);
            self.searched = message.len();
            self.hashed = self.start.unwrap_or(0);
        }
        self.start.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arriving(message: &[u8], pieces: &[usize]) -> blake3::Hash {
        let mut body = ArrivingBody::default();
        let mut at = 0;
        for piece in pieces.iter().cycle() {
            at = message.len().min(at + piece);
            body.see(&message[..at]);
            if at == message.len() {
                break;
            }
        }
        body.finish(message, crate::header::HeaderSection::parse(message).body_start)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn is_the_same_while_the_message_arrives(
            parts in proptest::collection::vec((prop_oneof!["a", "\r\n", "a\r\n", "\r\n\r\n"], 1_usize..90_000), 0..6),
            pieces in proptest::collection::vec(1_usize..200_000, 1..5),
            header in prop_oneof!["", "A: b\r\n\r\n", "\r\n", "A: b\r\n"],
        ) {
            let body: String = parts.iter().map(|(text, times)| text.repeat(*times)).collect();
            let message = (header + &body).into_bytes();
            let start = crate::header::HeaderSection::parse(&message).body_start;
            prop_assert_eq!(arriving(&message, &pieces), hash(&message[start..]));
        }
    }

    #[test]
    fn reduces_trailing_empty_lines_to_one() {
        for (body, form) in [
            ("", "\r\n"),
            ("\r\n\r\n", "\r\n"),
            ("a", "a\r\n"),
            ("a\r\n", "a\r\n"),
            ("a\r\n\r\n", "a\r\n"),
            ("\r\na \r\n", "\r\na \r\n"),
        ] {
            assert_eq!(canonical(body.as_bytes()), form.as_bytes(), "{body:?}");
            assert_eq!(hash(body.as_bytes()), blake3::hash(form.as_bytes()), "{body:?}");
        }
    }
}
