//! The header with which a proxy, such as HAProxy, says whom it connects for (the PROXY protocol, versions 1 and 2),
//! and the one that we write. The only file that names ppp.

use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};
use thiserror::Error;

/// Most octets of a version 1 header, CR LF included.
const MAX_V1: usize = 107;
/// Octets of a version 2 header before those that it counts itself.
const V2_START: usize = 16;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The proxy connects for this client.
    Client {
        /// The client's address.
        source: SocketAddr,
        /// The address that it connected to.
        destination: SocketAddr,
    },
    /// LOCAL, UNKNOWN or no Internet address: the client is the peer itself.
    Peer,
}

/// Why octets are no header that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseProxyHeaderError {
    /// They are not the beginning of one.
    #[error("no PROXY header")]
    Missing,
    /// It begins like one.
    #[error("malformed PROXY header")]
    Malformed,
    /// nginx is known to write such a line where it listens in one family and connects in the other.
    #[error("the addresses in the PROXY header are of two families, IPv4 and IPv6")]
    MixedFamilies,
    /// It is about datagrams.
    #[error("the PROXY header is not about a TCP connection")]
    NotTcp,
}

/// Reads a header off the front of `octets` and says how long it is; `None` if there must come more of it.
pub fn parse(octets: &[u8]) -> Result<Option<(Origin, usize)>, ParseProxyHeaderError> {
    if may_begin(octets, v2::PROTOCOL_PREFIX) {
        parse_v2(octets)
    } else if may_begin(octets, v1::PROTOCOL_PREFIX.as_bytes()) {
        parse_v1(octets)
    } else {
        Err(ParseProxyHeaderError::Missing)
    }
}

/// The line of a version 1 header that is wrong, for the log; empty where there is no such line.
pub(crate) fn shown(octets: &[u8]) -> String {
    if !octets.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        return String::new();
    }
    let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
    line[..line.len().min(MAX_V1)].trim_ascii_end().escape_ascii().to_string()
}

/// Whether `octets` begin with `prefix`, as far as they go.
fn may_begin(octets: &[u8], prefix: &[u8]) -> bool {
    octets.starts_with(prefix) || prefix.starts_with(octets)
}

fn parse_v1(octets: &[u8]) -> Result<Option<(Origin, usize)>, ParseProxyHeaderError> {
    // Whole lines only: to ppp some beginnings of a good line are wrong.
    let start = &octets[..octets.len().min(MAX_V1)];
    let Some(line_feed) = memchr::memchr(b'\n', start) else {
        return if start.len() < MAX_V1 { Ok(None) } else { Err(ParseProxyHeaderError::Malformed) };
    };
    let line = &octets[..=line_feed];
    let wrong = if has_two_families(line) {
        ParseProxyHeaderError::MixedFamilies
    } else {
        ParseProxyHeaderError::Malformed
    };
    let header = v1::Header::try_from(line).map_err(|_| wrong)?;
    if header.header.len() != line.len() {
        return Err(wrong);
    }
    let origin = match header.addresses {
        v1::Addresses::Tcp4(ip) => {
            client(ip.source_address, ip.source_port, ip.destination_address, ip.destination_port)
        }
        v1::Addresses::Tcp6(ip) => {
            client(ip.source_address, ip.source_port, ip.destination_address, ip.destination_port)
        }
        v1::Addresses::Unknown => Origin::Peer,
    };
    Ok(Some((origin, line.len())))
}

fn has_two_families(line: &[u8]) -> bool {
    let words: Vec<_> = line.split(|octet| *octet == b' ').collect();
    let address = |at: usize| std::str::from_utf8(words.get(at)?).ok()?.parse::<IpAddr>().ok();
    matches!((address(2), address(3)), (Some(one), Some(other)) if one.is_ipv4() != other.is_ipv4())
}

fn parse_v2(octets: &[u8]) -> Result<Option<(Origin, usize)>, ParseProxyHeaderError> {
    let header = match v2::Header::try_from(octets) {
        Ok(header) => header,
        Err(v2::ParseError::Incomplete(_) | v2::ParseError::Partial(..)) => return Ok(None),
        Err(_) => return Err(ParseProxyHeaderError::Malformed),
    };
    let origin = match (header.command, header.addresses) {
        (v2::Command::Local, _) | (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => Origin::Peer,
        _ if header.protocol != v2::Protocol::Stream => return Err(ParseProxyHeaderError::NotTcp),
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
            client(ip.source_address, ip.source_port, ip.destination_address, ip.destination_port)
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
            client(ip.source_address, ip.source_port, ip.destination_address, ip.destination_port)
        }
    };
    Ok(Some((origin, V2_START + header.length())))
}

fn client(
    source: impl Into<IpAddr>,
    source_port: u16,
    destination: impl Into<IpAddr>,
    destination_port: u16,
) -> Origin {
    let address = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    Origin::Client {
        source: address(source.into(), source_port),
        destination: address(destination.into(), destination_port),
    }
}

