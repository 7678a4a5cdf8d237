//! The listeners: each on its own, then together.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::address::{ListenAddress, NextHop};
use super::authentication;
use super::check::Checker;
use super::mistake::Located;
use super::open_relay;
use super::parsed::Parsed;
use super::{Clients, Introduction, Listener, Mode, NextHopTls, raw};

/// What else stands in the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// A `[[domain]]`.
    pub(super) domain: bool,
    /// `[tls]`.
    pub(super) tls: bool,
}

/// Every listener that is complete; mistakes of the others are recorded.
pub(super) fn check(checker: &mut Checker<'_>, raw: Vec<raw::Listener>, is_given: Given) -> Vec<Listener> {
    if raw.is_empty() && checker.places.is_missing("listener") {
        checker.wrong("listener", "missing; at least one [[listener]] is needed");
    }
    let count = raw.len();
    checker.unique("listener", "name", raw.iter().map(|raw| raw.name.as_ref()));
    if !is_given.domain {
        check_sealing(checker, &raw);
    }
    if !is_given.tls {
        check_implicit_tls(checker, &raw);
    }
    let listeners: Vec<_> = raw
        .into_iter()
        .enumerate()
        .filter_map(|(index, raw)| listener(checker, index, raw, is_given))
        .collect();
    if listeners.len() == count {
        // Only now do positions in the list equal positions in the file.
        check_addresses(checker, &listeners);
        check_loops(checker, &listeners);
    }
    listeners
}

/// A sealing listener without a domain would seal nothing.
fn check_sealing(checker: &mut Checker<'_>, raw: &[raw::Listener]) {
    if checker.places.is_missing("domain") {
        for index in (0..raw.len()).filter(|index| raw[*index].mode == Some(Mode::Seal)) {
            let reason = "there is nothing to seal for; add a [[domain]] with name, selector and key";
            checker.wrong(&format!("listener[{index}].mode"), reason);
        }
    }
}

/// TLS needs a certificate.
fn check_implicit_tls(checker: &mut Checker<'_>, raw: &[raw::Listener]) {
    if checker.places.is_missing("tls") {
        for index in (0..raw.len()).filter(|index| raw[*index].implicit_tls) {
            let reason = "there is no certificate; add [tls] with certificate and key";
            checker.wrong(&format!("listener[{index}].implicit_tls"), reason);
        }
    }
}

fn listener(
    checker: &mut Checker<'_>,
    index: usize,
    raw: raw::Listener,
    is_given: Given,
) -> Option<Listener> {
    let at = |key: &str| format!("listener[{index}].{key}");
    let name = checker.required(&at("name"), raw.name, "name = \"inbound\"");
    if name.as_ref().is_some_and(|name| !is_name(name)) {
        checker.wrong(&at("name"), "must be 1 to 63 letters, digits, `-`, `_` or `.`");
    }
    let mode = checker.required(&at("mode"), raw.mode, "mode = \"seal\" or \"verify\"");
    let listen = checker.required(&at("listen"), raw.listen, "listen = [\"127.0.0.1:10025\"]");
    if listen.as_ref().is_some_and(Vec::is_empty) && checker.places.is_missing(&at("listen")) {
        checker.wrong(&at("listen"), "empty; write at least one address, as [\"127.0.0.1:10025\"]");
    }
    let listen = listen.map(|addresses| listen_addresses(checker, &at("listen"), addresses));
    let next_hop = checker.required(&at("next_hop"), raw.next_hop, "next_hop = \"127.0.0.1:10026\"");
    let next_hop = next_hop.map(|next_hop| match next_hop.0 {
        NextHop::Unix(path) => NextHop::Unix(checker.socket(&at("next_hop"), &path)),
        server @ NextHop::Server(_) => server,
    });
    let next_hop_ca = next_hop_ca(checker, at, raw.next_hop_tls, raw.next_hop_ca, next_hop.as_ref());
    let clients = raw.clients;
    let is_nobody = clients.as_ref().is_some_and(|clients| clients.networks().is_empty());
    if is_nobody && checker.places.is_missing(&at("clients")) {
        checker.wrong(&at("clients"), "empty, so nobody could connect; name networks, or leave the key out");
    }
    if mode == Some(Mode::Verify) && raw.unclean_header.is_some() {
        checker.wrong(&at("unclean_header"), "means nothing with mode \"verify\"; remove it");
    }
    let xclient_from = raw.xclient_from;
    let ways = (raw.xclient, raw.proxy_protocol);
    let introduction = introduction(checker, &at("proxy_protocol"), ways, &xclient_from);
    let mode = mode?;
    // Those whom the file lists; the whole Internet is on no list.
    let xforward_from =
        if raw.xforward { clients.clone().unwrap_or_else(Clients::loopback) } else { Clients::default() };
    let clients = clients.unwrap_or_else(|| match mode {
        Mode::Seal => Clients::loopback(),
        Mode::Verify => Clients::everyone(),
    });
    if !xclient_from.networks().is_empty() && !xclient_from.overlaps(&clients) {
        checker.wrong(&at("xclient_from"), "none of these may connect; add them to `clients`");
    }
    let listener = Listener {
        name: name?,
        mode,
        listen: listen?,
        next_hop: next_hop?,
        next_hop_tls: checker.places.locate(&at("next_hop_tls"), raw.next_hop_tls),
        next_hop_ca,
        implicit_tls: raw.implicit_tls,
        clients,
        auth: raw.auth,
        bare_line_ends: raw.bare_line_ends,
        unclean_header: raw.unclean_header.unwrap_or_default(),
        introduction,
        xclient_from,
        xforward_from,
        proxy_protocol_from: raw.proxy_protocol_from,
    };
    open_relay::check(checker, index, &listener);
    authentication::check(checker, index, &listener, is_given);
    check_clear(checker, index, &listener);
    Some(listener)
}

