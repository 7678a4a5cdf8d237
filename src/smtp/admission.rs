//! How many sessions there may be at once: over all listeners, and from one client. And how many connections that are
//! none yet, or will be none.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::smtp::limits::Limits;

/// Counts sessions.
#[derive(Debug, Default)]
pub struct Admission(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    per_client: HashMap<IpAddr, usize>,
    /// Of whom a PROXY header is awaited.
    announcing: usize,
    /// Who is told that there is no session.
    leaving: usize,
}

/// Those who may be told at once that there is no session; others are hung up on.
const MAX_LEAVING: usize = 64;

/// A connection that is no session.
#[derive(Debug)]
pub struct Waiting {
    admission: Arc<Admission>,
    count: fn(&mut Counts) -> &mut usize,
}

/// A session's place; dropping it makes room for another.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    client: IpAddr,
}

/// There are too many sessions already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySessions;

impl Admission {
    /// Lets a client in if there is room within `limits`, which may change from one call to the next.
    pub fn admit(self: &Arc<Self>, client: IpAddr, limits: &Limits) -> Result<Permit, TooManySessions> {
        let client = counted_as(client);
        let mut counts = self.lock();
        let from_client = counts.per_client.get(&client).copied().unwrap_or(0);
        if counts.total >= limits.connections || from_client >= limits.connections_per_client {
            return Err(TooManySessions);
        }
        counts.total += 1;
        counts.per_client.insert(client, from_client + 1);
        Ok(Permit { admission: Arc::clone(self), client })
    }

    /// Lets a peer come whose PROXY header is awaited: no more of them than there may be sessions.
    pub fn await_header(self: &Arc<Self>, limits: &Limits) -> Result<Waiting, TooManySessions> {
        self.wait(|counts| &mut counts.announcing, limits.connections)
    }

    /// Lets one who gets no session be told so.
    pub fn tell(self: &Arc<Self>) -> Result<Waiting, TooManySessions> {
        self.wait(|counts| &mut counts.leaving, MAX_LEAVING)
    }

    fn wait(
        self: &Arc<Self>,
        count: fn(&mut Counts) -> &mut usize,
        most: usize,
    ) -> Result<Waiting, TooManySessions> {
        let mut counts = self.lock();
        let waiting = count(&mut counts);
        if *waiting >= most {
            return Err(TooManySessions);
        }
        *waiting += 1;
        Ok(Waiting { admission: Arc::clone(self), count })
    }

    /// How many sessions there are.
    pub fn total(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The session turns out to be another client's: counts it as that one's, if there is room.
    pub fn transfer(&mut self, client: IpAddr, limits: &Limits) -> Result<(), TooManySessions> {
        let client = counted_as(client);
        if client == self.client {
            return Ok(());
        }
        let mut counts = self.admission.lock();
        let from_client = counts.per_client.get(&client).copied().unwrap_or(0);
        if from_client >= limits.connections_per_client {
            return Err(TooManySessions);
        }
        counts.per_client.insert(client, from_client + 1);
        counts.leave(self.client);
        self.client = client;
        Ok(())
    }
}

impl Counts {
    fn leave(&mut self, client: IpAddr) {
        if let Some(count) = self.per_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.per_client.remove(&client);
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        *(self.count)(&mut self.admission.lock()) -= 1;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        counts.total -= 1;
        counts.leave(self.client);
    }
}

/// A host with IPv6 has a whole /64 to call from, so that is one client.
pub(super) fn counted_as(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn counts_in_total_and_per_client() {
        let admission = Arc::new(Admission::default());
        let limits = Limits { connections: 3, connections_per_client: 2, ..Limits::default() };
        let first = admission.admit(address("192.0.2.1"), &limits).unwrap();
        let _second = admission.admit(address("::ffff:192.0.2.1"), &limits).unwrap();
        assert!(admission.admit(address("192.0.2.1"), &limits).is_err());
        let _third = admission.admit(address("2001:db8::1"), &limits).unwrap();
        assert!(admission.admit(address("192.0.2.2"), &limits).is_err());
        drop(first);
        assert!(admission.admit(address("192.0.2.1"), &limits).is_ok());
    }

    #[test]
    fn counts_a_session_for_whom_it_is() {
        let admission = Arc::new(Admission::default());
        let limits = Limits { connections_per_client: 1, ..Limits::default() };
        let mut session = admission.admit(address("127.0.0.1"), &limits).unwrap();
        session.transfer(address("192.0.2.1"), &limits).unwrap();
        let mut other = admission.admit(address("127.0.0.1"), &limits).unwrap();
        assert!(other.transfer(address("192.0.2.1"), &limits).is_err());
        assert!(other.transfer(address("127.0.0.1"), &limits).is_ok());
        drop((session, other));
        let counts = admission.lock();
        assert!(counts.total == 0 && counts.per_client.is_empty());
    }

    #[test]
    fn those_without_a_session_have_their_limits() {
        let admission = Arc::new(Admission::default());
        let limits = Limits { connections: 2, ..Limits::default() };
        let announcing: Vec<_> = (0..3).map(|_| admission.await_header(&limits)).collect();
        assert!(announcing[1].is_ok() && announcing[2].is_err());
        let told: Vec<_> = (0..=MAX_LEAVING).map(|_| admission.tell()).collect();
        assert!(told[MAX_LEAVING - 1].is_ok() && told[MAX_LEAVING].is_err());
        drop((announcing, told));
        assert!(admission.await_header(&limits).is_ok() && admission.tell().is_ok());
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        assert_eq!(counted_as(address("2001:db8::1")), counted_as(address("2001:db8::2:3:4:5")));
        assert_ne!(counted_as(address("2001:db8::1")), counted_as(address("2001:db8:0:1::1")));
    }
}
