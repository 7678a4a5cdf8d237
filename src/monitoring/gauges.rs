//! How the gateway stands at the moment of asking, beside what is counted all the time.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::Monitoring;
use super::disk::Disk;
use crate::clock::unix_time;
use crate::gateway::Running;
use crate::log;
use crate::store::Quotas;
use crate::store::Recorder;

/// A gauge of whole seconds.
type Seconds = Gauge<u64, AtomicU64>;

impl Monitoring {
    /// Everything there is to tell now.
    pub(super) fn registry(&self, disk: Option<&Disk>) -> Registry {
        let mut registry = Registry::with_prefix("waxseal");
        let running = self.running.load();
        self.metrics.register(&mut registry);
        self.register_program(&mut registry);
        self.register_readiness(&mut registry, disk);
        self.register_resources(&mut registry, &running);
        register_alerts(&mut registry, &running);
        register_sealing(&mut registry, &running);
        register_tls(&mut registry, &running);
        if let Some(disk) = disk {
            register_disk(&mut registry, disk);
        }
        registry
    }

    fn register_program(&self, registry: &mut Registry) {
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version that runs", build);
        gauge(registry, "start_time_seconds", "When the gateway started, in Unix time", self.started);
        registry.register(
            "panics",
            "Faults in this program that were caught",
            ConstCounter::new(log::panics()),
        );
        registry.register(
            "log_lines_dropped",
            "Lines of the log that could not be written",
            ConstCounter::new(log::dropped()),
        );

        let reloads: Family<Outcome, Counter> = Family::default();
        for (result, count) in [("done", &self.reloads.done), ("refused", &self.reloads.refused)] {
            reloads.get_or_create(&Outcome { result }).inc_by(count.load(Ordering::Relaxed));
        }
        registry.register("config_reloads", "Reloads of the configuration", reloads);
        let is_in_force = !self.reloads.last_was_refused.load(Ordering::Relaxed);
        gauge(
            registry,
            "config_last_reload_successful",
            "Whether the configuration that was read last is in force",
            is_in_force.into(),
        );
        let last = match self.reloads.last.load(Ordering::Relaxed) {
            0 => self.started,
            last => last,
        };
        gauge(
            registry,
            "config_last_reload_time_seconds",
            "When the configuration was read last, in Unix time",
            last,
        );
    }

    fn register_readiness(&self, registry: &mut Registry, disk: Option<&Disk>) {
        let ready: Family<Listener, Gauge> = Family::default();
        for listener in &self.listeners {
            let is_ready = self.obstacle(listener, disk).is_none();
            let label = Listener { listener: listener.name.clone(), mode: listener.mode.as_str() };
            ready.get_or_create(&label).set(is_ready.into());
        }
        registry.register("ready", "Whether a listener can do its work", ready);
    }

    fn register_resources(&self, registry: &mut Registry, running: &Running) {
        let limits = &running.setup.config.limits;
        gauge(registry, "sessions_limit", "Most sessions at once", limits.connections as u64);
        gauge(
            registry,
            "message_memory_bytes",
            "Memory that sessions and messages in flight take",
            self.resources.memory_taken(),
        );
        gauge(
            registry,
            "message_memory_limit_bytes",
            "Memory that sessions and messages in flight may take",
            limits.memory,
        );
        gauge(
            registry,
            "messages_spooled",
            "Messages in flight that are in files, being too large for memory",
            self.resources.spooled() as u64,
        );
        let spooled = self.resources.spooled_octets();
        gauge(registry, "spool_bytes", "Octets of messages in flight that are in files", spooled);
        gauge(registry, "spool_limit_bytes", "Octets that such files may take", limits.spool);
        if running.quarantine.is_some() {
            register_quotas(registry, &running.setup.config.quarantine);
        }
    }
}

fn register_alerts(registry: &mut Registry, running: &Running) {
    let counted = |(sent, lost): (u64, u64)| {
        let mails: Family<Outcome, Counter> = Family::default();
        for (result, count) in [("sent", sent), ("lost", lost)] {
            mails.get_or_create(&Outcome { result }).inc_by(count);
        }
        mails
    };
    if let Some(alerted) = running.post.alerted() {
        registry.register("alerts", "Alerts to the administrator", counted(alerted));
    }
    if running.setup.config.notices.is_some() {
        let notices = counted(running.post.notices.get());
        registry.register("notices", "Notices to recipients of held mail", notices);
    }
    if running.quarantine.is_some() {
        gauge(
            registry,
            "remembering",
            "Whether other domains' keys and seals are remembered",
            running.recorder.as_ref().is_some_and(Recorder::is_open).into(),
        );
    }
    if let Some(recorder) = &running.recorder {
        registry.register(
            "database_repairs",
            "How often the database was damaged, put aside and made anew",
            ConstCounter::new(recorder.repairs()),
        );
    }
}

