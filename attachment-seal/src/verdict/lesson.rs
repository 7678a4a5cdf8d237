//! What a judged message teaches about a domain (SPEC.md §9.4 and §10): what memory keeps of it.

use super::{Reason, Verdict, Verification};
use crate::domain::{DomainName, Selector};
use crate::seal::key::PublicKey;
use crate::seal::trust::{Ground, Lookup};

/// What one judged message adds to memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When, in Unix seconds.
    pub at: u64,
    /// SPEC.md's word.
    pub verdict: &'static str,
    /// What it taught.
    pub lesson: Lesson,
}

/// What a message taught about a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one for a message, boxed while it waits")]
pub enum Lesson {
    /// An aligned seal was valid: the key is the domain's.
    Sealed {
        /// The sealing domain.
        domain: DomainName,
        /// The selector.
        selector: Selector,
        /// The key.
        key: PublicKey,
        /// The root that vouched for the key, where that was the proof; it is remembered as well.
        root: Option<PublicKey>,
        /// Whether the message passed.
        passed: bool,
        /// The author's domain, where it is one below the sealing domain.
        author: Option<DomainName>,
        /// Whether the key is pinned, or vouched for by a pinned root.
        pinned: bool,
    },
    /// A key was offered that contradicts what is known; an administrator may approve it.
    Offered {
        /// The sealing domain.
        domain: DomainName,
        /// The selector.
        selector: Selector,
        /// The key.
        key: PublicKey,
    },
    /// The key under this selector is revoked, and nobody can have forged that.
    Revoked {
        /// The sealing domain.
        domain: DomainName,
        /// The selector.
        selector: Selector,
    },
    /// Nothing but that there was such a message, counted where the author's domain is remembered already.
    Counted {
        /// The author's domain.
        author: DomainName,
    },
}

impl Observation {
    /// What the result on a message teaches. `author` is the author's domain, where it is clear. Mail on trial teaches
    /// nothing, and mail that anyone can send, without a valid seal, no more than a number.
    pub fn of(verification: &Verification, author: Option<&DomainName>, now: u64) -> Option<Self> {
        if verification.trial {
            return None;
        }
        let offered = verification.contradicting_key;
        let signature = verification.signature.filter(|_| verification.verdict != Verdict::Unaligned);
        let named = verification.domain.clone().zip(verification.selector.clone());
        let lesson = match (named, offered, signature) {
            (Some((domain, selector)), Some(key), _) => Lesson::Offered { domain, selector, key },
            (Some((domain, selector)), None, Some(signature)) => Lesson::Sealed {
                author: author.filter(|author| **author != domain).cloned(),
                domain,
                selector,
                key: signature.key,
                root: signature.root,
                passed: verification.verdict == Verdict::Pass,
                pinned: verification.known == Some(Ground::Pinned),
            },
            // Design note: an unsigned answer that revokes a key is obeyed while it lasts, and no longer. A forger of one
            // answer must not stop a correspondent's mail for good.
            (Some((domain, selector)), None, None)
                if verification.verdict == Verdict::Fail(Reason::RevokedKey)
                    && verification.key_lookup != Some(Lookup::Insecure) =>
            {
                Lesson::Revoked { domain, selector }
            }
            _ => Lesson::Counted { author: author?.clone() },
        };
        Some(Self { at: now, verdict: verification.verdict.as_str(), lesson })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::key::SealingKey;
    use crate::seal::trust::Trust;
    use crate::verdict::VerifiedSignature;

    const NOW: u64 = 1_795_392_000;

    fn key(seed: u8) -> SealingKey {
        SealingKey::from_seed(&[seed; 32])
    }

    fn domain(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    #[test]
    fn only_valid_aligned_seals_teach() {
        let result = |verdict, trust: Option<Trust>| Verification {
            domain: Some(domain("example.org")),
            selector: "gate1".parse().ok(),
            signature: trust.map(|trust| VerifiedSignature {
                trust,
                key: key(1).public(),
                root: Some(key(9).public()),
            }),
            contradicting_key: (verdict == Verdict::KeyChanged).then(|| key(2).public()),
            sealed_at: Some(NOW),
            ..Verification::new(verdict, Some(Ground::Memory))
        };
        let author = domain("example.org");
        let lesson = |verification: Verification| {
            Observation::of(&verification, Some(&author), NOW).map(|observation| observation.lesson)
        };
        let sealed = |verdict, trust| match lesson(result(verdict, Some(trust))) {
            Some(Lesson::Sealed { passed, root, .. }) => Some((passed, root.is_some())),
            _ => None,
        };
        assert_eq!(sealed(Verdict::Pass, Trust::Dns), Some((true, true)));
        assert_eq!(sealed(Verdict::Expired, Trust::Dns), Some((false, true)));
        assert_eq!(sealed(Verdict::Fail(Reason::Attachments), Trust::Dns), Some((false, true)));
        assert_eq!(sealed(Verdict::Unaligned, Trust::Dns), None);
        for verdict in
            [Verdict::None, Verdict::Missing, Verdict::Fail(Reason::BadSignature), Verdict::UnknownKey]
        {
            assert!(matches!(lesson(result(verdict, None)), Some(Lesson::Counted { .. })), "{verdict:?}");
        }
        assert!(matches!(lesson(result(Verdict::KeyChanged, None)), Some(Lesson::Offered { .. })));
        let revoked = result(Verdict::Fail(Reason::RevokedKey), None);
        assert!(matches!(lesson(revoked), Some(Lesson::Revoked { .. })));
        let on_trial = Verification { trial: true, ..result(Verdict::Pass, Some(Trust::Dns)) };
        assert_eq!(lesson(on_trial), None);
    }
}
