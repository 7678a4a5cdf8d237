//! What the documents name is there: files in the source, other documents, and headings in them.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "program/skip.rs"]
mod skip;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What stands between these two, each time.
fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0))
}

/// Every document that people read, below the root.
fn documents() -> Vec<String> {
    let folders = [
        "",
        "docs",
        "deploy",
        "deploy/container",
        "benches/relay",
        "benches/flood",
        "fuzz",
        "fuzz/readers",
        "tests/handlers",
        "tests/reference",
    ];
    let in_folder = |folder: &str| {
        let paths = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect::<Vec<_>>()
    };
    let paths = folders.into_iter().flat_map(in_folder);
    let mut documents: Vec<String> =
        paths.map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()).collect();
    documents.sort();
    assert!(documents.len() >= 15, "{documents:?}");
    documents
}

/// The anchor that a heading has, as code hosts make it.
fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || matches!(c, '-' | '_') => c.to_lowercase().next(),
        _ => None,
    };
    heading.trim_start_matches('#').trim().chars().filter_map(kept).collect()
}

#[test]
fn headings_have_anchors() {
    assert_eq!(anchor("### In a token (PKCS#11)"), "in-a-token-pkcs11");
    assert_eq!(anchor("## 7. Verifying: `postfix/front/`"), "7-verifying-postfixfront");
}

/// `(code: src/a.rs, src/b.rs)` in FLOW.md, which a line end may divide.
#[test]
fn the_flow_names_files_that_exist() {
    let text = read("docs/FLOW.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let named: Vec<&str> = between(&text, "(code: ", ")").flat_map(|paths| paths.split(", ")).collect();
    assert!(named.len() >= 30, "{named:?}");
    let missing: Vec<&str> = named.into_iter().filter(|path| !root().join(path).is_file()).collect();
    assert!(missing.is_empty(), "docs/FLOW.md names {missing:?}");
}

/// Everything in ARCHITECTURE.md that is written as a path: `src/…`, `attachment-seal/…` and the like.
#[test]
fn the_architecture_names_places_that_exist() {
    const TOPS: [&str; 6] = ["src/", "attachment-seal/", "tests/", "docs/", "config/", "deploy/"];
    let text = read("docs/ARCHITECTURE.md");
    let named: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || matches!(c, '`' | ',' | '(' | ')' | ';' | '|' | ':'))
        .filter(|word| TOPS.iter().any(|top| word.starts_with(top)))
        .collect();
    assert!(named.len() >= 30, "{named:?}");
    let missing: Vec<&str> =
        named.into_iter().filter(|path| !root().join(path.trim_end_matches('.')).exists()).collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md names {missing:?}");
}

#[test]
fn links_lead_somewhere() {
    let mut failures = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = root().join(&document).parent().unwrap().to_owned();
        for link in between(&text, "](", ")").filter(|link| !link.contains("://") && !link.contains(' ')) {
            let (path, heading) =
                link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
            let target: PathBuf = if path.is_empty() { root().join(&document) } else { folder.join(path) };
            if !target.exists() {
                failures.push(format!("{document}: no file {link}"));
                continue;
            }
            let Some(heading) = heading else { continue };
            let there = fs::read_to_string(&target).unwrap();
            let mut headings = there.lines().filter(|line| line.starts_with('#'));
            if !headings.any(|line| anchor(line) == heading) {
                failures.push(format!("{document}: no heading {link}"));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// The story types every command of the tutorial. Two fresh Debians take minutes, so here it only looks its commands up.
#[test]
fn the_story_types_every_command_of_the_tutorial() {
    let python = Command::new("python3").arg("--version").output().is_ok();
    if !skip::are_there(&[("python3", python)]) {
        return;
    }
    let looked =
        Command::new("python3").arg("-B").arg(root().join("tests/story/document.py")).output().unwrap();
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
}

/// README.md promises that mail with the verdict `fail` is held. A rejected message is not kept, and it is evidence.
#[test]
fn the_wirings_hold_what_was_changed() {
    let wirings = ["postfix/front", "postfix/proxy-filter", "postfix/submission", "provider"];
    for wiring in wirings {
        let path = format!("deploy/{wiring}/waxseal.toml");
        let text = read(&path);
        let mut settings = text.lines().filter(|line| !line.starts_with('#'));
        let lets_go = settings.find(|line| line.starts_with("fail") && !line.ends_with("\"quarantine\""));
        assert_eq!(lets_go, None, "{path}");
    }
    assert!(
        read("README.md").contains("| `fail` | an attachment was changed, or the seal is wrong | hold |")
    );
}

/// Prose is read in a terminal and compared line by line: 100 columns, but for tables, code and what cannot be divided.
#[test]
fn prose_has_short_lines() {
    let is_prose =
        |line: &&str| !line.starts_with('|') && !line.starts_with("    ") && line.trim().contains(' ');
    let mut failures = Vec::new();
    for document in documents() {
        let text = read(&document);
        // What stands between fences is code.
        let prose = text.split("\n```").step_by(2).flat_map(str::lines);
        let long = prose.filter(is_prose).filter(|line| line.chars().count() > 100);
        failures.extend(long.map(|line| format!("{document}: {line}")));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
