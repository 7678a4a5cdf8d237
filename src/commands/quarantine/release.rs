//! `waxseal quarantine release`: held mail on its way after all, once, by one person or by two.

use std::process::ExitCode;

use super::super::complain;
use super::super::table::shown;
use crate::config::Partial;
use crate::gateway::release::{self, Done, Options, Released};
use crate::phrase::with_causes;
use crate::store::{By, HeldId, Quarantine, Request};

/// What a release needs of the configuration, besides the listener's own section.
pub(super) const SECTIONS: [&str; 4] = ["state", "hostname", "quarantine", "limits"];

/// What became of one message, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Delivered,
    Requested,
    NotToAll,
    NothingSent,
}

impl End {
    fn code(self) -> u8 {
        match self {
            Self::Delivered => 0,
            Self::NotToAll => 1,
            Self::NothingSent => super::super::FAILED,
            Self::Requested => 3,
        }
    }
}

/// Releases messages, one after the other. One that fails keeps nobody from the next.
pub(super) fn release(
    partial: &Partial,
    quarantine: &dyn Quarantine,
    by: &By,
    ids: &[String],
    options: Options<'_>,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::super::fail(format!("cannot start: {error}")),
    };
    let one = |id: &String| match release_one(partial, quarantine, by, id, options, &runtime) {
        Ok(end) => end,
        Err(reason) => {
            complain(reason);
            End::NothingSent
        }
    };
    let worst = ids.iter().map(one).max().unwrap_or(End::Delivered);
    ExitCode::from(worst.code())
}

fn release_one(
    partial: &Partial,
    quarantine: &dyn Quarantine,
    by: &By,
    id: &str,
    options: Options<'_>,
    runtime: &tokio::runtime::Runtime,
) -> Result<End, String> {
    let id: HeldId = id.parse().map_err(|error| with_causes(&error as &crate::store::StoreError))?;
    let held = quarantine.show(&id).map_err(|error| with_causes(&error))?.held;
    let listener = options.listener.unwrap_or(&held.listener);
    let section = format!("listener[{listener}]");
    let sections: Vec<&str> = SECTIONS.iter().copied().chain([section.as_str()]).collect();
    let wrong: Vec<&str> = sections.iter().copied().filter(|section| !partial.is_right(section)).collect();
    let Some(config) = partial.with(&sections) else {
        return Err(format!(
            "{id}: a release needs `{}` of the configuration, which has a mistake: correct it first",
            wrong.join("`, `")
        ));
    };
    let done = runtime.block_on(release::release(config, quarantine, &id, by, options));
    match done.map_err(|error| with_causes(&error))? {
        Done::Requested { by: first, is_new } => {
            say_requested(&id, &first, is_new);
            Ok(End::Requested)
        }
        Done::Released(released) => Ok(say_released(&id, &released)),
    }
}

fn say_requested(id: &HeldId, first: &Request, is_new: bool) {
    let who = shown(&first.who);
    if is_new {
        say!("{id}: the release is requested by {who}; it takes a second person to release it");
    } else {
        let at = crate::clock::second(first.at);
        say!("{id}: {who} requested the release already, at {at}; it takes another person to release it");
    }
}

fn say_released(id: &HeldId, released: &Released) -> End {
    for path in &released.delivered {
        say!("{id}: delivered to <{}>", shown(path));
    }
    for (path, reply) in &released.refused {
        say!("{id}: refused for <{}>: {}", shown(path), shown(reply));
    }
    for path in &released.in_doubt {
        say!("{id}: in doubt for <{}>: the next hop was lost before it answered", shown(path));
    }
    if released.is_held_still {
        say!("{id}: still held for those who have not got it");
    }
    if released.refused.is_empty() && released.in_doubt.is_empty() { End::Delivered } else { End::NotToAll }
}
