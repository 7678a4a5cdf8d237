//! Mail that flows: one letter after the other, through the sealing gateway and the verifying one, to a mailbox.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::program::letter;
use crate::program::smtp::{Client, Received, Server};
use crate::program::wait_for;

/// A letter that has arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// What the verifying gateway says of it.
    pub(crate) result: String,
    /// The selector of its seal.
    pub(crate) selector: String,
    /// Whether another key vouches for its key.
    pub(crate) is_delegated: bool,
}

/// The sender, at work until it is stopped.
pub(crate) struct Flow {
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<()>,
    mailbox: Server,
}

impl Flow {
    /// Through the gateway at `first`; the letters end in `mailbox`.
    pub(crate) fn start(first: SocketAddr, mailbox: Server) -> Self {
        let (sent, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, has_to_stop) = (Arc::clone(&sent), Arc::clone(&stop));
        let sender = thread::spawn(move || {
            let mut client = Client::hello(first);
            while !has_to_stop.load(Ordering::Relaxed) {
                let message = letter::with_attachments(&format!("letter {}", count.load(Ordering::Relaxed)));
                let reply = client.deliver("office@example.org", "desk@partner.example", &message);
                assert!(reply.starts_with("250"), "{reply}");
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { sent, stop, sender, mailbox }
    }

    /// Waits until so many more have arrived.
    pub(crate) fn await_more(&self, more: usize) {
        let wanted = self.mailbox.received().len() + more;
        wait_for(|| (self.mailbox.received().len() >= wanted).then_some(())).expect("mail does not flow");
    }

    /// All that have arrived.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.mailbox.received().iter().map(read).collect()
    }

    /// The selectors of the seals that have arrived, in their order.
    pub(crate) fn sealed(&self) -> Vec<String> {
        self.mailbox.received().iter().filter_map(selector).collect()
    }

    /// Stops sending; all that have arrived, which must be all that were sent.
    pub(crate) fn stop(self) -> Vec<Arrived> {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().unwrap();
        let received = self.mailbox.received();
        assert_eq!(received.len(), self.sent.load(Ordering::Relaxed));
        for (n, received) in received.iter().enumerate() {
            let message = String::from_utf8_lossy(&received.message);
            assert!(message.contains(&format!("Subject: letter {n}\r\n")), "letter {n} is lost");
        }
        received.iter().map(read).collect()
    }
}

fn read(received: &Received) -> Arrived {
    Arrived {
        result: field(received, "Authentication-Results: "),
        selector: selector(received).unwrap(),
        is_delegated: tag(received, "c=").is_some(),
    }
}

fn selector(received: &Received) -> Option<String> {
    tag(received, "s=")
}

fn tag(received: &Received, name: &str) -> Option<String> {
    let seal = field(received, "Attachment-Seal: ").replace([' ', '\r', '\n'], "");
    seal.split(';').find_map(|tag| tag.strip_prefix(name)).map(str::to_owned)
}

/// The first field of this name, with its folds.
fn field(received: &Received, name: &str) -> String {
    let message = String::from_utf8_lossy(&received.message);
    let field = &message[message.find(name).unwrap()..];
    let mut ends = field.match_indices("\r\n").map(|(at, _)| at);
    let end = ends.find(|at| !field[at + 2..].starts_with([' ', '\t'])).unwrap();
    field[..end].to_owned()
}
