//! One session: the client's commands go to the next hop in lockstep, its replies come back to the letter.
//! What a message goes through is in `message.rs`, who the client is in `introduction.rs`; here is all else.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::envelope::Parameter;
use crate::metrics::Metrics;
use crate::smtp::admission::Permit;
use crate::smtp::capabilities::{self, Offer};
use crate::smtp::command::{self, Command, ParseCommandError};
use crate::smtp::connection::{BadLine, Connection, MAX_AUTH_LINE, MAX_COMMAND_LINE};
use crate::smtp::end::End;
use crate::smtp::handler::{MessageHandler, SessionId, SessionInfo};
use crate::smtp::identity::{Identity, Protocol};
use crate::smtp::memory::MemoryBudget;
use crate::smtp::message::Chunks;
use crate::smtp::next_hop::{NextHop, RelayError};
use crate::smtp::proxy_header;
use crate::smtp::reply::Reply;
use crate::smtp::settings::{Introduction, Settings};
use crate::smtp::spool::Spool;
use crate::smtp::starttls::Latest;
use crate::smtp::stream::Stream;
use crate::smtp::transaction::Transaction;

/// How long the reply to one command may be kept back so that one write takes the next one's along.
const COALESCE_TIMEOUT: Duration = Duration::from_millis(50);

/// Most commands that go to the next hop at once; its replies must fit into what the network holds.
const MAX_BATCH: usize = 50;

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
}

impl Caller {
    /// The client's address, for the log and for limits.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.identity.address.unwrap_or(self.speaker), self.identity.port.unwrap_or(0))
    }
}

/// A session with both connections open.
#[derive(Debug)]
pub(super) struct Session<H: MessageHandler> {
    pub(super) around: Surroundings<H>,
    pub(super) info: SessionInfo,
    pub(super) caller: Caller,
    /// Whether the next hop has been told who the client is, or need not be.
    pub(super) introduced: bool,
    pub(super) client: Connection<Stream>,
    pub(super) next_hop: NextHop,
    pub(super) transaction: Transaction,
    /// What of the message has come in by BDAT.
    pub(super) chunks: Chunks<H::Watch>,
    /// The client's EHLO, HELO or LHLO that the next hop has accepted.
    pub(super) hello: Option<Vec<u8>>,
    /// Whether it was LHLO.
    pub(super) is_lmtp: bool,
    pub(super) next_hop_offers: NextHopOffers,
    /// Whether the client has given credentials: the next hop knows something that we cannot tell another.
    pub(super) has_authenticated: bool,
    /// Whether EHLO offered AUTH to this client.
    pub(super) offers_auth: bool,
    /// Whether EHLO offered it XFORWARD.
    pub(super) offers_xforward: bool,
    /// Whether EHLO or HELO must come before a mail transaction. The next hop sees to that, but for what it heard
    /// before STARTTLS.
    pub(super) needs_hello: bool,
    bad_commands: usize,
    /// The client's last reply was a 421: the next hop's hanging up needs no further word.
    pub(super) took_leave: bool,
}

/// What the next hop offers that is between it and us.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NextHopOffers {
    pub(super) pipelining: bool,
    pub(super) chunking: bool,
}

/// Resolves when the gateway is to stop; also when nobody is left to say so.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|&stop| stop).await;
}

impl<H: MessageHandler> Session<H> {
    /// Connects to the next hop and greets the client. Without a next hop the client is told so, and that was it.
    pub(super) async fn open(
        client: Connection<Stream>,
        caller: Caller,
        mut around: Surroundings<H>,
    ) -> Option<Self> {
        let settings = &around.settings;
        let info = SessionInfo {
            id: SessionId::next(),
            listener: settings.listener.clone(),
            client: caller.address(),
            helo: String::new(),
        };
        let connected = tokio::select! {
            connected = connect(settings, &caller, info.client) => connected,
            () = stopped(&mut around.shutdown) => {
                say_farewell(&info, client, None, &End::Shutdown, &around.metrics).await;
                return None;
            }
        };
        match connected {
            Ok((next_hop, greeting)) if greeting.is_positive() => {
                debug!(session = %info.id, client = %info.client, peer = %caller.peer, listener = info.listener,
                    "session begins");
                let mut session = Self::new(around, info, caller, client, next_hop);
                session.greet();
                return Some(session);
            }
            Ok((next_hop, greeting)) => {
                let end = End::Refused(greeting);
                say_farewell(&info, client, Some(next_hop), &end, &around.metrics).await;
            }
            Err(error) => say_farewell(&info, client, None, &error.into(), &around.metrics).await,
        }
        None
    }

