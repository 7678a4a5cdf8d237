//! One message from its final dot to the reply: sealed or verified, the policy applied, passed on or answered.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::task;
use tracing::{error, info, warn};

use crate::author::Author;
use crate::authres;
use crate::config::{Mode, UncleanHeader};
use crate::edits::Edits;
use crate::envelope::Envelope;
use crate::header::HeaderSection;
use crate::lookup::LookupKey;
use crate::manifest::Status;
use crate::notify::{Alert, Alerter, Finding, Outcome};
use crate::policy::Action;
use crate::report::{printable, summary};
use crate::seal::body::ArrivingBody;
use crate::seal::knowledge::Knowledge;
use crate::seal::message::Message;
use crate::seal::sign::{Moment, SealError, Sealer, seal};
use crate::seal::verify::verify;
use crate::setup::Setup;
use crate::smtp::{Decision, MessageHandler, Reply, SessionInfo, Watch};
use crate::store::{Held, Quarantine, StoreError};
use crate::verdict::Verification;

/// Messages from this size on are worked on by a thread of their own, so that other sessions need not wait.
const LARGE: usize = 256 << 10;

/// What serves now: the configuration's parts, and where held mail and alerts go.
#[derive(Debug)]
pub struct Running {
    /// Keys, pins, policy.
    pub setup: Setup,
    /// Where held mail goes; verifying listeners have one.
    pub quarantine: Option<Quarantine>,
    /// Whom to tell.
    pub alerter: Option<Alerter>,
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

    async fn seal(
        &self,
        running: &Running,
        session: &SessionInfo,
        message: Vec<u8>,
        body: ArrivingBody,
    ) -> Decision {
        let author = Author::of(&HeaderSection::parse(&message));
        let sealer = match &author {
            Author::One(domain) => running.setup.sealer(domain),
            Author::Unclear(_) => None,
        };
        let Some(sealer) = sealer else {
            info!(session = %session.id, author = %name(&author), "not sealed: the author's domain is not ours");
            return Decision::Relay { message, edits: Edits::none() };
        };
        let (message, sealed) = work(message, move |message| seal_now(message, body, &sealer)).await;
        match sealed {
            Ok(edits) => {
                info!(session = %session.id, author = %name(&author), size = message.len(), "sealed");
                Decision::Relay { message, edits }
            }
            Err(SealNowError::Seal(error @ SealError::Unclean(_))) if self.passes_unclean(running) => {
                warn!(session = %session.id, author = %name(&author), %error, "passed on unsealed");
                Decision::Relay { message, edits: Edits::none() }
            }
            Err(SealNowError::Seal(error)) => {
                warn!(session = %session.id, author = %name(&author), %error, "refused: cannot be sealed");
                Decision::Answer(Reply::new(550, &format!("5.6.0 message cannot be sealed: {error}")))
            }
            Err(SealNowError::Moment) => {
                error!(session = %session.id, "no clock or no random numbers");
                Decision::Answer(Reply::new(451, "4.3.0 cannot seal now, try again later"))
            }
        }
    }

    fn passes_unclean(&self, running: &Running) -> bool {
        let listener = running.setup.listener(&self.listener);
        listener.is_some_and(|listener| listener.unclean_header == UncleanHeader::Pass)
    }

    async fn verify(
        &self,
        running: Arc<Running>,
        session: &SessionInfo,
        envelope: &Envelope,
        message: Vec<u8>,
        body: ArrivingBody,
    ) -> Decision {
        let Some(now) = unix_time() else {
            error!(session = %session.id, "the clock stands before 1970");
            return Decision::Answer(Reply::new(451, "4.3.0 cannot verify now, try again later"));
        };
        let answers = look_up(&Message::new(&message), &running.setup, &*self.lookup).await;
        let judge = Arc::clone(&running);
        let (message, judged) = work(message, move |message| {
            let knowledge = Knowledge { pins: &judge.setup.pins, answers };
            let parsed = Message::arrived(message, body);
            let verification = verify(&parsed, &knowledge, now);
            let action = judge.setup.policy.action(&verification);
            let edits = verified_edits(parsed.header(), &judge.setup, &verification, action);
            let message_id = parsed.header().all("Message-ID").next().map(|field| lossy(&field.unfolded()));
            Judged { author: Author::of(parsed.header()), message_id, verification, action, edits }
        })
        .await;
        log(session, envelope, &judged);
        match judged.action {
            Action::Deliver | Action::Mark => Decision::Relay { message, edits: judged.edits },
            Action::Quarantine => self.hold(running, session, envelope, message, judged).await,
            Action::Reject => {
                tell(&running, session.id.to_string(), envelope, &judged, Outcome::Rejected);
                Decision::Answer(Reply::new(550, &format!("5.7.1 {}", summary(&judged.verification))))
            }
            Action::Defer => {
                Decision::Answer(Reply::new(451, &format!("4.7.0 {}", summary(&judged.verification))))
            }
        }
    }

