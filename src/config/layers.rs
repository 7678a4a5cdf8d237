//! Text and environment to raw values. The `toml` crate reads the file, for only it knows lines; whatever it
//! objects to is recorded and cut out until the rest can be read, so one run finds every mistake. The `config`
//! crate then lays the environment over what is left.

use config::{ConfigError, Environment, FileFormat};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::keys::{REPEATED, keys, keys_of, nearest, why_unknown};
use super::mistake::Mistake;
use super::places::{Places, join};
use super::raw;

/// What all environment variables of ours start with.
pub(super) const PREFIX: &str = "WAXSEAL_";

/// What was read, its places, and what had to be left out.
pub(super) struct Layers {
    pub(super) raw: raw::File,
    pub(super) places: Places,
    pub(super) mistakes: Vec<Mistake>,
}

/// Reads the file's text, then the environment over it.
pub(super) fn read(text: &str, mut places: Places, env: impl Iterator<Item = (String, String)>) -> Layers {
    let mut mistakes = Vec::new();
    let mut table = parse(text, &mut places, &mut mistakes);
    mistakes.extend(rename_hyphens(text, table.get_mut(), &places));
    places.index(text, table.get_ref());
    check_brackets(table.get_mut(), &mut places, &mut mistakes);
    let from_file = prune(text, &mut table, &mut places, &mut mistakes);
    let file = toml::Table::deserialize(Deserializer::from(table)).unwrap_or_default();

    let variables = env.filter(|(name, _)| is_ours(name));
    let mut accepted = Vec::new();
    for (name, value) in variables {
        match check_variable(&file, &name, &value) {
            Ok(path) => {
                places.override_by(&path, &name);
                accepted.push((name, value));
            }
            Err(reason) => {
                let path = path_of(&name).unwrap_or_default();
                places.override_by(&path, &name);
                places.cut(&path);
                let (section, key) = path.split_once('.').unwrap_or(("", &path));
                if let Some(meant) = keys_of(section).and_then(|keys| nearest(keys, key)) {
                    places.cut(&join(section, meant));
                }
                mistakes.push(Mistake { place: places.of_variable(&name), reason });
            }
        }
    }
    // The file alone is readable and so is each variable on top of it.
    let raw = layer(&file, accepted).unwrap_or(from_file);
    Layers { raw, places, mistakes }
}

/// The file as a table. Of a text that is no TOML, the lines that could be read still count.
fn parse<'t>(text: &'t str, places: &mut Places, mistakes: &mut Vec<Mistake>) -> Spanned<DeTable<'t>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        places.set_incomplete();
    }
    let mut last = None;
    for error in errors {
        let place = places.at_offset("", text, error.span().map(|span| span.start));
        // One slip makes several complaints about its line; the first is the clearest.
        if last != Some(place.line) {
            last = Some(place.line);
            mistakes.push(Mistake { place, reason: format!("not TOML: {}", plain(error.message())) });
        }
    }
    table
}

/// `[policy]` takes the verdicts in their own spelling, `unknown-key`, too.
fn rename_hyphens(text: &str, table: &mut DeTable<'_>, places: &Places) -> Vec<Mistake> {
    let Some(DeValue::Table(policy)) = table.get_mut("policy").map(Spanned::get_mut) else {
        return Vec::new();
    };
    let mut mistakes = rename_hyphens_of(text, policy, "policy", places);
    if let Some(DeValue::Array(exceptions)) = policy.get_mut("for").map(Spanned::get_mut) {
        for (index, exception) in exceptions.iter_mut().enumerate() {
            if let DeValue::Table(exception) = exception.get_mut() {
                let path = format!("policy.for[{}]", index + 1);
                mistakes.extend(rename_hyphens_of(text, exception, &path, places));
            }
        }
    }
    mistakes
}

