//! Memory for the gateway: looked up before a message is judged, written afterwards by one thread, in batches, where no mail
//! waits for it.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use attachment_seal::domain::DomainName;
use attachment_seal::seal::remembered::Memory;
use attachment_seal::verdict::lesson::Observation;
use tracing::{error, info, warn};

use super::error::{DatabaseError, Fault};
use super::judged::{Findings, Judged, Particulars};
use super::outbox::Letter;
use super::state::Memories;

/// Messages that may wait to be written down.
const MAX_WAITING: usize = 4_096;
/// Octets of what may wait: strangers choose names, and how long they are.
const MAX_OCTETS: usize = 4 << 20;
/// What an entry takes besides its texts.
const ENTRY: usize = 512;
/// Messages that are written at once.
const MAX_BATCH: usize = 1_024;
/// How long the first message of a batch waits for others: a batch costs a write through to the disk, however many
/// are in it.
const GATHER: Duration = Duration::from_millis(50);
/// Between two rounds of forgetting, in seconds.
const ROUND: u64 = 86_400;
/// A pause after a failure, so that a broken disk does not fill the log.
const PAUSE: Duration = Duration::from_secs(1);

/// What is written down of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it taught, if it did.
    pub observation: Option<Observation>,
    /// How it was judged.
    pub judged: Judged,
    /// What it is found by.
    pub particulars: Particulars,
    /// What was found in it, where people may want to know.
    pub findings: Option<Box<Findings>>,
    /// What is to be sent about it.
    pub letters: Vec<Letter>,
}

impl Entry {
    /// How a message was judged, and nothing besides.
    pub fn of(judged: Judged) -> Self {
        let particulars = Particulars::default();
        Self { observation: None, judged, particulars, findings: None, letters: Vec::new() }
    }

    /// What it takes in memory, about.
    fn octets(&self) -> usize {
        let Judged { reverse_path, summary, message_id, attachments, from_domain, domain, .. } = &self.judged;
        let optional = [message_id, from_domain, domain].into_iter().flatten();
        let texts = [reverse_path, summary].into_iter().chain(optional).chain(attachments);
        let Particulars { author, to, subject, client_name, .. } = &self.particulars;
        let texts = texts.chain(author).chain(to).chain(subject).chain(client_name);
        let findings = self.findings.as_ref().map_or(0, |findings| findings.octets());
        let letters =
            self.letters.iter().map(|letter| usize::try_from(letter.octets()).unwrap_or(MAX_OCTETS));
        ENTRY
            + findings
            + texts.map(|text| text.capacity() + size_of::<String>()).sum::<usize>()
            + letters.sum::<usize>()
    }
}

/// The gateway's memory. When its last clone is dropped, what waits is written and the thread ends.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    memories: Arc<dyn Memories>,
    entries: SyncSender<Box<Entry>>,
    /// Octets of the entries that wait or are being written.
    octets: Arc<AtomicUsize>,
    /// Entries that were not written down for want of room in the queue.
    dropped: Arc<AtomicU64>,
    /// How often the database was damaged and mended.
    repairs: AtomicU64,
    _recorders: Arc<()>,
}

