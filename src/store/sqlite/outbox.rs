//! The outbox and the audit trail.

use jiff::Timestamp;

use super::database::Database;
use crate::store::error::DatabaseError;
use crate::store::state::not_yet;
use crate::store::{AuditTrail, Deed, Due, HeldId, Letter, LetterId, Outbox, Waiting};

impl Outbox for Database {
    fn put(&self, _letters: &[Letter]) -> Result<u64, DatabaseError> {
        Err(not_yet())
    }

    fn take(&self, _now: Timestamp, _limit: usize) -> Result<Vec<Due>, DatabaseError> {
        Err(not_yet())
    }

    fn sent(&self, _letters: &[LetterId]) -> Result<(), DatabaseError> {
        Err(not_yet())
    }

    fn postpone(&self, _letters: &[LetterId], _until: Timestamp) -> Result<(), DatabaseError> {
        Err(not_yet())
    }

    fn give_up(&self, _letters: &[LetterId], _why: &str) -> Result<(), DatabaseError> {
        Err(not_yet())
    }

    fn waiting(&self) -> Result<Waiting, DatabaseError> {
        Err(not_yet())
    }

    fn told_more(&self, _count: u64) -> Result<(), DatabaseError> {
        Err(not_yet())
    }
}

impl AuditTrail for Database {
    fn note(&self, _deed: &Deed) -> Result<(), DatabaseError> {
        Err(not_yet())
    }

    fn of(&self, _id: &HeldId) -> Result<Vec<Deed>, DatabaseError> {
        Err(not_yet())
    }

    fn of_message_id(&self, _message_id: &str) -> Result<Vec<Deed>, DatabaseError> {
        Err(not_yet())
    }

    fn since(&self, _from: Timestamp) -> Result<Vec<Deed>, DatabaseError> {
        Err(not_yet())
    }
}
