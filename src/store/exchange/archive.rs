//! A state in one file: a tar archive of messages, of tables as lines of JSON in pieces, and at its end a digest of all that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::digest::Tee;
use super::tables::{of_line, to_line};
use super::{Destination, Digest, ExchangeError, Row, Sink, Source, Table};
use crate::store::held::HeldId;

/// What an archive begins with.
const ABOUT: &str = "waxseal-state.json";
/// What it ends with.
const DIGEST: &str = "digest.json";
const PINS: &str = "pins.json";
const MESSAGES: &str = "messages";
const TABLES: &str = "tables";
/// The form of the archive.
const FORM: u64 = 1;
/// Octets of a piece of a table.
const PIECE: usize = 1 << 20;
/// Longest piece that is read, with the row that went beyond.
const MAX_PIECE: u64 = 64 << 20;

/// An archive that is being written. Its file goes unless it is finished.
pub(super) struct NewArchive {
    path: PathBuf,
    archive: Option<tar::Builder<BufWriter<File>>>,
    table: Option<&'static Table>,
    lines: Vec<u8>,
    pieces: u64,
    is_finished: bool,
}

impl NewArchive {
    /// A new file that only its owner reads. One that is there stays as it is.
    pub(super) fn create(path: &Path) -> Result<Self, ExchangeError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(ExchangeError::at(path))?;
        let mut new = Self {
            path: path.to_owned(),
            archive: Some(tar::Builder::new(BufWriter::new(file))),
            table: None,
            lines: Vec::new(),
            pieces: 0,
            is_finished: false,
        };
        let about = json!({
            "form": FORM,
            "version": env!("CARGO_PKG_VERSION"),
            "at": jiff::Timestamp::now().to_string(),
        });
        let about = format!("{about}\n");
        new.add(ABOUT, about.len() as u64, &mut about.as_bytes())?;
        Ok(new)
    }

    fn add(&mut self, name: &str, size: u64, octets: &mut dyn Read) -> Result<(), ExchangeError> {
        let Some(archive) = &mut self.archive else { return Ok(()) };
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default());
        let mut exact = Exact { from: octets, left: size };
        archive.append_data(&mut header, name, &mut exact).map_err(ExchangeError::at(&self.path))?;
        if exact.left > 0 {
            let source = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(ExchangeError::Io { path: name.into(), source });
        }
        Ok(())
    }

    /// Writes the rows that wait.
    fn flush(&mut self) -> Result<(), ExchangeError> {
        if let (Some(table), false) = (self.table, self.lines.is_empty()) {
            let lines = std::mem::take(&mut self.lines);
            let name = format!("{TABLES}/{}/{:06}.jsonl", table.name, self.pieces);
            self.pieces += 1;
            self.add(&name, lines.len() as u64, &mut lines.as_slice())?;
        }
        Ok(())
    }
}

/// Fails at more octets than were announced, and knows how many are missing.
struct Exact<'a> {
    from: &'a mut dyn Read,
    left: u64,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| io::Error::other("it is longer than it was"))?;
        Ok(read)
    }
}

impl Sink for NewArchive {
    fn message(&mut self, id: &HeldId, size: u64, octets: &mut dyn Read) -> Result<(), ExchangeError> {
        self.add(&format!("{MESSAGES}/{id}.eml"), size, octets)
    }

