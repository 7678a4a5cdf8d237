//! Files and folders in which strangers may have laid links, and the room that a disk has.

pub(crate) mod beneath;

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
