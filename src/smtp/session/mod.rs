//! One session: the client's commands go to the next hop in lockstep, its replies come back to the letter.
//!
//! What a session holds is sorted by how long it lasts: `Session` itself is the client's connection, `Hop` one connection
//! to the next hop, `Hello` what counts since the client's greeting, `Transaction` one mail transaction. So each is
//! forgotten by one assignment.
//!
//! `impl Session` is in five files. Here are the session's life and what belongs to no other part; `client` has who the client
//! is, `envelope` MAIL and RCPT, `message` DATA and BDAT, `renewal` a new connection to the next hop.

mod arrival;
mod client;
mod end;
mod envelope;
mod hop;
mod message;
mod refusal;
mod renewal;
mod transaction;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::Instant;
use tracing::{debug, error, info};

use self::client::Hello;
use self::end::End;
use self::hop::{Hop, final_reply};
use self::refusal::Refusals;
use self::transaction::{Chunks, Transaction};
use crate::metrics::Metrics;
use crate::smtp::admission::Permit;
use crate::smtp::connection::{BadLine, Connection, ConnectionError, MAX_COMMAND_LINE};
use crate::smtp::handler::{MessageHandler, SessionId, SessionInfo};
use crate::smtp::memory::{MemoryBudget, Reservation, SESSION, TLS};
use crate::smtp::next_hop::NextHop;
use crate::smtp::protocol::command::{self, Command, ParseCommandError};
use crate::smtp::protocol::identity::Identity;
use crate::smtp::protocol::reply::Reply;
use crate::smtp::settings::{Latest, Settings};
use crate::smtp::spool::Spool;
use crate::smtp::stream::Stream;

/// The module that the log names for what a client did: deploy/fail2ban looks for it.
const LOG: &str = "waxseal::smtp::session";

/// Commands that one client has obeyed before others get their turn: one with many at hand never waits for the network.
const COMMANDS_A_TURN: usize = 8;

/// An envelope is there twice while it is written down.
const COPIES: u64 = 2;

/// What a session is given by the server.
#[derive(Debug)]
pub(super) struct Surroundings<H> {
    pub(super) settings: Arc<Settings>,
    pub(super) latest: Latest,
    pub(super) handler: Arc<H>,
    pub(super) memory: Arc<MemoryBudget>,
    pub(super) spool: Arc<Spool>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// Who connected, for whom, and the place that it takes.
#[derive(Debug)]
pub(super) struct Caller {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// Who says what comes: the peer, or whom its PROXY header names. Whether XCLIENT and XFORWARD count depends on
    /// this alone, not on whom XCLIENT announced.
    pub(super) speaker: IpAddr,
    pub(super) identity: Identity,
    pub(super) permit: Permit,
    /// The memory that its session takes.
    pub(super) memory: Reservation,
}

impl Caller {
    /// The client's address, for the log and for limits.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.identity.address.unwrap_or(self.speaker), self.identity.port.unwrap_or(0))
    }
}

/// A session with both connections open.
#[derive(Debug)]
struct Session<H: MessageHandler> {
    around: Surroundings<H>,
    id: SessionId,
    caller: Caller,
    client: Connection<Stream>,
    hop: Hop,
    /// The client's greeting that was accepted; nothing of it counts after STARTTLS and XCLIENT.
    hello: Option<Hello>,
    transaction: Transaction<H::Watch, H::Account>,
    has_said_starttls: bool,
    bad_commands: usize,
    refusals: Refusals,
}

/// Resolves when the gateway is to stop; also when nobody is left to say so.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|&stop| stop).await;
}

/// Serves a client until its session ends.
pub(super) async fn serve<H: MessageHandler>(
    client: Connection<Stream>,
    caller: Caller,
    around: Surroundings<H>,
) {
    let Some(mut session) = Box::pin(Session::open(client, caller, around)).await else { return };
    match catch_panic(session.run()).await {
        Some(end) => Box::pin(session.close(&end)).await,
        None => Box::pin(session.close_after_panic()).await,
    }
}

/// A panic ends the session that it happens in, and only that. What the session was about is not looked at
/// again but for its connections, so nothing half-changed is seen.
async fn catch_panic<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
        Err(_) => Poll::Ready(None),
    })
    .await
}