/// The header that tells the next hop of a client: version 1, which all take. If the addresses are of two families
/// both are written as IPv6.
pub fn written(source: SocketAddr, destination: SocketAddr) -> String {
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let addresses = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            v1::Addresses::new_tcp4(from, to, source.port(), destination.port())
        }
        _ => v1::Addresses::new_tcp6(as_v6(from), as_v6(to), source.port(), destination.port()),
    };
    addresses.to_string()
}

/// Whether a header that we wrote is about a client by IPv6.
pub fn is_of_ipv6(header: &str) -> bool {
    header.starts_with("PROXY TCP6")
}

fn as_v6(address: IpAddr) -> std::net::Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(source: &str, destination: &str) -> Origin {
        Origin::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u16).to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, payload].concat()
    }

    /// 192.0.2.7:4711 to 203.0.113.1:25.
    const V4: [u8; 12] = [192, 0, 2, 7, 203, 0, 113, 1, 0x12, 0x67, 0, 25];

    #[test]
    fn reads_a_header_and_no_more_in_any_split() {
        let v4 = from("192.0.2.7:4711", "203.0.113.1:25");
        let with_tlv = [&V4[..], &[4, 0, 1, 0]].concat();
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], &[0, 5, 0, 25]].concat();
        for (header, origin) in [
            (b"PROXY TCP4 192.0.2.7 203.0.113.1 4711 25\r\n".to_vec(), v4),
            (b"PROXY TCP6 2001:db8::1 ::1 5 25\r\n".to_vec(), from("[2001:db8::1]:5", "[::1]:25")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:203.0.113.1 4711 25\r\n".to_vec(), v4),
            (b"PROXY UNKNOWN\r\n".to_vec(), Origin::Peer),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Origin::Peer),
            (v2(1, 0x11, &V4), v4),
            (v2(1, 0x11, &with_tlv), v4),
            (v2(1, 0x21, &v6), from("[2001:db8::1]:5", "[::1]:25")),
            (v2(0, 0x00, b""), Origin::Peer),
            (v2(0, 0x11, &V4), Origin::Peer),
            (v2(1, 0x00, b"whatever"), Origin::Peer),
        ] {
            let text = header.escape_ascii();
            let stream = [&header[..], b"EHLO a\r\n"].concat();
            assert_eq!(parse(&stream), Ok(Some((origin, header.len()))), "{text}");
            for at in 0..header.len() {
                assert_eq!(parse(&header[..at]), Ok(None), "{text} up to {at}");
            }
        }
    }

    #[test]
    fn refuses_what_is_no_header() {
        use ParseProxyHeaderError::*;
        for (octets, error) in [
            (&b"EHLO client.example\r\n"[..], Missing),
            (b"\r\n\r\nQUIT\r\n", Missing),
            (b"PROXY\r\n", Malformed),
            (b"PROXYTCP4 192.0.2.7 203.0.113.1 4711 25\r\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 203.0.113.1 4711 25\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 203.0.113.1 4711 25\rEHLO\r\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 203.0.113.1 4711 025\r\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 203.0.113.1 4711 65536\r\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 203.0.113.1 4711\r\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 203.0.113.1 4711 25 1\r\n", Malformed),
            (b"PROXY TCP4 ::1 203.0.113.1 4711 25\r\n", MixedFamilies),
            (b"PROXY TCP4 192.0.2.7 2001:db8::1 4711 25\r\n", MixedFamilies),
            (b"PROXY TCP6 2001:db8::1 192.0.2.7 4711 25\r\n", MixedFamilies),
            (b"PROXY TCP5 192.0.2.7 203.0.113.1 4711 25\r\n", Malformed),
            (&b"PROXY U".repeat(20), Malformed),
            (&v2(2, 0x11, &V4), Malformed),
            (&v2(1, 0x11, &V4[1..]), Malformed),
            (&v2(1, 0x12, &V4), NotTcp),
            (&v2(1, 0x10, &V4), NotTcp),
            (&v2(1, 0x41, &V4), Malformed),
        ] {
            assert_eq!(parse(octets), Err(error), "{}", octets.escape_ascii());
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(MAX_V1));
        assert_eq!(parse(long.as_bytes()), Err(Malformed));
    }

    #[test]
    fn shows_a_line_of_version_1() {
        assert_eq!(shown(b"PROXY TCP4 ::1 \x1b[m\r\nEHLO"), "PROXY TCP4 ::1 \\x1b[m");
        assert_eq!(shown(b"EHLO secret"), "");
        assert_eq!(shown(&v2(1, 0x12, &V4)), "");
    }

    #[test]
    fn writes_what_it_reads() {
        for (source, destination, line) in [
            ("192.0.2.7:4711", "203.0.113.1:25", "PROXY TCP4 192.0.2.7 203.0.113.1 4711 25\r\n"),
            ("[2001:db8::1]:5", "[::1]:25", "PROXY TCP6 2001:db8::1 ::1 5 25\r\n"),
            ("[2001:db8::1]:5", "127.0.0.1:25", "PROXY TCP6 2001:db8::1 ::ffff:127.0.0.1 5 25\r\n"),
        ] {
            let header = written(source.parse().unwrap(), destination.parse().unwrap());
            assert_eq!(header, line);
            assert_eq!(parse(header.as_bytes()), Ok(Some((from(source, destination), line.len()))));
        }
    }
}
