//! Tests that cannot be done here. To Rust's test harness they have passed; `tests/tally.awk` counts them by the line that each
//! of them prints.

use std::io::Write;
use std::thread;

/// Whether all is there that a test needs: programs, which `tests/run` installs, and what is root's. If not, the test is
/// skipped; where `WAXSEAL_REQUIRE_LIVE` is set, it fails.
pub(crate) fn are_there(needs: &[(&str, bool)]) -> bool {
    let missing: Vec<&str> = needs.iter().filter(|(_, is_there)| !is_there).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return true;
    }
    let reason = format!("needs {}", missing.join(", "));
    assert!(std::env::var_os("WAXSEAL_REQUIRE_LIVE").is_none(), "{reason}");
    skipped(&reason);
    false
}

/// Has this test counted as skipped. It must call this on its own thread, and then return.
pub(crate) fn skipped(reason: &str) {
    let test = thread::current();
    let test = test.name().unwrap();
    let line = format!("SKIPPED: {}::{test}: {reason}\n", env!("CARGO_CRATE_NAME"));
    // In one piece, and past the test harness, which swallows what tests print that pass.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
