//! The limits of a session and of a message: one plain struct that the configuration fills and the SMTP side obeys.

use std::time::Duration;

/// Limits and time-outs, `[limits]` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message taken, in octets as they stand after dot-unstuffing. Default 50 MiB.
    pub message_size: u64,
    /// Largest header section of a message, in octets. Default 1 MiB.
    pub header_size: u64,
    /// Most sessions at once over all listeners. Default 500.
    pub connections: usize,
    /// Most sessions at once from one client address. Default 50.
    pub connections_per_client: usize,
    /// Octets of memory for sessions, their envelopes, TLS and messages in flight, over all sessions; beyond it messages go
    /// to files, and sessions and recipients are put off. Besides, one large message at a time is read back as a whole.
    /// Default 32 MiB.
    pub memory: u64,
    /// Most recipients of one message (RFC 5321 §4.5.3.1.8: at least 100). Default 1000.
    pub recipients: usize,
    /// Octets of messages that are in files, over all sessions. Default 4 GiB.
    pub spool: u64,
    /// The same for one client address. Default 1 GiB.
    pub spool_per_client: u64,
    /// Octets of the disk that such files leave free. Default 256 MiB.
    pub spool_reserve: u64,
    /// Longest wait for a client's next command line (RFC 5321 §4.5.3.2.7: 5 minutes). Default 5 minutes.
    pub command_timeout: Duration,
    /// Longest wait for the next octets of a message (RFC 5321 §4.5.3.2.5: 3 minutes). Default 3 minutes.
    pub data_timeout: Duration,
    /// Longest wait for one reply of the next hop (RFC 5321 §4.5.3.2.6: 10 minutes after the final dot).
    /// Default 5 minutes: the client's own patience must outlast ours.
    pub next_hop_timeout: Duration,
    /// Commands of one session that may be bad before it is ended with 421. Default 20.
    pub bad_commands: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: 50 << 20,
            header_size: 1 << 20,
            connections: 500,
            connections_per_client: 50,
            memory: 32 << 20,
            recipients: 1_000,
            spool: 4 << 30,
            spool_per_client: 1 << 30,
            spool_reserve: 256 << 20,
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            next_hop_timeout: Duration::from_secs(300),
            bad_commands: 20,
        }
    }
}
