//! The log of what one client is refused, by us or by the next hop: nobody else may have seen that it was here. What it
//! said itself is not in it, for that may be a password.

use tracing::{info, warn};

use crate::smtp::connection::ConnectionError;
use crate::smtp::handler::MessageHandler;
use crate::smtp::protocol::reply::Reply;
use crate::smtp::session::Session;
use crate::smtp::session::end::End;
use crate::smtp::session::message::Chunks;

/// Most lines about one session; the others are counted.
const MAX_LINES: u64 = 20;

impl<H: MessageHandler> Session<H> {
    /// Says that a command was refused.
    pub(super) fn log_refusal(&mut self, what: &str, recipient: Option<&str>, reply: &Reply) {
        self.refusals += 1;
        if self.refusals > MAX_LINES {
            return;
        }
        let reverse_path = self.reverse_path();
        info!(session = %self.info.id, listener = self.info.listener, client = %self.info.client, reverse_path,
            recipient, code = reply.code(), reply = reply.to_string(), "{what}");
    }

    /// Says that a message was refused before it was sent.
    pub(super) fn log_refused_message(&mut self, why: &str, reverse_path: &str, reply: &Reply) {
        self.refusals += 1;
        if self.refusals > MAX_LINES {
            return;
        }
        warn!(session = %self.info.id, listener = self.info.listener, client = %self.info.client, reverse_path,
            code = reply.code(), reply = reply.to_string(), "message refused: {why}");
    }

    /// Says that the next hop does not take the client's credentials. Its reply may repeat them.
    pub(super) fn log_refused_auth(&mut self, reply: &Reply) {
        self.refusals += 1;
        if self.refusals > MAX_LINES {
            return;
        }
        info!(session = %self.info.id, listener = self.info.listener, client = %self.info.client, code = reply.code(),
            "AUTH refused by the next hop");
    }

    /// Says what had no line of its own, once the session ends.
    pub(super) fn log_end_of_session(&self, end: &End) {
        if self.refusals > MAX_LINES {
            info!(session = %self.info.id, listener = self.info.listener, client = %self.info.client,
                refusals = self.refusals - MAX_LINES, "more was refused");
        }
        if let End::CutOff { .. } = end {
            let envelope = self.transaction.envelope();
            let recipients = envelope.map_or(0, |envelope| envelope.recipients.len());
            info!(session = %self.info.id, listener = self.info.listener, client = %self.info.client,
                reverse_path = self.reverse_path(), recipients, "message cut off: {end}");
        }
    }

    /// A client that is gone from within a mail transaction leaves a message behind that is not whole.
    pub(super) fn what_was_cut_off(&self, end: End) -> End {
        match (end, &self.chunks) {
            (End::ClientGone, Chunks::Arriving(arrival)) => {
                End::CutOff { size: Some(arrival.size()), error: ConnectionError::Closed }
            }
            (End::ClientGone, _) if self.transaction.is_open() => {
                End::CutOff { size: None, error: ConnectionError::Closed }
            }
            (end, _) => end,
        }
    }

    fn reverse_path(&self) -> Option<&str> {
        self.transaction.envelope().map(|envelope| envelope.reverse_path.as_str())
    }
}
