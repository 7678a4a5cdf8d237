//! A state folder that is copied, or made of a copy.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, params_from_iter};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::claim::LOG;
use super::database::{self, COMPANIONS, FILE, VERSION};
use super::pins::PinFile;
use super::quarantine::{FOLDER, MESSAGE, META, TMP};
use super::{judged, rows};
use crate::disk::beneath::{Folder, own_like};
use crate::store::error::DatabaseError;
use crate::store::exchange::{
    Cell, Departure, Destination, Digest, ExchangeError, Kind, Row, Sink, Source, TABLES, Table,
};
use crate::store::held::{HeldId, StoreError};
use crate::store::json_file::JsonFile;
use crate::store::presence::Presence;
use crate::store::state::SaidPins;

/// What is being made, until it is whole.
const UNFINISHED: &str = "restore.unfinished";
/// Where the state went.
const MOVED: &str = "moved";
const PINS: &str = "pins.json";

/// Where the state of a folder was moved to.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Moved {
    to: Option<String>,
}

/// Sees that a folder has its state: it was not moved, and is no half of a copy.
pub(super) fn check_usable(state: &Path) -> Result<(), DatabaseError> {
    if state.join(UNFINISHED).exists() {
        return Err(DatabaseError::Unfit(format!(
            "{} holds half of a state that was being restored or moved there; run that command again",
            state.display()
        )));
    }
    // A file that makes no sense was not written by us.
    match JsonFile::new(state, MOVED).read::<Moved>() {
        Ok(Moved { to: Some(to) }) => Err(DatabaseError::Moved(to)),
        _ => Ok(()),
    }
}

/// A state folder, as it was when it was opened.
pub(in crate::store) struct FolderSource {
    connection: Connection,
    /// The folder that pins are in.
    state: PathBuf,
    /// Messages that were released or deleted since.
    gone: HashSet<HeldId>,
}

impl FolderSource {
    pub(in crate::store) fn open(state: &Path) -> Result<Self, ExchangeError> {
        check_usable(state)?;
        Self::of(state)
    }

    fn of(state: &Path) -> Result<Self, ExchangeError> {
        let connection = database::open_to_look(state)?;
        if database::version(&connection).map_err(DatabaseError::from)? < VERSION {
            let why = format!(
                "{} is of an earlier version: start the gateway of this version once",
                state.display()
            );
            return Err(DatabaseError::Unfit(why).into());
        }
        connection.execute_batch("BEGIN").map_err(DatabaseError::from)?;
        // From here on, what others write is not seen.
        rows::count(&connection).map_err(DatabaseError::from)?;
        Ok(Self { connection, state: state.to_owned(), gone: HashSet::new() })
    }

    fn folder_of(&self, id: &HeldId) -> io::Result<Folder> {
        Folder::open(&self.state)?.folder(FOLDER)?.folder(id.as_str())
    }

    fn messages(&mut self, to: &mut dyn Sink) -> Result<(), ExchangeError> {
        for id in rows::ids(&self.connection).map_err(DatabaseError::from)? {
            let path = self.state.join(FOLDER).join(id.as_str()).join(MESSAGE);
            let opened = self.folder_of(&id).and_then(|folder| {
                let file = folder.open_file(MESSAGE, OFlags::RDONLY)?;
                Ok((file.metadata()?.len(), file))
            });
            match opened {
                Ok((size, mut file)) => to.message(&id, size, &mut file)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.gone.insert(id);
                }
                Err(error) => return Err(StoreError::at(&path)(error).into()),
            }
        }
        Ok(())
    }

    /// The steps of releases, which are beside the messages.
    fn steps(&self, table: &Table, to: &mut dyn Sink) -> Result<(), ExchangeError> {
        for id in rows::ids(&self.connection).map_err(DatabaseError::from)? {
            if self.gone.contains(&id) {
                continue;
            }
            let text = self.folder_of(&id).and_then(|folder| folder.read(LOG)).unwrap_or_default();
            let whole = text.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
            for line in String::from_utf8_lossy(&text[..whole]).lines().filter(|line| !line.is_empty()) {
                let cells = [id.as_str(), line].map(|text| Cell::Text(text.to_owned()));
                to.row(table, &cells)?;
            }
        }
        Ok(())
    }

    fn table(&self, table: &Table, to: &mut dyn Sink) -> Result<(), ExchangeError> {
        let sql = format!("SELECT {} FROM {} ORDER BY {}", table.list(), table.name, table.order);
        let failed = DatabaseError::from;
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let cell = |(at, (_, kind)): (usize, &(&str, Kind))| {
                Ok(match row.get_ref(at)? {
                    ValueRef::Null => Cell::Nothing,
                    ValueRef::Integer(number) => Cell::Whole(number),
                    ValueRef::Real(number) => Cell::Whole(number as i64),
                    ValueRef::Text(text) if *kind == Kind::Octets => Cell::Octets(text.to_vec()),
                    ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
                    ValueRef::Blob(octets) => Cell::Octets(octets.to_vec()),
                })
            };
            let cells: Row = table
                .columns
                .iter()
                .enumerate()
                .map(cell)
                .collect::<rusqlite::Result<_>>()
                .map_err(failed)?;
            let is_gone = table.name == "held"
                && cells[0].text().is_some_and(|id| id.parse().is_ok_and(|id| self.gone.contains(&id)));
            if !is_gone {
                to.row(table, &cells)?;
            }
        }
        Ok(())
    }
}

