//! mbox files (RFC 4155): a message at a time, each without its `From ` line, and none larger than allowed.

use std::io::{self, BufRead, Read};

use super::{Part, Unread};

/// The messages of an mbox file in their order.
#[derive(Debug)]
pub struct Mbox<R> {
    reader: R,
    max: u64,
    /// The line that was read last, and not yet given to a message; empty at the start and at the end.
    line: Vec<u8>,
    /// Offset just after it.
    offset: u64,
}

/// A line is read in pieces of this many octets; a `From ` line is shorter.
const PIECE: u64 = 8 << 10;

impl<R: BufRead> Mbox<R> {
    /// Reads from the start of a file; messages of more than `max` octets are passed over, and say so.
    pub fn new(reader: R, max: u64) -> Self {
        Self { reader, max, line: Vec::new(), offset: 0 }
    }

    /// Reads a line, or a piece of one. Gives its size.
    fn advance(&mut self) -> io::Result<usize> {
        self.line.clear();
        let size = self.reader.by_ref().take(PIECE).read_until(b'\n', &mut self.line)?;
        self.offset += size as u64;
        Ok(size)
    }

    fn read_part(&mut self) -> io::Result<Option<Part>> {
        if self.line.is_empty() && self.advance()? == 0 {
            return Ok(None);
        }
        let start = self.offset - self.line.len() as u64;
        let mut message = Message { octets: Vec::new(), max: self.max, is_too_large: false };
        if !is_from_line(&self.line) {
            message.add(&self.line);
        }
        let (mut after_empty_line, mut at_line_start) = (false, self.line.ends_with(b"\n"));
        while self.advance()? > 0 {
            if after_empty_line && is_from_line(&self.line) {
                break;
            }
            after_empty_line = at_line_start && matches!(self.line.as_slice(), b"\n" | b"\r\n");
            at_line_start = self.line.ends_with(b"\n");
            message.add(&self.line);
        }
        let end = self.offset - self.line.len() as u64;
        Ok(Some(Part { offset: start, size: end - start, message: message.finish() }))
    }
}

impl<R: BufRead> Iterator for Mbox<R> {
    type Item = io::Result<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_part().transpose()
    }
}

/// A message that is being read.
struct Message {
    octets: Vec<u8>,
    max: u64,
    is_too_large: bool,
}

impl Message {
    fn add(&mut self, piece: &[u8]) {
        if (self.octets.len() + piece.len()) as u64 > self.max {
            self.is_too_large = true;
            self.octets = Vec::new();
        }
        if !self.is_too_large {
            self.octets.extend_from_slice(piece);
        }
    }

    fn finish(self) -> Result<Vec<u8>, Unread> {
        if self.is_too_large { Err(Unread::TooLarge { max: self.max }) } else { Ok(self.octets) }
    }
}

/// Whether a file that begins like this is an mbox file.
pub fn begins(start: &[u8]) -> bool {
    start.starts_with(b"From ")
}

/// `From `, and further on a time of day: text that begins a paragraph with the word rarely has one.
fn is_from_line(line: &[u8]) -> bool {
    let is_time =
        |w: &[u8]| w[0].is_ascii_digit() && w[1] == b':' && w[2].is_ascii_digit() && w[3].is_ascii_digit();
    line.strip_prefix(b"From ").is_some_and(|rest| rest.windows(4).any(is_time))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO: &[u8] = b"From a Mon Nov 23 12:00:00 2026\nA: 1\n\nFrom here on\n>From x\n\nFrom b Mon Nov 23 12:00:01 2026\nA: 2\n\nend\n\n";

    fn parts(file: &[u8], max: u64) -> Vec<Part> {
        Mbox::new(file, max).map(Result::unwrap).collect()
    }

    #[test]
    fn splits_where_a_message_begins() {
        let parts = parts(TWO, 1000);
        let messages: Vec<&[u8]> = parts.iter().map(|part| part.message.as_deref().unwrap()).collect();
        assert_eq!(messages, [&b"A: 1\n\nFrom here on\n>From x\n\n"[..], b"A: 2\n\nend\n\n"]);
        assert_eq!(parts.iter().map(|part| part.offset).collect::<Vec<_>>(), [0, 60]);
        assert!(TWO[60..].starts_with(b"From b"));
    }

    #[test]
    fn passes_over_what_is_too_large() {
        let large =
            [TWO, b"From c Mon Nov 23 12:00:02 2026\nA: ", &b"x".repeat(50_000), b"\n\n", TWO].concat();
        let parts = parts(&large, 100);
        assert_eq!(parts.len(), 5);
        assert!(matches!(parts[2].message, Err(Unread::TooLarge { max: 100 })));
        assert!(parts.iter().enumerate().all(|(at, part)| at == 2 || part.message.is_ok()));
    }

    /// A line that is read in pieces neither ends nor begins a message in its middle.
    #[test]
    fn a_long_line_is_one_line() {
        let piece = usize::try_from(PIECE).unwrap();
        let line = [&b"x".repeat(piece)[..], b"\n", b"From b Mon Nov 23 12:00:01 2026\n"].concat();
        let file = [b"From a Mon Nov 23 12:00:00 2026\nA: 1\n\n", &line[..]].concat();
        assert_eq!(parts(&file, 1 << 20).len(), 1);
    }

    proptest! {
        #[test]
        fn every_octet_belongs_to_one_part(
            lines in prop::collection::vec(prop_oneof![
                Just("\n".to_owned()), Just("From a 12:00\n".to_owned()), Just(">From a 12:00\n".to_owned()), "[a-z: \r]{0,30}\n?"
            ], 0..30),
            max in 0_u64..60,
        ) {
            let file = lines.concat();
            let mut at = 0;
            for part in parts(file.as_bytes(), max) {
                prop_assert_eq!(part.offset, at);
                prop_assert!(part.size > 0);
                if let Ok(message) = &part.message {
                    prop_assert!(message.len() as u64 <= max.min(part.size));
                    let end = usize::try_from(at + part.size).unwrap();
                    prop_assert!(file.as_bytes()[..end].ends_with(message));
                }
                at += part.size;
            }
            prop_assert_eq!(at, file.len() as u64);
        }
    }
}
