//! The adapter `sqlite`: a database file, and files beside it, all in one state folder that one gateway at a time uses.

mod claim;
mod database;
mod judged;
mod ledger;
mod memories;
mod memory;
mod outbox;
mod pins;
mod probes;
mod quarantine;

use std::path::Path;
use std::sync::Arc;

use self::database::{Access, Database};
use self::pins::PinFile;
use self::probes::ProbeFolder;
use self::quarantine::QuarantineFolder;
use super::state::{OpenError, State};

pub(super) fn open_to_serve(folder: &Path) -> Result<State, OpenError> {
    let quarantine = QuarantineFolder::open_and_clean(folder).map_err(OpenError::Quarantine)?;
    Ok(bundle(folder, quarantine, Database::open_to_serve(folder)?))
}

pub(super) fn open(folder: &Path) -> State {
    bundle(folder, QuarantineFolder::open(folder), Database::new(folder, Access::Change))
}

pub(super) fn open_to_look(folder: &Path) -> State {
    bundle(folder, QuarantineFolder::open(folder), Database::new(folder, Access::Look))
}

fn bundle(folder: &Path, quarantine: QuarantineFolder, database: Database) -> State {
    let database = Arc::new(database);
    State {
        memories: Arc::clone(&database) as _,
        judgements: Arc::clone(&database) as _,
        outbox: Arc::clone(&database) as _,
        audit: database,
        quarantine: Arc::new(quarantine),
        pins: Arc::new(PinFile::new(folder)),
        probes: Arc::new(ProbeFolder::new(folder)),
    }
}