    /// Holds the message as it was received; 250 only once it is safely on disk.
    async fn hold(
        &self,
        running: Arc<Running>,
        session: &SessionInfo,
        envelope: &Envelope,
        message: Vec<u8>,
        judged: Judged,
    ) -> Decision {
        let held = Held {
            listener: self.listener.clone(),
            received: jiff::Timestamp::now(),
            client: session.client.ip(),
            reverse_path: envelope.reverse_path.as_str().to_owned(),
            mail_parameters: envelope.mail_parameters.iter().map(ToString::to_string).collect(),
            recipients: envelope.recipients.iter().map(|path| path.as_str().to_owned()).collect(),
            verdict: judged.verification.verdict.as_str().to_owned(),
            reason: judged.verification.verdict.reason().map(|reason| reason.as_str().to_owned()),
            summary: printable(&summary(&judged.verification), 500),
            message_id: judged.message_id.clone(),
            size: message.len() as u64,
        };
        let store = Arc::clone(&running);
        let stored = task::spawn_blocking(move || match &store.quarantine {
            Some(quarantine) => quarantine.hold(&held, std::iter::once(message.as_slice())).map(Some),
            None => Ok(None),
        })
        .await;
        match stored {
            Ok(Ok(Some(id))) => {
                info!(session = %session.id, %id, "held");
                tell(&running, id.to_string(), envelope, &judged, Outcome::Quarantined);
                Decision::Answer(Reply::new(250, &format!("2.0.0 accepted as {id}")))
            }
            Ok(Err(StoreError::NoSpace { path, .. })) => {
                error!(session = %session.id, path = %path.display(), "no room to hold a message");
                Decision::Answer(Reply::new(451, "4.3.1 no room to store the message, try again later"))
            }
            failure => {
                error!(session = %session.id, ?failure, "cannot hold a message");
                Decision::Answer(Reply::new(451, "4.3.0 cannot store the message, try again later"))
            }
        }
    }
}

impl Watch for ArrivingBody {
    fn see(&mut self, message: &[u8]) {
        ArrivingBody::see(self, message);
    }
}

impl<L: LookupKey> MessageHandler for Gateway<L> {
    type Watch = ArrivingBody;

    async fn handle(
        &self,
        session: &SessionInfo,
        envelope: &Envelope,
        message: Vec<u8>,
        body: ArrivingBody,
    ) -> Decision {
        let running = self.running.load_full();
        match self.mode {
            Mode::Seal => self.seal(&running, session, message, body).await,
            Mode::Verify => self.verify(running, session, envelope, message, body).await,
        }
    }
}

/// What was found out about a message, and what is done about it.
struct Judged {
    author: Author,
    message_id: Option<String>,
    verification: Verification,
    action: Action,
    edits: Edits,
}

/// Looks up the keys that the check of a message may need and no pin covers.
pub async fn look_up<L: LookupKey>(
    message: &Message<'_>,
    setup: &Setup,
    lookup: &L,
) -> HashMap<(crate::domain::DomainName, crate::domain::Selector), crate::seal::knowledge::Answer> {
    let mut answers = HashMap::new();
    for (domain, selector) in message.wanted_keys() {
        if !setup.pins.covers(&domain) {
            let answer = lookup.lookup(&domain, &selector).await;
            answers.insert((domain, selector), answer);
        }
    }
    answers
}

enum SealNowError {
    Seal(SealError),
    Moment,
}

