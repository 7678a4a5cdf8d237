//! One session: the client's commands go to the next hop in lockstep, its replies come back to the letter.
//! What a message goes through is in `message.rs`, who the client is in `introduction.rs`, what the log says of refusals
//! in `refusal.rs`; here is all else.

mod arrival;
mod end;
mod introduction;
mod message;
mod refusal;
mod renewal;
mod starttls;
mod transaction;

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::envelope::Parameter;
use crate::metrics::Metrics;
use crate::smtp::admission::Permit;
use crate::smtp::connection::{BadLine, Connection, MAX_AUTH_LINE, MAX_COMMAND_LINE};
use crate::smtp::handler::{MessageHandler, SessionId, SessionInfo};
use crate::smtp::memory::{MemoryBudget, Reservation, SESSION, SHARE, TLS};
use crate::smtp::next_hop::{NextHop, RelayError};
use crate::smtp::protocol::capabilities::{self, Offer};
use crate::smtp::protocol::command::{self, Command, ParseCommandError};
use crate::smtp::protocol::identity::{Identity, Protocol};
use crate::smtp::protocol::mechanisms;
use crate::smtp::protocol::parameters::{self, Announced, Place};
use crate::smtp::protocol::proxy_header;
use crate::smtp::protocol::reply::Reply;
use crate::smtp::session::end::End;
use crate::smtp::session::message::Chunks;
use crate::smtp::session::transaction::{Transaction, cost};
use crate::smtp::settings::{Introduction, Latest, Settings};
use crate::smtp::spool::Spool;
use crate::smtp::stream::Stream;

/// How long the reply to one command may be kept back so that one write takes the next one's along.
const COALESCE_TIMEOUT: Duration = Duration::from_millis(50);

/// Commands that one client has obeyed before others get their turn: one with many at hand never waits for the network.
const COMMANDS_A_TURN: usize = 8;

/// An envelope is there twice while it is written down.
const COPIES: u64 = 2;

/// Most commands that go to the next hop at once; its replies must fit into what the network holds.
pub(super) const MAX_BATCH: usize = 50;

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
    pub(super) chunks: Chunks<H::Watch, H::Account>,
    /// The client's EHLO, HELO or LHLO that the next hop has accepted on this connection.
    pub(super) hello: Option<Hello>,
    /// Whether the next hop was passed anything but a greeting on this connection.
    pub(super) has_told_more: bool,
    /// The next hop has a mail transaction open that is over for the client.
    pub(super) has_leftover: bool,
    /// The client's XFORWARD since the last mail transaction.
    pub(super) forwarded: Vec<Vec<u8>>,
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
    /// What was refused in this session.
    pub(super) refusals: u64,
    /// The client's last reply was a 421: the next hop's hanging up needs no further word.
    pub(super) took_leave: bool,
}

/// How the client greeted, and the next hop's answer.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) line: Vec<u8>,
    pub(super) is_lmtp: bool,
    pub(super) reply: Reply,
}

/// What the next hop offers that is between it and us.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NextHopOffers {
    pub(super) pipelining: bool,
    pub(super) chunking: bool,
    pub(super) binary: bool,
    pub(super) eight_bit: bool,
    pub(super) smtputf8: bool,
    pub(super) dsn: bool,
    pub(super) size: bool,
}

impl NextHopOffers {
    /// From its reply to EHLO or LHLO.
    fn of(reply: &Reply) -> Self {
        let offers = |keyword| capabilities::offers(reply, keyword);
        let chunking = offers("CHUNKING");
        Self {
            pipelining: offers("PIPELINING"),
            chunking,
            binary: chunking && offers("BINARYMIME"),
            eight_bit: offers("8BITMIME"),
            smtputf8: offers("SMTPUTF8"),
            dsn: offers("DSN"),
            size: offers("SIZE"),
        }
    }
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
        let settings = Arc::clone(&around.settings);
        let info = SessionInfo {
            id: SessionId::next(),
            listener: settings.listener.clone(),
            client: caller.address(),
            helo: String::new(),
        };
        let connected = tokio::select! {
            connected = connect(&settings, &caller, info.client) => connected,
            () = stopped(&mut around.shutdown) => {
                say_farewell(&info, client, None, &End::Shutdown, &around).await;
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
                say_farewell(&info, client, Some(next_hop), &end, &around).await;
            }
            Err(error) => say_farewell(&info, client, None, &error.into(), &around).await,
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
            has_told_more: false,
            has_leftover: false,
            forwarded: Vec::new(),
            is_lmtp: false,
            next_hop_offers: NextHopOffers::default(),
            has_authenticated: false,
            offers_auth: false,
            offers_xforward: false,
            needs_hello: false,
            bad_commands: 0,
            refusals: 0,
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
        let end = match self.what_was_cut_off(end) {
            End::NextHop(_) | End::LostWhileIdle(_) | End::Farewell(_) if self.took_leave => {
                End::FarewellSaid
            }
            end => end,
        };
        self.log_end_of_session(&end);
        end
    }

