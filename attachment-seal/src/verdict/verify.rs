//! Checking a message, step by step as SPEC.md §8 has them. Pure: keys and time are given.

use super::{Reason, State, Verdict, Verification, VerifiedSignature};
use crate::domain::DomainName;
use crate::doubt::{Doubt, Doubts, Remarks};
use crate::manifest::judge::{self, Sealed, judge};
use crate::manifest::{Comparison, LinkChanges};
use crate::message::author::Author;
use crate::message::header::Field;

use crate::mime::READERS_FIELDS;
use crate::seal::format::{FIELD, Seal};
use crate::seal::key::PublicKey;
use crate::seal::knowledge::{Keys, Knowledge, ProvenKey};
use crate::seal::message::{MAX_SEALS, Message};
use crate::seal::trust::Ground;
use crate::verdict::authres::has_clean_top;

/// How far ahead of our clock a seal may be dated, in seconds (SPEC.md §8 step 5).
pub const MAX_CLOCK_SKEW: u64 = 300;

/// How far ahead of it a seal may be dated for the clock to be doubted, and not the seal, in seconds.
pub const MAX_CLOCK_DOUBT: u64 = 86_400;

/// Checks a message by what is known, at the time `now` in Unix seconds.
pub fn verify(message: &Message<'_>, knowledge: &Knowledge<'_>, now: u64) -> Verification {
    let author = message.author();
    let result = doubt_header(check(message, author, knowledge, now), message);
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
        return Verification::new(if known.is_some() { Verdict::Missing } else { Verdict::None }, known);
    }
    if seals.len() > MAX_SEALS {
        return Verification::new(Verdict::Fail(Reason::TooManySeals), known);
    }

    // Step 2: the author, and the seals aligned with it, nearest domain first.
    let Author::One(author) = author else {
        return Verification::doubtful(Doubt::BadFrom, known);
    };
    let (mut signed, mut first_failure) = (Vec::new(), None);
    for seal in aligned(&seals, author) {
        match check.signature(seal, known) {
            Ok(seal) => signed.push(seal),
            Err(failure) => _ = first_failure.get_or_insert(failure),
        }
    }
    // Else an older seal on top, which anybody can put there, would have honest mail held. Whoever can order seals can take
    // any of them away as well, so nothing is won by the choice.
    let mut fitting =
        signed.iter().filter(|signed| check.fits(signed)).map(|signed| check.judge(signed, known));
    let passes = |result: &Verification| result.verdict == Verdict::Pass;
    match fitting.next() {
        Some(first) if passes(&first) => return first,
        Some(first) => return fitting.find(passes).unwrap_or(first),
        None => {}
    }
    match (signed.first(), first_failure) {
        (Some(signed), _) => check.judge(signed, known),
        (None, Some(failure)) => *failure,
        (None, None) => check.without_alignment(&seals, known),
    }
}

/// A header section whose end we did not read, or whose first line some reader takes for more of the field that is put on
/// top of it, lets no message through by a verdict that asks nothing of the header section.
fn doubt_header(result: Verification, message: &Message<'_>) -> Verification {
    let header = message.header();
    let asks_nothing = matches!(result.verdict, Verdict::None | Verdict::Unaligned | Verdict::UnknownKey);
    let mut doubts = Doubts::NONE;
    doubts.insert_if(header.doubts().contains(Doubt::HeaderTooLong), Doubt::HeaderTooLong);
    doubts.insert_if(!has_clean_top(message.raw()), Doubt::JunkHeaderLine);
    if !asks_nothing || doubts.is_empty() {
        return result;
    }
    Verification { verdict: Verdict::Ambiguous, doubts, ..result }
}