fn seal_now(message: &[u8], body: ArrivingBody, sealer: &Sealer) -> Result<Edits, SealNowError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| SealNowError::Moment)?;
    let now = unix_time().ok_or(SealNowError::Moment)?;
    let moment = Moment { now, random };
    seal(&Message::arrived(message, body), sealer, moment).map_err(SealNowError::Seal)
}

/// The changes to a verified message that is passed on: forged results cut out, ours put on top, marks where asked for.
fn verified_edits(
    header: &HeaderSection<'_>,
    setup: &Setup,
    verification: &Verification,
    action: Action,
) -> Edits {
    let mut edits = Edits::none();
    for field in authres::forged(header, &setup.hostname) {
        edits.remove(field.start..field.end);
    }
    if action == Action::Mark {
        let line = printable(&summary(verification), 400);
        let warning = format!("X-Attachment-Seal-Warning: {}; {line}\r\n", verification.verdict.as_str());
        if let Some(prefix) = &setup.policy.subject_prefix {
            prefix_subject(header, prefix, &mut edits);
        }
        edits.insert_top(warning.as_bytes());
    }
    edits.insert_top(authres::field(&setup.hostname, verification).as_bytes());
    edits
}

fn prefix_subject(header: &HeaderSection<'_>, prefix: &str, edits: &mut Edits) {
    match header.all("Subject").next() {
        Some(field) if lossy(&field.unfolded()).starts_with(prefix.trim_end()) => {}
        Some(field) => {
            let value = field.end - (field.value.len() + 2).min(field.end - field.start);
            edits.replace(value..value, format!(" {}", prefix.trim_end()).as_bytes());
        }
        None => edits.insert_top(format!("Subject: {}\r\n", prefix.trim_end()).as_bytes()),
    }
}

/// Works on a message, on a thread of its own where it is large, and gives it back.
async fn work<T: Send + 'static>(
    message: Vec<u8>,
    job: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> (Vec<u8>, T) {
    if message.len() < LARGE {
        let done = job(&message);
        return (message, done);
    }
    let done = task::spawn_blocking(move || {
        let done = job(&message);
        (message, done)
    });
    match done.await {
        Ok(done) => done,
        // A fault in the job ends this session alone, as it would have without the thread.
        Err(fault) => std::panic::resume_unwind(fault.into_panic()),
    }
}

fn unix_time() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

fn name(author: &Author) -> Cow<'_, str> {
    match author {
        Author::One(domain) => Cow::Borrowed(domain.as_str()),
        Author::Unclear(_) => Cow::Borrowed("unclear"),
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn log(session: &SessionInfo, envelope: &Envelope, judged: &Judged) {
    let verification = &judged.verification;
    info!(
        session = %session.id,
        reverse_path = %envelope.reverse_path,
        author = %name(&judged.author),
        message_id = judged.message_id.as_deref().map(|id| printable(id, 200)),
        verdict = verification.verdict.as_str(),
        reason = verification.verdict.reason().map(|reason| reason.as_str()),
        trust = verification.trust.map(|trust| trust.as_str()),
        known = verification.known.map(|ground| ground.as_str()),
        action = judged.action.as_str(),
        trial = verification.trial,
        "{}",
        printable(&summary(verification), 500)
    );
}

fn tell(running: &Running, id: String, envelope: &Envelope, judged: &Judged, outcome: Outcome) {
    let Some(alerter) = &running.alerter else { return };
    let verification = &judged.verification;
    let changed = verification.attachments.iter().filter(|outcome| outcome.status != Status::Intact);
    let finding = |outcome: &crate::manifest::Outcome| Finding {
        status: outcome.status.as_str().to_owned(),
        name: outcome
            .sealed
            .as_ref()
            .or(outcome.found.as_ref())
            .map(|entry| entry.name.clone())
            .unwrap_or_default(),
    };
    alerter.alert(Alert {
        id,
        verdict: verification.verdict.as_str().to_owned(),
        reason: verification.verdict.reason().map(|reason| reason.as_str().to_owned()),
        outcome,
        from_domain: judged.author.domains().first().map(ToString::to_string),
        reverse_path: envelope.reverse_path.as_str().to_owned(),
        recipients: envelope.recipients.len(),
        message_id: judged.message_id.clone(),
        attachments: changed.map(finding).collect(),
    });
}
