//! `[limits]` and `[quarantine]`: ranges, and the defaults of [`Limits`] and [`Quotas`].

use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;

use super::check::Checker;
use super::quantity::Size;
use super::raw;
use crate::limits::{Limits, Quota, Quotas};
use crate::smtp::memory::SESSION;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// From a second to an hour.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));

/// The limits in force; values out of range are recorded.
pub(super) fn check(checker: &mut Checker<'_>, raw: &raw::Limits) -> Limits {
    let default = Limits::default();
    let mut size =
        |key: &str, value, default, range| size(checker, &format!("limits.{key}"), value, default, range);
    let message_size = size("message_size", raw.message_size, default.message_size, KIB..=2 * GIB);
    let header_size = size("header_size", raw.header_size, default.header_size, KIB..=64 * MIB);
    let memory = size("memory", raw.memory, default.memory, MIB..=1024 * GIB);
    let spool = size("spool", raw.spool, default.spool, MIB..=1024 * GIB);
    let spool_per_client =
        size("spool_per_client", raw.spool_per_client, default.spool_per_client, MIB..=1024 * GIB);
    let spool_reserve = size("spool_reserve", raw.spool_reserve, default.spool_reserve, 0..=1024 * GIB);
    for (key, value) in [("spool", spool), ("spool_per_client", spool_per_client)] {
        if value < message_size {
            let advice = format!(
                "less than message_size ({}): larger messages than this cannot be taken",
                spoken(message_size)
            );
            checker.warn(&format!("limits.{key}"), advice);
        }
    }
    let mut count =
        |key: &str, value, default, max| count(checker, &format!("limits.{key}"), value, default, max);
    let connections = count("connections", raw.connections, default.connections, 100_000);
    let connections_per_client =
        count("connections_per_client", raw.connections_per_client, default.connections_per_client, 100_000);
    let recipients = count("recipients", raw.recipients, default.recipients, 100_000);
    let bad_commands = count("bad_commands", raw.bad_commands, default.bad_commands, 10_000);
    let sessions = connections as u64 * SESSION;
    if sessions > memory / 2 {
        let advice = format!(
            "{} is little for limits.connections: {connections} sessions take {} of it; choose at least {}",
            spoken(memory),
            spoken(sessions),
            spoken(2 * sessions)
        );
        checker.warn("limits.memory", advice);
    }
    Limits {
        message_size,
        header_size,
        connections,
        connections_per_client,
        memory,
        recipients,
        spool,
        spool_per_client,
        spool_reserve,
        command_timeout: wait(checker, "command_timeout", raw.command_timeout, default.command_timeout),
        data_timeout: wait(checker, "data_timeout", raw.data_timeout, default.data_timeout),
        next_hop_timeout: wait(checker, "next_hop_timeout", raw.next_hop_timeout, default.next_hop_timeout),
        bad_commands,
    }
}

/// The quotas of held mail; values out of range are recorded.
pub(super) fn check_quarantine(checker: &mut Checker<'_>, raw: &raw::Quarantine) -> Quotas {
    let Quotas { all, unverified } = Quotas::default();
    let mut quota = |[size_key, count_key]: [&str; 2], octets, messages, default: Quota| {
        let octets =
            size(checker, &format!("quarantine.{size_key}"), octets, default.octets, MIB..=1024 * GIB);
        let key = format!("quarantine.{count_key}");
        let messages = count(checker, &key, messages, default.messages as usize, 1_000_000);
        Quota { octets, messages: messages as u64 }
    };
    let all = quota(["size", "messages"], raw.size, raw.messages, all);
    // What is not set follows a smaller whole.
    let unverified = Quota {
        octets: unverified.octets.min(all.octets).max(MIB),
        messages: unverified.messages.min(all.messages),
    };
    let keys = ["unverified_size", "unverified_messages"];
    let unverified = quota(keys, raw.unverified_size, raw.unverified_messages, unverified);
    Quotas { all, unverified }
}

pub(super) fn size(
    checker: &mut Checker<'_>,
    key: &str,
    value: Option<Size>,
    default: u64,
    range: RangeInclusive<u64>,
) -> u64 {
    let value = value.map_or(default, |size| size.0);
    if !range.contains(&value) {
        let (min, max) = (spoken(*range.start()), spoken(*range.end()));
        checker.wrong(key, format!("{} is out of range; choose from {min} to {max}", spoken(value)));
    }
    value
}

pub(super) fn count(
    checker: &mut Checker<'_>,
    key: &str,
    value: Option<i64>,
    default: usize,
    max: usize,
) -> usize {
    let Some(value) = value else { return default };
    match usize::try_from(value) {
        Ok(count) if (1..=max).contains(&count) => count,
        _ => {
            checker.wrong(key, format!("{value} is out of range; choose from 1 to {max}"));
            default
        }
    }
}

fn wait(
    checker: &mut Checker<'_>,
    key: &str,
    value: Option<super::quantity::Seconds>,
    default: Duration,
) -> Duration {
    checker.duration(&format!("limits.{key}"), value, default, WAITS)
}

fn spoken(octets: u64) -> String {
    ByteSize(octets).display().iec().to_string()
}
