//! What is counted while the gateway works, for monitoring; the names are in docs/MONITORING.md. Like the log, it is there
//! for whoever serves mail; nothing is decided by it. A session or a message costs a few atomic additions and short locks.
//!
//! No label takes a stranger's word: listeners are the configuration's, all other values are ours.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper ends of the classes that times are counted in, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Upper ends of the classes that sizes are counted in, in octets: 4 KiB to 64 MiB.
const OCTETS: [f64; 8] =
    [4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All counts of one gateway; a clone counts together with its original.
#[derive(Clone, Debug)]
pub struct Metrics {
    modes: Arc<HashMap<String, &'static str>>,
    messages: Family<MessageLabels, Counter>,
    message_replies: Family<ReplyLabels, Counter>,
    messages_refused: Family<ReasonLabels, Counter>,
    message_size: Histograms<ListenerLabel>,
    message_processing: Histograms<ListenerLabel>,
    next_hop: Histograms<ListenerLabel>,
    next_hop_failures: Family<ReasonLabels, Counter>,
    sessions: Family<ListenerLabel, Counter>,
    sessions_open: Family<ListenerLabel, Gauge>,
    sessions_refused: Family<ReasonLabels, Counter>,
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
    /// SEAL.md's word, of a verified message.
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

/// Whose a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replier {
    /// Ours.
    Gateway,
    /// The next hop's, passed on.
    NextHop,
}

/// Why there is no session with one who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not in `clients`.
    NotListed,
    /// `connections` or `connections_per_client` are taken.
    TooManyConnections,
    /// No PROXY header, or none that makes sense.
    ProxyHeader,
    /// No handshake where TLS begins with the connection.
    Tls,
}

/// What is looked up in DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// A sealing key.
    Key,
    /// A domain's policy.
    Policy,
}

/// What a lookup came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookupResult {
    /// A record that DNSSEC proves.
    Secure,
    /// A record that nothing proves.
    Insecure,
    /// There is none.
    Absent,
    /// The proof is wrong.
    Bogus,
    /// No answer, or none in time.
    Failed,
}

impl Metrics {
    /// For a gateway with these listeners, each with its mode.
    pub fn new(modes: impl IntoIterator<Item = (String, &'static str)>) -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        Self {
            modes: Arc::new(modes.into_iter().collect()),
            messages: Family::default(),
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
        }
    }

    /// Puts everything into `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("messages", "Messages that were sealed or judged", self.messages.clone());
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
        let reply = ReplyLabels { listener: listener.clone(), by, class: class(message.code) };
        self.message_replies.get_or_create(&reply).inc();
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
    pub fn message_refused(&self, listener: &str, reason: &'static str) {
        self.messages_refused.get_or_create(&ReasonLabels::new(listener, reason)).inc();
    }

    /// The next hop could not be reached, or was lost.
    pub fn next_hop_failed(&self, listener: &str, reason: &'static str) {
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
    pub fn session_refused(&self, listener: &str, refusal: Refusal) {
        self.sessions_refused.get_or_create(&ReasonLabels::new(listener, refusal.as_str())).inc();
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
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    listener: String,
    reason: &'static str,
}

impl ReasonLabels {
    fn new(listener: &str, reason: &'static str) -> Self {
        Self { listener: listener.to_owned(), reason }
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

/// As RFC 5321 §4.2.1 calls them.
fn class(code: u16) -> &'static str {
    match code {
        200..=299 => "2yz",
        400..=499 => "4yz",
        500..=599 => "5yz",
        _ => "other",
    }
}

impl Refusal {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotListed => "not-listed",
            Self::TooManyConnections => "too-many-connections",
            Self::ProxyHeader => "proxy-header",
            Self::Tls => "tls",
        }
    }
}

impl EncodeLabelValue for Replier {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Gateway => "gateway",
            Self::NextHop => "next-hop",
        })
    }
}

impl EncodeLabelValue for Record {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Key => "key",
            Self::Policy => "policy",
        })
    }
}

impl EncodeLabelValue for LookupResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Secure => "secure",
            Self::Insecure => "insecure",
            Self::Absent => "absent",
            Self::Bogus => "bogus",
            Self::Failed => "failed",
        })
    }
}
