//! What is known of the correspondents whom one message names: pins, those made by command included, and memory.

use std::sync::Arc;

use arc_swap::ArcSwap;
use attachment_seal::seal::knowledge::Pins;
use attachment_seal::seal::remembered::Memory;
use tracing::{error, info};

use crate::blocking::blocking;
use crate::dns::lookup::Wanted;
use crate::store::{PinsError, Recorder, SaidPins, Stamp};

/// The pins of the configuration and of the command line, which may change with every message.
#[derive(Debug)]
pub struct CurrentPins {
    configured: Pins,
    by_command: Arc<dyn SaidPins>,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    stamp: Stamp,
    /// Those of the command line.
    said: Pins,
    all: Arc<Pins>,
}

impl Current {
    fn new(configured: &Pins, stamp: Stamp, said: Pins) -> Self {
        let mut all = configured.clone();
        all.extend(&said);
        Self { stamp, said, all: Arc::new(all) }
    }

    fn read(configured: &Pins, by_command: &dyn SaidPins, stamp: Stamp) -> Result<Self, PinsError> {
        let mut said = Pins::default();
        by_command.add_to(&mut said)?;
        Ok(Self::new(configured, stamp, said))
    }
}

impl CurrentPins {
    /// Reads those of the command line for the first time.
    pub fn read(configured: Pins, by_command: Arc<dyn SaidPins>) -> Result<Self, PinsError> {
        let current = Current::read(&configured, &*by_command, by_command.stamp()?)?;
        Ok(Self { configured, by_command, current: ArcSwap::from_pointee(current) })
    }

    /// Another configuration, and what was said by command as it was.
    pub fn with(&self, configured: Pins) -> Self {
        let current = self.current.load();
        let said = Current::new(&configured, current.stamp, current.said.clone());
        Self { configured, by_command: Arc::clone(&self.by_command), current: ArcSwap::from_pointee(said) }
    }

    /// The pins, if they are as they were. One look at a file that the kernel has at hand, so no thread is needed for it.
    fn unchanged(&self) -> Option<Arc<Pins>> {
        let current = self.current.load();
        (self.by_command.stamp().ok()? == current.stamp).then(|| Arc::clone(&current.all))
    }

    /// The pins as they are now. Blocks while the disk answers.
    fn load(&self) -> Arc<Pins> {
        let current = self.current.load();
        let changed = self.by_command.stamp().and_then(|stamp| {
            if stamp == current.stamp {
                return Ok(None);
            }
            Current::read(&self.configured, &*self.by_command, stamp).map(Some)
        });
        match changed {
            Ok(None) => Arc::clone(&current.all),
            Ok(Some(changed)) => {
                info!("pins made by command have changed");
                let pins = Arc::clone(&changed.all);
                self.current.store(Arc::new(changed));
                pins
            }
            Err(error) => {
                error!(%error, "pins made by command cannot be read; the earlier ones stay in force");
                Arc::clone(&current.all)
            }
        }
    }
}

/// What is known of those whom a message names.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The pins.
    pub pins: Arc<Pins>,
    /// What is remembered.
    pub memory: Memory,
}

impl Standing {
    /// Looks up what is known of a message's author and of the domains of its seals. Memory that cannot be read is no
    /// reason to hold all mail up: only a key that nothing but an unsigned answer proves has to wait for it.
    pub async fn of(wanted: &Wanted, pins: &Arc<CurrentPins>, recorder: Option<&Recorder>, now: u64) -> Self {
        // Of a pinned domain nothing else is believed.
        if let Some(pins) = pins.unchanged()
            && wanted.named.iter().all(|domain| pins.covers(domain))
        {
            return Self { pins, memory: Memory { now, ..Memory::default() } };
        }
        let domains = wanted.memories.clone();
        let (pins, recorder) = (Arc::clone(pins), recorder.cloned());
        blocking(move || {
            let pins = pins.load();
            let memory = match recorder.map(|recorder| recorder.recall(&domains, now)) {
                Some(Ok(memory)) => memory,
                Some(Err(error)) => {
                    error!(%error, "memory cannot be read; the message is judged without it, or deferred");
                    Memory { now, unreadable: true, ..Memory::default() }
                }
                None => Memory { now, ..Memory::default() },
            };
            Self { pins, memory }
        })
        .await
    }
}
