//! The state: what each adapter promises, databases of released versions, and the folder with its files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod accounts;
mod contract;
mod copies;
mod faults;
mod folder;
mod listed;
#[path = "../program/mod.rs"]
mod program;
mod released;
mod rows;
mod search;
#[cfg(feature = "postgres")]
mod server;
#[cfg(feature = "postgres")]
mod shared;
mod told;
mod upkeep;
