//! A message to be sealed or checked: its octets, its header section, its body hash.

use super::body::{self, ArrivingBody};
use super::format::{FIELD, Seal};
use crate::domain::{DomainName, Selector};
use crate::header::HeaderSection;

/// Most seals of one message (SEAL.md §6.1).
pub const MAX_SEALS: usize = 8;

/// A message whose header section has been split. Its lines end in CR LF.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    raw: &'a [u8],
    header: HeaderSection<'a>,
    body_hash: Option<blake3::Hash>,
}

impl<'a> Message<'a> {
    /// Splits the header section off.
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw, header: HeaderSection::parse(raw), body_hash: None }
    }

    /// The same, where the body was hashed while it came in.
    pub fn arrived(raw: &'a [u8], body: ArrivingBody) -> Self {
        let message = Self::new(raw);
        Self { body_hash: body.finish(message.header.body_start), ..message }
    }

    /// All of its octets.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The header section.
    pub fn header(&self) -> &HeaderSection<'a> {
        &self.header
    }

    /// The body hash (SEAL.md §4).
    pub fn body_hash(&self) -> blake3::Hash {
        self.body_hash.unwrap_or_else(|| body::hash(&self.raw[self.header.body_start..]))
    }

    /// The keys whose lookup a check may need: at most one for each of 8 seals.
    pub fn wanted_keys(&self) -> Vec<(DomainName, Selector)> {
        let mut wanted: Vec<(DomainName, Selector)> = self
            .header
            .all(FIELD)
            .take(MAX_SEALS)
            .filter_map(|field| Seal::parse(field.value).ok())
            .map(|seal| (seal.statement.domain, seal.statement.selector))
            .collect();
        wanted.sort();
        wanted.dedup();
        wanted
    }
}
