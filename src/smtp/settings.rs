//! What the configuration says about one listener. A session keeps the settings that it began with; after a
//! reload new sessions get new ones.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::limits::Limits;
use crate::smtp::data::BareLineEnds;

/// The settings of one listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The listener's name, for logs.
    pub listener: String,
    /// Our name in the greeting and the first line of EHLO's reply.
    pub hostname: String,
    /// The next hop, `host:port`.
    pub next_hop: String,
    /// Who may connect; nobody else.
    pub clients: Vec<IpNet>,
    /// What is done with a message that holds a bare CR or LF.
    pub bare_line_ends: BareLineEnds,
    /// Limits and time-outs.
    pub limits: Limits,
}

impl Settings {
    /// Whether this client may connect. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn admits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.clients.iter().any(|network| network.contains(&client))
    }
}
