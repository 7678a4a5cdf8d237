//! Tells of name servers that answer nothing: in the log as an error, once a minute for as long as it lasts. That one
//! domain's records cannot be had while others can is a matter of the messages that need them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::Name;
use tracing::error;

/// For how long an answer shows that name servers answer.
const TRUST: Duration = Duration::from_secs(10);
/// Between two lines of the log.
const PAUSE: Duration = Duration::from_secs(60);

/// What was heard lately.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<Lately>);

#[derive(Debug, Default)]
struct Lately {
    answered: Option<Instant>,
    told: Option<Instant>,
    /// Questions without an answer since then.
    unanswered: u64,
}

/// A question; dropped without an answer, it has none.
pub(super) struct Question<'a> {
    silence: &'a Silence,
    name: &'a Name,
    is_answered: bool,
    error: Option<&'static str>,
}

impl Silence {
    /// Somebody asks.
    pub(super) fn ask<'a>(&'a self, name: &'a Name) -> Question<'a> {
        Question { silence: self, name, is_answered: false, error: None }
    }

    /// How many questions in a row have no answer, if that is to be told now.
    fn unanswered(&self, now: Instant) -> Option<u64> {
        let mut lately = self.lock();
        let within = |then: Option<Instant>, period| then.is_some_and(|then| now - then < period);
        lately.unanswered += 1;
        if within(lately.answered, TRUST) || within(lately.told, PAUSE) {
            return None;
        }
        lately.told = Some(now);
        Some(std::mem::take(&mut lately.unanswered))
    }

    fn answered(&self, now: Instant) {
        let mut lately = self.lock();
        (lately.answered, lately.unanswered) = (Some(now), 0);
    }

    fn lock(&self) -> MutexGuard<'_, Lately> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question<'_> {
    /// A server has answered, whatever it said.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
        self.silence.answered(Instant::now());
    }
}

impl Question<'_> {
    /// The servers answer with an error.
    pub(super) fn failed(&mut self, error: &'static str) {
        self.error = Some(error);
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let Some(lookups) = self.silence.unanswered(Instant::now()) else { return };
        let name = self.name;
        match self.error {
            Some(error) => {
                error!(lookups, %name, error, "the name servers answer with an error: messages that need a record are deferred");
            }
            None => {
                error!(lookups, %name, "DNS does not answer: messages that need a record from it are deferred");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute_and_not_while_others_are_answered() {
        let (silence, start) = (Silence::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(silence.unanswered(after(0)), Some(1));
        assert_eq!(silence.unanswered(after(1)), None);
        assert_eq!(silence.unanswered(after(59)), None);
        assert_eq!(silence.unanswered(after(60)), Some(3));
        silence.answered(after(200));
        assert_eq!(silence.unanswered(after(209)), None);
        assert_eq!(silence.unanswered(after(210)), Some(2));
    }
}
