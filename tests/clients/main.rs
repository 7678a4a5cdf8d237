//! Mail from programs that people use, through a sealing and a verifying gateway: it arrives, octet for octet, with
//! the verdict `pass`. And the gateways between Postfix and Exim, each in every place.
//!
//! A program that is not installed has its test skipped, unless `WAXSEAL_REQUIRE_LIVE` is set; `tests/run` installs them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod exim;
mod lmtp;
mod passage;
#[path = "../live/postfix.rs"]
#[allow(dead_code, reason = "each test uses a part of this")]
mod postfix;
#[path = "../program/mod.rs"]
mod program;
mod programs;
mod receiver;
mod servers;
mod tls;

use std::process::Command;

use program::run::Run;

/// Where no program is installed, the harness has all tests of programs pass, and `tests/run` counts them as skipped.
#[test]
fn what_is_skipped_has_not_passed() {
    let skipping = |more: &[&str]| {
        let mut tests = Command::new(std::env::current_exe().unwrap());
        tests.args(["programs::", "servers::", "tls::"]).args(more);
        tests.env("PATH", "/nonexistent").env_remove("WAXSEAL_REQUIRE_LIVE");
        let output = tests.run();
        assert!(output.status.success(), "{output:?}");
        output
    };
    let count = String::from_utf8(skipping(&["--list"]).stdout).unwrap().matches(": test\n").count();
    assert!(count > 10);
    let output = skipping(&[]);
    let folder = program::folder();
    let log = folder.path().join("log");
    std::fs::write(&log, [output.stderr, output.stdout].concat()).unwrap();
    let tally = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tally.awk");
    let summed_up = Command::new("awk").args(["-f", tally, program::word(&log)]).run();
    let summed_up = String::from_utf8(summed_up.stdout).unwrap();
    assert!(summed_up.contains("SKIPPED: clients::programs::curl: needs curl\n"), "{summed_up}");
    assert!(summed_up.ends_with(&format!("\n0 passed, 0 failed, {count} skipped\n")), "{summed_up}");
}
