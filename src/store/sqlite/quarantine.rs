//! The quarantine: held messages on disk, one folder each, under `<state>/quarantine/`, and a row for each in the database.
//!
//! `<id>/message.eml` holds the exact octets, `<id>/meta.json` what is known of them. A message is put together in `tmp/` and renamed
//! once every octet is on disk, so a folder with an id for a name is always whole. It is held once its row is written, in the
//! transaction of the letters about it. The row is what lists and filters read; `meta.json` and `release.jsonl` are a copy of it.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};
use rustix::fs::OFlags;

use super::claim::{self, FolderClaim};
use super::database::{Database, VERSION, in_memory, version};
use super::ledger::Ledger;
use super::{GATEWAY, adoption, deeds, exchange, outbox, rows, watch};
use crate::disk::beneath::Folder;
use crate::store::audit::{By, Deed};
use crate::store::error::{DatabaseError, Fault};
use crate::store::filling::Share;
use crate::store::held::{
    Filter, Held, HeldId, HoldError, Incomplete, Kept, Listed, Listing, Missing, Releases, StoreError, Usage,
};
use crate::store::index::{Wanted, seconds};
use crate::store::outbox::Letter;
use crate::store::quota::Quotas;
use crate::store::state::{Claim, Quarantine};

pub(super) const MESSAGE: &str = "message.eml";
pub(super) const META: &str = "meta.json";
pub(super) const TMP: &str = "tmp";
pub(super) const FOLDER: &str = "quarantine";

/// The quarantine under a state folder. All calls block until the disk has answered.
#[derive(Clone, Debug)]
pub(super) struct QuarantineFolder {
    folder: PathBuf,
    pub(super) database: Arc<Database>,
    ledger: Arc<Mutex<Ledger>>,
}

/// For the gateway: folders that are missing are created (mode 0700), and what an earlier run left unfinished in `tmp/` is
/// removed. It was never acknowledged, so it is nobody's only copy.
pub(super) fn make_and_clean(state: &Path) -> Result<(), StoreError> {
    let place = state.join(FOLDER);
    let tmp = place.join(TMP);
    let folder = Folder::open_or_make(state).and_then(|state| state.folder_or_make(FOLDER));
    let folder = folder.map_err(StoreError::at(&place))?;
    let unfinished = folder.folder_or_make(TMP).map_err(StoreError::at(&tmp))?;
    for name in unfinished.names().map_err(StoreError::at(&tmp))? {
        let name = name.to_string_lossy();
        // What is not ours, or cannot be removed, is in nobody's way.
        let removed = match name.parse::<HeldId>() {
            Ok(id) => unfinished.remove_folder(id.as_str()),
            Err(_) => Err(io::Error::other("it is not ours")),
        };
        if let Err(error) = removed {
            let path = tmp.join(&*name);
            tracing::warn!(path = %path.display(), %error, "something was left in the quarantine's folder tmp");
        }
    }
    folder.sync().map_err(StoreError::at(&place))
}

