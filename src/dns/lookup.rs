//! How what is not pinned is looked up: two methods, so that DNS, a test's canned answers and no lookup at all serve
//! alike; and all lookups that one message needs, at once and within one wait.

use std::future::Future;
use std::time::Duration;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::key::KeyRecord;
use attachment_seal::seal::knowledge::{Answer, Answers, Failure, Pins};
use attachment_seal::seal::message::Message;
use attachment_seal::seal::policy_record::PolicyRecord;
use futures_util::future::{join, join_all};
use tokio::time::{Instant, timeout_at};

use crate::dns::questions::at_most;

/// Looks records up. A failure that may pass is [`Answer::Failed`], never `NotFound`.
pub trait LookupKey: Send + Sync + 'static {
    /// The key records of a sealing domain's selector (SPEC.md §9).
    fn lookup(
        &self,
        domain: &DomainName,
        selector: &Selector,
    ) -> impl Future<Output = Answer<KeyRecord>> + Send;

    /// The policy records of a domain (SPEC.md §10).
    fn lookup_policy(&self, domain: &DomainName) -> impl Future<Output = Answer<PolicyRecord>> + Send;
}

/// Looks nothing up: only pins are believed.
#[derive(Clone, Copy, Debug, Default)]
pub struct PinsOnly;

impl LookupKey for PinsOnly {
    async fn lookup(&self, _domain: &DomainName, _selector: &Selector) -> Answer<KeyRecord> {
        Answer::NotFound { secure: false }
    }

    async fn lookup_policy(&self, _domain: &DomainName) -> Answer<PolicyRecord> {
        Answer::NotFound { secure: false }
    }
}

/// Whom a message names, and what a check of it may need to know of them. It outlives the message's header section, taken
/// apart: a stranger's can take twenty times its octets, and lookups wait for seconds.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The author, or all who might be, and whoever sealed it.
    pub named: Vec<DomainName>,
    /// Of whom a check wants to know what is remembered.
    pub memories: Vec<DomainName>,
    keys: Vec<(DomainName, Selector)>,
    policies: Vec<DomainName>,
}

impl Wanted {
    /// What a check of this message needs.
    pub fn by(message: &Message<'_>) -> Self {
        Self {
            named: message.named().cloned().collect(),
            memories: message.wanted_memories(),
            keys: message.wanted_keys(),
            policies: message.wanted_policies(),
        }
    }
}

/// How long the lookups for one message may take, and how many questions.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What takes longer has failed.
    pub timeout: Duration,
    /// What takes more questions has failed.
    pub questions: usize,
}

/// Looks up what the check of a message may need and no pin covers: at most 8 keys and 32 policies, all at once.
/// What goes beyond the bounds has failed; what came in time counts.
pub async fn look_up<L: LookupKey>(wanted: &Wanted, pins: &Pins, lookup: &L, bounds: Bounds) -> Answers {
    at_most(bounds.questions, look_up_in_time(wanted, pins, lookup, bounds.timeout)).await
}

async fn look_up_in_time<L: LookupKey>(
    wanted: &Wanted,
    pins: &Pins,
    lookup: &L,
    timeout: Duration,
) -> Answers {
    let deadline = Instant::now() + timeout;
    let keys = wanted.keys.iter().filter(|(domain, _)| !pins.need_no_lookup(domain)).cloned();
    let keys = keys.map(async |(domain, selector)| {
        let answer = timeout_at(deadline, lookup.lookup(&domain, &selector)).await;
        ((domain, selector), answer.unwrap_or(Answer::Failed(Failure::Unanswered)))
    });
    let policies = wanted.policies.iter().filter(|domain| !pins.covers(domain)).cloned();
    let policies = policies.map(async |domain| {
        let answer = timeout_at(deadline, lookup.lookup_policy(&domain)).await;
        (domain, answer.unwrap_or(Answer::Failed(Failure::Unanswered)))
    });
    let (keys, policies) = join(join_all(keys), join_all(policies)).await;
    Answers { keys: keys.into_iter().collect(), policies: policies.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers for `quick` at once, for others never.
    struct HalfDead;

    impl LookupKey for HalfDead {
        async fn lookup(&self, _domain: &DomainName, selector: &Selector) -> Answer<KeyRecord> {
            if selector.as_str() != "quick" {
                std::future::pending::<()>().await;
            }
            Answer::NotFound { secure: true }
        }

        async fn lookup_policy(&self, _domain: &DomainName) -> Answer<PolicyRecord> {
            std::future::pending().await
        }
    }

    /// SPEC.md §9, §10: one wait for the whole message, however many lookups it needs, and what came in time counts.
    #[tokio::test(start_paused = true)]
    async fn all_lookups_of_a_message_share_one_wait() {
        let hash = blake3::hash(b"").as_bytes().to_vec();
        let hash = encodify::base64::URL_SAFE_NO_PAD.encode(hash);
        let signature = encodify::base64::URL_SAFE_NO_PAD.encode([0; 64]);
        let seal = |selector: &str| {
            format!(
                "Attachment-Seal: v=1; a=ed25519-blake3; d=example.org; s={selector}; t=1; x=2; hi={hash}; \
                 ha={hash}; hs={hash}; bh={hash}; m=; b={signature}\r\n"
            )
        };
        let seals: String = ["quick", "a", "b", "c", "d", "e", "f", "g"].into_iter().map(seal).collect();
        let text = format!("{seals}From: a@x.y.example.org\r\n\r\n");
        let start = Instant::now();
        let wait = Duration::from_secs(7);
        let wanted = Wanted::by(&Message::new(text.as_bytes()));
        let bounds = Bounds { timeout: wait, questions: 300 };
        let answers = look_up(&wanted, &Pins::default(), &HalfDead, bounds).await;
        assert_eq!(start.elapsed(), wait);
        let failed = answers.keys.values().filter(|answer| **answer == Answer::Failed(Failure::Unanswered));
        assert_eq!((answers.keys.len(), failed.count()), (8, 7));
        assert_eq!(answers.policies.len(), 3);
    }
}
