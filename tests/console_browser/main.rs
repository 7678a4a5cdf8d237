//! The console in a real browser: Debian's Chromium, driven by the Python scripts of this folder, against the real program.
//! Pictures of what it saw are in `target/console-pictures`.

#![cfg(feature = "console")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![allow(dead_code, reason = "other tests use more of what they share")]

mod hostile;
#[path = "../program/mod.rs"]
mod program;
#[path = "../console_http/visit.rs"]
mod visit;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use program::site::{RECIPIENT, Site};
use program::smtp::Client;
use program::{Gateway, skip, wait_for};
use visit::{CONSOLE, PASSWORD, add, console, held};

/// The folder of all that is built.
fn target() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_waxseal"));
    program.ancestors().nth(2).unwrap().to_owned()
}

/// Python with Playwright and axe: `tests/run` makes it.
fn python() -> PathBuf {
    target().join("console-python/bin/python")
}

/// Whether there is a browser.
fn is_there() -> bool {
    let can_drive = Command::new(python()).args(["-c", "import playwright, axe_playwright_python"]).output();
    skip::are_there(&[
        ("chromium", Path::new("/usr/bin/chromium").exists()),
        ("playwright and axe in console-python", can_drive.is_ok_and(|output| output.status.success())),
    ])
}

/// Runs a script of this folder, with these facts.
fn walk(script: &str, mut facts: Value) {
    let pictures = target().join("console-pictures").join(script);
    std::fs::create_dir_all(&pictures).unwrap();
    facts["pictures"] = json!(pictures);
    facts["password"] = json!(PASSWORD);
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console_browser").join(format!("{script}.py"));
    let output = Command::new(python())
        .arg("-B")
        .arg(file)
        .arg(facts.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
}

fn address(gateway: &Gateway) -> String {
    format!("http://{}", console(gateway))
}

/// Waits until the list of judged messages has so many.
fn await_judged(gateway: &Gateway, count: usize) {
    let config = gateway.config.to_str().unwrap();
    let judged = || {
        let report = program::waxseal(&["report", "--json", "--config", config]);
        let report: Value = serde_json::from_str(report.text()).ok()?;
        (report["messages"].as_array()?.len() >= count).then_some(())
    };
    assert!(wait_for(judged).is_some());
}

/// Four people and one held message: find it, read why, release it with two people; a viewer is refused.
#[test]
fn people_find_a_message_read_why_and_release_it() {
    if !is_there() {
        return;
    }
    let site = Site::new();
    let gateway = site.verifying("").and(CONSOLE).and("[quarantine]\nrelease_needs = 2").start();
    for (name, role) in [("anna", "operator"), ("boris", "operator"), ("vera", "viewer"), ("ada", "admin")] {
        add(&gateway, name, role);
    }
    let first = held(&site, &gateway, "Agenda for Thursday");
    let second = held(&site, &gateway, "Minutes of Monday");
    await_judged(&gateway, 2);
    walk("story", json!({ "base": address(&gateway), "first": first, "second": second }));
    site.next_hop.await_message("Agenda for Thursday");
    assert_eq!(site.next_hop.received().len(), 1);
    assert!(gateway.held().is_empty());
}

/// Strangers write what they like into all that a message has.
#[test]
fn hostile_messages_are_text() {
    if !is_there() {
        return;
    }
    let site = Site::new();
    let gateway = site.verifying("").and(CONSOLE).start();
    add(&gateway, "ada", "admin");
    let messages = hostile::messages(&site);
    let count = messages.len();
    let ids: Vec<String> = messages
        .into_iter()
        .map(|message| {
            let from = format!("\"{}\"@example.org", hostile::IN_AN_ADDRESS);
            let reply = Client::hello(gateway.address("inbound")).deliver(&from, RECIPIENT, &message);
            let id = reply.strip_prefix("250 2.0.0 accepted as ").map(str::to_owned);
            id.unwrap_or_else(|| panic!("{reply}"))
        })
        .collect();
    await_judged(&gateway, count);
    walk("hostile", json!({ "base": address(&gateway), "ids": ids }));
}

/// Every page of the demo, for people to look at; `docs/CONSOLE.md` shows some of these pictures.
#[test]
fn the_demo_can_be_looked_at() {
    if !is_there() {
        return;
    }
    let mut demo = Command::new(env!("CARGO_BIN_EXE_waxseal"))
        .args(["demo", "--console"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept open to the end: the demo has more to say, and ends where nobody reads it.
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let (mut base, mut password) = (None, None);
    for line in lines.by_ref().map_while(Result::ok) {
        let value = |name: &str| line.strip_prefix(name).map(|rest| rest.trim().to_owned());
        base = value("The console: ").or(base);
        password = value("Password: ").or(password);
        if password.is_some() {
            break;
        }
    }
    let facts = json!({ "base": base.unwrap().trim_end_matches('/'), "guest": password });
    let walked = std::panic::catch_unwind(|| walk("demo", facts));
    demo.kill().unwrap();
    demo.wait().unwrap();
    walked.unwrap();
}
