//! What is counted while the gateway works, for monitoring; the names are in docs/MONITORING.md. Like the log, it is there
//! for whoever serves mail; nothing is decided by it. A session or a message costs a few atomic additions and short locks.
//!
//! No label takes a stranger's word: listeners are the configuration's, all other values are ours.

mod labels;

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::time::Duration;

use attachment_seal::verdict::Verdict;
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use self::labels::{
    LookupResult, MessageRefusal, NextHopFailure, Record, Replier, ReplyClass, SessionRefusal,
};

/// Upper ends of the classes that times are counted in, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Upper ends of the classes that sizes are counted in, in octets: 4 KiB to 64 MiB.
const OCTETS: [f64; 8] =
    [4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// The mode whose listeners have verdicts.
const VERIFYING: &str = "verify";

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All counts of one gateway.
#[derive(Debug)]
pub struct Metrics {
    modes: HashMap<String, &'static str>,
    messages: Family<MessageLabels, Counter>,
    verdicts: Family<VerdictLabels, Counter>,
    message_replies: Family<ReplyLabels, Counter>,
    messages_refused: Family<ReasonLabels<MessageRefusal>, Counter>,
    message_size: Histograms<ListenerLabel>,
    message_processing: Histograms<ListenerLabel>,
    next_hop: Histograms<ListenerLabel>,
    next_hop_failures: Family<ReasonLabels<NextHopFailure>, Counter>,
    sessions: Family<ListenerLabel, Counter>,
    sessions_open: Family<ListenerLabel, Gauge>,
    sessions_refused: Family<ReasonLabels<SessionRefusal>, Counter>,
    dns_lookups: Family<LookupLabels, Counter>,
    dns_lookup: Histograms<RecordLabel>,
}

/// What became of one message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The listener it came in by.
    pub listener: &'a str,
    /// What was done, such as `deliver` or `seal`.
    pub action: &'static str,
    /// SPEC.md's word, of a verified message.
    pub verdict: Option<&'static str>,
    /// Why, where the verdict has a reason.
    pub reason: Option<&'static str>,
    /// Its octets.
    pub size: u64,
    /// How long sealing or verifying took.
    pub own_work: Duration,
    /// How long the next hop took.
    pub next_hop: Duration,
    /// The code of the (last) reply to it.
    pub code: u16,
    /// Who said so.
    pub replied_by: Replier,
}

impl Metrics {
    /// For a gateway with these listeners, each with its mode.
    pub fn new(modes: impl IntoIterator<Item = (String, &'static str)>) -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let metrics = Self {
            modes: modes.into_iter().collect(),
            messages: Family::default(),
            verdicts: Family::default(),
            message_replies: Family::default(),
            messages_refused: Family::default(),
            message_size: Family::new_with_constructor(|| Histogram::new(OCTETS)),
            message_processing: Family::new_with_constructor(seconds),
            next_hop: Family::new_with_constructor(seconds),
            next_hop_failures: Family::default(),
            sessions: Family::default(),
            sessions_open: Family::default(),
            sessions_refused: Family::default(),
            dns_lookups: Family::default(),
            dns_lookup: Family::new_with_constructor(seconds),
        };
        metrics.begin();
        metrics
    }

    /// Every count whose labels are known begins at 0.
    fn begin(&self) {
        for (listener, mode) in &self.modes {
            let label = ListenerLabel { listener: listener.clone() };
            drop(self.sessions.get_or_create(&label));
            drop(self.sessions_open.get_or_create(&label));
            for histograms in [&self.message_size, &self.message_processing, &self.next_hop] {
                drop(histograms.get_or_create(&label));
            }
            for by in Replier::ALL {
                for class in ReplyClass::ALL {
                    let labels = ReplyLabels { listener: listener.clone(), by: *by, class: *class };
                    drop(self.message_replies.get_or_create(&labels));
                }
            }
            begin_all(&self.messages_refused, listener, MessageRefusal::ALL);
            begin_all(&self.next_hop_failures, listener, NextHopFailure::ALL);
            begin_all(&self.sessions_refused, listener, SessionRefusal::ALL);
            for verdict in Verdict::EACH.iter().filter(|_| *mode == VERIFYING) {
                let labels = VerdictLabels { listener: listener.clone(), verdict: verdict.as_str() };
                drop(self.verdicts.get_or_create(&labels));
            }
        }
        for record in Record::ALL {
            drop(self.dns_lookup.get_or_create(&RecordLabel { record: *record }));
            for result in LookupResult::ALL {
                drop(self.dns_lookups.get_or_create(&LookupLabels { record: *record, result: *result }));
            }
        }
    }