impl<H: MessageHandler> Session<H> {
    /// Connects to the next hop and greets the client. Without a next hop the client is told so, and that was it.
    async fn open(client: Connection<Stream>, caller: Caller, mut around: Surroundings<H>) -> Option<Self> {
        let settings = Arc::clone(&around.settings);
        let info = SessionInfo {
            id: SessionId::next(),
            listener: settings.listener.clone(),
            client: caller.address(),
            client_name: caller.identity.any_name(),
        };
        let connected = tokio::select! {
            connected = Hop::open(&settings, &caller, info.client) => connected,
            () = stopped(&mut around.shutdown) => {
                say_farewell(&info, client, None, &End::Shutdown, &around).await;
                return None;
            }
        };
        match connected {
            Ok((hop, greeting)) if greeting.is_positive() => {
                debug!(session = %info.id, client = %info.client, peer = %caller.peer, listener = info.listener,
                    "session begins");
                let SessionInfo { id, listener, .. } = info;
                let mut session = Self {
                    around,
                    refusals: Refusals::new(id.clone(), listener),
                    id,
                    caller,
                    client,
                    hop,
                    hello: None,
                    transaction: Transaction::default(),
                    has_said_starttls: false,
                    bad_commands: 0,
                };
                session.greet();
                return Some(session);
            }
            Ok((hop, greeting)) => {
                let end = End::Refused(greeting);
                say_farewell(&info, client, Some(hop.next_hop), &end, &around).await;
            }
            Err(error) => say_farewell(&info, client, None, &error.into(), &around).await,
        }
        None
    }

    /// The client's address: the one that XFORWARD names for a message, else the session's.
    fn address(&self) -> SocketAddr {
        self.transaction.client.unwrap_or_else(|| self.caller.address())
    }

    fn listener(&self) -> &str {
        &self.around.settings.listener
    }

    /// What others may know of the session.
    fn info(&self) -> SessionInfo {
        // Whom XFORWARD names is another client than the one that greeted.
        let client_name = match self.transaction.client {
            Some(_) => self.transaction.client_name.clone(),
            None => self.caller.identity.any_name(),
        };
        let (id, listener) = (self.id.clone(), self.listener().to_owned());
        SessionInfo { id, listener, client: self.address(), client_name }
    }

    /// Queues our greeting.
    fn greet(&mut self) {
        let greeting = Reply::new(220, &format!("{} ESMTP", self.around.settings.hostname));
        self.client.queue(greeting.octets());
    }

    /// Serves the client until the session ends.
    async fn run(&mut self) -> End {
        let Err(end) = self.converse().await;
        let end = match self.what_was_cut_off(end) {
            End::NextHop(_) | End::LostWhileIdle(_) | End::Farewell(_) if self.hop.took_leave => {
                End::FarewellSaid
            }
            end => end,
        };
        let client = self.address();
        self.refusals.end(client);
        if let End::CutOff { .. } = end {
            info!(target: LOG, session = %self.id, listener = self.listener(), %client,
                reverse_path = self.transaction.reverse_path(), recipients = self.transaction.recipients(),
                "message cut off: {end}");
        }
        end
    }

    /// A client that is gone from within a mail transaction leaves a message behind that is not whole.
    fn what_was_cut_off(&self, end: End) -> End {
        let size = match (&end, &self.transaction.chunks) {
            (End::ClientGone, Chunks::Arriving(arrival)) => Some(arrival.size()),
            (End::ClientGone, _) if self.transaction.is_open() => None,
            _ => return end,
        };
        End::CutOff { size, error: ConnectionError::Closed }
    }

    /// Takes leave of both sides.
    async fn close(self, end: &End) {
        let info = self.info();
        let next_hop = end.leaves_next_hop_waiting().then_some(self.hop.next_hop);
        say_farewell(&info, self.client, next_hop, end, &self.around).await;
    }

    /// The panic that ended the session must not leave the client without a word.
    async fn close_after_panic(mut self) {
        error!(session = %self.id, client = %self.caller.address(), "session ended by a fault in this program");
        self.client.queue(Reply::new(421, "4.3.0 internal error, closing connection").octets());
        self.client.close().await;
    }

