#![doc = include_str!("../README.md")]
//!
//! ## Modules
//!
//! What the three tasks need is at the crate's root. The rest is here; each module uses itself and those above it.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`domain`] | domain names, organisational domains, selectors |
//! | [`doubt`] | why two mail readers could disagree about a message |
//! | [`message`] | header section, author, body hash, edits, messages as stored in files |
//! | [`mime`] | a message's parts, their names and their decoded bytes |
//! | [`manifest`] | the signed list of parts, and what became of each |
//! | [`mod@seal`] | the field, the keys, what is known of them, sealing |
//! | [`verdict`] | verifying, and its results in words, JSON and Authentication-Results |

pub mod domain;
pub mod doubt;
pub mod manifest;
pub mod message;
pub mod mime;
pub mod seal;
pub mod verdict;

pub use domain::{DomainName, Selector};
pub use message::edits::Edits;
pub use seal::key::{KeyRecord, PublicKey, SealingKey};
pub use seal::knowledge::{Knowledge, Pin, PinnedKey, Pins};
pub use seal::message::Message;
pub use seal::sign::{DEFAULT_LIFETIME, Moment, Sealer, seal};
pub use verdict::verify::verify;
pub use verdict::{Reason, Verdict, Verification};
