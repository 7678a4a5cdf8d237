//! One message from its final dot to the reply: sealed or verified, the policy applied, passed on or answered. What became
//! of it in the end is written down by `account`.

mod account;
pub mod correspondents;
pub mod details;
mod judged;
pub mod keyring;
pub mod known;
pub mod post;
pub mod release;
pub mod retention;
mod sealing;
pub mod setup;
mod verifying;

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use attachment_seal::message::body::ArrivingBody;
use attachment_seal::message::edits::Edits;
use tracing::error;

use self::account::{Account, Deed, Origin};
use self::verifying::Verifying;
use crate::config::Mode;
use crate::dns::lookup::LookupKey;
use crate::gateway::keyring::Keyrings;
use crate::gateway::known::CurrentPins;
use crate::gateway::post::Post;
use crate::gateway::setup::Setup;
use crate::metrics::Metrics;
use crate::policy::Action;
use crate::smtp::envelope::Envelope;
use crate::smtp::{Content, Decision, MessageHandler, Outcome, Reply, SessionInfo, Watch};
use crate::store::{Quarantine, Recorder};

/// What serves now: the configuration's parts, and where held mail and alerts go.
#[derive(Debug)]
pub struct Running {
    /// Keys, pins, policy.
    pub setup: Arc<Setup>,
    /// Pins, those made by command included.
    pub pins: Arc<CurrentPins>,
    /// Where held mail goes; verifying listeners have one.
    pub quarantine: Option<Arc<dyn Quarantine>>,
    /// What is remembered; verifying listeners have it.
    pub recorder: Option<Recorder>,
    /// Whom to tell, and how.
    pub post: Post,
    /// What is known of our own keys.
    pub keyrings: Arc<Keyrings>,
}

/// Decides about the messages of one listener.
#[derive(Debug)]
pub struct Gateway<L> {
    mode: Mode,
    running: Arc<ArcSwap<Running>>,
    lookup: Arc<L>,
    metrics: Arc<Metrics>,
}

impl<L: LookupKey> Gateway<L> {
    /// For a listener of this mode.
    pub fn new(mode: Mode, running: Arc<ArcSwap<Running>>, lookup: Arc<L>, metrics: Arc<Metrics>) -> Self {
        Self { mode, running, lookup, metrics }
    }

    fn verifying<'a>(&'a self, session: &'a SessionInfo, envelope: &'a Envelope) -> Verifying<'a, L> {
        Verifying { running: self.running.load_full(), lookup: &*self.lookup, session, envelope }
    }
}

impl<L: LookupKey> MessageHandler for Gateway<L> {
    type Watch = ArrivingBody;
    type Account = Account;

    async fn handle(
        &self,
        session: &SessionInfo,
        envelope: &Envelope,
        message: Content,
        body: ArrivingBody,
    ) -> Decision<Account> {
        match self.mode {
            Mode::Seal => sealing::seal(self.running.load_full(), session, message, body).await,
            Mode::Verify => self.verifying(session, envelope).verify(message, body).await,
        }
    }

    async fn wave_through(
        &self,
        session: &SessionInfo,
        envelope: &Envelope,
        head: &[u8],
    ) -> Option<(Edits, Account)> {
        match self.mode {
            Mode::Seal => sealing::wave_foreign_through(self.running.load_full(), head),
            Mode::Verify => self.verifying(session, envelope).wave_unsealed_through(head).await,
        }
    }

    fn concluded(&self, account: Account, outcome: &Outcome<'_>) {
        account.conclude(&self.metrics, outcome);
    }
}

impl Watch for ArrivingBody {
    fn see(&mut self, octets: &[u8]) {
        ArrivingBody::see(self, octets);
    }
}

/// A message whose file cannot be read back stays with the client.
fn unreadable(
    running: Arc<Running>,
    session: &SessionInfo,
    error: &io::Error,
    origin: Origin,
) -> Decision<Account> {
    error!(session = %session.id, %error, "cannot read a large message back from its file");
    let account = Account::unjudged(running, Deed::Own(Action::Defer), origin, "cannot be read back");
    Decision::answer(Reply::new(451, "4.3.0 cannot read the message back, try again later"), account)
}
