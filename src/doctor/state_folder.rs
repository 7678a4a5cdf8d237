//! What a verifying gateway keeps: its memory, pins made by command, the quarantine and the room for it.

use std::path::Path;

use attachment_seal::seal::knowledge::Pins;
use bytesize::ByteSize;

use super::finding::{Finding, Subject, chain, spoken};
use super::user::{Access, User};
use super::{Site, quoted};
use crate::disk::{self, Room};
use crate::phrase::counted;
use crate::store::{DatabaseError, Filter, Incomplete, Location, Missing, State};

/// What to do about a database that cannot be used.
const ASK_SERVER: &str = "see that PostgreSQL runs, that this machine reaches it, and that `state` names it, its database and its user";

/// A letter that waits for longer than this, in seconds, is in trouble.
const SLOW: u64 = 3_600;

/// With room for fewer of the largest messages than this, somebody should know.
const MESSAGES_TO_SPARE: u64 = 100;

pub(super) fn check(site: &Site, findings: &mut Vec<Finding>) {
    let place = &site.config.state;
    let state = &place.folder;
    // To a user who may not look, everything there would seem to be missing.
    if std::fs::read_dir(state).is_err()
        || site.user.as_ref().is_some_and(|user| !user.is_us() && !User::is_root())
    {
        Subject::new(findings, "state", state.display().to_string()).unknown(
            "memory, pins made by command and quarantine: only the service's user can look at them",
            "sudo waxseal doctor",
        );
        return;
    }
    memory(place, findings);
    pins(place, findings);
    quarantine(site, findings);
    outbox(place, findings);
    room(state, site.config.limits.message_size, findings);
}

/// What can be told without reading a whole database.
pub(super) fn check_quickly(site: &Site, findings: &mut Vec<Finding>) {
    let place = &site.config.state;
    pins(place, findings);
    quarantine(site, findings);
    outbox(place, findings);
    room(&place.folder, site.config.limits.message_size, findings);
}

fn memory(place: &Location, findings: &mut Vec<Finding>) {
    let name = match &place.server {
        None => place.folder.join("memory.sqlite").display().to_string(),
        Some(_) => "the database".to_owned(),
    };
    let mut subject = Subject::new(findings, "memory", name);
    let memories = State::open_to_look(place).memories;
    let read = memories.list(None, super::now());
    let read = read.and_then(|known| Ok((memories.damage()?, known.len(), memories.form()?.0)));
    match read {
        Ok((None, domains, form)) => {
            subject.ok(format!("sound, form {form}; {domains} domains are remembered"));
        }
        Ok((Some(damage), ..)) => subject.problem(
            format!("damaged: {damage}"),
            "start the gateway: it puts the file aside, and copies what can be read; or restore a backup",
        ),
        Err(DatabaseError::None(_)) => subject.not_checked("nothing is remembered yet"),
        Err(error) if place.server.is_some() => {
            subject.problem(format!("{}: mail that needs it is deferred (451)", chain(&error)), ASK_SERVER);
        }
        Err(error) => subject.problem(
            format!("{}: mail is judged without what is remembered", chain(&error)),
            "check that the file belongs to the service's user; systemctl restart waxseal puts a damaged \
             one aside",
        ),
    }
}

fn pins(place: &Location, findings: &mut Vec<Finding>) {
    let pins = State::open_to_look(place).pins;
    let mut subject = Subject::new(findings, "pins", pins.place());
    match pins.add_to(&mut Pins::default()) {
        Ok(()) if place.server.is_none() && !place.folder.join("pins.json").exists() => {
            subject.ok("no pins made by command");
        }
        Ok(()) => subject.ok("pins made by command can be read"),
        Err(error) if place.server.is_some() => subject.problem(chain(&error), ASK_SERVER),
        Err(error) => subject.problem(
            format!("{}: the gateway does not start with it", chain(&error)),
            "restore the file from a copy; removing it forgets every pin made by `waxseal keys pin`",
        ),
    }
}

fn quarantine(site: &Site, findings: &mut Vec<Finding>) {
    if site.config.state.server.is_some() {
        return held(site, &mut Subject::new(findings, "quarantine", "the database"));
    }
    let folder = site.config.state.folder.join("quarantine");
    let mut subject = Subject::new(findings, "quarantine", folder.display().to_string());
    if !folder.exists() {
        return subject.not_checked("it is not there yet: the gateway makes it when it starts");
    }
    let user = site.user.as_ref();
    let barred = |path: &Path| user.and_then(|user| user.barred_at(path, Access::Write));
    if let Some(bar) = barred(&folder).or_else(|| barred(&folder.join("tmp"))) {
        let owner = user.map(|user| user.name.clone()).unwrap_or_default();
        return subject.problem(
            format!("`{owner}` cannot write there, because of {}: no mail can be held (451)", bar.display()),
            format!("chown -R {owner}: {0}; chmod -R u+rwX {0}", quoted(&folder)),
        );
    }
    held(site, &mut subject);
}

