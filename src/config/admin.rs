//! `[admin]`: where metrics and health are told, to whoever may connect there: HTTP knows no password here.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::check::Checker;
use super::listeners::clash;
use super::{Admin, ListenAddress, Listener, raw};

/// The settings in force; mistakes are recorded.
pub(super) fn check(checker: &mut Checker<'_>, raw: raw::Admin, listeners: &[Listener]) -> Admin {
    let addresses = raw.listen.map(|addresses| addresses.0).unwrap_or_default();
    let mut listen: Vec<ListenAddress> = Vec::new();
    for (position, address) in addresses.into_iter().enumerate() {
        let path = checker.places.element("admin.listen", position);
        let address = match address {
            ListenAddress::Unix(file) => ListenAddress::Unix(checker.socket(&path, &file)),
            tcp @ ListenAddress::Tcp(_) => tcp,
        };
        if let ListenAddress::Tcp(socket) = &address
            && !is_loopback(socket)
        {
            let advice = format!(
                "`{address}` can be reached from other machines, and whoever reaches it may read: there is no password; \
                 listen on 127.0.0.1, or see that a firewall lets in only who watches this gateway"
            );
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
    Admin { listen }
}

fn is_loopback(address: &SocketAddr) -> bool {
    let ip: IpAddr = address.ip().to_canonical();
    ip.is_loopback()
}

/// A list of addresses, or one text with commas, which is how the environment has it.
#[derive(Debug)]
pub(super) struct Addresses(Vec<ListenAddress>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressesVisitor)
    }
}

struct AddressesVisitor;

impl<'de> Visitor<'de> for AddressesVisitor {
    type Value = Addresses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of addresses such as [\"127.0.0.1:9825\"]")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(address).collect::<Result<_, _>>().map(Addresses).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut addresses = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            addresses.push(address(text.trim()).map_err(de::Error::custom)?);
        }
        Ok(Addresses(addresses))
    }
}

fn address(text: &str) -> Result<ListenAddress, String> {
    text.parse().map_err(|error| format!("`{text}`: {error}"))
}
