//! What we keep on disk, under the state folder: held mail, what the administrator says of correspondents' keys, rotations of our
//! own, which gateway runs, and the database of what is remembered and what was judged.

mod claim;
mod database;
mod json_file;
mod judged;
mod memories;
mod memory;
mod pins;
mod presence;
mod probes;
mod quarantine;
mod recorder;
mod rotations;

pub use claim::{Claim, Releases};
pub use database::DatabaseError;
pub use json_file::{Stamp, StateFileError};
pub use judged::{Count, Judged, Judgements, Period};
pub use memories::{DomainRecord, KeyRecord, KeyState, Memories};
pub use pins::{PinFile, PinFileError, Said, SaidKey, SaidPin};
pub use presence::{Announcement, Presence, SealsWith};
pub use probes::{keep_probe, read_probe};
pub use quarantine::{Held, HeldId, Listing, Quarantine, StoreError, Usage};
pub use recorder::{Entry, Recorder};
pub use rotations::{AtWork, Newest, Retired, RotationFile, RotationFileError, Rotations, UnderWay};

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

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

/// A link in a file's place is refused: root opens files where the gateway's user may have put one.
const NOFOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// Gives an open file that root made, be it called as it may, to whom the folder belongs, the gateway's user: it must be able
/// to read and replace it.
fn own_like(folder: &Path, file: &fs::File) -> io::Result<()> {
    let (folder, file_now) = (fs::metadata(folder)?, file.metadata()?);
    if (folder.uid(), folder.gid()) == (file_now.uid(), file_now.gid()) {
        return Ok(());
    }
    match fchown(file, Some(folder.uid()), Some(folder.gid())) {
        // The gateway's own user may not give its files to another group, and need not.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && file_now.uid() == folder.uid() => {
            Ok(())
        }
        result => result,
    }
}
