//! Work done by several threads, its results taken in the order in which it was handed out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Pieces of work that may be under way at once, however small they are.
const MAX_PIECES: usize = 1_024;

/// What the threads share.
struct Shared<W, R> {
    state: Mutex<State<W, R>>,
    /// Something in the state has changed.
    changed: Condvar,
}

struct State<W, R> {
    waiting: VecDeque<(u64, W)>,
    /// Results that are not taken yet, by the number of the work, each with its weight.
    done: BTreeMap<u64, R>,
    weights: BTreeMap<u64, u64>,
    weight: u64,
    /// Numbers of the next work to be handed out, and of the next result to be taken.
    next_in: u64,
    next_out: u64,
    /// No more work will come.
    is_complete: bool,
}

/// Hands out work.
pub struct Feed<'a, W, R> {
    shared: &'a Shared<W, R>,
    max_weight: u64,
}

impl<W, R> Feed<'_, W, R> {
    /// Hands out a piece of work, once there is room for its weight: work under way, results that were not taken included,
    /// weighs `max_weight` at most, or is a single piece.
    pub fn put(&self, work: W, weight: u64) {
        let mut state = self.shared.lock();
        while !state.weights.is_empty()
            && (state.weight.saturating_add(weight) > self.max_weight || state.weights.len() >= MAX_PIECES)
        {
            state = self.shared.wait(state);
        }
        let number = state.next_in;
        state.next_in += 1;
        state.weight += weight;
        state.weights.insert(number, weight);
        state.waiting.push_back((number, work));
        self.shared.changed.notify_all();
    }
}

/// Does what `feed` hands out on `threads` threads. `take` gets the results on the caller's thread, in order. Neither `feed`
/// nor `work` may panic.
pub fn in_order<W: Send, R: Send>(
    threads: usize,
    max_weight: u64,
    feed: impl FnOnce(&Feed<'_, W, R>) + Send,
    work: impl Fn(W) -> R + Sync,
    mut take: impl FnMut(R),
) {
    let state = State {
        waiting: VecDeque::new(),
        done: BTreeMap::new(),
        weights: BTreeMap::new(),
        weight: 0,
        next_in: 0,
        next_out: 0,
        is_complete: false,
    };
    let shared = Shared { state: Mutex::new(state), changed: Condvar::new() };
    thread::scope(|scope| {
        scope.spawn(|| {
            feed(&Feed { shared: &shared, max_weight });
            shared.lock().is_complete = true;
            shared.changed.notify_all();
        });
        for _ in 0..threads.max(1) {
            scope.spawn(|| shared.work(&work));
        }
        while let Some(result) = shared.next_result() {
            take(result);
        }
    });
}

impl<W, R> Shared<W, R> {
    fn lock(&self) -> MutexGuard<'_, State<W, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<W, R>>) -> MutexGuard<'a, State<W, R>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, work: &impl Fn(W) -> R) {
        let mut state = self.lock();
        loop {
            if let Some((number, piece)) = state.waiting.pop_front() {
                drop(state);
                let result = work(piece);
                state = self.lock();
                state.done.insert(number, result);
                self.changed.notify_all();
            } else if state.is_complete {
                return;
            } else {
                state = self.wait(state);
            }
        }
    }

    fn next_result(&self) -> Option<R> {
        let mut state = self.lock();
        loop {
            let next = state.next_out;
            if let Some(result) = state.done.remove(&next) {
                state.next_out += 1;
                let weight = state.weights.remove(&next).unwrap_or_default();
                state.weight -= weight;
                self.changed.notify_all();
                return Some(result);
            }
            if state.is_complete && state.weights.is_empty() {
                return None;
            }
            state = self.wait(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_are_in_order_and_within_the_weight() {
        let (under_way, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut taken = Vec::new();
        in_order(
            4,
            10,
            |feed| {
                for number in 0..200_u64 {
                    feed.put(number, 3);
                    let now = under_way.fetch_add(3, Ordering::SeqCst) + 3;
                    most.fetch_max(now, Ordering::SeqCst);
                }
                feed.put(200, 1_000);
            },
            |number| {
                thread::sleep(Duration::from_micros(number * 37 % 300));
                number
            },
            |number| {
                taken.push(number);
                if number < 200 {
                    under_way.fetch_sub(3, Ordering::SeqCst);
                }
            },
        );
        assert_eq!(taken, (0..=200).collect::<Vec<_>>());
        // A result counts until it is taken, and the test learns that a moment later.
        assert!(most.load(Ordering::SeqCst) <= 12, "{most:?}");
    }

    #[test]
    fn nothing_to_do_ends_at_once() {
        in_order(2, 1, |_: &Feed<'_, (), ()>| {}, |()| (), |()| panic!("no result"));
    }

    /// Two pieces that wait for each other end only if two threads work.
    #[test]
    fn pieces_are_worked_on_at_once() {
        let barrier = std::sync::Barrier::new(2);
        let feed = |feed: &Feed<'_, (), ()>| (0..2).for_each(|_| feed.put((), 0));
        in_order(2, 1, feed, |()| _ = barrier.wait(), |()| ());
    }
}
