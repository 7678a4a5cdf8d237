//! The configuration: what `check-config` prints about it, as findings.

use std::path::Path;
use std::sync::Arc;

use super::finding::{Finding, Subject};
use super::user::User;
use super::{Site, now};
use crate::config::{self, Mistake, Warning};
use crate::gateway::keyring::Keyrings;
use crate::gateway::setup::Setup;

/// Reads the configuration and every key. Without the first there is nothing to look at.
pub(super) fn check(path: &Path, findings: &mut Vec<Finding>) -> Option<Site> {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(mistakes) => {
            for mistake in &mistakes {
                let subject = mistake.place.to_string();
                Subject::new(findings, "configuration", subject)
                    .problem(&mistake.reason, "waxseal check-config, and mend what it names");
            }
            Subject::new(findings, "configuration", path.display().to_string())
                .not_checked("nothing else: that needs a configuration without mistakes");
            return None;
        }
    };
    let user = User::owner_of(&config.state.folder);
    let (setup, warnings) = match Setup::read(config.clone()) {
        Ok(setup) => {
            Subject::new(findings, "configuration", path.display().to_string()).ok("no mistake in it");
            let warnings = setup.config.warnings.clone();
            (Some(Arc::new(setup)), warnings)
        }
        Err(mistakes) => {
            let is_stranger = user.as_ref().is_some_and(|user| !user.is_us() && !User::is_root());
            for mistake in &mistakes {
                say(mistake, is_stranger, findings);
            }
            (None, config.warnings.clone())
        }
    };
    self::warnings(&warnings, findings);
    let keyrings = Keyrings::read(&config.state.folder).unwrap_or_default();
    if let Some(setup) = &setup {
        keyrings.settle(setup);
    }
    Some(Site { config, setup, keyrings, user, now: now() })
}

/// What works and should be thought about all the same.
pub(super) fn warnings(warnings: &[Warning], findings: &mut Vec<Finding>) {
    for Warning { place, advice } in warnings {
        let mut subject = Subject::new(findings, "configuration", place.to_string());
        subject.add(super::State::Warning, advice.clone(), None);
    }
}

/// What only the service's user can read is no mistake where somebody else looks.
fn say(mistake: &Mistake, is_stranger: bool, findings: &mut Vec<Finding>) {
    let mut subject = Subject::new(findings, "configuration", mistake.place.to_string());
    let reason = &mistake.reason;
    if reason.contains("$CREDENTIALS_DIRECTORY") {
        subject.unknown(reason, "systemd-run --pty -p LoadCredential=… waxseal doctor (docs/KEYS.md)");
    } else if is_stranger && reason.contains("ermission denied") {
        subject.unknown(reason, "sudo waxseal doctor");
    } else {
        subject.problem(reason, "waxseal check-config, and mend what it names");
    }
}
