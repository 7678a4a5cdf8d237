//! Checking a message, step by step as SPEC.md §8 has them. Pure: keys and time are given.

use super::{Reason, State, Verdict, Verification};
use crate::domain::DomainName;
use crate::doubt::{Doubt, Doubts};
use crate::manifest::{Comparison, Found};
use crate::message::author::Author;
use crate::mime::{self, second_view};
use crate::seal::format::{FIELD, Seal};
use crate::seal::key::PublicKey;
use crate::seal::knowledge::{Keys, Knowledge, ProvenKey};
use crate::seal::message::{MAX_SEALS, Message};
use crate::seal::trust::Ground;

/// How far ahead of our clock a seal may be dated, in seconds (SPEC.md §8 step 5).
pub const MAX_CLOCK_SKEW: u64 = 300;

/// Checks a message by what is known, at the time `now` in Unix seconds.
pub fn verify(message: &Message<'_>, knowledge: &Knowledge<'_>, now: u64) -> Verification {
    let author = message.author();
    let result = check(message, author, knowledge, now);
    let key_lookup = match (&result.domain, &result.selector) {
        (Some(domain), Some(selector)) => knowledge.key_lookup(domain, selector),
        _ => None,
    };
    // The sealing domain's, or the author's where no seal counts. A stranger's seal says nothing about this author.
    let judged = match (&result.domain, result.verdict, author) {
        (_, Verdict::Unaligned, _) => None,
        (Some(domain), _, _) | (None, _, Author::One(domain)) => Some(domain),
        (None, _, Author::Unclear(_)) => None,
    };
    let published = judged.and_then(|domain| knowledge.request(domain, result.known));
    let policy_lookup = knowledge.policy_lookup(author.domains());
    Verification { key_lookup, policy_lookup, published, ..result }
}

/// The eleven steps.
fn check(message: &Message<'_>, author: &Author, knowledge: &Knowledge<'_>, now: u64) -> Verification {
    let check = Check { message, knowledge, now };

    // Step 1: no seal, or too many.
    let known = author.domains().iter().find_map(|domain| knowledge.ground(domain));
    let seals: Vec<&[u8]> =
        message.header().all(FIELD).take(MAX_SEALS + 1).map(|field| field.value).collect();
    if seals.is_empty() {
        // Among more authors than can be looked up, somebody is hidden who is known to seal.
        if known.is_none() && author.is_crowd() {
            return Verification::doubtful(Doubt::BadFrom, known);
        }
        // Nor is it known what stands below the part that was read.
        if known.is_none() && message.header().doubts().contains(Doubt::HeaderTooLong) {
            return Verification::doubtful(Doubt::HeaderTooLong, known);
        }
        return Verification::new(if known.is_some() { Verdict::Missing } else { Verdict::None }, known);
    }
    if seals.len() > MAX_SEALS {
        return Verification::new(Verdict::Fail(Reason::TooManySeals), known);
    }

    // Step 2: the author, and the seals aligned with it, nearest domain first.
    let Author::One(author) = author else {
        return Verification::doubtful(Doubt::BadFrom, known);
    };
    let mut first_failure = None;
    for seal in aligned(&seals, author) {
        match check.signature(seal, known) {
            Ok(signed) => return check.judge(&signed, known),
            Err(failure) => _ = first_failure.get_or_insert(failure),
        }
    }
    first_failure.map_or_else(|| check.without_alignment(&seals, known), |failure| *failure)
}

/// The seals whose `d` is the author's domain or a parent of it, not above the organisational domain.
fn aligned<'a>(seals: &[&'a [u8]], author: &DomainName) -> Vec<&'a [u8]> {
    let candidates: Vec<DomainName> = author.self_and_parents().collect();
    let nearness = |seal: &&'a [u8]| {
        let domain = Seal::domain_of(seal)?;
        candidates.iter().position(|candidate| *candidate == domain)
    };
    let mut aligned: Vec<(usize, &[u8])> =
        seals.iter().filter_map(|seal| nearness(seal).map(|nearness| (nearness, *seal))).collect();
    // Stable, so that those of one domain stay in message order.
    aligned.sort_by_key(|(nearness, _)| *nearness);
    aligned.into_iter().map(|(_, seal)| seal).collect()
}

/// A seal whose signature verifies; only `Check::signature` makes one.
struct Signed {
    seal: Seal,
    key: ProvenKey,
}

struct Check<'a> {
    message: &'a Message<'a>,
    knowledge: &'a Knowledge<'a>,
    now: u64,
}

