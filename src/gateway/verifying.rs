//! The verifying side: a message is judged by all that is known, and the policy says what is done about it.

use std::io;
use std::sync::Arc;

use attachment_seal::domain::DomainName;
use attachment_seal::message::body::ArrivingBody;
use attachment_seal::message::edits::Edits;
use attachment_seal::message::header::HeaderSection;
use attachment_seal::seal::format::FIELD;
use attachment_seal::seal::message::Message;
use attachment_seal::verdict::State;
use attachment_seal::verdict::report::sentence;
use tokio::task;
use tracing::{error, warn};

use super::account::{Account, Deed, Facts, Origin, held_letters};
use super::judged::{Judged, Known, judge};
use super::{Running, unreadable};
use crate::clock::unix_time;
use crate::dns::lookup::{LookupKey, Wanted, look_up};
use crate::gateway::known::Standing;
use crate::gateway::post::Post;
use crate::notify::Notice;
use crate::policy::Action;
use crate::smtp::envelope::Envelope;
use crate::smtp::{Content, Decision, Disposal, Reply, SessionInfo};
use crate::store::{Filling, HeldId, HoldError, Kept, StoreError};

/// One message on its way through a verifying listener.
pub(super) struct Verifying<'a, L> {
    pub(super) running: Arc<Running>,
    pub(super) lookup: &'a L,
    pub(super) session: &'a SessionInfo,
    pub(super) envelope: &'a Envelope,
}

