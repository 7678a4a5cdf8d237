//! Changes to a message that leave the message where it is: pieces to cut out and text to put in.
//! What goes to the next hop is the original's own octets, in slices, around our few insertions.

use std::ops::Range;

/// Cuts and insertions, by offset into the original message, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits(Vec<Edit>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    cut: Range<usize>,
    insert: Vec<u8>,
}

impl Edits {
    /// No change at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts `text` before everything else, earlier insertions at the top included.
    pub fn insert_top(&mut self, text: &[u8]) {
        match self.0.first_mut() {
            Some(first) if first.cut.start == 0 => {
                first.insert.splice(0..0, text.iter().copied());
            }
            _ => self.0.insert(0, Edit { cut: 0..0, insert: text.to_vec() }),
        }
    }

    /// Replaces the octets at `cut` by `insert`. Cuts must not overlap; they may come in any order.
    pub fn replace(&mut self, cut: Range<usize>, insert: &[u8]) {
        match self.0.iter().position(|edit| edit.cut.start >= cut.start) {
            Some(at) if self.0[at].cut == (cut.start..cut.start) => {
                let first = &mut self.0[at];
                first.cut = cut;
                first.insert.extend_from_slice(insert);
            }
            Some(at) => self.0.insert(at, Edit { cut, insert: insert.to_vec() }),
            None => self.0.push(Edit { cut, insert: insert.to_vec() }),
        }
    }

    /// Cuts the octets at `cut` out.
    pub fn remove(&mut self, cut: Range<usize>) {
        self.replace(cut, b"");
    }

    /// The changed message, as slices in order; none of them is empty.
    pub fn pieces<'a>(&'a self, message: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut at = 0;
        let ends = std::iter::once(message.len()..message.len());
        self.0
            .iter()
            .map(|edit| (edit.cut.clone(), edit.insert.as_slice()))
            .chain(ends.map(|end| (end, &[][..])))
            .flat_map(move |(cut, insert)| {
                let kept = &message[at..cut.start];
                at = cut.end;
                [kept, insert]
            })
            .filter(|piece| !piece.is_empty())
    }

    /// Octets of a changed message that has so many unchanged.
    pub fn size_after(&self, size: u64) -> u64 {
        let (cut, inserted) = self.0.iter().fold((0, 0), |(cut, inserted), edit| {
            (cut + edit.cut.len() as u64, inserted + edit.insert.len() as u64)
        });
        size - cut + inserted
    }

    /// The changed message in one piece.
    pub fn apply(&self, message: &[u8]) -> Vec<u8> {
        self.pieces(message).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_inserts() {
        let mut edits = Edits::none();
        assert_eq!(edits.apply(b"hello"), b"hello");
        edits.remove(3..4);
        edits.replace(1..2, b"EE");
        edits.insert_top(b"B");
        edits.insert_top(b"A");
        assert_eq!(edits.apply(b"hello"), b"ABhEElo");
        assert_eq!(edits.size_after(5), 7);
    }

    #[test]
    fn cuts_at_the_very_top_below_an_insertion() {
        let mut edits = Edits::none();
        edits.insert_top(b"new ");
        edits.remove(0..2);
        assert_eq!(edits.apply(b"hello"), b"new llo");

        let mut other_order = Edits::none();
        other_order.remove(0..2);
        other_order.insert_top(b"new ");
        assert_eq!(other_order, edits);
    }
}