    /// Takes leave of both sides.
    pub(super) async fn close(self, end: &End) {
        let next_hop = end.leaves_next_hop_waiting().then_some(self.next_hop);
        say_farewell(&self.info, self.client, next_hop, end, &self.around).await;
    }

    /// The panic that ended the session must not leave the client without a word.
    pub(super) async fn close_after_panic(mut self) {
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
            match self.next_line(MAX_COMMAND_LINE).await? {
                Ok(line) => match command::parse(&line) {
                    Ok(command) if self.can_batch(&command, &[]) => self.obey_batch(command, line).await?,
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
    /// `waiting` are those that go before it.
    fn can_batch(&mut self, command: &Command, waiting: &[Command]) -> bool {
        let is_ready = self.introduced && !self.has_leftover && !self.next_hop.is_gone();
        is_ready
            && self.next_hop_offers.pipelining
            && matches!(command, Command::Mail(..) | Command::Rcpt(..))
            && self.refusal(command, waiting).is_none()
    }

    /// Sends the commands of a pipelining client that are here already all at once.
    async fn obey_batch(&mut self, command: Command, line: Vec<u8>) -> Result<(), End> {
        let (command, line) = self.for_next_hop(command, &line);
        let (mut commands, mut lines) = (vec![command], vec![line]);
        let mut next = None;
        while self.client.has_line() && lines.len() < MAX_BATCH && next.is_none() {
            let line = self.next_line(MAX_COMMAND_LINE).await?;
            match line.as_deref().map(command::parse) {
                Ok(Ok(command)) if self.can_batch(&command, &commands) => {
                    let (command, line) = self.for_next_hop(command, line.as_deref().unwrap_or_default());
                    commands.push(command);
                    lines.push(line);
                }
                _ => next = Some(line),
            }
        }
        self.has_told_more = true;
        let Self { client, next_hop, .. } = self;
        let mut flush_by = Instant::now() + COALESCE_TIMEOUT;
        let farewell = meanwhile_flushing_by(client, flush_by, next_hop.begin_commands(&lines)).await?;
        if let Some(farewell) = farewell {
            self.client.queue(farewell.octets());
            return Err(End::FarewellSaid);
        }
        for (at, command) in commands.into_iter().enumerate() {
            let Self { client, next_hop, .. } = self;
            if !client.has_queued() {
                flush_by = Instant::now() + COALESCE_TIMEOUT;
            }
            let replying = next_hop.next_reply(lines.len() - at - 1);
            let reply = meanwhile_flushing_by(client, flush_by, replying).await?;
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

    /// MAIL or RCPT as the next hop gets it.
    fn for_next_hop(&self, mut command: Command, line: &[u8]) -> (Command, Vec<u8>) {
        if let Command::Mail(_, parameters) = &mut command {
            parameters::drop_unoffered(parameters, &self.announced());
        }
        let line = command::for_next_hop(&command, line).into_owned();
        (command, line)
    }

    /// What was announced to the client that parameters of MAIL and RCPT belong to.
    fn announced(&self) -> Announced {
        let NextHopOffers { binary, eight_bit, smtputf8, dsn, size, .. } = self.next_hop_offers;
        let (auth, xforward) = (self.offers_auth, self.offers_xforward);
        Announced { eight_bit, binary, smtputf8, dsn, auth, next_hop_size: size, xforward }
    }

    /// The next hop's reply to MAIL or RCPT makes the mail transaction what it is.
    fn note(&mut self, command: Command, reply: &Reply) {
        if !reply.is_positive() {
            match &command {
                Command::Mail(..) => self.log_refusal("MAIL refused by the next hop", None, reply),
                Command::Rcpt(path, _) => {
                    self.log_refusal("RCPT refused by the next hop", Some(path.as_str()), reply);
                }
                _ => {}
            }
        }
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
        if !self.client.has_line() || self.client.is_queue_full() {
            self.client.flush().await?;
        }
        let deadline = Instant::now() + self.around.settings.limits.command_timeout;
        // Between chunks of a message it is the client's upload that takes its time.
        if matches!(self.chunks, Chunks::Arriving(_)) {
            return tokio::select! {
                biased;
                line = self.next_hop.kept_awake(self.client.read_line(max, deadline)) => Ok(line?),
                () = stopped(&mut self.around.shutdown) => Err(End::Shutdown),
            };
        }
        tokio::select! {
            biased;
            line = self.client.read_line(max, deadline) => return Ok(line?),
            () = self.next_hop.idle_event() => {}
            () = stopped(&mut self.around.shutdown) => return Err(End::Shutdown),
        }
        if self.next_hop.wakefulness.has_own_chores() && !self.has_authenticated && !self.took_leave {
            // It may have had enough of what we said, not of the client.
            self.next_hop.give_up();
            return Box::pin(self.next_line(max)).await;
        }
        Err(self.next_hop.farewell().await.map_or_else(End::LostWhileIdle, End::Farewell))
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
            Command::Auth if self.offers_auth => self.auth(line).await,
            Command::StartTls => Box::pin(self.starttls()).await,
            Command::Auth => self.answer_bad(&Reply::new(502, "5.5.1 command not implemented")),
            Command::Xclient(arguments) => Box::pin(self.xclient(&arguments)).await,
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
        let reply = self.greet_next_hop(line, is_lmtp).await?;
        if reply.is_positive() {
            self.reset();
            self.info.helo = name.to_owned();
            self.needs_hello = false;
            self.accept_hello(line.to_owned(), is_lmtp, reply.clone());
            let offers = |keyword| extended && capabilities::offers(&reply, keyword);
            self.offers_auth = extended && self.may_auth() && capabilities::offers_auth(&reply);
            self.offers_xforward = self.may_xforward() && offers("XFORWARD");
        }
        // What is positive is a 250 to the client, whatever else the next hop makes of it (RFC 5321 §4.2.1).
        if extended && reply.is_positive() {
            self.client.queue(self.offer(&reply).octets());
        } else {
            self.client.queue(reply.octets());
        }
        if !reply.is_positive() {
            self.log_refusal("greeting refused by the next hop", None, &reply);
        }
        Ok(())
    }

    /// Passes the client's greeting on. Some servers take one only, so the same again is not asked again, and another one
    /// goes to a new connection; but one that knows of a login keeps it.
    async fn greet_next_hop(&mut self, line: &[u8], is_lmtp: bool) -> Result<Reply, End> {
        let Some(before) = &self.hello else { return self.ask_as(line, is_lmtp).await };
        if before.line == line {
            self.has_leftover |= self.transaction.is_open();
            self.reset();
            Box::pin(self.clear_leftover()).await?;
        } else if !self.has_authenticated {
            self.reset();
            Box::pin(self.begin_anew()).await?;
        }
        match &self.hello {
            Some(hello) if hello.line == line => Ok(hello.reply.clone()),
            _ => self.ask_as(line, is_lmtp).await,
        }
    }

    /// The next hop has accepted the client's greeting.
    pub(super) fn accept_hello(&mut self, line: Vec<u8>, is_lmtp: bool, reply: Reply) {
        let is_extended = !line[..4].eq_ignore_ascii_case(b"HELO");
        self.next_hop_offers = if is_extended { NextHopOffers::of(&reply) } else { NextHopOffers::default() };
        self.is_lmtp = is_lmtp;
        self.hello = Some(Hello { line, is_lmtp, reply });
    }

    /// What the client is offered where this is the next hop's reply to its greeting.
    pub(super) fn offer(&self, reply: &Reply) -> Reply {
        let settings = &self.around.settings;
        let offer = Offer {
            hostname: &settings.hostname,
            message_size: settings.limits.message_size,
            growth: settings.growth,
            starttls: self.offers_starttls(),
            auth: self.may_auth(),
            xclient: self.may_xclient(),
            xforward: self.may_xforward(),
        };
        offer.reply(reply)
    }

    /// The mail transaction is over, and with it what XFORWARD said of its client.
    pub(super) fn reset(&mut self) {
        self.transaction.reset();
        self.chunks = Chunks::None;
        self.info.client = self.caller.address();
        self.forwarded.clear();
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
        match self.refusal(&command, &[]) {
            Some(reply) => {
                match &command {
                    Command::Mail(path, _) if reply.code() == 552 => {
                        self.log_refused_message("larger than allowed", path.as_str(), &reply);
                    }
                    _ => self.log_refusal("command refused", None, &reply),
                }
                self.client.queue(reply.octets());
            }
            None => {
                let (command, line) = self.for_next_hop(command, line);
                Box::pin(self.clear_leftover()).await?;
                let reply = self.pass(&line).await?;
                self.note(command, &reply);
            }
        }
        Ok(())
    }

    /// Why MAIL or RCPT does not go to the next hop. `waiting` are those that go before it. If it goes, there is memory
    /// for what it adds to the envelope.
    fn refusal(&mut self, command: &Command, waiting: &[Command]) -> Option<Reply> {
        let refusal = match command {
            Command::Mail(_, parameters) => self.refusal_of_mail(parameters),
            Command::Rcpt(_, parameters) => self.refusal_of_rcpt(parameters, waiting),
            _ => None,
        };
        refusal.or_else(|| self.refusal_for_memory(command, waiting))
    }

    fn refusal_of_mail(&self, parameters: &[Parameter]) -> Option<Reply> {
        if self.needs_hello {
            return Some(Reply::new(503, "5.5.1 EHLO first"));
        }
        if let Some(reply) = self.refusal_of_strangers() {
            return Some(reply);
        }
        if let Err(error) = parameters::check(Place::Mail, parameters, &self.announced()) {
            return Some(Reply::from(&error));
        }
        let max = self.around.settings.limits.message_size;
        let too_large = command::declared_size(parameters).is_some_and(|size| size > max);
        too_large.then(|| Reply::new(552, "5.3.4 message size exceeds limit"))
    }

    /// Where credentials are demanded, nobody else gets anything through us (RFC 4954 §6).
    fn refusal_of_strangers(&self) -> Option<Reply> {
        if !self.around.settings.requires_auth || self.has_authenticated {
            return None;
        }
        let text = if self.offers_starttls() && !self.offers_auth {
            "5.7.0 STARTTLS and authentication required"
        } else {
            "5.7.0 authentication required"
        };
        Some(Reply::new(530, text))
    }

    /// Not if the message has begun to come in for those who were named before, nor for one more than `recipients`
    /// (RFC 5321 §4.5.3.1.10: the client sends the message to the others afterwards).
    fn refusal_of_rcpt(&self, parameters: &[Parameter], waiting: &[Command]) -> Option<Reply> {
        if !matches!(self.chunks, Chunks::None) {
            return Some(Reply::new(503, "5.5.1 the message has begun"));
        }
        let wrong = parameters::check(Place::Rcpt, parameters, &self.announced()).err();
        if let Some(refusal) = self.refusal_of_strangers().or_else(|| wrong.as_ref().map(Reply::from)) {
            return Some(refusal);
        }
        let before = waiting.iter().filter(|command| matches!(command, Command::Rcpt(..))).count();
        let is_one_more = self.transaction.recipients() + before >= self.around.settings.limits.recipients;
        is_one_more.then(too_many_recipients)
    }

    fn refusal_for_memory(&mut self, command: &Command, waiting: &[Command]) -> Option<Reply> {
        let costs = waiting.iter().chain([command]).map(cost_of).sum::<usize>();
        let envelope = COPIES * (self.transaction.octets() + costs) as u64;
        let memory = self.around.settings.limits.memory;
        if envelope <= SESSION / 2 {
            // It is counted with the session.
            return None;
        }
        if envelope > memory / SHARE {
            return Some(too_many_recipients());
        }
        let octets = self.own_memory() + envelope;
        // Half of the memory is for those who hold little.
        let fits = self.caller.memory.try_grow_to(octets, memory / 2);
        (!fits).then(|| Reply::new(452, "4.3.1 not enough memory now, try again later"))
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
            self.reset();
            self.has_leftover = false;
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
        if !mechanisms::works(&command::mechanism(line)) {
            return self.answer_bad(&Reply::new(504, "5.5.4 mechanism not offered"));
        }
        Box::pin(self.rouse()).await?;
        self.has_told_more = true;
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
        final_reply(&reply)?;
        self.took_leave = reply.code() == 421;
        self.has_authenticated |= reply.code() == 235;
        if !reply.is_positive() {
            self.log_refused_auth(&reply);
        }
        if reply.code() < 500 {
            self.client.queue(reply.octets());
            return Ok(());
        }
        // To it every guess of a password is ours, so nobody gets many. The log has a line without the reply's text already:
        // there are servers that repeat the credentials in it.
        self.count_bad()?;
        self.client.queue(reply.octets());
        Ok(())
    }

    /// Sends a line to the next hop and its reply to the client.
    pub(super) async fn pass(&mut self, line: &[u8]) -> Result<Reply, End> {
        self.has_told_more = true;
        let reply = self.ask(line).await?;
        self.client.queue(reply.octets());
        Ok(reply)
    }

    /// Sends a line to the next hop. A 3yz would have it wait for something that the client never sends.
    pub(super) async fn ask(&mut self, line: &[u8]) -> Result<Reply, End> {
        self.ask_as(line, self.is_lmtp).await
    }

    pub(super) async fn ask_as(&mut self, line: &[u8], is_lmtp: bool) -> Result<Reply, End> {
        if self.next_hop.is_gone() {
            Box::pin(self.rouse()).await?;
        }
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

    /// Answers a command that we refuse ourselves; too many of those end the session.
    pub(super) fn answer_bad(&mut self, reply: &Reply) -> Result<(), End> {
        self.count_bad()?;
        self.log_refusal("command refused", None, reply);
        self.client.queue(reply.octets());
        Ok(())
    }

    /// One bad command more; too many end the session.
    fn count_bad(&mut self) -> Result<(), End> {
        self.bad_commands += 1;
        let is_one_too_many = self.bad_commands > self.around.settings.limits.bad_commands;
        if is_one_too_many { Err(End::TooManyBadCommands) } else { Ok(()) }
    }
}

fn too_many_recipients() -> Reply {
    Reply::new(452, "4.5.3 too many recipients, send the message to the others afterwards")
}

/// What MAIL or RCPT adds to an envelope.
fn cost_of(command: &Command) -> usize {
    match command {
        Command::Mail(path, parameters) => cost(path.as_str(), parameters),
        Command::Rcpt(path, parameters) => cost(path.as_str(), parameters),
        _ => 0,
    }
}

/// Waits for the next hop, and meanwhile sends the client what waits for it.
pub(super) async fn meanwhile_flushing<T>(
    client: &mut Connection<Stream>,
    asking: impl Future<Output = Result<T, RelayError>>,
) -> Result<T, End> {
    meanwhile_flushing_by(client, Instant::now() + COALESCE_TIMEOUT, asking).await
}

/// The same, with what waits for the client sent at this time at the latest.
async fn meanwhile_flushing_by<T>(
    client: &mut Connection<Stream>,
    flush_by: Instant,
    asking: impl Future<Output = Result<T, RelayError>>,
) -> Result<T, End> {
    let mut asking = std::pin::pin!(asking);
    if client.has_queued() {
        match timeout_at(flush_by, &mut asking).await {
            Ok(answer) => return Ok(answer?),
            Err(_) => client.flush().await?,
        }
    }
    Ok(asking.await?)
}

/// Connects to the next hop, and tells it by a PROXY header for whom if it wants to know.
pub(super) async fn connect(
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
