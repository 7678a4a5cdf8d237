//! Part of `impl Session`: who the client is, and what it is offered. EHLO, STARTTLS, AUTH, XCLIENT and XFORWARD.
//!
//! What was said before a TLS handshake may be an attacker's, so nothing of it counts after (RFC 3207).

use std::net::IpAddr;

use tracing::{debug, info};

use super::end::End;
use super::hop::{Accepted, final_reply};
use super::transaction::Transaction;
use super::{Caller, Session, stopped};
use crate::smtp::connection::MAX_AUTH_LINE;
use crate::smtp::handler::MessageHandler;
use crate::smtp::memory::{SESSION, TLS};
use crate::smtp::protocol::capabilities::{self, Offer};
use crate::smtp::protocol::command::{self, Command};
use crate::smtp::protocol::identity::{self, Protocol};
use crate::smtp::protocol::mechanisms;
use crate::smtp::protocol::reply::Reply;
use crate::smtp::settings::{Introduction, holds};
use crate::smtp::tls::{HANDSHAKE_TIMEOUT, ServerTls};

/// Most XFORWARD lines that are kept to be repeated; a Postfix sends two or three for a message.
const MAX_FORWARDED: usize = 8;

/// What counts from a greeting that the next hop has accepted until the client must greet again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello {
    /// Whether it was LHLO.
    pub(super) is_lmtp: bool,
    /// Whether AUTH was offered.
    auth: bool,
    /// Whether XFORWARD was.
    xforward: bool,
}

impl<H: MessageHandler> Session<H> {
    pub(super) async fn hello(&mut self, name: &str, command: &Command, line: &[u8]) -> Result<(), End> {
        let extended = !matches!(command, Command::Helo(_));
        let is_lmtp = matches!(command, Command::Lhlo(_));
        self.caller.identity.helo = Some(name.to_owned());
        self.caller.identity.protocol = Some(if extended { Protocol::Esmtp } else { Protocol::Smtp });
        let reply = self.greet_next_hop(line, is_lmtp).await?;
        if reply.is_positive() {
            self.transaction = Transaction::default();
            self.hop.accepted = Some(Accepted::new(line.to_owned(), is_lmtp, reply.clone()));
            self.hello = Some(Hello {
                is_lmtp,
                auth: extended && self.may_auth() && capabilities::offers_auth(&reply),
                xforward: extended && self.may_xforward() && capabilities::offers(&reply, "XFORWARD"),
            });
        } else {
            self.log_refusal("greeting refused by the next hop", None, &reply);
        }
        // What is positive is a 250 to the client, whatever else the next hop makes of it (RFC 5321 §4.2.1).
        let offer = (extended && reply.is_positive()).then(|| self.offer(&reply));
        self.client.queue(offer.as_ref().unwrap_or(&reply).octets());
        self.hop.took_leave = reply.code() == 421;
        Ok(())
    }

    /// Passes the client's greeting on. Some servers take one only, so the same again is not asked again, and another one
    /// goes to a new connection; but one that knows of a login keeps it.
    async fn greet_next_hop(&mut self, line: &[u8], is_lmtp: bool) -> Result<Reply, End> {
        let Some(before) = &self.hop.accepted else { return self.ask_as(line, is_lmtp).await };
        if before.line == line {
            self.hop.has_leftover |= self.transaction.is_open();
            self.transaction = Transaction::default();
            Box::pin(self.clear_leftover()).await?;
        } else if !self.hop.has_authenticated {
            self.transaction = Transaction::default();
            Box::pin(self.begin_anew()).await?;
        }
        match &self.hop.accepted {
            Some(hello) if hello.line == line => Ok(hello.reply.clone()),
            _ => self.ask_as(line, is_lmtp).await,
        }
    }

    /// Whether AUTH was offered to the client.
    pub(super) fn offers_auth(&self) -> bool {
        self.hello.is_some_and(|hello| hello.auth)
    }

    /// Whether XFORWARD was.
    pub(super) fn offers_xforward(&self) -> bool {
        self.hello.is_some_and(|hello| hello.xforward)
    }