/// What is held.
fn held(site: &Site, subject: &mut Subject<'_>) {
    let quarantine = State::open_to_look(&site.config.state).quarantine;
    // The first page tells of what cannot be listed.
    let found = quarantine
        .list(&Filter::default(), None, 1)
        .and_then(|page| Ok((page.damaged, quarantine.incomplete()?, quarantine.usage()?)));
    match found {
        Ok((damaged, incomplete, usage)) => {
            let held = counted(usage.messages, "message");
            if let Some(first) = damaged.first() {
                let detail = format!("{held} held; {} cannot be read: {}", damaged.len(), chain(first));
                return subject.warning(detail, "waxseal quarantine list names them");
            }
            if let Some(Incomplete { id, what }) = incomplete.first() {
                let count = counted(incomplete.len(), "message");
                return subject.warning(
                    format!("{held} held; {count} not whole: {}", shortcoming(id.as_str(), *what)),
                    "systemctl restart waxseal lists messages that the database does not know; what has no octets is lost",
                );
            }
            subject.ok(format!("{held} held, {}", ByteSize(usage.octets).display().iec()));
        }
        Err(error) => subject.problem(chain(&error), "sudo -u waxseal waxseal quarantine list"),
    }
}

fn shortcoming(id: &str, what: Missing) -> String {
    match what {
        Missing::Row => format!("{id} is unknown to the database"),
        Missing::Octets => format!("the octets of {id} are gone"),
        Missing::Size => format!("{id} has another size than it had"),
    }
}

/// What waits to be sent.
fn outbox(place: &Location, findings: &mut Vec<Finding>) {
    let state = State::open_to_look(place);
    let mut subject = Subject::new(findings, "outbox", "alerts, notices and digests");
    match state
        .memories
        .form()
        .and_then(|(found, known)| if found < known { Ok(None) } else { state.outbox.waiting().map(Some) })
    {
        Ok(None) => subject.not_checked(
            "an earlier version made the database; the gateway brings it forward when it starts",
        ),
        Ok(Some(waiting)) => {
            let detail = format!(
                "{} to be sent, {}",
                counted(waiting.letters, "letter"),
                ByteSize(waiting.octets).display().iec()
            );
            let now = i64::try_from(super::now()).unwrap_or(i64::MAX);
            let age = waiting.oldest.map_or(0, |oldest| now.saturating_sub(oldest.as_second()));
            let age = u64::try_from(age).unwrap_or_default();
            let remedy = "waxseal doctor tells whether the server of [alerts] can be reached; the log has its last answer";
            if waiting.more > 0 {
                subject.warning(format!("{detail}; {} did not fit", waiting.more), remedy);
            } else if age > SLOW {
                subject.warning(format!("{detail}; the oldest waits for {}", spoken(age)), remedy);
            } else {
                subject.ok(detail);
            }
        }
        Err(DatabaseError::None(why)) => subject.not_checked(why),
        Err(error) => subject.problem(chain(&error), "see the check `memory`"),
    }
}

/// Held mail needs room, and so does every large message on its way through.
fn room(state: &Path, message_size: u64, findings: &mut Vec<Finding>) {
    let mut subject = Subject::new(findings, "disk", state.display().to_string());
    match disk::room(state) {
        Ok(Room { free, files, .. }) => judge_room(&mut subject, free, files, message_size),
        Err(error) => subject.not_checked(format!("how much room is left: {error}")),
    }
}

fn judge_room(subject: &mut Subject<'_>, free: u64, files: Option<u64>, message_size: u64) {
    let shown = ByteSize(free).display().iec();
    let remedy = "waxseal quarantine list, and delete what you have dealt with; or a larger disk";
    if free < message_size || files == Some(0) {
        return subject.problem(format!("full: {shown} left, so no mail can be held (451)"), remedy);
    }
    if free / MESSAGES_TO_SPARE < message_size || files.is_some_and(|files| files < 1_000) {
        let detail = format!("{shown} left, room for {} of the largest messages", free / message_size.max(1));
        return subject.warning(detail, remedy);
    }
    subject.ok(format!("{shown} left"));
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn room_runs_out_in_octets_or_files() {
        const MIB: u64 = 1 << 20;
        for (free, files, state) in [
            (5_000 * MIB, Some(100_000), State::Ok),
            (5_000 * MIB, None, State::Ok),
            (4_999 * MIB, None, State::Warning),
            (5_000 * MIB, Some(999), State::Warning),
            (49 * MIB, None, State::Problem),
            (5_000 * MIB, Some(0), State::Problem),
        ] {
            let mut findings = Vec::new();
            judge_room(&mut Subject::new(&mut findings, "", ""), free, files, 50 * MIB);
            assert_eq!(findings[0].state, state, "{free} {files:?}");
        }
    }
}
