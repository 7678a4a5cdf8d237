//! Lookups, counted: one that is given up, because the message's time for them is over, counts as failed.

use std::sync::Arc;
use std::time::Instant;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::key::KeyRecord;
use attachment_seal::seal::knowledge::{Answer, Failure};
use attachment_seal::seal::policy_record::PolicyRecord;

use crate::dns::lookup::LookupKey;
use crate::metrics::{LookupResult, Metrics, Record};

/// Looks records up as `L` does, and counts.
#[derive(Debug)]
pub struct Counted<L> {
    lookup: L,
    metrics: Arc<Metrics>,
}

impl<L> Counted<L> {
    /// Counts what `lookup` does.
    pub fn new(lookup: L, metrics: Arc<Metrics>) -> Self {
        Self { lookup, metrics }
    }

    fn under_way(&self, record: Record) -> UnderWay<'_> {
        UnderWay { metrics: &self.metrics, record, start: Instant::now(), result: LookupResult::Failed }
    }
}

impl<L: LookupKey> LookupKey for Counted<L> {
    async fn lookup(&self, domain: &DomainName, selector: &Selector) -> Answer<KeyRecord> {
        let mut under_way = self.under_way(Record::Key);
        let answer = self.lookup.lookup(domain, selector).await;
        under_way.result = result(&answer);
        answer
    }

    async fn lookup_policy(&self, domain: &DomainName) -> Answer<PolicyRecord> {
        let mut under_way = self.under_way(Record::Policy);
        let answer = self.lookup.lookup_policy(domain).await;
        under_way.result = result(&answer);
        answer
    }
}

fn result<R>(answer: &Answer<R>) -> LookupResult {
    match answer {
        Answer::Found { secure: true, .. } => LookupResult::Secure,
        Answer::Found { secure: false, .. } => LookupResult::Insecure,
        Answer::NotFound { .. } => LookupResult::Absent,
        Answer::Failed(Failure::Bogus) => LookupResult::Bogus,
        Answer::Failed(Failure::Unanswered) => LookupResult::Failed,
    }
}

/// A lookup, counted when it is dropped.
struct UnderWay<'a> {
    metrics: &'a Metrics,
    record: Record,
    start: Instant,
    result: LookupResult,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.metrics.lookup(self.record, self.result, self.start.elapsed());
    }
}
