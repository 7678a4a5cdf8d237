//! MIME (RFC 2045–2047, 2183, 2231): a message to its parts and leaves.
//!
//! [`walk`] finds the parts in one pass; `field` and `name` read the fields that tell what a part is, leniently; `plain` is
//! the grammar for what was touched on the way; [`decode`] turns a leaf's body into its bytes, window by window, [`digest()`]
//! into its hash; [`marks`] tell that a part is as it was; [`text`] canonicalises texts; [`scan`] tells what they hold;
//! `second_view` asks mail-parser what it sees; `octets` searches text that is made to cost; [`Beyond`] tells of messages
//! that are too much for common readers.

mod beyond;
pub mod decode;
mod digest;
mod field;
mod leaf;
pub mod marks;
mod name;
pub(crate) mod octets;
pub(crate) mod plain;
pub mod scan;
pub(crate) mod second_view;
pub mod text;
mod walk;

pub use beyond::Beyond;
pub(crate) use beyond::{READERS_DEPTH, READERS_FIELDS, READERS_PARTS};
pub use digest::{Digest, digest};
pub(crate) use leaf::reads_as_encoded;
pub use leaf::{Encoding, Kind, Leaf};
pub use name::plain_text;
pub(crate) use walk::levels;
pub use walk::{Container, Entity, MAX_DEPTH, MAX_LEAVES, Structure, walk};