    /// Whether EHLO or HELO must come before a mail transaction. The next hop sees to that, but for what it heard
    /// before STARTTLS.
    pub(super) fn needs_hello(&self) -> bool {
        self.has_said_starttls && self.hello.is_none()
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

    /// Credentials cross no network in clear: not from the client to us, not on the way to a proxy in front of us,
    /// and not from us to the next hop.
    fn may_auth(&self) -> bool {
        let Caller { peer, speaker, identity, .. } = &self.caller;
        // A proxy that writes a PROXY header passes the client's TLS on; one that says XCLIENT has TLS of its own.
        let to_us = self.client.stream().is_tls() || (is_loopback(*peer) && is_loopback(*speaker));
        let to_speaker = identity.address.is_some_and(|client| client == *speaker || is_loopback(client));
        to_us && to_speaker && self.hop.next_hop.is_private()
    }

    /// Whether XCLIENT is believed, whoever the client is that it has announced before.
    fn may_xclient(&self) -> bool {
        holds(&self.around.settings.xclient_from, self.caller.speaker)
    }

    /// Whether XFORWARD goes through.
    fn may_xforward(&self) -> bool {
        holds(&self.around.settings.xforward_from, self.caller.speaker)
    }

    /// XCLIENT: the session is another client's from here on, and begins anew with our greeting. A next hop that was told
    /// anything in the name of the one before is left: it would not forget a login, and takes no second introduction.
    pub(super) async fn xclient(&mut self, arguments: &str) -> Result<(), End> {
        if !self.may_xclient() {
            return self.answer_bad(&not_authorized());
        }
        if self.transaction.is_open() {
            return self.answer_bad(&Reply::new(503, "5.5.1 mail transaction in progress"));
        }
        match self.caller.identity.announced(arguments) {
            Ok(identity) => self.caller.identity = identity,
            Err(error) => return self.answer_bad(&error.into()),
        }
        (self.hello, self.transaction) = (None, Transaction::default());
        let client = self.address();
        info!(session = %self.id, %client, by = %self.caller.speaker, "client announced");
        let counted = self.caller.permit.transfer(client.ip(), &self.around.settings.limits);
        counted.map_err(|_| End::TooManySessions)?;
        if self.hop.accepted.is_some() || self.hop.has_told_more || self.is_announced() {
            self.begin_anew().await?;
        }
        self.greet();
        Ok(())
    }

    /// Whether the next hop has been told by XCLIENT who the client is.
    fn is_announced(&self) -> bool {
        self.hop.introduced && self.around.settings.introduction == Introduction::Xclient
    }

    /// XFORWARD, which is between a Postfix in front of us and the next hop. Up to the end of the mail transaction, log and
    /// quarantine name the client that it announces.
    pub(super) async fn xforward(&mut self, line: &[u8]) -> Result<(), End> {
        if !self.offers_xforward() {
            return self.answer_bad(&not_authorized());
        }
        if self.pass(line).await?.is_positive() {
            let arguments = String::from_utf8_lossy(line);
            let arguments = arguments.split_once([' ', '\t']).map_or("", |(_, arguments)| arguments);
            self.transaction.client = Some(identity::forwarded(self.address(), arguments));
            let transaction = &mut self.transaction;
            transaction.client_name = transaction.client_name.take().or(identity::forwarded_name(arguments));
            if self.transaction.forwarded.len() < MAX_FORWARDED {
                self.transaction.forwarded.push(line.to_owned());
            }
        }
        Ok(())
    }

    /// Whether STARTTLS would be of use.
    pub(super) fn offers_starttls(&self) -> bool {
        self.around.settings.tls.certificate().is_some() && !self.client.stream().is_tls()
    }

    /// STARTTLS: our 220, the handshake, and a session that begins anew.
    pub(super) async fn starttls(&mut self) -> Result<(), End> {
        if self.client.stream().is_tls() {
            return self.answer_bad(&Reply::new(503, "5.5.1 TLS is in use already"));
        }
        let Some(tls) = self.server_tls() else {
            return self.answer_bad(&Reply::new(502, "5.5.1 command not implemented"));
        };
        if self.hop.has_authenticated {
            // The next hop cannot be made to forget that.
            return self.answer_bad(&Reply::new(503, "5.5.1 too late, after AUTH"));
        }
        if self.client.has_input().await? {
            return Err(End::CommandInjection);
        }
        let limit = self.around.settings.limits.memory;
        if !self.caller.memory.try_grow_to(SESSION + TLS, limit) {
            let reply = Reply::new(454, "4.3.1 not enough memory for TLS now, try again later");
            self.client.queue(reply.octets());
            return Ok(());
        }
        self.forget().await?;
        self.client.queue(Reply::new(220, "2.0.0 ready to start TLS").octets());
        self.client.flush().await?;
        let patience = HANDSHAKE_TIMEOUT.min(self.around.settings.limits.command_timeout);
        tokio::select! {
            secured = tls.secure(&mut self.client, patience) => secured.map_err(End::Handshake)?,
            () = stopped(&mut self.around.shutdown) => return Err(End::Shutdown),
        }
        debug!(session = %self.id, client = %self.address(), "client under TLS");
        Ok(())
    }

    /// The certificate in force; without one any more, that with which the session began.
    fn server_tls(&self) -> Option<ServerTls> {
        let begun = self.around.settings.tls.certificate()?;
        Some((self.around.latest.0)().tls.certificate().unwrap_or(begun).clone())
    }

    /// Forgets what the client has said, and has the next hop forget it (RFC 3207 §4.2): where it was told more than a
    /// greeting, by a new connection. Whom a believed peer has announced stays: without that the client would count as
    /// the peer itself, which may be allowed more.
    async fn forget(&mut self) -> Result<(), End> {
        (self.hello, self.transaction) = (None, Transaction::default());
        (self.caller.identity.helo, self.caller.identity.protocol) = (None, None);
        self.has_said_starttls = true;
        if self.hop.has_told_more { self.begin_anew().await } else { Ok(()) }
    }

    /// AUTH (RFC 4954 §4): after a 334 the client's line is no command, and none of it is for the log.
    pub(super) async fn auth(&mut self, line: &[u8]) -> Result<(), End> {
        if !mechanisms::works(&command::mechanism(line)) {
            return self.answer_bad(&Reply::new(504, "5.5.4 mechanism not offered"));
        }
        Box::pin(self.rouse()).await?;
        self.hop.has_told_more = true;
        let mut reply = self.hop.next_hop.command(line).await?;
        while reply.code() == 334 {
            self.client.queue(reply.octets());
            match self.next_line(MAX_AUTH_LINE).await? {
                Ok(answer) => reply = self.hop.next_hop.command(&answer).await?,
                Err(bad) => {
                    // `*` ends the exchange for the next hop too.
                    self.hop.next_hop.command(b"*").await?;
                    return self.answer_bad(&Reply::new(500, &format!("5.5.2 {bad}")));
                }
            }
        }
        final_reply(&reply)?;
        self.hop.took_leave = reply.code() == 421;
        self.hop.has_authenticated |= reply.code() == 235;
        if !reply.is_positive() {
            let client = self.address();
            self.refusals.auth(client, &reply);
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
}

fn not_authorized() -> Reply {
    Reply::new(550, "5.7.1 insufficient authorization")
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
