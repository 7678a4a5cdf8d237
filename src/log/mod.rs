//! The log: on stderr, in the configured format, panics included. No line of it holds credentials or what a
//! message says, no mail waits for it, and no value from outside can be taken for a field of it.

mod line;
mod queue;
mod text;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;
use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use self::line::Lines;
pub use self::line::error_priority;
use self::queue::QUEUE;
use self::text::TextFields;
use crate::config::{Log, LogFormat};

/// How long the last lines may take to be written at the end of the process.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// The same for the line of a panic, which may be the end.
const PANIC_PATIENCE: Duration = Duration::from_millis(100);

/// Panics of this process, whatever thread they were in.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many panics have been reported since the start.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// How many lines could not be written since the start.
pub fn dropped() -> u64 {
    QUEUE.dropped()
}

/// Why there is no log.
#[derive(Debug, Error)]
pub enum StartLogError {
    /// The level is none.
    #[error("log.level: {0}")]
    Level(#[from] ParseError),
    /// There is no thread to write it.
    #[error("cannot start the log: {0}")]
    Thread(#[from] io::Error),
}

/// The log of this process. Dropped at its end, it waits a moment for the last lines to be written.
#[derive(Debug)]
pub struct Running(());

impl Drop for Running {
    fn drop(&mut self) {
        QUEUE.flush(END_PATIENCE);
    }
}

/// Starts the log of this process. Once only.
pub fn start(log: &Log) -> Result<Running, StartLogError> {
    let filter = EnvFilter::try_new(with_quiet_resolver(&log.level))?;
    QUEUE.start()?;
    // A failure to format would be told on stderr, past the queue.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    match log.format {
        LogFormat::Text => {
            builder.with_ansi(false).fmt_fields(TextFields).with_writer(Lines::text()).init();
        }
        LogFormat::Json => builder.json().flatten_event(true).with_writer(Lines::json()).init(),
    }
    std::panic::set_hook(Box::new(report_panic));
    Ok(Running(()))
}

/// hickory tells of each answer that it does not believe with the whole of it, which strangers choose. What matters of that
/// we say ourselves; who wants the rest names hickory.
fn with_quiet_resolver(level: &str) -> String {
    if level.contains("hickory") { level.to_owned() } else { format!("{level},{QUIET_RESOLVER}") }
}

const QUIET_RESOLVER: &str = "hickory_net=error,hickory_resolver=error,hickory_proto=error";

/// A panic as a line of the log; the standard hook's text on stderr would be none.
pub fn report_panic(panic: &PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let reason = without_quotation(panic.payload_as_str().unwrap_or("without a message"));
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        error!(%location, ?reason, %backtrace, "panic");
    } else {
        error!(%location, ?reason, "panic");
    }
    QUEUE.flush(PANIC_PATIENCE);
}

/// A text that is cut where it cannot be is quoted in the message of that panic, and it may be a stranger's letter.
fn without_quotation(reason: &str) -> &str {
    [" of `", " slicing `"]
        .iter()
        .filter_map(|quotation| reason.find(quotation))
        .min()
        .map_or(reason, |end| &reason[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_is_heard_by_those_who_ask_for_it() {
        assert_eq!(with_quiet_resolver("info"), format!("info,{QUIET_RESOLVER}"));
        assert_eq!(with_quiet_resolver("info,hickory_net=debug"), "info,hickory_net=debug");
        assert!(EnvFilter::try_new(with_quiet_resolver("debug")).is_ok());
    }

    #[test]
    fn quotes_no_text() {
        let text = "\u{e4} `secret` of `all` of them";
        for (start, end) in [(0, 1), (900, 901), (4, 3)] {
            let panic = std::panic::catch_unwind(|| text[start..end].len()).unwrap_err();
            let reason = panic.downcast_ref::<String>().map(String::as_str).unwrap();
            let reason = without_quotation(reason);
            assert!(reason.len() > 20 && !reason.contains("secret"), "{reason}");
        }
        // As Rust's standard library wrote it until 1.95.
        let quoting =
            format!("byte index 1 is not a char boundary; it is inside '\u{e4}' (bytes 0..2) of `{text}`");
        let reason = without_quotation(&quoting);
        assert!(reason.len() > 20 && !reason.contains("secret"), "{reason}");
        assert_eq!(without_quotation("index out of bounds: 1"), "index out of bounds: 1");
    }
}
