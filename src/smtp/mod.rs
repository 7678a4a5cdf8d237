//! The SMTP side (RFC 5321): a lockstep proxy between one client and one next hop that holds each message back
//! until it is complete and somebody has decided what becomes of it.
//!
//! [`protocol`] knows SMTP's words and no socket. [`session`] is one client's connection, [`next_hop`] the way to the server
//! behind us, [`server`] lets clients in. What decides about a message implements [`handler::MessageHandler`].

pub mod admission;
pub mod certificate;
pub mod connection;
pub mod content;
pub mod envelope;
pub mod handler;
pub mod limits;
pub mod listener;
pub mod memory;
pub mod next_hop;
pub mod protocol;
pub mod server;
pub mod session;
pub mod settings;
pub mod spool;
pub mod stream;
pub mod tls;
mod turned_away;

pub use content::Content;
pub use handler::{Decision, Disposal, MessageHandler, Outcome, SessionInfo, Watch};
pub use listener::Listener;
pub use protocol::data::BareLineEnds;
pub use protocol::reply::Reply;
pub use server::{Resources, serve};
pub use settings::{Address, Introduction, NextHopTls, Settings, Tls};
