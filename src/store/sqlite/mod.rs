//! The adapter `sqlite`: a database file, and files beside it, all in one state folder that one gateway at a time uses.

mod accounts;
mod adoption;
mod claim;
mod database;
mod deeds;
pub(super) mod exchange;
mod judged;
mod ledger;
mod memories;
mod memory;
mod outbox;
mod pins;
mod probes;
mod quarantine;
mod rows;
mod salvage;
mod watch;

use std::path::Path;
use std::sync::Arc;

use self::database::{Access, Database};
use self::pins::PinFile;
use self::probes::ProbeFolder;
use self::quarantine::QuarantineFolder;
use super::state::{OpenError, State};

/// Who writes deeds: the one gateway of a folder.
const GATEWAY: &str = "gateway";

pub(super) fn open_to_serve(folder: &Path) -> Result<State, OpenError> {
    exchange::check_usable(folder)?;
    quarantine::make_and_clean(folder).map_err(OpenError::Quarantine)?;
    let database = Arc::new(Database::open_to_serve(folder)?);
    watch::start(&database);
    Ok(bundle(folder, database))
}

pub(super) fn open(folder: &Path) -> State {
    bundle(folder, Arc::new(Database::new(folder, Access::Change)))
}

pub(super) fn open_to_look(folder: &Path) -> State {
    bundle(folder, Arc::new(Database::new(folder, Access::Look)))
}

fn bundle(folder: &Path, database: Arc<Database>) -> State {
    State {
        quarantine: Arc::new(QuarantineFolder::new(Arc::clone(&database))),
        memories: Arc::clone(&database) as _,
        judgements: Arc::clone(&database) as _,
        messages: Arc::clone(&database) as _,
        outbox: Arc::clone(&database) as _,
        audit: Arc::clone(&database) as _,
        accounts: database,
        pins: Arc::new(PinFile::new(folder)),
        probes: Arc::new(ProbeFolder::new(folder)),
    }
}
