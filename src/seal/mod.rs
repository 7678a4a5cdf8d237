//! The seal: its text form, its keys, sealing and checking (SEAL.md, `docs/SPEC.md`).

pub mod body;
pub mod format;
pub mod key;
pub mod knowledge;
pub mod message;
pub mod sign;
pub mod verify;