fn register_sealing(registry: &mut Registry, running: &Running) {
    let keys: Family<KeyInForce, Gauge> = Family::default();
    let (ends, left): (Family<Key, Seconds>, Family<Key, Seconds>) = Default::default();
    let ends_soon: Family<Key, Gauge> = Family::default();
    let now = unix_time().unwrap_or_default();
    for sealer in running.setup.sealers() {
        let key = Key { domain: sealer.domain.to_string(), selector: sealer.selector.to_string() };
        let fingerprint = sealer.key.public().fingerprint().digits();
        let Key { domain, selector } = key.clone();
        keys.get_or_create(&KeyInForce { domain, selector, fingerprint }).set(1);
        if let Some(life) = sealer.delegations.life(now) {
            ends.get_or_create(&key).set(life.ends);
            left.get_or_create(&key).set(life.left);
            ends_soon.get_or_create(&key).set(life.is_short.into());
        }
    }
    registry.register("sealing_key_info", "The keys that seals are made with", keys);
    let states: Family<KeyState, Gauge> = Family::default();
    for own in &running.setup.domains {
        let state_of = |selector: &str, state| {
            let (domain, selector) = (own.name().to_string(), selector.to_owned());
            states.get_or_create(&KeyState { domain, selector, state }).set(1);
        };
        if let Some(sealer) = own.sealer().filter(|_| !own.has_folder()) {
            state_of(sealer.selector.as_str(), "sealing");
        }
        for status in running.keyrings.of(own).statuses(own.config.lifetime.as_secs(), now) {
            state_of(&status.key.selector, status.state.as_str());
        }
    }
    registry.register("key_state", "How each of our keys does", states);
    registry.register(
        "delegation_end_time_seconds",
        "When a sealing key's delegation ends, in Unix time",
        ends,
    );
    registry.register(
        "delegation_remaining_seconds",
        "Time that is left of a sealing key's delegation",
        left,
    );
    registry.register(
        "delegation_ends_soon",
        "Whether less than a third is left of a sealing key's delegation",
        ends_soon,
    );
}

fn register_tls(registry: &mut Registry, running: &Running) {
    if let Some(ends) = running.setup.certificate_ends {
        let help = "When the first of our certificates for clients ends, in Unix time";
        gauge(registry, "tls_certificate_end_time_seconds", help, ends);
    }
}

fn register_disk(registry: &mut Registry, disk: &Disk) {
    if let Some(held) = disk.held {
        gauge(registry, "quarantine_messages", "Messages that are held", held.messages);
        gauge(registry, "quarantine_bytes", "Octets of the messages that are held", held.octets);
        let help = "Messages that are held without a verified seal of a pinned correspondent";
        gauge(registry, "quarantine_unverified_messages", help, held.unverified_messages);
        gauge(registry, "quarantine_unverified_bytes", "Octets of those messages", held.unverified_octets);
    }
    if let Some(waiting) = disk.waiting {
        gauge(registry, "outbox_letters", "Alerts and notices that wait to be sent", waiting.letters);
        gauge(registry, "outbox_bytes", "Octets of those", waiting.octets);
        let now = unix_time().unwrap_or_default();
        let since = waiting.oldest.map(|oldest| u64::try_from(oldest.as_second()).unwrap_or_default());
        let age = since.map_or(0, |since| now.saturating_sub(since));
        gauge(registry, "outbox_oldest_seconds", "How long the oldest of those has waited", age);
    }
    if let Some(room) = disk.room {
        gauge(registry, "state_free_bytes", "Free space on the state folder's file system", room.free);
        gauge(registry, "state_size_bytes", "The size of the state folder's file system", room.size);
    }
}

fn register_quotas(registry: &mut Registry, quotas: &Quotas) {
    let Quotas { all, unverified } = quotas;
    for (name, help, value) in [
        ("quarantine_limit_messages", "Messages that may be held", all.messages),
        ("quarantine_limit_bytes", "Octets that may be held", all.octets),
        (
            "quarantine_unverified_limit_messages",
            "Messages that may be held without a verified seal of a pinned correspondent",
            unverified.messages,
        ),
        ("quarantine_unverified_limit_bytes", "Octets of those messages that may be held", unverified.octets),
    ] {
        gauge(registry, name, help, value);
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstGauge::new(value));
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Listener {
    listener: String,
    mode: &'static str,
}

/// One of our own domains, and which of its keys seals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Key {
    domain: String,
    selector: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyState {
    domain: String,
    selector: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyInForce {
    domain: String,
    selector: String,
    fingerprint: String,
}
