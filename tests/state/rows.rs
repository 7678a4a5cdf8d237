//! The database of a state folder and the messages beside it, brought together again after either was lost; and a database that is
//! damaged while a gateway runs.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use waxseal::store::{Filter, HeldId, HeldState, Letter, LetterKind, State, What};

use crate::contract::{by, hold};
use crate::program::wait_for;

fn state() -> (TempDir, State) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open_to_serve(&folder.path().into()).unwrap();
    (folder, state)
}

fn listed(state: &State) -> Vec<(HeldId, HeldState)> {
    let listing = state.quarantine.list(&Filter::default(), None, 1_000).unwrap();
    listing.held.into_iter().map(|listed| (listed.id, listed.state)).collect()
}

fn remove_database(folder: &Path) {
    for name in ["memory.sqlite", "memory.sqlite-wal", "memory.sqlite-shm"] {
        let _ = fs::remove_file(folder.join(name));
    }
}

/// A state with a message in each condition that survives the loss of the database.
fn with_history() -> (TempDir, Vec<(HeldId, HeldState)>) {
    let (folder, state) = state();
    let ids = [0, 1, 2, 3].map(|n| hold(&state, &format!("2026-11-23T06:11:1{n}Z"), b"x"));
    state.quarantine.keep(&ids[1], true, &by()).unwrap();
    state.quarantine.claim(&ids[2], &by()).unwrap().sending(&[0]).unwrap();
    let mut claim = state.quarantine.claim(&ids[3], &by()).unwrap();
    claim.sending(&[0]).unwrap();
    claim.answered(&[0], &[], None).unwrap();
    drop(claim);
    let before = listed(&state);
    assert_eq!(
        before.iter().map(|one| one.1.as_str()).collect::<Vec<_>>(),
        ["held", "kept", "in-doubt", "partly"]
    );
    (folder, before)
}

#[test]
fn a_lost_database_is_made_anew_from_the_folders() {
    let (folder, before) = with_history();
    remove_database(folder.path());
    // Commands list what lies there, and make nothing.
    assert_eq!(listed(&State::open(&folder.path().into())), before);
    assert!(!folder.path().join("memory.sqlite").exists());
    let state = State::open_to_serve(&folder.path().into()).unwrap();
    assert_eq!(listed(&state), before);
    let adopted = state.quarantine.adopted();
    assert_eq!(adopted.len(), 4);
    assert!(state.quarantine.adopted().is_empty(), "it is told once");
    assert_eq!(state.audit.of(&adopted[0]).unwrap()[0].what, What::Adopted);
    assert_eq!(state.quarantine.usage().unwrap().messages, 4);
    drop(state);
    assert!(State::open_to_serve(&folder.path().into()).unwrap().quarantine.adopted().is_empty());
}

/// While the gateway runs.
#[test]
fn a_database_that_is_removed_is_made_anew() {
    let (folder, before) = with_history();
    let state = State::open_to_serve(&folder.path().into()).unwrap();
    remove_database(folder.path());
    assert!(wait_for(|| (state.quarantine.adopted().len() == 4).then_some(())).is_some());
    assert_eq!(listed(&state), before);
}

#[test]
fn a_row_without_a_folder_goes() {
    let (folder, before) = with_history();
    fs::remove_dir_all(folder.path().join("quarantine").join(before[0].0.as_str())).unwrap();
    let state = State::open_to_serve(&folder.path().into()).unwrap();
    assert_eq!(listed(&state), before[1..]);
    let last = state.audit.of(&before[0].0).unwrap().pop().unwrap();
    assert_eq!(last.what, What::Lost);
}

/// What an earlier version held has a folder and no row.
#[test]
fn what_an_earlier_version_held_is_listed() {
    let (folder, before) = with_history();
    let database = rusqlite::Connection::open(folder.path().join("memory.sqlite")).unwrap();
    database.execute_batch("DROP TABLE held; DROP TABLE letter; DROP TABLE letter_more; DROP TABLE deed; ALTER TABLE judged DROP COLUMN gateway;
         DROP TABLE account; DROP TABLE session; DROP TABLE delivered; DROP TABLE term; DROP TABLE stretch; DROP TABLE finding;
         PRAGMA user_version = 2; DELETE FROM refinery_schema_history WHERE version > 2;").unwrap();
    drop(database);
    // Commands work before the gateway of this version has started.
    let commands = State::open(&folder.path().into());
    assert_eq!(listed(&commands), before);
    commands.quarantine.claim(&before[0].0, &by()).unwrap().sending(&[0]).unwrap();
    commands.quarantine.delete(&before[1].0, &by()).unwrap();
    let state = State::open_to_serve(&folder.path().into()).unwrap();
    let states: Vec<_> = listed(&state).iter().map(|one| one.1.as_str()).collect();
    assert_eq!(states, ["in-doubt", "in-doubt", "partly"]);
}

/// Overwrites pages in the middle of the database.
pub(crate) fn damage(folder: &Path) {
    let path = folder.join("memory.sqlite");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    // A page of the table that waits to be sent.
    let page: u64 = database
        .query_row("SELECT rootpage FROM sqlite_master WHERE name = 'deed_by_held'", [], |row| row.get(0))
        .unwrap();
    drop(database);
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start((page - 1) * 4_096)).unwrap();
    file.write_all(&[0x5a; 4_096]).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_page_that_is_damaged_at_run_time_costs_neither_letters_nor_held_mail() {
    let (folder, before) = with_history();
    let state = State::open_to_serve(&folder.path().into()).unwrap();
    let letters: Vec<_> = (0..50)
        .map(|n| Letter {
            kind: LetterKind::Alert,
            to: format!("{n}@example.org"),
            about: Some("x".into()),
            content: json!({}),
            since: Timestamp::UNIX_EPOCH,
            expires: Timestamp::now(),
        })
        .collect();
    state.outbox.put(&letters).unwrap();
    damage(folder.path());
    let told = wait_for(|| state.memories.mended()).expect("nobody found the damage");
    assert!(told.contains("was put aside as"), "{told}");
    assert_eq!(state.memories.mended(), None, "it is told once");
    assert_eq!(listed(&state), before);
    assert_eq!(state.outbox.waiting().unwrap().letters, 50);
    assert!(!state.audit.of(&before[3].0).unwrap().is_empty());
    let aside = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(aside.filter_map(|name| name.into_string().ok()).any(|name| name.starts_with("memory.damaged-")));
    let mut octets = Vec::new();
    state.quarantine.open_message(&before[0].0).unwrap().read_to_end(&mut octets).unwrap();
    assert_eq!(octets, b"x");
    hold(&state, "2026-11-23T06:12:00Z", b"y");
}
