//! What was found out about a message, and all that follows from it: the changes to its header section, the log, memory,
//! `waxseal report`, the administrator's alert.

use std::ops::Range;

use attachment_seal::domain::DomainName;
use attachment_seal::manifest::{self, LinkChanges, Status};
use attachment_seal::message::author::Author;
use attachment_seal::message::edits::Edits;
use attachment_seal::message::header::{Field, HeaderSection};
use attachment_seal::seal::knowledge::{Answers, Knowledge};
use attachment_seal::seal::message::Message;
use attachment_seal::verdict::authres;
use attachment_seal::verdict::lesson::Observation;
use attachment_seal::verdict::links::{added_word, defanged, removed_name, removed_word};
use attachment_seal::verdict::report::{not_intact, printable, reason, summary};
use attachment_seal::verdict::verify::verify;
use attachment_seal::verdict::{Ground, Reason, Verdict, Verification};
use tracing::error;

use super::{Origin, Running};
use crate::envelope::Envelope;
use crate::notify::{Alert, Finding, Notice, Outcome};
use crate::policy::{Action, Ruling};
use crate::setup::Setup;
use crate::smtp::{Account, SessionInfo};
use crate::standing::Standing;
use crate::store::{self, Filling, Held};

/// What is known when a message is judged.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) standing: Standing,
    pub(super) answers: Answers,
}

/// What was found out about a message, and what is done about it.
pub(super) struct Judged {
    pub(super) origin: Origin,
    pub(super) verification: Verification,
    /// Whether a seal of a pinned correspondent was verified; everything else anybody can send.
    pub(super) is_verified: bool,
    pub(super) ruling: Ruling,
    pub(super) edits: Edits,
}

impl Judged {
    /// Raises the alarm where a valid seal is dated ahead of our clock: a clock that is slow puts all mail off, and one that
    /// somebody turned back has old mail pass for fresh.
    pub(super) fn doubt_clock(&self, session: &SessionInfo, now: u64) {
        let verification = &self.verification;
        let is_refused = verification.verdict() == Verdict::Fail(Reason::FutureSeal);
        let (Some(domain), Some(sealed_at)) = (verification.domain(), verification.sealed_at()) else {
            return;
        };
        if verification.clock_doubt() || is_refused {
            error!(
                session = %session.id,
                %domain,
                seconds_ahead = sealed_at.saturating_sub(now),
                "a valid seal is dated ahead of this machine's clock: check that the clock is right (`waxseal doctor`); \
                 if it is, the clock of the sealing gateway is wrong"
            );
        }
    }

    /// Why the verdict is what it is, or else why a message that passes is not simply delivered.
    fn reason(&self) -> Option<&'static str> {
        reason(&self.verification).or(self.ruling.by_links.then_some(LINKS_ADDED))
    }

    /// What the log says of it.
    pub(super) fn account(&self) -> Account {
        let verification = &self.verification;
        Account {
            verdict: Some(verification.verdict().as_str()),
            reason: self.reason(),
            trust: verification.trust().map(|trust| trust.as_str()),
            known: verification.known().map(|ground| ground.as_str()),
            key_lookup: verification.key_lookup().map(|lookup| lookup.as_str()),
            policy_lookup: verification.policy_lookup().map(|lookup| lookup.as_str()),
            published: verification.published().map(|request| request.as_str()),
            withheld: self.ruling.withheld.map(|action| action.as_str()),
            trial: verification.trial(),
            ..self.origin.account(self.ruling.action.as_str(), &summary(verification))
        }
    }

    /// What the quarantine keeps beside the message.
    pub(super) fn held(
        &self,
        hostname: &DomainName,
        listener: &str,
        session: &SessionInfo,
        envelope: &Envelope,
        size: u64,
    ) -> Held {
        Held {
            listener: listener.to_owned(),
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
            result: Some(authres::field(hostname, &self.verification)),
            verified: self.is_verified,
            verdict: self.verification.verdict().as_str().to_owned(),
            reason: self.reason().map(str::to_owned),
            summary: printable(&summary(&self.verification), 500),
            message_id: self.origin.message_id.clone(),
            size,
        }
    }
}

impl Running {
    /// Judges a message by what is known, and rules on it.
    pub(super) fn judge(
        &self,
        message: &Message<'_>,
        known: Known,
        recipients: &[Option<DomainName>],
        now: u64,
    ) -> Judged {
        let Known { standing: Standing { pins, memory }, answers } = known;
        let knowledge = Knowledge { pins: &pins, answers, memory };
        let verification = verify(message, &knowledge, now);
        let sealer = verification.domain().filter(|_| verification.trust().is_some());
        let is_verified = sealer.is_some_and(|domain| pins.covers(domain));
        let origin = Origin::by(message.author().clone(), message.header());
        let ruling = self.setup.policy.ruling(&verification, origin.author.domains(), recipients);
        let edits = verified_edits(message, &self.setup, &verification, ruling.action);
        Judged { origin, verification, is_verified, ruling, edits }
    }

