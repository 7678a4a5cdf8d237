//! One message from its final dot to the reply: sealed or verified, the policy applied, passed on or answered.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::task;
use tracing::error;

use crate::author::Author;
use crate::authres;
use crate::config::{Mode, UncleanHeader};
use crate::domain::DomainName;
use crate::edits::Edits;
use crate::envelope::{Envelope, ForwardPath};
use crate::header::HeaderSection;
use crate::lookup::{LookupKey, look_up};
use crate::manifest::Status;
use crate::notify::{Alert, Alerter, Finding, Outcome};
use crate::policy::{Action, Ruling};
use crate::report::{not_intact, printable, reason, summary};
use crate::seal::body::ArrivingBody;
use crate::seal::format::FIELD;
use crate::seal::knowledge::{Answers, Knowledge};
use crate::seal::message::Message;
use crate::seal::remembered::Observation;
use crate::seal::sign::{Moment, SealError, Sealer, seal};
use crate::seal::verify::verify;
use crate::setup::Setup;
use crate::smtp::{Account, Content, Decision, MessageHandler, Reply, SessionInfo, Watch};
use crate::standing::{CurrentPins, Standing};
use crate::store::{self, Held, Quarantine, Recorder, StoreError};
use crate::verdict::{Ground, Verdict, Verification};

/// What is said of mail that is not ours to seal.
const NOT_OURS: &str = "not sealed: the author's domain is not ours";

