//! The database file, `<state>/memory.sqlite`: SQLite in WAL mode, one writer, any number of readers, in this process or
//! in another.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use refinery::embed_migrations;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tracing::{error, info, warn};

use super::adoption::{self, Reconciled};
use super::salvage::salvage;
use super::{judged, outbox, watch};
use crate::disk::beneath::Folder;
use crate::store::error::{DatabaseError, Fault};
use crate::store::held::HeldId;

embed_migrations!("src/store/sqlite/migrations");

pub(super) const FILE: &str = "memory.sqlite";

/// What SQLite puts beside it.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The form of the tables: the number of the last migration, which writes it down as `user_version`.
pub(super) const VERSION: i64 = 6;

/// The form that was released before migrations were noted in the database.
const UNNOTED: i64 = 1;

/// How long to wait for another process that writes; each of ours takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that are kept to look things up with.
const MAX_READERS: usize = 4;

/// Which domains give way to others: those that were never pinned, nor seen over more than 3 days.
pub(super) const GIVES_WAY: &str = "pinned = 0 AND last_seen - first_seen < 259200";

/// What somebody may do with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The gateway makes it, and mends it.
    Serve,
    /// Commands change what is there.
    Change,
    /// Nothing is changed.
    Look,
}

/// The database, opened when it is needed.
#[derive(Debug)]
pub(super) struct Database {
    state: PathBuf,
    path: PathBuf,
    access: Access,
    writer: Mutex<Option<Connection>>,
    readers: Mutex<Vec<Connection>>,
    /// Whether it could be written when that was tried last.
    is_open: AtomicBool,
    /// Whether somebody read what makes no sense.
    is_suspect: AtomicBool,
    /// The number of the file that is open to write.
    file: AtomicU64,
    news: Mutex<News>,
}

/// What an administrator should know of the database, and was not told yet.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Held messages that got a row.
    pub(super) adopted: Vec<HeldId>,
    /// That the database was damaged, and what became of it.
    pub(super) mended: Option<String>,
}

impl Database {
    /// The database of a state folder; it need not be there.
    pub(super) fn new(state: &Path, access: Access) -> Self {
        Self {
            state: state.to_owned(),
            path: path(state),
            access,
            writer: Mutex::default(),
            readers: Mutex::default(),
            is_open: AtomicBool::new(false),
            is_suspect: AtomicBool::new(false),
            file: AtomicU64::new(0),
            news: Mutex::default(),
        }
    }

    /// The same for the gateway: made if it is missing. Where it cannot be opened, every look-up fails until it can: it is
    /// tried again whenever something is written.
    /// One that a later version has made is left alone.
    pub(super) fn open_to_serve(state: &Path) -> Result<Self, DatabaseError> {
        let database = Self::new(state, Access::Serve);
        match database.open_and_reconcile() {
            Ok(connection) => {
                outbox::end_leases(&connection)?;
                *database.writer() = Some(connection);
                database.file.store(number(&database.path), Ordering::Relaxed);
                database.is_open.store(true, Ordering::Relaxed);
            }
            Err(error @ DatabaseError::Later { .. }) => return Err(error),
            Err(error) => error!(%error, "memory cannot be opened; it is tried again"),
        }
        Ok(database)
    }

