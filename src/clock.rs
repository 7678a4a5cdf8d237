//! The system's clock, for all that tells the core what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Now, in whole Unix seconds; `None` where the system clock is set before 1970.
pub fn unix_time() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// A moment in Unix seconds, as a date and time; 1970 for one beyond all calendars.
pub fn moment(seconds: u64) -> Timestamp {
    i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_default()
}

/// A moment for people, in whole seconds of UTC (RFC 3339).
pub fn second(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_spared_fractions() {
        for text in ["2026-11-23T11:04:58.123456789Z", "2026-11-23T11:04:58Z"] {
            assert_eq!(second(text.parse().unwrap()), "2026-11-23T11:04:58Z");
        }
    }
}
