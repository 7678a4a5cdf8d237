//! One message of a session, from DATA to the reply to its final dot. The next hop hears nothing of it before it
//! is complete and decided upon; the client hears no 250 before the next hop has said so, or the handler.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::info;

use crate::envelope::Envelope;
use crate::smtp::connection::DATA_CHUNK;
use crate::smtp::data::{DataError, Receiver};
use crate::smtp::end::End;
use crate::smtp::handler::{Decision, MessageHandler, Watch};
use crate::smtp::memory::Reservation;
use crate::smtp::next_hop::{RelayError, Relayed};
use crate::smtp::reply::Reply;
use crate::smtp::session::Session;
use crate::smtp::transaction::NotReady;

/// A client must send at least so many octets a second, `data_timeout` aside. One octet just before each
/// time-out would hold a place for weeks.
const MIN_PACE: u64 = 1024;

/// What became of a message, on its way to client and log.
struct Outcome {
    relayed: Result<Relayed, RelayError>,
    size: usize,
    own_work: Duration,
    next_hop: Duration,
}

impl<H: MessageHandler> Session<H> {
    /// DATA.
    pub(super) async fn data(&mut self) -> Result<(), End> {
        match self.transaction.check_ready() {
            Err(NotReady::NoTransaction) => {
                return self.answer_bad(&Reply::new(503, "5.5.1 need MAIL first"));
            }
            Err(NotReady::NoRecipients) => {
                self.client.queue(Reply::new(554, "5.5.1 no valid recipients").octets());
                return Ok(());
            }
            Ok(()) => {}
        }
        self.client.queue(Reply::new(354, "end data with <CR><LF>.<CR><LF>").octets());
        self.client.flush().await?;

        let mut memory = self.around.memory.reservation();
        let (receiver, watch) = self.receive(&mut memory).await?;
        let envelope = self.transaction.take();
        let size = receiver.size();
        match receiver.finish(self.around.settings.limits.header_size) {
            Ok(message) => self.deliver(envelope, message, watch).await,
            Err(error) => {
                info!(session = %self.info.id, client = %self.info.client, reverse_path = %envelope.reverse_path,
                    size, "message refused: {error}");
                self.answer_without_next_hop(&Reply::from(error)).await
            }
        }
    }

    /// Reads the message to its end, whatever it is like: stopping earlier would make commands of the rest.
    async fn receive(&mut self, memory: &mut Reservation) -> Result<(Receiver, H::Watch), End> {
        let mut watch = H::Watch::default();
        let limits = &self.around.settings.limits;
        let mut receiver = Receiver::new(limits.message_size, self.around.settings.bare_line_ends);
        let mut start = Instant::now();
        loop {
            if receiver.is_discarding() {
                memory.release();
            } else {
                let before = Instant::now();
                let room = memory.grow_to((receiver.message().len() + DATA_CHUNK) as u64, limits.memory);
                if timeout(limits.data_timeout, room).await.is_err() {
                    receiver.discard(DataError::OutOfMemory);
                }
                // The client is not to blame for this wait.
                start += before.elapsed();
            }
            let paced = start + limits.data_timeout + Duration::from_secs(receiver.size() / MIN_PACE);
            let deadline = paced.min(Instant::now() + limits.data_timeout);
            let complete = self.client.receive(&mut receiver, deadline).await?;
            watch.see(receiver.message());
            if complete {
                return Ok((receiver, watch));
            }
        }
    }

    async fn deliver(&mut self, envelope: Envelope, message: Vec<u8>, watch: H::Watch) -> Result<(), End> {
        let size = message.len();
        let start = Instant::now();
        let decision = self.around.handler.handle(&self.info, &envelope, message, watch).await;
        let own_work = start.elapsed();
        match decision {
            Decision::Answer(reply) => {
                let relayed = Ok(Relayed::DataRefused(reply));
                self.conclude(&envelope, Outcome { relayed, size, own_work, next_hop: Duration::ZERO }).await
            }
            Decision::Relay { message, edits } => {
                let relayed = self.next_hop.send_message(&message, &edits).await;
                let next_hop = start.elapsed() - own_work;
                self.conclude(&envelope, Outcome { relayed, size, own_work, next_hop }).await
            }
        }
    }

    /// Tells client, handler and log what became of the message.
    async fn conclude(&mut self, envelope: &Envelope, outcome: Outcome) -> Result<(), End> {
        let reply = match &outcome.relayed {
            Ok(Relayed::Done(reply) | Relayed::DataRefused(reply)) => reply.clone(),
            Err(error) => Reply::from(error),
        };
        info!(
            session = %self.info.id,
            client = %self.info.client,
            reverse_path = %envelope.reverse_path,
            recipients = envelope.recipients.len(),
            size = outcome.size,
            code = reply.code(),
            %reply,
            own_ms = outcome.own_work.as_millis(),
            next_hop_ms = outcome.next_hop.as_millis(),
            "message done"
        );
        self.took_leave = outcome.relayed.is_ok() && reply.code() == 421;
        match outcome.relayed {
            Ok(Relayed::Done(_)) => {
                self.client.queue(reply.octets());
                Ok(())
            }
            Ok(Relayed::DataRefused(_)) => self.answer_without_next_hop(&reply).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Answers the final dot where the next hop still waits for DATA: it must forget the mail transaction.
    async fn answer_without_next_hop(&mut self, reply: &Reply) -> Result<(), End> {
        self.client.queue(reply.octets());
        self.client.flush().await?;
        let reset = self.ask(b"RSET").await?;
        if reset.is_positive() { Ok(()) } else { Err(RelayError::UnexpectedReply(reset).into()) }
    }
}
