//! `waxseal demo --console`: a newcomer sees it in a minute, without any set-up.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::program::{run, wait_for};
use crate::visit::Visitor;

#[test]
fn the_demo_opens_its_console() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_waxseal"))
        .args(["demo", "--console"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told = |start: &str| {
        let line = lines.find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no line begins with {start}"))[start.len()..].trim().to_owned()
    };
    let address = told("The console: http://127.0.0.1:");
    let console = format!("127.0.0.1:{}", address.trim_end_matches('/')).parse().unwrap();
    let (name, password) = (told("Name:"), told("Password:"));
    let mut visitor = Visitor::new(console);
    assert_eq!(visitor.log_in(&name, &password).status, 303);
    // Five of the seven are held; all of them were judged.
    let first = visitor.get("/");
    assert!(first.has("href=\"/messages/"), "{}", first.text());
    let all = || {
        let page = visitor.clone().get("/messages");
        let verdicts = ["Agenda for the visit", "Fail", "missing"];
        verdicts.iter().all(|verdict| page.has(verdict)).then_some(())
    };
    assert!(wait_for(all).is_some());
    run::signal(&demo, Signal::INT);
    let status = wait_for(|| demo.try_wait().unwrap()).expect("the demo ends");
    assert_eq!(status.code(), Some(0));
}
