//! Who said what: the clients' side of each attempt, and what the next hop took.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The field that tells attempts apart. It stands on top of each message that a client sends.
const ATTEMPT: &str = "X-Attempt: ";

/// Which listener an attempt goes to, and what is to become of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// To be sealed, and delivered.
    Sealed,
    /// To be verified, and delivered.
    Passed,
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

/// Which attempt a message is of.
pub(crate) fn label(message: &[u8]) -> &str {
    let head = &message[..message.len().min(4096)];
    let start = head.windows(ATTEMPT.len()).position(|window| window == ATTEMPT.as_bytes());
    let rest = &head[start.expect("every message names its attempt") + ATTEMPT.len()..];
    let end = rest.iter().position(|&octet| octet == b'\r').expect("the field ends");
    std::str::from_utf8(&rest[..end]).unwrap()
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
        let id = label(&message).to_owned();
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

    /// How many attempts the next hop took something of.
    pub(crate) fn deliveries(&self) -> usize {
        self.delivered.lock().unwrap().len()
    }
}