    fn new(
        around: Surroundings<H>,
        info: SessionInfo,
        caller: Caller,
        client: Connection<Stream>,
        next_hop: NextHop,
    ) -> Self {
        Self {
            introduced: around.settings.introduction != Introduction::Xclient,
            around,
            info,
            caller,
            client,
            next_hop,
            transaction: Transaction::default(),
            chunks: Chunks::None,
            hello: None,
            is_lmtp: false,
            next_hop_offers: NextHopOffers::default(),
            has_authenticated: false,
            offers_auth: false,
            offers_xforward: false,
            needs_hello: false,
            bad_commands: 0,
            took_leave: false,
        }
    }

    /// Queues our greeting.
    pub(super) fn greet(&mut self) {
        let greeting = Reply::new(220, &format!("{} ESMTP", self.around.settings.hostname));
        self.client.queue(greeting.octets());
    }

    /// Serves the client until the session ends.
    pub(super) async fn run(&mut self) -> End {
        let Err(end) = self.converse().await;
        match end {
            End::NextHop(_) | End::LostWhileIdle(_) | End::Farewell(_) if self.took_leave => {
                End::FarewellSaid
            }
            end => end,
        }
    }

    /// Takes leave of both sides.
    pub(super) async fn close(self, end: &End) {
        let next_hop = end.leaves_next_hop_waiting().then_some(self.next_hop);
        say_farewell(&self.info, self.client, next_hop, end, &self.around.metrics).await;
    }

    /// The panic that ended the session must not leave the client without a word.
    pub(super) async fn close_after_panic(mut self) {
        self.client.queue(Reply::new(421, "4.3.0 internal error, closing connection").octets());
        self.client.close().await;
    }

    async fn converse(&mut self) -> Result<Infallible, End> {
        loop {
            match self.next_line(MAX_COMMAND_LINE).await? {
                Ok(line) => match command::parse(&line) {
                    Ok(command) if self.can_batch(&command) => self.obey_batch(command, line).await?,
                    Ok(command) => self.obey(command, &line).await?,
                    Err(error) => self.answer_malformed(&error)?,
                },
                Err(bad) => self.answer_bad(&Reply::new(500, &format!("5.5.2 {bad}")))?,
            }
        }
    }

    fn answer_malformed(&mut self, error: &ParseCommandError) -> Result<(), End> {
        self.answer_bad(&Reply::from(error))?;
        match error {
            ParseCommandError::MalformedChunk => Err(End::ChunkWithoutSize),
            _ => Ok(()),
        }
    }

    /// Whether a command may go to the next hop together with others (RFC 2920 §3.1): it changes nothing but the mail
    /// transaction, and nobody but the next hop has a say in it.
    fn can_batch(&self, command: &Command) -> bool {
        let is_ours = match command {
            Command::Mail(_, parameters) => self.refusal_of_mail(parameters).is_some(),
            Command::Rcpt(..) => self.refusal_of_rcpt().is_some(),
            _ => true,
        };
        !is_ours && self.introduced && self.next_hop_offers.pipelining
    }

