//! Messages from the field: what mail programs, relays and lists do to honest mail, and what attackers could. A folder in
//! `field-cases/` each: `original.eml` is sealed, its seal is put on `changed.eml`, and the verdict must be one of those that
//! `want.json` allows. A new case needs no code.
//!
//! `field-cases/KNOWN` lists the cases that fall short today. One that no longer does must leave the list.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "messages/support.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{check, describe, try_seal};

/// How the verdict falls short of the case, if it does.
fn shortfall(case: &Path) -> Option<String> {
    let read = |name: &str| {
        fs::read(case.join(name)).unwrap_or_else(|error| panic!("{}/{name}: {error}", case.display()))
    };
    let want: Value = serde_json::from_slice(&read("want.json")).unwrap();
    let text = |member: &str| {
        want[member].as_str().unwrap_or_else(|| panic!("{}: no `{member}` in want.json", case.display()))
    };
    let allowed: Vec<&str> =
        want["allowed"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert!(matches!(text("kind"), "attack" | "honest"), "{}: kind", case.display());
    let lets_attack_in =
        text("kind") == "attack" && allowed.iter().any(|word| matches!(*word, "pass" | "none"));
    assert!(!lets_attack_in && !allowed.is_empty(), "{}: allowed", case.display());

    let (original, changed) = (read("original.eml"), read("changed.eml"));
    let found = match try_seal(&original) {
        Err(error) => format!("not sealed: {error}"),
        Ok(sealed) => {
            let top = sealed.strip_suffix(&*original).expect("sealing adds to the top of it");
            let result = check(&[top, &changed].concat());
            if allowed.contains(&result.verdict().as_str()) {
                return None;
            }
            describe(&result)
        }
    };
    Some(format!("{found}, not {}: {} ({})", allowed.join(" or "), text("what"), text("why")))
}

#[test]
fn every_field_case_gets_a_verdict_that_it_allows() {
    // A relative path: cargo runs a test in its package's folder.
    let folder = Path::new("tests/field-cases");
    let known = fs::read_to_string(folder.join("KNOWN")).unwrap_or_default();
    let known: BTreeSet<&str> = known.lines().collect();
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    let names: BTreeSet<&str> =
        cases.iter().map(|case| case.file_name().unwrap().to_str().unwrap()).collect();
    assert!(!names.is_empty() && known.is_subset(&names), "not a case: {:?}", &known - &names);

    let mut failures = Vec::new();
    for (case, name) in cases.iter().zip(&names) {
        match (shortfall(case), known.contains(name)) {
            (Some(why), false) => failures.push(format!("{name}: {why}")),
            (None, true) => failures.push(format!("{name}: no longer falls short; take it out of KNOWN")),
            (Some(_), true) | (None, false) => {}
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