fn rename_hyphens_of(text: &str, policy: &mut DeTable<'_>, path: &str, places: &Places) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (verdict, key) in [("unknown-key", "unknown_key"), ("key-changed", "key_changed")] {
        let Some((old, value)) = policy.remove_entry(verdict) else { continue };
        if policy.insert(Spanned::new(old.span(), key.into()), value).is_some() {
            let reason = format!("given twice, as `{verdict}` and as `{key}`; keep one of them");
            let place = places.at_offset(&format!("{path}.{key}"), text, Some(old.span().start));
            mistakes.push(Mistake { place, reason });
        }
    }
    mistakes
}

/// Removes sections written with the wrong number of brackets: serde would take a list for a struct's fields.
fn check_brackets(table: &mut DeTable<'_>, places: &mut Places, mistakes: &mut Vec<Mistake>) {
    for (section, _) in keys().into_iter().filter(|(section, _)| !section.is_empty()) {
        let (parent, key) = section.rsplit_once('.').unwrap_or(("", section));
        let holder = match table.get_mut(parent).map(Spanned::get_mut) {
            Some(DeValue::Table(holder)) => holder,
            _ if parent.is_empty() => &mut *table,
            _ => continue,
        };
        let Some(value) = holder.get(key).map(Spanned::get_ref) else { continue };
        let is_repeated = REPEATED.contains(&section);
        let tables =
            value.as_array().is_some_and(|array| array.iter().all(|element| element.get_ref().is_table()));
        let is_right = if is_repeated { tables } else { value.is_table() };
        if is_right {
            continue;
        }
        let header = if is_repeated { format!("[[{section}]]") } else { format!("[{section}]") };
        let reason = format!("must be a table; write `{header}` in a line of its own, its keys below");
        mistakes.push(places.mistake(section, reason));
        holder.remove(key);
        places.cut(section);
    }
}

/// Deserialises, cutting out whatever is objected to and trying again.
fn prune(
    text: &str,
    table: &mut Spanned<DeTable<'_>>,
    places: &mut Places,
    mistakes: &mut Vec<Mistake>,
) -> raw::File {
    loop {
        let error = match raw::File::deserialize(Deserializer::from(table.clone())) {
            Ok(raw) => return raw,
            Err(error) => error,
        };
        let at = error.span().map(|span| span.start);
        let Some(cut) = at.and_then(|at| cut_from_table(table.get_mut(), at, "")) else {
            mistakes.push(Mistake { place: places.of(""), reason: plain(error.message()) });
            return raw::File::default();
        };
        let place = places.at_offset(&cut.path, text, at);
        mistakes.push(Mistake { place, reason: cut.why(error.message()) });
        places.cut(&cut.path);
        if let Some(meant) = cut.meant() {
            places.cut(&meant);
        }
    }
}

/// A key, or an element of a list, that was objected to.
struct Cut {
    path: String,
    /// Empty for an element of a list.
    key: String,
}

impl Cut {
    fn why(&self, message: &str) -> String {
        if self.is_unknown() { why_unknown(self.section(), &self.key) } else { plain(message) }
    }

    /// The key that an unknown one was probably meant to be: it is not missing as well.
    fn meant(&self) -> Option<String> {
        let keys = keys_of(self.section()).filter(|_| self.is_unknown())?;
        Some(join(self.parent(), nearest(keys, &self.key)?))
    }

    fn is_unknown(&self) -> bool {
        !self.key.is_empty() && keys_of(self.section()).is_some_and(|keys| !keys.contains(&self.key.as_str()))
    }

    fn parent(&self) -> &str {
        self.path.strip_suffix(&self.key).and_then(|path| path.strip_suffix('.')).unwrap_or_default()
    }

    fn section(&self) -> &str {
        self.parent().split_once('[').map_or(self.parent(), |(section, _)| section)
    }
}

/// Cuts out the innermost entry that covers the octet `at` of the text.
fn cut_from_table(table: &mut DeTable<'_>, at: usize, parent: &str) -> Option<Cut> {
    let mut covering = None;
    for (key, value) in table.iter_mut() {
        let path = join(parent, key.get_ref());
        if let Some(cut) = cut_from_value(value.get_mut(), at, &path) {
            return Some(cut);
        }
        if key.span().contains(&at) || value.span().contains(&at) {
            covering = Some((key.clone(), path));
        }
    }
    let (key, path) = covering?;
    table.remove(key.get_ref().as_ref());
    Some(Cut { path, key: key.into_inner().into_owned() })
}

