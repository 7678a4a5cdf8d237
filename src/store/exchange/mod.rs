//! The whole of a state, on its way: into a file (backup), out of one (restore), or from one database into another (move). It goes row
//! by row and message by message, so that memory stays small, and is read back and compared before it counts.

mod archive;
mod digest;
mod tables;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::archive::{Archive, NewArchive};
use self::digest::Tee;
pub use self::digest::{Counted, Digest};
pub(super) use self::tables::{Cell, Kind, Row, TABLES, Table};
use super::error::DatabaseError;
use super::held::{HeldId, StoreError};
use super::json_file::StateFileError;
use super::location::Location;
#[cfg(feature = "postgres")]
use super::postgres;
use super::sqlite;

/// Why a state could not be copied. The destination is as it was.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// A database says no.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The quarantine says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file in the state folder cannot be used.
    #[error(transparent)]
    File(#[from] StateFileError),
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A gateway uses it.
    #[error("a gateway uses {0}: stop it first")]
    InUse(String),
    /// There is a state already.
    #[error("{0} is not empty: {1}")]
    NotEmpty(String, String),
    /// What was written is not what was read.
    #[error("{0} is not what was read: {1}; the source is unchanged")]
    Differs(String, String),
    /// The file is none of ours, or damaged.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl ExchangeError {
    /// For a path.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// A state that is read.
pub(super) trait Source {
    /// Gives everything: messages, then the tables in their order, then pins.
    fn give(&mut self, to: &mut dyn Sink) -> Result<(), ExchangeError>;
}

/// Where a state goes.
pub(super) trait Sink {
    /// A held message, so many octets.
    fn message(&mut self, id: &HeldId, size: u64, octets: &mut dyn Read) -> Result<(), ExchangeError>;

    /// A row of a table.
    fn row(&mut self, table: &Table, row: &Row) -> Result<(), ExchangeError>;

    /// What the administrator said by command, as JSON.
    fn pins(&mut self, said: &str) -> Result<(), ExchangeError>;
}

/// A sink whose content counts once it was read back.
pub(super) trait Destination: Sink {
    /// As a sink.
    fn as_sink(&mut self) -> &mut dyn Sink;

    /// Where it is, for people.
    fn place(&self) -> String;

    /// Reads back what was written; this is what was read.
    fn read_back(&mut self, read: &Digest, to: &mut dyn Sink) -> Result<(), ExchangeError>;

    /// Makes it count. Without this, nothing of it stays.
    fn finish(self: Box<Self>) -> Result<(), ExchangeError>;
}

/// Copies a state, and tells what is there then.
fn copy(source: &mut dyn Source, mut to: Box<dyn Destination + '_>) -> Result<Digest, ExchangeError> {
    let mut tee = Tee::new(Some(to.as_sink()));
    source.give(&mut tee)?;
    let read = tee.end();
    let mut tee = Tee::new(None);
    to.read_back(&read, &mut tee)?;
    let written = tee.end();
    if let Some(difference) = read.difference(&written) {
        return Err(ExchangeError::Differs(to.place(), difference));
    }
    to.finish()?;
    Ok(read)
}

fn source(place: &Location) -> Result<Box<dyn Source>, ExchangeError> {
    match &place.server {
        None => Ok(Box::new(sqlite::exchange::FolderSource::open(&place.folder)?)),
        #[cfg(feature = "postgres")]
        Some(server) => Ok(Box::new(postgres::exchange::ServerSource::open(server, place)?)),
        #[cfg(not(feature = "postgres"))]
        Some(server) => match *server {},
    }
}

fn destination(place: &Location) -> Result<Box<dyn Destination>, ExchangeError> {
    match &place.server {
        None => Ok(Box::new(sqlite::exchange::NewFolder::make(&place.folder)?)),
        #[cfg(feature = "postgres")]
        Some(server) => Ok(Box::new(postgres::exchange::NewServer::make(server, place)?)),
        #[cfg(not(feature = "postgres"))]
        Some(server) => match *server {},
    }
}

/// Writes a state into a new file, while gateways run: as it was at one moment.
pub fn back_up(place: &Location, file: &Path) -> Result<Digest, ExchangeError> {
    let mut source = source(place)?;
    copy(&mut *source, Box::new(NewArchive::create(file)?))
}

/// Makes a state of a file that [`back_up`] wrote. There must be none, and no gateway.
pub fn restore(place: &Location, file: &Path) -> Result<Digest, ExchangeError> {
    let mut archive = Archive::open(file)?;
    // Before anything is written: is the file whole?
    archive.check()?;
    copy(&mut archive, destination(place)?)
}

/// Copies a state from one place to another one that is empty, and marks the old one, so that no gateway starts with it. No gateway
/// may run with either.
pub fn move_state(from: &Location, to: &Location) -> Result<Digest, ExchangeError> {
    let departure = departure(from)?;
    let digest = copy(&mut *source(from)?, destination(to)?)?;
    departure.mark(&name(to))?;
    Ok(digest)
}

/// A state that no gateway uses, and that is about to be moved.
pub(super) trait Departure {
    /// Writes down where it went.
    fn mark(&self, destination: &str) -> Result<(), ExchangeError>;
}

fn departure(place: &Location) -> Result<Box<dyn Departure>, ExchangeError> {
    match &place.server {
        None => Ok(Box::new(sqlite::exchange::Leaving::of(&place.folder)?)),
        #[cfg(feature = "postgres")]
        Some(server) => Ok(Box::new(postgres::exchange::Leaving::of(server, place)?)),
        #[cfg(not(feature = "postgres"))]
        Some(server) => match *server {},
    }
}

/// Where a state is, for people; without a password.
pub(super) fn name(place: &Location) -> String {
    match &place.server {
        None => place.folder.display().to_string(),
        #[cfg(feature = "postgres")]
        Some(server) => server.name(),
        #[cfg(not(feature = "postgres"))]
        Some(server) => match *server {},
    }
}
