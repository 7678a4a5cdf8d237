//! A plan carried out, in an order that loses no mail: keys and configuration, the gateway, and Postfix once that listens. What
//! fails is taken back, and what an interruption left is finished or taken back by the next run.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use super::journal::{About, Part, Record, Stage};
use super::service::{self, Service};
use super::undo::undo;
use super::{Journal, NewKey, Plan, Postfix, SetupError, Site};
use crate::config;
use crate::doctor::user::User;
use crate::gateway::setup::Setup;
use crate::keys::{Times, add_key};

/// What a finished change leaves to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Whether Postfix runs, with its new configuration.
    pub is_running: bool,
    /// Whether the gateway listens.
    pub is_listening: bool,
}

/// Carries a plan out. `say` gets a line for each step.
pub fn apply(
    site: &Site,
    plan: Plan,
    journal: &Journal,
    patience: Duration,
    say: &mut dyn FnMut(&str),
) -> Result<Applied, SetupError> {
    site.postfix.check().map_err(|error| {
        SetupError::Postfix(format!("Postfix is not in order, and nothing was changed: {error}"))
    })?;
    if let Some(key) = &plan.key {
        make_key(site, key)?;
        say(&format!("made the key {}", key.folder.join(format!("{}.pem", key.selector)).display()));
    }
    check_config(site, &plan)?;
    let is_configured = plan.changes.iter().any(|change| change.part == Part::Gateway);
    let enables = site.service == Service::Systemd { is_enabled: false };
    let record = journal.begin(About::new(site.postfix.folder(), &plan.edits, enables), plan.changes)?;
    for change in record.of(Part::Gateway) {
        change.make()?;
        say(&format!("wrote {}", change.path.display()));
    }
    let ways = [plan.wanted.seal, plan.wanted.verify];
    let ports: Vec<u16> = ways.into_iter().flatten().map(|way| way.gateway).collect();
    let is_running = site.postfix.is_running();
    let is_listening = start(site, is_configured, &ports, is_running, patience, say);
    let is_listening = match is_listening {
        Ok(is_listening) => is_listening,
        // By hand it can be started with what is written now.
        Err(error @ SetupError::Waiting(_)) => return Err(error),
        Err(error) => {
            roll_back(record, &site.postfix)?;
            return Err(error);
        }
    };
    if let Err(error) = change_postfix(&record, &site.postfix) {
        roll_back(record, &site.postfix)?;
        return Err(error);
    }
    for change in record.of(Part::Postfix) {
        say(&format!("wrote {}", change.path.display()));
    }
    record.finish()?;
    Ok(Applied { is_running, is_listening })
}

/// Has the gateway run with its new configuration, before mail is led to it. Whether it does; it need not where no Postfix runs.
fn start(
    site: &Site,
    is_changed: bool,
    ports: &[u16],
    is_running: bool,
    patience: Duration,
    say: &mut dyn FnMut(&str),
) -> Result<bool, SetupError> {
    site.service.start(is_changed).map_err(|error| {
        SetupError::Machine(format!(
            "{error}; `journalctl -u waxseal` has the reason; everything is as it was"
        ))
    })?;
    if site.service == Service::ByHand && !service::listens(ports) {
        say(&format!("there is no systemd here: start the gateway with\n    {}", command(site)));
        if !is_running {
            return Ok(false);
        }
        say(&format!("waiting for it, for at most {} s", patience.as_secs()));
    }
    if service::wait_for(ports, site.service.patience(patience)) {
        return Ok(true);
    }
    match site.service {
        Service::Systemd { .. } => Err(SetupError::Machine(
            "the gateway does not listen; `journalctl -u waxseal` has the reason; everything is as it was"
                .to_owned(),
        )),
        Service::ByHand => Err(SetupError::Waiting(command(site))),
    }
}

/// How to start the gateway by hand.
fn command(site: &Site) -> String {
    let user = User::owner_of(site.state()).map_or_else(|| "waxseal".to_owned(), |user| user.name);
    service::command(site.config(), &user)
}

