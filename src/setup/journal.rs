//! What setup changed, so that it can be finished or taken back after any interruption: each change of files is a folder with
//! every file as it was and as it becomes, complete and on disk before the first of them is touched. Files are replaced whole.
//! The folder is root's alone, for what is in it goes back into Postfix's configuration.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::wiring::Edit;

/// A file, and why it cannot be read or written.
#[derive(Debug, Error)]
#[error("{}: {error}", path.display())]
pub struct FileError {
    path: PathBuf,
    error: io::Error,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError + use<> {
    let path = path.to_owned();
    move |error| FileError { path, error }
}

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Postfix's.
    Postfix,
    /// The gateway's configuration.
    Gateway,
}

/// A file that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which one.
    pub path: PathBuf,
    /// Whose.
    pub part: Part,
    /// What it held; `None` where it was not there.
    pub before: Option<Vec<u8>>,
    /// What it will hold.
    pub after: Vec<u8>,
    /// The owner, group and mode of a file that was not there.
    pub new: (u32, u32, u32),
}

impl Change {
    /// Puts the new content in place.
    pub(super) fn make(&self) -> Result<(), FileError> {
        replace(&self.path, &self.after, self.new)
    }

    /// Puts the old content back in place.
    pub(super) fn take_back(&self) -> Result<(), FileError> {
        restore(&self.path, self.before.as_deref(), self.new)
    }

    /// Whether the file is as it becomes.
    pub(super) fn is_made(&self) -> Result<bool, FileError> {
        Ok(read(&self.path)?.as_ref() == Some(&self.after))
    }
}

/// What a record says besides the files' content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) made: Timestamp,
    /// Where the configuration of Postfix is.
    pub(super) postfix: PathBuf,
    /// The changes of master.cf, for an administrator who must take them back by hand.
    pub(super) edits: Vec<Edit>,
    /// Whether setup had systemd start the gateway with the system.
    pub(super) enables: bool,
    files: Vec<FileAbout>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FileAbout {
    path: PathBuf,
    part: Part,
    existed: bool,
    new: (u32, u32, u32),
}

impl About {
    pub(super) fn new(postfix: &Path, edits: &[Edit], enables: bool) -> Self {
        let made = Timestamp::now();
        Self { made, postfix: postfix.to_owned(), edits: edits.to_vec(), enables, files: Vec::new() }
    }
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Files may be as they were or as they become.
    Begun,
    /// It is in force.
    Done,
    /// It is being taken back.
    Undoing,
}

/// One change of files.
#[derive(Debug)]
pub(super) struct Record {
    folder: PathBuf,
    pub(super) about: About,
    pub(super) stage: Stage,
    pub(super) changes: Vec<Change>,
}

/// What the name of a file begins with that was not finished.
const UNFINISHED: &str = ".waxseal-setup-";
const ABOUT: &str = "about.json";
const DONE: &str = "done";
const UNDOING: &str = "undoing";

impl Record {
    fn read(folder: PathBuf) -> Result<Self, FileError> {
        let path = folder.join(ABOUT);
        let text = fs::read(&path).map_err(at(&path))?;
        let about: About = serde_json::from_slice(&text).map_err(|error| at(&path)(error.into()))?;
        let content = |name: String| {
            let path = folder.join(name);
            fs::read(&path).map_err(at(&path))
        };
        let mut changes = Vec::new();
        for (number, file) in about.files.iter().enumerate() {
            let before = file.existed.then(|| content(format!("{number}.before"))).transpose()?;
            let after = content(format!("{number}.after"))?;
            changes.push(Change { path: file.path.clone(), part: file.part, before, after, new: file.new });
        }
        let has = |name| folder.join(name).exists();
        let stage = match (has(UNDOING), has(DONE)) {
            (true, _) => Stage::Undoing,
            (false, true) => Stage::Done,
            (false, false) => Stage::Begun,
        };
        Ok(Self { folder, about, stage, changes })
    }

    /// Notes that it is in force.
    pub(super) fn finish(&self) -> Result<(), FileError> {
        self.mark(DONE)
    }

    /// Notes that it is being taken back.
    pub(super) fn begin_undoing(&self) -> Result<(), FileError> {
        self.mark(UNDOING)
    }

    fn mark(&self, name: &str) -> Result<(), FileError> {
        let path = self.folder.join(name);
        File::create(&path).and_then(|file| file.sync_all()).map_err(at(&path))?;
        sync(&self.folder)
    }

    /// Forgets it.
    pub(super) fn remove(self) -> Result<(), FileError> {
        // At once, so that no half of it is ever read.
        let away = self.folder.with_extension("gone");
        let _ = fs::remove_dir_all(&away);
        fs::rename(&self.folder, &away).map_err(at(&self.folder))?;
        sync(away.parent().unwrap_or(Path::new("/")))?;
        fs::remove_dir_all(&away).map_err(at(&away))
    }

    /// Removes what an interruption left beside the files.
    pub(super) fn tidy(&self) {
        for folder in self.changes.iter().filter_map(|change| change.path.parent()) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }

    pub(super) fn of(&self, part: Part) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.part == part)
    }
}

/// All changes that setup made. While it is open no other setup works.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    /// Held for the lock on it.
    _lock: Option<File>,
}