    /// Sends the commands of a pipelining client that are here already all at once.
    async fn obey_batch(&mut self, command: Command, line: Vec<u8>) -> Result<(), End> {
        let (mut commands, mut lines) = (vec![command], vec![line]);
        let mut next = None;
        while self.client.has_line() && lines.len() < MAX_BATCH && next.is_none() {
            let line = self.next_line(MAX_COMMAND_LINE).await?;
            match line.as_deref().ok().and_then(|line| command::parse(line).ok()) {
                Some(command) if self.can_batch(&command) => {
                    commands.push(command);
                    lines.extend(line);
                }
                _ => next = Some(line),
            }
        }
        let replies = self.exchange_all(&lines).await?;
        for (command, reply) in commands.into_iter().zip(replies) {
            self.client.queue(final_reply(&reply)?);
            if reply.code() == 421 {
                return Err(End::FarewellSaid);
            }
            self.note(command, &reply);
        }
        match next {
            None => Ok(()),
            Some(Err(bad)) => self.answer_bad(&Reply::new(500, &format!("5.5.2 {bad}"))),
            Some(Ok(line)) => match command::parse(&line) {
                Ok(command) => self.obey(command, &line).await,
                Err(error) => self.answer_malformed(&error),
            },
        }
    }

    /// The next hop's reply to MAIL or RCPT makes the mail transaction what it is.
    fn note(&mut self, command: Command, reply: &Reply) {
        match command {
            Command::Mail(path, parameters) if reply.is_positive() => {
                self.transaction.begin(path, parameters);
            }
            Command::Rcpt(path, parameters) if reply.is_positive() => {
                self.transaction.add_recipient(path, parameters);
            }
            _ => {}
        }
    }

    /// Waits for the client, and meanwhile for the next hop's farewell and the gateway's end.
    async fn next_line(&mut self, max: usize) -> Result<Result<Vec<u8>, BadLine>, End> {
        // One write answers all commands of a pipelining client (RFC 2920 §3.2).
        if !self.client.has_line() {
            self.client.flush().await?;
        }
        let deadline = Instant::now() + self.around.settings.limits.command_timeout;
        tokio::select! {
            biased;
            line = self.client.read_line(max, deadline) => return Ok(line?),
            () = self.next_hop.idle_event() => {}
            () = stopped(&mut self.around.shutdown) => return Err(End::Shutdown),
        }
        Err(self.next_hop.farewell().await.map_or_else(End::LostWhileIdle, End::Farewell))
    }

