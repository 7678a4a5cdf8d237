//! What `auth = "required"` needs. Credentials cross no network in clear, so without TLS on both sides of the gateway no client
//! could ever give any.

use super::address::{Host, NextHop};
use super::check::Checker;
use super::listeners::Given;
use super::{Auth, Listener, Mode, NextHopTls};

pub(super) fn check(checker: &mut Checker<'_>, index: usize, listener: &Listener, is_given: Given) {
    if listener.auth != Auth::Required {
        return;
    }
    let path = format!("listener[{index}].auth");
    if listener.mode == Mode::Verify {
        return checker.wrong(&path, "means nothing with mode \"verify\"; remove it");
    }
    let is_loopback = |ip: std::net::IpAddr| ip.to_canonical().is_loopback();
    let all_local = listener.clients.networks().iter().all(|network| is_loopback(network.network()));
    if !is_given.tls && !all_local && checker.places.is_missing("tls") {
        checker.wrong(
            &path,
            "clients give credentials under TLS only, and there is no certificate; add [tls] with certificate and key",
        );
    }
    let is_near = match &listener.next_hop {
        NextHop::Unix(_) => true,
        NextHop::Server(server) => match &server.host {
            Host::Ip(ip) => is_loopback(*ip),
            Host::Name(name) => name.as_str() == "localhost",
        },
    };
    if is_near {
        return;
    }
    match listener.next_hop_tls.value {
        NextHopTls::Verify | NextHopTls::Implicit => {}
        NextHopTls::Off => checker.wrong(
            &path,
            format!(
                "credentials go to `{}` under TLS only; set next_hop_tls = \"verify\"",
                listener.next_hop
            ),
        ),
        NextHopTls::May | NextHopTls::Encrypt => checker.warn(
            &format!("listener[{index}].next_hop_tls"),
            format!(
                "no certificate is checked, so your users' passwords go to `{}` or to an attacker in its \
                 place; set next_hop_tls = \"verify\"",
                listener.next_hop
            ),
        ),
    }
}
