//! Part of `impl Session`: a new connection to the next hop in the middle of a session, where the old one knows what no longer
//! counts, would tire of us, or was lost while the client sent. The client is told of it only if it makes a difference.

use tracing::{info, warn};

use super::Session;
use super::end::End;
use super::hop::{Accepted, Hop, meanwhile_flushing};
use crate::smtp::envelope::{Envelope, Parameter};
use crate::smtp::handler::MessageHandler;
use crate::smtp::next_hop::RelayError;
use crate::smtp::protocol::reply::Reply;

/// What is said instead of a next hop that answers otherwise the second time.
const NOT_AS_BEFORE: &str = "4.4.2 connection to mail server lost, try again later";

/// Why an envelope could not be repeated.
enum NotRepeated {
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
        let address = self.address();
        let Self { client, hop, around, caller, .. } = self;
        let connecting = async {
            hop.next_hop.quit().await;
            Hop::open(&around.settings, caller, address).await
        };
        let (hop, greeting) = meanwhile_flushing(client, connecting).await?;
        self.hop = hop;
        if greeting.is_positive() { Ok(()) } else { Err(End::Refused(greeting)) }
    }

    /// Goes on with a new connection and greets for the client as it has greeted. To the client nothing has happened, so
    /// what it was offered must be offered again.
    async fn renew(&mut self) -> Result<(), End> {
        let accepted = self.hop.accepted.take();
        self.begin_anew().await?;
        let Some(Accepted { line, is_lmtp, reply: before, .. }) = accepted else { return Ok(()) };
        let reply = self.ask_as(&line, is_lmtp).await?;
        if !reply.is_positive() || self.offer(&reply) != self.offer(&before) {
            return Err(RelayError::UnexpectedReply(reply).into());
        }
        self.hop.accepted = Some(Accepted::new(line, is_lmtp, reply));
        Ok(())
    }

    /// Has the next hop forget a mail transaction that is over for the client. Our own RSET counts against the client, and
    /// whatever comes of it is not the client's affair.
    pub(super) async fn clear_leftover(&mut self) -> Result<(), End> {
        if !self.hop.has_leftover {
            return Ok(());
        }
        let is_tired = self.hop.next_hop.wakefulness.is_tired();
        if self.hop.has_authenticated || !is_tired {
            self.hop.next_hop.wakefulness.note_own();
            // A greeting ends a mail transaction as well (RFC 5321 §4.1.4), and counts for no waste of time.
            let reset = match &self.hop.accepted {
                Some(accepted) if is_tired => accepted.line.clone(),
                _ => b"RSET".to_vec(),
            };
            match self.hop.exchange(&mut self.client, &reset).await {
                Ok(reply) if reply.is_positive() => {
                    self.hop.has_leftover = false;
                    return Ok(());
                }
                Ok(reply) if self.hop.has_authenticated => {
                    return Err(RelayError::UnexpectedReply(reply).into());
                }
                Err(end) if self.hop.has_authenticated || !matches!(end, End::NextHop(_)) => return Err(end),
                Ok(_) | Err(_) => {}
            }
        }
        self.renew().await
    }

    /// Leaves a next hop that has got part of a message, by hanging up before its end. With the client's next command a
    /// new connection takes its place: to the client nothing has happened but the refusal of that message.
    pub(super) async fn break_off(&mut self) -> Result<(), End> {
        self.hop.next_hop.break_off().await;
        if self.hop.has_authenticated { Err(End::MessageBrokenOff) } else { Ok(()) }
    }

    /// Sees to it that the next hop is there for a command of the client's, with the client's mail transaction.
    pub(super) async fn rouse(&mut self) -> Result<(), End> {
        if !self.hop.next_hop.is_gone() {
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
        if !self.hop.next_hop.is_lost().await {
            return Ok(());
        }
        self.replace_for(envelope).await
    }

    /// Replaces a next hop that was lost before it got any of the message.
    pub(super) async fn replace_for(&mut self, envelope: &Envelope) -> Result<(), Result<Reply, RelayError>> {
        self.hop.next_hop.give_up();
        match self.replace(Some(envelope)).await {
            Ok(()) => Ok(()),
            Err(NotRepeated::Differs) => {
                self.hop.has_leftover = true;
                Err(Ok(Reply::new(451, NOT_AS_BEFORE)))
            }
            Err(NotRepeated::Lost(end)) => {
                self.hop.next_hop.give_up();
                Err(Err(RelayError::NotReplaced(format!("could not be replaced: {}", end.with_cause()))))
            }
        }
    }

    /// Connects again, and repeats the envelope. Every reply must come out as before: the client counts on them.
    async fn replace(&mut self, envelope: Option<&Envelope>) -> Result<(), NotRepeated> {
        if self.hop.has_authenticated {
            return Err(End::MessageBrokenOff.into());
        }
        self.renew().await?;
        let Some(envelope) = envelope else { return Ok(()) };
        info!(session = %self.id, client = %self.address(), listener = self.listener(),
            next_hop = %self.around.settings.next_hop,
            "the next hop was lost while the client sent; connected again");
        let envelope = lines(envelope);
        let differing = match self.hop.repeat(&self.transaction.forwarded).await? {
            None => self.hop.repeat(&envelope).await?,
            differing => differing,
        };
        let Some((line, reply)) = &differing else { return Ok(()) };
        let command = String::from_utf8_lossy(&line[..line.len().min(4)]).into_owned();
        warn!(session = %self.id, client = %self.address(), listener = self.listener(), command, %reply,
            "the next hop answers otherwise on a new connection, so the client is asked to come back");
        Err(NotRepeated::Differs)
    }
}

/// The envelope as the client gave it.
fn lines(envelope: &Envelope) -> Vec<Vec<u8>> {
    let mail = line("MAIL FROM", envelope.reverse_path.as_str(), &envelope.mail_parameters);
    let recipients = envelope.recipients.iter().zip(&envelope.recipient_parameters);
    let recipients = recipients.map(|(path, parameters)| line("RCPT TO", path.as_str(), parameters));
    std::iter::once(mail).chain(recipients).collect()
}

fn line(start: &str, path: &str, parameters: &[Parameter]) -> Vec<u8> {
    let parameters: String = parameters.iter().map(|parameter| format!(" {parameter}")).collect();
    format!("{start}:<{path}>{parameters}").into_bytes()
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
        let mut transaction = Transaction::<(), ()>::default();
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
