//! The octets between DATA and the final dot (RFC 5321 §4.5.2), both ways. Only CR LF . CR LF ends a message;
//! taking anything else for the end, or letting a bare CR or LF through, lets one message smuggle a second.

use memchr::{memchr2, memmem};
use thiserror::Error;

/// What is done with a message that holds a CR without LF or an LF without CR (RFC 5321 §2.3.8 forbids both).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareLineEnds {
    /// It is refused. The default.
    #[default]
    Refuse,
    /// Each bare CR or LF becomes CR LF.
    Normalize,
}

/// Why a message that was received to its end is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DataError {
    /// It holds a bare CR or LF, and those are refused.
    #[error("bare CR or LF in message")]
    BareLineEnd,
    /// It is larger than allowed.
    #[error("message too large")]
    MessageTooLarge,
    /// Its header section is larger than allowed.
    #[error("header section too large")]
    HeaderTooLarge,
    /// There was no memory for it in time.
    #[error("not enough memory for the message")]
    OutOfMemory,
}

/// Takes a message off the wire: undoes dot-stuffing and finds the end, however the octets are cut up.
#[derive(Debug)]
pub struct Receiver {
    state: State,
    message: Vec<u8>,
    size: u64,
    max_size: u64,
    bare_line_ends: BareLineEnds,
    error: Option<DataError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Behind CR LF, or at the very beginning.
    LineStart,
    /// Behind a dot that began the line; it is not part of the message.
    Dot,
    /// Behind such a dot and a CR.
    DotCr,
    /// Within a line.
    Text,
    /// Behind a CR within a line.
    Cr,
    /// Behind the final dot.
    End,
}

impl Receiver {
    /// Expects the first octet behind our 354. `max_size` counts octets as they stand after unstuffing.
    pub fn new(max_size: u64, bare_line_ends: BareLineEnds) -> Self {
        let (state, message, size, error) = (State::LineStart, Vec::new(), 0, None);
        Self { state, message, size, max_size, bare_line_ends, error }
    }

    /// Takes octets off the front of `input`; true once the message is complete. What follows the final dot
    /// stays in `input`: it is the client's next command.
    pub fn push(&mut self, input: &mut &[u8]) -> bool {
        while self.state != State::End && !input.is_empty() {
            match self.state {
                State::Text => *input = self.push_text(input),
                _ => self.push_line_end(input),
            }
        }
        self.state == State::End
    }

    /// Octets of the message so far, whether they were kept or not.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether nothing is kept any more.
    pub fn is_discarding(&self) -> bool {
        self.error.is_some()
    }

    /// The message as far as it has come in.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Throws away what there is; the rest is read to its end but not kept.
    pub fn discard(&mut self, error: DataError) {
        self.error.get_or_insert(error);
        self.message = Vec::new();
    }

    /// The complete message, or why it is not taken.
    pub fn finish(self, max_header_size: u64) -> Result<Vec<u8>, DataError> {
        match self.error {
            Some(error) => Err(error),
            None if !header_fits(&self.message, max_header_size) => Err(DataError::HeaderTooLarge),
            None => Ok(self.message),
        }
    }

    /// Takes text up to a line end that matters: whole lines at once, as long as no dot begins one.
    fn push_text<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let mut at = 0;
        while let Some(offset) = memchr2(b'\r', b'\n', &input[at..]) {
            let end = at + offset;
            match &input[end..] {
                [b'\r', b'\n', b'.', ..] | [b'\r', b'\n'] => {
                    self.store(&input[..end + 2]);
                    self.state = State::LineStart;
                    return &input[end + 2..];
                }
                [b'\r', b'\n', ..] => at = end + 2,
                [b'\r', ..] => {
                    self.store(&input[..end]);
                    self.state = State::Cr;
                    return &input[end + 1..];
                }
                _ => {
                    self.store(&input[..end]);
                    self.bare_line_end();
                    return &input[end + 1..];
                }
            }
        }
        self.store(input);
        &[]
    }

    /// Steps over one octet, or leaves it to the state that follows.
    fn push_line_end(&mut self, input: &mut &[u8]) {
        let (next, taken) = match (self.state, input[0]) {
            (State::LineStart, b'.') => (State::Dot, true),
            (State::Dot, b'\r') => (State::DotCr, true),
            (State::DotCr, b'\n') => (State::End, true),
            (State::Cr, b'\n') => {
                self.store(b"\r\n");
                (State::LineStart, true)
            }
            (State::DotCr | State::Cr, _) => {
                self.bare_line_end();
                (State::Text, false)
            }
            (state, _) => (if state == State::End { State::End } else { State::Text }, false),
        };
        self.state = next;
        *input = &input[usize::from(taken)..];
    }

    fn bare_line_end(&mut self) {
        match self.bare_line_ends {
            BareLineEnds::Refuse => self.discard(DataError::BareLineEnd),
            // What follows is no line start on the wire: a dot there is text, and is stuffed on its way out.
            BareLineEnds::Normalize => self.store(b"\r\n"),
        }
    }

    fn store(&mut self, text: &[u8]) {
        self.size += text.len() as u64;
        if self.size > self.max_size {
            self.discard(DataError::MessageTooLarge);
        }
        if self.error.is_none() {
            self.message.extend_from_slice(text);
        }
    }
}

