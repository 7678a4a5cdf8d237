//! A state in a file and out of it, and from one database into another: whole, or not at all.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use attachment_seal::seal::key::SealingKey;
use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use waxseal::store::{
    By, Entry, ExchangeError, Filter, Findings, HeldId, JudgedId, Letter, LetterKind, Location, Presence,
    Question, SaidPin, State, StoreError, back_up, move_state, restore,
};

use crate::accounts::account;
use crate::contract::{NOW, by, hold, judged, noted, record, sealed};
use crate::program::wait_for;
#[cfg(feature = "postgres")]
use crate::server::Postgres;

/// An empty place of each kind.
fn places() -> Vec<(TempDir, Location)> {
    let folder = tempfile::tempdir().unwrap();
    let place = Location::from(folder.path());
    #[cfg_attr(not(feature = "postgres"), allow(unused_mut, reason = "there is one kind"))]
    let mut places = vec![(folder, place)];
    #[cfg(feature = "postgres")]
    if let Some(server) = Postgres::shared() {
        let folder = tempfile::tempdir().unwrap();
        let place = server.place(folder.path(), "mx1");
        places.push((folder, place));
    }
    places
}

/// Tries something from each kind of place to each.
fn on_each_pair(check: impl Fn(&Location, &Location)) {
    let kinds = places().len();
    for from in 0..kinds {
        for to in 0..kinds {
            let (_folder, from) = places().remove(from);
            let (_other, to) = places().remove(to);
            check(&from, &to);
        }
    }
}

/// Fills a state with something of everything.
fn fill(place: &Location) -> Vec<HeldId> {
    let state = State::open_to_serve(place).unwrap();
    record(&state, vec![sealed("a.example", 1, NOW), sealed("b.example", 2, NOW + 1)]);
    let findings = Some(Box::new(Findings { more_fields: 7, ..Findings::default() }));
    let held = Entry { findings, ..Entry::of(judged(NOW, "fail", "quarantine", "quarantine")) };
    state.memories.record(&[Box::new(held), noted(judged(NOW + 5, "none", "deliver", "deliver"))]).unwrap();
    let large: Vec<u8> = (0..700_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let messages: [&[u8]; 4] = [b"\0\xff", &large, b"", b"four"];
    let ids: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(n, message)| hold(&state, &format!("2026-11-23T06:11:1{n}Z"), message))
        .collect();
    state.quarantine.keep(&ids[0], true, &by()).unwrap();
    let mut claim =
        state.quarantine.claim(&ids[1], &By { who: "bert".into(), reason: Some("\u{0}".into()) }).unwrap();
    claim.sending(&[0, 1]).unwrap();
    claim.answered(&[0], &[], Some("250 ok")).unwrap();
    drop(claim);
    state.quarantine.announce(&ids[3..], Timestamp::from_second(NOW as i64).unwrap()).unwrap();
    let letter = |to: &str, about: Option<&str>| Letter {
        kind: LetterKind::Alert,
        to: to.into(),
        about: about.map(str::to_owned),
        content: json!({"text": "\u{0}\u{1f4ce}"}),
        since: Timestamp::from_second(NOW as i64).unwrap(),
        expires: Timestamp::from_second(NOW as i64 + 500).unwrap(),
    };
    state
        .outbox
        .put(&[letter("a@example.org", Some(ids[0].as_str())), letter("b@example.org", None)])
        .unwrap();
    let taken = state.outbox.take(Timestamp::from_second(NOW as i64).unwrap(), 1).unwrap();
    state.outbox.sent(&[taken[0].id]).unwrap();
    state.accounts.add(&account("anna")).unwrap();
    let root = SealingKey::from_seed(&[9; 32]).public().to_base64url();
    let pin = SaidPin { domain: "p.example".into(), roots: vec![root], ..SaidPin::default() };
    state.pins.change(&mut |said| said.pins.push(pin.clone())).unwrap();
    ids
}