impl Recorder {
    /// Starts to write.
    pub fn start(memories: Arc<dyn Memories>) -> io::Result<(Self, JoinHandle<()>)> {
        let (entries, waiting) = sync_channel(MAX_WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let octets = Arc::new(AtomicUsize::new(0));
        let recorders = Arc::new(());
        let writer = Writer {
            memories: Arc::clone(&memories),
            recorders: Arc::downgrade(&recorders),
            waiting,
            dropped: Arc::clone(&dropped),
            octets: Arc::clone(&octets),
            forgot_at: 0,
        };
        let thread = thread::Builder::new().name("memory".to_owned()).spawn(move || writer.run())?;
        let shared =
            Shared { memories, entries, octets, dropped, repairs: AtomicU64::new(0), _recorders: recorders };
        Ok((Self(Arc::new(shared)), thread))
    }

    /// Whether what is judged can be written down.
    pub fn is_open(&self) -> bool {
        self.0.memories.is_open()
    }

    /// What became of a database that was damaged, for people; it is told once.
    pub fn mended(&self) -> Option<String> {
        self.0.memories.mended().inspect(|_| {
            self.0.repairs.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// How often the database was damaged and mended, as far as that was told.
    pub fn repairs(&self) -> u64 {
        self.0.repairs.load(Ordering::Relaxed)
    }

    /// What is remembered of domains. Blocks while the database answers.
    pub fn recall(&self, domains: &[DomainName], now: u64) -> Result<Memory, DatabaseError> {
        self.0.memories.recall(domains, now)
    }

    /// Has a message written down, soon. Never waits: where too many wait already, this one is only counted.
    pub fn record(&self, mut entry: Entry) {
        // Where many wait, what was found gives way first: it is the largest part, and nothing depends on it.
        if self.0.octets.load(Ordering::Relaxed) > MAX_OCTETS / 2 {
            entry.findings = None;
        }
        let octets = entry.octets();
        let before = self.0.octets.fetch_add(octets, Ordering::Relaxed);
        let sent = if before + octets <= MAX_OCTETS {
            self.0.entries.try_send(Box::new(entry))
        } else {
            Err(TrySendError::Full(Box::new(entry)))
        };
        match sent {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.0.octets.fetch_sub(octets, Ordering::Relaxed);
                // The first of many is said at once, the others with the next batch.
                if self.0.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                    error!("memory falls behind: messages go on, and some are not recorded");
                }
            }
        }
    }
}

struct Writer {
    memories: Arc<dyn Memories>,
    /// Those who have messages written down.
    recorders: Weak<()>,
    waiting: Receiver<Box<Entry>>,
    dropped: Arc<AtomicU64>,
    octets: Arc<AtomicUsize>,
    forgot_at: u64,
}

impl Writer {
    fn run(mut self) {
        while let Ok(first) = self.waiting.recv() {
            // Asleep: to be woken for each would cost whoever writes a message down more than the writing.
            thread::sleep(GATHER);
            let mut batch = vec![first];
            batch.extend(self.waiting.try_iter().take(MAX_BATCH - 1));
            self.write_down(&batch);
            let octets = batch.iter().map(|entry| entry.octets()).sum();
            drop(batch);
            self.octets.fetch_sub(octets, Ordering::Relaxed);
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                error!(messages = dropped, "memory fell behind; these were not recorded");
            }
        }
    }

    /// A batch that a database which is away did not take waits for it, and the messages after it wait in the queue.
    fn write_down(&mut self, batch: &[Box<Entry>]) {
        let mut is_told = false;
        while let Err(error) = self.write(batch) {
            if !is_told {
                error!(%error, messages = batch.len(), "memory cannot be written; mail goes on");
                is_told = true;
            }
            thread::sleep(PAUSE);
            let is_over = self.recorders.strong_count() == 0;
            if is_over || error.fault() != Some(Fault::Away) {
                return;
            }
        }
    }

    fn write(&mut self, batch: &[Box<Entry>]) -> Result<(), DatabaseError> {
        let refused = self.memories.record(batch)?;
        if refused > 0 {
            warn!(messages = refused, "no room in memory for domains that are new");
        }
        let now = batch.last().map_or(0, |entry| entry.judged.at);
        if now >= self.forgot_at + ROUND {
            self.forget_old(now);
        }
        Ok(())
    }

    fn forget_old(&mut self, now: u64) {
        match self.memories.forget_old(now) {
            Ok(forgotten) => {
                self.forgot_at = now;
                if forgotten > 0 {
                    info!(domains = forgotten, "memory: domains not seen for 400 days are forgotten");
                }
            }
            Err(error) => {
                error!(%error, "what is old in memory cannot be forgotten; it is tried again");
                thread::sleep(PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use attachment_seal::seal::key::SealingKey;
    use attachment_seal::verdict::lesson::Lesson;

    use super::*;
    use crate::store::State;

    const NOW: u64 = 1_795_392_000;

    fn start(state: &Path) -> (Recorder, JoinHandle<()>) {
        Recorder::start(State::open_to_serve(&state.into()).unwrap().memories).unwrap()
    }

    /// Somebody else who is writing, so that nothing can be written for now.
    fn blocker(state: &Path) -> rusqlite::Connection {
        let blocker = rusqlite::Connection::open(state.join("memory.sqlite")).unwrap();
        blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
        blocker
    }

    fn entry(at: u64) -> Entry {
        let lesson = Lesson::Sealed {
            domain: "a.example".parse().unwrap(),
            selector: "gate1".parse().unwrap(),
            key: SealingKey::from_seed(&[1; 32]).public(),
            root: None,
            passed: true,
            author: None,
            pinned: false,
        };
        let word = |text: &str| text.to_owned();
        let judged = Judged {
            at,
            session: word("s"),
            verdict: word("pass"),
            reason: None,
            known: None,
            trust: Some(word("dns")),
            asked: word("deliver"),
            done: word("deliver"),
            from_domain: Some(word("a.example")),
            domain: Some(word("a.example")),
            reverse_path: String::new(),
            recipients: 1,
            message_id: None,
            attachments: Vec::new(),
            summary: String::new(),
            held: None,
            queue_id: None,
            arrived_as: None,
        };
        let observation = Some(Observation { at, verdict: "pass", lesson });
        Entry { observation, ..Entry::of(judged) }
    }

    #[test]
    fn what_was_recorded_is_written_before_the_thread_ends() {
        let state = tempfile::tempdir().unwrap();
        let (recorder, thread) = start(state.path());
        for n in 0..1_000 {
            recorder.record(entry(NOW + n));
        }
        drop(recorder);
        thread.join().unwrap();
        let period = State::open(&state.path().into()).judgements.since(NOW).unwrap();
        assert_eq!(period.counts[0].count, 1_000);
        let (recorder, _thread) = start(state.path());
        let known = recorder.recall(&["a.example".parse().unwrap()], NOW + 1_000).unwrap();
        assert_eq!(known.domains.values().next().unwrap().passes, [NOW + 999, NOW + 998, NOW + 997]);
    }

    #[test]
    fn a_full_queue_keeps_nobody_waiting() {
        let state = tempfile::tempdir().unwrap();
        let (recorder, thread) = start(state.path());
        let blocker = blocker(state.path());
        let many = MAX_WAITING as u64 * 2;
        for n in 0..many {
            recorder.record(entry(NOW + n));
        }
        assert!(recorder.0.dropped.load(Ordering::Relaxed) > 0);
        assert!(recorder.recall(&["a.example".parse().unwrap()], NOW).is_ok(), "reading goes on");
        blocker.execute_batch("ROLLBACK").unwrap();
        drop((recorder, blocker));
        thread.join().unwrap();
        let period = State::open(&state.path().into()).judgements.since(NOW).unwrap();
        assert!((1..many).contains(&period.counts[0].count), "{period:?}");
    }

    /// Twenty names of 250 characters are kept of one message, and four thousand messages may wait.
    #[test]
    fn what_waits_is_counted_in_octets() {
        let state = tempfile::tempdir().unwrap();
        let (recorder, thread) = start(state.path());
        let blocker = blocker(state.path());
        for n in 0..MAX_WAITING as u64 {
            let mut large = entry(NOW + n);
            large.judged.attachments = vec!["\u{1f4ce}".repeat(250); 20];
            recorder.record(large);
        }
        let waiting = recorder.0.octets.load(Ordering::Relaxed);
        assert!((MAX_OCTETS / 2..=MAX_OCTETS).contains(&waiting), "{waiting}");
        assert!(recorder.0.dropped.load(Ordering::Relaxed) > 0);
        blocker.execute_batch("ROLLBACK").unwrap();
        let octets = Arc::clone(&recorder.0.octets);
        drop((recorder, blocker));
        thread.join().unwrap();
        assert_eq!(octets.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_damaged_database_is_put_aside() {
        let state = tempfile::tempdir().unwrap();
        let (recorder, thread) = start(state.path());
        recorder.record(entry(NOW));
        drop(recorder);
        thread.join().unwrap();
        fs::write(state.path().join("memory.sqlite"), "this is no database, whatever its name").unwrap();
        let (recorder, _thread) = start(state.path());
        assert!(recorder.recall(&["a.example".parse().unwrap()], NOW).unwrap().domains.is_empty());
        let names: Vec<_> = fs::read_dir(state.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(names.iter().any(|name| name.starts_with("memory.damaged-")), "{names:?}");
        assert!(State::open(&state.path().into()).memories.list(None, NOW).unwrap().is_empty());
    }
}
