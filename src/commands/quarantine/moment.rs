//! Moments as people give them: a day, a moment of RFC 3339, or how long ago.

use attachment_seal::domain::DomainName;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

const HINT: &str = "write a day (2026-11-20), a moment (2026-11-20T08:00:00Z), or how long ago (3d, 12h)";

/// The moment that a text names; a day begins at midnight UTC.
pub(in crate::commands) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(day) = text.parse::<Date>() {
        return start_of(day).ok_or_else(|| HINT.to_owned());
    }
    ago(text).map_err(|_| HINT.to_owned())
}

/// The moment that lies a span before now.
pub(in crate::commands) fn ago(text: &str) -> Result<Timestamp, String> {
    let hint = || "write how long, such as 7d, 12h or 90d".to_owned();
    let span: Span = text.parse().map_err(|_| hint())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| hint())?;
    if length < SignedDuration::ZERO {
        return Err(hint());
    }
    Timestamp::now().checked_sub(length).map_err(|_| hint())
}

/// A day of UTC, as its first moment.
pub(in crate::commands) fn day(text: &str) -> Result<Timestamp, String> {
    let day = match text {
        "today" => Ok(Timestamp::now().to_zoned(TimeZone::UTC).date()),
        text => text.parse::<Date>(),
    };
    day.ok().and_then(start_of).ok_or_else(|| "write a day (2026-11-20), or today".to_owned())
}

/// A domain, as addresses and seals have it.
pub(in crate::commands) fn domain(text: &str) -> Result<String, String> {
    let domain = text.parse::<DomainName>().map_err(|error| error.to_string())?;
    Ok(domain.as_str().to_owned())
}

fn start_of(day: Date) -> Option<Timestamp> {
    day.to_zoned(TimeZone::UTC).ok().map(|start| start.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_days_moments_and_spans() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(moment("2026-11-20"), Ok(at("2026-11-20T00:00:00Z")));
        assert_eq!(moment("2026-11-20T08:00:00+01:00"), Ok(at("2026-11-20T07:00:00Z")));
        assert_eq!(day("2026-11-20"), Ok(at("2026-11-20T00:00:00Z")));
        let week = Timestamp::now().duration_since(ago("7d").unwrap());
        assert!((week - SignedDuration::from_hours(7 * 24)).abs() < SignedDuration::from_mins(1));
        assert!(moment("3d").is_ok() && moment("12h").is_ok() && day("today").is_ok());
        for text in ["", "soon", "-3d", "3", "2026-13-01", "2 months"] {
            assert!(moment(text).is_err() && ago(text).is_err() && day(text).is_err(), "{text}");
        }
    }
}
