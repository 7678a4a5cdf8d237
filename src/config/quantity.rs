//! Sizes (`52428800`, `"50MiB"`) and durations (`300`, `"5m"`) as people write them.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::{Span, SpanRelativeTo};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A number of octets: an integer, or a text such as `"50MiB"` or `"50MB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// A duration: an integer of seconds, or a text such as `"30s"`, `"5m"`, `"14d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) Duration);

const SIZE: &str = "a size in bytes such as 52428800 or \"50MiB\"";
const SECONDS: &str = "a duration in seconds such as 300, or \"30s\", \"5m\", \"2h\", \"14d\"";

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| text.parse::<ByteSize>().ok().map(|size| Size(size.0));
        deserializer.deserialize_any(Quantity { expected: SIZE, whole: |n| Some(Size(n)), parse })
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = |n| Some(Seconds(Duration::from_secs(n)));
        deserializer.deserialize_any(Quantity { expected: SECONDS, whole, parse: parse_seconds })
    }
}

fn parse_seconds(text: &str) -> Option<Seconds> {
    if let Ok(seconds) = text.parse() {
        return Some(Seconds(Duration::from_secs(seconds)));
    }
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok().map(Seconds)
}

/// Reads a whole number or a text, and reports what was expected instead of anything else.
struct Quantity<W, P> {
    expected: &'static str,
    whole: W,
    parse: P,
}

impl<T, W: Fn(u64) -> Option<T>, P: Fn(&str) -> Option<T>> Visitor<'_> for Quantity<W, P> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let value = u64::try_from(number).ok().and_then(&self.whole);
        value.ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.whole)(number).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text.trim()).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// A duration in the largest unit that divides it, for messages.
pub(super) fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        s if s > 0 && s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s > 0 && s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s > 0 && s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: de::DeserializeOwned>(value: &str) -> Result<T, String> {
        let value = toml::de::ValueDeserializer::parse(value).map_err(|e| e.to_string())?;
        T::deserialize(value).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn reads_sizes() {
        for (text, octets) in [("5", 5), ("\"5\"", 5), ("\"50MiB\"", 50 << 20), ("\"50 MB\"", 50_000_000)] {
            assert_eq!(read::<Size>(text), Ok(Size(octets)), "{text}");
        }
        for text in ["-1", "1.5", "true", "\"\"", "\"many\"", "\"5 parsecs\"", "[1]"] {
            assert!(read::<Size>(text).unwrap_err().contains("50MiB"), "{text}");
        }
    }

    #[test]
    fn reads_durations() {
        for (text, seconds) in
            [("30", 30), ("\"30\"", 30), ("\"5m\"", 300), ("\"2h\"", 7200), ("\"14d\"", 14 * 86_400)]
        {
            assert_eq!(read::<Seconds>(text), Ok(Seconds(Duration::from_secs(seconds))), "{text}");
        }
        for text in ["-1", "\"-5m\"", "\"5m ago\"", "\"2 months\"", "\"soon\"", "\"\""] {
            assert!(read::<Seconds>(text).unwrap_err().contains("\"5m\""), "{text}");
        }
    }
}
