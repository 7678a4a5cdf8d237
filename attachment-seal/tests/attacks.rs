//! Attacks made by hand on a sealed message, a file each: none may pass. They follow the tricks known from the literature on
//! parsers that disagree (ambiguous fields, malformed structure, inconsistent decoding) and those on the seal itself.
//! `attacks/README.md` says how to write one.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "messages/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use attachment_seal::manifest::Status;
use attachment_seal::seal::key::SealingKey;
use attachment_seal::seal::message::Message;
use attachment_seal::seal::sign::{Moment, Sealer, seal};
use attachment_seal::verdict::{Reason, Verdict, Verification};
use memchr::memmem;
use support::{check, codes, crlf, moment, sealed, sealer};

const KEYS: [&str; 5] = ["why", "expect", "seals", "sealed-by", "message"];

/// The files below a folder, in order. A folder without a case fails.
fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    assert!(found.iter().any(|path| has_extension(path, "txt")), "{}: no case", folder.display());
    found.sort();
    found
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own == extension)
}

fn message(path: &Path) -> Result<Vec<u8>, String> {
    let octets = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if memmem::find(&octets, b"\r\n").is_some() {
        return Ok(octets);
    }
    Ok(octets.split(|&octet| octet == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]))
}

fn seal_of(message: &[u8]) -> Vec<u8> {
    sealed(message).strip_suffix(message).expect("a message that has a Date and a Message-ID").to_vec()
}

/// `DOMAIN key NUMBER`, and perhaps `at SECONDS`.
fn sealed_by(value: &str, message: &[u8]) -> Option<Vec<u8>> {
    let words: Vec<&str> = value.split(' ').collect();
    let (domain, number, at) = match words[..] {
        [domain, "key", number] => (domain, number, 0),
        [domain, "key", number, "at", seconds] => (domain, number, seconds.parse().ok()?),
        _ => return None,
    };
    let key = SealingKey::from_seed(&[number.parse().ok()?; 32]);
    let sealer = Sealer { domain: domain.parse().ok()?, key, ..sealer() };
    let now = moment().now.checked_add_signed(at)?;
    Some(seal(&Message::new(message), &sealer, Moment { now, ..moment() }).ok()?.apply(message))
}

/// Seals the base, makes the changes of a case, and checks the result.
fn judge(folder: &Path, base: &[u8], text: &str) -> Result<Verification, String> {
    let mut changes = text.split("\n--- from\n");
    let mut about = BTreeMap::new();
    for line in changes.next().unwrap_or_default().lines() {
        let (key, value) = line.split_once(':').ok_or_else(|| format!("`{line}` is no line of a case"))?;
        if !KEYS.contains(&key) || about.insert(key, value.trim()).is_some() {
            return Err(format!("`{key}` is unknown, or there twice"));
        }
    }
    if !about.contains_key("why") || !about.contains_key("expect") {
        return Err("`why` or `expect` is missing".to_owned());
    }
    let beside = |name: &str| message(&folder.join(name));
    let mut arrives = Vec::new();
    for name in about.get("seals").unwrap_or(&"genuine").split_whitespace() {
        arrives.extend(seal_of(&if name == "genuine" { base.to_vec() } else { beside(name)? }));
    }
    arrives.extend(about.get("message").map_or_else(|| Ok(base.to_vec()), |name| beside(name))?);
    for change in changes {
        let (from, to) = change.split_once("+++ to\n").ok_or("a `--- from` without its `+++ to`")?;
        let [from, to] = [from, to].map(|text| crlf(text.strip_suffix('\n').unwrap_or(text)));
        let at = memmem::find(&arrives, from.as_bytes()).ok_or(format!("nothing to replace: {from:?}"))?;
        arrives.splice(at..at + from.len(), to.bytes());
    }
    if let Some(value) = about.get("sealed-by") {
        arrives = sealed_by(value, &arrives).ok_or_else(|| format!("no sealer: `{value}`"))?;
    }
    Ok(check(&arrives))
}

fn words(result: &Verification) -> String {
    let mut words = vec![result.verdict().as_str()];
    words.extend(result.verdict().reason().map(Reason::as_str));
    words.extend(codes(result));
    if result.verdict() == Verdict::Fail(Reason::Attachments) {
        let statuses = result.attachments().iter().map(|outcome| outcome.status);
        words.extend(statuses.filter(|&status| status != Status::Intact).map(Status::as_str));
    }
    words.join(" ")
}

fn run(path: &Path) -> Result<(), String> {
    let base = path.ancestors().map(|folder| folder.join("base.eml")).find(|base| base.exists());
    let base = message(&base.ok_or("no base.eml above it")?)?;
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let folder = path.parent().unwrap();
    let result = judge(folder, &base, &text)?;
    let found = words(&result);
    let expected = text.lines().find_map(|line| line.strip_prefix("expect: ")).unwrap_or_default();
    if folder.ends_with("harmless") {
        let passes = found == "pass" && expected == "pass";
        return if passes { Ok(()) } else { Err(format!("{found}; what is harmless must pass")) };
    }
    if matches!(result.verdict(), Verdict::Pass | Verdict::None) {
        return Err(format!("an attack gets {found}"));
    }
    if found == expected {
        return Ok(());
    }
    if env::var_os("WAXSEAL_BLESS").is_none_or(|value| value != "1") {
        return Err(format!("{found}, not {expected}"));
    }
    let (old, new) = (format!("expect: {expected}\n"), format!("expect: {found}\n"));
    fs::write(path, text.replacen(&old, &new, 1)).map_err(|error| error.to_string())
}

#[test]
fn no_attack_passes() {
    // Relative paths: cargo runs a test in its package's folder.
    let files = files(Path::new("tests/attacks"));
    let cases = || files.iter().filter(|path| has_extension(path, "txt"));
    let failure = |path: &Path, why| format!("{}: {why}", path.display());
    let mut failures: Vec<String> =
        cases().filter_map(|path| run(path).err().map(|why| failure(path, why))).collect();
    for path in files.iter().filter(|path| has_extension(path, "eml")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "base.eml" {
            let found = words(&check(&sealed(&message(path).unwrap())));
            failures.extend((found != "pass").then(|| failure(path, format!("untouched, it gets {found}"))));
        } else if !cases().any(|case| fs::read_to_string(case).unwrap().contains(name)) {
            failures.push(failure(path, "no case names it".to_owned()));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
