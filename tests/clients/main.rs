//! Mail from programs that people use, through a sealing and a verifying gateway: it arrives, octet for octet, with
//! the verdict `pass`. And the gateways between Postfix and Exim, each in every place.
//!
//! A program that is not installed has its test skipped with a word, unless `WAXSEAL_REQUIRE_LIVE` is set;
//! `tests/run` installs them.

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

/// Whether all of this is there. Where it is not, says so, or fails if nothing may be skipped.
fn are_there(what: &str, needs: &[(&str, bool)]) -> bool {
    let missing: Vec<&str> = needs.iter().filter(|(_, is_there)| !is_there).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return true;
    }
    let reason = format!("{what}: needs {}", missing.join(", "));
    assert!(std::env::var_os("WAXSEAL_REQUIRE_LIVE").is_none(), "{reason}");
    program::skipped(&reason);
    false
}

/// Whether this command works.
fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}
