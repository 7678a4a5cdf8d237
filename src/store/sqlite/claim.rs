//! A claim on a held message: of all who want to release or delete it, one may at a time. What was handed to the next hop
//! is noted beside the message before its end goes out and again when the reply is there, so that whoever comes after a
//! crash knows for whom it was delivered, and for whom that cannot be known. The database has the deed, and how it is with the
//! message.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::quarantine::QuarantineFolder;
use super::{deeds, rows};
use crate::disk::beneath::Folder;
use crate::store::audit::{By, Deed};
use crate::store::held::{Held, HeldId, Release, Releases, Removal, StoreError};
use crate::store::state::{Claim, Quarantine};

pub(super) const LOG: &str = "release.jsonl";

/// The right to release or delete one message; it ends with this value, or with the process.
#[derive(Debug)]
pub(super) struct FolderClaim {
    quarantine: QuarantineFolder,
    id: HeldId,
    path: PathBuf,
    log: File,
    releases: Releases,
    held: Held,
    by: By,
}

impl FolderClaim {
    pub(super) fn on(quarantine: &QuarantineFolder, id: &HeldId, by: &By) -> Result<Self, StoreError> {
        let path = quarantine.folder_of(id).join(LOG);
        let folder = quarantine.open_folder_of(id)?;
        let (mut log, is_new) = folder.open_or_make_file(LOG).map_err(StoreError::of(id, &path))?;
        if is_new {
            folder.sync().map_err(StoreError::at(&path))?;
        }
        match log.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Claimed(id.clone())),
            Err(TryLockError::Error(error)) => return Err(StoreError::at(&path)(error)),
        }
        // Whoever had it before may have released it while we opened the log.
        let there =
            quarantine.open_folder_of(id).and_then(|folder| folder.look(LOG).map_err(StoreError::at(&path)));
        let is_here = match (there, log.metadata()) {
            (Ok(there), Ok(ours)) => there.number == ours.ino(),
            _ => false,
        };
        if !is_here {
            return Err(StoreError::UnknownId(id.clone()));
        }
        let mut text = Vec::new();
        log.read_to_end(&mut text).map_err(StoreError::at(&path))?;
        let (releases, whole) = read(&text);
        log.set_len(whole).map_err(StoreError::at(&path))?;
        log.seek(SeekFrom::End(0)).map_err(StoreError::at(&path))?;
        let held = quarantine.show(id)?.held;
        Ok(Self { quarantine: quarantine.clone(), id: id.clone(), path, log, releases, held, by: by.clone() })
    }

    /// Writes a step down beside the message.
    fn write(&mut self, step: &Release) -> Result<(), StoreError> {
        let mut line =
            serde_json::to_vec(step).map_err(|source| StoreError::Damaged { id: self.id.clone(), source })?;
        line.push(b'\n');
        let written = self.log.write_all(&line).and_then(|()| self.log.sync_all());
        written.map_err(StoreError::at(&self.path))
    }

    /// Writes down in the database what a step means.
    fn enter(&self, step: &Release, releases: &Releases) -> Result<(), StoreError> {
        let deeds = Deed::of_step(step, &self.id, &self.held, &self.by);
        self.quarantine.change(|connection| {
            rows::mark(connection, &self.id, releases)?;
            deeds.iter().try_for_each(|deed| deeds::note(connection, deed))
        })
    }
}

impl Claim for FolderClaim {
    fn releases(&self) -> &Releases {
        &self.releases
    }

    fn note(&mut self, step: Release) -> Result<(), StoreError> {
        let mut releases = self.releases.clone();
        releases.take(step.clone());
        if matches!(step, Release::Answered { .. }) {
            // What the next hop did is done, whether or not the database can be written.
            self.write(&step)?;
            self.releases = releases;
            self.enter(&step, &self.releases)
        } else {
            // Nothing is done that cannot be put on record.
            self.enter(&step, &releases)?;
            self.write(&step)?;
            self.releases = releases;
            Ok(())
        }
    }

    fn delete(self: Box<Self>, why: Removal) -> Result<(), StoreError> {
        let deed = Deed::removing(&self.id, &self.held, why, &self.by);
        self.quarantine.remove(&self.id, deed.as_ref())
    }
}

