//! What became of a message, and all that is told of it then: a line in the log, metrics, memory, `waxseal report`, the
//! administrator's alert. They are all made here from one value, once the client's reply is certain.

use std::sync::Arc;
use std::time::Duration;

use attachment_seal::manifest::{self, LinkChanges, Status};
use attachment_seal::message::author::Author;
use attachment_seal::message::header::{Field, HeaderSection};
use attachment_seal::verdict::lesson::Observation;
use attachment_seal::verdict::links::{added_word, defanged, removed_name, removed_word};
use attachment_seal::verdict::report::{not_intact, printable, summary};
use attachment_seal::verdict::{Ground, Verdict};
use tracing::{info, warn};

use super::Running;
use super::details::{Written, bounded};
use super::judged::Judged;
use crate::clock::moment;
use crate::metrics::{self, Metrics};
use crate::notify::recipient::{HeldNotice, Why};
use crate::notify::{self, Alert, Finding};
use crate::policy::{Action, Ruling};
use crate::smtp::envelope::Envelope;
use crate::smtp::{Outcome, Reply, SessionInfo};
use crate::store::{self, Findings, HeldId, Letter, Particulars};

/// Attachments that are written down and told of one message.
const MAX_ATTACHMENTS: usize = 20;

/// Octets of what is written down of them.
const MAX_OCTETS: usize = 1_500;

/// Links that are told of one message, and characters of each.
const MAX_LINKS: usize = 20;
const MAX_LINK: usize = 110;

/// Characters that are shown of what is said of a message.
const MAX_SUMMARY: usize = 500;

/// As much of a Message-ID field as is kept, in octets: the longest line that there may be (RFC 5322 §2.1.1).
const MAX_MESSAGE_ID: usize = 998;

/// What was done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Sealed and passed on.
    Seal,
    /// Passed on as it is, since it is not ours to seal.
    Pass,
    /// What the policy says, or what we could do instead.
    Own(Action),
    /// It was to be passed on, and the next hop put it off, was lost, or could not be given all of it. The client comes again
    /// with it.
    DeferredByNextHop,
    /// It was to be passed on, and the next hop refused it for good.
    RefusedByNextHop,
}

impl Deed {
    /// The word for it in log, metrics and report.
    fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Pass => "pass",
            Self::Own(action) => action.as_str(),
            Self::DeferredByNextHop => store::DEFERRED_BY_NEXT_HOP,
            Self::RefusedByNextHop => store::REFUSED_BY_NEXT_HOP,
        }
    }

    /// Whether the message is to go to the next hop.
    fn passes_on(self) -> bool {
        matches!(self, Self::Seal | Self::Pass | Self::Own(Action::Deliver | Action::Mark))
    }

    /// What it comes to with these replies. By LMTP a message is passed on if one recipient has it.
    fn with(self, replies: &[Reply]) -> Self {
        if !self.passes_on() || replies.iter().any(Reply::is_positive) {
            self
        } else if replies.iter().all(|reply| reply.code() >= 500) {
            Self::RefusedByNextHop
        } else {
            Self::DeferredByNextHop
        }
    }
}

/// Who a message is from, for the log and for us.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) author: Author,
    pub(super) message_id: Option<String>,
}

impl Origin {
    pub(super) fn of(header: &HeaderSection<'_>) -> Self {
        Self::by(Author::of(header), header)
    }

    /// Of a message whose author has been read.
    pub(super) fn by(author: Author, header: &HeaderSection<'_>) -> Self {
        let message_id = header.all("Message-ID").next();
        let message_id = message_id.map(|field| {
            let octets = &field.value[..field.value.len().min(MAX_MESSAGE_ID)];
            String::from_utf8_lossy(&Field { value: octets, ..*field }.unfolded()).into_owned()
        });
        Self { author, message_id }
    }

    /// Of a message that may be ours to seal.
    pub(super) fn to_seal(header: &HeaderSection<'_>) -> Self {
        Self::by(Author::as_written(header), header)
    }

    /// The author's domain, where it is clear.
    fn domain(&self) -> Option<String> {
        match &self.author {
            Author::One(domain) => Some(domain.to_string()),
            Author::Unclear(_) => None,
        }
    }
}

