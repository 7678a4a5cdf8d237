//! One session: the client's commands go to the next hop in lockstep, its replies come back to the letter.
//! What a message goes through is in `message.rs`, who the client is in `introduction.rs`; here is all else.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::envelope::{ForwardPath, Parameter, ReversePath};
use crate::smtp::admission::Permit;
use crate::smtp::capabilities::{self, Offer};
use crate::smtp::command::{self, Command};
use crate::smtp::connection::{BadLine, Connection, MAX_AUTH_LINE, MAX_COMMAND_LINE};
use crate::smtp::end::End;
use crate::smtp::handler::{MessageHandler, SessionId, SessionInfo};
use crate::smtp::identity::{Identity, Protocol};
use crate::smtp::memory::MemoryBudget;
use crate::smtp::next_hop::{NextHop, RelayError};
use crate::smtp::proxy_header;
use crate::smtp::reply::Reply;
use crate::smtp::settings::{Introduction, Settings};
use crate::smtp::transaction::Transaction;

/// How long the reply to one command may be kept back so that one write takes the next one's along.
const COALESCE_TIMEOUT: Duration = Duration::from_millis(50);

/// What a session is given by the server.
#[derive(Debug)]
pub(super) struct Surroundings<H> {
    pub(super) settings: Arc<Settings>,
    pub(super) handler: Arc<H>,
    pub(super) memory: Arc<MemoryBudget>,
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
pub(super) struct Session<H> {
    pub(super) around: Surroundings<H>,
    pub(super) info: SessionInfo,
    pub(super) caller: Caller,
    /// Whether the next hop has been told who the client is, or need not be.
    pub(super) introduced: bool,
    pub(super) client: Connection<TcpStream>,
    pub(super) next_hop: NextHop,
    pub(super) transaction: Transaction,
    /// Whether EHLO offered AUTH to this client.
    pub(super) offers_auth: bool,
    /// Whether EHLO offered it XFORWARD.
    pub(super) offers_xforward: bool,
    bad_commands: usize,
    /// The client's last reply was a 421: the next hop's hanging up needs no further word.
    pub(super) took_leave: bool,
}

/// Resolves when the gateway is to stop; also when nobody is left to say so.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|&stop| stop).await;
}

impl<H: MessageHandler> Session<H> {
    /// Connects to the next hop and greets the client. Without a next hop the client is told so, and that was it.
    pub(super) async fn open(
        client: Connection<TcpStream>,
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
        let header = match settings.introduction {
            Introduction::ProxyHeader => {
                caller.identity.destination.map(|destination| proxy_header::written(info.client, destination))
            }
            Introduction::Nothing | Introduction::Xclient => None,
        };
        let timeout = settings.limits.next_hop_timeout;
        let connected = tokio::select! {
            connected = NextHop::connect(&settings.next_hop, header.as_deref(), timeout) => connected,
            () = stopped(&mut around.shutdown) => {
                say_farewell(&info, client, None, &End::Shutdown).await;
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
                say_farewell(&info, client, Some(next_hop), &End::Refused(greeting)).await;
            }
            Err(error) => say_farewell(&info, client, None, &error.into()).await,
        }
        None
    }