/// Those that are found: nothing before a gateway has started with a copy.
fn judged_messages(state: &State) -> Vec<JudgedId> {
    let question = Question { delivered: true, ..Question::default() };
    let page = state.messages.search(&question, None, 50).unwrap();
    page.messages.into_iter().map(|found| found.id).collect()
}

/// Everything that a state tells of itself.
fn everything(place: &Location) -> String {
    let state = State::open(place);
    let listing = state.quarantine.list(&Filter::default(), None, 100).unwrap();
    assert!(listing.damaged.is_empty() && state.quarantine.incomplete().unwrap().is_empty());
    let mut text = String::new();
    for listed in &listing.held {
        let mut octets = Vec::new();
        state.quarantine.open_message(&listed.id).unwrap().read_to_end(&mut octets).unwrap();
        let releases = state.quarantine.releases(&listed.id).unwrap();
        text += &format!("{listed:?} {} {releases:?}\n", blake3::hash(&octets));
    }
    let memories: Vec<_> = state.memories.list(None, NOW).unwrap();
    let period = state.judgements.since(NOW).unwrap();
    let deeds = state.audit.since(Timestamp::UNIX_EPOCH).unwrap();
    let (waiting, said) = (state.outbox.waiting().unwrap(), state.pins.read().unwrap());
    let accounts = state.accounts.list().unwrap();
    let findings: Vec<_> =
        judged_messages(&state).iter().map(|id| state.messages.show(id).unwrap()).collect();
    text += &format!("{findings:?}\n");
    text + &format!("{memories:?}\n{period:?}\n{deeds:?}\n{waiting:?}\n{said:?}\n{accounts:?}")
}

/// Once the last gateway's connections are closed.
fn when_unused<T>(mut copy: impl FnMut() -> Result<T, ExchangeError>) -> Result<T, ExchangeError> {
    wait_for(|| match copy() {
        Err(ExchangeError::InUse(_)) => None,
        done => Some(done),
    })
    .unwrap()
}

#[test]
fn a_backup_is_restored_into_either_database() {
    on_each_pair(|from, to| {
        fill(from);
        let before = everything(from);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup.tar");
        // A gateway runs meanwhile.
        let gateway = State::open_to_serve(from).unwrap();
        let digest = back_up(from, &file).unwrap();
        assert_eq!((digest.messages.count, digest.octets), (4, 700_006));
        drop(gateway);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let listed = std::process::Command::new("tar").arg("-tf").arg(&file).output().unwrap();
        assert!(String::from_utf8(listed.stdout).unwrap().lines().count() > 10);
        assert!(matches!(back_up(from, &file), Err(ExchangeError::Io { .. })), "it overwrites a file");

        let restored = when_unused(|| restore(to, &file)).unwrap();
        assert_eq!(restored, digest);
        assert_eq!(everything(to), before);
        // It works, and what was sent is not sent again.
        let state = State::open_to_serve(to).unwrap();
        assert_eq!(everything(to), before);
        assert!(state.quarantine.adopted().is_empty());
        let due = state.outbox.take(Timestamp::from_second(NOW as i64).unwrap(), 10).unwrap();
        assert_eq!(due.iter().map(|due| due.letter.to.as_str()).collect::<Vec<_>>(), ["b@example.org"]);
        hold(&state, "2026-11-23T06:12:00Z", b"new");
        drop(state);
        let again = when_unused(|| restore(to, &file)).unwrap_err();
        assert!(matches!(again, ExchangeError::NotEmpty(..)), "{again}");
    });
}

#[test]
fn a_state_is_moved_and_its_old_place_is_out_of_use() {
    on_each_pair(|from, to| {
        let ids = fill(from);
        let before = everything(from);
        when_unused(|| move_state(from, to)).unwrap();
        assert_eq!(everything(to), before);
        State::open_to_serve(to).unwrap().quarantine.claim(&ids[0], &by()).unwrap().sending(&[0]).unwrap();
        // What is there is left as it is. No gateway starts with it, and nobody releases from it.
        let error = State::open_to_serve(from).map(drop).unwrap_err().to_string();
        assert!(error.contains("the state was moved to"), "{error}");
        let error = State::open(from).quarantine.claim(&ids[0], &by()).map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Database(_)), "{error}");
        let (folder, elsewhere) = places().remove(0);
        assert!(when_unused(|| move_state(from, &elsewhere)).is_err());
        drop(folder);
    });
}

