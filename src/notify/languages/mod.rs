//! Texts by language, in Project Fluent's `.ftl` files: those of notices to recipients, ours and those of the site, and those of
//! whoever else has some. English says which messages there are and what is put into each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement};
use thiserror::Error;
use unic_langid::LanguageIdentifier;

/// What every text is written in that a language lacks.
const ENGLISH: &str = "en";

/// Our own texts.
const BUILT_IN: [(&str, &str); 9] = [
    ("ar", include_str!("ar.ftl")),
    ("bo", include_str!("bo.ftl")),
    ("de", include_str!("de.ftl")),
    (ENGLISH, include_str!("en.ftl")),
    ("es", include_str!("es.ftl")),
    ("fr", include_str!("fr.ftl")),
    ("ru", include_str!("ru.ftl")),
    ("zh-Hans", include_str!("zh-Hans.ftl")),
    ("zh-Hant", include_str!("zh-Hant.ftl")),
];

/// Longest file of a site, in octets.
const MAX_FILE: u64 = 64 << 10;
/// Most files of a site.
const MAX_FILES: usize = 200;

/// Why a site's texts cannot be used.
#[derive(Debug, Error)]
pub enum LanguageError {
    /// The folder or a file in it cannot be read.
    #[error("{}: {error}", .path.display())]
    Unreadable {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// More files, or a longer one, than anybody needs.
    #[error("{}: too large; at most {MAX_FILES} files of 64 KiB are read", .0.display())]
    TooLarge(PathBuf),
    /// A file's name is no language.
    #[error("{}: its name is no language; name it as fr.ftl or pt-BR.ftl", .0.display())]
    NoLanguage(PathBuf),
    /// A file's content is not Fluent's.
    #[error("{}: line {line}: {reason}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where in it.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A message that the gateway never writes.
    #[error("{}: there is no message `{message}`", .path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The message's name.
        message: String,
    },
    /// A message that cannot be written.
    #[error("{}: message `{message}`: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The message's name.
        message: String,
        /// Why.
        reason: String,
    },
    /// A language that has no texts.
    #[error(
        "there are no texts in `{wanted}`; choose from {known}, or add a file {wanted}.ftl to [notices] folder"
    )]
    Missing {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
}

type Bundle = FluentBundle<FluentResource>;

/// Some texts, in all languages that they can be written in.
pub struct Languages {
    bundles: BTreeMap<String, Bundle>,
    /// Every message that there is, with what is put into it.
    messages: BTreeMap<String, BTreeSet<String>>,
}

impl fmt::Debug for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.bundles.keys()).finish()
    }
}

impl Languages {
    /// Those of notices: ours, and those of a site's folder, whose messages take the place of ours.
    pub fn read(folder: Option<&Path>) -> Result<Self, LanguageError> {
        let mut languages = Self::of(&BUILT_IN)?;
        let Some(folder) = folder else { return Ok(languages) };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| LanguageError::Unreadable { path, error }
        };
        let entries = fs::read_dir(folder).map_err(failed(folder))?;
        let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths.map_err(failed(folder))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "ftl"));
        paths.sort();
        if paths.len() > MAX_FILES {
            return Err(LanguageError::TooLarge(folder.to_owned()));
        }
        for path in paths {
            let name = path.file_stem().and_then(|name| name.to_str());
            let tag = name.and_then(canonical).ok_or_else(|| LanguageError::NoLanguage(path.clone()))?;
            if fs::metadata(&path).map_err(failed(&path))?.len() > MAX_FILE {
                return Err(LanguageError::TooLarge(path));
            }
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            languages.add(&path, &tag, &text)?;
        }
        Ok(languages)
    }

    /// These texts, by language. English is among them.
    pub fn of(texts: &[(&str, &str)]) -> Result<Self, LanguageError> {
        let english = texts.iter().find(|(tag, _)| *tag == ENGLISH).map_or("", |(_, text)| text);
        let messages = parse(Path::new(ENGLISH), english)?.entries().filter_map(message).collect();
        let mut languages = Self { bundles: BTreeMap::new(), messages };
        for (tag, text) in texts {
            languages.add(Path::new(tag), tag, text)?;
        }
        Ok(languages)
    }

    /// The languages, by their names.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.bundles.keys().map(String::as_str)
    }

    fn add(&mut self, path: &Path, tag: &str, text: &str) -> Result<(), LanguageError> {
        let path = || path.to_owned();
        let resource = parse(&path(), text)?;
        let ids: Vec<_> = resource.entries().filter_map(message).map(|(id, _)| id).collect();
        if let Some(message) = ids.iter().find(|id| !self.messages.contains_key(*id)) {
            return Err(LanguageError::Unknown { path: path(), message: message.clone() });
        }
        let language: LanguageIdentifier = tag.parse().map_err(|_| LanguageError::NoLanguage(path()))?;
        let bundle = self
            .bundles
            .entry(tag.to_owned())
            .or_insert_with(|| FluentBundle::new_concurrent(vec![language]));
        bundle.add_resource_overriding(resource);
        for message in ids {
            let arguments: Vec<_> = self.messages[&message].iter().map(|name| (name.as_str(), "-")).collect();
            if let Err(reason) = write(bundle, &message, &arguments) {
                return Err(LanguageError::Unusable { path: path(), message, reason });
            }
        }
        Ok(())
    }

    /// The texts of a language that was found before; English where it has gone.
    pub fn words(&self, wanted: &str) -> Words<'_> {
        self.find(wanted).unwrap_or_else(|_| {
            let bundle = &self.bundles[ENGLISH];
            Words { tag: ENGLISH, bundle, english: bundle }
        })
    }

    /// The texts of a language such as `fr`. A region that has no texts of its own gets those of its language.
    pub fn find(&self, wanted: &str) -> Result<Words<'_>, LanguageError> {
        let missing = || LanguageError::Missing {
            wanted: wanted.chars().take(40).collect(),
            known: self.bundles.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        };
        let tag = canonical(wanted).ok_or_else(missing)?;
        let tags = std::iter::successors(Some(tag.as_str()), |tag| Some(tag.rsplit_once('-')?.0));
        let found = tags.filter_map(|tag| self.bundles.get_key_value(tag)).next();
        let (tag, bundle) = found.ok_or_else(missing)?;
        Ok(Words { tag, bundle, english: &self.bundles[ENGLISH] })
    }
}

