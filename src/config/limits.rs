//! `[limits]` and `[quarantine]`: ranges, and the defaults of [`Limits`] and [`Quotas`].

use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;

use super::HeldMail;
use super::check::Checker;
use super::quantity::{Seconds, Size};
use super::raw;
use crate::smtp::limits::Limits;
use crate::smtp::memory::SESSION;
use crate::store::{Quota, Quotas};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// From a second to an hour.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));

/// How long held mail may be kept at least and at most: its removal is told of a week before.
const KEEP: (Duration, Duration) = (Duration::from_secs(7 * 86_400), Duration::from_secs(3_650 * 86_400));

/// The limits in force; values out of range are recorded.
pub(super) fn check(checker: &mut Checker<'_>, raw: &raw::Limits) -> Limits {
    let default = Limits::default();
    // One line a limit: how it is read, its key, its range.
    macro_rules! limit {
        ($read:ident, $key:ident, $range:expr) => {
            $read(checker, concat!("limits.", stringify!($key)), raw.$key, default.$key, $range)
        };
    }
    let limits = Limits {
        message_size: limit!(size, message_size, KIB..=2 * GIB),
        header_size: limit!(size, header_size, KIB..=64 * MIB),
        connections: limit!(count, connections, 100_000),
        connections_per_client: limit!(count, connections_per_client, 100_000),
        memory: limit!(size, memory, MIB..=1024 * GIB),
        recipients: limit!(count, recipients, 100_000),
        spool: limit!(size, spool, MIB..=1024 * GIB),
        spool_per_client: limit!(size, spool_per_client, MIB..=1024 * GIB),
        spool_reserve: limit!(size, spool_reserve, 0..=1024 * GIB),
        command_timeout: limit!(wait, command_timeout, WAITS),
        data_timeout: limit!(wait, data_timeout, WAITS),
        next_hop_timeout: limit!(wait, next_hop_timeout, WAITS),
        bad_commands: limit!(count, bad_commands, 10_000),
    };
    for (key, value) in [("spool", limits.spool), ("spool_per_client", limits.spool_per_client)] {
        if value < limits.message_size {
            let advice = format!(
                "less than message_size ({}): larger messages than this cannot be taken",
                spoken(limits.message_size)
            );
            checker.warn(&format!("limits.{key}"), advice);
        }
    }
    let sessions = limits.connections as u64 * SESSION;
    if sessions > limits.memory / 2 {
        let advice = format!(
            "{} is little for limits.connections: {} sessions take {} of it; choose at least {}",
            spoken(limits.memory),
            limits.connections,
            spoken(sessions),
            spoken(2 * sessions)
        );
        checker.warn("limits.memory", advice);
    }
    limits
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

/// How held mail is dealt with. What is to be removed by age must be told of before, so somebody must be there to be told.
pub(super) fn check_held_mail(checker: &mut Checker<'_>, raw: &raw::Quarantine, is_told: bool) -> HeldMail {
    let key = "quarantine.keep";
    let keep = raw.keep.map(|keep| checker.duration(key, Some(keep), keep.0, KEEP));
    if keep.is_some() && !is_told {
        checker.warn(
            key,
            "without [alerts] nothing is removed: it is told a week before what goes, and there is nobody to tell",
        );
    }
    let release_needs = count(checker, "quarantine.release_needs", raw.release_needs, 1, 2);
    HeldMail { keep, release_needs }
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
    value: Option<Seconds>,
    default: Duration,
    range: (Duration, Duration),
) -> Duration {
    checker.duration(key, value, default, range)
}

fn spoken(octets: u64) -> String {
    ByteSize(octets).display().iec().to_string()
}