fn cut_from_value(value: &mut DeValue<'_>, at: usize, path: &str) -> Option<Cut> {
    match value {
        DeValue::Table(table) => cut_from_table(table, at, path),
        DeValue::Array(array) => cut_from_array(array, at, path),
        _ => None,
    }
}

fn cut_from_array(array: &mut DeArray<'_>, at: usize, path: &str) -> Option<Cut> {
    for (index, element) in array.iter_mut().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(cut) = cut_from_value(element.get_mut(), at, &path) {
            return Some(cut);
        }
        if element.span().contains(&at) && !element.get_ref().is_table() {
            let kept =
                std::mem::replace(array, DeArray::new()).into_iter().enumerate().filter(|(i, _)| *i != index);
            *array = kept.map(|(_, element)| element).collect();
            return Some(Cut { path, key: String::new() });
        }
    }
    None
}

/// The key that a variable stands for: `WAXSEAL_LIMITS__MEMORY` is `limits.memory`.
pub(super) fn path_of(variable: &str) -> Option<String> {
    Some(variable.strip_prefix(PREFIX)?.to_lowercase().replace("__", "."))
}

/// Whether a variable is meant for the configuration: `WAXSEAL_<SECTION>__<KEY>`, or something like a key or
/// section at the top. Others of that prefix belong to the program that starts us.
fn is_ours(variable: &str) -> bool {
    let Some(path) = path_of(variable) else { return false };
    let tops = || keys_of("").unwrap_or_default().iter().chain(&REPEATED);
    path.contains('.') || tops().any(|key| strsim::levenshtein(key, &path) <= 2)
}

/// The key's path, if the variable may be laid over the file.
fn check_variable(file: &toml::Table, name: &str, value: &str) -> Result<String, String> {
    let path = path_of(name).unwrap_or_default();
    let (section, key) = path.split_once('.').unwrap_or(("", &path));
    if REPEATED.contains(&section) || REPEATED.contains(&path.as_str()) {
        let table = if section.is_empty() { &path } else { section };
        return Err(format!("`[[{table}]]` cannot be set from the environment; write it in the file"));
    }
    let keys = keys_of(section).ok_or_else(|| why_unknown("", section))?;
    if !keys.contains(&key) {
        return Err(why_unknown(section, key));
    }
    if section.is_empty() && keys_of(key).is_some() {
        return Err(format!("a section; set one of its keys, as {name}__<KEY>"));
    }
    match layer(file, vec![(name.to_owned(), value.to_owned())]) {
        Ok(_) => Ok(path),
        Err(error) => Err(plain(&message_of(&error))),
    }
}

fn layer(file: &toml::Table, variables: Vec<(String, String)>) -> Result<raw::File, ConfigError> {
    let environment = Environment::with_prefix(PREFIX.trim_end_matches('_'))
        .prefix_separator("_")
        .separator("__")
        .source(Some(variables.into_iter().collect()));
    config::Config::builder()
        .add_source(config::File::from_str(&file.to_string(), FileFormat::Toml))
        .add_source(environment)
        .build()?
        .try_deserialize()
}

/// The error without its key and origin, because the place is more precise.
fn message_of(error: &ConfigError) -> String {
    match error {
        ConfigError::At { error, .. } => message_of(error),
        ConfigError::Type { unexpected, expected, .. } => {
            format!("invalid type: {unexpected}, expected {expected}")
        }
        other => other.to_string(),
    }
}

/// Serde's words in an administrator's.
fn plain(message: &str) -> String {
    let message = message.lines().collect::<Vec<_>>().join(" ");
    [
        ("unknown variant", "unknown value"),
        ("expected a sequence", "expected a list in [ ]"),
        ("invalid type: sequence", "invalid type: list"),
        ("invalid type: map", "invalid type: table"),
        ("expected i64", "expected a whole number"),
        ("a string", "a text in quotes"),
    ]
    .iter()
    .fold(message, |message, (from, to)| message.replace(from, to))
}
