//! A message on its way in: in memory as long as there is room, else in a file, or straight through to the next hop.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use attachment_seal::message::edits::Edits;
use attachment_seal::message::header::EndSearch;
use tokio::time::{Instant, timeout};

use crate::smtp::connection::DATA_CHUNK;
use crate::smtp::content::Content;
use crate::smtp::handler::Watch;
use crate::smtp::limits::Limits;
use crate::smtp::memory::{Reservation, SHARE};
use crate::smtp::next_hop::{Passage, RelayError};
use crate::smtp::protocol::data::{DataError, Receiver};
use crate::smtp::protocol::reply::Reply;
use crate::smtp::spool::{BLOCK, Spool, SpoolError, SpoolFile};

/// A client must send at least so many octets a second, `data_timeout` aside. One octet just before each
/// time-out would hold a place for weeks.
const MIN_PACE: u64 = 1024;

/// Octets that come in before they are looked at, and before a message may go straight through.
const LOOK: usize = 256 << 10;

/// What a message is given first. Where memory is short all sessions must find so much: with this a message goes on coming in,
/// by way of a file.
const FIRST: usize = 32 << 10;

/// The longest wait for room in memory. A client that has gone meanwhile is not noticed before.
const ROOM_TIMEOUT: Duration = Duration::from_secs(30);

/// With room for so many octets there is no need for more: a message of 48 KiB takes 64, not 128.
const ENOUGH: usize = 16 << 10;

/// A message that is coming in.
#[derive(Debug)]
pub(super) struct Arrival<W, A> {
    receiver: Receiver,
    watch: W,
    /// What has come in and is nowhere else yet.
    buffer: Vec<u8>,
    /// Octets of `buffer` that the watch has seen.
    seen: usize,
    reservation: Reservation,
    end_search: EndSearch,
    header_end: Option<usize>,
    outlet: Outlet<A>,
    /// When the client began to send, and what we made it wait.
    pace_start: Instant,
}

/// Where what comes in goes. A message goes straight through only from `Undecided`, where all of it is still in memory.
#[derive(Debug)]
enum Outlet<A> {
    Undecided,
    Memory,
    Spool { head: Vec<u8>, file: SpoolFile },
    Through(Box<Through<A>>),
}

/// A message that goes straight through.
#[derive(Debug)]
pub(super) struct Through<A> {
    /// Where it has got to.
    pub(super) passage: Result<Passage, NoPassage>,
    /// What its handler keeps of it.
    pub(super) account: A,
    /// Time spent waiting for the next hop.
    pub(super) waited: Duration,
}

/// Why nothing more of a message goes through.
#[derive(Debug)]
pub(super) enum NoPassage {
    /// DATA was refused.
    Refused(Reply),
    /// The next hop was lost on the way.
    Lost(RelayError),
}

/// What must happen before more can come in.
pub(super) enum Room {
    /// Nothing.
    Enough,
    /// It must be decided whether the message, large as it is, goes straight through.
    Undecided,
    /// The message must leave memory.
    Full,
}

/// A message that has come in.
pub(super) enum Arrived<W, A> {
    /// All of it is here.
    Whole(Content, W),
    /// All but the end, which is in the buffer, has gone through.
    Through(Box<Through<A>>, Vec<u8>),
}

impl<W: Watch, A> Arrival<W, A> {
    /// `may_pass` is whether it may go straight through.
    pub(super) fn new(receiver: Receiver, may_pass: bool, reservation: Reservation) -> Self {
        Self {
            receiver,
            watch: W::default(),
            buffer: Vec::new(),
            seen: 0,
            reservation,
            end_search: EndSearch::default(),
            header_end: None,
            outlet: if may_pass { Outlet::Undecided } else { Outlet::Memory },
            pace_start: Instant::now(),
        }
    }

    /// Octets of the message so far.
    pub(super) fn size(&self) -> u64 {
        self.receiver.size()
    }

    /// Why the message will not be taken.
    pub(super) fn error(&self) -> Option<DataError> {
        self.receiver.error()
    }

    /// Gives up what there is; the rest is read to its end but not kept.
    pub(super) fn discard(&mut self, error: DataError) {
        self.receiver.discard(error);
        self.give_up();
    }

    /// Takes octets off the front of `input`; true at the final dot.
    pub(super) fn push(&mut self, input: &mut &[u8], max_header: u64) -> bool {
        let before = self.buffer.len();
        let complete = self.receiver.push(input, &mut self.buffer);
        self.look(before, max_header);
        complete
    }

    /// The last chunk of BDAT is over.
    pub(super) fn end_chunks(&mut self, max_header: u64) {
        let before = self.buffer.len();
        self.receiver.end_chunks(&mut self.buffer);
        self.look(before, max_header);
    }

    /// Looks for the end of the header section in what has come in behind `from`.
    fn look(&mut self, from: usize, max_header: u64) {
        if self.receiver.error().is_some() {
            return self.give_up();
        }
        if self.header_end.is_none() {
            self.header_end = self.end_search.find(&self.buffer[from..]);
            let header = self.header_end.unwrap_or(self.end_search.searched());
            if header as u64 > max_header {
                return self.discard(DataError::HeaderTooLarge);
            }
        }
        if self.buffer.len() - self.seen >= LOOK {
            self.show();
        }
    }

