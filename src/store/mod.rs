//! What we keep on disk, under the state folder: held mail, what the administrator says of correspondents' keys, what is known of
//! our own, which gateway runs, and the database of what is remembered and what was judged.

mod claim;
mod database;
mod json_file;
mod judged;
mod keys;
mod ledger;
mod memories;
mod memory;
mod pins;
mod presence;
mod probes;
mod quarantine;
mod recorder;

pub use claim::{Claim, Releases};
pub use database::DatabaseError;
pub use json_file::{Stamp, StateFileError};
pub use judged::{Count, Judged, Judgements, Period};
pub use keys::KeysFile;
pub use ledger::Filling;
pub use memories::{DomainRecord, KeyRecord, KeyState, Memories};
pub use pins::{PinFile, PinFileError, Said, SaidKey, SaidPin};
pub use presence::{Announcement, Presence};
pub use probes::{keep_probe, read_probe};
pub use quarantine::{Held, HeldId, HoldError, Kept, Listing, Quarantine, StoreError, Usage};
pub use recorder::{Entry, Recorder};

use std::io;
use std::path::Path;

/// The room in a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Octets that are free for us; some of the rest may be root's alone.
    pub free: u64,
    /// All its octets.
    pub size: u64,
    /// How many files more it takes; `None` where it sets no limit of its own.
    pub files: Option<u64>,
}

/// The room in the file system that `folder` is in.
pub fn room(folder: &Path) -> io::Result<Room> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(Room {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        size: found.f_blocks.saturating_mul(found.f_frsize),
        files: (found.f_files > 0).then_some(found.f_favail),
    })
}

/// Makes the state folder if it is missing: for our user alone, whatever the umask is.
pub fn make_state_folder(state: &Path) -> io::Result<()> {
    crate::beneath::Folder::open_or_make(state).map(drop)
}
