//! The state: what each adapter promises, databases of released versions, and the folder with its files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod contract;
mod folder;
#[path = "../program/mod.rs"]
mod program;
mod released;
#[cfg(feature = "postgres")]
mod server;
#[cfg(feature = "postgres")]
mod shared;
