//! What systemd and we tell each other: sockets that it hands over, and our state. Without systemd, nothing.

pub mod sockets;
pub mod supervisor;

pub use sockets::{HandedOver, Socket, SocketError};
pub use supervisor::Supervisor;
