//! The seal: its text form, its keys, sealing and checking (`docs/SPEC.md`).

pub mod delegation;
pub mod fingerprint;
pub mod format;
pub mod key;
pub mod knowledge;
pub mod message;
pub mod policy_record;
pub mod published;
pub mod remembered;
pub mod sign;
pub(crate) mod trust;
