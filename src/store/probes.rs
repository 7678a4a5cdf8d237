//! The probes that `doctor` has sent, `<state>/probes/<id>.eml`, to be compared with what arrives.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::own_like;

const FOLDER: &str = "probes";

/// Most probes that are kept; the oldest go first.
const MAX_KEPT: usize = 50;

fn path(state: &Path, id: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{id}.eml"))
}

/// Keeps a probe. Its id must be fit for a file's name.
pub fn keep_probe(state: &Path, id: &str, message: &[u8]) -> io::Result<PathBuf> {
    let folder = state.join(FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    own_like(state, &folder)?;
    let path = path(state, id);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(message)?;
    own_like(state, &path)?;
    let mut kept: Vec<PathBuf> = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    // Ids begin with the time.
    kept.sort();
    let surplus = kept.len().saturating_sub(MAX_KEPT);
    for old in &kept[..surplus] {
        fs::remove_file(old)?;
    }
    Ok(path)
}

/// A probe that was kept.
pub fn read_probe(state: &Path, id: &str) -> io::Result<Vec<u8>> {
    fs::read(path(state, id))
}
