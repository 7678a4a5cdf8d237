//! The probes that `doctor` has sent, `<state>/probes/<id>.eml`, to be compared with what arrives.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, unlinkat};

use crate::disk::beneath::{Folder, own_like};
use crate::store::Probes;
use crate::store::state::MAX_PROBES;

const FOLDER: &str = "probes";
const ENDING: &str = ".eml";

/// Largest probe that is read back, in octets; ours have some 10 KiB.
const MAX_PROBE: u64 = 1 << 20;

/// Where they are.
#[derive(Debug)]
pub(super) struct ProbeFolder {
    state: PathBuf,
}

impl ProbeFolder {
    /// Those of a state folder.
    pub(super) fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }
}

impl Probes for ProbeFolder {
    fn keep(&self, id: &str, message: &[u8]) -> io::Result<String> {
        keep(&self.state, id, message).map(|path| path.display().to_string())
    }

    fn read(&self, id: &str) -> io::Result<Vec<u8>> {
        read(&self.state, id)
    }
}

fn keep(state: &Path, id: &str, message: &[u8]) -> io::Result<PathBuf> {
    let state_folder = Folder::open(state)?;
    let folder = state_folder.folder_or_make(FOLDER)?;
    let name = format!("{id}{ENDING}");
    let mut file = folder.open_file(&name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
    file.write_all(message)?;
    own_like(state_folder.as_file(), &file)?;
    let names = folder.names()?.into_iter().filter_map(|name| name.into_string().ok());
    let mut kept: Vec<String> = names.filter(|name| name.ends_with(ENDING)).collect();
    // Ids begin with the time.
    kept.sort();
    let surplus = kept.len().saturating_sub(MAX_PROBES);
    for old in &kept[..surplus] {
        unlinkat(folder.as_file(), old, AtFlags::empty())?;
    }
    Ok(state.join(FOLDER).join(name))
}

fn read(state: &Path, id: &str) -> io::Result<Vec<u8>> {
    let folder = Folder::open(state)?.folder(FOLDER)?;
    let file = folder.open_file(&format!("{id}{ENDING}"), OFlags::RDONLY)?;
    let mut message = Vec::new();
    file.take(MAX_PROBE).read_to_end(&mut message)?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_newest_are_kept_and_other_files_let_be() {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join(FOLDER)).unwrap();
        fs::write(state.path().join(FOLDER).join("00-notes"), "kept").unwrap();
        for n in 0..MAX_PROBES + 2 {
            keep(state.path(), &format!("id-{n:03}"), b"probe").unwrap();
        }
        assert_eq!(fs::read_dir(state.path().join(FOLDER)).unwrap().count(), MAX_PROBES + 1);
        assert_eq!(read(state.path(), "id-001").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read(state.path(), "id-002").unwrap(), b"probe");
        assert!(state.path().join(FOLDER).join("00-notes").exists());
    }

    /// Root keeps probes in a folder that is the gateway's user's.
    #[test]
    fn links_lead_nowhere_else() {
        let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for n in 0..MAX_PROBES + 2 {
            fs::write(elsewhere.path().join(format!("{n}.eml")), "kept").unwrap();
        }
        symlink(elsewhere.path(), state.path().join(FOLDER)).unwrap();
        assert!(keep(state.path(), "id", b"probe").is_err());
        assert!(read(state.path(), "1").is_err());
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), MAX_PROBES + 2);
    }
}
