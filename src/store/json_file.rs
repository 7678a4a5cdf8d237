//! A JSON file in the state folder that is replaced whole: whoever reads it finds all of it, as it was before a change or
//! after. Of two who change it at once, one waits.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::disk::beneath::{Folder, own_like};

/// Why a file could not be read or changed.
#[derive(Debug, Error)]
pub enum StateFileError {
    /// The disk says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not of its form.
    #[error("{}: {source}", path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// What tells one state of a file from the next; `None` where there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(Option<(u64, i64, i64, u64)>);

impl Stamp {
    /// That of a file which is not there.
    pub const NONE: Self = Self(None);

    /// That of what has a version in a database.
    #[cfg(feature = "postgres")]
    pub(super) fn numbered(version: i64) -> Self {
        Self(Some((0, version, 0, 0)))
    }
}

/// The file; it need not be there.
#[derive(Clone, Debug)]
pub(super) struct JsonFile {
    folder: PathBuf,
    /// Its name without `.json`.
    name: &'static str,
}

impl JsonFile {
    pub(super) fn new(folder: &Path, name: &'static str) -> Self {
        Self { folder: folder.to_owned(), name }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(self.file_name())
    }

    fn file_name(&self) -> String {
        format!("{}.json", self.name)
    }

    /// Which state the file is in.
    pub(super) fn stamp(&self) -> Result<Stamp, StateFileError> {
        match fs::symlink_metadata(self.path()) {
            Ok(file) => Ok(Stamp(Some((file.ino(), file.mtime(), file.mtime_nsec(), file.len())))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stamp::NONE),
            Err(source) => Err(StateFileError::Io { path: self.path(), source }),
        }
    }

    /// What it holds; what nothing was written to holds the default.
    pub(super) fn read<T: Default + DeserializeOwned>(&self) -> Result<T, StateFileError> {
        let path = self.path();
        match Folder::open(&self.folder).and_then(|folder| folder.read(&self.file_name())) {
            Ok(text) => serde_json::from_slice(&text).map_err(|source| StateFileError::Form { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
            Err(source) => Err(StateFileError::Io { path, source }),
        }
    }

    /// Changes what it holds, while nobody else does. When this returns `Ok`, it is on disk to stay.
    pub(super) fn change<T: Default + Serialize + DeserializeOwned, R>(
        &self,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, StateFileError> {
        let held = self.open_lock("lock")?;
        held.lock().map_err(at(&self.folder))?;
        let mut content = self.read()?;
        let result = change(&mut content);
        self.replace(&content)?;
        Ok(result)
    }

    /// Puts this in its place.
    pub(super) fn replace<T: Serialize>(&self, content: &T) -> Result<(), StateFileError> {
        let mut text = serde_json::to_vec_pretty(content)
            .map_err(|source| StateFileError::Form { path: self.path(), source })?;
        text.push(b'\n');
        // Under a name that nobody knows beforehand: root writes where the gateway's user could have put a link.
        let mut new = tempfile::Builder::new()
            .prefix(".waxseal-")
            .tempfile_in(&self.folder)
            .map_err(at(&self.folder))?;
        new.write_all(&text).and_then(|()| new.as_file().sync_all()).map_err(at(new.path()))?;
        let folder = Folder::open(&self.folder).map_err(at(&self.folder))?;
        own_like(folder.as_file(), new.as_file()).map_err(at(new.path()))?;
        new.persist(self.path()).map_err(|failure| at(&self.path())(failure.error))?;
        folder.sync().map_err(at(&self.folder))
    }

    /// The file beside it that is locked for some purpose.
    pub(super) fn open_lock(&self, purpose: &str) -> Result<File, StateFileError> {
        let name = self.lock_name(purpose);
        let folder = Folder::open(&self.folder).map_err(at(&self.folder))?;
        Ok(folder.open_or_make_file(&name).map_err(at(&self.folder.join(name)))?.0)
    }

    /// The same where it is there already, to look whether it is locked.
    pub(super) fn look_at_lock(&self, purpose: &str) -> io::Result<File> {
        Folder::open(&self.folder)?.open_file(&self.lock_name(purpose), OFlags::RDONLY)
    }

    fn lock_name(&self, purpose: &str) -> String {
        format!("{}.{purpose}", self.name)
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StateFileError + use<> {
    let path = path.to_owned();
    move |source| StateFileError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Root changes files in a folder that is the gateway's user's.
    #[test]
    fn links_lead_nowhere_else() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = elsewhere.path().join("target");
        fs::write(&target, "kept").unwrap();
        let file = JsonFile::new(folder.path(), "pins");
        symlink(&target, folder.path().join(".pins.json.new")).unwrap();
        symlink(&target, file.path()).unwrap();
        file.replace(&7).unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "7\n");
        symlink(&target, folder.path().join("pins.lock")).unwrap();
        assert!(file.change(|number: &mut u8| *number += 1).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    }
}