/// The log's lines, and how many octets they have; one that was not finished was not acted upon.
fn read(text: &[u8]) -> (Releases, u64) {
    let mut releases = Releases::default();
    let whole = text.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    for line in text[..whole].split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
        if let Ok(event) = serde_json::from_slice(line) {
            releases.take(event);
        }
    }
    (releases, whole as u64)
}

/// What is known of attempts to release a message, for those who only look.
pub(super) fn look(folder: &Folder) -> Releases {
    folder.read(LOG).map(|text| read(&text).0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::{self, OpenOptions};

    use std::sync::Arc;

    use super::super::database::Database;
    use super::*;

    fn serving(state: &std::path::Path) -> QuarantineFolder {
        crate::store::sqlite::quarantine::make_and_clean(state).unwrap();
        QuarantineFolder::new(Arc::new(Database::open_to_serve(state).unwrap()))
    }

    fn held(quarantine: &QuarantineFolder) -> HeldId {
        let held: Held = serde_json::from_str(
            r#"{"listener": "inbound", "received": "2026-11-23T06:11:12Z", "client": "192.0.2.1", "reverse_path": "",
                "recipients": ["a@example.org", "b@example.org", "c@example.org"], "verdict": "fail", "reason": null,
                "summary": "", "message_id": null, "size": 0}"#,
        )
        .unwrap();
        quarantine.hold(&crate::store::Quotas::default(), &held, &[], &mut &b"x"[..]).unwrap().id
    }

    #[test]
    fn one_at_a_time() {
        let state = tempfile::tempdir().unwrap();
        let quarantine = serving(state.path());
        let id = held(&quarantine);
        let claim = quarantine.claim(&id, &By::default()).unwrap();
        assert!(matches!(quarantine.claim(&id, &By::default()), Err(StoreError::Claimed(_))));
        assert!(matches!(quarantine.delete(&id, &By::default()), Err(StoreError::Claimed(_))));
        drop(claim);
        quarantine.claim(&id, &By::default()).unwrap().delete(Removal::Deleted).unwrap();
        assert!(matches!(quarantine.claim(&id, &By::default()), Err(StoreError::UnknownId(_))));
    }

    /// Root releases and deletes in a folder that is the gateway's user's.
    #[test]
    fn a_link_in_the_logs_place_leads_nowhere() {
        let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let quarantine = serving(state.path());
        let id = held(&quarantine);
        let target = elsewhere.path().join("target");
        fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, quarantine.folder_of(&id).join(LOG)).unwrap();
        assert!(quarantine.claim(&id, &By::default()).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    }

    #[test]
    fn what_cannot_be_known_is_in_doubt_after_a_crash() {
        let state = tempfile::tempdir().unwrap();
        let quarantine = serving(state.path());
        let id = held(&quarantine);
        let releases = |quarantine: &QuarantineFolder| {
            let claim = quarantine.claim(&id, &By::default()).unwrap();
            let releases = claim.releases();
            let in_doubt: Vec<usize> = releases.in_doubt.keys().copied().collect();
            (releases.delivered.iter().copied().collect::<Vec<_>>(), in_doubt)
        };
        assert_eq!(releases(&quarantine), (vec![], vec![]));
        quarantine.claim(&id, &By::default()).unwrap().sending(&[0, 1, 2]).unwrap();
        assert_eq!(releases(&quarantine), (vec![], vec![0, 1, 2]));
        // A line that a crash cut short says nothing.
        let path = quarantine.folder_of(&id).join(LOG);
        let mut log = OpenOptions::new().append(true).open(&path).unwrap();
        log.write_all(br#"{"event":"answered","at":"2026-11-23T06"#).unwrap();
        assert_eq!(releases(&quarantine), (vec![], vec![0, 1, 2]));
        quarantine.claim(&id, &By::default()).unwrap().answered(&[0], &[1], None).unwrap();
        assert_eq!(releases(&quarantine), (vec![0], vec![2]));
        assert_eq!(quarantine.releases(&id).unwrap().delivered, BTreeSet::from([0]));
    }
}
