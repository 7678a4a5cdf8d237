//! Cuts a text into pieces of whole lines, whatever pieces it comes in.

use memchr::{memchr2, memrchr2};

use super::place::{Place, Unit};

/// The longest line that is looked at as a whole. A longer one is looked at in pieces of this length.
const MAX_LINE: usize = 64 << 10;

/// What such a piece has in common with the next.
const OVERLAP: usize = 1024;

/// Some lines of the text.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// The lines with their line ends.
    pub(super) text: &'a [u8],
    /// Where they are.
    pub(super) place: Place<'a>,
    /// Whether the first of them is not the rest of a line.
    pub(super) starts_line: bool,
    /// Whether the last of them goes on in the next piece.
    pub(super) is_cut: bool,
}

/// The line that has not ended yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    is_rest: bool,
    unit: Unit,
    start: u64,
}

impl Lines {
    /// Takes at most [`MAX_LINE`] octets and hands on what has whole lines by now.
    pub(super) fn take(&mut self, text: &[u8], unit: Unit, sink: &mut impl FnMut(&Piece<'_>)) {
        self.unit = unit;
        for text in text.chunks(MAX_LINE) {
            self.take_chunk(text, sink);
        }
    }

    fn take_chunk(&mut self, text: &[u8], sink: &mut impl FnMut(&Piece<'_>)) {
        let is_line_begun = !self.begun.is_empty() || self.is_rest;
        let first_end = memchr2(b'\r', b'\n', text).filter(|_| is_line_begun).map(|at| at + 1);
        let first = match first_end {
            Some(end) => end,
            None if is_line_begun => text.len(),
            None => 0,
        };
        self.begun.extend_from_slice(&text[..first]);
        self.hand_on_long_line(sink);
        if first_end.is_some() {
            self.hand_on(self.begun.len(), false, sink);
        }
        let rest = &text[first..];
        let lines = memrchr2(b'\r', b'\n', rest).map_or(0, |at| at + 1);
        if lines > 0 {
            let place = Place::new(rest, self.unit, self.start);
            sink(&Piece { text: &rest[..lines], place, starts_line: true, is_cut: false });
            self.start += self.unit.measure(&rest[..lines]);
        }
        self.begun.extend_from_slice(&rest[lines..]);
    }

    /// Hands on the last line.
    pub(super) fn finish(&mut self, sink: &mut impl FnMut(&Piece<'_>)) {
        self.hand_on_long_line(sink);
        self.hand_on(self.begun.len(), false, sink);
    }

    // Pieces of a long line are cut where only its own length decides, so that every cut of the text gives the same.
    fn hand_on_long_line(&mut self, sink: &mut impl FnMut(&Piece<'_>)) {
        while self.begun.len() > MAX_LINE {
            self.hand_on(MAX_LINE, true, sink);
        }
    }

    fn hand_on(&mut self, length: usize, is_cut: bool, sink: &mut impl FnMut(&Piece<'_>)) {
        let text = &self.begun[..length];
        let place = Place::new(text, self.unit, self.start);
        sink(&Piece { text, place, starts_line: !self.is_rest, is_cut });
        let done = if is_cut { length - OVERLAP } else { length };
        self.start += self.unit.measure(&self.begun[..done]);
        self.begun.drain(..done);
        self.is_rest = is_cut;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each piece's lines, told apart: start, text, whether it starts a line, whether it is cut.
    fn pieces(text: &[u8], sizes: &[usize]) -> Vec<(u64, Vec<u8>, bool, bool)> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut sink = |piece: &Piece<'_>| {
            let mut at = 0;
            for line in piece.text.split_inclusive(|&octet| octet == b'\n' || octet == b'\r') {
                let starts_line = at > 0 || piece.starts_line;
                seen.push((piece.place.at(at), line.to_vec(), starts_line, piece.is_cut));
                at += line.len();
            }
        };
        let mut rest = text;
        for &size in sizes.iter().cycle() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            lines.take(now, Unit::Octet, &mut sink);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        lines.finish(&mut sink);
        seen
    }

    #[test]
    fn cuts_long_lines_in_pieces_that_overlap() {
        let text = [b"one\n", "x".repeat(150_000).as_bytes(), b"\nend"].concat();
        let seen = pieces(&text, &[1 << 20]);
        let starts: Vec<(u64, usize, bool, bool)> =
            seen.iter().map(|(start, line, starts, cut)| (*start, line.len(), *starts, *cut)).collect();
        let step = (MAX_LINE - OVERLAP) as u64;
        assert_eq!(
            starts,
            [
                (0, 4, true, false),
                (4, MAX_LINE, true, true),
                (4 + step, MAX_LINE, false, true),
                (4 + 2 * step, 150_001 - 2 * step as usize, false, false),
                (150_005, 3, true, false),
            ]
        );
    }

    proptest! {
        #[test]
        fn hands_on_the_same_lines_for_any_cut(
            lines in proptest::collection::vec((0_usize..200_000, 0_usize..3), 0..6),
            sizes in proptest::collection::vec(1_usize..100_000, 1..4),
        ) {
            let text: Vec<u8> = lines
                .iter()
                .flat_map(|&(length, end)| [vec![b'x'; length], [b"\n".as_slice(), b"\r\n", b"\r"][end].to_vec()].concat())
                .collect();
            prop_assert_eq!(pieces(&text, &sizes), pieces(&text, &[text.len().max(1)]));
        }
    }
}
