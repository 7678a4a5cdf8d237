//! The memory that sessions and messages in flight may take, over all of them. A message that does not fit leaves for a
//! file; where it cannot yet, its client waits: we stop reading, and TCP tells it to slow down. A session or a recipient
//! for whom there is no room is put off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Memory is reserved in steps of this many octets.
const STEP: u64 = 4 << 10;

/// What a session takes that has no message: both connections, their lines, who the client is, and a small envelope.
pub const SESSION: u64 = 16 << 10;

/// What TLS with the client takes more, its handshake included.
pub(super) const TLS: u64 = 48 << 10;

/// The part of the memory that one message, or one envelope, may take.
pub(super) const SHARE: u64 = 16;

/// Counts what sessions and messages in flight take.
///
/// Design note: header sections grow while they hold memory, so all of them could end up waiting for each other. One at
/// a time may therefore overdraw the budget until it is done. At most the limit and one largest header section are taken.
#[derive(Debug, Default)]
pub struct MemoryBudget {
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    octets: u64,
    overdrawn: bool,
}

/// What one message or session has reserved; dropping it gives it back.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    octets: u64,
    overdraws: bool,
}

impl MemoryBudget {
    /// A reservation of nothing, to grow.
    pub fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), octets: 0, overdraws: false }
    }

    /// Octets that are reserved now.
    pub fn taken(&self) -> u64 {
        self.lock().octets
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Takes room for so many octets within `limit`, if there is any now.
    pub fn try_grow_to(&mut self, octets: u64, limit: u64) -> bool {
        let more = octets.next_multiple_of(STEP).saturating_sub(self.octets);
        if more == 0 || self.overdraws {
            return true;
        }
        let mut taken = self.budget.lock();
        let fits = taken.octets.saturating_add(more) <= limit;
        if fits {
            taken.octets += more;
            self.octets += more;
        }
        fits
    }

    /// Takes room for so many octets, or gives it back, whether there is any or not: what is there must be counted.
    pub fn set_to(&mut self, octets: u64) {
        self.try_grow_to(octets, u64::MAX);
        self.shrink_to(octets);
    }

    /// Waits until there is room for so many octets within `limit`, or until it is our turn to overdraw.
    pub async fn grow_to(&mut self, octets: u64, limit: u64) {
        let budget = Arc::clone(&self.budget);
        loop {
            let mut freed = std::pin::pin!(budget.freed.notified());
            // Before looking: what is freed between looking and waiting must not be missed.
            freed.as_mut().enable();
            if self.try_grow_to(octets, limit) || self.may_overdraw() {
                return;
            }
            freed.await;
        }
    }

    fn may_overdraw(&mut self) -> bool {
        self.overdraws = !std::mem::replace(&mut self.budget.lock().overdrawn, true);
        self.overdraws
    }

    /// Gives back all but so many octets.
    pub fn shrink_to(&mut self, octets: u64) {
        let less = self.octets.saturating_sub(octets.next_multiple_of(STEP));
        if less == 0 && !self.overdraws {
            return;
        }
        let mut taken = self.budget.lock();
        taken.octets -= less;
        self.octets -= less;
        taken.overdrawn &= !std::mem::take(&mut self.overdraws);
        drop(taken);
        self.budget.freed.notify_waiters();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_may_overdraw() {
        let budget = Arc::new(MemoryBudget::default());
        let (mut a, mut b, mut c) = (budget.reservation(), budget.reservation(), budget.reservation());
        let limit = 2 * STEP;
        assert!(a.try_grow_to(STEP, limit));
        assert!(b.try_grow_to(1, limit));
        assert!(!a.try_grow_to(2 * STEP, limit));
        assert!(a.may_overdraw() && a.try_grow_to(100 * STEP, limit), "the first to ask for more gets it");
        assert!(!b.try_grow_to(2 * STEP, limit) && !b.may_overdraw());
        assert!(!c.try_grow_to(1, limit));
        drop(a);
        assert!(b.try_grow_to(2 * STEP, limit));
        b.shrink_to(1);
        assert!(c.try_grow_to(1, limit));
        drop((b, c));
        let taken = budget.lock();
        assert_eq!((taken.octets, taken.overdrawn), (0, false));
    }

    #[tokio::test]
    async fn waits_for_what_others_free() {
        let budget = Arc::new(MemoryBudget::default());
        let (mut a, mut b) = (budget.reservation(), budget.reservation());
        a.grow_to(STEP, 0).await;
        let waiting = tokio::spawn(async move { b.grow_to(STEP, 0).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(a);
        waiting.await.unwrap();
    }
}
