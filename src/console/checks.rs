//! What needs a hand: `doctor`'s checks of the gateway itself, made when somebody looks, and then remembered for a while.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task;
use tokio::time::{Instant, timeout};

use crate::doctor::{self, Finding, State};
use crate::gateway::setup::Setup;

/// What was found is shown again for so long.
const FRESH: Duration = Duration::from_secs(120);
/// How long a page waits for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// What is not as it should be, the worst first.
    pub(super) findings: Vec<Finding>,
    /// When it was looked for.
    pub(super) at: Option<Timestamp>,
    since: Option<Instant>,
    is_looking: bool,
}

/// Looks when somebody asks, one look at a time.
#[derive(Debug)]
pub(super) struct Checks(watch::Sender<Found>);

impl Default for Checks {
    fn default() -> Self {
        Self(watch::Sender::new(Found::default()))
    }
}

impl Checks {
    /// What was found last. A page does not wait for it for long.
    pub(super) async fn look(&self, setup: &Arc<Setup>) -> Found {
        let mut seen = self.0.subscribe();
        let is_fresh = |found: &Found| found.since.is_some_and(|since| since.elapsed() < FRESH);
        let mut is_first = false;
        self.0.send_if_modified(|found| {
            is_first = !found.is_looking && !is_fresh(found);
            found.is_looking |= is_first;
            false
        });
        if is_first {
            let (sender, setup) = (self.0.clone(), Arc::clone(setup));
            task::spawn_blocking(move || {
                let looking = Looking(sender);
                let mut findings = doctor::examine_from_within(&setup);
                findings.retain(|finding| finding.state != State::Ok);
                findings.sort_by_key(|finding| std::cmp::Reverse(finding.state));
                looking.0.send_modify(|found| {
                    found.findings = findings;
                    found.at = Some(Timestamp::now());
                    found.since = Some(Instant::now());
                });
            });
        }
        let _ = timeout(PATIENCE, seen.wait_for(|found| is_fresh(found) || !found.is_looking)).await;
        seen.borrow().clone()
    }
}

/// Lets others look, whatever becomes of this look.
struct Looking(watch::Sender<Found>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.send_modify(|found| found.is_looking = false);
    }
}
