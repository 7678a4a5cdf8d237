//! The list of parts (SPEC.md §6.1), tag `e`: a mark for every part of the message, containers included, in document order.

use thiserror::Error;

use encodify::base64::URL_SAFE_NO_PAD;

use crate::mime::marks::Mark;
use crate::mime::{MAX_LEAVES, Structure};

/// Octets of a hash that are kept. An attacker needs a second preimage, for which 96 bits are plenty; and the whole hash
/// would make a field of a thousand parts twice as long.
const KEPT: usize = 12;

/// A part as a seal lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The beginning of the hash of its fields.
    pub fields: [u8; KEPT],
    /// The beginning of the hash of its body.
    pub body: [u8; KEPT],
    /// How many parts of its own it has, if it is a container.
    pub parts: Option<usize>,
    /// Which leaf it is, counted from 0, if it is one.
    pub leaf: Option<usize>,
}

/// All parts of a sealed message, the message itself first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts(Vec<Part>);

/// A list of parts that is not of its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a list of parts that is not of its form")]
pub struct ParsePartsError;

impl Part {
    /// Whether the fields are these.
    pub fn has_fields(&self, mark: &Mark) -> bool {
        mark.fields.as_bytes().starts_with(&self.fields)
    }

    /// Whether the body is this one, in this encoding.
    pub fn has_body(&self, mark: &Mark) -> bool {
        mark.body.as_bytes().starts_with(&self.body)
    }
}

impl Parts {
    /// The list that a seal made now would hold.
    pub fn of(structure: &Structure, marks: &[Mark]) -> Self {
        let mut leaves = 0..;
        let parts = structure.entities.iter().zip(marks).map(|(entity, mark)| Part {
            fields: kept(&mark.fields),
            body: kept(&mark.body),
            parts: entity.container.as_ref().map(|container| container.parts.len()),
            leaf: if entity.container.is_none() { leaves.next() } else { None },
        });
        Self(parts.collect())
    }

    /// Reads the text form: `fields.body` for a leaf, `fields.body.number` for a container with so many parts of its own.
    pub fn parse(text: &str, leaves: usize) -> Result<Self, ParsePartsError> {
        let mut parts = Vec::new();
        let (mut next_leaf, mut open) = (0, 1_usize);
        for item in text.split(',') {
            // Nothing is left open, or too much: not one tree.
            if open == 0 || parts.len() == 2 * MAX_LEAVES {
                return Err(ParsePartsError);
            }
            let mut pieces = item.split('.');
            let mut hash = || {
                let octets = URL_SAFE_NO_PAD.decode(pieces.next()?).ok()?;
                <[u8; KEPT]>::try_from(octets).ok()
            };
            let (fields, body) = (hash().ok_or(ParsePartsError)?, hash().ok_or(ParsePartsError)?);
            let number = match pieces.next() {
                None => None,
                Some(digits) => {
                    let number: usize = digits.parse().map_err(|_| ParsePartsError)?;
                    if number.to_string() != digits || number > 2 * MAX_LEAVES || pieces.next().is_some() {
                        return Err(ParsePartsError);
                    }
                    Some(number)
                }
            };
            let leaf = number.is_none().then_some(next_leaf);
            next_leaf += usize::from(number.is_none());
            open = open - 1 + number.unwrap_or(0);
            parts.push(Part { fields, body, parts: number, leaf });
        }
        if open == 0 && next_leaf == leaves { Ok(Self(parts)) } else { Err(ParsePartsError) }
    }

    /// The parts in document order.
    pub fn as_slice(&self) -> &[Part] {
        &self.0
    }

    /// How many parts the one at `at` is, with all that it holds.
    pub fn extent(&self, at: usize) -> usize {
        let mut open = 1;
        let mut end = at;
        while open > 0 && end < self.0.len() {
            open = open - 1 + self.0[end].parts.unwrap_or(0);
            end += 1;
        }
        end - at
    }

    /// One text for each part, the order kept.
    pub fn to_texts(&self) -> Vec<String> {
        let encode = |octets: &[u8; KEPT]| URL_SAFE_NO_PAD.encode(octets);
        let text = |part: &Part| {
            let own = format!("{}.{}", encode(&part.fields), encode(&part.body));
            part.parts.map_or_else(|| own.clone(), |number| format!("{own}.{number}"))
        };
        self.0.iter().map(text).collect()
    }
}

fn kept(hash: &blake3::Hash) -> [u8; KEPT] {
    hash.as_bytes()[..KEPT].try_into().expect("a hash has more octets than are kept")
}
