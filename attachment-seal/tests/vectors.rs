//! Every case in `tests/vectors/`: a message, and what it must be judged. A new case needs two files and no code.
//!
//! The cases up to 60 were made by an independent implementation of the seal. Those from 61 on have a list of parts, the tag
//! `e`, and were sealed by this one. `tests/reference/` checks all of them with a second implementation.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use attachment_seal::seal::key::{KeyRecord, PublicKey};
use attachment_seal::seal::knowledge::{Knowledge, Pin, PinnedKey, Pins};
use attachment_seal::seal::message::Message;
use attachment_seal::verdict::report::Report;
use attachment_seal::verdict::verify::verify;
use serde_json::Value;

fn pins(keys: &Value) -> Pins {
    let mut pins = Pins::default();
    for (name, value) in keys.as_object().unwrap() {
        let text = value.as_str().unwrap();
        let mut pin = Pin { subdomains: true, ..Pin::default() };
        let domain = match name.strip_prefix("root:") {
            Some(domain) => {
                pin.roots.push(PublicKey::from_base64url(text).unwrap());
                domain
            }
            None => {
                let (domain, selector) = name.split_once('/').unwrap();
                let record = KeyRecord::parse(text).unwrap();
                pin.keys.push(PinnedKey { selector: Some(selector.parse().unwrap()), record });
                domain
            }
        };
        pins.add(domain.parse().unwrap(), pin);
    }
    pins
}

/// Whether `found` has all that `expected` names; nothing is said of members that are absent.
fn holds(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().all(|(key, value)| holds(value, found.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(expected, found)| holds(expected, found))
        }
        _ => expected == found,
    }
}

fn failure_of(case: &Path) -> Option<String> {
    let case_json: Value = serde_json::from_slice(&fs::read(case).unwrap()).unwrap();
    let message = fs::read(case.with_extension("eml")).unwrap();
    let pins = pins(&case_json["keys"]);
    let now = case_json["now"].as_u64().unwrap();
    let verification = verify(&Message::new(&message), &Knowledge::pinned(&pins), now);
    let found: Value = serde_json::from_str(&Report::new(None, &verification).to_line()).unwrap();
    let expected = &case_json["expect"];
    (!holds(expected, &found)).then(|| {
        format!(
            "{}: {}\n  expected {expected}\n  found    {found}",
            case.display(),
            case_json["why"].as_str().unwrap()
        )
    })
}

#[test]
fn every_vector_gets_its_verdict() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 85, "only {} cases", cases.len());
    let failures: Vec<String> = cases.iter().filter_map(|case| failure_of(case)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
