//! Part of `impl Session`: one message, from DATA or BDAT to the reply at its end. The client hears no 250 before the next hop
//! has said so, or the handler. The next hop sees the end of no message that we did not get whole.

use std::time::{Duration, Instant as Clock};

use attachment_seal::message::edits::Edits;
use attachment_seal::message::header::HeaderSection;
use memchr::memchr_iter;
use tokio::time::timeout;
use tracing::{error, warn};

use super::Session;
use super::arrival::{Arrival, Arrived, NoPassage, Room, Through};
use super::end::End;
use super::transaction::{Chunks, NotReady, Transaction};
use crate::metrics::{MessageRefusal, Replier};
use crate::smtp::content::Content;
use crate::smtp::envelope::Envelope;
use crate::smtp::handler::{Disposal, MessageHandler, Outcome};
use crate::smtp::next_hop::{Framing, Passage, RelayError};
use crate::smtp::protocol::data::{BareLineEnds, DataError, Receiver};
use crate::smtp::protocol::reply::Reply;
use crate::smtp::spool::SpoolError;

/// Most `Received` fields; a message with more goes in circles (RFC 5321 §6.3: at least 100).
const MAX_RECEIVED: usize = 100;

/// For so long what came in of a message that goes straight through may be kept back.
const PASSAGE_PAUSE: Duration = Duration::from_secs(2);

/// What became of a message.
struct Ending {
    /// The next hop's replies: one, or by LMTP one for each recipient; or our own.
    replies: Vec<Reply>,
    /// Why the next hop is lost, if it is.
    error: Option<RelayError>,
    /// Whether the next hop still has the mail transaction open.
    is_open: bool,
    /// Who has replied; for a lost next hop it is always us.
    replied_by: Replier,
    size: u64,
    own_work: Duration,
    next_hop: Duration,
}

impl Ending {
    /// Nothing has been said to a message of this size, and no time spent.
    fn none_yet(size: u64) -> Self {
        let (own_work, next_hop) = (Duration::ZERO, Duration::ZERO);
        let replied_by = Replier::NextHop;
        Self { replies: Vec::new(), error: None, is_open: true, replied_by, size, own_work, next_hop }
    }
}

impl<H: MessageHandler> Session<H> {
    /// DATA.
    pub(super) async fn data(&mut self) -> Result<(), End> {
        if let Err(not_ready) = self.transaction.check_ready() {
            return self.answer_not_ready(not_ready);
        }
        if !matches!(self.transaction.chunks, Chunks::None) || self.transaction.is_binary() {
            return self.answer_bad(&Reply::new(503, "5.5.1 this message comes by BDAT"));
        }
        self.client.queue(Reply::new(354, "end data with <CR><LF>.<CR><LF>").octets());
        self.client.flush().await?;
        let settings = &self.around.settings;
        let receiver = Receiver::for_data(settings.limits.message_size, settings.bare_line_ends);
        let mut arrival = Arrival::new(receiver, true, self.around.memory.reservation());
        self.receive(&mut arrival, None).await?;
        self.conclude_message(arrival, Framing::Data).await?;
        self.transaction = Transaction::default();
        Ok(())
    }

