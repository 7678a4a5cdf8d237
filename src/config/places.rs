//! The place of each key, so that a mistake found late still has its line or its environment variable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keys::REPEATED;
use super::mistake::{Located, Mistake, Place};

/// The places of one configuration, by paths such as `listener[0].next_hop`.
pub(super) struct Places {
    file: PathBuf,
    lines: BTreeMap<String, usize>,
    /// `listener[0]` → `listener[inbound]`, as people know it.
    labels: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    cut: BTreeSet<String>,
    incomplete: bool,
}

/// The path of `key` in the table at `parent`.
pub(super) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

impl Places {
    /// Nothing is known of `file` yet.
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            lines: BTreeMap::new(),
            labels: BTreeMap::new(),
            variables: BTreeMap::new(),
            cut: BTreeSet::new(),
            incomplete: false,
        }
    }

    /// Notes the line of every key of `table`, which `text` was parsed to.
    pub(super) fn index(&mut self, text: &str, table: &DeTable<'_>) {
        self.index_table(text, table, "");
    }

    fn index_table(&mut self, text: &str, table: &DeTable<'_>, parent: &str) {
        for (key, value) in table {
            let path = join(parent, key.get_ref());
            self.lines.insert(path.clone(), line_of(text, key.span().start));
            self.index_value(text, value.get_ref(), &path);
        }
    }

    fn index_value(&mut self, text: &str, value: &DeValue<'_>, path: &str) {
        match value {
            DeValue::Table(table) => self.index_table(text, table, path),
            DeValue::Array(array) => {
                for (index, element) in array.iter().enumerate() {
                    let path_of_element = format!("{path}[{index}]");
                    self.lines.insert(path_of_element.clone(), line_of(text, element.span().start));
                    if REPEATED.contains(&path) {
                        let label = label(element.get_ref()).unwrap_or_else(|| (index + 1).to_string());
                        self.labels.insert(path_of_element.clone(), format!("{path}[{label}]"));
                    }
                    self.index_value(text, element.get_ref(), &path_of_element);
                }
            }
            _ => {}
        }
    }

    /// Notes that an environment variable sets the key at `path`.
    pub(super) fn override_by(&mut self, path: &str, variable: &str) {
        self.variables.insert(path.to_owned(), variable.to_owned());
    }

    /// Notes that the value at `path` was a mistake, so that it is not reported as missing as well.
    pub(super) fn cut(&mut self, path: &str) {
        self.cut.insert(list_of(path).to_owned());
    }

    /// Notes that parts of the file could not be read at all.
    pub(super) fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Whether parts of the file could not be read at all.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Everything of which the value was a mistake.
    pub(super) fn all_cut(&self) -> impl Iterator<Item = &str> {
        self.cut.iter().map(String::as_str)
    }

    /// The line of a key that is in the file.
    pub(super) fn line_of_key(&self, path: &str) -> Option<usize> {
        self.lines.get(path).copied()
    }

    /// Whether the absence of `path` is a mistake of its own, not the consequence of another.
    pub(super) fn is_missing(&self, path: &str) -> bool {
        !self.incomplete && !self.cut.contains(path)
    }

    /// The place of a key, or of the table it should be in.
    pub(super) fn of(&self, path: &str) -> Place {
        match self.variables.get(path) {
            Some(name) => self.of_variable(name),
            None => Place { file: Some(self.file.clone()), line: self.line(path), key: self.spoken(path) },
        }
    }

    /// The path of a list's element; the list's own where that is one text, as in the environment.
    pub(super) fn element(&self, list: &str, position: usize) -> String {
        let path = format!("{list}[{position}]");
        let is_in_file = self.lines.contains_key(&path) && !self.variables.contains_key(list);
        if is_in_file { path } else { list.to_owned() }
    }

    /// The place of an environment variable.
    pub(super) fn of_variable(&self, name: &str) -> Place {
        Place { file: None, line: None, key: format!("environment variable {name}") }
    }

    /// A place known by its offset in the text; `path` may be empty.
    pub(super) fn at_offset(&self, path: &str, text: &str, offset: Option<usize>) -> Place {
        let line = offset.map(|offset| line_of(text, offset));
        Place { file: Some(self.file.clone()), line, key: self.spoken(path) }
    }

    /// A value with its place.
    pub(super) fn locate<T>(&self, path: &str, value: T) -> Located<T> {
        Located { value, place: self.of(path) }
    }

    /// A mistake at a path.
    pub(super) fn mistake(&self, path: &str, reason: impl Into<String>) -> Mistake {
        Mistake { place: self.of(path), reason: reason.into() }
    }

    fn line(&self, path: &str) -> Option<usize> {
        let parent =
            |path: &str| path.rsplit_once('.').and_then(|(parent, _)| self.lines.get(parent).copied());
        self.lines.get(path).copied().or_else(|| parent(path))
    }

    fn spoken(&self, path: &str) -> String {
        let (table, rest) = path.split_once(']').map_or(("", path), |(t, _)| path.split_at(t.len() + 1));
        match self.labels.get(table) {
            Some(label) => format!("{label}{}", list_of(rest)),
            None => list_of(path).to_owned(),
        }
    }
}

/// The list that a path's last element belongs to: its line and its text tell which element it is.
fn list_of(path: &str) -> &str {
    path.strip_suffix(']').and_then(|path| path.rsplit_once('[')).map_or(path, |(list, _)| list)
}

/// The name of a listener or domain, if it has a plain one.
fn label(element: &DeValue<'_>) -> Option<String> {
    let table = element.as_table()?;
    let name = table.get("name").or_else(|| table.get("domain"))?.get_ref().as_str()?;
    let is_plain = (1..=80).contains(&name.len()) && !name.contains(|c: char| c.is_control() || c == ']');
    is_plain.then(|| name.to_owned())
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|octet| *octet == b'\n').count() + 1
}
