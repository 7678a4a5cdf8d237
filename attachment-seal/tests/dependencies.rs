//! What this crate may use. It does no input or output, asks no clock and reads no environment: its dependencies are those
//! listed here, and its sources name the pure modules of the standard library alone. Inside it, imports go one way.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The direct dependencies. Each new one must be as pure as these.
const DIRECT: [&str; 19] = [
    "bip39",
    "blake3",
    "ed25519",
    "ed25519-dalek",
    "encodify",
    "encoding_rs",
    "html5gum",
    "idna",
    "jiff",
    "mail-parser",
    "memchr",
    "percent-encoding",
    "psl",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "unicode-normalization",
    "zeroize",
];

/// Crates that must not appear at any depth, nor any whose name goes on from these with a hyphen.
const IMPURE: [&str; 26] = [
    "async-io",
    "async-std",
    "chrono",
    "config",
    "dirs",
    "env_logger",
    "getrandom",
    "hickory",
    "hyper",
    "iana-time-zone",
    "log",
    "memmap2",
    "mio",
    "nix",
    "openssl",
    "rand",
    "rayon",
    "reqwest",
    "rusqlite",
    "rustix",
    "rustls",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tracing",
];

/// Modules of the standard library that compute and do nothing else. `io` is for `STREAMS` alone.
const PURE: [&str; 22] = [
    "any",
    "array",
    "borrow",
    "cell",
    "char",
    "cmp",
    "collections",
    "convert",
    "error",
    "fmt",
    "hash",
    "iter",
    "marker",
    "mem",
    "num",
    "ops",
    "option",
    "result",
    "slice",
    "str",
    "string",
    "sync",
];

/// The file that reads messages one by one out of a reader that the caller opened, and what it may use of `io`.
const STREAMS: &str = "message/stored.rs";
const TRAITS_OF_IO: [&str; 6] = ["self", "BufRead", "Error", "ErrorKind", "Read", "Result"];

/// The modules. Each imports itself and those before it. The crate's root only gathers them.
const ORDER: [&str; 7] = ["domain", "doubt", "message", "mime", "manifest", "seal", "verdict"];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn its_dependencies_are_those_listed() {
    let text = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let own = packages.iter().find(|package| package["name"] == env!("CARGO_PKG_NAME")).unwrap();
    let dependencies = own["dependencies"].as_array().unwrap();
    let mut direct: Vec<&str> = dependencies
        .iter()
        .filter(|dependency| dependency["kind"] != "dev")
        .map(|dependency| dependency["name"].as_str().unwrap())
        .collect();
    direct.sort_unstable();
    assert_eq!(direct, DIRECT);
}

#[test]
fn nothing_impure_is_below_them() {
    let arguments = ["tree", "--package", env!("CARGO_PKG_NAME"), "--edges", "normal", "--prefix", "none"];
    let tree = cargo(&arguments);
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(DIRECT.iter().all(|name| names.contains(name)), "{tree}");
    let is_impure = |name: &&str| {
        IMPURE.iter().any(|impure| {
            name.strip_prefix(impure).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
        })
    };
    assert_eq!(names.into_iter().filter(is_impure).collect::<Vec<_>>(), [""; 0]);
}

/// The sources, each with its path below `src`, without comments.
fn sources() -> Vec<(String, String)> {
    fn files(folder: &Path) -> Vec<PathBuf> {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
        (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), code)
    };
    let mut sources: Vec<_> = files(&root).into_iter().map(read).collect();
    sources.sort();
    assert!(sources.len() >= 30, "only {} sources", sources.len());
    sources
}

/// The names that follow a path's beginning in the code, those of a group one by one: `std::{fmt, io::Read}` has `fmt` and
/// `io` after `std::`.
fn names_after<'a>(code: &'a str, beginning: &str) -> Vec<&'a str> {
    let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
    let name = |text: &'a str| {
        let text = text.trim_start();
        &text[..text.find(|c| !is_of_name(c)).unwrap_or(text.len())]
    };
    let mut names = Vec::new();
    for (at, _) in code.match_indices(beginning) {
        let rest = code[at + beginning.len()..].trim_start();
        if code[..at].ends_with(is_of_name) {
            continue;
        }
        let Some(group) = rest.strip_prefix('{') else {
            names.push(name(rest));
            continue;
        };
        let (mut depth, mut start) = (0_u32, 0);
        for (at, c) in group.char_indices() {
            if depth == 0 && matches!(c, ',' | '}') {
                names.push(name(&group[start..at]));
                start = at + 1;
            }
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn finds_the_names_after_a_path() {
    let code = "use std::fmt;\nuse std::{\n    io::{self, Read},\n    net::IpAddr as A, fs,\n};\nno_std::os; ::std::env::var()";
    assert_eq!(names_after(code, "std::"), ["fmt", "io", "net", "fs", "env"]);
    assert_eq!(names_after(code, "io::"), ["self", "Read"]);
}

#[test]
fn its_sources_only_compute() {
    let mut failures = Vec::new();
    for (path, code) in sources() {
        let mut fail = |name: &str| failures.push(format!("src/{path} uses {name}"));
        for library in ["std", "core", "alloc"] {
            for name in names_after(&code, &format!("{library}::")) {
                let is_pure = PURE.contains(&name) || (name == "io" && path == STREAMS);
                if !is_pure {
                    fail(&format!("{library}::{name}"));
                }
            }
            for whole in
                [format!("use {library} "), format!("use {library};"), format!("extern crate {library}")]
            {
                if code.contains(&whole) {
                    fail(&format!("`{whole}`"));
                }
            }
        }
        for name in names_after(&code, "io::").into_iter().filter(|name| !TRAITS_OF_IO.contains(name)) {
            fail(&format!("io::{name}"));
        }
        for word in ["print!", "println!", "dbg!", "option_env!", "tokio", "SystemTime", "Instant"] {
            if code.contains(word) {
                fail(word);
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn imports_go_one_way() {
    let mut failures = Vec::new();
    for (path, code) in sources().into_iter().filter(|(path, _)| path != "lib.rs") {
        let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
        if parts.last() == Some(&"mod") {
            parts.pop();
        }
        let place = ORDER.iter().position(|module| *module == parts[0]);
        for name in names_after(&code, "crate::") {
            let of_import = ORDER.iter().position(|module| *module == name);
            if place.is_none() || of_import.is_none() || of_import > place {
                failures.push(format!("src/{path} imports crate::{name}"));
            }
        }
        // The same by another way: as many `super::` as lead to the crate's root. Tests are a module deeper.
        let (code, tests) = code.split_once("#[cfg(test)]").unwrap_or((&code, ""));
        let (to_root, from_tests) = ("super::".repeat(parts.len()), "super::".repeat(parts.len() + 1));
        if code.contains(&to_root) || tests.contains(&from_tests) {
            failures.push(format!("src/{path} goes by `super::` to the crate's root: write `crate::`"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
