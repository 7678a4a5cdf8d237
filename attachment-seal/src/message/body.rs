//! The body hash `bh` (SPEC.md §5): BLAKE3 over the body canonicalised as RFC 6376 §3.4.3 (simple).

use std::borrow::Cow;

use super::line_ends;
use crate::message::header::EndSearch;

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
    body.len() - line_ends::trailing(body)
}

/// The body hash of a message that is still coming in, so that at its end next to nothing is left to do.
#[derive(Clone, Debug, Default)]
pub struct ArrivingBody {
    hasher: blake3::Hasher,
    header: EndSearch,
    /// Offset of the body, once the header section is over.
    start: Option<usize>,
    held_back: LineEnds,
}

/// What may yet turn out to be trailing empty lines: so many CR LF, and perhaps one CR more.
#[derive(Clone, Debug, Default)]
struct LineEnds {
    whole: usize,
    cr: bool,
}

impl ArrivingBody {
    /// Takes the next octets of the message. BLAKE3 is at its best if they are many.
    pub fn see(&mut self, octets: &[u8]) {
        let mut rest = octets;
        if self.start.is_none() {
            self.start = self.header.find(octets);
            let Some(start) = self.start else { return };
            rest = &octets[octets.len() - (self.header.searched() - start)..];
        }
        rest = self.held_back.take(rest);
        if rest.is_empty() {
            return;
        }
        self.held_back.drain(|line_ends| _ = self.hasher.update(line_ends));
        let cr = usize::from(rest.ends_with(b"\r"));
        let end = content_end(&rest[..rest.len() - cr]);
        self.hasher.update(&rest[..end]);
        self.held_back.take(&rest[end..]);
    }

    /// The hash, now that the message is complete; `None` if its body turns out to start elsewhere than we thought.
    pub fn finish(mut self, body_start: usize) -> Option<blake3::Hash> {
        let started = self.start.unwrap_or(self.header.searched());
        if self.held_back.cr {
            self.held_back.drain(|line_ends| _ = self.hasher.update(line_ends));
        }
        (started == body_start).then(|| self.hasher.update(b"\r\n").finalize())
    }
}

impl LineEnds {
    /// Takes as many line ends off the front as follow on what is held back.
    fn take<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let mut rest = octets;
        if self.cr {
            let Some(behind) = rest.strip_prefix(b"\n") else { return rest };
            (*self, rest) = (Self { whole: self.whole + 1, cr: false }, behind);
        }
        let (whole, behind) = rest.split_at(line_ends::leading(rest));
        self.whole += whole.len() / 2;
        let after_cr = behind.strip_prefix(b"\r");
        self.cr = after_cr.is_some();
        after_cr.unwrap_or(behind)
    }

    /// Gives all of it out, in order.
    fn drain(&mut self, mut out: impl FnMut(&[u8])) {
        line_ends::repeat(std::mem::take(&mut self.whole), &mut out);
        if std::mem::take(&mut self.cr) {
            out(b"\r");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arriving(message: &[u8], pieces: &[usize]) -> Option<blake3::Hash> {
        let mut body = ArrivingBody::default();
        let mut rest = message;
        for piece in pieces.iter().cycle() {
            let (seen, behind) = rest.split_at(rest.len().min(*piece));
            body.see(seen);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        body.finish(crate::message::header::HeaderSection::parse(message).body_start)
    }

    proptest! {
        #[test]
        fn is_the_same_while_the_message_arrives(
            parts in proptest::collection::vec((prop_oneof!["a", "\r\n", "a\r\n", "\r", "\n"], 1_usize..2_000), 0..6),
            pieces in proptest::collection::vec(prop_oneof![1_usize..4, 1_usize..2_000], 1..5),
            header in prop_oneof!["", "A: b\r\n\r\n", "\r\n", "A: b\r\n"],
        ) {
            let body: String = parts.iter().map(|(text, times)| text.repeat(*times)).collect();
            let message = (header + &body).into_bytes();
            let start = crate::message::header::HeaderSection::parse(&message).body_start;
            let arrived = arriving(&message, &pieces);
            // Line ends that SMTP knows no more than a header section does may hide where the body starts.
            prop_assert!(arrived.is_none_or(|arrived| arrived == hash(&message[start..])));
            let is_clean = String::from_utf8_lossy(&message).replace("\r\n", "").find(['\r', '\n']).is_none();
            prop_assert!(arrived.is_some() || !is_clean);
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