impl<L: LookupKey> Verifying<'_, L> {
    /// Judges a message and does what the policy says.
    pub(super) async fn verify(self, mut message: Content, body: ArrivingBody) -> Decision<Account> {
        let Some(now) = unix_time() else {
            let origin = Origin::of(&HeaderSection::parse(message.head()));
            let why = "the system clock is set before 1970";
            error!(session = %self.session.id, "{why}");
            let account = Account::unjudged(self.running, Deed::Own(Action::Defer), origin, why);
            return Decision::answer(Reply::new(451, "4.3.0 cannot verify now, try again later"), account);
        };
        let wanted = Wanted::by(&Message::new(message.head()));
        let known = self.look_up(&wanted, now).await;
        let mut judged = match self.judge(&mut message, body, known, now).await {
            Ok(judged) => judged,
            Err(error) => {
                let origin = Origin::of(&HeaderSection::parse(message.head()));
                return unreadable(self.running, self.session, &error, origin);
            }
        };
        judged.doubt_clock(self.session);
        // No reply repeats the links that strangers chose.
        let summary = sentence(&judged.verification);
        let answer = |code, status| Disposal::Answer(Reply::new(code, &format!("{status} {summary}")));
        let facts = Facts::of(&judged);
        let (disposal, action, held) = match judged.ruling.action {
            action @ (Action::Deliver | Action::Mark) => {
                (Disposal::Relay { message, edits: std::mem::take(&mut judged.edits) }, action, None)
            }
            Action::Quarantine => match self.hold(message, &judged, &facts).await {
                Ok(id) => {
                    let reply = Reply::new(250, &format!("2.0.0 accepted as {id}"));
                    (Disposal::Answer(reply), Action::Quarantine, Some(id))
                }
                Err(reply) => (Disposal::Answer(reply), Action::Defer, None),
            },
            action @ Action::Reject => (answer(550, "5.7.1"), action, None),
            action @ Action::Defer => (answer(451, "4.7.0"), action, None),
        };
        Decision { disposal, account: Account::judged(self.running, action, judged, facts, held) }
    }

    /// Judges a message. A large one is looked at as a whole only where its body has changed: of one that has not, the
    /// header section and the hash of the body say all.
    async fn judge(
        &self,
        message: &mut Content,
        body: ArrivingBody,
        known: Known,
        now: u64,
    ) -> io::Result<Judged> {
        let recipients = recipient_domains(self.envelope);
        if message.at_hand().is_none()
            && let Some(outline) = Message::without_body(message.head(), body.clone())
        {
            let judged = judge(&self.running.setup, &outline, known.clone(), &recipients, now);
            if judged.verification.body() != Some(State::Changed) {
                return Ok(judged);
            }
        }
        let running = Arc::clone(&self.running);
        message
            .examine(move |octets| {
                judge(&running.setup, &Message::arrived(octets, body), known, &recipients, now)
            })
            .await
    }

    /// What is done with an unsealed message from a domain that need not seal depends on its header section alone.
    pub(super) async fn wave_unsealed_through(self, head: &[u8]) -> Option<(Edits, Account)> {
        let wanted = {
            let message = Message::new(head);
            if message.header().all(FIELD).next().is_some() {
                return None;
            }
            Wanted::by(&message)
        };
        let now = unix_time()?;
        let known = self.look_up(&wanted, now).await;
        let recipients = recipient_domains(self.envelope);
        let mut judged = judge(&self.running.setup, &Message::new(head), known, &recipients, now);
        match judged.ruling.action {
            action @ (Action::Deliver | Action::Mark) => {
                let (edits, facts) = (std::mem::take(&mut judged.edits), Facts::of(&judged));
                Some((edits, Account::judged(self.running, action, judged, facts, None)))
            }
            Action::Quarantine | Action::Reject | Action::Defer => None,
        }
    }

    /// What is known of those whom a message names: pins, memory, and what DNS says of the keys that no pin settles.
    async fn look_up(&self, wanted: &Wanted, now: u64) -> Known {
        let Running { setup, pins, recorder, .. } = &*self.running;
        let standing = Standing::of(wanted, pins, recorder.as_ref(), now).await;
        let answers = look_up(wanted, &standing.pins, self.lookup, setup.dns.bounds()).await;
        Known { standing, answers }
    }

    /// Holds the message as it was received, safely on disk. Where that cannot be, the client hears why it must come again.
    async fn hold(&self, message: Content, judged: &Judged, facts: &Facts) -> Result<HeldId, Reply> {
        let hostname = &self.running.setup.hostname;
        let held = judged.held(hostname, self.session, self.envelope, message.size());
        let letters = held_letters(&self.running, judged, facts, self.session, self.envelope);
        let store = Arc::clone(&self.running);
        let stored = task::spawn_blocking(move || match &store.quarantine {
            Some(quarantine) => {
                let quotas = &store.setup.config.quarantine;
                quarantine.hold(quotas, &held, &letters, &mut message.into_reader()).map(Some)
            }
            None => Ok(None),
        })
        .await;
        let session = &self.session.id;
        let post = &self.running.post;
        match stored {
            Ok(Ok(Some(Kept { id, filling }))) => {
                if let Some(filling) = filling {
                    warn!("{filling}");
                    tell_of_quota(post, filling);
                }
                Ok(id)
            }
            Ok(Err(HoldError { error: StoreError::Full { unverified }, filling })) => {
                warn!(%session, unverified, "a message cannot be held: the quarantine is full");
                if let Some(filling) = filling {
                    error!("{filling}");
                    tell_of_quota(post, filling);
                }
                Err(Reply::new(452, "4.3.1 the quarantine is full, try again later"))
            }
            Ok(Err(HoldError { error: StoreError::NoSpace { path, .. }, .. })) => {
                error!(%session, path = %path.display(), "no room to hold a message");
                Err(Reply::new(451, "4.3.1 no room to store the message, try again later"))
            }
            Ok(Err(HoldError { error, .. })) if error.is_no_space() => {
                error!(%session, %error, "no room to hold a message");
                Err(Reply::new(451, "4.3.1 no room to store the message, try again later"))
            }
            failure => {
                error!(%session, ?failure, "cannot hold a message");
                Err(Reply::new(451, "4.3.0 cannot store the message, try again later"))
            }
        }
    }
}

/// Tells the administrator that held mail has taken most of its quota, or all.
fn tell_of_quota(post: &Post, filling: Filling) {
    let (subject, consequence) = if filling.is_full {
        ("the quarantine is full", "Mail that must be held is deferred (452).")
    } else {
        ("the quarantine is filling up", "Once it is full, mail that must be held is deferred (452).")
    };
    let text = format!(
        "{filling}.\n\n{consequence} Look at what is held: waxseal quarantine list, then show ID, release ID or delete ID. \
         Its limits are in [quarantine]."
    );
    post.notice(Notice { subject: subject.to_owned(), text });
}

/// Each recipient's domain, if it has one and no address literal.
fn recipient_domains(envelope: &Envelope) -> Vec<Option<DomainName>> {
    envelope.recipients.iter().map(|recipient| recipient.domain()?.parse().ok()).collect()
}