    /// Whether it could be written when that was tried last.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Looks something up.
    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let kept = self.readers().pop();
        let connection = kept.map_or_else(|| self.open_to_read(), Ok)?;
        // A connection that failed is not kept: the next one may find the database mended.
        let answer = query(&connection).inspect_err(|error| {
            if error.fault() == Some(Fault::Damaged) {
                self.is_suspect.store(true, Ordering::Relaxed);
            }
        })?;
        let mut readers = self.readers();
        if readers.len() < MAX_READERS {
            readers.push(connection);
        }
        Ok(answer)
    }

    /// Changes something, while nobody else in this process does.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&mut Connection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut writer = self.writer();
        if self.access != Access::Serve {
            let connection = match &mut *writer {
                Some(connection) => connection,
                None => writer.insert(self.open_to_read()?),
            };
            return change(connection);
        }
        let changed = self.current(&mut writer).and_then(change);
        match &changed {
            Ok(_) if self.is_open.swap(true, Ordering::Relaxed) => {}
            Ok(_) => info!("memory can be used again"),
            Err(error) => {
                self.is_open.store(false, Ordering::Relaxed);
                if error.fault() == Some(Fault::Damaged) {
                    self.is_suspect.store(true, Ordering::Relaxed);
                }
            }
        }
        changed
    }

    /// The gateway's connection to write with. A file that somebody replaced or removed is let go, for what is written to it would
    /// be lost; and one that seems to be damaged is opened anew, which puts it aside if it is.
    fn current<'a>(&self, writer: &'a mut Option<Connection>) -> Result<&'a mut Connection, DatabaseError> {
        if writer.is_some() {
            let is_replaced = number(&self.path) != self.file.load(Ordering::Relaxed);
            if is_replaced {
                warn!(file = %self.path.display(), "the memory was replaced or removed; what is there now is opened");
            }
            if self.is_suspect.load(Ordering::Relaxed) || is_replaced {
                *writer = None;
                self.readers().clear();
            }
        }
        match writer {
            Some(connection) => Ok(connection),
            None => {
                let connection = self.open_and_reconcile()?;
                self.file.store(number(&self.path), Ordering::Relaxed);
                self.is_suspect.store(false, Ordering::Relaxed);
                self.readers().clear();
                Ok(writer.insert(connection))
            }
        }
    }

    /// Opens it for the gateway, mended if need be, with a row for each held message.
    fn open_and_reconcile(&self) -> Result<Connection, DatabaseError> {
        let (mut connection, mended) = open_or_mend(&self.state)?;
        complete(&mut connection)?;
        let reconciled = adoption::reconcile(&mut connection, &self.state);
        let mut news = self.news();
        news.mended = mended.or(news.mended.take());
        match reconciled {
            Ok(Reconciled { adopted, lost, damaged }) => {
                for id in &adopted {
                    warn!(%id, "a held message was unknown to the database; it is listed again");
                }
                for id in &lost {
                    error!(%id, "the folder of a held message is gone, and the message with it");
                }
                for error in &damaged {
                    error!(%error, "a held message cannot be read");
                }
                news.adopted.extend(adopted);
            }
            Err(error) => error!(%error, "held messages cannot be compared with the database"),
        }
        Ok(connection)
    }

    /// What the administrator was not told yet.
    pub(super) fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state folder.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// Looks for damage; if there is any, the next to write puts the file aside.
    pub(super) fn look_for_damage(&self) {
        // What the other connections have read is in their memory, sound or not.
        let found =
            connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|connection| check(&connection));
        match found {
            Ok(Some(damage)) => {
                error!(damage, file = %self.path.display(), "the database is damaged");
                self.is_suspect.store(true, Ordering::Relaxed);
            }
            Err(error) if error.fault() == Some(Fault::Damaged) => {
                error!(%error, file = %self.path.display(), "the database is damaged");
                self.is_suspect.store(true, Ordering::Relaxed);
            }
            Ok(None) | Err(_) => {}
        }
    }

    /// Sees whether the database and its disk can be written; nothing stays behind. Does nothing while somebody writes.
    pub(super) fn try_writing(&self) -> Result<(), DatabaseError> {
        if matches!(self.writer.try_lock(), Err(TryLockError::WouldBlock)) {
            return Ok(());
        }
        if let Err(source) = watch::try_folder(&self.state) {
            self.is_open.store(false, Ordering::Relaxed);
            let fault = match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full,
                io::ErrorKind::ReadOnlyFilesystem => Fault::ReadOnly,
                _ => Fault::Away,
            };
            return Err(DatabaseError::failed(fault, format!("{}: {source}", self.state.display())));
        }
        self.write(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("UPDATE letter_more SET count = count", [])?;
            Ok(transaction.rollback()?)
        })
    }

    fn open_to_read(&self) -> Result<Connection, DatabaseError> {
        match self.access {
            Access::Serve => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY),
            Access::Change => open(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE),
            Access::Look => open(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY),
        }
    }

    fn writer(&self) -> MutexGuard<'_, Option<Connection>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        Self::failed(fault_of(&error), error)
    }
}