/// Whether Thunderbird takes a field of a message that is one attachment for the place of another file.
fn shows_another_file(field: &Field<'_>) -> bool {
    const HARMLESS: [&str; 6] = ["draft-info", "identity-key", "keys", "news-host", "status", "status2"];
    let name = field.name.to_ascii_lowercase();
    let own = name.strip_prefix(b"x-mozilla-");
    own.is_some_and(|own| !HARMLESS.iter().any(|harmless| own == harmless.as_bytes()))
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

impl Signed {
    fn verified(&self) -> VerifiedSignature {
        let ProvenKey { trust, key, root, .. } = self.key;
        VerifiedSignature { trust, key, root }
    }
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
            Box::new(Verification { contradicting_key: key, ..*identified(Verdict::KeyChanged) })
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
            None if self.knowledge.has_pins_for_any_alone(&seal) => Err(identified(Verdict::KeyChanged)),
            None => {
                let trial = keys.iter().all(|key| key.trial);
                Err(on_trial(Verdict::Fail(Reason::BadSignature), trial))
            }
        }
    }

    /// Whether a seal is this message's, and in date.
    fn fits(&self, signed: &Signed) -> bool {
        let statement = &signed.seal.statement;
        self.is_in_date(signed) && self.message.header().identity_hash() == statement.identity
    }

    fn is_in_date(&self, signed: &Signed) -> bool {
        let statement = &signed.seal.statement;
        statement.sealed_at <= self.now + MAX_CLOCK_SKEW && self.now <= statement.expires_at
    }

    /// Steps 5 to 11, for a seal whose signature verifies.
    fn judge(&self, signed: &Signed, known: Option<Ground>) -> Verification {
        let statement = &signed.seal.statement;
        let result = |verdict| Verification {
            signature: Some(signed.verified()),
            trial: signed.key.trial,
            ..identify(Verification::new(verdict, known), &signed.seal)
        };

        // Step 5: its dates. A stale seal still proves what was sent, and so does one that is ahead of a slow clock.
        let ahead = statement.sealed_at.saturating_sub(self.now);
        if ahead > MAX_CLOCK_DOUBT {
            return result(Verdict::Fail(Reason::FutureSeal));
        }
        let if_unchanged = match ahead {
            ahead if ahead > MAX_CLOCK_SKEW => Verdict::Temperror,
            _ if self.now > statement.expires_at => Verdict::Expired,
            _ => Verdict::Pass,
        };
        let result = |verdict| Verification { clock_doubt: ahead > MAX_CLOCK_SKEW, ..result(verdict) };

        // Step 6: whether it is this message's.
        let header = self.message.header();
        if header.identity_hash() != statement.identity {
            return result(Verdict::Fail(Reason::OtherMessage));
        }
        let headers = Some(State::of(header.addressing_hash() == statement.addressing));

        // Step 7: a clean header section.
        let mut unclean = header.doubts();
        unclean.insert_if(header.fields.len() > READERS_FIELDS, Doubt::HeaderTooLong);
        unclean.insert_if(header.fields.iter().any(shows_another_file), Doubt::NotPlain);
        if !unclean.is_empty() {
            return Verification { doubts: unclean, headers, ..result(Verdict::Ambiguous) };
        }

        // Steps 8 to 11: what became of the body.
        let findings = self.examine(signed);
        let verdict = match &findings {
            Findings { body: State::Intact, .. } => if_unchanged,
            Findings { remarks, .. } if !remarks.is_empty() => Verdict::Ambiguous,
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
        let mut valid = seals.iter().filter_map(|seal| self.signature(seal, None).ok());
        let valid = valid.find(|signed| self.is_in_date(signed));
        match valid {
            Some(signed) => {
                let result = identify(Verification::new(Verdict::Unaligned, known), &signed.seal);
                let signature = Some(signed.verified());
                report(Verification { signature, trial: signed.key.trial, ..result }, self.examine(&signed))
            }
            None => Verification::new(Verdict::None, known),
        }
    }

    /// Steps 8 to 10: what became of the body and of the attachments.
    fn examine(&self, signed: &Signed) -> Findings {
        let statement = &signed.seal.statement;
        let (raw, header) = (self.message.raw(), self.message.header());

        // Step 8: the body is exactly what was sealed, so no parser can disagree about it.
        let has_structure = header.structure_hash() == statement.structure;
        if has_structure && self.message.body_hash() == statement.body {
            let comparison = Comparison::intact(&statement.manifest);
            return Findings { body: State::Intact, remarks: Remarks::default(), comparison, links: None };
        }

        // Steps 9 to 11: changed on the way; what of it is untouched, and is the rest plain?
        let (manifest, parts, links) =
            (&statement.manifest, statement.parts.as_ref(), statement.links.as_ref());
        let judge::Findings { comparison, links, remarks } =
            judge(raw, header, Sealed { manifest, parts, links, has_structure });
        Findings { body: State::Changed, remarks, comparison, links }
    }
}

/// What became of a sealed body.
struct Findings {
    body: State,
    remarks: Remarks,
    comparison: Comparison,
    links: Option<LinkChanges>,
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
        text: Some(findings.comparison.text),
        links: findings.links.filter(|links| !links.is_empty()),
        attachments: findings.comparison.attachments,
        doubts: findings.remarks.doubts(),
        remarks: findings.remarks,
        ..result
    }
}
