//! Where things are: offsets into the octets of a text, from offsets into the UTF-8 that is read.

use std::cell::Cell;
use std::cmp::Reverse;
use std::ops::Range;

use super::Embedded;

/// How many octets of the text a character of the UTF-8 was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unit {
    /// The text itself is read, octet for octet.
    #[default]
    Octet,
    /// A charset with one octet for each character.
    Character,
    /// UTF-16.
    Utf16,
    /// It cannot be told.
    Unknown,
}

impl Unit {
    /// Octets that `text` was made of.
    pub(super) fn measure(self, text: &[u8]) -> u64 {
        // Without a branch, so that the compiler makes vector code of it.
        let count = |is_counted: fn(u8) -> bool| {
            text.chunks(255)
                .map(|chunk| u64::from(chunk.iter().fold(0, |sum, &octet| sum + u8::from(is_counted(octet)))))
                .sum::<u64>()
        };
        let starts_character = |octet| octet & 0xc0 != 0x80;
        match self {
            // For the unknown, that the order is kept is enough.
            Self::Octet | Self::Unknown => text.len() as u64,
            Self::Character => count(starts_character),
            Self::Utf16 => 2 * count(starts_character) + 2 * count(|octet| octet >= 0xf0),
        }
    }
}

/// Offsets of one piece of UTF-8 in the text.
#[derive(Debug)]
pub(super) struct Place<'a> {
    text: &'a [u8],
    unit: Unit,
    start: u64,
    /// The last offset asked for, and its place: the next question is mostly about a place shortly after it.
    known: Cell<(usize, u64)>,
}

impl<'a> Place<'a> {
    pub(super) fn new(text: &'a [u8], unit: Unit, start: u64) -> Self {
        Self { text, unit, start, known: Cell::new((0, start)) }
    }

    /// The place in the text of `offset`.
    pub(super) fn at(&self, offset: usize) -> u64 {
        let (from, place) = match self.known.get() {
            known if known.0 <= offset => known,
            _ => (0, self.start),
        };
        let place = place + self.unit.measure(&self.text[from..offset]);
        self.known.set((offset, place));
        place
    }
}

/// The first and the last of all that was found.
#[derive(Debug, Default)]
pub(super) struct Finds {
    pub(super) first: Option<Embedded>,
    pub(super) last: Option<Embedded>,
}

impl Finds {
    /// Notes a `kind` at `range`.
    pub(super) fn note(&mut self, kind: &'static str, range: Range<u64>) {
        let is_before = |first: &Embedded| {
            (range.start, Reverse(range.end), kind)
                < (first.range.start, Reverse(first.range.end), first.kind)
        };
        let is_behind = |last: &Embedded| {
            let other = (last.range.end, Reverse(last.range.start), Reverse(last.kind));
            (range.end, Reverse(range.start), Reverse(kind)) > other
        };
        let (is_first, is_last) =
            (self.first.as_ref().is_none_or(is_before), self.last.as_ref().is_none_or(is_behind));
        let found = Embedded { kind, range };
        if is_first {
            self.first = Some(found.clone());
        }
        if is_last {
            self.last = Some(found);
        }
    }

    /// Makes what was found span the whole text of `size` octets, where its place cannot be told.
    pub(super) fn span(&mut self, size: u64) {
        for found in [&mut self.first, &mut self.last].into_iter().flatten() {
            found.range = 0..size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_what_characters_were_made_of() {
        let text = "aé€\u{1f600}".as_bytes();
        let measured =
            [Unit::Octet, Unit::Character, Unit::Utf16, Unit::Unknown].map(|unit| unit.measure(text));
        assert_eq!(measured, [10, 4, 10, 10]);
        assert_eq!(Unit::Character.measure("é".repeat(1000).as_bytes()), 1000);
    }

    #[test]
    fn tells_places_in_any_order() {
        let text = "é".repeat(10);
        let place = Place::new(text.as_bytes(), Unit::Character, 5);
        assert_eq!([4, 8, 2, 20].map(|offset| place.at(offset)), [7, 9, 6, 15]);
    }
}