impl QuarantineFolder {
    /// The quarantine as it stands: nothing is created, so none of it can belong to the wrong user.
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { folder: database.state().join(FOLDER), database, ledger: Arc::default() }
    }

    /// Its folder, held open.
    fn opened(&self) -> io::Result<Folder> {
        Folder::open(self.database.state())?.folder(FOLDER)
    }

    /// The folder of a message, held open.
    pub(super) fn open_folder_of(&self, id: &HeldId) -> Result<Folder, StoreError> {
        let opened = self.opened().and_then(|folder| folder.folder(id.as_str()));
        opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::UnknownId(id.clone()),
            _ => StoreError::at(&self.folder_of(id))(error),
        })
    }

    /// Asks the database; where it has no rows yet, or they cannot be read, what lies in the folder.
    fn look<T>(&self, question: impl Fn(&Connection) -> Result<T, DatabaseError>) -> Result<T, StoreError> {
        let answer = self.database.read(|connection| match version(connection)? {
            VERSION.. => question(connection).map(Some),
            _ => Ok(None),
        });
        match answer {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) | Err(DatabaseError::None(_)) => {}
            Err(error) if error.fault() == Some(Fault::Damaged) => {}
            Err(error) => return Err(error.into()),
        }
        let mut connection = in_memory()?;
        adoption::reconcile(&mut connection, self.database.state())?;
        Ok(question(&connection)?)
    }

    /// Changes rows and deeds in one transaction. Before a gateway of this version has started there are none, and there is
    /// nothing to change.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let changed = self.database.write(|connection| {
            if version(connection)? < VERSION {
                return Ok(());
            }
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            change(&transaction)?;
            transaction.commit()?;
            Ok(())
        });
        match changed {
            Ok(()) | Err(DatabaseError::None(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a message down, and says how large it is.
    fn write_down(
        &self,
        id: &HeldId,
        held: &mut Held,
        letters: &[Letter],
        message: &mut dyn Read,
    ) -> Result<u64, StoreError> {
        let mut unfinished = Unfinished::create(self.tmp().join(id.as_str()))?;
        let size = write(&unfinished.folder.join(MESSAGE), message, true)?;
        held.size = size;
        // The row has the same, and is written through.
        write(&unfinished.folder.join(META), rows::facts(held).as_bytes(), false)?;
        sync(&unfinished.folder)?;
        unfinished.rename(self.folder.join(id.as_str()))?;
        sync(&self.folder)?;
        let enter = || {
            self.database.write(|connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                rows::insert(&transaction, id, GATEWAY, held, &Releases::default())?;
                outbox::put(&transaction, letters, Some(id))?;
                deeds::note(&transaction, &Deed::holding(id, held, GATEWAY))?;
                transaction.commit()?;
                Ok(())
            })
        };
        // One that turns out to be damaged is put aside by the next to write.
        enter().or_else(|error| if error.fault() == Some(Fault::Damaged) { enter() } else { Err(error) })?;
        unfinished.keep();
        self.database.news().adopted.retain(|adopted| adopted != id);
        Ok(size)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn folder_of(&self, id: &HeldId) -> PathBuf {
        self.folder.join(id.as_str())
    }

    /// Removes a message, folder and row, and writes the deed down.
    pub(super) fn remove(&self, id: &HeldId, deed: Option<&Deed>) -> Result<(), StoreError> {
        let (path, gone) = (self.folder_of(id), self.tmp().join(id.as_str()));
        let folder = self.opened().map_err(StoreError::at(&self.folder))?;
        let tmp = folder.folder(TMP).map_err(StoreError::at(&self.tmp()))?;
        folder.move_to(id.as_str(), &tmp).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if !path.exists() => StoreError::UnknownId(id.clone()),
            _ => StoreError::at(&path)(error),
        })?;
        folder.sync().map_err(StoreError::at(&self.folder))?;
        let written = self.change(|connection| {
            rows::remove(connection, id)?;
            deed.map_or(Ok(()), |deed| deeds::note(connection, deed))
        });
        if let Err(error) = written {
            // It is held as before, and nobody has to find out why it is not.
            tmp.move_to(id.as_str(), &folder).map_err(StoreError::at(&gone))?;
            return Err(error);
        }
        tmp.remove_folder(id.as_str()).map_err(StoreError::at(&gone))
    }

    fn tmp(&self) -> PathBuf {
        self.folder.join(TMP)
    }

    /// What lies in the folder and cannot be listed. There is nothing to look for where the database knows as many messages as there
    /// are folders.
    fn strays(&self, connection: &Connection) -> Result<Vec<StoreError>, DatabaseError> {
        let io = |source| DatabaseError::Io { path: self.folder.clone(), source };
        let (ids, others) = adoption::names(self.database.state()).map_err(io)?;
        let mut strays: Vec<_> =
            others.into_iter().map(|name| StoreError::Foreign(self.folder.join(name))).collect();
        if ids.len() as u64 != rows::count(connection)? {
            for id in ids {
                if !rows::is_there(connection, &id)? {
                    let read = self.open_folder_of(&id);
                    let read = read.and_then(|folder| adoption::read(&folder, &id, &self.folder_of(&id)));
                    strays.extend(read.err().filter(|error| !matches!(error, StoreError::UnknownId(_))));
                }
            }
        }
        Ok(strays)
    }
}