/// A language's name in its usual form: `zh-tw` is `zh-Hant-TW`.
fn canonical(text: &str) -> Option<String> {
    let mut language: LanguageIdentifier = text.parse().ok()?;
    if language.language.as_str() == "zh" && language.script.is_none() {
        let is_traditional =
            language.region.is_some_and(|region| ["TW", "HK", "MO"].contains(&region.as_str()));
        language.script = (if is_traditional { "Hant" } else { "Hans" }).parse().ok();
    }
    (language.language.as_str() != "und").then(|| language.to_string())
}

/// A file's messages.
fn parse(path: &Path, text: &str) -> Result<FluentResource, LanguageError> {
    FluentResource::try_new(text.to_owned()).map_err(|(_, errors)| {
        let first = errors.first();
        let end = first.map_or(0, |error| error.pos.start).min(text.len());
        let line = text.as_bytes()[..end].iter().filter(|&&octet| octet == b'\n').count() + 1;
        let reason = first.map(ToString::to_string).unwrap_or_default();
        LanguageError::Syntax { path: path.to_owned(), line, reason }
    })
}

/// The name of a message in a file, and what is put into it.
fn message(entry: &Entry<&str>) -> Option<(String, BTreeSet<String>)> {
    let Entry::Message(message) = entry else { return None };
    let mut variables = BTreeSet::new();
    if let Some(pattern) = &message.value {
        variables_of(pattern, &mut variables);
    }
    Some((message.id.name.to_owned(), variables))
}

fn variables_of(pattern: &Pattern<&str>, found: &mut BTreeSet<String>) {
    for element in &pattern.elements {
        let PatternElement::Placeable { expression } = element else { continue };
        let inline = match expression {
            Expression::Inline(inline) => inline,
            Expression::Select { selector, variants } => {
                variants.iter().for_each(|variant| variables_of(&variant.value, found));
                selector
            }
        };
        if let InlineExpression::VariableReference { id } = inline {
            found.insert(id.name.to_owned());
        }
    }
}

/// A message, or why it cannot be written.
fn write(bundle: &Bundle, message: &str, arguments: &[(&str, &str)]) -> Result<String, String> {
    let pattern = bundle.get_message(message).and_then(|found| found.value()).ok_or("it is empty")?;
    let mut given = FluentArgs::new();
    for (name, value) in arguments {
        given.set(*name, *value);
    }
    let mut errors = Vec::new();
    let text = bundle.format_pattern(pattern, Some(&given), &mut errors).into_owned();
    match errors.first() {
        None => Ok(text),
        Some(error) => Err(error.to_string()),
    }
}

/// The texts of one language, and English where it has none.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    tag: &'a str,
    bundle: &'a Bundle,
    english: &'a Bundle,
}