/// What is kept of a message until its reply is certain: words and short texts, since a next hop may take minutes and a
/// stranger's message can have thousands of parts.
#[derive(Debug)]
pub struct Account {
    running: Arc<Running>,
    deed: Deed,
    /// The author's domain, where it is clear.
    author: Option<String>,
    message_id: Option<String>,
    /// One line for people, not yet made printable.
    summary: String,
    /// Of a message that was verified.
    facts: Option<Box<Facts>>,
    /// Its id in the quarantine.
    held: Option<HeldId>,
    /// What people may want to know of it later.
    findings: Option<Box<Findings>>,
}

/// What was found out about a message, in the words for it.
#[derive(Debug)]
pub(super) struct Facts {
    at: u64,
    verdict: &'static str,
    reason: Option<&'static str>,
    trust: Option<&'static str>,
    known: Option<&'static str>,
    key_lookup: Option<&'static str>,
    policy_lookup: Option<&'static str>,
    published: Option<&'static str>,
    trial: bool,
    ruling: Ruling,
    /// Whether a seal is missing, and nothing but memory misses it.
    is_missed_by_memory: bool,
    /// The sealing domain.
    domain: Option<String>,
    /// The first of those that may be the author's domain.
    from_domain: Option<String>,
    observation: Option<Observation>,
    written: Written,
    /// The first attachments that are not intact, in a line each.
    not_intact: Vec<String>,
    attachments: Vec<Finding>,
    more_attachments: usize,
    links: Vec<Finding>,
    more_links: usize,
}

impl Facts {
    pub(super) fn of(judged: &Judged) -> Self {
        let verification = &judged.verification;
        let changed = verification.attachments().iter().filter(|outcome| outcome.status != Status::Intact);
        let links: Vec<Finding> = verification.links().into_iter().flat_map(link_findings).collect();
        Self {
            at: judged.at,
            verdict: verification.verdict().as_str(),
            reason: judged.reason(),
            trust: verification.trust().map(|trust| trust.as_str()),
            known: verification.known().map(|ground| ground.as_str()),
            key_lookup: verification.key_lookup().map(|lookup| lookup.as_str()),
            policy_lookup: verification.policy_lookup().map(|lookup| lookup.as_str()),
            published: verification.published().map(|request| request.as_str()),
            trial: verification.trial(),
            ruling: judged.ruling,
            is_missed_by_memory: verification.verdict() == Verdict::Missing
                && verification.known() == Some(Ground::Memory),
            domain: verification.domain().map(ToString::to_string),
            from_domain: judged.origin.author.domains().first().map(ToString::to_string),
            observation: judged.observation(),
            written: judged.written.clone(),
            not_intact: few(not_intact(verification).map(|text| start(&text))),
            attachments: changed.clone().take(MAX_ATTACHMENTS).map(attachment_finding).collect(),
            more_attachments: changed.count().saturating_sub(MAX_ATTACHMENTS),
            more_links: links.len().saturating_sub(MAX_LINKS)
                + verification.links().map_or(0, |links| links.more_added),
            links: links.into_iter().take(MAX_LINKS).collect(),
        }
    }

    /// What the policy asked for.
    fn asked(&self) -> Action {
        self.ruling.asked()
    }

    /// What the administrator is told of it.
    fn alert(
        &self,
        id: String,
        outcome: notify::Outcome,
        message_id: Option<&String>,
        session: &SessionInfo,
        envelope: &Envelope,
    ) -> Alert {
        Alert {
            id,
            verdict: self.verdict.to_owned(),
            reason: self.reason.map(str::to_owned),
            outcome,
            received: moment(self.at),
            listener: session.listener.clone(),
            client: session.client.ip(),
            from_domain: self.from_domain.clone(),
            author: self.written.address.clone(),
            subject: self.written.subject.clone(),
            reverse_path: envelope.reverse_path.as_str().to_owned(),
            recipients: recipients(envelope),
            more_recipients: 0,
            message_id: message_id.cloned(),
            attachments: self.attachments.clone(),
            more_attachments: self.more_attachments,
            links: self.links.clone(),
            more_links: self.more_links,
        }
    }
}

