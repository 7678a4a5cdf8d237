//! Databases that released versions have made: `released/<adapter>-<form>.sql`. They are brought forward, and keep what is in them.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
#[cfg(feature = "postgres")]
use waxseal::store::{Filter, HeldState};
use waxseal::store::{Question, State};

use crate::program::site::Site;
use crate::program::{waxseal, word};

const NOW: u64 = 1_795_392_005;

fn released(adapter: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/state/released");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_its = |path: &PathBuf| word(path).rsplit('/').next().unwrap().starts_with(adapter);
    let mut paths: Vec<_> = paths.filter(is_its).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// The tables and indexes of a state folder's database.
fn form(state: &Path) -> Vec<String> {
    let connection = Connection::open(state.join("memory.sqlite")).unwrap();
    let mut statement =
        connection.prepare("SELECT name || ': ' || sql FROM sqlite_master ORDER BY 1").unwrap();
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows = statement.query_map([], |row| Ok(words(row.get::<_, Option<String>>(0)?.unwrap_or_default())));
    rows.unwrap().map(Result::unwrap).collect()
}

/// What each released form has in it.
fn assert_all_is_there(state: &State) {
    let known = state.memories.list(None, NOW).unwrap();
    let names: Vec<_> =
        known.iter().map(|known| (known.name.as_str(), known.seals, known.keys.len())).collect();
    assert_eq!(names, [("a.example", true, 1), ("mail.b.example", false, 0)]);
    assert_eq!(known[0].counts, [("missing".to_owned(), 1), ("pass".to_owned(), 4)]);
    let period = state.judgements.since(NOW).unwrap();
    assert_eq!(period.counts.iter().map(|count| count.count).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(period.messages[0].from_domain.as_deref(), Some("a.example"));
}

/// What an earlier version judged is found as what this one judges.
fn assert_can_be_found(state: &State) {
    let question = Question { sender: Some("a.example".into()), ..Question::default() };
    let page = state.messages.search(&question, None, 50).unwrap();
    let period = state.judgements.since(0).unwrap();
    assert!(!page.messages.is_empty());
    let mut judged: Vec<_> = page.messages.into_iter().map(|found| found.judged).collect();
    judged.reverse();
    assert!(judged.iter().all(|one| period.messages.contains(one)));
    let domain = Question { domain: Some("example".into()), ..Question::default() };
    assert_eq!(state.judgements.ask(&domain).unwrap(), period.messages);
    assert_eq!(state.judgements.ask(&Question::default()).unwrap(), period.messages);
}

#[test]
fn every_released_form_is_brought_forward() {
    let fresh = tempfile::tempdir().unwrap();
    State::open_to_serve(&fresh.path().into()).unwrap();
    for file in released("sqlite") {
        let folder = tempfile::tempdir().unwrap();
        let database = Connection::open(folder.path().join("memory.sqlite")).unwrap();
        database.execute_batch(&fs::read_to_string(&file).unwrap()).unwrap();
        drop(database);
        // Commands work before the new gateway has started for the first time.
        assert_all_is_there(&State::open_to_look(&folder.path().into()));
        for _ in 0..2 {
            let state = State::open_to_serve(&folder.path().into()).unwrap();
            assert_all_is_there(&state);
            assert_can_be_found(&state);
        }
        assert_eq!(form(folder.path()), form(fresh.path()), "{}", file.display());
    }
}

#[test]
fn a_database_of_a_later_version_is_an_error_at_the_start() {
    let site = Site::new();
    let gateway = site.verifying("").start();
    let config = gateway.config.clone();
    drop(gateway);
    let path = site.folder.path().join("state/memory.sqlite");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let why = format!(
        "a later version of waxseal made {}: it has form 99, and this version knows forms up to 6; install that version, \
         or restore a copy that this one made",
        path.canonicalize().unwrap().display()
    );
    for command in ["run", "report"] {
        let ended = waxseal(&[command, "--config", word(&config)]);
        assert_eq!(ended.status, 2, "{ended:?}");
        assert!(ended.stderr.contains(&why), "{ended:?}");
    }
    let version: i64 =
        Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 99, "it was left alone");
}

/// What strangers wrote is in the facts: also what PostgreSQL cannot take apart.
#[cfg(feature = "postgres")]
#[test]
fn every_released_form_of_the_shared_database_is_brought_forward() {
    let Some(server) = crate::server::Postgres::shared() else { return };
    for file in released("postgres") {
        let (folder, url) = (tempfile::tempdir().unwrap(), server.database());
        server.run_sql(&url, &fs::read_to_string(&file).unwrap());
        let place = crate::server::Postgres::place_at(&url, folder.path(), "mx1");
        // Commands wait for a gateway of their version.
        let error = State::open(&place).quarantine.usage().unwrap_err().to_string();
        assert!(error.contains("a gateway of this version brings them forward"), "{error}");
        for _ in 0..2 {
            let state = State::open_to_serve(&place).unwrap();
            let ids = |filter: &Filter| -> Vec<String> {
                let listing = state.quarantine.list(filter, None, 10).unwrap();
                assert!(listing.damaged.is_empty());
                listing.held.iter().map(|listed| listed.id.to_string()).collect()
            };
            let [in_doubt, calm] = ["20261128T152102-mx1-d12b82", "20261128T152102-mx1-d3c5dc"];
            assert_eq!(ids(&Filter::default()), [in_doubt, calm]);
            assert_eq!(ids(&Filter { domain: Some("example.org".into()), ..Filter::default() }).len(), 2);
            assert_eq!(ids(&Filter { message_id: Some("<0@x>".into()), ..Filter::default() }), [calm]);
            assert_eq!(ids(&Filter { state: Some(HeldState::InDoubt), ..Filter::default() }), [in_doubt]);
            assert!(state.quarantine.show(&calm.parse().unwrap()).unwrap().held.summary.starts_with('\0'));
            assert!(state.quarantine.incomplete().unwrap().is_empty());
        }
    }
}
