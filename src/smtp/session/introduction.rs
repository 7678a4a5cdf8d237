//! Who the client is, in a session: believed from those who may say so, and told to the next hop.

use tracing::info;

use crate::smtp::handler::MessageHandler;
use crate::smtp::next_hop::{RelayError, remedy};
use crate::smtp::protocol::capabilities;
use crate::smtp::protocol::identity;
use crate::smtp::protocol::reply::Reply;
use crate::smtp::session::Session;
use crate::smtp::session::end::End;
use crate::smtp::settings::{Introduction, holds};

/// Most XFORWARD lines that are kept to be repeated; a Postfix sends two or three for a message.
const MAX_FORWARDED: usize = 8;

impl<H: MessageHandler> Session<H> {
    /// Whether XCLIENT is believed, whoever the client is that it has announced before.
    pub(super) fn may_xclient(&self) -> bool {
        holds(&self.around.settings.xclient_from, self.caller.speaker)
    }

    /// Whether XFORWARD goes through.
    pub(super) fn may_xforward(&self) -> bool {
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
        self.info.client = self.caller.address();
        self.info.helo = self.caller.identity.helo.clone().unwrap_or_default();
        info!(session = %self.info.id, client = %self.info.client, by = %self.caller.speaker, "client announced");
        let limits = &self.around.settings.limits;
        let counted = self.caller.permit.transfer(self.info.client.ip(), limits);
        counted.map_err(|_| End::TooManySessions)?;
        (self.offers_auth, self.offers_xforward) = (false, false);
        // It was another client that gave credentials.
        self.has_authenticated = false;
        self.reset();
        if self.hello.is_some() || self.has_told_more || self.is_announced() {
            self.begin_anew().await?;
        }
        self.greet();
        Ok(())
    }

    /// Whether the next hop has been told by XCLIENT who the client is.
    fn is_announced(&self) -> bool {
        self.introduced && self.around.settings.introduction == Introduction::Xclient
    }

    /// XFORWARD, which is between a Postfix in front of us and the next hop. Up to the end of the mail transaction, log and
    /// quarantine name the client that it announces.
    pub(super) async fn xforward(&mut self, line: &[u8]) -> Result<(), End> {
        if !self.offers_xforward {
            return self.answer_bad(&not_authorized());
        }
        if self.pass(line).await?.is_positive() {
            let arguments = String::from_utf8_lossy(line);
            let arguments = arguments.split_once([' ', '\t']).map_or("", |(_, arguments)| arguments);
            self.info.client = identity::forwarded(self.info.client, arguments);
            if self.forwarded.len() < MAX_FORWARDED {
                self.forwarded.push(line.to_owned());
            }
        }
        Ok(())
    }

    /// Tells the next hop by XCLIENT who the client is, before anything of the client's goes there. One that does
    /// not take it must not have the client's commands: to it they would be ours, and it may trust us.
    pub(super) async fn introduce(&mut self, is_lmtp: bool) -> Result<(), End> {
        let verb = if is_lmtp { "LHLO" } else { "EHLO" };
        let hello = format!("{verb} {}", self.around.settings.hostname);
        let offer = self.exchange(hello.as_bytes()).await?;
        if offer.code() == 421 {
            return Err(End::Refused(offer));
        }
        if !offer.is_positive() {
            return Err(RelayError::UnexpectedReply(offer).into());
        }
        let offered = capabilities::xclient_attributes(&offer);
        let xclient = self.caller.identity.xclient(&offered).ok_or(RelayError::NoXclient)?;
        let greeting = self.exchange(xclient.as_bytes()).await?;
        match greeting.code() {
            // 220 to greet the client; 250 before Postfix 2.3.
            220 | 250 => {
                self.introduced = true;
                Ok(())
            }
            // How servers greet a client that they don't want (RFC 5321 §3.1, RFC 7504). Every other code may as well
            // be a refusal of XCLIENT.
            421 | 521 | 554 => Err(End::Refused(greeting)),
            _ => Err(RelayError::XclientRefused(greeting, remedy(&self.caller.identity)).into()),
        }
    }
}

fn not_authorized() -> Reply {
    Reply::new(550, "5.7.1 insufficient authorization")
}
