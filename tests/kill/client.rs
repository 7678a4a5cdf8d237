//! Clients that die in the middle of what they do, and try again until somebody has told them 250.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::ledger::{Attempt, Fate, Ledger, Sent, labelled};
use crate::program::PATIENCE;

/// Why an attempt ended without a reply to its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The client died, as it was told to.
    Killed,
    /// The gateway was not there, or hung up, or would not have the message now.
    NotNow,
}

/// A client that sends one message after the other, over one connection as long as that lives.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) server: SocketAddr,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) chance: Chance,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: BufReader<TcpStream>,
    offers_chunks: bool,
}

impl Client {
    pub(crate) fn new(server: SocketAddr, ledger: Arc<Ledger>, chance: Chance) -> Self {
        Self { server, ledger, chance, connection: None }
    }

    /// Sends a message until it is taken: the name of the attempt that was.
    pub(crate) async fn send(&mut self, name: &str, fate: Fate, message: &[u8]) -> String {
        for number in 0.. {
            let id = format!("{name}.{number}");
            let message = Arc::new(labelled(&id, message));
            let attempt = Attempt {
                id: id.clone(),
                fate,
                message: Arc::clone(&message),
                sent: Sent::Nothing,
                reply: None,
            };
            self.ledger.begin(attempt);
            match self.attempt(&id, &message).await {
                Ok(code) => {
                    self.ledger.replied(&id, code);
                    if code == 250 {
                        return id;
                    }
                }
                Err(_) => self.connection = None,
            }
            sleep(Duration::from_millis(5)).await;
        }
        unreachable!("there is always a next number")
    }

    /// The code of the reply to the message.
    async fn attempt(&mut self, id: &str, message: &[u8]) -> Result<u16, Ended> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(self.server).await?);
        }
        let connection = self.connection.as_mut().expect("it is open now");
        for line in ["MAIL FROM:<office@example.org> BODY=8BITMIME\r\n", "RCPT TO:<desk@partner.example>\r\n"]
        {
            connection.say(line.as_bytes()).await?;
            if connection.reply().await? != 250 {
                return Err(Ended::NotNow);
            }
        }
        let in_chunks = connection.offers_chunks && self.chance.percent(50);
        let wire = if in_chunks { chunks(message, &mut self.chance) } else { stuffed(message) };
        if !in_chunks {
            connection.say(b"DATA\r\n").await?;
            if connection.reply().await? != 354 {
                return Err(Ended::NotNow);
            }
        }
        let end = self.chance.percent(6).then(|| dying_point(wire.len(), &mut self.chance));
        let is_all = end.is_none_or(|end| end == wire.len());
        self.ledger.sends(id, if is_all { Sent::All } else { Sent::Part });
        connection.say(&wire[..end.unwrap_or(wire.len())]).await?;
        if end.is_some() {
            connection.die(&mut self.chance);
            return Err(Ended::Killed);
        }
        if in_chunks && connection.reply().await? != 250 {
            return Err(Ended::NotNow);
        }
        connection.reply().await
    }
}

/// How much of a message gets out: any part of it, or all but the last octets, or all, with nobody left to hear the
/// reply.
fn dying_point(length: usize, chance: &mut Chance) -> usize {
    match chance.below(3) {
        0 => chance.below(length),
        1 => length - 1 - chance.below(5),
        _ => length,
    }
}

/// The message with its final dot, as it goes out after DATA (RFC 5321 §4.5.2). All our lines end in CR LF.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 100);
    for line in message.split_inclusive(|&octet| octet == b'\n') {
        wire.extend_from_slice(if line.starts_with(b".") { b"." } else { b"" });
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// The message in two chunks (RFC 3030).
fn chunks(message: &[u8], chance: &mut Chance) -> Vec<u8> {
    let (one, other) = message.split_at(chance.below(message.len()));
    let one_line = format!("BDAT {}\r\n", one.len());
    let other_line = format!("BDAT {} LAST\r\n", other.len());
    [one_line.as_bytes(), one, other_line.as_bytes(), other].concat()
}

impl Connection {
    async fn open(server: SocketAddr) -> Result<Self, Ended> {
        let stream = TcpStream::connect(server).await.map_err(|_| Ended::NotNow)?;
        let mut connection = Self { stream: BufReader::new(stream), offers_chunks: false };
        if connection.reply().await? != 220 {
            return Err(Ended::NotNow);
        }
        connection.say(b"EHLO client.example.org\r\n").await?;
        if connection.reply().await? != 250 {
            return Err(Ended::NotNow);
        }
        Ok(connection)
    }

    async fn say(&mut self, octets: &[u8]) -> Result<(), Ended> {
        self.stream.get_mut().write_all(octets).await.map_err(|_| Ended::NotNow)
    }

    /// The code of the next reply, which must come, and must not be a refusal for good: nothing here deserves one.
    async fn reply(&mut self) -> Result<u16, Ended> {
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("a reply in time");
            if read.map_err(|_| Ended::NotNow)? == 0 || !line.ends_with('\n') {
                return Err(Ended::NotNow);
            }
            self.offers_chunks |= line.trim_end().ends_with("CHUNKING");
            assert!(!line.starts_with('5'), "refused for good: {line}");
            if line.as_bytes()[3] != b'-' {
                return line[..3].parse().map_err(|_| Ended::NotNow);
            }
        }
    }

    /// Half of those who die still say so by a FIN; the other half by a reset, which takes along what is on its way.
    fn die(&mut self, chance: &mut Chance) {
        if chance.percent(50) {
            let _ = self.stream.get_ref().set_zero_linger();
        }
    }
}
