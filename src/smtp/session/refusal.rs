//! The log of what one client is refused, by us or by the next hop: nobody else may have seen that it was here. What it
//! said itself is not in it, for that may be a password.

use std::net::SocketAddr;

use tracing::{info, warn};

use super::LOG;
use crate::smtp::handler::SessionId;
use crate::smtp::protocol::reply::Reply;

/// Most lines about one session; the others are counted.
const MAX_LINES: u64 = 20;

/// What was refused in one session.
#[derive(Debug)]
pub(super) struct Refusals {
    session: SessionId,
    listener: String,
    count: u64,
}

impl Refusals {
    pub(super) fn new(session: SessionId, listener: String) -> Self {
        Self { session, listener, count: 0 }
    }

    /// Counts one more; whether it has a line of its own.
    fn is_told(&mut self) -> bool {
        self.count += 1;
        self.count <= MAX_LINES
    }

    /// Says that a command was refused.
    pub(super) fn command(
        &mut self,
        client: SocketAddr,
        what: &str,
        (reverse_path, recipient): (Option<&str>, Option<&str>),
        reply: &Reply,
    ) {
        if self.is_told() {
            info!(target: LOG, session = %self.session, listener = self.listener, %client, reverse_path,
                recipient, code = reply.code(), reply = reply.to_string(), "{what}");
        }
    }

    /// Says that a message was refused before it was sent.
    pub(super) fn message(&mut self, client: SocketAddr, why: &str, reverse_path: &str, reply: &Reply) {
        if self.is_told() {
            warn!(target: LOG, session = %self.session, listener = self.listener, %client, reverse_path,
                code = reply.code(), reply = reply.to_string(), "message refused: {why}");
        }
    }

    /// Says that the next hop does not take the client's credentials. Its reply may repeat them.
    pub(super) fn auth(&mut self, client: SocketAddr, reply: &Reply) {
        if self.is_told() {
            info!(target: LOG, session = %self.session, listener = self.listener, %client, code = reply.code(),
                "AUTH refused by the next hop");
        }
    }

    /// Says how much had no line of its own, once the session ends.
    pub(super) fn end(&self, client: SocketAddr) {
        if self.count > MAX_LINES {
            info!(target: LOG, session = %self.session, listener = self.listener, %client,
                refusals = self.count - MAX_LINES, "more was refused");
        }
    }
}
