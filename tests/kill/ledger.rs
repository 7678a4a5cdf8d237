//! Who said what: the clients' side of each attempt, and what the next hop took.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// The field that tells attempts apart. It stands on top of each message that a client sends.
const ATTEMPT: &str = "X-Attempt: ";

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// To be sealed, and delivered.
    Sealed,
    /// Not ours to seal: to be delivered as it is, while it arrives if it is large.
    Untouched,
    /// To be verified, and delivered.
    Passed,
    /// No seal, and none to be expected: to be delivered, while it arrives if it is large.
    Unsealed,
    /// To be verified, and held: somebody renamed its attachment.
    Held,
}

/// How much of a message went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Nothing,
    Part,
    /// To the last octet that ends it.
    All,
}

/// One try to hand in one message.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    pub(crate) fate: Fate,
    /// The message as the client sends it.
    pub(crate) message: Arc<Vec<u8>>,
    /// How much of it the client sent.
    pub(crate) sent: Sent,
    /// The code of the reply to it, where the client was there to hear it.
    pub(crate) reply: Option<u16>,
}

/// The message as `attempt` sends it.
pub(crate) fn labelled(attempt: &str, message: &[u8]) -> Vec<u8> {
    [ATTEMPT.as_bytes(), attempt.as_bytes(), b"\r\n", message].concat()
}

/// Which attempt a message is of; `None` if no client sent it so.
pub(crate) fn label(message: &[u8]) -> Option<&str> {
    let head = &message[..message.len().min(4096)];
    let start = head.windows(ATTEMPT.len()).position(|window| window == ATTEMPT.as_bytes())?;
    let rest = &head[start + ATTEMPT.len()..];
    let end = rest.iter().position(|&octet| octet == b'\r')?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// All attempts, and all that the next hop took. It outlives every kill, as a disk would.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    attempts: Mutex<HashMap<String, Attempt>>,
    delivered: Mutex<HashMap<String, Vec<Vec<u8>>>>,
}

impl Ledger {
    /// Before the attempt: nothing of it has gone out.
    pub(crate) fn begin(&self, attempt: Attempt) {
        self.attempts.lock().unwrap().insert(attempt.id.clone(), attempt);
    }

    /// Right before so much goes out.
    pub(crate) fn sends(&self, id: &str, sent: Sent) {
        self.attempts.lock().unwrap().get_mut(id).unwrap().sent = sent;
    }

    /// The reply that the client heard.
    pub(crate) fn replied(&self, id: &str, code: u16) {
        self.attempts.lock().unwrap().get_mut(id).unwrap().reply = Some(code);
    }

    /// Right before the next hop's 250.
    pub(crate) fn deliver(&self, message: Vec<u8>) {
        // What has no label is no attempt's, and will be missed, or found to be too much.
        let id = label(&message).unwrap_or("none").to_owned();
        self.delivered.lock().unwrap().entry(id).or_default().push(message);
    }

    /// What was delivered of this attempt.
    pub(crate) fn delivered(&self, id: &str) -> Vec<Vec<u8>> {
        self.delivered.lock().unwrap().get(id).cloned().unwrap_or_default()
    }

    /// All attempts.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().unwrap().values().cloned().collect()
    }

    /// The attempts that the next hop took something of.
    pub(crate) fn taken(&self) -> HashSet<String> {
        self.delivered.lock().unwrap().keys().cloned().collect()
    }
}
