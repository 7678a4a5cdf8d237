//! The SMTP side (RFC 5321): a lockstep proxy between one client and one next hop that holds each message back
//! until it is complete and somebody has decided what becomes of it.
//!
//! Without a socket: [`command`], `path`, `parameters`, `mechanisms`, [`reply`], [`data`], [`transaction`], [`capabilities`], [`identity`],
//! [`proxy_header`]. With one: [`stream`], [`tls`], [`certificate`], [`connection`], [`listener`], [`next_hop`],
//! [`visit`], [`session`], [`server`]. What decides about a message
//! implements [`handler::MessageHandler`].

pub mod admission;
mod arrival;
pub mod capabilities;
pub mod certificate;
pub mod command;
pub mod connection;
pub mod content;
pub mod data;
pub mod dial;
mod end;
pub mod hand_over;
pub mod handler;
pub mod identity;
mod introduction;
pub mod listener;
mod mechanisms;
pub mod memory;
mod message;
pub mod next_hop;
mod parameters;
mod path;
pub mod proxy_header;
mod refusal;
mod renewal;
pub mod reply;
pub mod server;
pub mod session;
pub mod settings;
pub mod spool;
mod starttls;
pub mod stream;
pub mod tls;
pub mod transaction;
mod turned_away;
pub mod visit;
mod wakefulness;

pub use content::Content;
pub use data::BareLineEnds;
pub use handler::{Decision, Disposal, MessageHandler, Outcome, SessionInfo, Watch};
pub use listener::Listener;
pub use reply::Reply;
pub use server::{Resources, serve};
pub use settings::{Address, Introduction, NextHopTls, Settings, Tls};
