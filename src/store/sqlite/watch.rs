//! Looks at the database every second for as long as a gateway uses it: whether it can be written, and whether it is damaged.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::database::Database;

const PAUSE: Duration = Duration::from_secs(1);
/// The shortest time between two checks for damage.
const CHECK: Duration = Duration::from_secs(5);
/// Of a large database, checks take this part of one processor.
const PART: u32 = 50;
/// Octets that can be written where there is room.
const TRIAL: [u8; 16 << 10] = [0; 16 << 10];

/// Begins to look. The thread ends with the database.
pub(super) fn start(database: &Arc<Database>) {
    let weak = Arc::downgrade(database);
    let started = thread::Builder::new().name("database".to_owned()).spawn(move || watch(&weak));
    if let Err(error) = started {
        warn!(%error, "no thread to look at the database with: damage is found when it is read");
    }
}

fn watch(database: &Weak<Database>) {
    let (mut is_told, mut check) = (false, Instant::now() + CHECK);
    loop {
        thread::sleep(PAUSE);
        let Some(database) = database.upgrade() else { return };
        if Instant::now() >= check {
            let started = Instant::now();
            database.look_for_damage();
            check = Instant::now() + CHECK.max(started.elapsed() * PART);
        }
        let failed = database.try_writing();
        if let (Err(error), false) = (&failed, is_told) {
            error!(%error, "the database cannot be written: mail that must be held is deferred (451), all other mail goes on");
        }
        is_told = failed.is_err();
    }
}

/// Whether a small file could be written in a folder.
pub(super) fn try_folder(folder: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(folder)?.write_all(&TRIAL)
}
