//! Each form does what it does once, though it may be sent twice: a double click, a page that is loaded again. Whoever sends it again
//! gets what came of it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::pages::view::Done;
use super::session::FormId;

/// For how long is known what came of a form.
const KEPT: Duration = Duration::from_secs(900);
/// Forms of which it is known; the oldest give way.
const MAX_KEPT: usize = 2_000;

/// What came of a form; nothing yet while it is under way.
pub(super) type Outcome = watch::Receiver<Option<Done>>;

/// What came of forms.
#[derive(Debug, Default)]
pub(super) struct Once(Mutex<HashMap<FormId, (Instant, Outcome)>>);

/// Whether a form came for the first time.
pub(super) enum Turn {
    /// It did: what comes of it is told to this.
    First(watch::Sender<Option<Done>>, Outcome),
    /// It was here before.
    Again(Outcome),
}

impl Once {
    /// Takes a form.
    pub(super) fn take(&self, form: FormId) -> Turn {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, outcome)) = known.get(&form) {
            return Turn::Again(outcome.clone());
        }
        known.retain(|_, (since, _)| now.duration_since(*since) < KEPT);
        if known.len() >= MAX_KEPT {
            let oldest = known.iter().min_by_key(|(_, (since, _))| *since).map(|(form, _)| *form);
            oldest.map(|oldest| known.remove(&oldest));
        }
        let (told, outcome) = watch::channel(None);
        known.insert(form, (now, outcome.clone()));
        Turn::First(told, outcome)
    }
}