    fn new(
        around: Surroundings<H>,
        info: SessionInfo,
        caller: Caller,
        client: Connection<TcpStream>,
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
            offers_auth: false,
            offers_xforward: false,
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
        say_farewell(&self.info, self.client, next_hop, end).await;
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
                    Ok(command) => self.obey(command, &line).await?,
                    Err(error) => self.answer_bad(&Reply::from(&error))?,
                },
                Err(bad) => self.answer_bad(&Reply::new(500, &format!("5.5.2 {bad}")))?,
            }
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
            Command::Ehlo(name) => self.hello(name, line, true).await,
            Command::Helo(name) => self.hello(name, line, false).await,
            Command::Mail(path, parameters) => self.mail(path, parameters, line).await,
            Command::Rcpt(path, _) => self.rcpt(path, line).await,
            // Boxed, so that a session without a message stays small.
            Command::Data => Box::pin(self.data()).await,
            Command::Rset => self.rset(line).await,
            Command::Query => self.pass(line).await.map(drop),
            Command::Quit => self.quit(line).await,
            Command::Auth if self.offers_auth => self.auth(line).await,
            Command::Auth | Command::StartTls | Command::Bdat => {
                self.answer_bad(&Reply::new(502, "5.5.1 command not implemented"))
            }
            Command::Xclient(arguments) => self.xclient(&arguments),
            Command::Xforward => self.xforward(line).await,
            Command::Unknown => self.answer_bad(&Reply::new(500, "5.5.1 command not recognized")),
            Command::Http => Err(End::Http),
        }
    }

    async fn hello(&mut self, name: String, line: &[u8], extended: bool) -> Result<(), End> {
        self.caller.identity.helo = Some(name.clone());
        self.caller.identity.protocol = Some(if extended { Protocol::Esmtp } else { Protocol::Smtp });
        let reply = self.ask(line).await?;
        if reply.is_positive() {
            self.transaction.reset();
            self.info.helo = name;
            let offers = |keyword| extended && capabilities::offers(&reply, keyword);
            self.offers_auth = self.may_auth() && offers("AUTH");
            self.offers_xforward = self.may_xforward() && offers("XFORWARD");
        }
        if extended && reply.code() == 250 {
            let settings = &self.around.settings;
            let (hostname, message_size) = (settings.hostname.as_str(), settings.limits.message_size);
            let offer = Offer {
                hostname,
                message_size,
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

    /// Credentials cross no network in clear through us, nor on the way to a proxy in front of us.
    fn may_auth(&self) -> bool {
        [self.caller.peer, self.info.client.ip()].iter().all(|address| address.to_canonical().is_loopback())
    }

    async fn mail(&mut self, path: ReversePath, parameters: Vec<Parameter>, line: &[u8]) -> Result<(), End> {
        let max = self.around.settings.limits.message_size;
        if command::declared_size(&parameters).is_some_and(|size| size > max) {
            self.client.queue(Reply::new(552, "5.3.4 message size exceeds limit").octets());
            return Ok(());
        }
        if self.pass(line).await?.is_positive() {
            self.transaction.begin(path, parameters);
        }
        Ok(())
    }

    async fn rcpt(&mut self, path: ForwardPath, line: &[u8]) -> Result<(), End> {
        if self.pass(line).await?.is_positive() {
            self.transaction.add_recipient(path);
        }
        Ok(())
    }

    async fn rset(&mut self, line: &[u8]) -> Result<(), End> {
        if self.pass(line).await?.is_positive() {
            self.transaction.reset();
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
        if !self.introduced {
            Box::pin(self.introduce()).await?;
        }
        let reply = self.exchange(line).await?;
        final_reply(&reply)?;
        self.took_leave = reply.code() == 421;
        Ok(reply)
    }

    /// Sends a line to the next hop, and meanwhile to the client what waits for it.
    pub(super) async fn exchange(&mut self, line: &[u8]) -> Result<Reply, End> {
        let Self { client, next_hop, .. } = self;
        let mut asking = std::pin::pin!(next_hop.command(line));
        if client.has_queued() {
            match timeout(COALESCE_TIMEOUT, &mut asking).await {
                Ok(reply) => return Ok(reply?),
                Err(_) => client.flush().await?,
            }
        }
        Ok(asking.await?)
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

fn final_reply(reply: &Reply) -> Result<&[u8], RelayError> {
    if reply.is_final() { Ok(reply.octets()) } else { Err(RelayError::UnexpectedReply(reply.clone())) }
}

/// Says the last words to the client, and QUIT to a next hop that waits for a command.
async fn say_farewell(
    info: &SessionInfo,
    mut client: Connection<TcpStream>,
    next_hop: Option<NextHop>,
    end: &End,
) {
    end.log(info);
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