    /// BDAT. The octets of a chunk that is refused are read all the same: none of them is a command.
    pub(super) async fn bdat(&mut self, size: u64, is_last: bool) -> Result<(), End> {
        let ready = self.transaction.check_ready();
        let mut arrival = match (ready, std::mem::take(&mut self.transaction.chunks)) {
            (Err(not_ready), _) => {
                self.skip(size).await?;
                return self.answer_not_ready(not_ready);
            }
            (Ok(()), Chunks::Refused(reply)) => {
                self.skip(size).await?;
                self.client.queue(reply.octets());
                self.transaction.chunks = Chunks::Refused(reply);
                return Ok(());
            }
            (Ok(()), Chunks::Arriving(arrival)) => arrival,
            (Ok(()), Chunks::None) => {
                let settings = &self.around.settings;
                let is_binary = self.transaction.is_binary();
                let ends = if is_binary { BareLineEnds::Keep } else { settings.bare_line_ends };
                let receiver = Receiver::for_chunks(settings.limits.message_size, ends);
                // Between the chunks the next hop must be free for other commands: none goes straight through.
                Box::new(Arrival::new(receiver, false, self.around.memory.reservation()))
            }
        };
        arrival.resume();
        self.receive(&mut arrival, Some(size)).await?;
        if is_last {
            arrival.end_chunks(self.around.settings.limits.header_size);
            self.conclude_message(*arrival, Framing::Chunk).await?;
            self.transaction = Transaction::default();
            return Ok(());
        }
        match arrival.error() {
            Some(error) => {
                let reply = self.refuse(&arrival, error);
                self.client.queue(reply.octets());
                self.transaction.chunks = Chunks::Refused(reply);
            }
            None => {
                self.client.queue(Reply::new(250, &format!("2.0.0 {size} octets received")).octets());
                self.transaction.chunks = Chunks::Arriving(arrival);
            }
        }
        Ok(())
    }

    fn answer_not_ready(&mut self, not_ready: NotReady) -> Result<(), End> {
        match not_ready {
            NotReady::NoTransaction => self.answer_bad(&Reply::new(503, "5.5.1 need MAIL first")),
            NotReady::NoRecipients => {
                let reply = Reply::new(554, "5.5.1 no valid recipients");
                self.log_refusal("command refused", None, &reply);
                self.client.queue(reply.octets());
                Ok(())
            }
        }
    }

