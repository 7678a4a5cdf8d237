//! Slows down whoever tries passwords: by the account that is tried, and by the address that tries. What is remembered is bounded,
//! is this gateway's alone, and is gone with a restart.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Attempts that cost an account nothing.
const FREE_OF_ACCOUNT: u32 = 5;
/// Attempts that cost an address nothing: an office may share one.
const FREE_OF_ADDRESS: u32 = 20;
/// And this machine's own, from where a proxy or a tunnel has everybody come.
const FREE_OF_LOOPBACK: u32 = 200;
/// Longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(300);
/// After so long without an attempt everything is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(900);
/// Accounts and addresses that are remembered; the one that tried longest ago gives way.
const MAX_REMEMBERED: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// A name as it was tried, be it somebody's or not.
    Account(String),
    Address(IpAddr),
}

impl Key {
    fn free(&self) -> u32 {
        match self {
            Self::Account(_) => FREE_OF_ACCOUNT,
            Self::Address(address) if address.is_loopback() => FREE_OF_LOOPBACK,
            Self::Address(_) => FREE_OF_ADDRESS,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Attempts {
    count: u32,
    last: Instant,
}

impl Attempts {
    /// When the next attempt may be made.
    fn next(&self, free: u32) -> Instant {
        match self.count.checked_sub(free) {
            None => self.last,
            Some(beyond) => self.last + Duration::from_secs(1 << beyond.min(10)).min(LONGEST),
        }
    }
}

/// Who tried lately.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<HashMap<Key, Attempts>>);

impl Throttle {
    /// Counts an attempt, or tells how long to wait before the next one.
    pub(super) fn attempt(&self, account: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(account, address);
        let wait = keys.iter().filter_map(|key| {
            let attempts = known.get(key).filter(|attempts| now.duration_since(attempts.last) < FORGOTTEN)?;
            attempts.next(key.free()).checked_duration_since(now).filter(|wait| !wait.is_zero())
        });
        if let Some(wait) = wait.max() {
            return Err(wait);
        }
        for key in keys {
            make_room(&mut known, &key, now);
            let attempts = known.entry(key).or_insert(Attempts { count: 0, last: now });
            if now.duration_since(attempts.last) >= FORGOTTEN {
                attempts.count = 0;
            }
            *attempts = Attempts { count: attempts.count.saturating_add(1), last: now };
        }
        Ok(())
    }

    /// The attempt was no attack: the account begins anew, and the address has one attempt back.
    pub(super) fn succeeded(&self, account: &str, address: IpAddr) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [account, address] = keys(account, address);
        known.remove(&account);
        if let Some(attempts) = known.get_mut(&address) {
            attempts.count = attempts.count.saturating_sub(1);
        }
    }
}

fn keys(account: &str, address: IpAddr) -> [Key; 2] {
    [Key::Account(account.chars().take(100).collect()), Key::Address(network(address))]
}

/// Of IPv6 addresses somebody has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

fn make_room(known: &mut HashMap<Key, Attempts>, key: &Key, now: Instant) {
    if known.len() < MAX_REMEMBERED || known.contains_key(key) {
        return;
    }
    known.retain(|_, attempts| now.duration_since(attempts.last) < FORGOTTEN);
    if known.len() >= MAX_REMEMBERED {
        let oldest = known.iter().min_by_key(|(_, attempts)| attempts.last).map(|(key, _)| key.clone());
        oldest.map(|oldest| known.remove(&oldest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_account_is_tried_ever_more_slowly() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for n in 0..5 {
            assert_eq!(throttle.attempt("anna", address(&format!("192.0.2.{n}")), start), Ok(()), "{n}");
        }
        let other = address("198.51.100.1");
        assert_eq!(throttle.attempt("anna", other, start), Err(SECOND));
        assert_eq!(throttle.attempt("anna", other, start + SECOND), Ok(()));
        assert_eq!(throttle.attempt("anna", other, start + SECOND), Err(2 * SECOND));
        assert_eq!(throttle.attempt("bert", other, start + SECOND), Ok(()));
        throttle.succeeded("anna", other);
        assert_eq!(throttle.attempt("anna", other, start + SECOND), Ok(()));
    }

    #[test]
    fn an_address_is_slowed_down_whatever_it_tries() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for n in 0..20 {
            let from = address(&format!("2001:db8::{n}"));
            assert_eq!(throttle.attempt(&format!("name{n}"), from, start), Ok(()), "{n}");
        }
        assert_eq!(throttle.attempt("another", address("2001:db8::ffff"), start), Err(SECOND));
        assert_eq!(throttle.attempt("another", address("2001:db8:0:1::1"), start), Ok(()));
        // It never takes longer than five minutes, and is forgotten after fifteen.
        let mut now = start;
        for _ in 0..40 {
            now += throttle.attempt("another", address("2001:db8::1"), now).err().unwrap_or_default();
        }
        assert!(throttle.attempt("x", address("2001:db8::1"), now).err() <= Some(LONGEST));
        assert_eq!(throttle.attempt("x", address("2001:db8::1"), now + FORGOTTEN), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for n in 0..(2 * MAX_REMEMBERED as u32) {
            let from = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
            let _ = throttle.attempt(&format!("name{n}"), from, start);
        }
        assert!(throttle.0.lock().unwrap().len() <= MAX_REMEMBERED);
    }
}
