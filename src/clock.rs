//! The system's clock, for all that tells the core what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in whole Unix seconds; `None` where the clock stands before 1970.
pub fn unix_time() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}
