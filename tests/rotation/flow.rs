//! Mail that flows: one letter after the other, through the sealing gateway and the verifying one, to a mailbox.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::program::letter;
use crate::program::smtp::{Received, Server};
use crate::program::{PATIENCE, wait_for};

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
            let mut connection = None;
            while !has_to_stop.load(Ordering::Relaxed) {
                let message = letter::with_attachments(&format!("letter {}", count.load(Ordering::Relaxed)));
                // A gateway that was killed is tried again.
                match deliver(&mut connection, first, &message) {
                    Ok(reply) => {
                        assert!(reply.starts_with("250"), "{reply}");
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => connection = None,
                }
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

    /// Stops sending; all that have arrived, which must be all that were sent, in their order. One whose reply was lost may have
    /// come twice.
    pub(crate) fn stop(self) -> Vec<Arrived> {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().unwrap();
        let received = self.mailbox.received();
        let mut next = 0;
        for received in &received {
            let message = String::from_utf8_lossy(&received.message);
            let is = |n: usize| message.contains(&format!("Subject: letter {n}\r\n"));
            assert!(is(next) || next > 0 && is(next - 1), "letter {next} is lost");
            next += usize::from(is(next));
        }
        assert!(next >= self.sent.load(Ordering::Relaxed));
        received.iter().map(read).collect()
    }
}

/// Sends a message, by way of the connection if there is one: the last reply.
fn deliver(
    connection: &mut Option<BufReader<TcpStream>>,
    server: SocketAddr,
    message: &[u8],
) -> io::Result<String> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(server)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let stream = connection.insert(BufReader::new(stream));
            reply(stream)?;
            say(stream, b"EHLO client.example.org")?;
            stream
        }
    };
    say(stream, b"MAIL FROM:<office@example.org>")?;
    say(stream, b"RCPT TO:<desk@partner.example>")?;
    say(stream, b"DATA")?;
    stream.get_mut().write_all(message)?;
    say(stream, b".")
}

fn say(stream: &mut BufReader<TcpStream>, line: &[u8]) -> io::Result<String> {
    stream.get_mut().write_all(&[line, b"\r\n"].concat())?;
    reply(stream)
}

fn reply(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line);
        }
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

/// The first field of this name, with its folds; nothing where there is none.
fn field(received: &Received, name: &str) -> String {
    let message = String::from_utf8_lossy(&received.message);
    let Some(start) = message.find(name) else { return String::new() };
    let field = &message[start..];
    let mut ends = field.match_indices("\r\n").map(|(at, _)| at);
    let end = ends.find(|at| !field[at + 2..].starts_with([' ', '\t'])).unwrap();
    field[..end].to_owned()
}
