//! What `verify` and `scan` share: pins from a folder, a stored message read and judged.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::keyfile::{KeyFileError, read_keys_dir};
use crate::seal::knowledge::{Knowledge, Pins};
use crate::seal::message::Message;
use crate::seal::verify::verify;
use crate::stored::{to_wire, unquoted};
use crate::verdict::{Verdict, Verification};

/// How keys are found.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// A folder of pinned keys: <domain>/<selector>.txt, a key record each, and <domain>/root.txt, root keys one a
    /// line. Its domains count as pinned, so their unsealed mail is `missing`
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Don't look keys up in DNS (this version never does: it believes pinned keys only)
    #[arg(long)]
    no_dns: bool,
}

/// Judges stored messages.
#[derive(Debug)]
pub(super) struct Judge {
    pins: Pins,
    now: u64,
}

impl Judge {
    /// Reads the pins.
    pub(super) fn new(args: &KeyArgs) -> Result<Self, KeyFileError> {
        let mut pins = Pins::default();
        for (domain, pin) in args.keys.as_deref().map(read_keys_dir).transpose()?.unwrap_or_default() {
            pins.add(domain, pin);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(Self { pins, now })
    }

    /// The result for a message as it lies on disk.
    pub(super) fn judge(&self, stored: Vec<u8>) -> Verification {
        let (wire, _) = to_wire(stored);
        verify(&Message::new(&wire), &Knowledge::pinned(&self.pins), self.now)
    }

    /// The result for a message of an mbox file, where lines that begin with `From ` may have been quoted.
    pub(super) fn judge_from_mbox(&self, stored: Vec<u8>) -> Verification {
        let unquoted = unquoted(&stored);
        let as_stored = self.judge(stored);
        let may_be_quoting = matches!(as_stored.verdict, Verdict::Fail(_) | Verdict::Ambiguous)
            || as_stored.body.is_some_and(|body| body == crate::verdict::State::Changed);
        if may_be_quoting && let Some(unquoted) = unquoted {
            let without_quotes = self.judge(unquoted);
            if matches!(without_quotes.verdict, Verdict::Pass | Verdict::Expired) {
                return without_quotes;
            }
        }
        as_stored
    }
}

/// The content of a file, or of standard input where none is named or its name is `-`.
pub(super) fn read_input(path: Option<&Path>) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    match path {
        Some(path) if path != Path::new("-") => File::open(path)?.read_to_end(&mut content)?,
        _ => io::stdin().lock().read_to_end(&mut content)?,
    };
    Ok(content)
}
