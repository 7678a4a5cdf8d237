//! Which gateway runs with a state folder, and whether it took its last configuration in: `<state>/gateway.json`, written at its
//! start and at every reload, and true while `<state>/gateway.lock` is locked. The system lets go of the lock with the process, so that
//! what a killed gateway left behind deceives nobody, and the process id is never another's.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::json_file::{JsonFile, StateFileError};

const NAME: &str = "gateway";

/// Who asks whether a gateway runs has the lock for a moment; that often, and that long apart, a gateway tries again.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// A gateway, as others on this machine may know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Its process.
    pub process: u32,
    /// When it last took a configuration in, or refused one.
    pub at: Timestamp,
    /// Whether the last configuration was refused; then the one before is in force.
    pub refused: bool,
}

impl Announcement {
    /// What the running gateway of this state folder says of itself; `None` where none runs.
    pub fn of(state: &Path) -> Result<Option<Self>, StateFileError> {
        let file = JsonFile::new(state, NAME);
        // A folder or file that is not there says as much.
        let Ok(lock) = file.look_at_lock("lock") else { return Ok(None) };
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => file.read().map(Some),
            Ok(()) => Ok(None),
            Err(TryLockError::Error(source)) => Err(StateFileError::Io { path: file.path(), source }),
        }
    }
}

/// A gateway that others know of, for as long as this is kept.
#[derive(Debug)]
pub struct Presence {
    file: JsonFile,
    _lock: File,
}

impl Presence {
    /// `None` where another gateway has the state folder.
    pub fn claim(state: &Path) -> Result<Option<Self>, StateFileError> {
        let file = JsonFile::new(state, NAME);
        let lock = file.open_lock("lock")?;
        for _ in 0..TRIES {
            match lock.try_lock() {
                Ok(()) => {
                    // What the last one said is not said of this one.
                    file.replace(&Announcement::default())?;
                    return Ok(Some(Self { file, _lock: lock }));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
                Err(TryLockError::Error(source)) => {
                    return Err(StateFileError::Io { path: file.path(), source });
                }
            }
        }
        Ok(None)
    }

    /// Lets others know that this process took a configuration in, or refused one.
    pub fn announce(&self, refused: bool) -> Result<(), StateFileError> {
        self.file.replace(&Announcement { process: std::process::id(), at: Timestamp::now(), refused })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_known_for_as_long_as_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let of = || Announcement::of(folder.path()).unwrap();
        assert_eq!(of(), None);
        let presence = Presence::claim(folder.path()).unwrap().unwrap();
        for refused in [false, true] {
            presence.announce(refused).unwrap();
            assert_eq!(of().unwrap().refused, refused);
        }
        assert!(Presence::claim(folder.path()).unwrap().is_none());
        drop(presence);
        assert_eq!(of(), None);
        assert!(Presence::claim(folder.path()).unwrap().is_some());
    }
}
