//! Keeps the next hop awake while a client takes long over its message, or we over ours with it: servers hang up on those
//! who are silent. They also hang up on those who say too much that is of no use (Postfix: `smtpd_junk_command_limit`), so
//! both are counted here.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::smtp::next_hop::NextHop;

/// After so long without a command comes the first NOOP: a busy Postfix hangs up after 10 seconds.
const FIRST_NAP: Duration = Duration::from_secs(7);
/// The naps double up to this. RFC 5321 §4.5.3.2.7 asks servers for 5 minutes.
const MAX_NAP: Duration = Duration::from_secs(40);
/// How long the reply to NOOP may take.
const NOOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Commands that are no part of a mail transaction, by which servers tell those who waste their time.
const CHORES: [&[u8]; 5] = [b"NOOP", b"RSET", b"VRFY", b"EXPN", b"ETRN"];
/// So many of them are safe; Postfix takes 100.
const MAX_CHORES: usize = 50;

/// When the next hop was last told something, and how much of that was of use.
#[derive(Debug)]
pub(crate) struct Wakefulness {
    last: Instant,
    nap: Duration,
    chores: usize,
    /// Of the chores, those that no client asked for.
    has_own_chores: bool,
}

impl Default for Wakefulness {
    fn default() -> Self {
        Self { last: Instant::now(), nap: FIRST_NAP, chores: 0, has_own_chores: false }
    }
}

impl Wakefulness {
    /// This command goes out now.
    pub(crate) fn note(&mut self, line: &[u8]) {
        self.last = Instant::now();
        let verb = line.split(|octet| *octet == b' ').next().unwrap_or_default();
        let is_chore = CHORES.iter().any(|chore| chore.eq_ignore_ascii_case(verb));
        self.chores += usize::from(is_chore);
        if !is_chore {
            self.nap = FIRST_NAP;
        }
    }

    /// What goes out next is of our own making.
    pub(crate) fn note_own(&mut self) {
        self.has_own_chores = true;
    }

    /// The next hop took a message, which makes up for all before.
    pub(crate) fn forget_chores(&mut self) {
        (self.chores, self.has_own_chores) = (0, false);
    }

    /// Whether one more chore could be too many.
    pub(crate) fn is_tired(&self) -> bool {
        self.chores >= MAX_CHORES
    }

    /// Whether some of the chores were our own.
    pub(crate) fn has_own_chores(&self) -> bool {
        self.has_own_chores
    }
}

impl NextHop {
    /// Waits for some work, and says NOOP meanwhile as often as it takes. A next hop that is found gone is asked nothing
    /// more.
    pub(crate) async fn kept_awake<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            if self.is_gone() || self.is_in_message() {
                return work.await;
            }
            let due = self.wakefulness.last + self.wakefulness.nap;
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(due) => {}
            }
            let mut asking = pin!(self.noop());
            tokio::select! {
                biased;
                done = &mut work => {
                    // Its reply must not be taken for another's.
                    asking.await;
                    return done;
                }
                () = &mut asking => {}
            }
        }
    }

    async fn noop(&mut self) {
        self.wakefulness.note_own();
        let asked = timeout(NOOP_TIMEOUT, self.command(b"NOOP")).await;
        self.wakefulness.nap = (self.wakefulness.nap * 2).min(MAX_NAP);
        if !matches!(asked, Ok(Ok(reply)) if reply.is_final() && reply.code() != 421) {
            self.give_up();
        }
    }
}
