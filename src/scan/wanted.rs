//! Which messages a scan is about. In doubt a message belongs to it.

use attachment_seal::domain::DomainName;
use attachment_seal::seal::message::Message;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::letter::latest_time;

/// What is asked for; everything by default.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Messages that were on their way at this time or later, and those that do not tell.
    pub since: Option<Timestamp>,
    /// Messages by these domains or domains below them; all if it is empty.
    pub domains: Vec<DomainName>,
}

impl Wanted {
    /// Whether it is about this message.
    pub fn includes(&self, message: &Message<'_>) -> bool {
        self.is_recent(message) && self.is_by_domain(message)
    }

    fn is_recent(&self, message: &Message<'_>) -> bool {
        match (self.since, latest_time(message.header())) {
            (Some(since), Some(latest)) => latest >= since,
            _ => true,
        }
    }

    /// Whether the author, any that some reader may take for the author, or a seal is of such a domain. An author that
    /// cannot be told may be anybody.
    fn is_by_domain(&self, message: &Message<'_>) -> bool {
        let author = message.author();
        self.domains.is_empty()
            || author.is_crowd()
            || author.domains().is_empty()
            || message.named().any(|named| self.domains.iter().any(|domain| named.is_at_or_below(domain)))
    }
}

/// A moment as administrators write it: a date, then its first moment in this machine's time zone, or RFC 3339.
pub fn parse_since(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let date: Date =
        text.parse().map_err(|_| "neither like 2026-11-23 nor like 2026-11-23T09:00:00Z".to_owned())?;
    let start = date.to_zoned(TimeZone::system()).map_err(|error| error.to_string())?;
    Ok(start.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(wanted: &Wanted, text: &str) -> bool {
        wanted.includes(&Message::new(text.replace('\n', "\r\n").as_bytes()))
    }

    #[test]
    fn in_doubt_a_message_is_wanted() {
        let since = Wanted { since: parse_since("2026-11-23T09:00:00Z").ok(), domains: Vec::new() };
        for (text, expected) in [
            ("Date: Mon, 23 Nov 2026 09:00:00 +0000\n\n", true),
            ("Date: Mon, 23 Nov 2026 08:59:59 +0000\n\n", false),
            (
                "Received: by a; Mon, 23 Nov 2026 09:00:00 +0000\nDate: Thu, 1 Jan 1970 00:00:00 +0000\n\n",
                true,
            ),
            ("From: a@example.org\n\n", true),
        ] {
            assert_eq!(includes(&since, text), expected, "{text}");
        }
        let domain = Wanted { since: None, domains: vec!["example.org".parse().unwrap()] };
        for (text, expected) in [
            ("From: a@example.org\n\n", true),
            ("From: a@sales.Example.org\n\n", true),
            ("From: a@partner.example\n\n", false),
            ("From: a@notexample.org\n\n", false),
            ("From: a@example.org, b@partner.example\n\n", true),
            ("From: nobody\n\n", true),
            ("Subject: no author\n\n", true),
        ] {
            assert_eq!(includes(&domain, text), expected, "{text}");
        }
        assert!(includes(&Wanted::default(), "Date: Thu, 1 Jan 1970 00:00:00 +0000\n\n"));
    }

    #[test]
    fn reads_dates_and_moments() {
        assert_eq!(parse_since("2026-11-23T09:00:00+01:00").unwrap().to_string(), "2026-11-23T08:00:00Z");
        assert!(parse_since("2026-11-23").is_ok());
        for text in ["", "yesterday", "23.11.2026", "2026-13-01"] {
            assert!(parse_since(text).is_err(), "{text}");
        }
    }
}