    async fn obey(&mut self, command: Command, line: &[u8]) -> Result<(), End> {
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
            Command::Quit => self.quit(line).await,
            Command::Auth if self.offers_auth => self.auth(line).await,
            Command::StartTls => Box::pin(self.starttls()).await,
            Command::Auth => self.answer_bad(&Reply::new(502, "5.5.1 command not implemented")),
            Command::Xclient(arguments) => self.xclient(&arguments),
            Command::Xforward => self.xforward(line).await,
            Command::Unknown => self.answer_bad(&Reply::new(500, "5.5.1 command not recognized")),
            Command::Http => Err(End::Http),
        }
    }

    async fn hello(&mut self, name: &str, command: &Command, line: &[u8]) -> Result<(), End> {
        let extended = !matches!(command, Command::Helo(_));
        let is_lmtp = matches!(command, Command::Lhlo(_));
        self.caller.identity.helo = Some(name.to_owned());
        self.caller.identity.protocol = Some(if extended { Protocol::Esmtp } else { Protocol::Smtp });
        let reply = self.ask_as(line, is_lmtp).await?;
        if reply.is_positive() {
            self.reset();
            self.info.helo = name.to_owned();
            self.hello = Some(line.to_owned());
            self.is_lmtp = is_lmtp;
            self.needs_hello = false;
            let offers = |keyword| extended && capabilities::offers(&reply, keyword);
            self.next_hop_offers =
                NextHopOffers { pipelining: offers("PIPELINING"), chunking: offers("CHUNKING") };
            self.offers_auth = self.may_auth() && offers("AUTH");
            self.offers_xforward = self.may_xforward() && offers("XFORWARD");
        }
        if extended && reply.code() == 250 {
            let settings = &self.around.settings;
            let (hostname, message_size) = (settings.hostname.as_str(), settings.limits.message_size);
            let offer = Offer {
                hostname,
                message_size,
                starttls: self.offers_starttls(),
                auth: self.offers_auth,
                xclient: self.may_xclient(),
                xforward: self.offers_xforward,
            };
            self.client.queue(offer.reply(&reply).octets());
        } else {
            self.client.queue(reply.octets());
        }
        Ok(())
    }

    /// The mail transaction is over.
    pub(super) fn reset(&mut self) {
        self.transaction.reset();
        self.chunks = Chunks::None;
    }

    /// Credentials cross no network in clear: not from the client to us, not on the way to a proxy in front of us,
    /// and not from us to the next hop.
    fn may_auth(&self) -> bool {
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        let Caller { peer, speaker, identity, .. } = &self.caller;
        // A proxy that writes a PROXY header passes the client's TLS on; one that says XCLIENT has TLS of its own.
        let to_us = self.client.stream().is_tls() || (is_loopback(*peer) && is_loopback(*speaker));
        let to_speaker = identity.address.is_some_and(|client| client == *speaker || is_loopback(client));
        to_us && to_speaker && self.next_hop.is_private()
    }

    async fn mail_or_rcpt(&mut self, command: Command, line: &[u8]) -> Result<(), End> {
        let refusal = match &command {
            Command::Mail(_, parameters) => self.refusal_of_mail(parameters),
            _ => self.refusal_of_rcpt(),
        };
        match refusal {
            Some(reply) => self.client.queue(reply.octets()),
            None => {
                let reply = self.pass(line).await?;
                self.note(command, &reply);
            }
        }
        Ok(())
    }

    /// Why MAIL does not go to the next hop.
    fn refusal_of_mail(&self, parameters: &[Parameter]) -> Option<Reply> {
        if self.needs_hello {
            return Some(Reply::new(503, "5.5.1 EHLO first"));
        }
        let max = self.around.settings.limits.message_size;
        let too_large = command::declared_size(parameters).is_some_and(|size| size > max);
        too_large.then(|| Reply::new(552, "5.3.4 message size exceeds limit"))
    }

    /// Why RCPT does not go there: the message has begun to come in for those who were named before.
    fn refusal_of_rcpt(&self) -> Option<Reply> {
        let has_begun = !matches!(self.chunks, Chunks::None);
        has_begun.then(|| Reply::new(503, "5.5.1 the message has begun"))
    }

    async fn rset(&mut self, line: &[u8]) -> Result<(), End> {
        if self.pass(line).await?.is_positive() {
            self.reset();
        }
        Ok(())
    }

    /// QUIT is answered whatever has become of the next hop.
    async fn quit(&mut self, line: &[u8]) -> Result<(), End> {
        let reply = match self.next_hop.command(line).await {
            Ok(reply) if reply.is_final() => reply,
            _ => Reply::new(221, "2.0.0 bye"),
        };
        self.client.queue(reply.octets());
        Err(End::Quit)
    }

    /// AUTH (RFC 4954 §4): after a 334 the client's line is no command, and none of it is for the log.
    async fn auth(&mut self, line: &[u8]) -> Result<(), End> {
        let mut reply = self.next_hop.command(line).await?;
        while reply.code() == 334 {
            self.client.queue(reply.octets());
            match self.next_line(MAX_AUTH_LINE).await? {
                Ok(answer) => reply = self.next_hop.command(&answer).await?,
                Err(bad) => {
                    // `*` ends the exchange for the next hop too.
                    self.next_hop.command(b"*").await?;
                    return self.answer_bad(&Reply::new(500, &format!("5.5.2 {bad}")));
                }
            }
        }
        self.client.queue(final_reply(&reply)?);
        self.took_leave = reply.code() == 421;
        self.has_authenticated |= reply.is_positive();
        Ok(())
    }

    /// Sends a line to the next hop and its reply to the client.
    pub(super) async fn pass(&mut self, line: &[u8]) -> Result<Reply, End> {
        let reply = self.ask(line).await?;
        self.client.queue(reply.octets());
        Ok(reply)
    }

    /// Sends a line to the next hop. A 3yz would have it wait for something that the client never sends.
    pub(super) async fn ask(&mut self, line: &[u8]) -> Result<Reply, End> {
        self.ask_as(line, self.is_lmtp).await
    }

    async fn ask_as(&mut self, line: &[u8], is_lmtp: bool) -> Result<Reply, End> {
        if !self.introduced {
            Box::pin(self.introduce(is_lmtp)).await?;
        }
        let reply = self.exchange(line).await?;
        final_reply(&reply)?;
        self.took_leave = reply.code() == 421;
        Ok(reply)
    }

    /// Sends a line to the next hop, and meanwhile to the client what waits for it.
    pub(super) async fn exchange(&mut self, line: &[u8]) -> Result<Reply, End> {
        let Self { client, next_hop, .. } = self;
        meanwhile_flushing(client, next_hop.command(line)).await
    }

    /// The same for several lines, with a reply to each up to a 421.
    async fn exchange_all(&mut self, lines: &[Vec<u8>]) -> Result<Vec<Reply>, End> {
        let Self { client, next_hop, .. } = self;
        meanwhile_flushing(client, next_hop.commands(lines)).await
    }

    /// Leaves a next hop that has got part of a message, by hanging up before its end, and goes on with a new connection:
    /// to the client nothing has happened but the refusal of that message.
    pub(super) async fn replace_next_hop(&mut self) -> Result<(), End> {
        self.next_hop.break_off().await;
        if self.has_authenticated {
            return Err(End::MessageBrokenOff);
        }
        let (next_hop, greeting) = connect(&self.around.settings, &self.caller, self.info.client).await?;
        self.next_hop = next_hop;
        if !greeting.is_positive() {
            return Err(End::Refused(greeting));
        }
        self.introduced = self.around.settings.introduction != Introduction::Xclient;
        if let Some(hello) = self.hello.clone() {
            let reply = self.ask(&hello).await?;
            if !reply.is_positive() {
                return Err(RelayError::UnexpectedReply(reply).into());
            }
        }
        Ok(())
    }

    /// Answers a command that we refuse ourselves; too many of those end the session.
    pub(super) fn answer_bad(&mut self, reply: &Reply) -> Result<(), End> {
        self.bad_commands += 1;
        if self.bad_commands > self.around.settings.limits.bad_commands {
            return Err(End::TooManyBadCommands);
        }
        self.client.queue(reply.octets());
        Ok(())
    }
}

