//! The attachment seal: hash every part of a message, sign the list into one header field, and tell later which attachments
//! are byte for byte what was sent.

pub mod domain;
pub mod doubt;
pub mod manifest;
pub mod message;
pub mod mime;
pub mod seal;
pub mod verdict;
