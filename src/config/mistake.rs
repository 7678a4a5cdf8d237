//! What is wrong with a configuration, or only dangerous in it, and its place.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use thiserror::Error;

/// The place of a value in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file; `None` for the environment.
    pub file: Option<PathBuf>,
    /// The line in the file, counted from 1, where it is known.
    pub line: Option<usize>,
    /// The key's path, such as `listener[inbound].next_hop`, or `environment variable WAXSEAL_STATE`.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            if !self.key.is_empty() {
                f.write_str(" ")?;
            }
        }
        f.write_str(&self.key)
    }
}

/// One mistake of a configuration: where, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Error)]
pub struct Mistake {
    /// Where it is.
    pub place: Place,
    /// Why it is one, in one line.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, &self.place, &self.reason)
    }
}

/// What a configuration may say and its administrator should think about: where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Where it is.
    pub place: Place,
    /// What may come of it, and how to prevent that, in one line.
    pub advice: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, &self.place, &self.advice)
    }
}

/// Texts quote the file, which may hold anything; a report stays one line each.
fn write_line(f: &mut fmt::Formatter<'_>, place: &Place, text: &str) -> fmt::Result {
    let separator = if place.key.is_empty() { " " } else { ": " };
    format!("{place}{separator}{text}")
        .chars()
        .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) })
}

/// A value whose meaning is checked elsewhere, with its place, so that the check can report the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Place,
}

impl<T> Located<T> {
    /// The mistake that `reason` names, at this place.
    pub fn mistake(&self, reason: impl fmt::Display) -> Mistake {
        Mistake { place: self.place.clone(), reason: reason.to_string() }
    }

    /// What came of it, or `None` and a mistake at this place.
    pub fn note<U, E: fmt::Display>(&self, result: Result<U, E>, mistakes: &mut Vec<Mistake>) -> Option<U> {
        result.map_err(|error| mistakes.push(self.mistake(error))).ok()
    }
}
