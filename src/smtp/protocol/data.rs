//! The octets of a message on the wire, both ways: between DATA and the final dot (RFC 5321 §4.5.2), or in the chunks
//! of BDAT (RFC 3030). Only CR LF . CR LF ends the former; taking anything else for the end, or letting a bare CR or LF
//! through, lets one message smuggle a second.

use memchr::{memchr2, memmem};
use serde::Deserialize;
use thiserror::Error;

use crate::metrics::MessageRefusal;

/// What is done with a message that holds a CR without LF or an LF without CR (RFC 5321 §2.3.8 forbids both).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BareLineEnds {
    /// It is refused. The default.
    #[default]
    Refuse,
    /// Each bare CR or LF becomes CR LF.
    Normalize,
    /// They stay: the client declared `BODY=BINARYMIME`, and no line ends count (RFC 3030 §3). By BDAT only, and no setting.
    #[serde(skip)]
    Keep,
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
    /// The file for a message that is too large for memory could not be made or written.
    #[error("no room on disk for the message")]
    OutOfSpace,
    /// Messages in files, or those of this client, take all that they may.
    #[error("too many octets of messages on their way")]
    SpoolFull,
}

impl From<DataError> for MessageRefusal {
    fn from(error: DataError) -> Self {
        match error {
            DataError::BareLineEnd => Self::BareLineEnd,
            DataError::MessageTooLarge => Self::MessageTooLarge,
            DataError::HeaderTooLarge => Self::HeaderTooLarge,
            DataError::OutOfMemory => Self::OutOfMemory,
            DataError::OutOfSpace => Self::OutOfSpace,
            DataError::SpoolFull => Self::SpoolFull,
        }
    }
}

/// Takes a message off the wire, however the octets are cut up: undoes dot-stuffing and finds the end, or goes by the
/// sizes of chunks. It keeps nothing: the octets of the message go where the caller says.
#[derive(Debug)]
pub struct Receiver {
    state: State,
    /// Whether a dot at the start of a line means anything.
    dots: bool,
    size: u64,
    max_size: u64,
    bare_line_ends: BareLineEnds,
    error: Option<DataError>,
    /// Whether a line may begin with a dot.
    has_dots: bool,
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
    /// For DATA: expects the first octet behind our 354. `max_size` counts octets as they stand after unstuffing.
    pub fn for_data(max_size: u64, bare_line_ends: BareLineEnds) -> Self {
        let (state, has_dots) = (State::LineStart, bare_line_ends != BareLineEnds::Refuse);
        Self { state, dots: true, size: 0, max_size, bare_line_ends, error: None, has_dots }
    }

    /// For BDAT: expects the octets of the chunks, one after the other.
    pub fn for_chunks(max_size: u64, bare_line_ends: BareLineEnds) -> Self {
        Self { dots: false, has_dots: true, ..Self::for_data(max_size, bare_line_ends) }
    }

    /// Takes octets off the front of `input` and adds those of the message to `message`; true once it is complete,
    /// which only DATA can tell. What follows the final dot stays in `input`: it is the client's next command.
    pub fn push(&mut self, input: &mut &[u8], message: &mut Vec<u8>) -> bool {
        if self.bare_line_ends == BareLineEnds::Keep {
            self.store(std::mem::take(input), message);
        }
        while self.state != State::End && !input.is_empty() {
            match self.state {
                State::Text => *input = self.push_text(input, message),
                _ => self.push_line_end(input, message),
            }
        }
        self.state == State::End
    }

    /// The last chunk is over: a CR at its end stays without its LF.
    pub fn end_chunks(&mut self, message: &mut Vec<u8>) {
        if self.state == State::Cr {
            self.bare_line_end(message);
        }
        self.state = State::End;
    }

    /// Whether a line of the message may begin with a dot; if not, nobody need look for one on its way out.
    pub fn may_have_dots(&self) -> bool {
        self.has_dots
    }

    /// Whether the message may hold a bare CR or LF: then it can go out in chunks only.
    pub fn may_have_bare_line_ends(&self) -> bool {
        self.bare_line_ends == BareLineEnds::Keep
    }

    /// Octets of the message so far, whether they were kept or not.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Why the message will not be taken; from then on nothing of it goes anywhere.
    pub fn error(&self) -> Option<DataError> {
        self.error
    }

    /// Reads the rest to its end but keeps nothing of it.
    pub fn discard(&mut self, error: DataError) {
        self.error.get_or_insert(error);
    }

