//! Imports of the gateway go one way: a file imports only rooms that are below its own, and an edge imports no other edge.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the sources has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, lowest row first. A room of a row imports rooms of lower rows; in the row of what runs, also those before it.
const BASE: &[&str] = &["clock", "blocking", "disk", "policy", "metrics", "phrase", "advice"];
const EDGES: &[&str] = &["smtp", "dns", "keys", "store", "notify", "web"];
const CENTRE: &[&str] = &[
    "config",
    "gateway",
    "log",
    "monitoring",
    "doctor",
    "console",
    "service",
    "scan",
    "demo",
    "setup",
    "commands",
];

/// What a room may import.
fn below(room: &str) -> Vec<&'static str> {
    if BASE.contains(&room) {
        return Vec::new();
    }
    if EDGES.contains(&room) {
        return BASE.to_vec();
    }
    let place = CENTRE.iter().position(|other| *other == room).unwrap_or_else(|| panic!("{room} has no row"));
    [BASE, EDGES, &CENTRE[..place]].concat()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The rooms that code names by `crate::`, in braces or not.
fn imports(code: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split(';').next().unwrap_or_default();
                found.extend(
                    group.split(',').map(|entry| name(entry.trim())).filter(|entry| !entry.is_empty()),
                );
            }
            None => found.push(name(rest)),
        }
    }
    found
}

#[test]
fn imports_go_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let mut failures = Vec::new();
    for path in paths {
        let inside = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let room = inside.split('/').next().unwrap().trim_end_matches(".rs");
        if room == "lib" || room == "main" {
            continue;
        }
        let allowed = below(room);
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            if import != room && !allowed.contains(&import.as_str()) {
                failures.push(format!("src/{inside} imports crate::{import}"));
            }
        }
    }
    failures.sort();
    failures.dedup();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn finds_the_imports() {
    let code = "use crate::smtp::limits::Limits;\nuse crate::{log, store::Held};\nfn f() { crate::dns::x() }";
    assert_eq!(imports(code), ["smtp", "log", "store", "dns"]);
}
