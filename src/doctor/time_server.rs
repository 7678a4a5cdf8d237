//! What a time server says of our clock: one question by SNTP (RFC 4330), and the offset that its answer makes.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

/// Where time servers listen.
const PORT: u16 = 123;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Seconds from 1900, where NTP's time begins, to 1970.
const EPOCH: u64 = 2_208_988_800;

/// Octets of a question, and of an answer without extensions.
const PACKET: usize = 48;

/// By how many seconds a server's clock is ahead of ours. `server` is a name or address, with a port or without.
pub(super) async fn offset(server: &str) -> io::Result<i64> {
    let silent = |_| io::Error::new(ErrorKind::TimedOut, "no answer in time");
    timeout(PATIENCE, ask(server)).await.map_err(silent)?
}

async fn ask(server: &str) -> io::Result<i64> {
    let address = match server.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, PORT),
        Err(_) if server.contains(':') => first(lookup_host(server).await?)?,
        Err(_) => first(lookup_host((server, PORT)).await?)?,
    };
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    let sent = now();
    let mut packet = [0; PACKET];
    // Version 4, mode 3: a client.
    packet[0] = 0x23;
    packet[40..].copy_from_slice(&sent.to_be_bytes());
    socket.send(&packet).await?;
    let length = socket.recv(&mut packet).await?;
    read(&packet[..length], sent, now()).ok_or_else(|| ErrorKind::InvalidData.into())
}

fn first(mut addresses: impl Iterator<Item = SocketAddr>) -> io::Result<SocketAddr> {
    addresses.next().ok_or_else(|| ErrorKind::NotFound.into())
}

/// Now as NTP counts, in units of 2^-32 seconds. It begins anew in 2036, and so do differences.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    (now.as_secs().wrapping_add(EPOCH) << 32) | fraction
}

/// The offset in seconds, unless that is no answer to our question, or by a server that does not know the time.
fn read(packet: &[u8], sent: u64, received: u64) -> Option<i64> {
    let time = |at: usize| packet.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let (asked, arrived, answered) = (time(24)?, time(32)?, time(40)?);
    let (leap, mode, stratum) = (packet[0] >> 6, packet[0] & 7, packet[1]);
    if mode != 4 || leap == 3 || !(1..16).contains(&stratum) || asked != sent || answered == 0 {
        return None;
    }
    let half_ahead = |theirs: u64, ours: u64| theirs.wrapping_sub(ours).cast_signed() / 2;
    // To the nearest second.
    let ahead = half_ahead(arrived, sent) + half_ahead(answered, received);
    Some(ahead.wrapping_add(1 << 31) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_answer_and_nothing_else() {
        let second = |seconds: u64| seconds << 32;
        let sent = second(100);
        let packet = |first: u8, stratum: u8, asked: u64, time: u64| {
            let mut packet = [0; PACKET];
            (packet[0], packet[1]) = (first, stratum);
            packet[24..32].copy_from_slice(&asked.to_be_bytes());
            packet[32..40].copy_from_slice(&time.to_be_bytes());
            packet[40..].copy_from_slice(&time.to_be_bytes());
            read(&packet, sent, sent)
        };
        assert_eq!(packet(0x24, 2, sent, second(100)), Some(0));
        assert_eq!(packet(0x24, 2, sent, second(520)), Some(420));
        assert_eq!(packet(0x24, 2, sent, second(40)), Some(-60));
        // Over the end of an era.
        assert_eq!(packet(0x24, 2, sent, second((1 << 32) - 20)), Some(-120));
        for (first, stratum, asked) in
            [(0x24, 0, sent), (0x24, 16, sent), (0xe4, 2, sent), (0x23, 2, sent), (0x24, 2, 1)]
        {
            assert_eq!(packet(first, stratum, asked, second(100)), None, "{first:x} {stratum} {asked}");
        }
        assert_eq!(read(&[0x24; 47], sent, sent), None);
    }
}