    /// Reads octets of the message, so many or up to the final dot, whatever it is like: stopping earlier would make
    /// commands of the rest.
    async fn receive(
        &mut self,
        arrival: &mut Arrival<H::Watch, H::Account>,
        chunk: Option<u64>,
    ) -> Result<(), End> {
        let mut left = chunk.unwrap_or(u64::MAX);
        while left > 0 {
            loop {
                let before = Clock::now();
                match arrival.make_room(&self.around.settings.limits) {
                    Room::Enough => break,
                    Room::Undecided => Box::pin(self.wave_through(arrival)).await,
                    Room::Full => Box::pin(self.leave_memory(arrival)).await,
                }
                arrival.forgive(before.elapsed());
            }
            let limits = &self.around.settings.limits;
            let deadline = arrival.deadline(limits.data_timeout);
            let (most, is_through) = (arrival.room(), arrival.through().is_some());
            let push = |input: &mut &[u8]| {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let mut of_message = &input[..most];
                let is_complete = arrival.push(&mut of_message, limits.header_size);
                let taken = most - of_message.len();
                left -= taken as u64;
                *input = &input[taken..];
                is_complete
            };
            let receiving = self.client.receive(most, push, deadline);
            let is_complete = if is_through {
                // What there is goes on before the next hop tires of a slow client.
                match timeout(PASSAGE_PAUSE, receiving).await {
                    Ok(received) => {
                        received.map_err(|error| End::CutOff { size: Some(arrival.size()), error })?
                    }
                    Err(_) => {
                        Box::pin(self.leave_memory(arrival)).await;
                        continue;
                    }
                }
            } else {
                let received = self.hop.next_hop.kept_awake(receiving).await;
                received.map_err(|error| End::CutOff { size: Some(arrival.size()), error })?
            };
            if is_complete {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads a chunk that nobody wants.
    async fn skip(&mut self, size: u64) -> Result<(), End> {
        let mut receiver = Receiver::for_chunks(0, BareLineEnds::Keep);
        receiver.discard(DataError::MessageTooLarge);
        let mut nobody = Arrival::new(receiver, false, self.around.memory.reservation());
        self.receive(&mut nobody, Some(size)).await
    }

    /// Has the message go straight through to the next hop if its body cannot matter.
    async fn wave_through(&mut self, arrival: &mut Arrival<H::Watch, H::Account>) {
        let Some(envelope) = self.transaction.envelope() else { return };
        let head = arrival.decisive_head();
        if goes_in_circles(head) {
            return;
        }
        let info = self.info();
        let deciding = self.around.handler.wave_through(&info, envelope, head);
        let Some((edits, account)) = self.hop.next_hop.kept_awake(deciding).await else { return };
        let start = Clock::now();
        let passage = match self.begin_data().await {
            Ok(mut passage) => {
                let passed = self.hop.next_hop.pass_on(&mut passage, arrival.pieces(&edits)).await;
                passed.map(|()| passage).map_err(NoPassage::Lost)
            }
            Err(no_passage) => Err(no_passage),
        };
        arrival.go_through(account, passage, start.elapsed());
    }

    /// Has the next hop wait for the message, which it must still be there for.
    async fn begin_data(&mut self) -> Result<Passage, NoPassage> {
        if self.hop.next_hop.is_lost().await
            && let Some(envelope) = self.transaction.envelope().cloned()
        {
            self.replace_for(&envelope).await.map_err(|refusal| match refusal {
                Ok(reply) => NoPassage::Refused(reply),
                Err(error) => NoPassage::Lost(error),
            })?;
        }
        match self.hop.next_hop.begin_data().await {
            Ok(begun) => begun.map_err(NoPassage::Refused),
            Err(error) => Err(NoPassage::Lost(error)),
        }
    }

    /// Has what came in leave memory: to the next hop if it goes straight through, else to a file.
    async fn leave_memory(&mut self, arrival: &mut Arrival<H::Watch, H::Account>) {
        if !arrival.can_leave() {
            let waiting = arrival.wait_for_room(&self.around.settings.limits);
            return self.hop.next_hop.kept_awake(waiting).await;
        }
        if let Some((through, buffer)) = arrival.through() {
            let start = Clock::now();
            if let Ok(passage) = &mut through.passage
                && let Err(error) = self.hop.next_hop.pass_on(passage, std::iter::once(buffer)).await
            {
                through.passage = Err(NoPassage::Lost(error));
            }
            through.waited += start.elapsed();
            return arrival.drained();
        }
        let limits = &self.around.settings.limits;
        if let Err(error) = arrival.spool(&self.around.spool, self.address().ip(), limits).await {
            let envelope = self.transaction.envelope();
            let reverse_path = envelope.map(|envelope| envelope.reverse_path.as_str()).unwrap_or_default();
            let refusal = self.note_full_spool(&error, reverse_path, arrival.size());
            arrival.discard(refusal);
        }
    }

    /// Says in the log why a message cannot go to a file.
    fn note_full_spool(&self, error: &SpoolError, reverse_path: &str, size: u64) -> DataError {
        let (session, listener, client) = (&self.id, self.listener(), self.address());
        match error {
            SpoolError::Io(source) => {
                error!(session = %session, listener, %client, reverse_path, size, error = %source, "message refused: {error}");
                DataError::OutOfSpace
            }
            SpoolError::Reserve => {
                error!(session = %session, listener, %client, reverse_path, size, "message refused: {error}");
                DataError::OutOfSpace
            }
            SpoolError::Full | SpoolError::FullForClient => {
                warn!(session = %session, listener, %client, reverse_path, size, "message refused: {error}");
                DataError::SpoolFull
            }
        }
    }

    /// The message has come in to its end.
    /// What became of a message is told at once, whatever the client has sent after it: a client that waits long for its 250
    /// sends the message again.
    async fn conclude_message(
        &mut self,
        arrival: Arrival<H::Watch, H::Account>,
        framing: Framing,
    ) -> Result<(), End> {
        self.end_message(arrival, framing).await?;
        Ok(self.client.flush().await?)
    }

    async fn end_message(
        &mut self,
        arrival: Arrival<H::Watch, H::Account>,
        framing: Framing,
    ) -> Result<(), End> {
        if let Some(error) = arrival.error() {
            let reply = self.refuse(&arrival, error);
            let is_through = arrival.has_gone_through();
            let envelope = self.transaction.take();
            self.queue_for_each(&reply, &envelope);
            return if is_through {
                self.break_off().await
            } else {
                self.hop.has_leftover = true;
                Ok(())
            };
        }
        let envelope = self.transaction.take();
        let size = arrival.size();
        match arrival.finish(&self.around.settings.limits).await {
            Ok(Arrived::Whole(message, _)) if goes_in_circles(message.head()) => {
                let reply = Reply::new(554, "5.4.6 too many hops");
                warn!(session = %self.id, listener = self.listener(), client = %self.address(),
                    reverse_path = envelope.reverse_path.as_str(), size, code = reply.code(), "message refused: it goes in circles");
                self.around.metrics.message_refused(self.listener(), MessageRefusal::TooManyHops);
                self.queue_for_each(&reply, &envelope);
                self.hop.has_leftover = true;
                Ok(())
            }
            Ok(Arrived::Whole(message, watch)) => self.deliver(envelope, message, watch, framing).await,
            Ok(Arrived::Through(through, rest)) => self.end_passage(envelope, *through, &rest, size).await,
            Err(error) => {
                let error = self.note_full_spool(&error, envelope.reverse_path.as_str(), size);
                self.around.metrics.message_refused(self.listener(), error.into());
                self.queue_for_each(&error.into(), &envelope);
                self.hop.has_leftover = true;
                Ok(())
            }
        }
    }

    /// Says in the log that the message is not taken, and gives the reply.
    fn refuse(&self, arrival: &Arrival<H::Watch, H::Account>, error: DataError) -> Reply {
        let reply = Reply::from(error);
        let reverse_path = self.transaction.envelope().map(|envelope| envelope.reverse_path.as_str());
        warn!(session = %self.id, listener = self.listener(), client = %self.address(), reverse_path,
            size = arrival.size(), code = reply.code(), "message refused: {error}");
        self.around.metrics.message_refused(self.listener(), error.into());
        reply
    }

    async fn deliver(
        &mut self,
        envelope: Envelope,
        message: Content,
        watch: H::Watch,
        framing: Framing,
    ) -> Result<(), End> {
        let size = message.size();
        let start = Clock::now();
        let info = self.info();
        let deciding = self.around.handler.handle(&info, &envelope, message, watch);
        let decision = self.hop.next_hop.kept_awake(deciding).await;
        let own_work = start.elapsed();
        let blank = Ending { own_work, ..Ending::none_yet(size) };
        let ending = match decision.disposal {
            Disposal::Answer(reply) => Ending { replies: vec![reply], replied_by: Replier::Gateway, ..blank },
            Disposal::Relay { message, edits } => {
                let ending = match self.send(&envelope, &message, &edits, framing).await {
                    Ok(Ok(())) => self.replies_to_message(&envelope, blank).await,
                    Ok(Err(refusal)) => Ending { replies: vec![refusal], ..blank },
                    Err(error) => Ending { error: Some(error), ..blank },
                };
                Ending { next_hop: start.elapsed() - own_work, ..ending }
            }
        };
        self.conclude(&envelope, decision.account, ending)
    }

    /// Sends a message to the next hop, which may have gone while it came in: then to a new connection. What has begun to
    /// go out goes once only.
    async fn send(
        &mut self,
        envelope: &Envelope,
        message: &Content,
        edits: &Edits,
        framing: Framing,
    ) -> Result<Result<(), Reply>, RelayError> {
        let as_reply = |refusal: Result<Reply, RelayError>| refusal.map(Err);
        if let Err(refusal) = Box::pin(self.rouse_for(envelope)).await {
            return as_reply(refusal);
        }
        let framing = if self.hop.offers().chunking { framing } else { Framing::Data };
        match self.hop.next_hop.send_message(message, edits, framing).await {
            Err(RelayError::Closed | RelayError::Io(_)) if !self.hop.next_hop.is_in_message() => {
                match Box::pin(self.replace_for(envelope)).await {
                    Ok(()) => self.hop.next_hop.send_message(message, edits, framing).await,
                    Err(refusal) => as_reply(refusal),
                }
            }
            sent => sent,
        }
    }

    /// The end of a message whose start has gone through.
    async fn end_passage(
        &mut self,
        envelope: Envelope,
        through: Through<H::Account>,
        rest: &[u8],
        size: u64,
    ) -> Result<(), End> {
        let start = Clock::now();
        let blank = Ending { next_hop: through.waited, ..Ending::none_yet(size) };
        let ending = match through.passage {
            Ok(passage) => match self.hop.next_hop.end_data(passage, std::iter::once(rest)).await {
                Ok(()) => self.replies_to_message(&envelope, blank).await,
                Err(error) => Ending { error: Some(error), ..blank },
            },
            Err(NoPassage::Refused(reply)) => Ending { replies: vec![reply], ..blank },
            Err(NoPassage::Lost(error)) => Ending { error: Some(error), ..blank },
        };
        let next_hop = ending.next_hop + start.elapsed();
        self.conclude(&envelope, through.account, Ending { next_hop, ..ending })
    }

    /// What the next hop says to a message that it has got.
    async fn replies_to_message(&mut self, envelope: &Envelope, blank: Ending) -> Ending {
        let count = self.replies_per_message(envelope);
        let mut ending = Ending { is_open: false, ..blank };
        while ending.replies.len() < count {
            match self.hop.next_hop.reply_to_message(count - ending.replies.len() - 1).await {
                Ok(reply) => ending.replies.push(reply),
                Err(error) => {
                    ending.error = Some(error);
                    break;
                }
            }
        }
        ending
    }

    /// By LMTP every recipient gets its own (RFC 2033 §4.2).
    fn replies_per_message(&self, envelope: &Envelope) -> usize {
        if self.is_lmtp() { envelope.recipients.len() } else { 1 }
    }

    fn queue_for_each(&mut self, reply: &Reply, envelope: &Envelope) {
        for _ in 0..self.replies_per_message(envelope) {
            self.client.queue(reply.octets());
        }
    }

    /// Tells client and handler what became of the message.
    fn conclude(&mut self, envelope: &Envelope, account: H::Account, ending: Ending) -> Result<(), End> {
        let mut replies = ending.replies;
        replies.extend(ending.error.as_ref().map(Reply::from));
        let Some(last) = replies.last().cloned() else { return Ok(()) };
        self.hop.took_leave = ending.error.is_none() && last.code() == 421;
        self.hop.has_leftover |= ending.error.is_none() && ending.is_open;
        // By LMTP the recipients that are left get the same.
        replies.resize(self.replies_per_message(envelope), last);
        // With a next hop that is lost, the last reply is the session's last words.
        let told = replies.len() - usize::from(ending.error.is_some());
        replies[..told].iter().for_each(|reply| self.client.queue(reply.octets()));
        let outcome = Outcome {
            session: &self.info(),
            envelope,
            size: ending.size,
            replies: &replies,
            replied_by: if ending.error.is_some() { Replier::Gateway } else { ending.replied_by },
            own_work: ending.own_work,
            next_hop: ending.next_hop,
        };
        self.around.handler.concluded(account, &outcome);
        ending.error.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Whether the message has passed through more servers than any honest one. Few messages have so many lines of header that
/// they must be taken apart for it.
fn goes_in_circles(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).nth(MAX_RECEIVED - 1).is_some()
        && HeaderSection::parse(head).all("Received").nth(MAX_RECEIVED).is_some()
}