/// Whether the empty line that ends the header section comes in time, or the whole message is that short.
fn header_fits(message: &[u8], max_size: u64) -> bool {
    let max_size = usize::try_from(max_size).unwrap_or(usize::MAX);
    message.len() <= max_size
        || message.starts_with(b"\r\n")
        || memmem::find(&message[..message.len().min(max_size.saturating_add(2))], b"\r\n\r\n").is_some()
}

/// A message as it goes over the wire: dots stuffed, a missing last CR LF added, the final dot at the end.
/// The slices are the message's own octets but for what is added; none is empty.
pub fn stuffed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    let mut pieces = pieces;
    let mut rest: &[u8] = b"";
    let mut line = Line::Start;
    let mut done = false;
    std::iter::from_fn(move || {
        while rest.is_empty() {
            match pieces.next() {
                Some(piece) => rest = piece,
                None if done => return None,
                None => {
                    done = true;
                    return Some(if line == Line::Start { &b".\r\n"[..] } else { b"\r\n.\r\n" });
                }
            }
        }
        if line == Line::Start && rest[0] == b'.' {
            line = Line::Text;
            return Some(b".");
        }
        let (slice, behind) = rest.split_at(next_stuffing(line, rest));
        rest = behind;
        line = line.after(slice);
        Some(slice)
    })
}

/// Where a stuffed line stands on the way out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Start,
    Text,
    Cr,
}

impl Line {
    fn after(self, slice: &[u8]) -> Self {
        match (self, slice) {
            (_, [.., b'\r', b'\n']) | (Line::Cr, [b'\n']) => Line::Start,
            (_, [.., b'\r']) => Line::Cr,
            _ => Line::Text,
        }
    }
}

