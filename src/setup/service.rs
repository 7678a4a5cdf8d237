//! The gateway as a running program: started by systemd, or by hand where there is no systemd.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::doctor::{programs, quoted};

/// The configuration that the unit uses.
pub const CONFIG: &str = "/etc/waxseal/waxseal.toml";

/// How long systemd may take until the gateway listens.
const START: Duration = Duration::from_secs(20);

/// Who starts the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// systemd, by the unit `waxseal`.
    Systemd {
        /// Whether it is started with the system already.
        is_enabled: bool,
    },
    /// The administrator.
    ByHand,
}

impl Service {
    /// Of the gateway with this configuration.
    pub(super) fn of(config: &Path) -> Self {
        let is_usual = config == Path::new(CONFIG) && Path::new("/run/systemd/system").is_dir();
        if is_usual && systemctl(&["cat", "waxseal.service"]).is_ok() {
            Self::Systemd { is_enabled: systemctl(&["is-enabled", "--quiet", "waxseal"]).is_ok() }
        } else {
            Self::ByHand
        }
    }

    /// Has systemd start the gateway, or start it anew after a change of its configuration. Does nothing without systemd.
    pub(super) fn start(self, is_changed: bool) -> Result<(), String> {
        let Self::Systemd { is_enabled } = self else { return Ok(()) };
        if !is_enabled {
            systemctl(&["enable", "waxseal"])?;
        }
        systemctl(&[if is_changed { "restart" } else { "start" }, "waxseal"])
    }

    /// Stops the gateway, and has systemd start it no more.
    pub(super) fn stop(self) -> Result<(), String> {
        match self {
            Self::Systemd { .. } => systemctl(&["disable", "--now", "waxseal"]),
            Self::ByHand => Ok(()),
        }
    }

    /// How long the gateway may take until it listens.
    pub(super) fn patience(self, by_hand: Duration) -> Duration {
        match self {
            Self::Systemd { .. } => START,
            Self::ByHand => by_hand,
        }
    }
}

/// How an administrator starts the gateway where systemd does not.
pub(super) fn command(config: &Path, user: &str) -> String {
    let config =
        if config == Path::new(CONFIG) { String::new() } else { format!(" --config {}", quoted(config)) };
    format!("setpriv --reuid={user} --regid={user} --init-groups waxseal run{config} &")
}

fn systemctl(arguments: &[&str]) -> Result<(), String> {
    let ended = programs::run("systemctl", arguments)?;
    if ended.status.success() {
        return Ok(());
    }
    let said = ended.stderr.lines().next().unwrap_or("it fails without a message").to_owned();
    Err(format!("systemctl {}: {said}", arguments.join(" ")))
}

/// Whether somebody listens at each of these ports of 127.0.0.1.
pub(super) fn listens(ports: &[u16]) -> bool {
    let connects = |port: &u16| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    };
    ports.iter().all(connects)
}

/// Waits until somebody listens at each of these ports of 127.0.0.1.
pub(super) fn wait_for(ports: &[u16], patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while !listens(ports) {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(100));
    }
    true
}
