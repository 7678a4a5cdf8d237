//! `waxseal doctor` with real zones, real mail servers and real files, healthy and sick: each check is shown to find what it
//! is for. Knot DNS, Postfix and root's rights are needed for some; without them those are skipped, unless
//! `WAXSEAL_REQUIRE_LIVE` is set.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../dns/forger.rs"]
#[allow(dead_code, reason = "this file uses a part of it")]
mod forger;
mod machine;
mod mail;
mod postfix;
#[path = "../live/postfix.rs"]
#[allow(dead_code, reason = "this file uses a part of it")]
mod postfix_server;
mod probe;
#[path = "../program/mod.rs"]
mod program;
mod records;
#[path = "../dns/zone.rs"]
#[allow(dead_code, reason = "this file uses a part of it")]
mod zone;

use std::path::Path;

use program::{Ended, waxseal, word};
use serde_json::Value;

/// What the doctor says.
struct Findings {
    all: Vec<Value>,
    status: i32,
}

/// Examines the site of this configuration.
fn examine(config: &Path) -> Findings {
    run(config, &[])
}

/// The doctor with these arguments as well.
fn run(config: &Path, more: &[&str]) -> Findings {
    let ended = ended(config, &[&["--json"], more].concat());
    assert!(ended.status < 2, "{ended:?}");
    let findings = Findings { all: ended.json(), status: ended.status };
    let is_sick = findings.all.iter().any(|finding| finding["state"] == "problem");
    assert_eq!(findings.status, i32::from(is_sick), "{}", findings.shown());
    findings
}

fn ended(config: &Path, more: &[&str]) -> Ended {
    waxseal(&[&["doctor", "--config", word(config)], more].concat())
}

impl Findings {
    fn shown(&self) -> String {
        self.all.iter().map(|finding| format!("{finding}\n")).collect()
    }

    /// Those of one check on subjects that hold `subject`.
    fn of(&self, check: &str, subject: &str) -> Vec<&Value> {
        let is_it = |finding: &&Value| {
            finding["check"] == check && finding["subject"].as_str().unwrap().contains(subject)
        };
        self.all.iter().filter(is_it).collect()
    }

    /// Asserts that a check came out so, in words that hold `says`; what is not well has a remedy.
    fn assert(&self, check: &str, subject: &str, state: &str, says: &str) -> &Value {
        let found = self
            .of(check, subject)
            .into_iter()
            .find(|finding| finding["state"] == state && finding["detail"].as_str().unwrap().contains(says));
        let found =
            found.unwrap_or_else(|| panic!("no {state} `{says}` of {check} {subject}:\n{}", self.shown()));
        assert!(state != "problem" || found["remedy"].is_string(), "{found}");
        found
    }

    /// Asserts that one check found nothing wrong, and something good.
    fn assert_well(&self, check: &str, subject: &str) {
        let found = self.of(check, subject);
        assert!(
            !found.is_empty() && found.iter().all(|finding| finding["state"] == "ok"),
            "{}",
            self.shown()
        );
    }

    /// Asserts that one check did not come out well.
    fn assert_not_well(&self, check: &str, subject: &str) {
        let is_well = |finding: &&Value| finding["state"] == "ok";
        assert!(!self.of(check, subject).iter().any(is_well), "{check} {subject}:\n{}", self.shown());
    }
}

/// A configuration that cannot be read at all is no finding: nothing could be looked at.
#[test]
fn without_a_configuration_nothing_is_done() {
    waxseal(&["doctor", "--config", "/nonexistent/waxseal.toml"]).assert_failed("No such file");
}

/// Every mistake is a finding, as check-config has them, and the rest is not passed off as well.
#[test]
fn mistakes_of_the_configuration_are_problems() {
    let folder = program::folder();
    let config = folder.path().join("waxseal.toml");
    std::fs::write(&config, "hostname = \"a.example\"\n[[listener]]\nname = \"in\"\nmode = \"verfy\"\n")
        .unwrap();
    let findings = examine(&config);
    findings.assert("configuration", "waxseal.toml:4", "problem", "verfy");
    findings.assert("configuration", "waxseal.toml", "not-checked", "without mistakes");
    assert!(findings.all.iter().all(|finding| finding["state"] != "ok"));
    // For people, in words, with the remedy below.
    let people = ended(&config, &[]);
    assert_eq!(people.status, 1);
    assert!(people.text().contains("problem      configuration: "), "{}", people.text());
    assert!(people.text().contains("-> waxseal check-config"), "{}", people.text());
}
