//! Part of `impl Session`: MAIL and RCPT, one by one or many at once.

use tokio::time::Instant;

use super::end::End;
use super::hop::{COALESCE_TIMEOUT, MAX_BATCH, Offers, final_reply, meanwhile_flushing_by};
use super::transaction::{Chunks, cost};
use super::{COPIES, Session};
use crate::smtp::connection::MAX_COMMAND_LINE;
use crate::smtp::envelope::Parameter;
use crate::smtp::handler::MessageHandler;
use crate::smtp::memory::{SESSION, SHARE};
use crate::smtp::protocol::command::{self, Command};
use crate::smtp::protocol::parameters::{self, Announced, Place};
use crate::smtp::protocol::reply::Reply;

impl<H: MessageHandler> Session<H> {
    /// Whether a command may go to the next hop together with others (RFC 2920 §3.1): it changes nothing but the mail
    /// transaction, and nobody but the next hop has a say in it.
    /// `waiting` are those that go before it.
    pub(super) fn can_batch(&mut self, command: &Command, waiting: &[Command]) -> bool {
        let is_ready = self.hop.introduced && !self.hop.has_leftover && !self.hop.next_hop.is_gone();
        is_ready
            && self.hop.offers().pipelining
            && matches!(command, Command::Mail(..) | Command::Rcpt(..))
            && self.refusal(command, waiting).is_none()
    }

    /// Sends the commands of a pipelining client that are here already all at once.
    pub(super) async fn obey_batch(&mut self, command: Command, line: &[u8]) -> Result<(), End> {
        let (command, line) = self.for_next_hop(command, line);
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
        self.hop.has_told_more = true;
        let Self { client, hop, .. } = self;
        let mut flush_by = Instant::now() + COALESCE_TIMEOUT;
        let farewell = meanwhile_flushing_by(client, flush_by, hop.next_hop.begin_commands(&lines)).await?;
        if let Some(farewell) = farewell {
            self.client.queue(farewell.octets());
            return Err(End::FarewellSaid);
        }
        for (at, command) in commands.into_iter().enumerate() {
            let Self { client, hop, .. } = self;
            if !client.has_queued() {
                flush_by = Instant::now() + COALESCE_TIMEOUT;
            }
            let replying = hop.next_hop.next_reply(lines.len() - at - 1);
            let reply = meanwhile_flushing_by(client, flush_by, replying).await?;
            self.client.queue(final_reply(&reply)?);
            if reply.code() == 421 {
                return Err(End::FarewellSaid);
            }
            self.note(command, &reply);
        }
        match next {
            None => Ok(()),
            Some(line) => self.obey_line(line).await,
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
        let Offers { binary, eight_bit, smtputf8, dsn, size, .. } = self.hop.offers();
        let (auth, xforward) = (self.offers_auth(), self.offers_xforward());
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

    pub(super) async fn mail_or_rcpt(&mut self, command: Command, line: &[u8]) -> Result<(), End> {
        match self.refusal(&command, &[]) {
            Some(reply) => {
                match &command {
                    Command::Mail(path, _) if reply.code() == 552 => {
                        let client = self.address();
                        self.refusals.message(client, "larger than allowed", path.as_str(), &reply);
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
        if self.needs_hello() {
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
    pub(super) fn refusal_of_strangers(&self) -> Option<Reply> {
        if !self.around.settings.requires_auth || self.hop.has_authenticated {
            return None;
        }
        let text = if self.offers_starttls() && !self.offers_auth() {
            "5.7.0 STARTTLS and authentication required"
        } else {
            "5.7.0 authentication required"
        };
        Some(Reply::new(530, text))
    }

    /// Not if the message has begun to come in for those who were named before, nor for one more than `recipients`
    /// (RFC 5321 §4.5.3.1.10: the client sends the message to the others afterwards).
    fn refusal_of_rcpt(&self, parameters: &[Parameter], waiting: &[Command]) -> Option<Reply> {
        if !matches!(self.transaction.chunks, Chunks::None) {
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
