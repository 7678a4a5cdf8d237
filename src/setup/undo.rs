//! Everything put back as it was before setup: Postfix first, so that no mail is led to a gateway that goes away. A file that
//! somebody edited since is theirs, and stays.

use std::path::{Path, PathBuf};

use super::SetupError;
use super::journal::{self, Change, Journal, Part, Record};
use super::postfix::Postfix;
use super::service::Service;
use super::wiring::{Edit, NotUnderstood, shown_undone};

/// What an undo came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// Setup had changed nothing, or all was taken back before.
    Nothing,
    /// All is as it was, apart from these files, which were edited since.
    Everything {
        /// Files of the gateway that stay as they are.
        kept: Vec<PathBuf>,
        /// Whether mail waits in Postfix's queue that may be bound for the gateway.
        has_queue: bool,
    },
}

/// A file that goes back over all changes of it.
struct Return<'a> {
    /// The oldest change: what it was before all.
    oldest: &'a Change,
    /// Whether it can go back: it is as one of the changes left it, each of which began where the one before had ended.
    is_open: bool,
}

/// Puts everything back. Keys stay.
pub fn undo(journal: &Journal, say: &mut dyn FnMut(&str)) -> Result<Undone, SetupError> {
    let records = journal.records()?;
    if records.is_empty() {
        return Ok(Undone::Nothing);
    }
    let (of_postfix, of_gateway) = (returns(&records, Part::Postfix)?, returns(&records, Part::Gateway)?);
    if let Some(edited) = of_postfix.iter().find(|file| !file.is_open) {
        let path = edited.oldest.path.display();
        let edits: Vec<Edit> = records.iter().flat_map(|record| record.about.edits.clone()).collect();
        let reason = format!("{path} was edited after setup, so setup does not put it back");
        let by_hand = format!(
            "{path}:\n\n{}\nThen run `postfix reload`. The file as it was before setup is in {}.",
            shown_undone(&edits),
            journal.folder().display()
        );
        return Err(SetupError::NotUnderstood { reason: NotUnderstood(reason), by_hand });
    }
    for record in &records {
        record.begin_undoing()?;
        record.tidy();
    }
    for file in &of_postfix {
        put_back(file, say)?;
    }
    let mut has_queue = false;
    let mut folders: Vec<&Path> = records.iter().map(|record| record.about.postfix.as_path()).collect();
    folders.dedup();
    for folder in folders {
        let postfix = Postfix::find(Some(folder)).map_err(SetupError::Postfix)?;
        postfix.check().and_then(|()| postfix.reload()).map_err(SetupError::Postfix)?;
        has_queue |= postfix.is_running() && postfix.has_queue();
    }
    let mut kept = Vec::new();
    for file in &of_gateway {
        if file.is_open { put_back(file, say)? } else { kept.push(file.oldest.path.clone()) }
    }
    let enabled = records.iter().filter(|record| record.about.enables);
    let config = of_gateway.first().map(|file| file.oldest.path.as_path());
    if enabled.count() > 0 {
        let service = Service::of(config.unwrap_or(Path::new(super::CONFIG)));
        service.stop().map_err(SetupError::Machine)?;
        say("stopped the gateway");
    }
    // The newest first: what is left after an interruption still begins with the oldest.
    for record in records.into_iter().rev() {
        record.remove()?;
    }
    Ok(Undone::Everything { kept, has_queue })
}

fn put_back(file: &Return<'_>, say: &mut dyn FnMut(&str)) -> Result<(), SetupError> {
    file.oldest.take_back()?;
    let path = file.oldest.path.display();
    say(&if file.oldest.before.is_some() { format!("put {path} back") } else { format!("removed {path}") });
    Ok(())
}

/// Each file that was changed, once.
fn returns(records: &[Record], part: Part) -> Result<Vec<Return<'_>>, SetupError> {
    let mut files: Vec<Return<'_>> = Vec::new();
    for change in records.iter().flat_map(|record| record.of(part)) {
        if files.iter().any(|file| file.oldest.path == change.path) {
            continue;
        }
        let all = records.iter().flat_map(|record| record.of(part)).filter(|other| other.path == change.path);
        let all: Vec<&Change> = all.collect();
        let mut content = journal::read(&change.path)?;
        let mut is_open = content == change.before;
        if !is_open {
            is_open = all.iter().rev().all(|one| {
                let follows = content.as_ref() == Some(&one.after) || content == one.before;
                content.clone_from(&one.before);
                follows
            });
        }
        files.push(Return { oldest: change, is_open });
    }
    Ok(files)
}
