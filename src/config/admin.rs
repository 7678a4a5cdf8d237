//! `[admin]`: where metrics and health are served, to everybody who may connect there: there is no password.

use super::check::Checker;
use super::listeners::clash;
use super::{Admin, ListenAddress, Listener, raw};

/// The settings in force; mistakes are recorded.
pub(super) fn check(checker: &mut Checker<'_>, raw: raw::Admin, listeners: &[Listener]) -> Admin {
    let addresses = raw.listen.map(|addresses| addresses.0).unwrap_or_default();
    let listen = addresses_of(checker, "admin.listen", addresses, listeners, |address| {
        Some(format!(
            "`{address}` can be reached from other machines, and there is no password: everybody who \
             reaches it may read; listen on 127.0.0.1, or let a firewall admit only your monitoring"
        ))
    });
    let hosts = raw.hosts.map(|hosts| hosts.0).unwrap_or_default();
    Admin { listen, hosts }
}

/// The addresses of a setting, none of which is another's. Of one that other machines reach, `advise` may warn.
pub(super) fn addresses_of(
    checker: &mut Checker<'_>,
    setting: &str,
    addresses: Vec<ListenAddress>,
    listeners: &[Listener],
    advise: impl Fn(&ListenAddress) -> Option<String>,
) -> Vec<ListenAddress> {
    let mut listen: Vec<ListenAddress> = Vec::new();
    for (position, address) in addresses.into_iter().enumerate() {
        let path = checker.places.element(setting, position);
        let address = match address {
            ListenAddress::Unix(file) => ListenAddress::Unix(checker.socket(&path, &file)),
            tcp @ ListenAddress::Tcp(_) => tcp,
        };
        if !is_near(&address)
            && let Some(advice) = advise(&address)
        {
            checker.warn(&path, advice);
        }
        let mut taken = listeners.iter().flat_map(|other| other.listen.iter().map(|at| (at, &other.name)));
        if let Some((other, owner)) = taken.find(|(other, _)| clash(&address, other)) {
            checker.wrong(&path, format!("`{address}` is taken by `{other}` of listener `{owner}`"));
        } else if let Some(other) = listen.iter().find(|other| clash(&address, other)) {
            checker.wrong(&path, format!("`{address}` is taken by `{other}` already"));
        }
        listen.push(address);
    }
    listen
}

/// Whether only this machine reaches an address.
pub(super) fn is_near(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
        ListenAddress::Unix(_) => true,
    }
}