impl Source for FolderSource {
    fn give(&mut self, to: &mut dyn Sink) -> Result<(), ExchangeError> {
        self.messages(to)?;
        for table in TABLES {
            match table.name {
                "release" => self.steps(table, to)?,
                _ => self.table(table, to)?,
            }
        }
        let said =
            PinFile::new(&self.state).read().map_err(|error| DatabaseError::Unfit(error.to_string()))?;
        to.pins(&serde_json::to_string(&said).expect("what was said is strings"))
    }
}

/// A state folder that is being made. Nothing of it is in its place before it is whole.
pub(in crate::store) struct NewFolder {
    state: PathBuf,
    unfinished: PathBuf,
    connection: Option<Connection>,
    is_finished: bool,
    _presence: Presence,
}

impl NewFolder {
    pub(in crate::store) fn make(state: &Path) -> Result<Self, ExchangeError> {
        let at = ExchangeError::at;
        crate::store::make_state_folder(state).map_err(at(state))?;
        let presence = Presence::claim(state)?;
        let presence = presence.ok_or_else(|| ExchangeError::InUse(state.display().to_string()))?;
        let unfinished = state.join(UNFINISHED);
        if unfinished.exists() {
            // An earlier attempt was cut short. The folder was empty before it, and no gateway has started since.
            clear(state)?;
        }
        for name in [FILE, PINS, "moved.json"] {
            if fs::symlink_metadata(state.join(name)).is_ok() {
                let why = format!("{name} is there; move what is there elsewhere first");
                return Err(ExchangeError::NotEmpty(state.display().to_string(), why));
            }
        }
        let (held, _) = super::adoption::names(state).map_err(at(state))?;
        if !held.is_empty() {
            let why = format!("{} messages are held there", held.len());
            return Err(ExchangeError::NotEmpty(state.display().to_string(), why));
        }
        for folder in [&unfinished, &unfinished.join(FOLDER), &unfinished.join(FOLDER).join(TMP)] {
            fs::DirBuilder::new().mode(0o700).create(folder).map_err(at(folder))?;
            own(state, folder).map_err(at(folder))?;
        }
        let connection = database::make(&unfinished)?;
        connection.execute_batch("BEGIN").map_err(DatabaseError::from)?;
        Ok(Self {
            state: state.to_owned(),
            unfinished,
            connection: Some(connection),
            is_finished: false,
            _presence: presence,
        })
    }

    fn write(&self, id: &str, name: &str, octets: &mut dyn Read) -> Result<(), ExchangeError> {
        let folder = self.unfinished.join(FOLDER).join(id);
        let path = folder.join(name);
        if !folder.exists() {
            fs::DirBuilder::new().mode(0o700).create(&folder).map_err(ExchangeError::at(&folder))?;
            own(&self.state, &folder).map_err(ExchangeError::at(&folder))?;
        }
        let opened = Folder::open(&folder).and_then(|folder| folder.open_or_make_file(name));
        let (mut file, _) = opened.map_err(ExchangeError::at(&path))?;
        let written =
            io::Seek::seek(&mut file, io::SeekFrom::End(0)).and_then(|_| io::copy(octets, &mut file));
        written.and_then(|_| own_like(&File::open(&self.state)?, &file)).map_err(ExchangeError::at(&path))
    }
}

/// Makes what root has made the property of the folder's owner.
fn own(state: &Path, made: &Path) -> io::Result<()> {
    own_like(&File::open(state)?, &File::open(made)?)
}