/// Everything in a folder, with its size.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.push((name, fs::metadata(&path).unwrap().len()));
    }
    found.retain(|(name, _)| !name.contains("gateway."));
    found.sort();
    found
}

#[test]
fn what_is_damaged_or_cut_short_is_not_restored() {
    let (_folder, from) = places().remove(0);
    fill(&from);
    let backups = tempfile::tempdir().unwrap();
    let file = backups.path().join("backup.tar");
    back_up(&from, &file).unwrap();
    let whole = fs::read(&file).unwrap();
    let bad = backups.path().join("bad.tar");
    let mut flipped = whole.clone();
    let at = whole.windows(4).position(|octets| octets == b"four").unwrap();
    flipped[at] ^= 1;
    for content in
        [&whole[..whole.len() / 2], &whole[..whole.len() - 4_096], &flipped, b"", b"no archive", &[0; 10_240]]
    {
        fs::write(&bad, content).unwrap();
        for (_folder, to) in places() {
            let before = files(&to.folder);
            let error = restore(&to, &bad).unwrap_err();
            assert!(matches!(error, ExchangeError::Damaged { .. } | ExchangeError::Io { .. }), "{error}");
            assert_eq!(files(&to.folder), before);
        }
    }
    let (_folder, to) = places().remove(0);
    let running = Presence::claim(&to.folder).unwrap().unwrap();
    assert!(matches!(restore(&to, &file), Err(ExchangeError::InUse(_))));
    drop(running);
    restore(&to, &file).unwrap();
}

/// A restore that was killed leaves a mark: no gateway starts with half a state, and the next restore begins anew.
#[test]
fn a_restore_that_was_killed_is_no_state() {
    let (_folder, from) = places().remove(0);
    fill(&from);
    let before = everything(&from);
    let backups = tempfile::tempdir().unwrap();
    let file = backups.path().join("backup.tar");
    back_up(&from, &file).unwrap();
    let (_folder, to) = places().remove(0);
    let unfinished = to.folder.join("restore.unfinished");
    fs::create_dir_all(unfinished.join("quarantine/tmp")).unwrap();
    fs::create_dir_all(to.folder.join("quarantine/20261123T061110-7f3a9c")).unwrap();
    fs::write(to.folder.join("memory.sqlite"), "half").unwrap();
    let error = State::open_to_serve(&to).map(drop).unwrap_err().to_string();
    assert!(error.contains("half of a state"), "{error}");
    restore(&to, &file).unwrap();
    assert_eq!(everything(&to), before);
    assert!(!unfinished.exists());
}

/// Mail comes and goes while a backup is written: what is in it is whole.
#[test]
fn a_backup_is_of_one_moment() {
    for (_folder, from) in places() {
        let state = State::open_to_serve(&from).unwrap();
        for _ in 0..50 {
            hold(&state, "2026-11-23T06:11:12Z", &[b'x'; 10_000]);
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let id = hold(&state, "2026-11-23T06:11:13Z", &[b'y'; 10_000]);
                    let page = state.quarantine.list(&Filter::default(), None, 1).unwrap();
                    state.quarantine.delete(&page.held[0].id, &by()).unwrap();
                    let _ = id;
                }
            });
            for n in 0..3 {
                let (folder, to) = places().remove(0);
                let file = folder.path().join(format!("{n}.tar"));
                let digest = back_up(&from, &file).unwrap();
                restore(&to, &file).unwrap();
                let restored = State::open_to_serve(&to).unwrap();
                assert!(restored.quarantine.adopted().is_empty());
                assert!(restored.quarantine.incomplete().unwrap().is_empty());
                assert_eq!(restored.quarantine.usage().unwrap().octets, digest.messages.count * 10_000);
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
