//! What `verify` and `scan` share: what is known of keys, a stored message read and judged.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attachment_seal::seal::knowledge::{Answers, Knowledge, Pins};
use attachment_seal::seal::message::Message;
use attachment_seal::seal::remembered::Memory;
use attachment_seal::verdict::Verification;
use attachment_seal::verdict::verify::verify;
use thiserror::Error;
use tokio::runtime::Runtime;

use crate::clock::unix_time;
use crate::config::{self, Mistake};
use crate::dns::lookup::{Bounds, Wanted, look_up};
use crate::dns::{self, Dns};
use crate::gateway::setup::Setup;
use crate::keys::{KeyFileError, read_keys_dir};
use crate::smtp::limits::Limits;
use crate::store::{DatabaseError, Memories, PinsError, State};

/// How keys are found.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// A folder of pinned keys: <domain>/<selector>.txt, a key record each, and <domain>/root.txt, root keys one a
    /// line. Its domains count as pinned, so their unsealed mail is `missing`
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Judge as the gateway with this configuration would now: by its pins, also those made by command, by
    /// its memory, and by DNS as its [dns] sets it. A remembered key counts even if DNS has it no longer.
    /// Nothing is written. Without this option the system's name servers are asked, and none of their answers
    /// counts as proved
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Don't ask DNS for keys and policies: trust only pinned keys, and with --config remembered ones
    #[arg(long)]
    no_dns: bool,
}

/// Why nothing can be judged.
#[derive(Debug, Error)]
pub(super) enum JudgeError {
    /// The folder of pinned keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The configuration is wrong. The first mistake is enough; check-config prints them all.
    #[error("{0}")]
    Config(Mistake),
    /// The pins made by command cannot be read.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// What the gateway remembers cannot be read.
    #[error("{}: {source}", state.display())]
    Memory {
        /// The state folder.
        state: PathBuf,
        /// Why.
        source: DatabaseError,
    },
    /// No seal could be judged by its dates.
    #[error("the system clock is set before 1970")]
    Clock,
    /// The system gives no more threads or files.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Judges stored messages.
#[derive(Debug)]
pub(super) struct Judge {
    pins: Pins,
    /// What a gateway remembers, if one does.
    memories: Option<Arc<dyn Memories>>,
    limits: Limits,
    dns: Option<Asked>,
    now: u64,
}

/// DNS, and what one message may ask of it.
#[derive(Debug)]
struct Asked {
    runtime: Runtime,
    dns: Dns,
    bounds: Bounds,
}

impl Judge {
    /// Reads the pins, and opens what is remembered.
    pub(super) fn new(args: &KeyArgs) -> Result<Self, JudgeError> {
        let (mut pins, mut memories, mut settings) = (Pins::default(), None, dns::Settings::default());
        let mut limits = Limits::default();
        if let Some(file) = &args.config {
            let config = config::load(file).map_err(first)?;
            limits = config.limits.clone();
            (pins, settings) = Setup::read_for_verifying(&config).map_err(first)?;
            let state = State::open_to_look(&config.state);
            state.pins.add_to(&mut pins)?;
            memories = match state.memories.recall(&[], 0) {
                Ok(_) => Some(state.memories),
                Err(DatabaseError::None(_)) => None,
                Err(source) => return Err(JudgeError::Memory { state: config.state.folder, source }),
            };
        }
        for (domain, pin) in args.keys.as_deref().map(read_keys_dir).transpose()?.unwrap_or_default() {
            pins.add(domain, pin);
        }
        let now = unix_time().ok_or(JudgeError::Clock)?;
        let dns = if args.no_dns {
            None
        } else {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let bounds = settings.bounds();
            Some(Asked { runtime, dns: Dns::new(settings), bounds })
        };
        Ok(Self { pins, memories, limits, dns, now })
    }

    /// The result for a message in its wire form. Several threads may ask at once.
    pub(super) fn judge(&self, message: &Message<'_>) -> Result<Verification, DatabaseError> {
        let answers = match &self.dns {
            Some(Asked { runtime, dns, bounds }) => {
                runtime.block_on(look_up(&Wanted::by(message), &self.pins, dns, *bounds))
            }
            None => Answers::default(),
        };
        let memory = match &self.memories {
            Some(memories) => memories.recall(&message.wanted_memories(), self.now)?,
            None => Memory::default(),
        };
        let memory = Memory { of_stored_mail: true, ..memory };
        Ok(verify(message, &Knowledge { pins: &self.pins, answers, memory }, self.now))
    }

    /// Whether judging a message may mean to wait for DNS.
    pub(super) fn asks_dns(&self) -> bool {
        self.dns.is_some()
    }

    /// The most octets that are read of one stored message: what the gateway takes, and as much as may be added above it
    /// on its way into the store.
    pub(super) fn max_message(&self) -> u64 {
        self.limits.message_size.saturating_add(self.limits.header_size)
    }
}

/// The first mistake is enough.
fn first(mistakes: Vec<Mistake>) -> JudgeError {
    JudgeError::Config(mistakes.into_iter().next().unwrap_or_default())
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
