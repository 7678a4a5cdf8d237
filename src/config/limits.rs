//! `[limits]`: ranges, and the defaults of [`Limits`].

use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;

use super::check::Checker;
use super::quantity::Size;
use super::raw;
use crate::limits::Limits;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// From a second to an hour.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));

/// The limits in force; values out of range are recorded.
pub(super) fn check(checker: &mut Checker<'_>, raw: &raw::Limits) -> Limits {
    let default = Limits::default();
    Limits {
        message_size: size(checker, "message_size", raw.message_size, default.message_size, KIB..=2 * GIB),
        header_size: size(checker, "header_size", raw.header_size, default.header_size, KIB..=64 * MIB),
        connections: count(checker, "connections", raw.connections, default.connections, 100_000),
        connections_per_client: count(
            checker,
            "connections_per_client",
            raw.connections_per_client,
            default.connections_per_client,
            100_000,
        ),
        memory: size(checker, "memory", raw.memory, default.memory, MIB..=1024 * GIB),
        command_timeout: wait(checker, "command_timeout", raw.command_timeout, default.command_timeout),
        data_timeout: wait(checker, "data_timeout", raw.data_timeout, default.data_timeout),
        next_hop_timeout: wait(checker, "next_hop_timeout", raw.next_hop_timeout, default.next_hop_timeout),
        bad_commands: count(checker, "bad_commands", raw.bad_commands, default.bad_commands, 10_000),
    }
}

fn size(
    checker: &mut Checker<'_>,
    key: &str,
    value: Option<Size>,
    default: u64,
    range: RangeInclusive<u64>,
) -> u64 {
    let value = value.map_or(default, |size| size.0);
    if !range.contains(&value) {
        let (min, max) = (spoken(*range.start()), spoken(*range.end()));
        checker.wrong(
            &format!("limits.{key}"),
            format!("{} is out of range; choose from {min} to {max}", spoken(value)),
        );
    }
    value
}

fn count(checker: &mut Checker<'_>, key: &str, value: Option<i64>, default: usize, max: usize) -> usize {
    let Some(value) = value else { return default };
    match usize::try_from(value) {
        Ok(count) if (1..=max).contains(&count) => count,
        _ => {
            checker
                .wrong(&format!("limits.{key}"), format!("{value} is out of range; choose from 1 to {max}"));
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