    /// Has the result and what was done written down, for memory and for `waxseal report`.
    pub(super) fn record(
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
                verdict: verification.verdict().as_str().to_owned(),
                reason: judged.reason().map(str::to_owned),
                known: verification.known().map(|ground| ground.as_str().to_owned()),
                trust: verification.trust().map(|trust| trust.as_str().to_owned()),
                asked: judged.ruling.withheld.unwrap_or(judged.ruling.action).as_str().to_owned(),
                done: done.to_owned(),
                from_domain: author.map(ToString::to_string),
                domain: verification.domain().map(ToString::to_string),
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

    /// The administrator is told of mail that goes its way though nothing but memory misses a seal of it (SPEC.md §10), or only
    /// because the policy is to observe or the key on trial.
    pub(super) fn tell_of_passage(&self, session: &SessionInfo, envelope: &Envelope, judged: &Judged) {
        let verification = &judged.verification;
        let by_memory =
            verification.verdict() == Verdict::Missing && verification.known() == Some(Ground::Memory);
        let outcome = match judged.ruling {
            Ruling { withheld: Some(Action::Quarantine | Action::Reject), .. } => Outcome::Observed,
            Ruling { action: Action::Mark, .. } if by_memory => Outcome::Marked,
            _ => return,
        };
        self.tell(session.id.to_string(), envelope, judged, outcome);
    }

    /// Tells the administrator that held mail has taken most of its quota, or all.
    pub(super) fn tell_of_quota(&self, filling: Filling) {
        let Some(alerter) = &self.alerter else { return };
        let subject = if filling.is_full { "the quarantine is full" } else { "the quarantine is filling up" };
        let consequence = if filling.is_full {
            "Mail that would have to be held is put off (452)."
        } else {
            "Once it is full, mail that would have to be held is put off (452)."
        };
        let text = format!(
            "{filling}.\n\n{consequence} Look at what is held: waxseal quarantine list, then show ID, release ID or delete ID. \
             Its limits are in [quarantine]."
        );
        alerter.notice(Notice { subject: subject.to_owned(), text });
    }

    /// Tells the administrator, who finds the message by `id`.
    pub(super) fn tell(&self, id: String, envelope: &Envelope, judged: &Judged, outcome: Outcome) {
        let Some(alerter) = &self.alerter else { return };
        let verification = &judged.verification;
        let changed = || verification.attachments().iter().filter(|outcome| outcome.status != Status::Intact);
        let finding = |outcome: &manifest::Outcome| Finding {
            status: outcome.status.as_str().to_owned(),
            name: outcome
                .sealed
                .as_ref()
                .or(outcome.found.as_ref())
                .map(|entry| entry.name.clone())
                .unwrap_or_default(),
        };
        let links: Vec<Finding> = verification.links().into_iter().flat_map(link_findings).collect();
        alerter.alert(Alert {
            id,
            verdict: verification.verdict().as_str().to_owned(),
            reason: judged.reason().map(str::to_owned),
            outcome,
            from_domain: judged.origin.author.domains().first().map(ToString::to_string),
            reverse_path: envelope.reverse_path.as_str().to_owned(),
            recipients: envelope.recipients.len(),
            message_id: judged.origin.message_id.clone(),
            attachments: changed().take(MAX_ATTACHMENTS).map(finding).collect(),
            more_attachments: changed().count().saturating_sub(MAX_ATTACHMENTS),
            links: links.iter().take(MAX_LINKS).cloned().collect(),
            more_links: links.len().saturating_sub(MAX_LINKS)
                + verification.links().map_or(0, |links| links.more_added),
        });
    }
}

/// Attachments that are written down and told of one message.
const MAX_ATTACHMENTS: usize = 20;

/// Links that are told of one message, and characters of each.
const MAX_LINKS: usize = 20;
const MAX_LINK: usize = 110;

/// The reason for what is done with a message that passes, where links were added to its text.
const LINKS_ADDED: &str = "links-added";

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

/// As much of a stranger's text as is written down.
fn start(text: &str) -> String {
    text.chars().take(250).collect()
}

/// The changes to a verified message that is passed on: forged results cut out, ours put on top, marks where asked for.
fn verified_edits(
    message: &Message<'_>,
    setup: &Setup,
    verification: &Verification,
    action: Action,
) -> Edits {
    let mut edits = Edits::none();
    let forged = authres::forged(message.raw(), &setup.hostname);
    if action == Action::Mark {
        let line = printable(&summary(verification), 400);
        let warning = format!("{}: {}; {line}\r\n", authres::WARNING, verification.verdict().as_str());
        if let Some(prefix) = &setup.policy.subject_prefix {
            prefix_subject(message.header(), prefix, &forged, &mut edits);
        }
        edits.insert_top(warning.as_bytes());
    }
    forged.into_iter().for_each(|cut| edits.remove(cut));
    edits.insert_top(authres::field(&setup.hostname, verification).as_bytes());
    edits
}

fn prefix_subject(header: &HeaderSection<'_>, prefix: &str, forged: &[Range<usize>], edits: &mut Edits) {
    let is_kept =
        |field: &&Field<'_>| !forged.iter().any(|cut| cut.start < field.end && field.start < cut.end);
    match header.all("Subject").find(is_kept) {
        Some(field) if field.unfolded().starts_with(prefix.trim_end().as_bytes()) => {}
        Some(field) => {
            let value = field.end - (field.value.len() + 2).min(field.end - field.start);
            edits.replace(value..value, format!(" {}", prefix.trim_end()).as_bytes());
        }
        None => edits.insert_top(format!("Subject: {}\r\n", prefix.trim_end()).as_bytes()),
    }
}
