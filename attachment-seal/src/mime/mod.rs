//! MIME (RFC 2045–2047, 2183, 2231): a message to its leaves, with every structural doubt met on the way.
//!
//! [`mod@walk`] finds the parts, strictly and in one pass; [`field`] and [`name`] read the fields that say what a part is;
//! [`decode`] turns a leaf's body into its bytes, window by window; [`text`] canonicalises texts;
//! [`scan`] tells what they hold; [`second_view`] asks mail-parser what it sees.

pub mod decode;
pub mod digest;
pub mod field;
pub mod leaf;
pub mod marks;
pub mod name;
pub mod plain;
pub mod scan;
pub mod second_view;
pub mod text;
pub mod walk;

pub use digest::{Digest, digest};
pub(crate) use leaf::reads_as_encoded;
pub use leaf::{Encoding, Kind, Leaf};
pub use walk::{Container, Entity, MAX_DEPTH, MAX_LEAVES, Structure, walk};
