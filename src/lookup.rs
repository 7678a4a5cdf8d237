//! How keys that are not pinned are looked up: one method, so that DNS, a test's canned answers and no lookup at all
//! serve alike.

use std::future::Future;

use crate::domain::{DomainName, Selector};
use crate::seal::knowledge::Answer;

/// Looks key records up (SEAL.md §7).
pub trait LookupKey: Send + Sync + 'static {
    /// The record of a sealing domain's selector. A failure that may pass is [`Answer::Failed`], never `NotFound`.
    fn lookup(&self, domain: &DomainName, selector: &Selector) -> impl Future<Output = Answer> + Send;
}

/// Looks nothing up: only pins are believed.
#[derive(Clone, Copy, Debug, Default)]
pub struct PinsOnly;

impl LookupKey for PinsOnly {
    async fn lookup(&self, _domain: &DomainName, _selector: &Selector) -> Answer {
        Answer::NotFound
    }
}
