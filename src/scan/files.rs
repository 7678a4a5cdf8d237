//! Which files of a mail store are mail: by their place, their name, and by how they begin.

use std::collections::HashSet;
use std::fs::{self, DirEntry, File, Metadata, OpenOptions};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::compression::Compression;
use super::{Unread, dbox, letter, mbox};

/// Octets of a file's beginning that tell what it is.
const START: u64 = 8 << 10;

/// Names that are kept of files that are no mail.
const MAX_NAMES: usize = 10;

/// A file to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in octets.
    pub size: u64,
    /// Whether it is in a Maildir, where a file is one message whatever it looks like.
    pub in_maildir: bool,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One message.
    Message,
    /// Messages of an mbox file.
    Mbox,
    /// Messages of a dbox file.
    Dbox,
}

/// Files that were not read because nothing tells that they are mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// How many.
    pub count: u64,
    /// The first few.
    pub names: Vec<PathBuf>,
}

/// What was found in the paths that were given.
#[derive(Debug, Default)]
pub struct Files {
    /// Files to be read, in order.
    pub sources: Vec<Source>,
    /// What cannot be read, and folders without mail.
    pub unread: Vec<(PathBuf, Unread)>,
    /// Other files in the folders.
    pub others: Others,
    /// Folders that were read: links may lead to one again.
    seen: HashSet<(u64, u64)>,
}

impl Files {
    /// Looks for mail in a file or folder. One without any is unread.
    pub fn gather(&mut self, path: &Path) {
        let before = (self.sources.len(), self.unread.len());
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let is_new = self.gather_folder(path, &metadata);
                if is_new && before == (self.sources.len(), self.unread.len()) {
                    self.unread.push((path.to_owned(), Unread::NoneInside));
                }
            }
            Ok(metadata) => self.add(path, &metadata, false),
            Err(error) => self.unread.push((path.to_owned(), error.into())),
        }
    }

    fn add(&mut self, path: &Path, metadata: &Metadata, in_maildir: bool) {
        if metadata.is_file() {
            self.sources.push(Source { path: path.to_owned(), size: metadata.len(), in_maildir });
        } else {
            self.unread.push((path.to_owned(), Unread::NoFile));
        }
    }

    /// Looks through a folder, unless that was done before.
    fn gather_folder(&mut self, folder: &Path, metadata: &Metadata) -> bool {
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return false;
        }
        let entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => {
                self.unread.push((folder.to_owned(), error.into()));
                return true;
            }
        };
        let mut entries: Vec<PathBuf> = entries.iter().map(DirEntry::path).collect();
        entries.sort();
        let (is_maildir, in_maildir) = (is_maildir(folder), is_in_maildir(folder));
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match fs::metadata(&path) {
                // What is in `tmp` is not delivered yet.
                Ok(metadata) if metadata.is_dir() && !(is_maildir && name == "tmp") => {
                    self.gather_folder(&path, &metadata);
                }
                Ok(metadata) if metadata.is_dir() => {}
                Ok(metadata) if in_maildir && !name.starts_with('.') => self.add(&path, &metadata, true),
                Ok(metadata) if is_named_as_mail(folder, &name) => self.add(&path, &metadata, false),
                Ok(metadata) => match metadata.is_file().then(|| looks_like_mail(&path)) {
                    Some(Ok(true)) => self.add(&path, &metadata, false),
                    Some(Err(error)) => self.unread.push((path, error.into())),
                    _ if is_of_the_server(&name) => {}
                    Some(Ok(false)) | None => self.others.add(path),
                },
                Err(error) => self.unread.push((path, error.into())),
            }
        }
        true
    }
}

impl Others {
    fn add(&mut self, path: PathBuf) {
        self.count += 1;
        if self.names.len() < MAX_NAMES {
            self.names.push(path);
        }
    }
}

fn is_maildir(folder: &Path) -> bool {
    folder.join("cur").is_dir() && folder.join("new").is_dir()
}

/// Whether every file of this folder is a message. Copies of a Maildir may lack the folders that were empty.
fn is_in_maildir(folder: &Path) -> bool {
    let has = |name: &str| folder.parent().is_some_and(|parent| parent.join(name).is_dir());
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("cur") => has("new") || has("tmp"),
        Some("new") => has("cur"),
        _ => false,
    }
}

/// What mail servers keep beside mail.
fn is_of_the_server(name: &str) -> bool {
    const STARTS: [&str; 4] = ["dovecot", ".dovecot", "courierimap", "courierpop3"];
    const NAMES: [&str; 5] =
        ["maildirfolder", "maildirsize", "subscriptions", ".subscriptions", ".mh_sequences"];
    STARTS.iter().any(|start| name.starts_with(start)) || NAMES.contains(&name)
}

/// Whether a file is mail by its name: `a.eml`, sdbox's `dbox-Mails/u.1`, mdbox's `storage/m.1`.
fn is_named_as_mail(folder: &Path, name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let in_folder = |wanted: &str| folder.file_name().is_some_and(|name| name == wanted);
    let is_numbered = |start: &str| name.strip_prefix(start).is_some_and(is_number);
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("eml"))
        || in_folder("dbox-Mails") && is_numbered("u.")
        || in_folder("storage") && is_numbered("m.")
}

fn looks_like_mail(path: &Path) -> io::Result<bool> {
    let mut file = match open(path) {
        Ok(file) => file,
        Err(Unread::Io(error)) => return Err(error),
        Err(_) => return Ok(false),
    };
    let (start, _) = start(&mut file)?;
    Ok(mbox::begins(&start) || dbox::begins(&start) || letter::begins(&start))
}

/// Opens a file, and nothing else: a FIFO in its place would make us wait for ever.
pub(super) fn open(path: &Path) -> Result<File, Unread> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(Unread::NoFile) }
}

/// How a file begins, unpacked, and how it is compressed. Leaves it at its beginning.
pub(super) fn start(file: &mut File) -> io::Result<(Vec<u8>, Option<Compression>)> {
    let mut start = Vec::new();
    file.by_ref().take(START).read_to_end(&mut start)?;
    file.rewind()?;
    let Some(compression) = Compression::of(&start) else { return Ok((start, None)) };
    let mut plain = Vec::new();
    // If it is damaged further on, its reader will find that.
    let _ = compression.reader(BufReader::new(&mut *file)).take(START).read_to_end(&mut plain);
    file.rewind()?;
    Ok((plain, Some(compression)))
}

/// What a file holds that begins like this.
pub(super) fn kind(start: &[u8]) -> Kind {
    if mbox::begins(start) {
        Kind::Mbox
    } else if dbox::begins(start) {
        Kind::Dbox
    } else {
        Kind::Message
    }
}
