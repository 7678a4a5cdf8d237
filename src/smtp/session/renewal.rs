//! A new connection to the next hop in the middle of a session: where the old one knows what no longer counts, would tire
//! of us, or was lost while the client sent. The client is told of it only if it makes a difference.

use tracing::{info, warn};

use crate::envelope::{Envelope, Parameter};
use crate::smtp::handler::MessageHandler;
use crate::smtp::next_hop::RelayError;
use crate::smtp::protocol::reply::Reply;
use crate::smtp::session::end::End;
use crate::smtp::session::{Hello, MAX_BATCH, NextHopOffers, Session, connect, meanwhile_flushing};
use crate::smtp::settings::Introduction;

/// What is said instead of a next hop that answers otherwise the second time.
const NOT_AS_BEFORE: &str = "4.4.2 connection to mail server lost, try again later";

/// Why an envelope could not be repeated.
pub(super) enum NotRepeated {
    /// A reply was not as before. The session can go on.
    Differs,
    /// There is no next hop any more.
    Lost(End),
}

impl From<End> for NotRepeated {
    fn from(end: End) -> Self {
        Self::Lost(end)
    }
}

impl<H: MessageHandler> Session<H> {
    /// Goes on with a new connection, which knows nothing yet: the client must greet again, and a login is over.
    pub(super) async fn begin_anew(&mut self) -> Result<(), End> {
        let Self { client, next_hop, around, caller, info, .. } = self;
        let connecting = async {
            next_hop.quit().await;
            connect(&around.settings, caller, info.client).await
        };
        let (next_hop, greeting) = meanwhile_flushing(client, connecting).await?;
        self.next_hop = next_hop;
        self.introduced = self.around.settings.introduction != Introduction::Xclient;
        (self.has_told_more, self.has_leftover, self.has_authenticated) = (false, false, false);
        (self.hello, self.next_hop_offers) = (None, NextHopOffers::default());
        if greeting.is_positive() { Ok(()) } else { Err(End::Refused(greeting)) }
    }

    /// Goes on with a new connection and greets for the client as it has greeted. To the client nothing has happened, so
    /// what it was offered must be offered again.
    pub(super) async fn renew(&mut self) -> Result<(), End> {
        let hello = self.hello.take();
        self.begin_anew().await?;
        let Some(Hello { line, is_lmtp, reply: before }) = hello else { return Ok(()) };
        let reply = self.ask_as(&line, is_lmtp).await?;
        self.took_leave = false;
        if !reply.is_positive() || self.offer(&reply) != self.offer(&before) {
            return Err(RelayError::UnexpectedReply(reply).into());
        }
        self.accept_hello(line, is_lmtp, reply);
        Ok(())
    }

    /// Has the next hop forget a mail transaction that is over for the client. Our own RSET counts against the client, and
    /// whatever comes of it is not the client's affair.
    pub(super) async fn clear_leftover(&mut self) -> Result<(), End> {
        if !self.has_leftover {
            return Ok(());
        }
        let is_tired = self.next_hop.wakefulness.is_tired();
        if self.has_authenticated || !is_tired {
            self.next_hop.wakefulness.note_own();
            // A greeting ends a mail transaction as well (RFC 5321 §4.1.4), and counts for no waste of time.
            let reset = match &self.hello {
                Some(hello) if is_tired => hello.line.clone(),
                _ => b"RSET".to_vec(),
            };
            match self.exchange(&reset).await {
                Ok(reply) if reply.is_positive() => {
                    self.has_leftover = false;
                    return Ok(());
                }
                Ok(reply) if self.has_authenticated => return Err(RelayError::UnexpectedReply(reply).into()),
                Err(end) if self.has_authenticated || !matches!(end, End::NextHop(_)) => return Err(end),
                Ok(_) | Err(_) => {}
            }
        }
        self.renew().await
    }

    /// Leaves a next hop that has got part of a message, by hanging up before its end. With the client's next command a
    /// new connection takes its place: to the client nothing has happened but the refusal of that message.
    pub(super) async fn break_off(&mut self) -> Result<(), End> {
        self.next_hop.break_off().await;
        if self.has_authenticated { Err(End::MessageBrokenOff) } else { Ok(()) }
    }

    /// Sees to it that the next hop is there for a command of the client's, with the client's mail transaction.
    pub(super) async fn rouse(&mut self) -> Result<(), End> {
        if !self.next_hop.is_gone() {
            return Ok(());
        }
        let envelope = self.transaction.envelope().cloned();
        match self.replace(envelope.as_ref()).await {
            Ok(()) => Ok(()),
            Err(NotRepeated::Lost(end)) => Err(end),
            Err(NotRepeated::Differs) => {
                Err(RelayError::NotReplaced("answers otherwise on a new connection".to_owned()).into())
            }
        }
    }