    fn show(&mut self) {
        self.watch.see(&self.buffer[self.seen..]);
        self.seen = self.buffer.len();
    }

    fn give_up(&mut self) {
        self.buffer = Vec::new();
        self.seen = 0;
        if !matches!(self.outlet, Outlet::Through(_)) {
            self.outlet = Outlet::Memory;
        }
        self.reservation.shrink_to(0);
    }

    /// How many octets may come in at once.
    pub(super) fn room(&self) -> usize {
        if self.error().is_some() { DATA_CHUNK } else { self.buffer.capacity() - self.buffer.len() }
    }

    /// Makes room for what comes next where that takes no waiting.
    pub(super) fn make_room(&mut self, limits: &Limits) -> Room {
        if self.room() >= ENOUGH {
            return Room::Enough;
        }
        let max = match self.outlet {
            Outlet::Undecided | Outlet::Memory => (limits.memory / SHARE).max(BLOCK as u64),
            Outlet::Spool { .. } | Outlet::Through(_) => BLOCK as u64,
        };
        let wanted = (2 * self.buffer.capacity()).max(FIRST);
        if wanted > LOOK && matches!(self.outlet, Outlet::Undecided) && self.header_end.is_some() {
            return Room::Undecided;
        }
        let octets = wanted as u64 + self.kept();
        if wanted as u64 <= max && self.reservation.try_grow_to(octets, self.limit(limits)) {
            self.buffer.reserve_exact(wanted - self.buffer.len());
            return Room::Enough;
        }
        Room::Full
    }

    /// Octets that stay in memory though the message is in a file.
    fn kept(&self) -> u64 {
        match &self.outlet {
            Outlet::Spool { head, .. } => head.capacity() as u64,
            Outlet::Undecided | Outlet::Memory | Outlet::Through(_) => 0,
        }
    }

    /// Half of the memory is for the first octets of messages: whoever holds much cannot keep all others waiting.
    fn limit(&self, limits: &Limits) -> u64 {
        if self.buffer.capacity() == 0 { limits.memory } else { limits.memory / 2 }
    }

    /// Waits for room in memory: the header section is not complete, so the message cannot leave.
    pub(super) async fn wait_for_room(&mut self, limits: &Limits) {
        let wanted = self.buffer.len() + FIRST;
        let limit = self.limit(limits);
        let room = self.reservation.grow_to(wanted as u64, limit);
        match timeout(limits.data_timeout.min(ROOM_TIMEOUT), room).await {
            Ok(()) => self.buffer.reserve_exact(FIRST),
            Err(_) => self.discard(DataError::OutOfMemory),
        }
    }

    /// The header section, which decides whether the message goes straight through; it is asked for once.
    pub(super) fn decisive_head(&mut self) -> &[u8] {
        self.outlet = Outlet::Memory;
        &self.buffer[..self.header_end.unwrap_or_default()]
    }

    /// Whether the message can leave memory: what edits are about must have come in whole.
    pub(super) fn can_leave(&self) -> bool {
        self.header_end.is_some()
    }

    /// Sends the message straight through from here on.
    pub(super) fn go_through(&mut self, account: A, passage: Result<Passage, NoPassage>, waited: Duration) {
        self.outlet = Outlet::Through(Box::new(Through { passage, account, waited }));
        self.drained();
    }

    /// The message in memory, with these changes.
    pub(super) fn pieces<'a>(&'a self, edits: &'a Edits) -> impl Iterator<Item = &'a [u8]> {
        edits.pieces(&self.buffer)
    }

    /// What is to go through, and where it goes.
    pub(super) fn through(&mut self) -> Option<(&mut Through<A>, &[u8])> {
        match &mut self.outlet {
            Outlet::Through(through) => Some((through, &self.buffer)),
            Outlet::Undecided | Outlet::Memory | Outlet::Spool { .. } => None,
        }
    }

    /// What was in the buffer is elsewhere now; the buffer is used again. Some of it is always kept: with none, and no memory
    /// left by others, there would be nothing to move out that could make room.
    pub(super) fn drained(&mut self) {
        self.buffer.clear();
        self.seen = 0;
        if self.buffer.capacity() > BLOCK {
            self.buffer.shrink_to(FIRST);
        }
        self.reservation.shrink_to(self.buffer.capacity() as u64 + self.kept());
    }

    /// Moves what is in memory to the file, which is made first if there is none.
    pub(super) async fn spool(
        &mut self,
        spool: &Arc<Spool>,
        client: IpAddr,
        limits: &Limits,
    ) -> Result<(), SpoolError> {
        self.show();
        if let Outlet::Undecided | Outlet::Memory = self.outlet {
            let head = self.buffer[..self.header_end.unwrap_or_default()].to_vec();
            self.outlet = Outlet::Spool { head, file: spool.create(client).await? };
        }
        if let Outlet::Spool { file, .. } = &mut self.outlet {
            self.buffer = file.append(std::mem::take(&mut self.buffer), limits).await?;
        }
        self.drained();
        Ok(())
    }