/// How much of `text` goes out before the next dot must be added.
fn next_stuffing(line: Line, text: &[u8]) -> usize {
    if line == Line::Cr && text.starts_with(b"\n.") {
        return 1;
    }
    memmem::find(text, b"\r\n.").map_or(text.len(), |at| at + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn receive(wire: &[u8], cut: usize, ends: BareLineEnds) -> (Option<Result<Vec<u8>, DataError>>, Vec<u8>) {
        let mut receiver = Receiver::new(1 << 20, ends);
        for mut part in wire.chunks(cut.max(1)) {
            if receiver.push(&mut part) {
                let rest = wire[part.as_ptr() as usize - wire.as_ptr() as usize..].to_vec();
                return (Some(receiver.finish(1 << 20)), rest);
            }
        }
        (None, Vec::new())
    }

    /// RFC 5321 §4.5.2 said naively: split at CR LF, end at `.`, take one leading dot off.
    fn receive_naively(wire: &[u8]) -> Option<Result<Vec<u8>, DataError>> {
        let (mut message, mut bare, mut at) = (Vec::new(), false, 0);
        loop {
            let len = wire[at..].windows(2).position(|pair| pair == b"\r\n")?;
            let line = &wire[at..at + len];
            at += len + 2;
            if line == b"." {
                return Some(if bare { Err(DataError::BareLineEnd) } else { Ok(message) });
            }
            bare |= line.contains(&b'\r') || line.contains(&b'\n');
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            message.extend_from_slice(b"\r\n");
        }
    }

    fn send(message: &[u8], cut: usize) -> Vec<u8> {
        stuffed(message.chunks(cut.max(1))).flatten().copied().collect()
    }

    #[test]
    fn ends_at_crlf_dot_crlf_only() {
        for look_alike in [
            "\n.\n",
            "\r\n.\n",
            "\n.\r\n",
            "\r.\r",
            "\r.\r\n",
            "\r\n.\r",
            "\r\n.\r\r\n",
            "\r\n.\0\r\n",
            "\r\n. \r\n",
        ] {
            let wire = format!("a{look_alike}b\r\n.\r\nQUIT\r\n").into_bytes();
            for cut in 1..wire.len() {
                let (result, rest) = receive(&wire, cut, BareLineEnds::Refuse);
                assert_eq!(rest, b"QUIT\r\n", "{look_alike:?} in pieces of {cut}");
                assert_eq!(result, receive_naively(&wire), "{look_alike:?} in pieces of {cut}");
            }
        }
    }

    #[test]
    fn takes_short_messages() {
        for (wire, message) in [
            (&b".\r\n"[..], &b""[..]),
            (b"\r\n.\r\n", b"\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b".a\r\n.\r\n", b"a\r\n"),
            (b"a\r\n...\r\n.\r\n", b"a\r\n..\r\n"),
        ] {
            assert_eq!(receive(wire, 3, BareLineEnds::Refuse).0, Some(Ok(message.to_vec())));
        }
    }

    #[test]
    fn normalizes_if_told_to() {
        for (wire, message) in [
            (&b"a\nb\rc\r\n.\r\n"[..], &b"a\r\nb\r\nc\r\n"[..]),
            (b"a\n.\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
            (b"a\r\r\nb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
            (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
            (b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\n\r\n"),
        ] {
            for cut in 1..wire.len() {
                assert_eq!(receive(wire, cut, BareLineEnds::Normalize).0, Some(Ok(message.to_vec())));
            }
        }
    }

    #[test]
    fn reads_an_oversized_message_to_its_end() {
        let mut receiver = Receiver::new(4, BareLineEnds::Refuse);
        let mut wire = &b"abc\r\ndef\r\n.\r\nNOOP\r\n"[..];
        assert!(receiver.push(&mut wire));
        assert_eq!((wire, receiver.size(), receiver.message().len()), (&b"NOOP\r\n"[..], 10, 0));
        assert_eq!(receiver.finish(100), Err(DataError::MessageTooLarge));
    }

    #[test]
    fn measures_the_header_section() {
        for (message, max_size, fits) in [
            ("a: b\r\n\r\nbody", 6, true),
            ("a: b\r\n\r\nbody", 5, false),
            ("\r\nbody", 0, true),
            ("a: b\r\n", 6, true),
            ("a: b\r\nc: d\r\n", 6, false),
        ] {
            assert_eq!(header_fits(message.as_bytes(), max_size), fits, "{message:?} {max_size}");
        }
    }

    #[test]
    fn stuffs_exactly() {
        for (message, wire) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("a\r\n.\r\n\r\n", "a\r\n..\r\n\r\n.\r\n"),
            ("a\n.\n", "a\n.\n\r\n.\r\n"),
        ] {
            for cut in 1..8 {
                assert_eq!(send(message.as_bytes(), cut), wire.as_bytes(), "{message:?} in pieces of {cut}");
            }
        }
    }

    /// Octets that hit line ends and dots often.
    fn wire_octets() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a'), any::<u8>()],
            0..200,
        )
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_receiver(mut wire in wire_octets(), cut in 1usize..40) {
            wire.extend_from_slice(b"\r\n.\r\n");
            let (result, _) = receive(&wire, cut, BareLineEnds::Refuse);
            prop_assert_eq!(result, receive_naively(&wire));
        }

        #[test]
        fn what_was_stuffed_comes_back(lines in prop::collection::vec("[.a\u{0}-\u{9}\u{80}]{0,4}", 0..40), cut in 1usize..40, resend in 1usize..40) {
            let message: String = lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect();
            let wire = send(message.as_bytes(), resend);
            prop_assert_eq!(receive(&wire, cut, BareLineEnds::Refuse).0, Some(Ok(message.into_bytes())));
        }

        #[test]
        fn any_octets_leave_as_one_message(message in wire_octets(), cut in 1usize..40) {
            let wire = send(&message, cut);
            let (result, rest) = receive(&wire, 7, BareLineEnds::Normalize);
            prop_assert!(result.is_some(), "no end");
            prop_assert_eq!(rest, b"");
        }
    }
}
