//! The message corpus, in data files: a new case needs no code.
//!
//! `malformed/`: for each doubt a message `X.eml` that raises it and a near miss `X.near.eml` that raises none; `X.json`
//! says why and names the doubts and the leaves (or how many there are). Each is checked under a valid seal of its own leaves, or of those of
//! `X.sealed.eml`. `expand` replaces a word by a text so many times.
//!
//! `clients/`: what mail programs and servers write; `X.json` names the leaves. Each is sealed, sent through what honest
//! relays do, and must pass.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "messages/support.rs"]
mod support;

#[path = "messages/relay.rs"]
mod relay;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use attachment_seal::doubt::Doubt;
use attachment_seal::manifest::TextState;
use attachment_seal::verdict::Verdict;
use relay::CHANGES;
use serde_json::Value;
use support::{check, codes, describe, leaves, sealed, under_seal_of};

struct Case {
    path: PathBuf,
    about: Value,
}

impl Case {
    fn all(folder: &str) -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages").join(folder);
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        paths.sort();
        let read = |path: PathBuf| {
            let about = serde_json::from_slice(&fs::read(&path).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            Self { path, about }
        };
        paths.into_iter().map(read).collect()
    }

    fn name(&self) -> String {
        self.path.file_stem().unwrap().to_string_lossy().into_owned()
    }

    fn words(&self, member: &str) -> Vec<&str> {
        self.about[member].as_array().into_iter().flatten().map(|w| w.as_str().unwrap()).collect()
    }

    /// The message with this extension, its words expanded.
    fn message(&self, extension: &str) -> Option<Vec<u8>> {
        let mut message = fs::read(self.path.with_extension(extension)).ok()?;
        for (word, to) in self.about["expand"].as_object().into_iter().flatten() {
            if let Some(at) = memchr::memmem::find(&message, word.as_bytes()) {
                let count = usize::try_from(to[1].as_u64().unwrap()).unwrap();
                let text = to[0].as_str().unwrap().repeat(count);
                message.splice(at..at + word.len(), text.bytes());
            }
        }
        Some(message)
    }

    /// The message with this extension, sealed.
    fn sealed(&self, extension: &str) -> Vec<u8> {
        let arrives = self.message(extension).unwrap_or_else(|| panic!("{}: no {extension}", self.name()));
        let sent = self.message(&extension.replace("eml", "sealed.eml")).unwrap_or_else(|| arrives.clone());
        under_seal_of(&sent, &arrives)
    }
}

#[test]
fn every_malformed_message_raises_its_doubts() {
    let mut failures = Vec::new();
    for case in Case::all("malformed") {
        let result = check(&case.sealed("eml"));
        if codes(&result) != case.words("doubts") || result.verdict() != Verdict::Ambiguous {
            failures.push(format!("{}: {}\n  found {}", case.name(), case.about["why"], describe(&result)));
        }
        let found = leaves(&case.message("eml").unwrap());
        if found != case.words("leaves") && case.about["leaves"] != found.len() {
            failures.push(format!("{}: leaves {found:?}", case.name()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_near_miss_raises_none() {
    let mut failures = Vec::new();
    for case in Case::all("malformed") {
        // A list wraps it: untouched is untouched, and nobody minds how it is written.
        let result = check(&relay::wrap(&sealed(&case.message("near.eml").unwrap())).unwrap());
        if !result.doubts().is_empty() || result.verdict() != Verdict::Pass {
            failures.push(format!("{}: {}\n  found {}", case.name(), case.about["near"], describe(&result)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_doubt_has_a_message_that_raises_it_alone() {
    let cases = Case::all("malformed");
    let alone: BTreeSet<&str> = cases
        .iter()
        .filter_map(|case| <[&str; 1]>::try_from(case.words("doubts")).ok())
        .map(|[code]| code)
        .collect();
    let all: BTreeSet<&str> = Doubt::ALL.iter().map(|doubt| doubt.code()).collect();
    assert_eq!(alone, all);
}

#[test]
fn what_programs_write_has_its_leaves_and_no_doubt() {
    let mut failures = Vec::new();
    for case in Case::all("clients") {
        let message = case.message("eml").unwrap();
        let found = leaves(&message);
        if found != case.words("leaves") {
            failures.push(format!("{}: leaves {found:?}", case.name()));
        }
        let sealed = sealed(&message);
        let result = check(&relay::wrap(&sealed).unwrap_or(sealed));
        if result.verdict() != Verdict::Pass {
            failures.push(format!("{}: {}\n  found {}", case.name(), case.about["why"], describe(&result)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// `footer: false` in a case's file exempts it from changes of its text, and its note says why.
#[test]
fn what_programs_write_survives_what_relays_do() {
    let mut failures = Vec::new();
    for case in Case::all("clients") {
        let message = sealed(&case.message("eml").unwrap());
        for (change, make, changes_text) in CHANGES {
            if *changes_text && case.about["footer"] == false {
                continue;
            }
            let Some(changed) = make(&message) else { continue };
            let result = check(&changed);
            if result.verdict() != Verdict::Pass
                || (result.text() == Some(TextState::Intact)) == *changes_text
            {
                let text = result.text().map(TextState::as_str);
                failures.push(format!("{}, {change}: {} {text:?}", case.name(), describe(&result)));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
