//! The SMTP side (RFC 5321): a lockstep proxy between one client and one next hop.

pub mod capabilities;
pub mod command;
pub mod data;
pub mod reply;
pub mod transaction;

pub use data::BareLineEnds;
pub use reply::Reply;