impl fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Words").field(&self.tag).finish()
    }
}

impl<'a> Words<'a> {
    /// The language's name (BCP 47).
    pub fn language(self) -> &'a str {
        self.tag
    }

    /// A text, all of whose variables are given. What is put into it is between isolation marks (UAX #9), so that it cannot turn what is around it.
    pub fn text(self, message: &str, arguments: &[(&str, &str)]) -> String {
        // Every message was written once when it was read, so English has each.
        write(self.bundle, message, arguments)
            .or_else(|_| write(self.english, message, arguments))
            .unwrap_or_default()
    }

    /// A text for a header field, where isolation marks would be shown as signs.
    pub fn line(self, message: &str, arguments: &[(&str, &str)]) -> String {
        self.text(message, arguments).replace(['\u{2068}', '\u{2069}', '\r', '\n'], "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_every_message() {
        let languages = Languages::read(None).unwrap();
        assert_eq!(languages.bundles.len(), BUILT_IN.len());
        let mut missing = Vec::new();
        for (tag, bundle) in &languages.bundles {
            for (message, variables) in &languages.messages {
                let arguments: Vec<_> = variables.iter().map(|name| (name.as_str(), "this-value")).collect();
                match write(bundle, message, &arguments) {
                    Ok(text) if text.matches("this-value").count() == variables.len() => {}
                    other => missing.push(format!("{tag}: {message}: {other:?}")),
                }
            }
        }
        assert!(missing.is_empty(), "{missing:#?}");
    }

    /// A language whose text is still the English one was not translated.
    #[test]
    fn every_language_has_words_of_its_own() {
        let languages = Languages::read(None).unwrap();
        let english = &languages.bundles[ENGLISH];
        for (tag, bundle) in languages.bundles.iter().filter(|(tag, _)| *tag != ENGLISH) {
            for (message, variables) in &languages.messages {
                let arguments: Vec<_> = variables.iter().map(|name| (name.as_str(), "1")).collect();
                let is_short = message == "date";
                assert!(
                    is_short || write(bundle, message, &arguments) != write(english, message, &arguments),
                    "{tag}: {message}"
                );
            }
        }
    }

    #[test]
    fn finds_the_nearest_language() {
        let languages = Languages::read(None).unwrap();
        for (wanted, found) in [
            ("fr", "fr"),
            ("fr-CH", "fr"),
            ("FR", "fr"),
            ("zh", "zh-Hans"),
            ("zh-CN", "zh-Hans"),
            ("zh-TW", "zh-Hant"),
            ("zh-Hant-HK", "zh-Hant"),
            ("de-AT", "de"),
        ] {
            assert_eq!(languages.find(wanted).unwrap().language(), found, "{wanted}");
        }
        for wanted in ["", "french", "pt", "und", "*", "../fr"] {
            assert!(languages.find(wanted).is_err(), "{wanted}");
        }
    }

    #[test]
    fn a_site_overrides_and_adds() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("fr.ftl"), "subject = Courrier retenu\n").unwrap();
        fs::write(folder.path().join("pt-BR.ftl"), "intro = Uma mensagem para você está retida.\n").unwrap();
        fs::write(folder.path().join("README"), "not a text").unwrap();
        let languages = Languages::read(Some(folder.path())).unwrap();
        let french = languages.find("fr").unwrap();
        assert_eq!(french.line("subject", &[]), "Courrier retenu");
        assert!(french.text("intro", &[]).contains("retenu"));
        let added = languages.find("pt-br").unwrap();
        assert!(added.text("intro", &[]).contains("retida"));
        assert_eq!(added.line("subject", &[]), "A message to you is held", "English where it has none");
    }

    #[test]
    fn a_wrong_file_is_named() {
        for (name, content, part) in [
            ("fr.ftl", "subject = ok\nthis is no text\n", "fr.ftl: line 2"),
            ("fr.ftl", "subjekt = typing error\n", "there is no message `subjekt`"),
            ("fr.ftl", "author = { $autor }\n", "message `author`"),
            ("french.words.ftl", "subject = ok\n", "no language"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), content).unwrap();
            let error = Languages::read(Some(folder.path())).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("fr.ftl"), "#".repeat(100_000)).unwrap();
        assert!(matches!(Languages::read(Some(folder.path())), Err(LanguageError::TooLarge(_))));
        assert!(matches!(
            Languages::read(Some(Path::new("/nowhere"))),
            Err(LanguageError::Unreadable { .. })
        ));
    }
}