    /// Takes text up to a line end that matters: whole lines at once, as long as no dot begins one.
    fn push_text<'a>(&mut self, input: &'a [u8], message: &mut Vec<u8>) -> &'a [u8] {
        let mut at = 0;
        while let Some(offset) = memchr2(b'\r', b'\n', &input[at..]) {
            let end = at + offset;
            match &input[end..] {
                [b'\r', b'\n'] => {
                    self.store(input, message);
                    self.state = State::LineStart;
                    return &[];
                }
                [b'\r', b'\n', b'.', ..] if self.dots => {
                    self.store(&input[..end + 2], message);
                    self.state = State::LineStart;
                    return &input[end + 2..];
                }
                [b'\r', b'\n', ..] => at = end + 2,
                [b'\r', ..] => {
                    self.store(&input[..end], message);
                    self.state = State::Cr;
                    return &input[end + 1..];
                }
                _ => {
                    self.store(&input[..end], message);
                    self.bare_line_end(message);
                    return &input[end + 1..];
                }
            }
        }
        self.store(input, message);
        &[]
    }

    /// Steps over one octet, or leaves it to the state that follows.
    fn push_line_end(&mut self, input: &mut &[u8], message: &mut Vec<u8>) {
        let (next, taken) = match (self.state, input[0]) {
            (State::LineStart, b'.') if self.dots => (State::Dot, true),
            (State::Dot, b'\r') => (State::DotCr, true),
            (State::DotCr, b'\n') => (State::End, true),
            (State::Cr, b'\n') => {
                self.store(b"\r\n", message);
                (State::LineStart, true)
            }
            (State::Dot, _) => {
                // The client stuffed it, or should have: the line begins with what follows, a dot perhaps.
                self.has_dots = true;
                (State::Text, false)
            }
            (State::DotCr | State::Cr, _) => {
                self.bare_line_end(message);
                (State::Text, false)
            }
            (state, _) => (if state == State::End { State::End } else { State::Text }, false),
        };
        self.state = next;
        *input = &input[usize::from(taken)..];
    }

    fn bare_line_end(&mut self, message: &mut Vec<u8>) {
        match self.bare_line_ends {
            BareLineEnds::Refuse => self.discard(DataError::BareLineEnd),
            // What follows is no line start on the wire: a dot there is text, and is stuffed on its way out.
            BareLineEnds::Normalize | BareLineEnds::Keep => self.store(b"\r\n", message),
        }
    }

    fn store(&mut self, text: &[u8], message: &mut Vec<u8>) {
        self.size += text.len() as u64;
        if self.size > self.max_size {
            self.discard(DataError::MessageTooLarge);
        }
        if self.error.is_none() {
            message.extend_from_slice(text);
        }
    }
}

/// Whether a message holds a CR without LF or an LF without CR.
pub fn has_bare_line_ends(message: &[u8]) -> bool {
    let mut rest = message;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        match &rest[at..] {
            [b'\r', b'\n', behind @ ..] => rest = behind,
            _ => return true,
        }
    }
    false
}

/// Stuffs the dots of a message on its way out, piece by piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stuffer {
    line: Line,
    /// No line begins with a dot.
    is_plain: bool,
}

/// Where a stuffed line stands on the way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Start,
    Text,
    Cr,
}

/// Pieces of a message as they go over the wire. The slices are the message's own octets but for the dots; none is
/// empty.
pub fn stuffed<'a>(
    stuffer: &mut Stuffer,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    let mut pieces = pieces;
    let mut rest: &[u8] = b"";
    std::iter::from_fn(move || {
        while rest.is_empty() {
            rest = pieces.next()?;
        }
        Some(stuffer.next_slice(&mut rest))
    })
}

/// The same for the last pieces, with what ends the message: the final dot, and before it the CR LF that the last line
/// may lack.
pub fn stuffed_to_end<'a>(
    stuffer: &mut Stuffer,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    let mut pieces = pieces;
    let mut rest: &[u8] = b"";
    let mut done = false;
    std::iter::from_fn(move || {
        while rest.is_empty() {
            match pieces.next() {
                Some(piece) => rest = piece,
                None if done => return None,
                None => {
                    done = true;
                    return Some(if stuffer.line == Line::Start { &b".\r\n"[..] } else { b"\r\n.\r\n" });
                }
            }
        }
        Some(stuffer.next_slice(&mut rest))
    })
}