    /// Whether part of the message is with the next hop.
    pub(super) fn has_gone_through(&self) -> bool {
        match &self.outlet {
            Outlet::Through(through) => !matches!(through.passage, Err(NoPassage::Refused(_))),
            Outlet::Undecided | Outlet::Memory | Outlet::Spool { .. } => false,
        }
    }

    /// Another chunk begins: the time since the last one does not count.
    pub(super) fn resume(&mut self) {
        self.pace_start = Instant::now();
    }

    /// Time that the client had to wait for us does not count against it.
    pub(super) fn forgive(&mut self, waited: Duration) {
        self.pace_start += waited;
    }

    /// By when the client must have sent something more.
    pub(super) fn deadline(&self, data_timeout: Duration) -> Instant {
        let paced = self.pace_start + data_timeout + Duration::from_secs(self.receiver.size() / MIN_PACE);
        paced.min(Instant::now() + data_timeout)
    }

    /// The message, now that it is complete and no error was found.
    pub(super) async fn finish(mut self, limits: &Limits) -> Result<Arrived<W, A>, SpoolError> {
        if let Outlet::Through(through) = self.outlet {
            return Ok(Arrived::Through(through, self.buffer));
        }
        self.show();
        let has_dots = self.receiver.may_have_dots();
        let has_bare = self.receiver.may_have_bare_line_ends();
        Ok(match self.outlet {
            Outlet::Spool { head, mut file } => {
                file.append(self.buffer, limits).await?;
                self.reservation.shrink_to(head.capacity() as u64);
                let content = Content::spooled(head, file, self.reservation);
                Arrived::Whole(content.with_dots(has_dots).with_bare_line_ends(has_bare), self.watch)
            }
            _ => {
                let content = Content::in_memory(self.buffer, self.header_end, self.reservation);
                Arrived::Whole(content.with_dots(has_dots).with_bare_line_ends(has_bare), self.watch)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::memory::MemoryBudget;
    use crate::smtp::protocol::data::BareLineEnds;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[derive(Default)]
    struct Nobody;

    impl Watch for Nobody {
        fn see(&mut self, _: &[u8]) {}
    }

    /// A message that is in a file goes on coming in, though others have taken all memory meanwhile.
    #[tokio::test]
    async fn a_spooled_message_keeps_room_for_what_comes_next() {
        let memory = SHARE * 4 * BLOCK as u64;
        let limits = Limits { memory, spool_reserve: 0, ..Limits::default() };
        let budget = Arc::new(MemoryBudget::default());
        let spool = Arc::new(Spool::new(std::env::temp_dir()));
        let receiver = Receiver::for_data(u64::MAX, BareLineEnds::Refuse);
        let mut arrival = Arrival::<Nobody, ()>::new(receiver, false, budget.reservation());
        let mut wire = b"A: b\r\n\r\n".to_vec();
        wire.resize(DATA_CHUNK, b'x');
        while arrival.buffer.capacity() <= BLOCK {
            assert!(matches!(arrival.make_room(&limits), Room::Enough));
            let room = arrival.room().min(wire.len());
            assert!(!arrival.push(&mut &wire[..room], u64::MAX));
        }
        arrival.spool(&spool, CLIENT, &limits).await.unwrap();
        let mut others = budget.reservation();
        assert!(others.try_grow_to(limits.memory - budget.taken(), limits.memory));
        assert!(matches!(arrival.make_room(&limits), Room::Enough));
    }
    /// The header section of a message in a file stays in memory, and a stranger's can be as large as `header_size`.
    #[tokio::test]
    async fn the_header_section_of_a_spooled_message_is_counted() {
        let limits = Limits { spool_reserve: 0, ..Limits::default() };
        let budget = Arc::new(MemoryBudget::default());
        let spool = Arc::new(Spool::new(std::env::temp_dir()));
        let receiver = Receiver::for_data(u64::MAX, BareLineEnds::Refuse);
        let mut arrival = Arrival::<Nobody, ()>::new(receiver, false, budget.reservation());
        let header = 700 << 10;
        let wire = [b"A: ", vec![b'x'; header].as_slice(), b"\r\n\r\nbody\r\n.\r\n"].concat();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            if matches!(arrival.make_room(&limits), Room::Full) {
                arrival.wait_for_room(&limits).await;
            }
            let mut some = &rest[..rest.len().min(arrival.room())];
            rest = &rest[some.len()..];
            arrival.push(&mut some, 1 << 20);
        }
        arrival.spool(&spool, CLIENT, &limits).await.unwrap();
        assert!(budget.taken() >= header as u64, "{}", budget.taken());
        let Ok(Arrived::Whole(content, _)) = arrival.finish(&limits).await else { panic!("it is whole") };
        assert!(budget.taken() >= header as u64, "{}", budget.taken());
        drop(content);
        assert_eq!(budget.taken(), 0);
    }
}
