//! A line on its way into the queue: one write for each event, with the priority that systemd's journal wants of it
//! (sd-daemon(3)), and in JSON nothing that ends a line for those who read Unicode.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use attachment_seal::verdict::report::is_plain;
use rustix::fs::fstat;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::queue::QUEUE;

/// Makes lines of events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    is_json: bool,
    /// Whether stderr leads to the journal.
    has_priorities: bool,
}

impl Lines {
    pub(super) fn text() -> Self {
        Self { is_json: false, has_priorities: leads_to_journal() }
    }

    pub(super) fn json() -> Self {
        Self { is_json: true, ..Self::text() }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { is_json: self.is_json, priority: "" }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line {
        let priority = if self.has_priorities { priority(*event.level()) } else { "" };
        Line { is_json: self.is_json, priority }
    }
}

/// One event, written at once.
pub(super) struct Line {
    is_json: bool,
    priority: &'static str,
}

impl Write for Line {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let event_now = if self.is_json { json_in_one_line(event) } else { Cow::Borrowed(event) };
        if self.priority.is_empty() {
            QUEUE.push(&event_now);
        } else {
            QUEUE.push(&[self.priority.as_bytes(), &*event_now].concat());
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// What a line on stderr that is no event begins with if it reports an error.
pub fn error_priority() -> &'static str {
    if leads_to_journal() { priority(Level::ERROR) } else { "" }
}

/// Whether stderr is the stream of which systemd says that its journal reads there (systemd.exec(5)).
fn leads_to_journal() -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stderr| journal == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

/// JSON escapes ASCII's control characters alone; elsewhere than in strings there is nothing but ASCII.
fn json_in_one_line(event: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(event) else { return Cow::Borrowed(event) };
    let is_harmless = |c: char| is_plain(c) || c == '\n';
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(event);
    }
    let mut escaped = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if is_harmless(c) {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(escaped.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_in_its_line_and_is_the_same_json() {
        let text = "a\u{85}b\u{2028}c\u{202e}d\u{7f}e\u{e0041}f é";
        let mut event = serde_json::to_vec(text).unwrap();
        event.push(b'\n');
        let escaped = json_in_one_line(&event);
        assert!(std::str::from_utf8(&escaped).unwrap().chars().all(|c| is_plain(c) || c == '\n'));
        assert_eq!(serde_json::from_slice::<String>(&escaped).unwrap(), text);
        assert!(matches!(json_in_one_line(b"{\"a\":\"b\"}\n"), Cow::Borrowed(_)));
    }
}
