//! A gateway whose system clock a test moves, by libfaketime. Waiting takes as long as ever: only the time of day is another.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program::site::Site;
use crate::program::{Config, Gateway, skip};

/// The clock of a gateway.
#[derive(Debug)]
pub(crate) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// As the system's, until it is moved. `None`, and the test skipped, where libfaketime is missing.
    pub(crate) fn new(site: &Site) -> Option<Self> {
        let library = library();
        if !skip::are_there(&[("libfaketime", library.is_some())]) {
            return None;
        }
        let clock = Self { library: library?, file: site.folder.path().join("clock") };
        clock.set_ahead(0);
        Some(clock)
    }

    /// Sets the clock so many seconds ahead of the system's.
    pub(crate) fn set_ahead(&self, seconds: u64) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("+{seconds}\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// Starts a gateway by this clock.
    pub(crate) fn start(&self, config: &Config) -> Gateway {
        config.start_with(&[
            ("LD_PRELOAD", self.library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("TZ", "UTC"),
        ])
    }
}

/// Debian has it in the folder of the machine's architecture.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| Path::exists(library))
}
