//! Whether a listener would make an open relay of its next hop: one that is not told who the client is takes every
//! client for this gateway, and mail servers pass on whatever comes from machines that they count as their own.

use ipnet::IpNet;

use super::address::{Host, NextHop};
use super::check::Checker;
use super::{Auth, Introduction, Listener, Mode};

/// A sealing listener for strangers is refused: its next hop is meant to pass on what it gets. A verifying one
/// for strangers is what the gateway is for, so that its next hop may trust us too much is worth a warning.
pub(super) fn check(checker: &mut Checker<'_>, index: usize, listener: &Listener) {
    // One that has proved to the next hop who it is is no stranger.
    if listener.introduction != Introduction::Nothing || listener.auth == Auth::Required {
        return;
    }
    let Some(network) = listener.clients.networks().iter().find(|network| !is_local(network)) else { return };
    match listener.mode {
        Mode::Seal => checker.wrong(
            &format!("listener[{index}].clients"),
            format!(
                "`{network}` lets strangers send through `{}`, which takes every client for this gateway: \
                 an open relay; name private networks only; or announce the client to the next hop by \
                 xclient = true (or proxy_protocol = true); or demand a login by auth = \"required\"",
                listener.next_hop
            ),
        ),
        Mode::Verify if is_near(&listener.next_hop) => checker.warn(
            &format!("listener[{index}].next_hop"),
            format!(
                "`{}` takes every client for this gateway, and is an open relay if it trusts this gateway's \
                 address; set xclient = true here, or have it trust nobody (in Postfix: mynetworks empty and \
                 reject_unauth_destination)",
                listener.next_hop
            ),
        ),
        Mode::Verify => {}
    }
}

/// Networks that no stranger can call from: loopback, private (RFC 1918), link-local, unique local (RFC 4193).
const LOCAL: [&str; 8] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fe80::/10",
    "fc00::/7",
];

/// Whether no address of `network` is a stranger's. What stands for IPv4 in IPv6 is the whole Internet again, be it
/// translated (`64:ff9b::/96`, RFC 6052) or tunnelled (`2002::/16`, RFC 3056).
fn is_local(network: &IpNet) -> bool {
    LOCAL.iter().filter_map(|local| local.parse::<IpNet>().ok()).any(|local| local.contains(network))
}

/// Whether the next hop may count us among its own machines. A name says nothing about that; the usual one is of a
/// neighbour.
fn is_near(next_hop: &NextHop) -> bool {
    let host = match next_hop {
        NextHop::Server(server) => &server.host,
        NextHop::Unix(_) => return true,
    };
    match host {
        Host::Ip(ip) => ip.is_unspecified() || is_local(&IpNet::from(ip.to_canonical())),
        Host::Name(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_networks_without_strangers() {
        for local in ["127.0.0.0/8", "10.1.0.0/16", "172.31.255.255/32", "192.168.0.0/16", "169.254.1.1/32"] {
            assert!(is_local(&local.parse().unwrap()), "{local}");
        }
        for local in ["::1/128", "fe80::/64", "fd12:3456::/32", "fc00::/7"] {
            assert!(is_local(&local.parse().unwrap()), "{local}");
        }
    }

    #[test]
    fn knows_networks_with_strangers() {
        for public in
            ["0.0.0.0/0", "127.0.0.1/0", "0.0.0.0/1", "10.0.0.0/7", "172.16.0.0/11", "192.168.0.0/15"]
        {
            assert!(!is_local(&public.parse().unwrap()), "{public}");
        }
        // Shared with a provider's other customers (RFC 6598), and plainly public.
        for public in ["100.64.0.0/10", "198.51.100.7/32"] {
            assert!(!is_local(&public.parse().unwrap()), "{public}");
        }
        for public in ["::/0", "::/64", "2000::/3", "2001:db8::/32", "64:ff9b::/96", "64:ff9b::a00:0/104"] {
            assert!(!is_local(&public.parse().unwrap()), "{public}");
        }
        for public in ["2002:a00::/24", "::ffff:0:0/90", "fc00::/6", "fec0::/10"] {
            assert!(!is_local(&public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn knows_neighbours() {
        for (next_hop, near) in [
            ("127.0.0.1:25", true),
            ("[::1]:25", true),
            ("[::ffff:10.0.0.1]:25", true),
            ("0.0.0.0:25", true),
            ("postfix:25", true),
            ("198.51.100.7:25", false),
            ("[2001:db8::1]:25", false),
        ] {
            assert_eq!(is_near(&next_hop.parse().unwrap()), near, "{next_hop}");
        }
    }
}
