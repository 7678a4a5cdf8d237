//! What is believed of domains and their keys, line by line of SEAL.md §6.2, §6.4, §7 and §8 (docs/SPEC.md §8 to §10).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod authors;
mod keys;
mod memory;
mod policies;
mod world;
