//! The mail transaction (RFC 5321 §3.3): which of the client's MAIL and RCPT the next hop has accepted.

use std::net::SocketAddr;

use super::arrival::Arrival;
use crate::smtp::envelope::{Envelope, ForwardPath, Parameter, ReversePath};
use crate::smtp::protocol::reply::Reply;

/// What a recipient or a parameter costs in memory besides its octets.
const ITEM: usize = 80;

/// Chunks of a message that have come in by BDAT (RFC 3030).
#[derive(Debug, Default)]
pub(super) enum Chunks<W, A> {
    /// None.
    #[default]
    None,
    /// These so far.
    Arriving(Box<Arrival<W, A>>),
    /// One of them was refused with this; so are all that follow.
    Refused(Reply),
}

/// Nothing yet, or the envelope so far, and what belongs to it. Another one begins with RSET, EHLO, HELO or LHLO, and when a
/// message is over (RFC 5321 §4.1.4).
#[derive(Debug)]
pub(super) struct Transaction<W, A> {
    envelope: Option<Envelope>,
    octets: usize,
    /// What of the message has come in by BDAT.
    pub(super) chunks: Chunks<W, A>,
    /// The client's XFORWARD, which comes before MAIL.
    pub(super) forwarded: Vec<Vec<u8>>,
    /// Whom XFORWARD names as the client.
    pub(super) client: Option<SocketAddr>,
    /// What XFORWARD calls it.
    pub(super) client_name: Option<String>,
}

impl<W, A> Default for Transaction<W, A> {
    fn default() -> Self {
        Self {
            envelope: None,
            octets: 0,
            chunks: Chunks::None,
            forwarded: Vec::new(),
            client: None,
            client_name: None,
        }
    }
}

/// What a path and its parameters take in memory.
pub(super) fn cost(path: &str, parameters: &[Parameter]) -> usize {
    ITEM + path.len() + parameters.iter().map(cost_of_parameter).sum::<usize>()
}

fn cost_of_parameter(parameter: &Parameter) -> usize {
    ITEM + parameter.keyword.len() + parameter.value.as_ref().map_or(0, |value| ITEM / 2 + value.len())
}

/// Why DATA cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotReady {
    /// There was no MAIL.
    NoTransaction,
    /// No recipient was accepted.
    NoRecipients,
}

impl<W, A> Transaction<W, A> {
    /// The next hop accepted MAIL: a new transaction begins, with nothing left of an earlier one.
    pub(super) fn begin(&mut self, reverse_path: ReversePath, mail_parameters: Vec<Parameter>) {
        self.octets = cost(reverse_path.as_str(), &mail_parameters);
        self.envelope = Some(Envelope { reverse_path, mail_parameters, ..Envelope::default() });
    }

    /// The next hop accepted RCPT. One that it accepted without MAIL gets no mail through us.
    pub(super) fn add_recipient(&mut self, recipient: ForwardPath, parameters: Vec<Parameter>) {
        if let Some(envelope) = &mut self.envelope {
            self.octets += cost(recipient.as_str(), &parameters);
            envelope.recipients.push(recipient);
            envelope.recipient_parameters.push(parameters);
        }
    }

    /// Whether MAIL was accepted and its message is still to come.
    pub(super) fn is_open(&self) -> bool {
        self.envelope.is_some()
    }

    /// The envelope so far.
    pub(super) fn envelope(&self) -> Option<&Envelope> {
        self.envelope.as_ref()
    }

    /// Whether MAIL declared `BODY=BINARYMIME` (RFC 3030 §3): by BDAT only, and line ends mean nothing.
    pub(super) fn is_binary(&self) -> bool {
        let body = self.envelope.as_ref().and_then(|envelope| envelope.mail_parameter("BODY"));
        body.and_then(|body| body.value.as_ref())
            .is_some_and(|value| value.eq_ignore_ascii_case("BINARYMIME"))
    }

    /// Whether DATA may start.
    pub(super) fn check_ready(&self) -> Result<(), NotReady> {
        match &self.envelope {
            None => Err(NotReady::NoTransaction),
            Some(envelope) if envelope.recipients.is_empty() => Err(NotReady::NoRecipients),
            Some(_) => Ok(()),
        }
    }

    /// The reverse-path, once there is one.
    pub(super) fn reverse_path(&self) -> Option<&str> {
        self.envelope.as_ref().map(|envelope| envelope.reverse_path.as_str())
    }

    /// Hands the envelope out: its message has come in.
    pub(super) fn take(&mut self) -> Envelope {
        self.octets = 0;
        self.envelope.take().unwrap_or_default()
    }

    /// What the envelope so far takes in memory.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// How many recipients there are so far.
    pub(super) fn recipients(&self) -> usize {
        self.envelope.as_ref().map_or(0, |envelope| envelope.recipients.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(path: &str) -> ForwardPath {
        ForwardPath::new(path).unwrap()
    }

    #[test]
    fn is_ready_with_one_accepted_recipient() {
        let mut transaction = Transaction::<(), ()>::default();
        transaction.add_recipient(forward("early@example.org"), Vec::new());
        assert_eq!(transaction.check_ready(), Err(NotReady::NoTransaction));

        transaction.begin(ReversePath::default(), Vec::new());
        assert_eq!(transaction.check_ready(), Err(NotReady::NoRecipients));

        transaction.add_recipient(forward("a@example.org"), Vec::new());
        assert_eq!(transaction.check_ready(), Ok(()));
        assert!(transaction.octets() > "a@example.org".len());
        assert_eq!(transaction.take().recipients, [forward("a@example.org")]);
        assert_eq!(transaction.octets(), 0);
        assert_eq!(transaction.check_ready(), Err(NotReady::NoTransaction));
    }

    #[test]
    fn a_second_mail_keeps_nothing_of_the_first() {
        let mut transaction = Transaction::<(), ()>::default();
        transaction.begin(ReversePath::new("a@example.org"), Vec::new());
        transaction.add_recipient(forward("b@example.org"), Vec::new());
        transaction.begin(ReversePath::new("c@example.org"), Vec::new());
        assert_eq!(transaction.check_ready(), Err(NotReady::NoRecipients));
    }
}
