//! What tells one copy of a state from another: how many rows each table has, and a hash of them; likewise the messages.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::tables::to_line;
use super::{ExchangeError, Row, Sink, Table};
use crate::store::held::HeldId;

/// How many there are of something, and a hash of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// How many.
    pub count: u64,
    /// BLAKE3, in hex.
    pub hash: String,
}

/// What a state has in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Rows by table.
    pub tables: BTreeMap<String, Counted>,
    /// Held messages.
    pub messages: Counted,
    /// Their octets.
    pub octets: u64,
    /// What was said by command.
    pub pins: Counted,
}

impl Digest {
    /// What two copies differ in.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let differs = |what: &str, one: &Counted, other: &Counted| {
            let counts = format!("{} and {}", one.count, other.count);
            (one != other).then(|| format!("{what}: {counts}, and their hashes differ"))
        };
        let names = self.tables.keys().chain(other.tables.keys());
        let mut tables = names.filter_map(|name| {
            let of = |digest: &'_ Self| digest.tables.get(name).cloned().unwrap_or_default();
            differs(&format!("rows of {name}"), &of(self), &of(other))
        });
        tables
            .next()
            .or_else(|| differs("messages", &self.messages, &other.messages))
            .or_else(|| differs("pins", &self.pins, &other.pins))
    }
}

/// Counts what goes through.
#[derive(Default)]
struct Count {
    count: u64,
    hasher: blake3::Hasher,
}

impl Count {
    fn add(&mut self, octets: &[u8]) {
        self.count += 1;
        self.hasher.update(&(octets.len() as u64).to_le_bytes());
        self.hasher.update(octets);
    }

    fn end(self) -> Counted {
        Counted { count: self.count, hash: self.hasher.finalize().to_hex().to_string() }
    }
}

/// Takes the digest of what goes to a sink, or only of what it is given.
pub(super) struct Tee<'a> {
    to: Option<&'a mut dyn Sink>,
    tables: BTreeMap<&'static str, Count>,
    messages: Count,
    octets: u64,
    pins: Count,
}

impl<'a> Tee<'a> {
    pub(super) fn new(to: Option<&'a mut dyn Sink>) -> Self {
        let tables = super::TABLES.iter().map(|table| (table.name, Count::default())).collect();
        Self { to, tables, messages: Count::default(), octets: 0, pins: Count::default() }
    }

    pub(super) fn end(self) -> Digest {
        let tables = self.tables.into_iter().map(|(name, count)| (name.to_owned(), count.end()));
        Digest {
            tables: tables.collect(),
            messages: self.messages.end(),
            octets: self.octets,
            pins: self.pins.end(),
        }
    }
}

/// Hashes what is read through it.
struct Hashing<'a> {
    from: &'a mut dyn Read,
    hasher: blake3::Hasher,
    octets: u64,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.octets += read as u64;
        Ok(read)
    }
}

impl Sink for Tee<'_> {
    fn message(&mut self, id: &HeldId, size: u64, octets: &mut dyn Read) -> Result<(), ExchangeError> {
        let mut hashing = Hashing { from: octets, hasher: blake3::Hasher::new(), octets: 0 };
        if let Some(to) = &mut self.to {
            to.message(id, size, &mut hashing)?;
        }
        let rest = io::copy(&mut hashing, &mut io::sink());
        rest.map_err(ExchangeError::at(std::path::Path::new(id.as_str())))?;
        let line = format!("{id} {} {}", hashing.octets, hashing.hasher.finalize().to_hex());
        self.octets += hashing.octets;
        self.messages.add(line.as_bytes());
        Ok(())
    }

    fn row(&mut self, table: &Table, row: &Row) -> Result<(), ExchangeError> {
        self.tables.entry(table.name).or_default().add(to_line(row).as_bytes());
        self.to.as_mut().map_or(Ok(()), |to| to.row(table, row))
    }

    fn pins(&mut self, said: &str) -> Result<(), ExchangeError> {
        self.pins.add(said.as_bytes());
        self.to.as_mut().map_or(Ok(()), |to| to.pins(said))
    }
}
