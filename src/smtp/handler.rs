//! The contract between the SMTP side and whoever decides about messages.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::edits::Edits;
use crate::envelope::Envelope;
use crate::smtp::reply::Reply;

/// Works on a message while it is still coming in.
pub trait Watch: Default + Send {
    /// Looks at what has come in so far, dots unstuffed; each time it begins with what was there before.
    fn see(&mut self, message: &[u8]);
}

/// Waits for the end.
impl Watch for () {
    fn see(&mut self, _message: &[u8]) {}
}

/// Decides what is done with one complete message.
pub trait MessageHandler: Send + Sync + 'static {
    /// What looks at each message as it comes in.
    type Watch: Watch;

    /// Takes a message as it was received, dots unstuffed, every line ending in CR LF. The client waits for the
    /// reply to its final dot, and its patience is 10 minutes (RFC 5321 §4.5.3.2.6).
    fn handle(
        &self,
        session: &SessionInfo,
        envelope: &Envelope,
        message: Vec<u8>,
        watch: Self::Watch,
    ) -> impl Future<Output = Decision> + Send;
}

/// What is done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to the next hop, with these changes; the client gets the next hop's reply.
    Relay {
        /// The message, as it was received.
        message: Vec<u8>,
        /// Our changes to it.
        edits: Edits,
    },
    /// The final dot is answered with this and nothing goes to the next hop. The session goes on.
    Answer(Reply),
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
    /// What the client said in EHLO or HELO, unchecked; empty before that.
    pub helo: String,
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
