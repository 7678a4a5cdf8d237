//! SMTP's words (RFC 5321): commands, replies, messages, and what names a client. Text in, values out, without a socket.

pub mod capabilities;
pub mod command;
pub mod data;
pub mod identity;
pub(crate) mod mechanisms;
pub(crate) mod parameters;
pub(crate) mod path;
pub mod proxy_header;
pub mod reply;