impl Quarantine for QuarantineFolder {
    fn hold(
        &self,
        quotas: &Quotas,
        held: &Held,
        letters: &[Letter],
        message: &mut dyn Read,
    ) -> Result<Kept, HoldError> {
        let id = HeldId::new(held.received, None)?;
        let mut held = held.clone();
        let meta = rows::facts(&held).len() as u64;
        let share = Share { message: held.size, meta, verified: held.verified };
        let taken = || Ok(self.database.read(|connection| Ok(rows::taken(connection)?))?);
        let reserved = self.ledger().reserve(taken, quotas, &id, share);
        let filling = reserved.map_err(|(error, filling)| HoldError { error, filling })?;
        let written = self.write_down(&id, &mut held, letters, message);
        self.ledger().settle(&id, written.as_ref().ok().copied());
        written?;
        Ok(Kept { id, filling })
    }

    fn list(&self, filter: &Filter, after: Option<&HeldId>, limit: usize) -> Result<Listing, StoreError> {
        let wanted = Wanted::by(filter);
        self.look(|connection| {
            let mut listing = rows::list(connection, &wanted, after, limit)?;
            if after.is_none() && *filter == Filter::default() {
                listing.damaged.extend(self.strays(connection)?);
            }
            Ok(listing)
        })
    }

    fn incomplete(&self) -> Result<Vec<Incomplete>, StoreError> {
        let (there, _) = adoption::names(self.database.state()).map_err(StoreError::at(&self.folder))?;
        let there: HashSet<HeldId> = there.into_iter().collect();
        let known = self.look(|connection| Ok(rows::sizes(connection)?))?;
        let mut incomplete = Vec::new();
        for (id, size) in &known {
            let path = self.folder_of(id).join(MESSAGE);
            match self
                .open_folder_of(id)
                .and_then(|folder| folder.look(MESSAGE).map_err(StoreError::of(id, &path)))
            {
                Ok(found) if found.length == *size => {}
                Ok(_) => incomplete.push(Incomplete { id: id.clone(), what: Missing::Size }),
                Err(_) => incomplete.push(Incomplete { id: id.clone(), what: Missing::Octets }),
            }
        }
        let known: HashSet<&HeldId> = known.iter().map(|(id, _)| id).collect();
        let unknown = there.into_iter().filter(|id| !known.contains(id));
        incomplete.extend(unknown.map(|id| Incomplete { id, what: Missing::Row }));
        incomplete.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(incomplete)
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        self.look(|connection| Ok(rows::usage(connection)?))
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        let tmp = self.tmp();
        watch::try_folder(&tmp).map_err(StoreError::at(&tmp))?;
        Ok(self.database.try_writing()?)
    }

    fn show(&self, id: &HeldId) -> Result<Listed, StoreError> {
        match self.look(|connection| Ok(rows::show(connection, id)?))? {
            Some(listed) => listed,
            None => Err(StoreError::UnknownId(id.clone())),
        }
    }

    fn open_message(&self, id: &HeldId) -> Result<Box<dyn Read + Send>, StoreError> {
        let path = self.folder_of(id).join(MESSAGE);
        let file = self.open_folder_of(id)?.open_file(MESSAGE, OFlags::RDONLY);
        Ok(Box::new(file.map_err(StoreError::of(id, &path))?))
    }

    fn releases(&self, id: &HeldId) -> Result<Releases, StoreError> {
        Ok(self.open_folder_of(id).map(|folder| claim::look(&folder)).unwrap_or_default())
    }

    fn claim(&self, id: &HeldId, by: &By) -> Result<Box<dyn Claim>, StoreError> {
        exchange::check_usable(self.database.state())?;
        Ok(Box::new(FolderClaim::on(self, id, by)?))
    }

    fn announce(&self, ids: &[HeldId], expires: Timestamp) -> Result<(), StoreError> {
        self.change(|connection| {
            ids.iter().try_for_each(|id| {
                let sql = "UPDATE held SET expires = ?2 WHERE id = ?1";
                connection.execute(sql, params![id.as_str(), seconds(expires)]).map(drop)
            })
        })
    }

    fn adopted(&self) -> Vec<HeldId> {
        std::mem::take(&mut self.database.news().adopted)
    }
}

/// The folder of a message that is not yet held: removed when dropped, unless it was kept.
struct Unfinished {
    folder: PathBuf,
    kept: bool,
}

impl Unfinished {
    fn create(folder: PathBuf) -> Result<Self, StoreError> {
        DirBuilder::new().mode(0o700).create(&folder).map_err(StoreError::at(&folder))?;
        Ok(Self { folder, kept: false })
    }

