//! The database file, `<state>/memory.sqlite`: SQLite in WAL mode, one writer, any number of readers, in this process or
//! in another.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

use crate::disk::beneath::Folder;

const FILE: &str = "memory.sqlite";

/// What SQLite puts beside it.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The form of the tables.
const VERSION: i64 = 1;

/// How long to wait for another process that writes; each of ours takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the database could not be used. No mail waits for it.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// SQLite says no.
    #[error("the database cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Its file cannot be made or moved.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A later version of waxseal made it.
    #[error("the database has form {0}, made by a later version of waxseal")]
    Later(i64),
    /// The gateway has not made it yet.
    #[error("nothing is remembered yet: {} is not there", .0.display())]
    None(PathBuf),
}

/// Which domains give way to others: those that were never pinned, nor seen over more than 3 days.
pub(super) const GIVES_WAY: &str = "pinned = 0 AND last_seen - first_seen < 259200";

const SCHEMA: &str = "
    CREATE TABLE domain (
        name TEXT PRIMARY KEY,
        organisation TEXT NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        pass1 INTEGER, pass2 INTEGER, pass3 INTEGER,
        pinned INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE INDEX domain_by_organisation ON domain (organisation);
    CREATE INDEX domain_by_age ON domain (last_seen);
    CREATE TABLE key (
        domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
        key BLOB NOT NULL,
        selector TEXT NOT NULL,
        state TEXT NOT NULL,
        is_root INTEGER NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        PRIMARY KEY (domain, key)
    ) WITHOUT ROWID;
    CREATE TABLE tally (
        domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
        verdict TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (domain, verdict)
    ) WITHOUT ROWID;
    CREATE TABLE judged (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        record TEXT NOT NULL
    );
    CREATE INDEX judged_by_time ON judged (at);
    CREATE TABLE daily (
        day INTEGER NOT NULL,
        verdict TEXT NOT NULL,
        asked TEXT NOT NULL,
        done TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (day, verdict, asked, done)
    ) WITHOUT ROWID;
";

/// Where the database is. SQLite follows no link on the way there, so those that the administrator made are followed here.
pub(super) fn path(state: &Path) -> PathBuf {
    fs::canonicalize(state).unwrap_or_else(|_| state.to_owned()).join(FILE)
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

/// The database for the gateway: made if it is missing (mode 0600). A damaged one is put aside, so that mail goes on with
/// an empty memory rather than not at all.
pub(super) fn open_or_make(state: &Path) -> Result<Connection, DatabaseError> {
    let path = path(state);
    match try_open_or_make(&path) {
        Err(DatabaseError::Sqlite(error)) if is_damage(&error) => {
            let aside = path.with_extension(format!("damaged-{}", jiff::Timestamp::now().as_second()));
            tracing::error!(%error, aside = %aside.display(), "the memory is damaged; it is put aside, and all is forgotten");
            fs::rename(&path, &aside).map_err(|source| DatabaseError::Io { path: path.clone(), source })?;
            for suffix in ["-wal", "-shm"] {
                let mut name = path.clone().into_os_string();
                name.push(suffix);
                // What belongs to the damaged file would damage the new one.
                let _ = fs::remove_file(PathBuf::from(name));
            }
            try_open_or_make(&path)
        }
        result => result,
    }
}

fn try_open_or_make(path: &Path) -> Result<Connection, DatabaseError> {
    let io = |source| DatabaseError::Io { path: path.to_owned(), source };
    // SQLite's other files take its mode.
    let folder = path.parent().unwrap_or(Path::new("."));
    Folder::open(folder).and_then(|folder| folder.open_or_make_file(FILE)).map_err(io)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    let soundness: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if soundness != "ok" {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(error, Some(soundness)).into());
    }
    if version(&connection)? == 0 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    // Else a memory that is full of old acquaintances is searched from end to end for each newcomer.
    connection.execute_batch(&format!(
        "CREATE INDEX IF NOT EXISTS domain_giving_way ON domain (last_seen) WHERE {GIVES_WAY}"
    ))?;
    Ok(connection)
}

/// The database for commands: nothing is created, so none of it can belong to the wrong user.
pub(super) fn open(state: &Path) -> Result<Connection, DatabaseError> {
    let path = path(state);
    if !path.exists() {
        return Err(DatabaseError::None(path));
    }
    connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// The database to look things up in.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, DatabaseError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
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
        later if later > VERSION => Err(DatabaseError::Later(later)),
        _ => Ok(connection),
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
