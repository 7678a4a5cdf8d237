//! The way of the log's lines to stderr: a buffer with a bound, and one thread that writes. Whoever has a line to add
//! never waits. Where the buffer is full, because the reader is stuck, or where a line cannot be written, the line is
//! dropped and counted, and the log says so once it can be written again.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tracing::warn;

/// Octets of lines that may wait to be written.
const ROOM: usize = 1 << 20;
/// Buffers larger than this are given back when they are empty.
const IDLE_CAPACITY: usize = 64 << 10;

/// The lines of this process.
pub(super) static QUEUE: Queue = Queue::new();

thread_local! {
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// Lines that wait to be written.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    emptied: Condvar,
    dropped: AtomicU64,
}

struct Waiting {
    lines: Vec<u8>,
    is_writing: bool,
}

impl Queue {
    const fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting { lines: Vec::new(), is_writing: false }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Starts the thread that writes to stderr.
    pub(super) fn start(&'static self) -> io::Result<()> {
        thread::Builder::new().name("log".to_owned()).spawn(|| self.run()).map(drop)
    }

    /// Adds a line, its line end included, or drops it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        // What the thread itself has to say is of lines that had no room.
        if waiting.lines.len() + line.len() > ROOM && !WRITES.get() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        self.filled.notify_one();
    }

    /// How many lines were dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, but no longer than this.
    pub(super) fn flush(&self, patience: Duration) {
        let has_more = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        let _ = self.emptied.wait_timeout_while(self.lock(), patience, has_more);
    }

    fn run(&self) {
        WRITES.set(true);
        let stderr = io::stderr();
        let (mut lines, mut told, mut is_torn) = (Vec::new(), 0, false);
        loop {
            self.take(&mut lines);
            let end = if is_torn { write_all(stderr.as_fd(), b"\n").1 } else { Ok(()) };
            let (written, end) = if end.is_ok() { write_all(stderr.as_fd(), &lines) } else { (0, end) };
            if written > 0 {
                is_torn = lines[written - 1] != b'\n';
            }
            match end {
                // Only now is there a reader, or room, for it.
                Ok(()) => {
                    let dropped = self.dropped();
                    if dropped > told {
                        warn!(
                            lines = dropped - told,
                            "lines of the log were dropped: they could not be written"
                        );
                        told = dropped;
                    }
                }
                Err(_) => {
                    let lost = lines[written..].iter().filter(|octet| **octet == b'\n').count();
                    self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
                }
            }
            self.lock().is_writing = false;
            self.emptied.notify_all();
        }
    }

    /// Takes all lines that wait, and waits for one.
    fn take(&self, lines: &mut Vec<u8>) {
        lines.clear();
        lines.shrink_to(IDLE_CAPACITY);
        let waiting = self.filled.wait_while(self.lock(), |waiting| waiting.lines.is_empty());
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(lines, &mut waiting.lines);
        waiting.is_writing = true;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes octets, and says how many of them it could write. Not by way of the standard library's stderr: its lock would
/// keep others waiting for as long as the reader is stuck.
fn write_all(stderr: BorrowedFd<'_>, octets: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < octets.len() {
        match rustix::io::write(stderr, &octets[written..]).map_err(io::Error::from) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever shares stderr with us has made it so.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
            }
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}