    /// Puts everything into `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("messages", "Messages that were sealed or judged", self.messages.clone());
        registry.register("verdicts", "Verdicts on messages", self.verdicts.clone());
        registry.register(
            "message_replies",
            "Replies to messages that were sealed or judged",
            self.message_replies.clone(),
        );
        registry.register(
            "messages_refused",
            "Messages refused before anybody looked at them",
            self.messages_refused.clone(),
        );
        registry.register("message_size_bytes", "Size of messages", self.message_size.clone());
        registry.register(
            "message_processing_seconds",
            "Time that sealing or verifying a message took",
            self.message_processing.clone(),
        );
        registry.register(
            "next_hop_seconds",
            "Time that the next hop took for a message",
            self.next_hop.clone(),
        );
        registry.register(
            "next_hop_failures",
            "Sessions ended because the next hop could not be reached or was lost",
            self.next_hop_failures.clone(),
        );
        registry.register("sessions", "Sessions begun", self.sessions.clone());
        registry.register("sessions_open", "Sessions now", self.sessions_open.clone());
        registry.register(
            "sessions_refused",
            "Connections that did not become sessions",
            self.sessions_refused.clone(),
        );
        registry.register("dns_lookups", "Keys and policies looked up", self.dns_lookups.clone());
        registry.register(
            "dns_lookup_seconds",
            "Time that looking a key or a policy up took",
            self.dns_lookup.clone(),
        );
    }

    /// A message has got its reply.
    pub fn message(&self, message: &Message<'_>) {
        let listener = ListenerLabel { listener: message.listener.to_owned() };
        self.message_size.get_or_create(&listener).observe(message.size as f64);
        self.message_processing.get_or_create(&listener).observe(message.own_work.as_secs_f64());
        if !message.next_hop.is_zero() {
            self.next_hop.get_or_create(&listener).observe(message.next_hop.as_secs_f64());
        }
        let ListenerLabel { listener } = listener;
        let mode = self.mode(&listener);
        let by = message.replied_by;
        let reply = ReplyLabels { listener: listener.clone(), by, class: ReplyClass::of(message.code) };
        self.message_replies.get_or_create(&reply).inc();
        if let Some(verdict) = message.verdict {
            let labels = VerdictLabels { listener: listener.clone(), verdict };
            self.verdicts.get_or_create(&labels).inc();
        }
        let labels = MessageLabels {
            listener,
            mode,
            action: message.action,
            verdict: message.verdict.unwrap_or_default(),
            reason: message.reason.unwrap_or_default(),
        };
        self.messages.get_or_create(&labels).inc();
    }

    /// A message was refused before anybody looked at it.
    pub fn message_refused(&self, listener: &str, reason: MessageRefusal) {
        self.messages_refused.get_or_create(&ReasonLabels::new(listener, reason)).inc();
    }

    /// The next hop could not be reached, or was lost.
    pub fn next_hop_failed(&self, listener: &str, reason: NextHopFailure) {
        self.next_hop_failures.get_or_create(&ReasonLabels::new(listener, reason)).inc();
    }

    /// A session begins; it is over when what this gives is dropped.
    pub fn session(&self, listener: &str) -> OpenSession {
        let label = ListenerLabel { listener: listener.to_owned() };
        self.sessions.get_or_create(&label).inc();
        let open = self.sessions_open.get_or_create_owned(&label);
        open.inc();
        OpenSession(open)
    }

    /// There is no session with one who connected.
    pub fn session_refused(&self, listener: &str, reason: SessionRefusal) {
        self.sessions_refused.get_or_create(&ReasonLabels::new(listener, reason)).inc();
    }

    /// Something was looked up.
    pub fn lookup(&self, record: Record, result: LookupResult, took: Duration) {
        self.dns_lookups.get_or_create(&LookupLabels { record, result }).inc();
        self.dns_lookup.get_or_create(&RecordLabel { record }).observe(took.as_secs_f64());
    }

    fn mode(&self, listener: &str) -> &'static str {
        self.modes.get(listener).copied().unwrap_or_default()
    }
}

impl Default for Metrics {
    /// For tests and demonstrations: no listener's mode is known.
    fn default() -> Self {
        Self::new([])
    }
}

/// Counted as a session until it is dropped.
#[derive(Debug)]
pub struct OpenSession(Gauge);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    listener: String,
    mode: &'static str,
    action: &'static str,
    verdict: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplyLabels {
    listener: String,
    by: Replier,
    class: ReplyClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    listener: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ReasonLabels<R> {
    listener: String,
    reason: R,
}

impl<R> ReasonLabels<R> {
    fn new(listener: &str, reason: R) -> Self {
        Self { listener: listener.to_owned(), reason }
    }
}

impl<R: Copy + Eq + Hash + Debug + EncodeLabelValue> EncodeLabelSet for ReasonLabels<R> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("listener", self.listener.as_str()).encode(encoder.encode_label())?;
        ("reason", self.reason).encode(encoder.encode_label())
    }
}

fn begin_all<R>(counts: &Family<ReasonLabels<R>, Counter>, listener: &str, reasons: &[R])
where
    R: Copy + Eq + Hash + Debug + EncodeLabelValue,
{
    for reason in reasons {
        drop(counts.get_or_create(&ReasonLabels::new(listener, *reason)));
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupLabels {
    record: Record,
    result: LookupResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RecordLabel {
    record: Record,
}
