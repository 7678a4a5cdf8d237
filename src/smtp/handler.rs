//! The contract between the SMTP side and whoever decides about messages.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use attachment_seal::message::edits::Edits;

use crate::metrics::Replier;
use crate::smtp::content::Content;
use crate::smtp::envelope::Envelope;
use crate::smtp::protocol::reply::Reply;

/// Works on a message while it is still coming in.
pub trait Watch: Default + Send {
    /// Looks at the next octets, dots unstuffed; no octet of the message is left out.
    fn see(&mut self, octets: &[u8]);
}

/// Waits for the end.
impl Watch for () {
    fn see(&mut self, _octets: &[u8]) {}
}

/// Decides what is done with messages.
pub trait MessageHandler: Send + Sync + 'static {
    /// What looks at each message as it comes in.
    type Watch: Watch;

    /// What it keeps of a message until it is told what became of it. To the SMTP side this means nothing.
    type Account: Send;

    /// Takes one complete message. The client waits for the reply to its final dot, and its patience is 10 minutes
    /// (RFC 5321 §4.5.3.2.6).
    fn handle(
        &self,
        session: &SessionInfo,
        envelope: &Envelope,
        message: Content,
        watch: Self::Watch,
    ) -> impl Future<Output = Decision<Self::Account>> + Send;

    /// Looks at the header section (with its blank line) of a message so large that the rest would need a file. If
    /// nothing in the body can change the decision, and it is to relay: the decision. The message then goes straight
    /// through while it arrives, and [`Self::handle`] never sees it.
    fn wave_through(
        &self,
        _session: &SessionInfo,
        _envelope: &Envelope,
        _head: &[u8],
    ) -> impl Future<Output = Option<(Edits, Self::Account)>> + Send {
        async { None }
    }

    /// Takes note of what became of a message. It is called once for each decision, when the replies to the message are
    /// certain; not at all where the message does not come in to its end, or the gateway ends before the next hop's reply.
    fn concluded(&self, _account: Self::Account, _outcome: &Outcome<'_>) {}
}

/// What is done with a message, and what the handler keeps of it.
#[derive(Debug)]
pub struct Decision<A> {
    /// What is done.
    pub disposal: Disposal,
    /// What comes back with [`MessageHandler::concluded`].
    pub account: A,
}

/// What is done with a message.
#[derive(Debug)]
pub enum Disposal {
    /// It goes to the next hop, with these changes; the client gets the next hop's reply.
    Relay {
        /// The message, as it was received.
        message: Content,
        /// Our changes to its header section.
        edits: Edits,
    },
    /// The final dot is answered with this and nothing goes to the next hop. The session goes on.
    Answer(Reply),
}

impl<A> Decision<A> {
    /// Relays the message with these changes.
    pub fn relay(message: Content, edits: Edits, account: A) -> Self {
        Self { disposal: Disposal::Relay { message, edits }, account }
    }

    /// Answers the final dot with this.
    pub fn answer(reply: Reply, account: A) -> Self {
        Self { disposal: Disposal::Answer(reply), account }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The session that it came in by.
    pub session: &'a SessionInfo,
    /// Its envelope.
    pub envelope: &'a Envelope,
    /// Octets of the message as it came in.
    pub size: u64,
    /// What the client is told: one reply, or by LMTP one for each recipient (RFC 2033 §4.2). At least one.
    pub replies: &'a [Reply],
    /// Whose the last of them is; ours where the next hop was lost.
    pub replied_by: Replier,
    /// Time that the handler took.
    pub own_work: Duration,
    /// Time that the next hop took; none if the message did not go there.
    pub next_hop: Duration,
}

/// What a message handler may know about a session.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Names the session in the log.
    pub id: SessionId,
    /// The listener's name.
    pub listener: String,
    /// The client's address: as it was announced, if we believe who did, else the other end of the connection.
    pub client: SocketAddr,
    /// The client's host name, if it was announced with one, or else what it called itself in EHLO. Nobody has checked it.
    pub client_name: Option<String>,
}

/// Ten letters and digits that name a session in the log; not repeated while the gateway runs, and unlikely to
/// be repeated after.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// The next one.
    pub(crate) fn next() -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Upper and lower half of ten digits: random for this run of the program, and a counter.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let bits = (KEY.hash_one(0) << 25) | (count & 0x1ff_ffff);
        Self((0..10).rev().map(|digit| char::from(ALPHABET[(bits >> (digit * 5)) as usize & 31])).collect())
    }
}

/// No letter that is easily taken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_differ() {
        let (a, b) = (SessionId::next(), SessionId::next());
        assert_ne!(a, b);
        assert_eq!(a.to_string().len(), 10);
    }
}
