//! One mail from the gateway to somebody, and the server that takes it; the only file that names lettre.

use std::time::Duration;

use attachment_seal::domain::DomainName;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use thiserror::Error;
use tokio::time::timeout;

use super::alert::printable;

/// The longest that one attempt to send may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// A mail, as plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The address that it is for.
    pub to: String,
    /// The name in its From.
    pub sender: String,
    /// One line.
    pub subject: String,
    /// The text, its lines ended by CR LF.
    pub body: String,
    /// The text's language (BCP 47), where it may not be English.
    pub language: Option<String>,
}

/// How mail leaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The address in From. The reverse-path is null: a mail that bounces makes no more mail.
    pub from: String,
    /// Host and port of the server that takes mail, in clear: it should be near.
    pub next_hop: (String, u16),
    /// Our name, for EHLO and Message-ID.
    pub hostname: DomainName,
}

/// An address that is none.
#[derive(Debug, Error)]
#[error("`{text}` is not a mail address")]
pub struct AddressError {
    text: String,
    source: lettre::address::AddressError,
}

fn address(text: &str) -> Result<Address, AddressError> {
    text.parse().map_err(|source| AddressError { text: printable(text), source })
}

/// Whether mail can be sent to this address.
pub fn is_address(text: &str) -> Result<(), AddressError> {
    address(text).map(drop)
}

/// Why a mail was not sent.
#[derive(Debug, Error)]
pub enum SendError {
    /// No mail can be made of it.
    #[error("the mail cannot be written: {0}")]
    Message(#[from] lettre::error::Error),
    /// The recipient's address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The server would not take it, or was not there.
    #[error("{0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// The server took too long.
    #[error("no answer within {} seconds", ATTEMPT_TIMEOUT.as_secs())]
    Timeout,
}

impl SendError {
    /// Whether a server answered.
    pub fn is_reply(&self) -> bool {
        match self {
            Self::Message(_) | Self::Address(_) => true,
            Self::Smtp(error) => error.is_permanent() || error.is_transient(),
            Self::Timeout => false,
        }
    }

    /// Whether another attempt would end in the same way.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Message(_) | Self::Address(_) => true,
            Self::Smtp(error) => error.is_permanent(),
            Self::Timeout => false,
        }
    }
}

/// Sends mail, one after the other.
#[derive(Debug)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Address,
    hostname: DomainName,
}

impl Mailer {
    /// By this route.
    pub fn new(route: &Route) -> Result<Self, AddressError> {
        let (host, port) = &route.next_hop;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(*port)
            .hello_name(ClientId::Domain(route.hostname.to_string()))
            .timeout(Some(ATTEMPT_TIMEOUT))
            .build();
        Ok(Self { transport, from: address(&route.from)?, hostname: route.hostname.clone() })
    }

    /// Has the server take a mail. When this returns `Ok`, the server has it.
    pub async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let message = self.compose(mail)?;
        timeout(ATTEMPT_TIMEOUT, self.transport.send(message)).await.map_err(|_| SendError::Timeout)??;
        Ok(())
    }

    fn compose(&self, mail: &Mail) -> Result<Message, SendError> {
        let to = address(&mail.to)?;
        let field =
            |name, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        let mut message = Message::builder()
            .envelope(Envelope::new(None, vec![to.clone()])?)
            .from(Mailbox::new(Some(mail.sender.clone()), self.from.clone()))
            .to(Mailbox::new(None, to))
            .subject(mail.subject.clone())
            .date_now()
            .message_id(Some(self.message_id()))
            // RFC 3834 §5: not to be answered by machines.
            .raw_header(field("Auto-Submitted", "auto-generated"))
            .header(ContentType::TEXT_PLAIN);
        if let Some(language) = &mail.language {
            message = message.raw_header(field("Content-Language", language));
        }
        Ok(message.body(mail.body.clone())?)
    }

    fn message_id(&self) -> String {
        // Without randomness the clock alone has to tell mails apart.
        let random = getrandom::u64().unwrap_or_default();
        format!("<{}.{random:016x}@{}>", jiff::Timestamp::now().as_millisecond(), self.hostname)
    }
}
