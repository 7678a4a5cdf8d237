//! `waxseal setup` on real Postfix instances: as Debian installs it, with submission, with milters, with what setup does not
//! understand; a second time, undone, and interrupted. Needs root and Postfix; without them the tests are skipped, unless
//! `WAXSEAL_REQUIRE_LIVE` is set.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../live/dovecot.rs"]
mod dovecot;
mod interrupted;
mod milters;
#[path = "../live/postfix.rs"]
#[allow(dead_code, reason = "these files use a part of it")]
mod postfix_server;
#[path = "../program/mod.rs"]
mod program;
mod site;
mod submission;
mod untouched;
mod usual;