/// The port of submission where TLS begins with the connection (RFC 8314 §7.3).
const SUBMISSIONS: u16 = 465;

/// What goes wrong quietly with a next hop that is reached in clear, or so would be.
fn check_clear(checker: &mut Checker<'_>, index: usize, listener: &Listener) {
    let NextHop::Server(server) = &listener.next_hop else { return };
    let path = format!("listener[{index}].next_hop");
    if server.port == SUBMISSIONS && listener.next_hop_tls.value != NextHopTls::Implicit {
        let advice = "at port 465 TLS begins with the connection, and a server there greets nobody in clear; set \
                      next_hop_tls = \"implicit\"";
        checker.warn(&path, advice);
    } else if listener.mode == Mode::Seal
        && listener.next_hop_tls.value == NextHopTls::Off
        && listener.next_hop.is_far()
    {
        let advice = "clients are offered no AUTH, because passwords would cross the network to the next \
                      hop in clear; if your users log in there, set next_hop_tls = \"verify\"";
        checker.warn(&path, advice);
    }
}

fn listen_addresses(
    checker: &mut Checker<'_>,
    path: &str,
    addresses: Vec<Parsed<ListenAddress>>,
) -> Vec<ListenAddress> {
    let address = |(position, address): (usize, Parsed<ListenAddress>)| match address.0 {
        ListenAddress::Unix(file) => {
            ListenAddress::Unix(checker.socket(&format!("{path}[{position}]"), &file))
        }
        tcp @ ListenAddress::Tcp(_) => tcp,
    };
    addresses.into_iter().enumerate().map(address).collect()
}

/// A certificate is checked by the next hop's name, so there must be one; and where none is checked, a file of roots
/// would only seem to do something.
fn next_hop_ca(
    checker: &mut Checker<'_>,
    at: impl Fn(&str) -> String,
    tls: NextHopTls,
    ca: Option<PathBuf>,
    next_hop: Option<&NextHop>,
) -> Option<Located<PathBuf>> {
    if matches!(tls, NextHopTls::May | NextHopTls::Encrypt) && ca.is_some() {
        let reason = "means nothing unless next_hop_tls = \"verify\" or \"implicit\", because no certificate is checked";
        checker.wrong(&at("next_hop_ca"), reason);
    }
    if tls.checks_certificate() && matches!(next_hop, Some(NextHop::Unix(_))) {
        let reason =
            "a UNIX socket has no name to check a certificate by; choose \"off\", \"may\" or \"encrypt\"";
        checker.wrong(&at("next_hop_tls"), reason);
    }
    let ca = ca.and_then(|file| checker.path(&at("next_hop_ca"), file));
    ca.filter(|_| tls.checks_certificate())
}

/// The client is introduced in one way. A PROXY header goes out before XCLIENT comes in, so it could name only the
/// peer that says XCLIENT.
fn introduction(
    checker: &mut Checker<'_>,
    path: &str,
    (xclient, proxy_protocol): (bool, bool),
    xclient_from: &Clients,
) -> Introduction {
    match (xclient, proxy_protocol) {
        (false, false) => Introduction::Nothing,
        (true, false) => Introduction::Xclient,
        (true, true) => {
            checker.wrong(path, "does the same as `xclient`; keep the one that the next hop supports");
            Introduction::Xclient
        }
        (false, true) => {
            if !xclient_from.networks().is_empty() {
                checker.wrong(path, "is too early for a client announced by XCLIENT; use `xclient` instead");
            }
            Introduction::ProxyHeader
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
}

/// No two sockets may want the same address.
fn check_addresses(checker: &mut Checker<'_>, listeners: &[Listener]) {
    let mut taken: Vec<(&ListenAddress, &str)> = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        for (position, address) in listener.listen.iter().enumerate() {
            let path = format!("listener[{index}].listen[{position}]");
            if let Some((other, owner)) = taken.iter().find(|(other, _)| clash(address, other)) {
                checker.wrong(&path, format!("`{address}` is taken by `{other}` of listener `{owner}`"));
            }
            taken.push((address, &listener.name));
        }
    }
}

pub(super) fn clash(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => tcp_clash(one, other),
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
        (ListenAddress::Tcp(_), ListenAddress::Unix(_)) | (ListenAddress::Unix(_), ListenAddress::Tcp(_)) => {
            false
        }
    }
}

/// Port 0 asks the system for a free one.
fn tcp_clash(one: &SocketAddr, other: &SocketAddr) -> bool {
    let overlap = one.ip() == other.ip()
        || (one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified()));
    one.port() != 0 && one.port() == other.port() && overlap
}

/// Follows each next hop through our own listeners; mail must get out at last.
fn check_loops(checker: &mut Checker<'_>, listeners: &[Listener]) {
    let leads_to = |from: usize| {
        let hop = &listeners[from].next_hop;
        listeners.iter().position(|listener| listener.listen.iter().any(|address| hop.reaches(address)))
    };
    for (index, listener) in listeners.iter().enumerate() {
        let mut route = std::iter::successors(leads_to(index), |at| leads_to(*at)).take(listeners.len());
        if route.any(|at| at == index) {
            let reason =
                format!("`{}` leads back to this listener, so mail would go in circles", listener.next_hop);
            checker.wrong(&format!("listener[{index}].next_hop"), reason);
        }
    }
}
