//! The console as browsers and their enemies talk to it, by HTTP with the real program: docs/CONSOLE.md and SECURITY.md.

#![cfg(feature = "console")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod accounts;
mod deeds;
mod demo;
mod entrance;
mod hostile;
#[path = "../program/mod.rs"]
mod program;
mod refusals;
#[cfg(feature = "postgres")]
#[allow(dead_code, reason = "the tests of the state use more of it")]
#[path = "../state/server.rs"]
mod server;
#[cfg(feature = "postgres")]
mod shared;
mod visit;
