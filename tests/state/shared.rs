//! What holds only where several gateways share a database: docs/STATE.md, *The adapter `postgres`*.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use waxseal::store::{By, Fault, Held, HeldId, Quotas, Removal, State, StoreError};

use crate::program::site::{RECIPIENT, SENDER, Site};
use crate::program::smtp::{Client, Server};
use crate::program::{Gateway, letter, wait_for, waxseal, word};
use crate::server::Postgres;

const NOW: u64 = 1_795_392_000;

fn hold(state: &State) -> HeldId {
    let held: Held = serde_json::from_str(
        r#"{"listener": "inbound", "received": "2026-11-23T06:11:12Z", "client": "192.0.2.1", "reverse_path": "",
            "recipients": ["a@example.org"], "verdict": "fail", "reason": null, "summary": "", "message_id": null,
            "size": 1}"#,
    )
    .unwrap();
    state.quarantine.hold(&Quotas::default(), &held, &[], &mut &b"x"[..]).unwrap().id
}

/// A gateway that stands still loses its lease, and can go on with nothing that another may have taken up.
#[test]
fn a_lease_ends_and_its_holder_learns_it() {
    let Some(server) = Postgres::shared() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), server.database());
    let [one, other] = ["mx1", "mx2"].map(|label| Postgres::place_at(&url, folder.path(), label));
    let [one, other] = [State::open_to_serve(&one).unwrap(), State::open_to_serve(&other).unwrap()];
    let id = hold(&one);
    assert!(id.as_str().starts_with("20261123T061112-mx1-"), "{id}");
    let mut stalled = one.quarantine.claim(&id, &By::user("anna")).unwrap();
    assert!(matches!(other.quarantine.claim(&id, &By::user("anna")), Err(StoreError::Claimed(_))));
    server.run_sql(&url, "UPDATE held SET leased_until = now() - interval '1 second'");
    let mut claim = other.quarantine.claim(&id, &By::user("anna")).unwrap();
    assert!(matches!(stalled.sending(&[0]), Err(StoreError::Claimed(_))));
    claim.sending(&[0]).unwrap();
    assert!(stalled.delete(Removal::Deleted).is_err());
    drop(claim);
    assert!(one.quarantine.releases(&id).unwrap().in_doubt.contains_key(&0));
}

/// While it is had, a lease is renewed.
#[test]
fn a_lease_is_renewed() {
    let Some(server) = Postgres::shared() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), server.database());
    let state = State::open_to_serve(&Postgres::place_at(&url, folder.path(), "mx1")).unwrap();
    let claim = state.quarantine.claim(&hold(&state), &By::user("anna")).unwrap();
    let until = || server.run_sql(&url, "SELECT leased_until FROM held");
    let first = until();
    assert!(wait_for(|| (until() != first).then_some(())).is_some());
    drop(claim);
    assert_eq!(until(), "");
}

#[test]
fn several_gateways_start_at_once() {
    let Some(server) = Postgres::shared() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), server.database());
    thread::scope(|scope| {
        for n in 0..4 {
            let place = Postgres::place_at(&url, folder.path(), &format!("mx{n}"));
            scope.spawn(move || drop(State::open_to_serve(&place).unwrap().pins.read().unwrap()));
        }
    });
    // Each step was taken once.
    let sql = "SELECT count(*) > 0, count(*) - count(DISTINCT version) FROM refinery_schema_history";
    assert_eq!(server.run_sql(&url, sql), "t|0");
}

#[test]
fn a_database_of_a_later_version_is_left_alone() {
    let Some(server) = Postgres::shared() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), server.database());
    let place = Postgres::place_at(&url, folder.path(), "mx1");
    drop(State::open_to_serve(&place).unwrap());
    server.run_sql(
        &url,
        "INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')",
    );
    let why = "it has form 99, and this version knows forms up to";
    let error = State::open_to_serve(&place).map(drop).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
    let error = State::open(&place).memories.list(None, NOW).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