/// The letters about a message that is to be held: to the administrator, and to its recipients. They are put into the outbox in
/// the transaction that holds it.
pub(super) fn held_letters(
    running: &Running,
    judged: &Judged,
    facts: &Facts,
    session: &SessionInfo,
    envelope: &Envelope,
) -> Vec<Letter> {
    let message_id = judged.origin.message_id.as_ref();
    let alert = facts.alert(String::new(), notify::Outcome::Quarantined, message_id, session, envelope);
    let mut letters: Vec<Letter> = running.post.alert_letter(alert, None).into_iter().collect();
    let Some(notices) = &running.setup.config.notices else { return letters };
    // A notice that is held itself must not make another one.
    let is_ours = envelope.reverse_path.as_str().is_empty()
        && judged.written.address.as_ref().is_some_and(|address| address.eq_ignore_ascii_case(&notices.from));
    if !is_ours {
        let notice = HeldNotice {
            reference: String::new(),
            received: moment(facts.at),
            author: judged.written.address.clone(),
            subject: judged.written.subject.clone(),
            why: Why::of(facts.verdict, facts.reason),
        };
        letters.extend(running.post.notice_letters(&recipients(envelope), &notice.cut()));
    }
    letters
}

fn recipients(envelope: &Envelope) -> Vec<String> {
    envelope.recipients.iter().map(|path| path.as_str().to_owned()).collect()
}

impl Account {
    /// Of a message that is not verified; `summary` says in one line what is done.
    pub(super) fn unjudged(running: Arc<Running>, deed: Deed, origin: Origin, summary: &str) -> Self {
        Self {
            running,
            deed,
            author: origin.domain(),
            message_id: origin.message_id,
            summary: summary.to_owned(),
            facts: None,
            held: None,
            findings: None,
        }
    }

    /// Of a message that was verified, and then dealt with in this way.
    pub(super) fn judged(
        running: Arc<Running>,
        action: Action,
        judged: Judged,
        facts: Facts,
        held: Option<HeldId>,
    ) -> Self {
        Self {
            running,
            deed: Deed::Own(action),
            author: judged.origin.domain(),
            summary: summary(&judged.verification).chars().take(MAX_SUMMARY).collect(),
            facts: Some(Box::new(facts)),
            message_id: judged.origin.message_id,
            held,
            findings: judged.findings.map(|findings| Box::new(bounded(*findings))),
        }
    }

    /// Tells all who want to know.
    pub(super) fn conclude(mut self, metrics: &Metrics, outcome: &Outcome<'_>) {
        let Some(reply) = outcome.replies.last() else { return };
        let findings = self.findings.take();
        let concluded = Concluded { deed: self.deed.with(outcome.replies), account: &self, outcome, reply };
        concluded.log();
        concluded.count(metrics);
        if let Some(facts) = &self.facts {
            concluded.tell(facts, findings);
        }
    }
}

/// A message with its end.
struct Concluded<'a> {
    account: &'a Account,
    deed: Deed,
    outcome: &'a Outcome<'a>,
    /// The last of the replies.
    reply: &'a Reply,
}