    async fn converse(&mut self) -> Result<Infallible, End> {
        let mut commands = 0_usize;
        loop {
            self.settle();
            commands += 1;
            if commands.is_multiple_of(COMMANDS_A_TURN) {
                yield_now().await;
            }
            let line = self.next_line(MAX_COMMAND_LINE).await?;
            match line.as_deref().map(command::parse) {
                Ok(Ok(command)) if self.can_batch(&command, &[]) => {
                    self.obey_batch(command, line.as_deref().unwrap_or_default()).await?;
                }
                _ => self.obey_line(line).await?,
            }
        }
    }

    /// Does what one line asks.
    async fn obey_line(&mut self, line: Result<Vec<u8>, BadLine>) -> Result<(), End> {
        let line = match line {
            Ok(line) => line,
            Err(bad) => return self.answer_bad(&Reply::new(500, &format!("5.5.2 {bad}"))),
        };
        match command::parse(&line) {
            Ok(command) => self.obey(command, &line).await,
            Err(error) => {
                self.answer_bad(&Reply::from(&error))?;
                // Nobody knows where the chunk ends.
                if error == ParseCommandError::MalformedChunk { Err(End::ChunkWithoutSize) } else { Ok(()) }
            }
        }
    }

    /// Waits for the client, and meanwhile for the next hop's farewell and the gateway's end.
    async fn next_line(&mut self, max: usize) -> Result<Result<Vec<u8>, BadLine>, End> {
        // One write answers all commands of a pipelining client (RFC 2920 §3.2).
        if !self.client.has_line() || self.client.is_queue_full() {
            self.client.flush().await?;
        }
        let deadline = Instant::now() + self.around.settings.limits.command_timeout;
        // Between chunks of a message it is the client's upload that takes its time.
        if matches!(self.transaction.chunks, Chunks::Arriving(_)) {
            return tokio::select! {
                biased;
                line = self.hop.next_hop.kept_awake(self.client.read_line(max, deadline)) => Ok(line?),
                () = stopped(&mut self.around.shutdown) => Err(End::Shutdown),
            };
        }
        tokio::select! {
            biased;
            line = self.client.read_line(max, deadline) => return Ok(line?),
            () = self.hop.next_hop.idle_event() => {}
            () = stopped(&mut self.around.shutdown) => return Err(End::Shutdown),
        }
        if self.hop.next_hop.wakefulness.has_own_chores()
            && !self.hop.has_authenticated
            && !self.hop.took_leave
        {
            // It may have had enough of what we said, not of the client.
            self.hop.next_hop.give_up();
            return Box::pin(self.next_line(max)).await;
        }
        Err(self.hop.next_hop.farewell().await.map_or_else(End::LostWhileIdle, End::Farewell))
    }

    async fn obey(&mut self, command: Command, line: &[u8]) -> Result<(), End> {
        let line = &*command::for_next_hop(&command, line);
        match command {
            Command::Ehlo(ref name) | Command::Helo(ref name) | Command::Lhlo(ref name) => {
                self.hello(name, &command, line).await
            }
            Command::Mail(..) | Command::Rcpt(..) => self.mail_or_rcpt(command, line).await,
            // Boxed, so that a session without a message stays small.
            Command::Data => Box::pin(self.data()).await,
            Command::Bdat { size, is_last } => Box::pin(self.bdat(size, is_last)).await,
            Command::Rset => self.rset(line).await,
            Command::Query => self.pass(line).await.map(drop),
            Command::Lookup => match self.refusal_of_strangers() {
                Some(reply) => self.answer_bad(&reply),
                None => self.pass(line).await.map(drop),
            },
            Command::Quit => self.quit(line).await,
            Command::Auth if self.offers_auth() => self.auth(line).await,
            Command::StartTls => Box::pin(self.starttls()).await,
            Command::Auth => self.answer_bad(&Reply::new(502, "5.5.1 command not implemented")),
            Command::Xclient(arguments) => Box::pin(self.xclient(&arguments)).await,
            Command::Xforward => self.xforward(line).await,
            Command::Unknown => self.answer_bad(&Reply::new(500, "5.5.1 command not recognized")),
            Command::Http => Err(End::Http),
        }
    }