/// Waits for the next hop, and meanwhile sends the client what waits for it.
async fn meanwhile_flushing<T>(
    client: &mut Connection<Stream>,
    asking: impl Future<Output = Result<T, RelayError>>,
) -> Result<T, End> {
    let mut asking = std::pin::pin!(asking);
    if client.has_queued() {
        match timeout(COALESCE_TIMEOUT, &mut asking).await {
            Ok(answer) => return Ok(answer?),
            Err(_) => client.flush().await?,
        }
    }
    Ok(asking.await?)
}

/// Connects to the next hop, and tells it by a PROXY header for whom if it wants to know.
async fn connect(
    settings: &Settings,
    caller: &Caller,
    client: SocketAddr,
) -> Result<(NextHop, Reply), RelayError> {
    let header = match settings.introduction {
        Introduction::ProxyHeader => {
            caller.identity.destination.map(|destination| proxy_header::written(client, destination))
        }
        Introduction::Nothing | Introduction::Xclient => None,
    };
    Box::pin(NextHop::open(settings, header.as_deref())).await
}

fn final_reply(reply: &Reply) -> Result<&[u8], RelayError> {
    if reply.is_final() { Ok(reply.octets()) } else { Err(RelayError::UnexpectedReply(reply.clone())) }
}

/// Says the last words to the client, and QUIT to a next hop that waits for a command.
async fn say_farewell(
    info: &SessionInfo,
    mut client: Connection<Stream>,
    next_hop: Option<NextHop>,
    end: &End,
    metrics: &Metrics,
) {
    end.log(info);
    if let Some(reason) = end.next_hop_failure() {
        metrics.next_hop_failed(&info.listener, reason);
    }
    if let Some(reply) = end.reply() {
        client.queue(reply.octets());
    }
    let quit = async {
        if let Some(next_hop) = next_hop {
            next_hop.quit().await;
        }
    };
    tokio::join!(client.close(), quit);
}
