//! The whole result of a check. Only `verify` makes one, and nobody changes it.

use super::{State, Verdict};
use crate::domain::{DomainName, Selector};
use crate::doubt::{Doubt, Doubts, Remarks};
use crate::manifest::{LinkChanges, Outcome, TextState};
use crate::seal::key::PublicKey;
use crate::seal::policy_record::Request;
use crate::seal::trust::{Ground, Lookup, Trust};

/// All that checking a message found out; [`verify`](super::verify::verify) makes it. What the check did not reach is
/// `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    pub(super) verdict: Verdict,
    pub(super) domain: Option<DomainName>,
    pub(super) selector: Option<Selector>,
    pub(super) sealed_at: Option<u64>,
    pub(super) signature: Option<VerifiedSignature>,
    pub(super) contradicting_key: Option<PublicKey>,
    pub(super) body: Option<State>,
    pub(super) text: Option<TextState>,
    pub(super) links: Option<LinkChanges>,
    pub(super) headers: Option<State>,
    pub(super) attachments: Vec<Outcome>,
    pub(super) doubts: Doubts,
    pub(super) remarks: Remarks,
    pub(super) known: Option<Ground>,
    pub(super) trial: bool,
    pub(super) clock_doubt: bool,
    pub(super) key_lookup: Option<Lookup>,
    pub(super) policy_lookup: Option<Lookup>,
    pub(super) published: Option<Request>,
}

/// The signature of a seal, verified with a key that was proved to be the domain's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedSignature {
    pub(super) trust: Trust,
    pub(super) key: PublicKey,
    pub(super) root: Option<PublicKey>,
}

impl VerifiedSignature {
    /// How the key was proved to be the domain's.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// The key that it verifies with.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// The root that vouched for the key, where that was the proof.
    pub fn root(&self) -> Option<PublicKey> {
        self.root
    }
}

impl Verification {
    /// A result that stopped at `verdict`.
    pub(super) fn new(verdict: Verdict, known: Option<Ground>) -> Self {
        Self {
            verdict,
            domain: None,
            selector: None,
            sealed_at: None,
            signature: None,
            contradicting_key: None,
            body: None,
            text: None,
            links: None,
            headers: None,
            attachments: Vec::new(),
            doubts: Doubts::NONE,
            remarks: Remarks::default(),
            known,
            trial: false,
            clock_doubt: false,
            key_lookup: None,
            policy_lookup: None,
            published: None,
        }
    }

    /// The result as `ambiguous` for one doubt.
    pub(super) fn doubtful(doubt: Doubt, known: Option<Ground>) -> Self {
        Self { doubts: doubt.into(), ..Self::new(Verdict::Ambiguous, known) }
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The domain that the seal names; of several seals, the one that the verdict is about.
    pub fn domain(&self) -> Option<&DomainName> {
        self.domain.as_ref()
    }

    /// The selector that the seal names.
    pub fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    /// When the seal was made, by its own account, in Unix seconds.
    pub fn sealed_at(&self) -> Option<u64> {
        self.sealed_at
    }

    /// The proof that the seal is its domain's. Without one, anybody may have written the seal.
    pub fn signature(&self) -> Option<&VerifiedSignature> {
        self.signature.as_ref()
    }

    /// How the key of the verified signature was proved.
    pub fn trust(&self) -> Option<Trust> {
        self.signature.map(|signature| signature.trust)
    }

    /// The key that made the seal, where it contradicts what is known of the domain (verdict `key-changed`).
    pub fn contradicting_key(&self) -> Option<PublicKey> {
        self.contradicting_key
    }

    /// Whether the body is octet for octet as sealed.
    pub fn body(&self) -> Option<State> {
        self.body
    }

    /// Whether the texts are as sealed, or what was added to them.
    pub fn text(&self) -> Option<TextState> {
        self.text
    }

    /// What became of the links of texts that are not intact; `None` where none was added or removed, or the seal lists none.
    pub fn links(&self) -> Option<&LinkChanges> {
        self.links.as_ref()
    }

    /// Whether the addresses and the subject are as sealed.
    pub fn headers(&self) -> Option<State> {
        self.headers
    }

    /// What happened to each attachment.
    pub fn attachments(&self) -> &[Outcome] {
        &self.attachments
    }

    /// Why readers could disagree about the message.
    pub fn doubts(&self) -> Doubts {
        self.doubts
    }

    /// Where each doubt was met, and what about.
    pub fn remarks(&self) -> &Remarks {
        &self.remarks
    }

    /// How the author's domain is known to seal.
    pub fn known(&self) -> Option<Ground> {
        self.known
    }

    /// Whether the key is on trial (`t=y`): report the verdict, and take no action.
    pub fn trial(&self) -> bool {
        self.trial
    }

    /// Whether the seal is dated ahead of our clock by no more than a day: one of the two clocks is wrong.
    pub fn clock_doubt(&self) -> bool {
        self.clock_doubt
    }

    /// What DNS answered about the key of the seal; `None` where it was not asked.
    pub fn key_lookup(&self) -> Option<Lookup> {
        self.key_lookup
    }

    /// What DNS answered about the policy of the author's domain; `None` where it was not asked.
    pub fn policy_lookup(&self) -> Option<Lookup> {
        self.policy_lookup
    }

    /// What the policy record of the domain asks for (SPEC.md §10), for the action `published`.
    pub fn published(&self) -> Option<Request> {
        self.published
    }
}