impl Check<'_> {
    /// Steps 3 to 5, up to the signature: the seal's form, its key, its signature.
    fn signature(&self, value: &[u8], known: Option<Ground>) -> Result<Signed, Box<Verification>> {
        let failure = |verdict| Verification::new(verdict, known);
        let Ok(seal) = Seal::parse(value) else {
            let domain = Seal::domain_of(value);
            return Err(Box::new(Verification { domain, ..failure(Verdict::Fail(Reason::MalformedSeal)) }));
        };
        let identified = |verdict| Box::new(identify(failure(verdict), &seal));
        let known = known.or(self.knowledge.ground(&seal.statement.domain));
        let verifies = |key: &PublicKey| key.verifies(&seal.signed, &seal.signature);
        let changed = |offered: &[PublicKey]| {
            let key = offered.iter().copied().find(verifies);
            Box::new(Verification { key, ..*identified(Verdict::KeyChanged) })
        };
        // Whoever names the selector of a trial has not sealed with its key: of a domain that is known to seal it would be
        // a way out.
        let on_trial = |verdict, trial: bool| {
            Box::new(Verification { trial: trial && known.is_none(), ..*identified(verdict) })
        };
        let (keys, contradicting) = match self.knowledge.keys(&seal) {
            Keys::Found { proven, contradicting } => (proven, contradicting),
            // Else changing `s` would be a way out.
            Keys::NotFound if known.is_some() => return Err(identified(Verdict::KeyChanged)),
            Keys::NotFound => return Err(identified(Verdict::UnknownKey)),
            Keys::Revoked { trial } => return Err(on_trial(Verdict::Fail(Reason::RevokedKey), trial)),
            Keys::Failed => return Err(identified(Verdict::Temperror)),
            Keys::Contradicting(offered) => return Err(changed(&offered)),
        };
        match keys.iter().find(|key| verifies(&key.key)) {
            Some(&key) => Ok(Signed { seal, key }),
            None if contradicting.iter().any(verifies) => Err(changed(&contradicting)),
            None => {
                let trial = keys.iter().all(|key| key.trial);
                Err(on_trial(Verdict::Fail(Reason::BadSignature), trial))
            }
        }
    }

    /// Steps 5 to 11, for a seal whose signature verifies.
    fn judge(&self, signed: &Signed, known: Option<Ground>) -> Verification {
        let statement = &signed.seal.statement;
        let result = |verdict| Verification {
            trust: Some(signed.key.trust),
            trial: signed.key.trial,
            key: Some(signed.key.key),
            root: signed.key.root,
            ..identify(Verification::new(verdict, known), &signed.seal)
        };

        // Step 5: its dates. A stale seal still proves what was sent.
        if statement.sealed_at > self.now + MAX_CLOCK_SKEW {
            return result(Verdict::Fail(Reason::FutureSeal));
        }
        let if_unchanged = if self.now > statement.expires_at { Verdict::Expired } else { Verdict::Pass };

        // Step 6: whether it is this message's.
        let header = self.message.header();
        if header.identity_hash() != statement.identity {
            return result(Verdict::Fail(Reason::OtherMessage));
        }
        let headers = Some(State::of(header.addressing_hash() == statement.addressing));

        // Step 7: a clean header section.
        let unclean = header.doubts();
        if !unclean.is_empty() {
            return Verification { doubts: unclean, headers, ..result(Verdict::Ambiguous) };
        }

        // Steps 8 to 11: what became of the body.
        let findings = self.examine(signed);
        let verdict = match &findings {
            Findings { body: State::Intact, .. } => if_unchanged,
            Findings { doubts, .. } if !doubts.is_empty() => Verdict::Ambiguous,
            Findings { comparison, .. } if !comparison.is_intact() => Verdict::Fail(Reason::Attachments),
            Findings { .. } => if_unchanged,
        };
        report(Verification { headers, ..result(verdict) }, findings)
    }

    /// Step 2, where no seal is aligned.
    fn without_alignment(&self, seals: &[&[u8]], known: Option<Ground>) -> Verification {
        if seals.iter().any(|seal| Seal::domain_of(seal).is_none()) {
            return Verification::new(Verdict::Fail(Reason::MalformedSeal), known);
        }
        if known.is_some() {
            return Verification::new(Verdict::Missing, known);
        }
        let valid = seals.iter().filter_map(|seal| self.signature(seal, None).ok()).find(|signed| {
            let statement = &signed.seal.statement;
            statement.sealed_at <= self.now + MAX_CLOCK_SKEW && self.now <= statement.expires_at
        });
        match valid {
            Some(signed) => {
                let result = identify(Verification::new(Verdict::Unaligned, known), &signed.seal);
                let trust = Some(signed.key.trust);
                report(Verification { trust, trial: signed.key.trial, ..result }, self.examine(&signed))
            }
            None => Verification::new(Verdict::None, known),
        }
    }

    /// Steps 8 to 10: what became of the body and of the attachments.
    fn examine(&self, signed: &Signed) -> Findings {
        let statement = &signed.seal.statement;
        let (raw, header) = (self.message.raw(), self.message.header());

        // Step 8: the body is exactly what was sealed, so no parser can disagree about it.
        if header.structure_hash() == statement.structure && self.message.body_hash() == statement.body {
            let comparison = Comparison::intact(&statement.manifest);
            return Findings { body: State::Intact, doubts: Doubts::NONE, comparison };
        }

        // Step 9: changed on the way; parse it strictly.
        let structure = mime::walk(raw, header);
        let mut doubts = structure.doubts;
        if [Doubt::TooDeep, Doubt::TooManyParts, Doubt::HeaderTooLong]
            .iter()
            .any(|&limit| doubts.contains(limit))
        {
            return Findings { body: State::Changed, doubts, comparison: Comparison::default() };
        }

        // Step 10: compare the manifests.
        let found = Found::of(raw, &structure.leaves);
        let comparison = Comparison::of(&statement.manifest, &found);
        doubts.extend(comparison.doubts);
        if doubts.is_empty() && !second_view::agrees(raw, &structure.leaves) {
            doubts.insert(Doubt::ViewsDiffer);
        }
        Findings { body: State::Changed, doubts, comparison }
    }
}

/// What became of a sealed body.
struct Findings {
    body: State,
    doubts: Doubts,
    comparison: Comparison,
}

fn identify(result: Verification, seal: &Seal) -> Verification {
    let statement = &seal.statement;
    Verification {
        domain: Some(statement.domain.clone()),
        selector: Some(statement.selector.clone()),
        sealed_at: Some(statement.sealed_at),
        ..result
    }
}

fn report(result: Verification, findings: Findings) -> Verification {
    Verification {
        body: Some(findings.body),
        text: Some(State::of(findings.comparison.text_is_intact)),
        attachments: findings.comparison.attachments,
        doubts: findings.doubts,
        ..result
    }
}