impl Concluded<'_> {
    /// One line for a message. It is a warning where the message did not go on to everybody whom it is for.
    fn log(&self) {
        let Outcome { session, envelope, .. } = self.outcome;
        let Account { author, message_id, summary, .. } = self.account;
        let facts = self.account.facts.as_deref();
        let refused = self.outcome.replies.iter().filter(|reply| !reply.is_positive()).count();
        let is_split = (1..self.outcome.replies.len()).contains(&refused);
        // The level is part of what a line is made of before the program runs.
        macro_rules! say {
            ($say:ident) => {
                $say!(
                    session = %session.id,
                    listener = session.listener,
                    client = %session.client,
                    reverse_path = envelope.reverse_path.as_str(),
                    recipients = envelope.recipients.len(),
                    recipients_refused = is_split.then_some(refused),
                    author,
                    message_id = message_id.as_deref().map(|id| printable(id, 200)),
                    size = self.outcome.size,
                    verdict = facts.map(|facts| facts.verdict),
                    reason = facts.and_then(|facts| facts.reason),
                    trust = facts.and_then(|facts| facts.trust),
                    known = facts.and_then(|facts| facts.known),
                    key_lookup = facts.and_then(|facts| facts.key_lookup),
                    policy_lookup = facts.and_then(|facts| facts.policy_lookup),
                    published = facts.and_then(|facts| facts.published),
                    trial = facts.and_then(|facts| facts.trial.then_some(true)),
                    action = self.deed.as_str(),
                    withheld = facts.and_then(|facts| facts.ruling.withheld).map(Action::as_str),
                    held = self.account.held.as_ref().map(ToString::to_string),
                    code = self.reply.code(),
                    queue_id = self.reply.queue_id(),
                    reply = self.reply.to_string(),
                    own_ms = milliseconds(self.outcome.own_work),
                    next_hop_ms = milliseconds(self.outcome.next_hop),
                    "{}",
                    printable(summary, MAX_SUMMARY)
                )
            };
        }
        if self.deed.passes_on() && refused == 0 {
            say!(info);
        } else {
            say!(warn);
        }
    }

    /// A message that the next hop puts off comes again, so its verdict is counted when it does.
    fn count(&self, metrics: &Metrics) {
        let facts = self.account.facts.as_deref().filter(|_| self.deed != Deed::DeferredByNextHop);
        metrics.message(&metrics::Message {
            listener: &self.outcome.session.listener,
            action: self.deed.as_str(),
            verdict: facts.map(|facts| facts.verdict),
            reason: facts.and_then(|facts| facts.reason),
            size: self.outcome.size,
            own_work: self.outcome.own_work,
            next_hop: self.outcome.next_hop,
            code: self.reply.code(),
            replied_by: self.outcome.replied_by,
        });
    }

    /// For memory and for `waxseal report`. A message that the next hop puts off teaches memory nothing: it comes again,
    /// and three attempts at one message must not pass for three messages.
    fn record(&self, facts: &Facts, findings: Option<Box<Findings>>, letters: Vec<Letter>) {
        let Some(recorder) = &self.account.running.recorder else { return };
        let Outcome { session, envelope, .. } = self.outcome;
        let owned = |word: Option<&str>| word.map(str::to_owned);
        let is_attempt = self.deed == Deed::DeferredByNextHop;
        recorder.record(store::Entry {
            observation: facts.observation.clone().filter(|_| !is_attempt),
            letters,
            particulars: self.particulars(facts),
            findings: findings.filter(|_| !is_attempt),
            judged: store::Judged {
                at: facts.at,
                session: session.id.to_string(),
                verdict: facts.verdict.to_owned(),
                reason: owned(facts.reason),
                known: owned(facts.known),
                trust: owned(facts.trust),
                asked: facts.asked().as_str().to_owned(),
                done: self.deed.as_str().to_owned(),
                from_domain: self.account.author.clone(),
                domain: facts.domain.clone(),
                reverse_path: start(envelope.reverse_path.as_str()),
                recipients: envelope.recipients.len(),
                message_id: self.account.message_id.as_deref().map(start),
                attachments: facts.not_intact.clone(),
                summary: start(&self.account.summary),
                held: self.account.held.as_ref().map(ToString::to_string),
                queue_id: self.reply.queue_id().filter(|_| self.deed.passes_on()),
                arrived_as: facts.written.arrived_as.clone(),
            },
        });
    }

    /// What a message is found by, besides how it was judged.
    fn particulars(&self, facts: &Facts) -> Particulars {
        let Outcome { session, envelope, size, .. } = self.outcome;
        let to = envelope.recipients.iter().take(store::MAX_RECIPIENTS).map(|path| start(path.as_str()));
        Particulars {
            author: facts.written.address.as_deref().map(start),
            to: to.collect(),
            subject: facts.written.subject.clone(),
            size: *size,
            listener: session.listener.clone(),
            client: Some(session.client.ip()),
            client_name: session.client_name.as_deref().map(start),
        }
    }

    /// What the administrator is told of, if anything: mail that was held or rejected, and mail that went its way though
    /// nothing but memory misses a seal of it (SPEC.md §10), or only because the policy is to observe or the key on trial.
    fn news(&self, facts: &Facts) -> Option<notify::Outcome> {
        match (self.deed, facts.ruling.withheld) {
            (Deed::Own(Action::Quarantine), _) => Some(notify::Outcome::Quarantined),
            (Deed::Own(Action::Reject), _) => Some(notify::Outcome::Rejected),
            (Deed::Own(Action::Deliver | Action::Mark), Some(Action::Quarantine | Action::Reject)) => {
                Some(notify::Outcome::Observed)
            }
            (Deed::Own(Action::Mark), _) if facts.is_missed_by_memory => Some(notify::Outcome::Marked),
            _ => None,
        }
    }

    /// For memory and for `waxseal report`, and for the administrator where there is news. What is told of a message that is held
    /// was written down with it.
    fn tell(&self, facts: &Facts, findings: Option<Box<Findings>>) {
        let Outcome { session, envelope, .. } = self.outcome;
        let Account { running, message_id, held, .. } = self.account;
        let id = held.as_ref().map_or_else(|| session.id.to_string(), ToString::to_string);
        let alert = self
            .news(facts)
            .map(|outcome| facts.alert(id.clone(), outcome, message_id.as_ref(), session, envelope));
        let Some(alert) = alert.filter(|_| held.is_none() || running.post.outbox().is_none()) else {
            return self.record(facts, findings, Vec::new());
        };
        let letters = running.post.alert_letter(alert.clone(), Some(id)).into_iter().collect();
        self.record(facts, findings, letters);
        running.post.alert(alert);
    }
}

