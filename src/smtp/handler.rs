//! The contract between the SMTP side and whoever decides about messages.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use attachment_seal::message::edits::Edits;

use crate::envelope::Envelope;
use crate::smtp::content::Content;
use crate::smtp::reply::Reply;

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

    /// Takes one complete message. The client waits for the reply to its final dot, and its patience is 10 minutes
    /// (RFC 5321 §4.5.3.2.6).
    fn handle(
        &self,
        session: &SessionInfo,
        envelope: &Envelope,
        message: Content,
        watch: Self::Watch,
    ) -> impl Future<Output = Decision> + Send;

    /// Looks at the header section (with its blank line) of a message so large that the rest would need a file. If
    /// nothing in the body can change the decision, and it is to relay: the decision. The message then goes straight
    /// through while it arrives, and [`Self::handle`] never sees it.
    fn wave_through(
        &self,
        _session: &SessionInfo,
        _envelope: &Envelope,
        _head: &[u8],
    ) -> impl Future<Output = Option<(Edits, Account)>> + Send {
        async { None }
    }
}

/// What is done with a message, and what the log says about it.
#[derive(Debug)]
pub struct Decision {
    /// What is done.
    pub disposal: Disposal,
    /// What is said of it.
    pub account: Account,
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

impl Decision {
    /// Relays the message with these changes.
    pub fn relay(message: Content, edits: Edits, account: Account) -> Self {
        Self { disposal: Disposal::Relay { message, edits }, account }
    }

    /// Answers the final dot with this.
    pub fn answer(reply: Reply, account: Account) -> Self {
        Self { disposal: Disposal::Answer(reply), account }
    }
}

/// What the log says about a message besides what the session knows: words only, nothing of its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// One line for people; printable.
    pub summary: String,
    /// What was done, such as `deliver` or `seal`.
    pub action: &'static str,
    /// The domain of its author.
    pub author: Option<String>,
    /// The value of its Message-ID field; printable.
    pub message_id: Option<String>,
    /// SPEC.md's word.
    pub verdict: Option<&'static str>,
    /// SPEC.md's reason, where the verdict has one.
    pub reason: Option<&'static str>,
    /// How the key was proved.
    pub trust: Option<&'static str>,
    /// How the author's domain is known to seal.
    pub known: Option<&'static str>,
    /// What looking the key up in DNS came to.
    pub key_lookup: Option<&'static str>,
    /// What looking the author's domain's policy up came to.
    pub policy_lookup: Option<&'static str>,
    /// What that policy asks.
    pub published: Option<&'static str>,
    /// What would have been done, were we not only to observe.
    pub withheld: Option<&'static str>,
    /// Whether the key is on trial (`t=y`).
    pub trial: bool,
    /// Its id in the quarantine.
    pub held: Option<String>,
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
