//! Held mail in the hands of people, on each database: listed, shown, released by one or by two, kept, deleted, removed by age, and on
//! record afterwards.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod desk;
mod listing;
mod mistakes;
#[path = "../program/mod.rs"]
mod program;
mod questions;
mod release;
mod retention;
#[cfg(feature = "postgres")]
#[allow(dead_code, reason = "no test here stops the server")]
#[path = "../state/server.rs"]
mod server;
mod showing;