fn attachment_finding(outcome: &manifest::Outcome) -> Finding {
    let entry = outcome.sealed.as_ref().or(outcome.found.as_ref());
    let name = entry.map(|entry| entry.name.clone()).unwrap_or_default();
    Finding { status: outcome.status.as_str().to_owned(), name }
}

/// What happened to each link, the added ones before the removed.
fn link_findings(links: &LinkChanges) -> impl Iterator<Item = Finding> {
    let (added, removed) = (added_word(links), removed_word(links));
    let added = links
        .added
        .iter()
        .map(|target| Finding { status: added.to_owned(), name: defanged(target, MAX_LINK) });
    let removed = links
        .removed
        .iter()
        .map(|link| Finding { status: removed.to_owned(), name: removed_name(link, MAX_LINK) });
    let hidden = (!links.found_all)
        .then(|| Finding { status: "unclear".to_owned(), name: "the text may hide more links".to_owned() });
    hidden.into_iter().chain(added).chain(removed)
}

/// A number that JSON can hold.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The first texts, as long as all of them together are short.
fn few(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut octets = 0;
    let is_short = |text: &String| {
        octets += text.len();
        octets <= MAX_OCTETS
    };
    texts.take(MAX_ATTACHMENTS).take_while(is_short).collect()
}

/// As much of a stranger's text as is written down.
fn start(text: &str) -> String {
    text.chars().take(store::MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_hop_has_the_last_word_on_what_is_passed_on() {
        let deliver = Deed::Own(Action::Deliver);
        for (deed, codes, expected) in [
            (deliver, &[250][..], deliver),
            (deliver, &[450], Deed::DeferredByNextHop),
            (deliver, &[421], Deed::DeferredByNextHop),
            (Deed::Seal, &[550], Deed::RefusedByNextHop),
            (Deed::Own(Action::Quarantine), &[250], Deed::Own(Action::Quarantine)),
            (Deed::Own(Action::Reject), &[550], Deed::Own(Action::Reject)),
            (Deed::Own(Action::Defer), &[451], Deed::Own(Action::Defer)),
            // By LMTP there is a reply for each recipient.
            (deliver, &[550, 250, 450], deliver),
            (Deed::Pass, &[550, 450], Deed::DeferredByNextHop),
            (Deed::Own(Action::Mark), &[550, 554], Deed::RefusedByNextHop),
        ] {
            let replies: Vec<_> = codes.iter().map(|&code| Reply::new(code, "")).collect();
            assert_eq!(deed.with(&replies), expected, "{deed:?} {codes:?}");
        }
    }
}
