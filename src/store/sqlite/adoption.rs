//! Brings the database and the quarantine's folder together: each message has a row and a folder. The folder's `meta.json` and
//! `release.jsonl` say what the row says, so that a database that was lost, or is older, gets its rows anew.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use super::quarantine::{FOLDER, MESSAGE, META, TMP};
use super::{GATEWAY, claim, deeds, rows};
use crate::disk::beneath::Folder;
use crate::store::audit::{By, Deed, What};
use crate::store::error::DatabaseError;
use crate::store::held::{Held, HeldId, Releases, StoreError};

/// What a folder tells of its message.
pub(super) fn read(folder: &Folder, id: &HeldId, place: &Path) -> Result<(Held, Releases), StoreError> {
    let path = place.join(META);
    let meta = folder.read(META).map_err(StoreError::of(id, &path))?;
    let mut held: Held =
        serde_json::from_slice(&meta).map_err(|source| StoreError::Damaged { id: id.clone(), source })?;
    held.size = folder.look(MESSAGE).map_err(StoreError::of(id, &place.join(MESSAGE)))?.length;
    Ok((held, claim::look(folder)))
}

/// What lies in the quarantine's folder: ids of messages, and other names.
pub(super) fn names(state: &Path) -> io::Result<(Vec<HeldId>, Vec<String>)> {
    let (mut ids, mut others) = (Vec::new(), Vec::new());
    let names = match Folder::open(state).and_then(|state| state.folder(FOLDER)?.names()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((ids, others)),
        names => names?,
    };
    for name in names {
        let name = name.to_string_lossy().into_owned();
        match name.parse() {
            Ok(id) => ids.push(id),
            Err(_) if name == TMP => {}
            Err(_) => others.push(name),
        }
    }
    Ok((ids, others))
}

/// What was done to bring both together.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    /// Messages that got a row.
    pub(super) adopted: Vec<HeldId>,
    /// Messages whose row went, because their folder was gone.
    pub(super) lost: Vec<HeldId>,
    /// Messages that cannot be read.
    pub(super) damaged: Vec<StoreError>,
}

/// Makes the rows that are missing, and removes those without a folder.
pub(super) fn reconcile(connection: &mut Connection, state: &Path) -> Result<Reconciled, DatabaseError> {
    let place = state.join(FOLDER);
    let (there, _) = names(state).map_err(|source| DatabaseError::Io { path: place.clone(), source })?;
    let known: HashSet<HeldId> = rows::ids(connection)?.into_iter().collect();
    let mut reconciled = Reconciled::default();
    let by = By::user(GATEWAY);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for id in there.iter().filter(|id| !known.contains(id)) {
        let folder = Folder::open(state).and_then(|state| state.folder(FOLDER)?.folder(id.as_str()));
        let folder_place = place.join(id.as_str());
        let found =
            folder.map_err(StoreError::of(id, &folder_place)).and_then(|f| read(&f, id, &folder_place));
        match found {
            Ok((held, releases)) => {
                rows::insert(&transaction, id, GATEWAY, &held, &releases)?;
                let message_id = held.message_id.as_deref();
                deeds::note(
                    &transaction,
                    &Deed::to_held(id, message_id, What::Adopted, &by, Timestamp::now()),
                )?;
                reconciled.adopted.push(id.clone());
            }
            // Released or deleted meanwhile.
            Err(StoreError::UnknownId(_)) => {}
            Err(error) => reconciled.damaged.push(error),
        }
    }
    let there: HashSet<&HeldId> = there.iter().collect();
    for id in known.iter().filter(|id| !there.contains(id)) {
        let message_id = deeds::message_id(&transaction, id)?;
        rows::remove(&transaction, id)?;
        deeds::note(
            &transaction,
            &Deed::to_held(id, message_id.as_deref(), What::Lost, &by, Timestamp::now()),
        )?;
        reconciled.lost.push(id.clone());
    }
    transaction.commit()?;
    Ok(reconciled)
}
