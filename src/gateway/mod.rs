//! One message from its final dot to the reply: sealed or verified, the policy applied, passed on or answered.

mod judged;
mod sealing;
mod verifying;

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use attachment_seal::message::author::Author;
use attachment_seal::message::body::ArrivingBody;
use attachment_seal::message::edits::Edits;
use attachment_seal::message::header::{Field, HeaderSection};
use attachment_seal::verdict::report::printable;
use tracing::error;

use crate::config::Mode;
use crate::envelope::Envelope;
use crate::keyring::Keyrings;
use crate::lookup::LookupKey;
use crate::notify::Alerter;
use crate::setup::Setup;
use crate::smtp::{Account, Content, Decision, MessageHandler, Reply, SessionInfo, Watch};
use crate::standing::CurrentPins;
use crate::store::{Quarantine, Recorder};

/// What serves now: the configuration's parts, and where held mail and alerts go.
#[derive(Debug)]
pub struct Running {
    /// Keys, pins, policy.
    pub setup: Setup,
    /// Pins, those made by command included.
    pub pins: Arc<CurrentPins>,
    /// Where held mail goes; verifying listeners have one.
    pub quarantine: Option<Quarantine>,
    /// What is remembered; verifying listeners have it.
    pub recorder: Option<Recorder>,
    /// Whom to tell.
    pub alerter: Option<Alerter>,
    /// What is known of our own keys.
    pub keyrings: Arc<Keyrings>,
}

/// Decides about the messages of one listener.
#[derive(Debug)]
pub struct Gateway<L> {
    listener: String,
    mode: Mode,
    running: Arc<ArcSwap<Running>>,
    lookup: Arc<L>,
}

impl<L: LookupKey> Gateway<L> {
    /// For a listener of this name and mode.
    pub fn new(listener: String, mode: Mode, running: Arc<ArcSwap<Running>>, lookup: Arc<L>) -> Self {
        Self { listener, mode, running, lookup }
    }
}

impl<L: LookupKey> MessageHandler for Gateway<L> {
    type Watch = ArrivingBody;

    async fn handle(
        &self,
        session: &SessionInfo,
        envelope: &Envelope,
        message: Content,
        body: ArrivingBody,
    ) -> Decision {
        let running = self.running.load_full();
        match self.mode {
            Mode::Seal => self.seal(&running, session, message, body).await,
            Mode::Verify => self.verify(running, session, envelope, message, body).await,
        }
    }

    async fn wave_through(
        &self,
        session: &SessionInfo,
        envelope: &Envelope,
        head: &[u8],
    ) -> Option<(Edits, Account)> {
        let running = self.running.load_full();
        match self.mode {
            Mode::Seal => self.wave_foreign_through(&running, head),
            Mode::Verify => self.wave_unsealed_through(&running, session, envelope, head).await,
        }
    }
}

impl Watch for ArrivingBody {
    fn see(&mut self, octets: &[u8]) {
        ArrivingBody::see(self, octets);
    }
}

/// As much of a Message-ID field as is kept, in octets: the longest line that there may be (RFC 5322 §2.1.1).
const MAX_MESSAGE_ID: usize = 998;

/// Who a message is from, for the log and for us.
struct Origin {
    author: Author,
    message_id: Option<String>,
}

impl Origin {
    fn of(header: &HeaderSection<'_>) -> Self {
        Self::by(Author::of(header), header)
    }

    /// Of a message whose author has been read.
    fn by(author: Author, header: &HeaderSection<'_>) -> Self {
        let message_id = header.all("Message-ID").next();
        let message_id = message_id.map(|field| {
            let octets = &field.value[..field.value.len().min(MAX_MESSAGE_ID)];
            String::from_utf8_lossy(&Field { value: octets, ..*field }.unfolded()).into_owned()
        });
        Self { author, message_id }
    }

    /// Of a message that may be ours to seal.
    fn to_seal(header: &HeaderSection<'_>) -> Self {
        Self::by(Author::as_written(header), header)
    }

    fn account(&self, action: &'static str, summary: &str) -> Account {
        Account {
            summary: printable(summary, 500),
            action,
            author: match &self.author {
                Author::One(domain) => Some(domain.to_string()),
                Author::Unclear(_) => None,
            },
            message_id: self.message_id.as_deref().map(|id| printable(id, 200)),
            ..Account::default()
        }
    }
}

/// A message whose file cannot be read back stays with the client.
fn unreadable(session: &SessionInfo, error: &io::Error, account: Account) -> Decision {
    error!(session = %session.id, %error, "cannot read a large message back from its file");
    Decision::answer(Reply::new(451, "4.3.0 cannot read the message back, try again later"), account)
}