/// What cannot be looked up fails within seconds, and comes back by itself.
#[test]
fn a_database_that_goes_away_comes_back() {
    if Postgres::shared().is_none() {
        return;
    }
    let server = Postgres::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = server.place(folder.path(), "mx1");
    let state = State::open_to_serve(&place).unwrap();
    let id = hold(&state);
    state.pins.change(&mut |said| said.also_unsealed.push("a.example".to_owned())).unwrap();
    let said = state.pins.read().unwrap();
    server.kill();
    let error = state.memories.recall(&[], NOW).unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Away), "{error}");
    assert!(state.quarantine.check_writable().is_err());
    assert!(wait_for(|| (!state.memories.is_open()).then_some(())).is_some());
    // One that starts meanwhile knows the pins by its copy.
    let next = State::open_to_serve(&place).unwrap();
    assert_eq!(next.pins.read().unwrap(), said);
    assert!(!next.memories.is_open());

    server.restart();
    for state in [&state, &next] {
        assert!(wait_for(|| state.memories.is_open().then_some(())).is_some());
        state.quarantine.show(&id).unwrap();
        state.quarantine.check_writable().unwrap();
        assert!(state.memories.recall(&[], NOW).is_ok());
    }
}

fn deliver(gateway: &Gateway, message: &[u8]) -> String {
    Client::hello(gateway.address("inbound")).deliver(SENDER, RECIPIENT, message)
}

fn command(gateway: &Gateway, arguments: &[&str]) -> Vec<Value> {
    let ended = waxseal(&[arguments, &["--config", word(&gateway.config)]].concat());
    assert_eq!(ended.status, 0, "{ended:?}");
    if arguments.contains(&"--json") { ended.json() } else { Vec::new() }
}

/// One gateway holds a message and dies; another knows it, counts it and releases it, as it was.
#[test]
fn one_gateway_releases_what_another_held() {
    let Some(server) = Postgres::shared() else { return };
    let (site, url) = (Site::new(), server.database());
    let one = site.sharing(&url, "mx1").start();
    let two = site.sharing(&url, "mx2").start();
    let message = site.swapped("shared");
    let reply = deliver(&one, &message);
    let id = reply.strip_prefix("250 2.0.0 accepted as ").unwrap_or_else(|| panic!("{reply}")).to_owned();
    assert!(id.contains("-mx1-"), "{id}");
    // How it was judged is written a moment later; the other gateway reports it.
    let named = || command(&two, &["report", "--json"])[0]["messages"].as_array().map_or(0, Vec::len);
    assert!(wait_for(|| (named() == 1).then_some(())).is_some());
    one.signal(rustix::process::Signal::KILL);

    assert_eq!(two.held()[0]["id"], Value::from(id.clone()));
    let exported = two.quarantine(&["export", &id]);
    assert!(exported.stdout == message);
    assert_eq!(two.quarantine(&["release", &id]).status, 0);
    let released = site.next_hop.await_message("shared");
    assert!(released.message.ends_with(&message), "{released:?}");
    assert!(two.held().is_empty());
}

/// Of two gateways that are told to release one message, one does it.
#[test]
fn a_message_is_released_once() {
    let Some(server) = Postgres::shared() else { return };
    let (site, url) = (Site::new(), server.database());
    let one = site.sharing(&url, "mx1").start();
    let two = site.sharing(&url, "mx2").start();
    for n in 0..5 {
        let reply = deliver(&one, &site.swapped(&format!("once {n}")));
        let id = reply.strip_prefix("250 2.0.0 accepted as ").unwrap_or_else(|| panic!("{reply}"));
        let statuses: Vec<i32> = thread::scope(|scope| {
            let all = [&one, &two, &one, &two];
            let started: Vec<_> = all
                .into_iter()
                .map(|gateway| scope.spawn(|| gateway.quarantine(&["release", id]).status))
                .collect();
            started.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 0).count(), 1, "{statuses:?}");
    }
    thread::sleep(Duration::from_millis(200));
    assert_eq!(site.next_hop.received().len(), 5);
}

/// A pin that is made at one gateway counts at the others within seconds.
#[test]
fn pins_are_shared() {
    let Some(server) = Postgres::shared() else { return };
    let (site, url) = (Site::new(), server.database());
    let one = site.sharing(&url, "mx1").start();
    let two = site.sharing(&url, "mx2").start();
    let plain = letter::plain("someone@example.net", "unsealed");
    assert_eq!(deliver(&two, &plain), "250 2.0.0 taken");
    command(&one, &["keys", "pin", "example.net", "--key", &site.record]);
    let is_held = || deliver(&two, &plain).starts_with("250 2.0.0 accepted as").then_some(());
    assert!(wait_for(is_held).is_some());
}