impl Stuffer {
    /// For a message in which no line begins with a dot.
    pub fn for_plain() -> Self {
        Self { is_plain: true, ..Self::default() }
    }

    /// Whether octets need only be sent as they are.
    pub fn is_idle(&self) -> bool {
        self.is_plain
    }

    /// Whole lines went out elsewhere.
    pub fn skip_lines(&mut self) {
        self.line = Line::Start;
    }

    /// Takes the next slice off the front of `rest`, which is not empty, or a dot that must come first.
    fn next_slice<'a>(&mut self, rest: &mut &'a [u8]) -> &'a [u8] {
        if self.line == Line::Start && rest[0] == b'.' {
            self.line = Line::Text;
            return b".";
        }
        let end = if self.is_plain { rest.len() } else { next_stuffing(self.line, rest) };
        let (slice, behind) = rest.split_at(end);
        *rest = behind;
        self.line = self.line.after(slice);
        slice
    }
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
        let mut receiver = Receiver::for_data(1 << 20, ends);
        let mut message = Vec::new();
        for mut part in wire.chunks(cut.max(1)) {
            if receiver.push(&mut part, &mut message) {
                assert!(receiver.may_have_dots() || !has_dots(&message));
                let rest = wire[part.as_ptr() as usize - wire.as_ptr() as usize..].to_vec();
                return (Some(receiver.error().map_or(Ok(message), Err)), rest);
            }
        }
        (None, Vec::new())
    }

    fn has_dots(message: &[u8]) -> bool {
        message.starts_with(b".") || memmem::find(message, b"\r\n.").is_some()
    }

    fn receive_chunks(wire: &[u8], cut: usize, ends: BareLineEnds) -> Result<Vec<u8>, DataError> {
        let mut receiver = Receiver::for_chunks(1 << 20, ends);
        let mut message = Vec::new();
        for mut part in wire.chunks(cut.max(1)) {
            assert!(!receiver.push(&mut part, &mut message));
            assert_eq!(part, b"");
        }
        receiver.end_chunks(&mut message);
        receiver.error().map_or(Ok(message), Err)
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
        let mut stuffer = Stuffer::default();
        let (start, end) = message.split_at(message.len() / 2);
        let mut wire: Vec<u8> = stuffed(&mut stuffer, start.chunks(cut.max(1))).flatten().copied().collect();
        wire.extend(stuffed_to_end(&mut stuffer, end.chunks(cut.max(1))).flatten());
        wire
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
        let mut receiver = Receiver::for_data(4, BareLineEnds::Refuse);
        let mut wire = &b"abc\r\ndef\r\n.\r\nNOOP\r\n"[..];
        let mut message = Vec::new();
        assert!(receiver.push(&mut wire, &mut message));
        assert_eq!((wire, receiver.size(), message.len()), (&b"NOOP\r\n"[..], 10, 0));
        assert_eq!(receiver.error(), Some(DataError::MessageTooLarge));
    }

    #[test]
    fn a_dot_is_nothing_in_a_chunk() {
        let text = b".\r\n..\r\n.\r\nQUIT\r\n";
        for cut in 1..text.len() {
            assert_eq!(receive_chunks(text, cut, BareLineEnds::Refuse).as_deref(), Ok(&text[..]));
        }
    }

    #[test]
    fn line_ends_count_in_chunks_too() {
        for (wire, normal) in [
            (&b"a\rb"[..], &b"a\r\nb"[..]),
            (b"a\nb", b"a\r\nb"),
            (b"\n", b"\r\n"),
            (b"a\r", b"a\r\n"),
            (b"a\r\r\n", b"a\r\n\r\n"),
        ] {
            for cut in 1..=wire.len() {
                assert_eq!(receive_chunks(wire, cut, BareLineEnds::Refuse), Err(DataError::BareLineEnd));
                assert_eq!(receive_chunks(wire, cut, BareLineEnds::Normalize).as_deref(), Ok(normal));
                assert_eq!(receive_chunks(wire, cut, BareLineEnds::Keep).as_deref(), Ok(wire));
            }
        }
    }

    #[test]
    fn finds_bare_line_ends() {
        for (message, has_some) in [
            (&b""[..], false),
            (b"a\r\n\r\nb", false),
            (b"a\nb", true),
            (b"a\rb", true),
            (b"a\r\r\n", true),
            (b"a\r\n\n", true),
            (b"a\r", true),
        ] {
            assert_eq!(has_bare_line_ends(message), has_some, "{}", message.escape_ascii());
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
