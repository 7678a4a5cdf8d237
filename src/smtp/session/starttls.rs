//! STARTTLS (RFC 3207): ours for clients, and the next hop's. What was said before the handshake may be an
//! attacker's, so on neither side does anything of it count after.

use tracing::debug;

use crate::smtp::handler::MessageHandler;
use crate::smtp::memory::{SESSION, TLS};
use crate::smtp::protocol::reply::Reply;
use crate::smtp::session::end::End;
use crate::smtp::session::{Session, stopped};
use crate::smtp::tls::{HANDSHAKE_TIMEOUT, ServerTls};

impl<H: MessageHandler> Session<H> {
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
        if self.has_authenticated {
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
        debug!(session = %self.info.id, client = %self.info.client, "client under TLS");
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
        self.reset();
        self.info.helo.clear();
        (self.caller.identity.helo, self.caller.identity.protocol) = (None, None);
        (self.offers_auth, self.offers_xforward) = (false, false);
        if self.has_told_more {
            self.begin_anew().await?;
        }
        self.needs_hello = true;
        Ok(())
    }
}
