//! A mail server that is killed again and again: whole, with all its connections, or one session at a point where it
//! hurts. What it took it has recorded before it says 250.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::ledger::Ledger;

const OFFER: &str = "250-mail.partner.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 CHUNKING\r\n";

/// Where a session dies, or is unkind, around one message.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    /// Hangs up where 354 should be said.
    BeforeGoAhead,
    /// Hangs up after so many octets of the message.
    Midway(usize),
    /// Hangs up with the whole message, which it forgets.
    Forgetful,
    /// Hangs up with the message on record, and no reply.
    Mute,
    /// The same within the reply.
    Stammering,
    /// Takes nothing for now.
    Busy,
}

impl Mishap {
    fn any(chance: &mut Chance) -> Option<Self> {
        let midway = if chance.percent(80) { chance.below(8_000) } else { chance.below(400_000) };
        let all = [
            Self::BeforeGoAhead,
            Self::Midway(midway),
            Self::Forgetful,
            Self::Mute,
            Self::Stammering,
            Self::Busy,
        ];
        chance.percent(6).then(|| all[chance.below(all.len())])
    }
}

/// How often it was killed.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    pub(crate) whole: AtomicUsize,
    pub(crate) sessions: AtomicUsize,
}

/// Serves on `address`, dies, and comes back, without end.
pub(crate) async fn live_and_die(
    address: SocketAddr,
    ledger: Arc<Ledger>,
    kills: Arc<Kills>,
    mut chance: Chance,
) {
    loop {
        // The sessions end with the set that they are in, wherever they are.
        let mut sessions = JoinSet::new();
        if let Ok(listener) = TcpListener::bind(address).await {
            let life = Duration::from_millis(300 + chance.below(700) as u64);
            let _ = timeout(life, accept(&listener, &mut sessions, &ledger, &kills, &mut chance)).await;
            kills.whole.fetch_add(1, Ordering::Relaxed);
        }
        drop(sessions);
        sleep(Duration::from_millis(chance.below(100) as u64)).await;
    }
}

async fn accept(
    listener: &TcpListener,
    sessions: &mut JoinSet<()>,
    ledger: &Arc<Ledger>,
    kills: &Arc<Kills>,
    chance: &mut Chance,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (ledger, kills) = (Arc::clone(ledger), Arc::clone(kills));
        let chance = Chance::new(chance.below(usize::MAX) as u64, 0);
        sessions.spawn(async move {
            let mut session = Session { stream: BufReader::new(stream), ledger, chance, message: Vec::new() };
            if session.serve().await.is_none() {
                kills.sessions.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Those that have ended are not kept.
        while sessions.try_join_next().is_some() {}
    }
}

struct Session {
    stream: BufReader<TcpStream>,
    ledger: Arc<Ledger>,
    chance: Chance,
    message: Vec<u8>,
}

impl Session {
    /// `None` if it died before the client was done.
    async fn serve(&mut self) -> Option<()> {
        self.say("220 mail.partner.example ESMTP\r\n").await?;
        let mut mishap = None;
        loop {
            let Some(line) = self.line().await else { return Some(()) };
            match line.split([' ', '\r']).next()? {
                "EHLO" => self.say(OFFER).await?,
                "MAIL" => {
                    mishap = Mishap::any(&mut self.chance);
                    self.message.clear();
                    self.say("250 2.1.0 ok\r\n").await?;
                }
                "DATA" => {
                    if let Some(Mishap::BeforeGoAhead) = mishap {
                        return None;
                    }
                    self.say("354 go ahead\r\n").await?;
                    self.read_data(mishap).await?;
                    self.take(mishap).await?;
                }
                "BDAT" => {
                    let mut words = line.split_whitespace().skip(1);
                    let size: usize = words.next()?.parse().ok()?;
                    self.read_chunk(size, mishap).await?;
                    match words.next() {
                        Some(_last) => self.take(mishap).await?,
                        None => self.say("250 2.0.0 more\r\n").await?,
                    }
                }
                "QUIT" => return self.say("221 2.0.0 bye\r\n").await,
                _ => self.say("250 2.0.0 ok\r\n").await?,
            }
        }
    }

    async fn say(&mut self, reply: &str) -> Option<()> {
        self.stream.get_mut().write_all(reply.as_bytes()).await.ok()
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.ok()?;
        (read > 0).then_some(line)
    }

    async fn read_data(&mut self, mishap: Option<Mishap>) -> Option<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = self.stream.read_until(b'\n', &mut line).await.ok()?;
            match line.as_slice() {
                _ if read == 0 || self.is_over(mishap) => return None,
                b".\r\n" => return Some(()),
                [b'.', rest @ ..] => self.message.extend_from_slice(rest),
                line => self.message.extend_from_slice(line),
            }
        }
    }

    async fn read_chunk(&mut self, size: usize, mishap: Option<Mishap>) -> Option<()> {
        let start = self.message.len();
        self.message.resize(start + size, 0);
        self.stream.read_exact(&mut self.message[start..]).await.ok()?;
        (!self.is_over(mishap)).then_some(())
    }

    fn is_over(&self, mishap: Option<Mishap>) -> bool {
        matches!(mishap, Some(Mishap::Midway(octets)) if self.message.len() >= octets)
    }

    /// The end of a message: recorded first, and only then taken.
    async fn take(&mut self, mishap: Option<Mishap>) -> Option<()> {
        let message = std::mem::take(&mut self.message);
        match mishap {
            Some(Mishap::Forgetful) => return None,
            Some(Mishap::Busy) => return self.say("451 4.3.2 try later\r\n").await,
            _ => self.ledger.deliver(message),
        }
        match mishap {
            Some(Mishap::Mute) => None,
            Some(Mishap::Stammering) => {
                self.say("250 2.").await?;
                None
            }
            _ => self.say("250 2.0.0 taken\r\n").await,
        }
    }
}
