//! A message that has come in: in memory, or in an unnamed file where it is too large for that.

use std::io::{self, Read};

use attachment_seal::message::edits::Edits;
use tokio::sync::Semaphore;

use crate::blocking::blocking;
use crate::smtp::memory::Reservation;
use crate::smtp::protocol::data::{self, Stuffer};
use crate::smtp::spool::{Blocks, SpoolFile};

/// Messages from this size on are worked on by a thread of their own, so that other sessions need not wait.
const LARGE: usize = 256 << 10;

/// How many of them are worked on at once.
static TURNS: Semaphore = Semaphore::const_new(4);

/// One complete message, dots unstuffed.
#[derive(Debug)]
pub struct Content {
    place: Place,
    header_end: usize,
    /// Whether a line may begin with a dot.
    has_dots: bool,
    /// Whether it may hold a bare CR or LF.
    has_bare_line_ends: bool,
}

#[derive(Debug)]
enum Place {
    Memory {
        octets: Vec<u8>,
        /// Given back with the message.
        _reservation: Option<Reservation>,
    },
    Spooled {
        /// The header section: what edits are about.
        head: Vec<u8>,
        /// All of the message.
        file: SpoolFile,
        /// For the header section; given back with the message.
        _reservation: Reservation,
    },
}

impl Content {
    /// A message in memory.
    pub fn new(octets: Vec<u8>) -> Self {
        let header_end =
            attachment_seal::message::header::EndSearch::default().find(&octets).unwrap_or(octets.len());
        let has_bare_line_ends = data::has_bare_line_ends(&octets);
        let place = Place::Memory { octets, _reservation: None };
        Self { place, header_end, has_dots: true, has_bare_line_ends }
    }

    pub(super) fn in_memory(octets: Vec<u8>, header_end: Option<usize>, reservation: Reservation) -> Self {
        let header_end = header_end.unwrap_or(octets.len());
        let place = Place::Memory { octets, _reservation: Some(reservation) };
        Self { place, header_end, has_dots: true, has_bare_line_ends: false }
    }

    pub(super) fn spooled(head: Vec<u8>, file: SpoolFile, reservation: Reservation) -> Self {
        let header_end = head.len();
        let place = Place::Spooled { head, file, _reservation: reservation };
        Self { header_end, place, has_dots: true, has_bare_line_ends: false }
    }

    /// The same, known to have no line that begins with a dot, or not known to.
    pub(super) fn with_dots(self, has_dots: bool) -> Self {
        Self { has_dots, ..self }
    }

    /// The same, known to have no bare CR or LF, or not known to.
    pub(super) fn with_bare_line_ends(self, has_bare_line_ends: bool) -> Self {
        Self { has_bare_line_ends, ..self }
    }

    /// Whether it can go out by DATA, where a bare CR or LF could make another message of its end.
    pub(super) fn fits_data(&self) -> bool {
        !self.has_bare_line_ends
    }

    /// How its dots are stuffed.
    pub(super) fn stuffer(&self) -> Stuffer {
        if self.has_dots { Stuffer::default() } else { Stuffer::for_plain() }
    }

    /// Octets of the message.
    pub fn size(&self) -> u64 {
        match &self.place {
            Place::Memory { octets, .. } => octets.len() as u64,
            Place::Spooled { file, .. } => file.size(),
        }
    }

    /// The header section with the blank line that ends it; all of a message that has no body.
    pub fn head(&self) -> &[u8] {
        match &self.place {
            Place::Memory { octets, .. } => &octets[..self.header_end],
            Place::Spooled { head, .. } => head,
        }
    }

    /// The whole message, if to look at it takes no waiting and no thread.
    pub fn at_hand(&self) -> Option<&[u8]> {
        match &self.place {
            Place::Memory { octets, .. } if octets.len() < LARGE => Some(octets),
            Place::Memory { .. } | Place::Spooled { .. } => None,
        }
    }

    /// Has `job` look at the whole message, on a thread of its own if it is large. A large one may have to wait for
    /// its turn.
    pub async fn examine<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> io::Result<T> {
        if let Some(octets) = self.at_hand() {
            return Ok(job(octets));
        }
        match &mut self.place {
            Place::Memory { octets, .. } => {
                // Taken apart it can be many times as large, so only a few are at once.
                let _turn = TURNS.acquire().await;
                let message = std::mem::take(octets);
                let (message, done) = blocking(move || {
                    let done = job(&message);
                    (message, done)
                })
                .await;
                *octets = message;
                Ok(done)
            }
            Place::Spooled { file, .. } => file.examine(job).await,
        }
    }

    /// Takes the message for one who reads it on a thread where waiting holds nobody up.
    pub fn into_reader(self) -> Box<dyn Read + Send> {
        match self.place {
            Place::Memory { octets, .. } => Box::new(io::Cursor::new(octets)),
            Place::Spooled { file, .. } => Box::new(file.reader()),
        }
    }

    /// The changed message as far as it is in memory, in slices; [`Self::rest`] is what follows.
    pub(super) fn start<'a>(&'a self, edits: &'a Edits) -> impl Iterator<Item = &'a [u8]> {
        match &self.place {
            Place::Memory { octets, .. } => edits.pieces(octets),
            Place::Spooled { head, .. } => edits.pieces(head),
        }
    }

    /// What is not in memory; edits don't reach there.
    pub(super) fn rest(&self) -> Option<Blocks> {
        match &self.place {
            Place::Memory { .. } => None,
            Place::Spooled { head, file, .. } => Some(file.blocks(head.len() as u64)),
        }
    }
}
