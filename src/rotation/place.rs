//! Files put in place: new ones never over others, old ones replaced whole; each with the owner that it ought to have, and on
//! disk to stay.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Writes a new file, whole or not at all, with the owner of `like`; one that exists stays as it is.
pub(super) fn new(path: &Path, content: &[u8], mode: u32, like: &Path) -> io::Result<()> {
    let folder = folder_of(path);
    let file = filled(folder, content, mode)?;
    own_like(file.as_file(), like)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    sync(folder)
}

/// Puts `new` in the place of `old`, which is the file's text now, with its mode and owner; a copy of what was there is left
/// at the path that comes back. A link is followed.
pub(super) fn replace(path: &Path, old: &str, new: &str, ending: &str) -> io::Result<PathBuf> {
    let path = fs::canonicalize(path)?;
    let folder = folder_of(&path);
    // Who may not write the file shall not replace it, either.
    let there = OpenOptions::new().write(true).open(&path)?.metadata()?;
    let file = filled(folder, new.as_bytes(), there.mode() & 0o7777)?;
    own_like(file.as_file(), &path)?;
    file.as_file().sync_all()?;
    if fs::read(&path)? != old.as_bytes() {
        return Err(io::Error::other("it was changed at this moment; run the command again"));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    let backup = path.with_file_name(name);
    match fs::remove_file(&backup) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::hard_link(&path, &backup)?,
    }
    file.persist(&path)?;
    sync(folder)?;
    Ok(backup)
}

fn filled(folder: &Path, content: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".waxseal-").tempfile_in(folder)?;
    file.write_all(content)?;
    // Whatever the umask takes away.
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

fn own_like(file: &File, like: &Path) -> io::Result<()> {
    let (own, like) = (file.metadata()?, fs::metadata(like)?);
    if (own.uid(), own.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    fchown(file, Some(like.uid()), Some(like.gid()))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_put_over_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate2.pem");
        new(&path, b"one", 0o600, folder.path()).unwrap();
        let error = new(&path, b"two", 0o600, folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("waxseal.toml"), folder.path().join("link.toml"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(replace(&link, "other", "new", ".before").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        for (old, new) in [("old", "new"), ("new", "newer")] {
            let backup = replace(&link, old, new, ".before-gate2").unwrap();
            assert_eq!(backup, fs::canonicalize(folder.path()).unwrap().join("waxseal.toml.before-gate2"));
            assert_eq!(
                (fs::read_to_string(&path).unwrap(), fs::read_to_string(backup).unwrap()),
                (new.into(), old.into())
            );
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
