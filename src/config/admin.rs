//! `[admin]`: where metrics and health are served, to everybody who may connect there: there is no password.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

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
                "`{address}` can be reached from other machines, and there is no password: everybody who \
                 reaches it may read; listen on 127.0.0.1, or let a firewall admit only your monitoring"
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
    let hosts = raw.hosts.map(|hosts| hosts.0).unwrap_or_default();
    Admin { listen, hosts }
}

fn is_loopback(address: &SocketAddr) -> bool {
    let ip: IpAddr = address.ip().to_canonical();
    ip.is_loopback()
}

/// A list of texts, or one text with commas, which is how the environment has it.
#[derive(Debug)]
pub(super) struct List<T>(Vec<T>);

impl<'de, T> Deserialize<'de> for List<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T> Visitor<'de> for ListVisitor<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts such as [\"127.0.0.1:9825\"]")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(parsed).collect::<Result<_, _>>().map(List).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            values.push(parsed(text.trim()).map_err(de::Error::custom)?);
        }
        Ok(List(values))
    }
}

fn parsed<T>(text: &str) -> Result<T, String>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    text.parse().map_err(|error| format!("`{text}`: {error}"))
}