    /// What the session takes without an envelope.
    fn own_memory(&self) -> u64 {
        SESSION + if self.client.stream().is_tls() { TLS } else { 0 }
    }

    /// Counts what the session holds between two commands, and no more.
    fn settle(&mut self) {
        let envelope = COPIES * self.transaction.octets() as u64;
        let envelope = if envelope <= SESSION / 2 { 0 } else { envelope };
        let read_ahead = self.client.buffered().len() as u64;
        let read_ahead = if read_ahead <= SESSION / 4 { 0 } else { read_ahead };
        let octets = self.own_memory() + envelope + read_ahead;
        self.caller.memory.set_to(octets);
    }

    async fn rset(&mut self, line: &[u8]) -> Result<(), End> {
        if self.pass(line).await?.is_positive() {
            self.transaction = Transaction::default();
            self.hop.has_leftover = false;
        }
        Ok(())
    }

    /// QUIT is answered whatever has become of the next hop, and soon.
    async fn quit(&mut self, line: &[u8]) -> Result<(), End> {
        let reply = self.hop.next_hop.goodbye(line).await;
        self.client.queue(reply.unwrap_or_else(|| Reply::new(221, "2.0.0 bye")).octets());
        Err(End::Quit)
    }

    /// Sends a line to the next hop and its reply to the client.
    async fn pass(&mut self, line: &[u8]) -> Result<Reply, End> {
        self.hop.has_told_more = true;
        let reply = self.ask_as(line, self.is_lmtp()).await?;
        self.hop.took_leave = reply.code() == 421;
        self.client.queue(reply.octets());
        Ok(reply)
    }

    /// Sends a line to the next hop, which is told before who the client is.
    async fn ask_as(&mut self, line: &[u8], is_lmtp: bool) -> Result<Reply, End> {
        if self.hop.next_hop.is_gone() {
            Box::pin(self.rouse()).await?;
        }
        if !self.hop.introduced {
            let hello =
                format!("{} {}", if is_lmtp { "LHLO" } else { "EHLO" }, self.around.settings.hostname);
            let Self { hop, client, caller, .. } = self;
            Box::pin(hop.introduce(client, &caller.identity, &hello)).await?;
        }
        let reply = self.hop.exchange(&mut self.client, line).await?;
        final_reply(&reply)?;
        Ok(reply)
    }

    /// Whether the client speaks LMTP (RFC 2033).
    fn is_lmtp(&self) -> bool {
        self.hello.is_some_and(|hello| hello.is_lmtp)
    }

    /// Answers a command that we refuse ourselves; too many of those end the session.
    fn answer_bad(&mut self, reply: &Reply) -> Result<(), End> {
        self.count_bad()?;
        self.log_refusal("command refused", None, reply);
        self.client.queue(reply.octets());
        Ok(())
    }

    /// Says in the log that a command was refused.
    fn log_refusal(&mut self, what: &str, recipient: Option<&str>, reply: &Reply) {
        let paths = (self.transaction.reverse_path(), recipient);
        let client = self.transaction.client.unwrap_or_else(|| self.caller.address());
        self.refusals.command(client, what, paths, reply);
    }

    /// One bad command more; too many end the session.
    fn count_bad(&mut self) -> Result<(), End> {
        self.bad_commands += 1;
        let is_one_too_many = self.bad_commands > self.around.settings.limits.bad_commands;
        if is_one_too_many { Err(End::TooManyBadCommands) } else { Ok(()) }
    }
}

/// Says the last words to the client, and QUIT to a next hop that waits for a command.
async fn say_farewell<H>(
    info: &SessionInfo,
    mut client: Connection<Stream>,
    next_hop: Option<NextHop>,
    end: &End,
    around: &Surroundings<H>,
) {
    end.log(info, &around.settings);
    if let Some(reason) = end.next_hop_failure() {
        around.metrics.next_hop_failed(&info.listener, reason);
    }
    if let Some(reply) = end.reply() {
        client.queue(reply.octets());
    }
    let quit = async {
        if let Some(mut next_hop) = next_hop {
            next_hop.quit().await;
        }
    };
    tokio::join!(client.close(), quit);
}