    /// Sees to it that the next hop is there for a message that has come in. If not, this is the reply to it.
    pub(super) async fn rouse_for(&mut self, envelope: &Envelope) -> Result<(), Result<Reply, RelayError>> {
        if !self.next_hop.is_lost().await {
            return Ok(());
        }
        self.replace_for(envelope).await
    }

    /// Replaces a next hop that was lost before it got any of the message.
    pub(super) async fn replace_for(&mut self, envelope: &Envelope) -> Result<(), Result<Reply, RelayError>> {
        self.next_hop.give_up();
        match self.replace(Some(envelope)).await {
            Ok(()) => Ok(()),
            Err(NotRepeated::Differs) => {
                self.has_leftover = true;
                Err(Ok(Reply::new(451, NOT_AS_BEFORE)))
            }
            Err(NotRepeated::Lost(end)) => {
                self.next_hop.give_up();
                Err(Err(RelayError::NotReplaced(format!("could not be replaced: {}", end.with_cause()))))
            }
        }
    }

    /// Connects again, and repeats the envelope. Every reply must come out as before: the client counts on them.
    async fn replace(&mut self, envelope: Option<&Envelope>) -> Result<(), NotRepeated> {
        if self.has_authenticated {
            return Err(End::MessageBrokenOff.into());
        }
        self.renew().await?;
        let Some(envelope) = envelope else { return Ok(()) };
        info!(session = %self.info.id, client = %self.info.client, listener = self.info.listener,
            next_hop = %self.around.settings.next_hop,
            "the next hop was lost while the client sent; connected again");
        let forwarded = std::mem::take(&mut self.forwarded);
        let is_repeated = self.repeat(&forwarded).await;
        self.forwarded = forwarded;
        if is_repeated? && self.repeat(&lines(envelope)).await? { Ok(()) } else { Err(NotRepeated::Differs) }
    }

    /// Whether the next hop says yes to these commands once more.
    async fn repeat(&mut self, lines: &[Vec<u8>]) -> Result<bool, End> {
        let at_once = if self.next_hop_offers.pipelining { MAX_BATCH } else { 1 };
        let mut differing = None;
        for lines in lines.chunks(at_once) {
            if let Some(farewell) = self.next_hop.begin_commands(lines).await? {
                return Err(End::Refused(farewell));
            }
            for (at, line) in lines.iter().enumerate() {
                let reply = self.next_hop.next_reply(lines.len() - at - 1).await?;
                match reply.code() {
                    421 => return Err(End::Refused(reply)),
                    _ if reply.is_positive() => {}
                    _ => _ = differing.get_or_insert((line, reply)),
                }
            }
        }
        let Some((line, reply)) = &differing else { return Ok(true) };
        let command = String::from_utf8_lossy(&line[..line.len().min(4)]).into_owned();
        warn!(session = %self.info.id, client = %self.info.client, listener = self.info.listener, command, %reply,
            "the next hop answers otherwise on a new connection, so the client is asked to come back");
        Ok(false)
    }
}

/// The envelope as the client gave it.
fn lines(envelope: &Envelope) -> Vec<Vec<u8>> {
    let line = |start: &str, path: &str, parameters: &[Parameter]| {
        let parameters: String = parameters.iter().map(|parameter| format!(" {parameter}")).collect();
        format!("{start}:<{path}>{parameters}").into_bytes()
    };
    let mail = line("MAIL FROM", envelope.reverse_path.as_str(), &envelope.mail_parameters);
    let recipients = envelope.recipients.iter().zip(&envelope.recipient_parameters);
    let recipients = recipients.map(|(path, parameters)| line("RCPT TO", path.as_str(), parameters));
    std::iter::once(mail).chain(recipients).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::protocol::command::{self, Command};
    use crate::smtp::session::transaction::Transaction;

    #[test]
    fn an_envelope_is_repeated_to_the_letter() {
        let said = [
            "MAIL FROM:<\"a b\"@b\u{fc}cher.example> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS",
            "RCPT TO:<Postmaster>",
            "RCPT TO:<@relay.example:b@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@example.net",
        ];
        let mut transaction = Transaction::default();
        for line in said {
            match command::parse(line.as_bytes()).unwrap() {
                Command::Mail(path, parameters) => transaction.begin(path, parameters),
                Command::Rcpt(path, parameters) => transaction.add_recipient(path, parameters),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(lines(&transaction.take()), said.map(|line| line.as_bytes().to_vec()));
    }
}