/// What serves now: the configuration's parts, and where held mail and alerts go.
#[derive(Debug)]
pub struct Running {
    /// Keys, pins, policy.
    pub setup: Setup,
    /// Pins, those made by command included.
    pub pins: Arc<CurrentPins>,
    /// Where held mail goes; verifying listeners have one.
    pub quarantine: Option<Quarantine>,
    /// What is remembered; verifying listeners have it, unless its database cannot be used.
    pub recorder: Option<Recorder>,
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
        mut message: Content,
        body: ArrivingBody,
    ) -> Decision {
        let origin = Origin::of(&HeaderSection::parse(message.head()));
        let Some(sealer) = origin.sealer(&running.setup) else {
            return Decision::relay(message, Edits::none(), origin.account("pass", NOT_OURS));
        };
        match message.examine(move |octets| seal_now(octets, body, &sealer)).await {
            Ok(Ok(edits)) => Decision::relay(message, edits, origin.account("seal", "sealed")),
            Ok(Err(SealNowError::Seal(error @ SealError::Unclean(_)))) if self.passes_unclean(running) => {
                let account = origin.account("pass", &format!("not sealed: {error}"));
                Decision::relay(message, Edits::none(), account)
            }
            Ok(Err(SealNowError::Seal(SealError::NotDelegated(error)))) => {
                error!(session = %session.id, %error, "cannot seal");
                let reply = Reply::new(451, "4.3.0 cannot seal now, try again later");
                Decision::answer(reply, origin.account("defer", &error.to_string()))
            }
            Ok(Err(SealNowError::Seal(error))) => {
                let text = format!("message cannot be sealed: {error}");
                let reply = Reply::new(550, &format!("5.6.0 {text}"));
                Decision::answer(reply, origin.account("reject", &text))
            }
            Ok(Err(SealNowError::Moment)) => {
                error!(session = %session.id, "no clock or no random numbers");
                let reply = Reply::new(451, "4.3.0 cannot seal now, try again later");
                Decision::answer(reply, origin.account("defer", "no clock or no random numbers"))
            }
            Err(error) => unreadable(session, &error, origin.account("defer", "cannot be read back")),
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
        mut message: Content,
        body: ArrivingBody,
    ) -> Decision {
        let Some(now) = unix_time() else {
            error!(session = %session.id, "the clock stands before 1970");
            let reply = Reply::new(451, "4.3.0 cannot verify now, try again later");
            return Decision::answer(reply, Account { action: "defer", ..Account::default() });
        };
        let known = self.look_up(&running, &Message::new(message.head()), now).await;
        let recipients = recipient_domains(envelope);
        let judge = Arc::clone(&running);
        let judged = message
            .examine(move |octets| judge.judge(&Message::arrived(octets, body), known, &recipients, now))
            .await;
        let judged = match judged {
            Ok(judged) => judged,
            Err(error) => {
                let origin = Origin::of(&HeaderSection::parse(message.head()));
                return unreadable(session, &error, origin.account("defer", "cannot be read back"));
            }
        };
        let account = judged.account();
        let summary = summary(&judged.verification);
        let decision = match judged.ruling.action {
            Action::Deliver | Action::Mark => {
                tell_of_passage(&running, session, envelope, &judged);
                Decision::relay(message, judged.edits.clone(), account)
            }
            Action::Quarantine => self.hold(&running, session, envelope, message, &judged).await,
            Action::Reject => {
                tell(&running, session.id.to_string(), envelope, &judged, Outcome::Rejected);
                Decision::answer(Reply::new(550, &format!("5.7.1 {summary}")), account)
            }
            Action::Defer => Decision::answer(Reply::new(451, &format!("4.7.0 {summary}")), account),
        };
        running.record(session, envelope, &judged, decision.account.action, now);
        decision
    }

    /// What is done with an unsealed message from a domain that need not seal depends on its header section alone.
    async fn wave_unsealed_through(
        &self,
        running: &Running,
        session: &SessionInfo,
        envelope: &Envelope,
        head: &[u8],
    ) -> Option<(Edits, Account)> {
        let message = Message::new(head);
        if message.header().all(FIELD).next().is_some() {
            return None;
        }
        let now = unix_time()?;
        let known = self.look_up(running, &message, now).await;
        let judged = running.judge(&message, known, &recipient_domains(envelope), now);
        match judged.ruling.action {
            Action::Deliver | Action::Mark => {
                running.record(session, envelope, &judged, judged.ruling.action.as_str(), now);
                tell_of_passage(running, session, envelope, &judged);
                Some((judged.edits.clone(), judged.account()))
            }
            Action::Quarantine | Action::Reject | Action::Defer => None,
        }
    }

    /// What is known of those whom a message names: pins, memory, and what DNS says of the keys that no pin settles.
    async fn look_up(&self, running: &Running, message: &Message<'_>, now: u64) -> Known {
        let standing = Standing::of(message, &running.pins, running.recorder.as_ref(), now).await;
        let answers = look_up(message, &standing.pins, &*self.lookup, running.setup.dns.timeout).await;
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
        let held = Held {
            listener: self.listener.clone(),
            received: jiff::Timestamp::now(),
            client: session.client.ip(),
            reverse_path: envelope.reverse_path.as_str().to_owned(),
            mail_parameters: envelope.mail_parameters.iter().map(ToString::to_string).collect(),
            recipients: envelope.recipients.iter().map(|path| path.as_str().to_owned()).collect(),
            recipient_parameters: envelope
                .recipient_parameters
                .iter()
                .map(|parameters| parameters.iter().map(ToString::to_string).collect())
                .collect(),
            result: Some(authres::field(&running.setup.hostname, &judged.verification)),
            verdict: judged.verification.verdict.as_str().to_owned(),
            reason: reason(&judged.verification).map(str::to_owned),
            summary: printable(&summary(&judged.verification), 500),
            message_id: judged.origin.message_id.clone(),
            size: message.size(),
        };
        let store = Arc::clone(running);
        let stored = task::spawn_blocking(move || match &store.quarantine {
            Some(quarantine) => quarantine.hold(&held, message.into_reader()).map(Some),
            None => Ok(None),
        })
        .await;
        let account = judged.account();
        match stored {
            Ok(Ok(Some(id))) => {
                tell(running, id.to_string(), envelope, judged, Outcome::Quarantined);
                let reply = Reply::new(250, &format!("2.0.0 accepted as {id}"));
                Decision::answer(reply, Account { held: Some(id.to_string()), ..account })
            }
            Ok(Err(StoreError::NoSpace { path, .. })) => {
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

impl Watch for ArrivingBody {
    fn see(&mut self, octets: &[u8]) {
        ArrivingBody::see(self, octets);
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
            Mode::Seal => {
                let origin = Origin::of(&HeaderSection::parse(head));
                let is_ours = origin.sealer(&running.setup).is_some();
                (!is_ours).then(|| (Edits::none(), origin.account("pass", NOT_OURS)))
            }
            Mode::Verify => self.wave_unsealed_through(&running, session, envelope, head).await,
        }
    }
}

/// Who a message is from, for the log and for us.
struct Origin {
    author: Author,
    message_id: Option<String>,
}

impl Origin {
    fn of(header: &HeaderSection<'_>) -> Self {
        let message_id = header.all("Message-ID").next();
        let message_id = message_id.map(|field| String::from_utf8_lossy(&field.unfolded()).into_owned());
        Self { author: Author::of(header), message_id }
    }

    /// Who seals for the author, if we do.
    fn sealer(&self, setup: &Setup) -> Option<Arc<Sealer>> {
        match &self.author {
            Author::One(domain) => setup.sealer(domain),
            Author::Unclear(_) => None,
        }
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

/// What was found out about a message, and what is done about it.
struct Judged {
    origin: Origin,
    verification: Verification,
    ruling: Ruling,
    edits: Edits,
}

impl Judged {
    fn account(&self) -> Account {
        let verification = &self.verification;
        Account {
            verdict: Some(verification.verdict.as_str()),
            reason: reason(verification),
            trust: verification.trust.map(|trust| trust.as_str()),
            known: verification.known.map(|ground| ground.as_str()),
            key_lookup: verification.key_lookup.map(|lookup| lookup.as_str()),
            policy_lookup: verification.policy_lookup.map(|lookup| lookup.as_str()),
            published: verification.published.map(|request| request.as_str()),
            withheld: self.ruling.withheld.map(|action| action.as_str()),
            trial: verification.trial,
            ..self.origin.account(self.ruling.action.as_str(), &summary(verification))
        }
    }
}

impl Running {
    fn judge(
        &self,
        message: &Message<'_>,
        known: Known,
        recipients: &[Option<DomainName>],
        now: u64,
    ) -> Judged {
        let Known { standing: Standing { pins, memory }, answers } = known;
        let knowledge = Knowledge { pins: &pins, answers, memory };
        let verification = verify(message, &knowledge, now);
        let origin = Origin::of(message.header());
        let ruling = self.setup.policy.ruling(&verification, origin.author.domains(), recipients);
        let edits = verified_edits(message.header(), &self.setup, &verification, ruling.action);
        Judged { origin, verification, ruling, edits }
    }

    /// Has the result and what was done written down, for memory and for `waxseal report`.
    fn record(
        &self,
        session: &SessionInfo,
        envelope: &Envelope,
        judged: &Judged,
        done: &'static str,
        now: u64,
    ) {
        let Some(recorder) = &self.recorder else { return };
        let verification = &judged.verification;
        let author = match &judged.origin.author {
            Author::One(domain) => Some(domain),
            Author::Unclear(_) => None,
        };
        recorder.record(store::Entry {
            observation: Observation::of(verification, author, now),
            judged: store::Judged {
                at: now,
                session: session.id.to_string(),
                verdict: verification.verdict.as_str().to_owned(),
                reason: reason(verification).map(str::to_owned),
                known: verification.known.map(|ground| ground.as_str().to_owned()),
                trust: verification.trust.map(|trust| trust.as_str().to_owned()),
                asked: judged.ruling.withheld.unwrap_or(judged.ruling.action).as_str().to_owned(),
                done: done.to_owned(),
                from_domain: author.map(ToString::to_string),
                domain: verification.domain.as_ref().map(ToString::to_string),
                reverse_path: start(envelope.reverse_path.as_str()),
                recipients: envelope.recipients.len(),
                message_id: judged.origin.message_id.as_deref().map(start),
                attachments: not_intact(verification)
                    .take(MAX_ATTACHMENTS)
                    .map(|text| start(&text))
                    .collect(),
                summary: start(&summary(verification)),
            },
        });
    }
}

/// Attachments that are written down of one message.
const MAX_ATTACHMENTS: usize = 20;

/// As much of a stranger's text as is written down.
fn start(text: &str) -> String {
    text.chars().take(250).collect()
}

/// What is known when a message is judged.
struct Known {
    standing: Standing,
    answers: Answers,
}

/// Each recipient's domain, if it has one and no address literal.
fn recipient_domains(envelope: &Envelope) -> Vec<Option<DomainName>> {
    let domain = |recipient: &ForwardPath| recipient.domain()?.parse().ok();
    envelope.recipients.iter().map(domain).collect()
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
        Some(field) if field.unfolded().starts_with(prefix.trim_end().as_bytes()) => {}
        Some(field) => {
            let value = field.end - (field.value.len() + 2).min(field.end - field.start);
            edits.replace(value..value, format!(" {}", prefix.trim_end()).as_bytes());
        }
        None => edits.insert_top(format!("Subject: {}\r\n", prefix.trim_end()).as_bytes()),
    }
}

fn unix_time() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// A message whose file cannot be read back stays with the client.
fn unreadable(session: &SessionInfo, error: &io::Error, account: Account) -> Decision {
    error!(session = %session.id, %error, "cannot read a large message back from its file");
    Decision::answer(Reply::new(451, "4.3.0 cannot read the message back, try again later"), account)
}

/// The administrator is told of mail that goes its way though nothing but memory misses a seal of it (SEAL.md §8), or only
/// because the policy is to observe or the key on trial.
fn tell_of_passage(running: &Running, session: &SessionInfo, envelope: &Envelope, judged: &Judged) {
    let verification = &judged.verification;
    let by_memory = verification.verdict == Verdict::Missing && verification.known == Some(Ground::Memory);
    let outcome = match judged.ruling {
        Ruling { withheld: Some(Action::Quarantine | Action::Reject), .. } => Outcome::Observed,
        Ruling { action: Action::Mark, .. } if by_memory => Outcome::Marked,
        _ => return,
    };
    tell(running, session.id.to_string(), envelope, judged, outcome);
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
        reason: reason(verification).map(str::to_owned),
        outcome,
        from_domain: judged.origin.author.domains().first().map(ToString::to_string),
        reverse_path: envelope.reverse_path.as_str().to_owned(),
        recipients: envelope.recipients.len(),
        message_id: judged.origin.message_id.clone(),
        attachments: changed.map(finding).collect(),
    });
}
