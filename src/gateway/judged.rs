//! What was found out about a message, and what the policy rules: the changes to its header section, and what the quarantine
//! keeps beside it.

use std::ops::Range;

use attachment_seal::domain::DomainName;
use attachment_seal::message::author::Author;
use attachment_seal::message::edits::Edits;
use attachment_seal::message::header::{Field, HeaderSection};
use attachment_seal::seal::knowledge::{Answers, Knowledge};
use attachment_seal::seal::message::Message;
use attachment_seal::verdict::authres;
use attachment_seal::verdict::lesson::Observation;
use attachment_seal::verdict::report::{printable, reason, summary};
use attachment_seal::verdict::verify::verify;
use attachment_seal::verdict::{Reason, Verdict, Verification};
use tracing::error;

use super::account::Origin;
use super::details::{Written, findings};
use crate::gateway::known::Standing;
use crate::gateway::setup::Setup;
use crate::policy::{Action, Ruling};
use crate::smtp::SessionInfo;
use crate::smtp::envelope::Envelope;
use crate::store::{Findings, Held};

/// What is known when a message is judged.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) standing: Standing,
    pub(super) answers: Answers,
}

/// What was found out about a message, and what is done about it.
#[derive(Debug)]
pub(super) struct Judged {
    /// When, in Unix seconds.
    pub(super) at: u64,
    pub(super) origin: Origin,
    pub(super) written: Written,
    /// What people may want to know of it later; of a message that the policy simply delivers, only where it has a seal.
    pub(super) findings: Option<Box<Findings>>,
    pub(super) verification: Verification,
    /// Whether a seal of a pinned correspondent was verified; everything else anybody can send.
    pub(super) is_verified: bool,
    pub(super) ruling: Ruling,
    pub(super) edits: Edits,
}

impl Judged {
    /// Raises the alarm where a valid seal is dated ahead of our clock: a clock that is slow puts all mail off, and one that
    /// somebody turned back has old mail pass for fresh.
    pub(super) fn doubt_clock(&self, session: &SessionInfo) {
        let verification = &self.verification;
        let is_refused = verification.verdict() == Verdict::Fail(Reason::FutureSeal);
        let (Some(domain), Some(sealed_at)) = (verification.domain(), verification.sealed_at()) else {
            return;
        };
        if verification.clock_doubt() || is_refused {
            error!(
                session = %session.id,
                %domain,
                seconds_ahead = sealed_at.saturating_sub(self.at),
                "a valid seal is dated ahead of this machine's clock: check that the clock is right (`waxseal doctor`); \
                 if it is, the clock of the sealing gateway is wrong"
            );
        }
    }

    /// Why the verdict is what it is, or else why a message that passes is not simply delivered.
    pub(super) fn reason(&self) -> Option<&'static str> {
        reason(&self.verification).or(self.ruling.by_links.then_some(LINKS_ADDED))
    }

    /// What it teaches memory.
    pub(super) fn observation(&self) -> Option<Observation> {
        let author = match &self.origin.author {
            Author::One(domain) => Some(domain),
            Author::Unclear(_) => None,
        };
        Observation::of(&self.verification, author, self.at)
    }

    /// What the quarantine keeps beside the message.
    pub(super) fn held(
        &self,
        hostname: &DomainName,
        session: &SessionInfo,
        envelope: &Envelope,
        size: u64,
    ) -> Held {
        Held {
            listener: session.listener.clone(),
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
            details: self.findings.as_ref().map(|findings| findings.details.clone()).unwrap_or_default(),
        }
    }
}

/// Judges a message by what is known, and rules on it.
pub(super) fn judge(
    setup: &Setup,
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
    let written = Written::of(message.header(), &origin.author);
    let ruling = setup.policy.ruling(&verification, origin.author.domains(), recipients);
    let edits = verified_edits(message, setup, &verification, ruling.action);
    let findings = findings(message, &verification, ruling.asked()).map(Box::new);
    Judged { at: now, origin, written, findings, verification, is_verified, ruling, edits }
}

/// The reason for what is done with a message that passes, where links were added to its text.
const LINKS_ADDED: &str = "links-added";

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