    fn rename(&mut self, to: PathBuf) -> Result<(), StoreError> {
        // Fails where `to` is a held message: a folder that is not empty.
        fs::rename(&self.folder, &to).map_err(StoreError::at(&to))?;
        self.folder = to;
        Ok(())
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(folder = %self.folder.display(), %error, "an unfinished message could not be removed");
        }
    }
}

/// Writes a new file, through to the disk if that is wished, and says how long it is.
fn write(path: &Path, mut content: impl Read, through: bool) -> Result<u64, StoreError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::at(path))?;
    let size = io::copy(&mut content, &mut file).map_err(StoreError::at(path))?;
    if through {
        file.sync_all().map_err(StoreError::at(path))?;
    }
    Ok(size)
}

/// Makes a folder's entries durable.
fn sync(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::at(folder))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;
    use crate::store::sqlite::database::Access;
    use crate::store::{Details, Quota};

    fn quarantine() -> (TempDir, QuarantineFolder) {
        let state = tempfile::tempdir().unwrap();
        let quarantine = serving(&state.path().join("state"));
        (state, quarantine)
    }

    /// As the gateway has it.
    fn serving(state: &Path) -> QuarantineFolder {
        make_and_clean(state).unwrap();
        QuarantineFolder::new(Arc::new(Database::open_to_serve(state).unwrap()))
    }

    /// As commands have it.
    fn open(state: &Path) -> QuarantineFolder {
        QuarantineFolder::new(Arc::new(Database::new(state, Access::Change)))
    }

    fn held(received: &str) -> Held {
        Held {
            listener: "inbound".into(),
            received: received.parse().unwrap(),
            client: "192.0.2.1".parse().unwrap(),
            reverse_path: String::new(),
            mail_parameters: vec!["SMTPUTF8".into()],
            recipients: vec!["jürgen@example.org".into()],
            verified: false,
            verdict: "fail".into(),
            reason: Some("attachments".into()),
            summary: "1 attachment altered: Agenda \"2026\".pdf".into(),
            message_id: None,
            recipient_parameters: Vec::new(),
            result: None,
            size: 0,
            details: Details::default(),
        }
    }

    fn hold(quarantine: &QuarantineFolder, received: &str, message: &[u8]) -> HeldId {
        quarantine.hold(&Quotas::default(), &held(received), &[], &mut &*message).unwrap().id
    }

    fn entries(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn gives_back_what_it_holds() {
        let (_state, quarantine) = quarantine();
        let message = b"Subject: \xff\r\n\r\n\0 body\r\n";
        let id = hold(&quarantine, "2026-11-23T06:11:12Z", message);
        assert!(id.as_str().starts_with("20261123T061112-"), "{id}");
        assert_eq!(id.as_str().parse::<HeldId>().unwrap(), id);

        let mut octets = Vec::new();
        quarantine.open_message(&id).unwrap().read_to_end(&mut octets).unwrap();
        assert_eq!(octets, message);
        let expected = Held { size: message.len() as u64, ..held("2026-11-23T06:11:12Z") };
        assert_eq!(quarantine.show(&id).unwrap().held, expected);
        assert!(entries(&quarantine.tmp()).is_empty());
    }

    #[test]
    fn says_how_much_is_held() {
        let (_state, quarantine) = quarantine();
        assert_eq!(quarantine.usage().unwrap(), Usage::default());
        for message in [&b"a"[..], b"four"] {
            hold(&quarantine, "2026-11-23T06:11:12Z", message);
        }
        fs::create_dir(quarantine.folder.join("20261123T061112-aaaaaa")).unwrap();
        assert_eq!(
            quarantine.usage().unwrap(),
            Usage { messages: 2, octets: 5, unverified_messages: 2, unverified_octets: 5 }
        );

        quarantine.check_writable().unwrap();
        assert!(entries(&quarantine.tmp()).is_empty());
        fs::remove_dir(quarantine.tmp()).unwrap();
        assert!(quarantine.check_writable().is_err());
    }

    #[test]
    fn only_its_owner_may_look() {
        let (_state, quarantine) = quarantine();
        let id = hold(&quarantine, "2026-11-23T06:11:12Z", b"secret");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = quarantine.folder.join(id.as_str());
        for path in [&quarantine.folder, &quarantine.tmp(), &folder] {
            assert_eq!(mode(path), 0o700, "{}", path.display());
        }
        assert_eq!((mode(&folder.join(MESSAGE)), mode(&folder.join(META))), (0o600, 0o600));
    }

    #[test]
    fn lists_by_time_and_reports_what_it_cannot_read() {
        let (_state, quarantine) = quarantine();
        let late = hold(&quarantine, "2026-11-23T06:11:13Z", b"b");
        let early = hold(&quarantine, "2026-11-23T06:11:12Z", b"a");
        fs::write(quarantine.folder.join("notes.txt"), "mine").unwrap();
        let broken = hold(&quarantine, "2026-11-23T06:11:14Z", b"c");
        quarantine
            .change(|rows| {
                rows.execute("UPDATE held SET facts = '{' WHERE id = ?1", [broken.as_str()]).map(drop)
            })
            .unwrap();
        fs::create_dir(quarantine.folder.join("20261123T061112-000000")).unwrap();

        let listing = quarantine.list(&Filter::default(), None, usize::MAX).unwrap();
        let ids: Vec<_> = listing.held.iter().map(|listed| &listed.id).collect();
        assert_eq!(ids, [&early, &late]);
        assert_eq!(listing.damaged.len(), 3, "{:?}", listing.damaged);
    }

    #[test]
    fn commands_create_nothing() {
        let state = tempfile::tempdir().unwrap();
        let quarantine = open(state.path());
        assert!(quarantine.list(&Filter::default(), None, usize::MAX).unwrap().held.is_empty());
        assert!(entries(state.path()).is_empty());
    }

    #[test]
    fn deletes_once() {
        let (_state, quarantine) = quarantine();
        let id = hold(&quarantine, "2026-11-23T06:11:12Z", b"a");
        quarantine.delete(&id, &By::default()).unwrap();
        assert_eq!(entries(&quarantine.folder), [TMP]);
        assert!(entries(&quarantine.tmp()).is_empty());
        assert!(matches!(quarantine.delete(&id, &By::default()), Err(StoreError::UnknownId(_))));
        assert!(matches!(quarantine.show(&id), Err(StoreError::UnknownId(_))));
        assert!(matches!(quarantine.open_message(&id), Err(StoreError::UnknownId(_))));
    }

    #[test]
    fn refuses_ids_that_are_paths() {
        for text in [
            "",
            "../../etc/passwd",
            "20261123T061112-7f3a9",
            "20261123T061112-7F3A9C",
            "tmp",
            "20261123T061112/7f3a9c",
            "20261123T061112--7f3a9c",
            "20261123T061112-../x-7f3a9c",
            "20261123T061112-a-b-7f3a9c",
        ] {
            assert!(matches!(text.parse::<HeldId>(), Err(StoreError::BadId(_))), "{text}");
        }
    }

    #[test]
    fn the_gateway_removes_what_was_left_unfinished() {
        let (state, quarantine) = quarantine();
        let kept = hold(&quarantine, "2026-11-23T06:11:12Z", b"a");
        let leftover = quarantine.tmp().join("20261123T061112-000000");
        fs::create_dir(&leftover).unwrap();
        fs::write(leftover.join(MESSAGE), "half a mess").unwrap();

        serving(&state.path().join("state"));
        assert!(entries(&quarantine.tmp()).is_empty());
        assert!(quarantine.show(&kept).is_ok());
    }

    #[test]
    fn a_failure_half_way_leaves_nothing() {
        let (_state, quarantine) = quarantine();
        let tmp = quarantine.tmp();
        // As if the disk gave out behind the message: meta.json cannot be created any more.
        struct Sabotage<'a>(&'a Path);
        impl Read for Sabotage<'_> {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                for entry in fs::read_dir(self.0)? {
                    fs::create_dir(entry?.path().join(META))?;
                }
                Ok(0)
            }
        }
        assert!(matches!(
            quarantine.hold(
                &Quotas::default(),
                &held("2026-11-23T06:11:12Z"),
                &[],
                &mut b"first".chain(Sabotage(&tmp))
            ),
            Err(HoldError { error: StoreError::Io { .. }, .. })
        ));
        assert_eq!(entries(&quarantine.folder), [TMP]);
        assert!(entries(&tmp).is_empty());
    }

    #[test]
    fn says_why_it_cannot_hold() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(make_and_clean(&file), Err(StoreError::Io { .. })));
        let gone = open(&state.path().join("nowhere"));
        assert!(gone.hold(&Quotas::default(), &held("2026-11-23T06:11:12Z"), &[], &mut io::empty()).is_err());
    }

    #[test]
    fn tells_a_full_disk_from_other_trouble() {
        let path = Path::new("x");
        let error = |kind: io::ErrorKind| StoreError::at(path)(kind.into());
        assert!(matches!(error(io::ErrorKind::StorageFull), StoreError::NoSpace { .. }));
        assert!(matches!(error(io::ErrorKind::QuotaExceeded), StoreError::NoSpace { .. }));
        assert!(matches!(error(io::ErrorKind::PermissionDenied), StoreError::Denied { .. }));
        assert!(matches!(error(io::ErrorKind::InvalidData), StoreError::Io { .. }));

        let full = OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .and_then(|mut file| io::copy(&mut &b"x"[..], &mut file));
        assert!(matches!(StoreError::at(path)(full.unwrap_err()), StoreError::NoSpace { .. }));
    }

    fn hold_as(quarantine: &QuarantineFolder, quotas: &Quotas, verified: bool) -> Result<Kept, HoldError> {
        let message = [b'x'; 1_000];
        let size = message.len() as u64;
        quarantine.hold(
            quotas,
            &Held { verified, size, ..held("2026-11-23T06:11:12Z") },
            &[],
            &mut message.as_slice(),
        )
    }

    #[test]
    fn strangers_fill_only_their_part() {
        let (state, quarantine) = quarantine();
        let quota = |messages| Quota { octets: 1 << 30, messages };
        let quotas = Quotas { all: quota(20), unverified: quota(10) };
        let filling = |kept: &Kept| {
            kept.filling.map(|filling| (filling.is_full, filling.unverified, filling.held.messages))
        };
        for n in 1..=10 {
            let kept = hold_as(&quarantine, &quotas, false).unwrap();
            // From 80 % on, once.
            assert_eq!(filling(&kept), (n == 8).then_some((false, true, n)), "{n}");
        }
        let refused = hold_as(&quarantine, &quotas, false).unwrap_err();
        assert!(matches!(refused.error, StoreError::Full { unverified: true }), "{refused:?}");
        assert!(refused.filling.is_some_and(|filling| filling.is_full && filling.held.messages == 10));
        assert_eq!(hold_as(&quarantine, &quotas, false).unwrap_err().filling, None, "it was said");
        for n in 11..=20 {
            let kept = hold_as(&quarantine, &quotas, true).unwrap();
            assert_eq!(filling(&kept), (n == 16).then_some((false, false, n)), "{n}");
        }
        let refused = hold_as(&quarantine, &quotas, true).unwrap_err();
        assert!(matches!(refused.error, StoreError::Full { unverified: false }), "{refused:?}");
        assert!(entries(&quarantine.tmp()).is_empty());

        // Another process deletes some, and a restart counts what there is.
        let commands = open(&state.path().join("state"));
        let unverified = |quarantine: &QuarantineFolder| quarantine.usage().unwrap().unverified_messages;
        for listed in commands
            .list(&Filter::default(), None, usize::MAX)
            .unwrap()
            .held
            .into_iter()
            .filter(|one| !one.held.verified)
        {
            assert_eq!(listed.held.size, 1_000);
            commands.delete(&listed.id, &By::default()).unwrap();
        }
        assert_eq!((unverified(&quarantine), unverified(&commands)), (0, 0));
        let again = serving(&state.path().join("state"));
        assert_eq!(again.usage().unwrap().messages, 10);
        for quarantine in [&quarantine, &again] {
            assert!(hold_as(quarantine, &quotas, false).is_ok());
        }
    }

    #[test]
    fn octets_count_with_what_is_known_of_a_message() {
        let (_state, quarantine) = quarantine();
        let quota = Quota { octets: 20_000, messages: 1_000 };
        let quotas = Quotas { all: quota, unverified: quota };
        let held = (0..100).take_while(|_| hold_as(&quarantine, &quotas, true).is_ok()).count();
        let most = 20_000 / 1_000;
        assert!((5..most).contains(&held), "{held}");
        let usage = quarantine.usage().unwrap();
        assert_eq!((usage.octets, usage.unverified_messages), (held as u64 * 1_000, 0));
    }
}