impl Journal {
    /// Opens the journal beside the configuration, and waits for no other setup.
    pub(super) fn open(folder: &Path) -> Result<Self, FileError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(at(folder))?;
        let path = folder.join("lock");
        let lock = File::options().write(true).create(true).truncate(false).open(&path).map_err(at(&path))?;
        if lock.try_lock().is_err() {
            return Err(at(&path)(io::Error::other("another `waxseal setup` is at work")));
        }
        Ok(Self { folder: folder.to_owned(), _lock: Some(lock) })
    }

    /// The journal to look at alone.
    pub(super) fn to_read(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), _lock: None }
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The changes, the oldest first.
    pub(super) fn records(&self) -> Result<Vec<Record>, FileError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(at(&self.folder))?,
        };
        let mut folders = Vec::new();
        for entry in entries {
            let path = entry.map_err(at(&self.folder))?.path();
            if number(&path).is_some() {
                folders.push(path);
            }
        }
        folders.sort_by_key(|path| number(path));
        folders.into_iter().map(Record::read).collect()
    }

    /// Writes down what is going to change, to stay.
    pub(super) fn begin(&self, about: About, changes: Vec<Change>) -> Result<Record, FileError> {
        let last = self.records()?.last().and_then(|record| number(&record.folder)).unwrap_or_default();
        let folder = self.folder.join((last + 1).to_string());
        let unfinished = self.folder.join("new");
        let _ = fs::remove_dir_all(&unfinished);
        DirBuilder::new().mode(0o700).create(&unfinished).map_err(at(&unfinished))?;
        let write = |name: String, content: &[u8]| {
            let path = unfinished.join(name);
            let mut file = File::create_new(&path).map_err(at(&path))?;
            file.write_all(content).and_then(|()| file.sync_all()).map_err(at(&path))
        };
        let file = |change: &Change| FileAbout {
            path: change.path.clone(),
            part: change.part,
            existed: change.before.is_some(),
            new: change.new,
        };
        let about = About { files: changes.iter().map(file).collect(), ..about };
        for (number, change) in changes.iter().enumerate() {
            if let Some(before) = &change.before {
                write(format!("{number}.before"), before)?;
            }
            write(format!("{number}.after"), &change.after)?;
        }
        let text = serde_json::to_vec_pretty(&about).map_err(|error| at(&unfinished)(error.into()))?;
        write(ABOUT.to_owned(), &text)?;
        sync(&unfinished)?;
        fs::rename(&unfinished, &folder).map_err(at(&folder))?;
        sync(&self.folder)?;
        Ok(Record { folder, about, stage: Stage::Begun, changes })
    }
}

fn number(folder: &Path) -> Option<u32> {
    folder.file_name()?.to_str()?.parse().ok()
}

/// What a file holds; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Gives a file this content, or takes it away.
pub(super) fn restore(path: &Path, content: Option<&[u8]>, new: (u32, u32, u32)) -> Result<(), FileError> {
    match content {
        Some(content) => replace(path, content, new),
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
            _ => sync(path.parent().unwrap_or(Path::new("/"))),
        },
    }
}

/// Replaces a file whole and to stay, with the owner and the mode that it had, or these of a new one.
fn replace(path: &Path, content: &[u8], new: (u32, u32, u32)) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let (uid, gid, mode) = match fs::metadata(path) {
        Ok(found) => owner(&found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => new,
        Err(error) => return Err(at(path)(error)),
    };
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder).map_err(at(folder))?;
    file.write_all(content)
        .and_then(|()| own(file.as_file(), uid, gid))
        .and_then(|()| file.as_file().set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.as_file().sync_all())
        .map_err(at(path))?;
    file.persist(path).map_err(|error| at(path)(error.error))?;
    sync(folder)
}

fn owner(found: &Metadata) -> (u32, u32, u32) {
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

fn own(file: &File, uid: u32, gid: u32) -> io::Result<()> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) == (uid, gid) { Ok(()) } else { fchown(file, Some(uid), Some(gid)) }
}

fn sync(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &Path, before: Option<&str>, after: &str) -> Change {
        let before = before.map(|text| text.as_bytes().to_vec());
        let metadata = fs::metadata(path.parent().unwrap()).unwrap();
        let new = (metadata.uid(), metadata.gid(), 0o640);
        Change { path: path.to_owned(), part: Part::Gateway, before, after: after.into(), new }
    }

    #[test]
    fn a_change_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, "was").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o604)).unwrap();
        let journal = Journal::open(&folder.path().join("setup")).unwrap();
        assert!(Journal::open(&folder.path().join("setup")).is_err(), "one at a time");
        let changes = vec![change(&old, Some("was"), "is"), change(&new, None, "new")];
        let about = About::new(Path::new("/etc/postfix"), &[], false);
        journal.begin(about, changes.clone()).unwrap();
        let records = journal.records().unwrap();
        assert_eq!((records[0].stage, &records[0].changes), (Stage::Begun, &changes));
        for change in &records[0].changes {
            change.make().unwrap();
            assert!(change.is_made().unwrap());
        }
        assert_eq!(fs::metadata(&old).unwrap().mode() & 0o777, 0o604);
        assert_eq!(fs::metadata(&new).unwrap().mode() & 0o777, 0o640);
        records[0].finish().unwrap();
        assert_eq!(journal.records().unwrap()[0].stage, Stage::Done);
        for change in &records[0].changes {
            change.take_back().unwrap();
            change.take_back().unwrap();
        }
        assert_eq!(fs::read_to_string(&old).unwrap(), "was");
        assert!(!new.exists());
        journal.records().unwrap().remove(0).remove().unwrap();
        assert!(journal.records().unwrap().is_empty());
    }

    #[test]
    fn a_record_that_was_not_finished_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        fs::create_dir(folder.path().join("new")).unwrap();
        fs::create_dir(folder.path().join("1.gone")).unwrap();
        assert!(journal.records().unwrap().is_empty());
        journal.begin(About::new(Path::new("/"), &[], true), Vec::new()).unwrap();
        assert_eq!(journal.records().unwrap().len(), 1);
    }
}