/// Removes all that an attempt may have left.
fn clear(state: &Path) -> Result<(), ExchangeError> {
    let companions = COMPANIONS.map(|ending| format!("{FILE}{ending}"));
    let files = [FILE, PINS].into_iter().chain(companions.iter().map(String::as_str));
    for path in files.map(|name| state.join(name)) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ExchangeError::at(&path)(error));
            }
            _ => {}
        }
    }
    // What marks the attempt goes last.
    for path in [state.join(FOLDER), state.join(UNFINISHED)] {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ExchangeError::at(&path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Sink for NewFolder {
    fn message(&mut self, id: &HeldId, _size: u64, octets: &mut dyn Read) -> Result<(), ExchangeError> {
        self.write(id.as_str(), MESSAGE, octets)
    }

    fn row(&mut self, table: &Table, row: &[Cell]) -> Result<(), ExchangeError> {
        // Ids become names of folders.
        let id = || match row[0].text().map(str::parse::<HeldId>) {
            Some(Ok(id)) => Ok(id),
            _ => Err(DatabaseError::Unfit(format!("a row of {} has no id", table.name))),
        };
        if table.name == "release" {
            let line = format!("{}\n", row[1].text().unwrap_or_default());
            return self.write(id()?.as_str(), LOG, &mut line.as_bytes());
        }
        if table.name == "held" {
            let facts =
                table.columns.iter().position(|(name, _)| *name == "facts").and_then(|at| row[at].text());
            self.write(id()?.as_str(), META, &mut facts.unwrap_or_default().as_bytes())?;
        }
        let Some(connection) = &self.connection else { return Ok(()) };
        let marks = vec!["?"; table.columns.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", table.name, table.list());
        let values = row.iter().map(|cell| match cell {
            Cell::Nothing => Value::Null,
            Cell::Text(text) => Value::from(text.clone()),
            Cell::Whole(number) => Value::from(*number),
            Cell::Octets(octets) => Value::from(octets.clone()),
        });
        let inserted =
            connection.prepare_cached(&sql).and_then(|mut insert| insert.execute(params_from_iter(values)));
        inserted.map_err(DatabaseError::from)?;
        Ok(())
    }

    fn pins(&mut self, said: &str) -> Result<(), ExchangeError> {
        let said: crate::store::Said = serde_json::from_str(said)
            .map_err(|error| DatabaseError::Unfit(format!("the pins make no sense: {error}")))?;
        Ok(JsonFile::new(&self.unfinished, "pins").replace(&said)?)
    }
}

impl Destination for NewFolder {
    fn as_sink(&mut self) -> &mut dyn Sink {
        self
    }

    fn place(&self) -> String {
        self.state.display().to_string()
    }

    fn read_back(&mut self, _read: &Digest, to: &mut dyn Sink) -> Result<(), ExchangeError> {
        if let Some(connection) = self.connection.take() {
            judged::complete(&connection).map_err(DatabaseError::from)?;
            connection
                .execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = delete;")
                .map_err(DatabaseError::from)?;
        }
        FolderSource::of(&self.unfinished)?.give(to)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExchangeError> {
        let at = ExchangeError::at;
        let synced = File::open(&self.unfinished).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
        synced.map_err(at(&self.unfinished))?;
        own(&self.state, &self.unfinished.join(FILE)).map_err(at(&self.unfinished))?;
        let quarantine = self.state.join(FOLDER);
        match fs::remove_dir_all(&quarantine) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&quarantine)(error)),
            _ => {}
        }
        for name in [PINS, FOLDER, FILE] {
            let to = self.state.join(name);
            fs::rename(self.unfinished.join(name), &to).map_err(at(&to))?;
        }
        let sync = || File::open(&self.state).and_then(|folder| folder.sync_all()).map_err(at(&self.state));
        sync()?;
        // From here on it counts.
        fs::remove_dir_all(&self.unfinished).map_err(at(&self.unfinished))?;
        sync()?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        self.connection = None;
        if !self.is_finished
            && let Err(error) = clear(&self.state)
        {
            tracing::warn!(%error, "half of a copy is left; run the command again");
        }
    }
}

/// A state folder that no gateway uses.
pub(in crate::store) struct Leaving {
    state: PathBuf,
    _presence: Presence,
}

impl Leaving {
    pub(in crate::store) fn of(state: &Path) -> Result<Self, ExchangeError> {
        let presence = Presence::claim(state)?;
        let presence = presence.ok_or_else(|| ExchangeError::InUse(state.display().to_string()))?;
        Ok(Self { state: state.to_owned(), _presence: presence })
    }
}

impl Departure for Leaving {
    fn mark(&self, destination: &str) -> Result<(), ExchangeError> {
        Ok(JsonFile::new(&self.state, MOVED).replace(&Moved { to: Some(destination.to_owned()) })?)
    }
}
