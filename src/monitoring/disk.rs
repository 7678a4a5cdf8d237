//! The state folder's disk, looked at for those who watch the gateway. One look at a time, and none sooner than a second
//! after the last: whoever asks a thousand times costs the disk nothing, and one that hangs takes one thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task;
use tokio::time::timeout;

use crate::disk::{Room, room};
use crate::store::{Outbox, Quarantine, Usage, Waiting};

/// What was seen is told again for so long.
const FRESH: Duration = Duration::from_secs(1);
/// And if there is nothing newer, for so long.
const STALE: Duration = Duration::from_secs(30);
/// How long whoever asks waits for something newer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was seen of the disk.
#[derive(Debug)]
pub(super) struct Disk {
    at: Instant,
    /// What is left of it.
    pub(super) room: Option<Room>,
    /// What the quarantine holds, if there is one.
    pub(super) held: Option<Usage>,
    /// What waits to be sent, if there is an outbox.
    pub(super) waiting: Option<Waiting>,
    /// Why nothing could be held now.
    pub(super) obstacle: Option<String>,
}

impl Disk {
    fn look(state: &Path, quarantine: Option<&dyn Quarantine>, outbox: Option<&dyn Outbox>) -> Self {
        let held = quarantine.map(|quarantine| quarantine.usage()).transpose();
        let writable = quarantine.map_or(Ok(()), |quarantine| quarantine.check_writable());
        let obstacle = writable.as_ref().err().or(held.as_ref().err()).map(ToString::to_string);
        Self {
            at: Instant::now(),
            room: room(state).ok(),
            held: held.ok().flatten(),
            waiting: outbox.and_then(|outbox| outbox.waiting().ok()),
            obstacle,
        }
    }
}

/// Looks at the disk when somebody asks.
#[derive(Debug)]
pub(super) struct Watcher {
    state: PathBuf,
    quarantine: Option<Arc<dyn Quarantine>>,
    outbox: Option<Arc<dyn Outbox>>,
    seen: watch::Sender<Option<Arc<Disk>>>,
    is_looking: Arc<AtomicBool>,
}

impl Watcher {
    pub(super) fn new(
        state: PathBuf,
        quarantine: Option<Arc<dyn Quarantine>>,
        outbox: Option<Arc<dyn Outbox>>,
    ) -> Self {
        Self { state, quarantine, outbox, seen: watch::Sender::new(None), is_looking: Arc::default() }
    }

    /// What the disk is like; `None` if it does not answer.
    pub(super) async fn look(&self) -> Option<Arc<Disk>> {
        let mut seen = self.seen.subscribe();
        let last = seen.borrow_and_update().clone();
        if last.as_ref().is_some_and(|disk| disk.at.elapsed() < FRESH) {
            return last;
        }
        if !self.is_looking.swap(true, Ordering::AcqRel) {
            self.start();
        }
        let _ = timeout(PATIENCE, seen.changed()).await;
        let last = seen.borrow().clone();
        last.filter(|disk| disk.at.elapsed() < STALE)
    }

    fn start(&self) {
        let (state, seen) = (self.state.clone(), self.seen.clone());
        let (quarantine, outbox) = (self.quarantine.clone(), self.outbox.clone());
        let looking = Looking(Arc::clone(&self.is_looking));
        task::spawn_blocking(move || {
            let disk = Disk::look(&state, quarantine.as_deref(), outbox.as_deref());
            drop(looking);
            seen.send_replace(Some(Arc::new(disk)));
        });
    }
}

/// Makes room for the next look, whatever becomes of this one.
struct Looking(Arc<AtomicBool>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::State;

    #[tokio::test]
    async fn looks_once_for_all_who_ask() {
        let state = tempfile::tempdir().unwrap();
        let quarantine = State::open_to_serve(&state.path().into()).unwrap().quarantine;
        let watcher = Watcher::new(state.path().to_owned(), Some(quarantine), None);
        let (one, other) = tokio::join!(watcher.look(), watcher.look());
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        assert!(Arc::ptr_eq(&one, &watcher.look().await.unwrap()), "it is fresh");
        assert_eq!((one.held, one.obstacle.as_deref()), (Some(Usage::default()), None));
        assert!(one.room.is_some_and(|room| room.free <= room.size));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_no_disk() {
        let state = tempfile::tempdir().unwrap();
        let watcher = Watcher::new(state.path().to_owned(), None, None);
        watcher.is_looking.store(true, Ordering::Relaxed);
        assert!(watcher.look().await.is_none());
    }
}