/// While the database is away, mail that needs it is deferred, and all other mail goes on. Sealing needs none.
#[test]
fn only_mail_that_needs_the_database_waits_for_it() {
    if Postgres::shared().is_none() {
        return;
    }
    let server = Postgres::start().unwrap();
    let site = Site::new();
    let office = Server::taking_all();
    let gateway = site
        .sharing(&server.database(), "mx1")
        .and(&format!("[alerts]\nto = \"postmaster@partner.example\"\nnext_hop = \"{}\"", office.address))
        .listener("outbound", "seal", site.next_hop.address, "")
        .sealing_with(&site.key)
        .start();
    let swapped = site.swapped("swapped");
    let intact = site.changed(&letter::with_attachments("intact"), str::to_owned);
    assert!(deliver(&gateway, &swapped).starts_with("250 2.0.0 accepted as"));
    server.kill();
    gateway.await_log("the database is away");
    assert_eq!(deliver(&gateway, &intact), "250 2.0.0 taken", "its key is pinned");
    assert_eq!(deliver(&gateway, &swapped), "451 4.3.0 cannot store the message, try again later");
    let mut client = Client::hello(gateway.address("outbound"));
    assert_eq!(client.deliver(SENDER, RECIPIENT, &letter::plain(SENDER, "sealed")), "250 2.0.0 taken");
    let told = || {
        let mails = office.received().into_iter();
        mails
            .map(|mail| String::from_utf8_lossy(&mail.message).into_owned())
            .find(|mail| mail.contains("memory cannot be used"))
    };
    assert!(wait_for(told).is_some());
    server.restart();
    gateway.await_log("the database can be used again");
    let is_held = || deliver(&gateway, &swapped).starts_with("250 2.0.0 accepted as").then_some(());
    assert!(wait_for(is_held).is_some());
}

/// Commands find there what they find in a folder; those that only look change nothing.
#[test]
fn commands_work_with_the_database() {
    if Postgres::shared().is_none() {
        return;
    }
    let server = Postgres::start().unwrap();
    let (site, url) = (Site::new(), server.database());
    let gateway = site.sharing(&url, "mx1").start();
    assert!(deliver(&gateway, &site.swapped("held")).starts_with("250 2.0.0 accepted as"));
    command(&gateway, &["keys", "unsealed", "example.net"]);
    assert_eq!(command(&gateway, &["keys", "list", "--json"])[0]["domain"], Value::from("example.net"));
    let stored = site.folder.path().join("stored.eml");
    std::fs::write(&stored, site.swapped("stored")).unwrap();
    let verified = waxseal(&["verify", "--config", word(&gateway.config), word(&stored)]);
    assert_eq!(verified.status, 1, "{verified:?}");

    let findings = || {
        let ended = waxseal(&["doctor", "--json", "--config", word(&gateway.config)]);
        assert!(ended.status < 2, "{ended:?}");
        let findings = ended.json();
        ["memory", "pins", "quarantine"].map(|check| {
            let mut its = findings.iter().filter(|finding| finding["check"] == check);
            let its = its.next().unwrap_or_else(|| panic!("no {check}: {findings:?}"));
            (its["state"].as_str().unwrap().to_owned(), its["detail"].as_str().unwrap().to_owned())
        })
    };
    let [memory, pins, quarantine] = findings();
    assert_eq!((memory.0.as_str(), pins.0.as_str(), quarantine.0.as_str()), ("ok", "ok", "ok"));
    assert!(quarantine.1.contains("1 message held"), "{quarantine:?}");
    server.kill();
    for (state, detail) in findings() {
        assert_eq!(state, "problem", "{detail}");
    }
    for arguments in [&["report"][..], &["keys", "list"], &["quarantine", "list"]] {
        let ended = waxseal(&[arguments, &["--config", word(&gateway.config)]].concat());
        ended.assert_failed("the database cannot be used");
    }
}
