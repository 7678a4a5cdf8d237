//! How far a scan is: a bar on a terminal with room for one, a line now and then on one that tells no width, nothing
//! elsewhere.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::say_on_stderr;
use crate::scan::tally::Tally;

/// Columns that a bar needs, and those that a long one needs.
const MIN_WIDTH: u16 = 40;
const LONG: u16 = 90;
/// Between two lines where there is no bar.
const PAUSE: Duration = Duration::from_secs(5);

/// The progress, by octets of the store.
pub(super) struct Progress {
    bar: ProgressBar,
    /// When the last line was written, where lines are written.
    last_line: Option<Instant>,
}

impl Progress {
    pub(super) fn new(octets: u64) -> Self {
        let width = width();
        let bar = ProgressBar::new(octets).with_style(style(width.unwrap_or_default()));
        let has_room = width.is_some_and(|width| width >= MIN_WIDTH);
        bar.set_draw_target(if has_room {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        let last_line = width.filter(|_| !has_room).map(|_| Instant::now());
        Self { bar, last_line }
    }

    /// So many octets more were read.
    pub(super) fn advance(&mut self, octets: u64, tally: &Tally) {
        self.bar.inc(octets);
        if !self.bar.is_hidden() {
            self.bar.set_message(speed(tally, self.bar.elapsed()));
        }
        if self.last_line.is_some_and(|last| last.elapsed() >= PAUSE) {
            self.last_line = Some(Instant::now());
            let (position, length) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let left = self.bar.eta().as_secs();
            say_on_stderr(format_args!(
                "{} of {}, {}, {left} s left",
                size(position),
                size(length),
                speed(tally, self.bar.elapsed())
            ));
        }
    }

    /// Writes something else, the bar out of its way.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// `300 messages/s`.
fn speed(tally: &Tally, elapsed: Duration) -> String {
    let rate = tally.messages() as f64 / elapsed.as_secs_f64().max(0.01);
    format!("{rate:.0} messages/s")
}

fn size(octets: u64) -> String {
    ByteSize(octets).display().si().to_string()
}

fn style(width: u16) -> ProgressStyle {
    let template = if width >= LONG {
        "{wide_bar} {decimal_bytes}/{decimal_total_bytes}, {msg}, {decimal_bytes_per_sec}, {eta} left"
    } else {
        "{wide_bar} {percent}%, {decimal_bytes_per_sec}, {eta} left"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Columns of the terminal on stderr; `None` if it is none. A serial line tells 0.
fn width() -> Option<u16> {
    let stderr = io::stderr();
    if !stderr.is_terminal() {
        return None;
    }
    Some(rustix::termios::tcgetwinsize(&stderr).map_or(0, |size| size.ws_col))
}
