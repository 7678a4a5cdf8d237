//! The probes that `doctor` has sent, `<state>/probes/<id>.eml`, to be compared with what arrives.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, open, openat, unlinkat};

use super::own_like;

const FOLDER: &str = "probes";
const ENDING: &str = ".eml";

/// Most probes that are kept; the oldest go first.
const MAX_KEPT: usize = 50;

/// Largest probe that is read back, in octets; ours have some 10 KiB.
const MAX_PROBE: u64 = 1 << 20;

/// Keeps a probe. Its id must be fit for a file's name.
pub fn keep_probe(state: &Path, id: &str, message: &[u8]) -> io::Result<PathBuf> {
    match DirBuilder::new().mode(0o700).create(state.join(FOLDER)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let folder = opened(state)?;
    own_like(state, &folder)?;
    let name = format!("{id}{ENDING}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&folder, &name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(message)?;
    own_like(state, &file)?;
    let mut kept = Vec::new();
    for entry in Dir::read_from(&folder)? {
        kept.extend(
            entry?.file_name().to_str().ok().filter(|name| name.ends_with(ENDING)).map(str::to_owned),
        );
    }
    // Ids begin with the time.
    kept.sort();
    let surplus = kept.len().saturating_sub(MAX_KEPT);
    for old in &kept[..surplus] {
        unlinkat(&folder, old, AtFlags::empty())?;
    }
    Ok(state.join(FOLDER).join(name))
}

/// A probe that was kept.
pub fn read_probe(state: &Path, id: &str) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(opened(state)?, format!("{id}{ENDING}"), flags, Mode::empty())?);
    let mut message = Vec::new();
    file.take(MAX_PROBE).read_to_end(&mut message)?;
    Ok(message)
}

/// The folder itself, held open: root writes and removes files where the gateway's user could put a link at any moment.
fn opened(state: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder: OwnedFd = open(state.join(FOLDER), flags, Mode::empty())?;
    Ok(folder.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_newest_are_kept_and_other_files_let_be() {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join(FOLDER)).unwrap();
        fs::write(state.path().join(FOLDER).join("00-notes"), "kept").unwrap();
        for n in 0..MAX_KEPT + 2 {
            keep_probe(state.path(), &format!("id-{n:03}"), b"probe").unwrap();
        }
        assert_eq!(fs::read_dir(state.path().join(FOLDER)).unwrap().count(), MAX_KEPT + 1);
        assert_eq!(read_probe(state.path(), "id-001").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read_probe(state.path(), "id-002").unwrap(), b"probe");
        assert!(state.path().join(FOLDER).join("00-notes").exists());
    }

    /// Root keeps probes in a folder that is the gateway's user's.
    #[test]
    fn links_lead_nowhere_else() {
        let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for n in 0..MAX_KEPT + 2 {
            fs::write(elsewhere.path().join(format!("{n}.eml")), "kept").unwrap();
        }
        symlink(elsewhere.path(), state.path().join(FOLDER)).unwrap();
        assert!(keep_probe(state.path(), "id", b"probe").is_err());
        assert!(read_probe(state.path(), "1").is_err());
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), MAX_KEPT + 2);
    }
}