    fn row(&mut self, table: &Table, row: &Row) -> Result<(), ExchangeError> {
        let table = Table::of(table.name);
        if self.table.map(|table| table.name) != table.map(|table| table.name) {
            self.flush()?;
            self.table = table;
            self.pieces = 0;
        }
        self.lines.extend_from_slice(to_line(row).as_bytes());
        self.lines.push(b'\n');
        if self.lines.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn pins(&mut self, said: &str) -> Result<(), ExchangeError> {
        self.flush()?;
        self.add(PINS, said.len() as u64, &mut said.as_bytes())
    }
}

impl Destination for NewArchive {
    fn as_sink(&mut self) -> &mut dyn Sink {
        self
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn read_back(&mut self, read: &Digest, to: &mut dyn Sink) -> Result<(), ExchangeError> {
        self.flush()?;
        let digest = serde_json::to_string(read).expect("a digest is numbers and strings");
        self.add(DIGEST, digest.len() as u64, &mut digest.as_bytes())?;
        let Some(archive) = self.archive.take() else { return Ok(()) };
        let file = archive
            .into_inner()
            .and_then(|buffer| buffer.into_inner().map_err(io::IntoInnerError::into_error));
        file.and_then(|file| file.sync_all()).map_err(ExchangeError::at(&self.path))?;
        Archive::open(&self.path)?.give(to)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExchangeError> {
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for NewArchive {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// An archive that is read.
pub(super) struct Archive {
    path: PathBuf,
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Self, ExchangeError> {
        File::open(path).map_err(ExchangeError::at(path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Reads all of it, and compares it with the digest at its end.
    pub(super) fn check(&mut self) -> Result<(), ExchangeError> {
        let mut tee = Tee::new(None);
        let told = self.read(&mut tee)?;
        match tee.end().difference(&told) {
            None => Ok(()),
            Some(difference) => Err(self.damaged(format!("it is damaged: {difference}"))),
        }
    }

    fn damaged(&self, reason: impl Into<String>) -> ExchangeError {
        ExchangeError::Damaged { path: self.path.clone(), reason: reason.into() }
    }

    /// Gives what is in it, and tells the digest at its end.
    fn read(&mut self, to: &mut dyn Sink) -> Result<Digest, ExchangeError> {
        let path = self.path.clone();
        let file = File::open(&path).map_err(ExchangeError::at(&path))?;
        let mut archive = tar::Archive::new(BufReader::new(file));
        let mut is_ours = false;
        for entry in archive.entries().map_err(ExchangeError::at(&path))? {
            let mut entry =
                entry.map_err(|error| self.damaged(format!("it is no whole tar archive: {error}")))?;
            let name = entry.path().map_err(ExchangeError::at(&path))?.to_string_lossy().into_owned();
            let size = entry.size();
            if name == ABOUT {
                let about: serde_json::Value = serde_json::from_str(&self.text(&mut entry)?)
                    .map_err(|error| self.damaged(error.to_string()))?;
                match about["form"].as_u64() {
                    Some(FORM) => is_ours = true,
                    _ => return Err(self.damaged("a later version of waxseal wrote it")),
                }
                continue;
            }
            if !is_ours {
                break;
            }
            let parts: Vec<&str> = name.split('/').collect();
            match *parts {
                [MESSAGES, file] => {
                    let id = file.strip_suffix(".eml").and_then(|id| id.parse::<HeldId>().ok());
                    let id = id.ok_or_else(|| self.damaged(format!("it holds `{name}`")))?;
                    to.message(&id, size, &mut entry)?;
                }
                [TABLES, table, _] => {
                    let table = Table::of(table).ok_or_else(|| self.damaged(format!("it holds `{name}`")))?;
                    for line in self.text(&mut entry)?.lines() {
                        let row = of_line(table, line)
                            .ok_or_else(|| self.damaged(format!("a row of {} makes no sense", table.name)))?;
                        to.row(table, &row)?;
                    }
                }
                [PINS] => to.pins(&self.text(&mut entry)?)?,
                [DIGEST] => {
                    let text = self.text(&mut entry)?;
                    return serde_json::from_str(&text).map_err(|error| self.damaged(error.to_string()));
                }
                _ => return Err(self.damaged(format!("it holds `{name}`"))),
            }
        }
        let why = if is_ours { "its end is missing" } else { "`waxseal state backup` did not write it" };
        Err(self.damaged(why))
    }

    fn text(&self, entry: &mut dyn Read) -> Result<String, ExchangeError> {
        let mut text = String::new();
        entry.take(MAX_PIECE).read_to_string(&mut text).map_err(ExchangeError::at(&self.path))?;
        Ok(text)
    }
}

impl Source for Archive {
    fn give(&mut self, to: &mut dyn Sink) -> Result<(), ExchangeError> {
        self.read(to).map(drop)
    }
}