/// Gives judged messages what they are found by, where they have nothing yet.
fn complete(connection: &mut Connection) -> Result<(), DatabaseError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let completed = judged::complete(&transaction)?;
    transaction.commit()?;
    if completed > 0 {
        info!(
            messages = completed,
            "judged messages of an earlier version, or of a copy, can be searched now"
        );
    }
    Ok(())
}

/// Where the database is. SQLite follows no link on the way there, so those that the administrator made are followed here.
fn path(state: &Path) -> PathBuf {
    fs::canonicalize(state).unwrap_or_else(|_| state.to_owned()).join(FILE)
}

/// What tells a file from another one that takes its place; 0 where there is none.
fn number(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |file| file.ino())
}

/// Sees that neither the database nor what SQLite puts beside it is a link or a FIFO.
fn check_files(path: &Path) -> Result<(), DatabaseError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let io = |path: PathBuf| move |source| DatabaseError::Io { path, source };
    let opened = Folder::open(folder).map_err(io(folder.to_owned()))?;
    for name in std::iter::once(FILE.to_owned()).chain(COMPANIONS.map(|ending| format!("{FILE}{ending}"))) {
        match opened.look(&name) {
            Ok(found) if !found.kind.is_file() => {
                let error = io::Error::other("it is a link, or no file");
                return Err(io(folder.join(name))(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The database for the gateway: made if it is missing (mode 0600). A damaged one is put aside, and what can be read of it is
/// copied, so that mail goes on. Tells what was done about damage.
fn open_or_mend(state: &Path) -> Result<(Connection, Option<String>), DatabaseError> {
    let path = path(state);
    match try_open_or_make(&path) {
        Err(error @ DatabaseError::Failed { fault: Fault::Damaged, .. }) => {
            let aside = path.with_extension(format!("damaged-{}", jiff::Timestamp::now().as_second()));
            fs::rename(&path, &aside).map_err(|source| DatabaseError::Io { path: path.clone(), source })?;
            for ending in COMPANIONS {
                // What was written last is there. What cannot be moved would damage the new database.
                let beside = beside(&path, ending);
                if fs::rename(&beside, self::beside(&aside, ending)).is_err() {
                    let _ = fs::remove_file(beside);
                }
            }
            let mut connection = try_open_or_make(&path)?;
            let salvaged = salvage(&aside, &mut connection).unwrap_or_else(|error| {
                warn!(%error, "nothing can be read of the damaged database");
                0
            });
            error!(%error, aside = %aside.display(), salvaged, "the database was damaged and put aside; the rows that could be read were copied");
            let told = format!(
                "The database was damaged ({error}). It was put aside as {}, and {salvaged} rows that could be read were copied into a new one.",
                aside.display()
            );
            Ok((connection, Some(told)))
        }
        result => Ok((result?, None)),
    }
}

/// The name of what SQLite puts beside a database.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    PathBuf::from(name)
}

/// A new database, for a copy.
pub(super) fn make(folder: &Path) -> Result<Connection, DatabaseError> {
    try_open_or_make(&path(folder))
}

/// The database for those who only look.
pub(super) fn open_to_look(state: &Path) -> Result<Connection, DatabaseError> {
    open(&path(state), OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// The database for the gateway, for tests.
#[cfg(test)]
pub(super) fn open_or_make(state: &Path) -> Result<Connection, DatabaseError> {
    Ok(open_or_mend(state)?.0)
}

/// What is wrong with a database, by its own check.
pub(super) fn check(connection: &Connection) -> Result<Option<String>, DatabaseError> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// A database in memory, for what is not in the file or cannot be read from it.
pub(super) fn in_memory() -> Result<Connection, DatabaseError> {
    let mut connection = Connection::open_in_memory()?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn try_open_or_make(path: &Path) -> Result<Connection, DatabaseError> {
    let io = |source| DatabaseError::Io { path: path.to_owned(), source };
    // SQLite's other files take its mode.
    let folder = path.parent().unwrap_or(Path::new("."));
    Folder::open(folder).and_then(|folder| folder.open_or_make_file(FILE)).map_err(io)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    if let Some(damage) = check(&connection)? {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(error, Some(damage)).into());
    }
    migrate(&mut connection)?;
    Ok(connection)
}

/// Makes the tables, or brings those of an earlier version forward.
fn migrate(connection: &mut Connection) -> Result<(), DatabaseError> {
    let found = version(connection)?;
    if found == VERSION {
        return Ok(());
    }
    // One transaction for each run: without it a migration and the note of it are two, and a crash between them has it run twice.
    let runner = migrations::runner().set_grouped(true);
    let failed = |error: refinery::Error| DatabaseError::failed(fault(&error), error);
    if found == UNNOTED {
        let version = refinery::SchemaVersion::try_from(UNNOTED).unwrap_or_default();
        let noting =
            migrations::runner().set_grouped(true).set_target(refinery::Target::FakeVersion(version));
        noting.run(connection).map_err(failed)?;
    }
    runner.run(connection).map_err(failed)?;
    if found > 0 {
        info!(from = found, to = VERSION, "the database memory.sqlite was brought forward");
    }
    Ok(())
}

/// In what way SQLite failed beneath another error.
fn fault(error: &(dyn std::error::Error + 'static)) -> Fault {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|cause| cause.downcast_ref::<rusqlite::Error>()).map_or(Fault::Other, fault_of)
}

fn fault_of(error: &rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Damaged,
        Some(ErrorCode::DiskFull) => Fault::Full,
        Some(ErrorCode::ReadOnly) => Fault::ReadOnly,
        Some(ErrorCode::DatabaseBusy | ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => Fault::Away,
        _ => Fault::Other,
    }
}

/// The database for commands: nothing is created, so none of it can belong to the wrong user.
fn open(path: &Path, flags: OpenFlags) -> Result<Connection, DatabaseError> {
    if !path.exists() {
        return Err(DatabaseError::None(format!("{} is not there", path.display())));
    }
    connect(path, flags)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, DatabaseError> {
    check_files(path)?;
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What was written survives a power cut; it is written in batches, where no mail waits for it.
    connection.pragma_update(None, "synchronous", "full")?;
    match version(&connection)? {
        found if found > VERSION => {
            Err(DatabaseError::Later { database: path.display().to_string(), found, known: VERSION })
        }
        _ => Ok(connection),
    }
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::store::Memories;

    /// Without a restart: a damaged file is put aside, and one that was replaced or removed is opened anew.
    #[test]
    fn a_database_that_is_damaged_or_replaced_while_it_is_used_is_opened_anew() {
        let state = tempfile::tempdir().unwrap();
        let database = Database::open_to_serve(state.path()).unwrap();
        let aside = || {
            let names = fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().contains("damaged-")).count()
        };
        let works = || database.record(&[]).is_ok() && database.recall(&[], 0).is_ok();
        assert!(works());
        // What lies in the log of changes goes into the file, which is then overwritten.
        connect(&database.path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .unwrap()
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        let length = usize::try_from(fs::metadata(&database.path).unwrap().len()).unwrap();
        let mut file = fs::OpenOptions::new().write(true).open(&database.path).unwrap();
        file.write_all(&vec![0x5a; length]).unwrap();
        let domain = "a.example".parse().unwrap();
        assert!(
            (0..3).any(|_| database.recall(std::slice::from_ref(&domain), 0).is_err()
                || database.record(&[]).is_err())
        );
        assert!((0..3).any(|_| works()), "it does not come back");
        assert_eq!(aside(), 1);

        for name in [FILE.to_owned(), format!("{FILE}-wal"), format!("{FILE}-shm")] {
            let _ = fs::remove_file(state.path().join(name));
        }
        assert!(works());
        assert!(database.path.exists() && database.is_open());
        assert_eq!(aside(), 1);
    }

    #[test]
    fn the_last_migration_makes_the_form_that_is_known() {
        let last = migrations::runner().get_migrations().iter().map(|one| i64::from(one.version())).max();
        assert_eq!(last, Some(VERSION));
        let state = tempfile::tempdir().unwrap();
        assert_eq!(version(&open_or_make(state.path()).unwrap()).unwrap(), VERSION);
    }
}