/// Replaces Postfix's files; it takes them in force by a reload, if it likes them.
fn change_postfix(record: &Record, postfix: &Postfix) -> Result<(), SetupError> {
    for change in record.of(Part::Postfix) {
        change.make()?;
    }
    postfix.check().and_then(|()| postfix.reload()).map_err(SetupError::Refused)
}

/// Takes a change back that is not in force, Postfix's files first.
fn roll_back(record: Record, postfix: &Postfix) -> Result<(), SetupError> {
    let mut was_made = false;
    for change in record.of(Part::Postfix).chain(record.of(Part::Gateway)) {
        // What somebody edited since is theirs.
        if change.is_made()? {
            change.take_back()?;
            was_made |= change.part == Part::Postfix;
        }
    }
    if was_made {
        postfix.reload().map_err(SetupError::Postfix)?;
    }
    let config = record.of(Part::Gateway).next().map(|change| change.path.clone());
    if let Some(config) = config {
        let service = Service::of(&config);
        // What it ran with before may have been nothing at all, and then it does not start.
        let _ = if record.about.enables { service.stop() } else { service.start(true) };
    }
    record.tidy();
    Ok(record.remove()?)
}

/// Finishes or takes back what an interruption left. What was done, for people.
pub fn recover(journal: &Journal, say: &mut dyn FnMut(&str)) -> Result<(), SetupError> {
    let records = journal.records()?;
    if records.iter().any(|record| record.stage == Stage::Undoing) {
        say("an undo was interrupted; it is finished first");
        return undo(journal, say).map(drop);
    }
    for record in records.into_iter().filter(|record| record.stage == Stage::Begun) {
        let postfix = Postfix::find(Some(&record.about.postfix)).map_err(SetupError::Postfix)?;
        record.tidy();
        let mut is_made = true;
        for change in &record.changes {
            is_made &= change.is_made()?;
        }
        if is_made && postfix.check().and_then(|()| postfix.reload()).is_ok() {
            record.finish()?;
            say("an earlier setup was interrupted at its end; it is finished now");
        } else {
            roll_back(record, &postfix)?;
            say("an earlier setup was interrupted; what it had begun is taken back");
        }
    }
    Ok(())
}

/// Reads the new configuration with every key, as the gateway will.
fn check_config(site: &Site, plan: &Plan) -> Result<(), SetupError> {
    let change = plan.changes.iter().find(|change| change.part == Part::Gateway);
    let config = match change {
        Some(change) => {
            let env = std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
            config::parse(&String::from_utf8_lossy(&change.after), &change.path, env)
        }
        None => config::load(site.config()),
    };
    config.and_then(Setup::read).map(drop).map_err(SetupError::Configuration)
}

fn make_key(site: &Site, key: &NewKey) -> Result<(), SetupError> {
    let state = site.state();
    make_state_folder(state)?;
    let times = Times { made: crate::clock::unix_time(), not_before: None };
    if let Some(above) = key.folder.parent() {
        // The gateway's user must get through, whatever root's umask is.
        let made = DirBuilder::new().recursive(true).create(above);
        made.and_then(|()| fs::set_permissions(above, Permissions::from_mode(0o755)))
            .map_err(|error| SetupError::Machine(format!("{}: {error}", above.display())))?;
    }
    add_key(&key.folder, &key.selector, times, None, state)?;
    Ok(())
}

/// The service's user is whoever has the state folder.
fn make_state_folder(state: &Path) -> Result<(), SetupError> {
    if state.exists() {
        return Ok(());
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|entry| entry[0] == "waxseal");
    let ids = entry.and_then(|entry| Some((entry.get(2)?.parse().ok()?, entry.get(3)?.parse().ok()?)));
    let Some((uid, gid)) = ids else {
        return Err(SetupError::Machine(format!(
            "{} is not there, and neither is the user `waxseal`: install the package, or deploy/sysusers.d and deploy/tmpfiles.d",
            state.display()
        )));
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state);
    made.and_then(|()| chown(state, Some(uid), Some(gid)))
        .map_err(|error| SetupError::Machine(format!("{}: {error}", state.display())))
}
