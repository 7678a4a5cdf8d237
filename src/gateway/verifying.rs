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

use super::judged::{Judged, Known};
use super::{Gateway, Origin, Running, unreadable};
use crate::clock::unix_time;
use crate::envelope::{Envelope, ForwardPath};
use crate::lookup::{LookupKey, Wanted, look_up};
use crate::notify::Outcome;
use crate::policy::Action;
use crate::smtp::{Account, Content, Decision, Reply, SessionInfo};
use crate::standing::Standing;
use crate::store::{HoldError, Kept, StoreError};

impl<L: LookupKey> Gateway<L> {
    /// Judges a message and does what the policy says.
    pub(super) async fn verify(
        &self,
        running: Arc<Running>,
        session: &SessionInfo,
        envelope: &Envelope,
        mut message: Content,
        body: ArrivingBody,
    ) -> Decision {
        let Some(now) = unix_time() else {
            error!(session = %session.id, "the clock stands before 1970");
            let reply = Reply::new(451, "4.3.0 cannot verify now, try again later");
            return Decision::answer(reply, Account { action: "defer", ..Account::default() });
        };
        let wanted = Wanted::by(&Message::new(message.head()));
        let known = self.look_up(&running, &wanted, now).await;
        let judged = match self.judge(&running, &mut message, body, known, envelope, now).await {
            Ok(judged) => judged,
            Err(error) => {
                let origin = Origin::of(&HeaderSection::parse(message.head()));
                return unreadable(session, &error, origin.account("defer", "cannot be read back"));
            }
        };
        judged.doubt_clock(session, now);
        let account = judged.account();
        // No reply repeats the links that strangers chose.
        let summary = sentence(&judged.verification);
        let decision = match judged.ruling.action {
            Action::Deliver | Action::Mark => {
                running.tell_of_passage(session, envelope, &judged);
                Decision::relay(message, judged.edits.clone(), account)
            }
            Action::Quarantine => self.hold(&running, session, envelope, message, &judged).await,
            Action::Reject => {
                running.tell(session.id.to_string(), envelope, &judged, Outcome::Rejected);
                Decision::answer(Reply::new(550, &format!("5.7.1 {summary}")), account)
            }
            Action::Defer => Decision::answer(Reply::new(451, &format!("4.7.0 {summary}")), account),
        };
        running.record(session, envelope, &judged, decision.account.action, now);
        decision
    }

    /// Judges a message. A large one is looked at as a whole only where its body has changed: of one that has not, the
    /// header section and the hash of the body say all.
    async fn judge(
        &self,
        running: &Arc<Running>,
        message: &mut Content,
        body: ArrivingBody,
        known: Known,
        envelope: &Envelope,
        now: u64,
    ) -> io::Result<Judged> {
        let recipients = recipient_domains(envelope);
        if message.at_hand().is_none()
            && let Some(outline) = Message::without_body(message.head(), body.clone())
        {
            let judged = running.judge(&outline, known.clone(), &recipients, now);
            if judged.verification.body() != Some(State::Changed) {
                return Ok(judged);
            }
        }
        let running = Arc::clone(running);
        message
            .examine(move |octets| running.judge(&Message::arrived(octets, body), known, &recipients, now))
            .await
    }

    /// What is done with an unsealed message from a domain that need not seal depends on its header section alone.
    pub(super) async fn wave_unsealed_through(
        &self,
        running: &Running,
        session: &SessionInfo,
        envelope: &Envelope,
        head: &[u8],
    ) -> Option<(Edits, Account)> {
        let wanted = {
            let message = Message::new(head);
            if message.header().all(FIELD).next().is_some() {
                return None;
            }
            Wanted::by(&message)
        };
        let now = unix_time()?;
        let known = self.look_up(running, &wanted, now).await;
        let judged = running.judge(&Message::new(head), known, &recipient_domains(envelope), now);
        match judged.ruling.action {
            Action::Deliver | Action::Mark => {
                running.record(session, envelope, &judged, judged.ruling.action.as_str(), now);
                running.tell_of_passage(session, envelope, &judged);
                Some((judged.edits.clone(), judged.account()))
            }
            Action::Quarantine | Action::Reject | Action::Defer => None,
        }
    }

    /// What is known of those whom a message names: pins, memory, and what DNS says of the keys that no pin settles.
    async fn look_up(&self, running: &Running, wanted: &Wanted, now: u64) -> Known {
        let standing = Standing::of(wanted, &running.pins, running.recorder.as_ref(), now).await;
        let answers = look_up(wanted, &standing.pins, &*self.lookup, running.setup.dns.bounds()).await;
        Known { standing, answers }
    }

    /// Holds the message as it was received; 250 only once it is safely on disk.
    async fn hold(
        &self,
        running: &Arc<Running>,
        session: &SessionInfo,
        envelope: &Envelope,
        message: Content,
        judged: &Judged,
    ) -> Decision {
        let held = judged.held(&running.setup.hostname, &self.listener, session, envelope, message.size());
        let store = Arc::clone(running);
        let stored = task::spawn_blocking(move || match &store.quarantine {
            Some(quarantine) => {
                let quotas = &store.setup.config.quarantine;
                quarantine.hold(quotas, &held, message.into_reader()).map(Some)
            }
            None => Ok(None),
        })
        .await;
        let account = judged.account();
        match stored {
            Ok(Ok(Some(Kept { id, filling }))) => {
                if let Some(filling) = filling {
                    warn!("{filling}");
                    running.tell_of_quota(filling);
                }
                running.tell(id.to_string(), envelope, judged, Outcome::Quarantined);
                let reply = Reply::new(250, &format!("2.0.0 accepted as {id}"));
                Decision::answer(reply, Account { held: Some(id.to_string()), ..account })
            }
            Ok(Err(HoldError { error: StoreError::Full { unverified }, filling })) => {
                warn!(session = %session.id, unverified, "a message cannot be held: the quarantine is full");
                if let Some(filling) = filling {
                    error!("{filling}");
                    running.tell_of_quota(filling);
                }
                let reply = Reply::new(452, "4.3.1 the quarantine is full, try again later");
                Decision::answer(reply, Account { action: "defer", ..account })
            }
            Ok(Err(HoldError { error: StoreError::NoSpace { path, .. }, .. })) => {
                error!(session = %session.id, path = %path.display(), "no room to hold a message");
                let reply = Reply::new(451, "4.3.1 no room to store the message, try again later");
                Decision::answer(reply, Account { action: "defer", ..account })
            }
            failure => {
                error!(session = %session.id, ?failure, "cannot hold a message");
                let reply = Reply::new(451, "4.3.0 cannot store the message, try again later");
                Decision::answer(reply, Account { action: "defer", ..account })
            }
        }
    }
}

/// Each recipient's domain, if it has one and no address literal.
fn recipient_domains(envelope: &Envelope) -> Vec<Option<DomainName>> {
    let domain = |recipient: &ForwardPath| recipient.domain()?.parse().ok();
    envelope.recipients.iter().map(domain).collect()
}
