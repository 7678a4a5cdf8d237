//! What a check found: whether it is as it should be, why not, and what to do about it.

use serde::Serialize;

use crate::phrase::counted;
pub(super) use crate::phrase::with_causes as chain;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Nobody knows: the finding has the reason why it could not be checked. Never shown as [`State::Ok`].
    NotChecked,
    /// It works, and should be thought about all the same.
    Warning,
    /// Mail is lost, delayed, held or not protected, or soon will be.
    Problem,
}

impl State {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotChecked => "not checked",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One check and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check, for programs: `key-record`.
    pub check: &'static str,
    /// What was checked: a file, a record, a listener.
    pub subject: String,
    /// How it is.
    pub state: State,
    /// In one line, what was found, or why nothing could be.
    pub detail: String,
    /// An exact command, record or setting, where there is something to do.
    pub remedy: Option<String>,
}

/// Where the findings of one check on one subject go.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    check: &'static str,
    name: String,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Subject<'a> {
    /// Of this check, on this subject.
    pub(super) fn new(findings: &'a mut Vec<Finding>, check: &'static str, name: impl Into<String>) -> Self {
        Self { check, name: name.into(), findings }
    }

    /// As it should be.
    pub(super) fn ok(&mut self, detail: impl Into<String>) {
        self.add(State::Ok, detail.into(), None);
    }

    /// Nobody knows.
    pub(super) fn not_checked(&mut self, why: impl Into<String>) {
        self.add(State::NotChecked, why.into(), None);
    }

    /// Nobody knows, and this would help.
    pub(super) fn unknown(&mut self, why: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::NotChecked, why.into(), Some(remedy.into()));
    }

    /// To be thought about.
    pub(super) fn warning(&mut self, detail: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::Warning, detail.into(), Some(remedy.into()));
    }

    /// To be mended.
    pub(super) fn problem(&mut self, detail: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::Problem, detail.into(), Some(remedy.into()));
    }

    /// A finding of this state.
    pub(super) fn add(&mut self, state: State, detail: String, remedy: Option<String>) {
        let (check, subject) = (self.check, self.name.clone());
        self.findings.push(Finding { check, subject, state, detail, remedy });
    }
}

/// Seconds as an administrator writes them: `3 days`, `5 hours`, `40 minutes`.
pub(super) fn spoken(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    counted(count, unit)
}

/// Unix seconds as a date and time.
pub(super) fn moment(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "a time beyond all calendars".to_owned(), |time| time.to_string())
}
