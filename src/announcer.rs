//! Tells other commands on this machine what the running gateway seals with: at its start, and whenever it was told to take
//! another configuration in. `waxseal keys rotate` believes that a key is in use when it reads so here.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tracing::warn;

use crate::gateway::setup::Setup;
use crate::store::{Announcement, Presence, SealsWith};

/// What is said of the gateway, and the right to say it.
#[derive(Debug)]
pub struct Announcer {
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    presence: Option<Presence>,
    announcement: Announcement,
}

impl Announcer {
    /// Says what a gateway with this setup seals with, if it has the state folder to say it in.
    pub fn start(setup: &Setup, presence: Option<Presence>) -> Self {
        let announcement = Announcement { process: std::process::id(), ..Announcement::default() };
        let announcer = Self { said: Mutex::new(Said { presence, announcement }) };
        announcer.say(|announcement| announcement.sealing = sealing(setup));
        announcer
    }

    /// Another setup is in force.
    pub fn reloaded(&self, setup: &Setup) {
        self.say(|announcement| {
            announcement.reloads += 1;
            announcement.refused = false;
            announcement.sealing = sealing(setup);
        });
    }

    /// A configuration was refused, and the old one is in force.
    pub fn refused(&self) {
        self.say(|announcement| {
            announcement.reloads += 1;
            announcement.refused = true;
        });
    }

    fn say(&self, change: impl FnOnce(&mut Announcement)) {
        let mut said = self.said();
        change(&mut said.announcement);
        said.announcement.at = Timestamp::now();
        if let Some(presence) = &said.presence
            && let Err(error) = presence.announce(&said.announcement)
        {
            warn!(%error, "`waxseal keys rotate` cannot know what is sealed with");
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sealing(setup: &Setup) -> Vec<SealsWith> {
    let sealers = setup.sealers.iter();
    sealers
        .map(|sealer| SealsWith {
            domain: sealer.domain.to_string(),
            selector: sealer.selector.to_string(),
            public: sealer.key.public().to_base64url(),
        })
        .collect()
}
