//! Sealing (SPEC.md §7): octet for octet what the independent implementation of the vectors makes, and nothing touched
//! but what must be.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "messages/support.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use attachment_seal::manifest::Entry;
use attachment_seal::message::body;
use attachment_seal::message::header::HeaderSection;
use attachment_seal::mime::Kind;
use attachment_seal::seal::delegation::{Delegation, Delegations};
use attachment_seal::seal::format::{FIELD, Seal, Statement};
use attachment_seal::seal::key::SealingKey;
use attachment_seal::seal::message::Message;
use attachment_seal::seal::sign::{Moment, SealError, Sealer, seal};
use attachment_seal::verdict::{Reason, Verdict};
use serde_json::Value;
use support::{NOW, check, crlf, describe, moment, passes, sealed, sealer, try_seal};

const MESSAGE: &str = "From: a@example.org\nTo: b@partner.example\nSubject: Report\n\
    Date: Mon, 23 Nov 2026 00:00:00 +0000\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\n\
    Content-Type: multipart/mixed; boundary=b\n\n\
    --b\n\nHere it is.\n--b\nContent-Type: application/pdf; name=report.pdf\nContent-Transfer-Encoding: base64\n\n\
    JVBERi0xLjQK\n--b--\n";

/// A field's value without white space.
fn compact(value: &[u8]) -> String {
    value.iter().filter(|octet| !octet.is_ascii_whitespace()).map(|&octet| char::from(octet)).collect()
}

fn seals(message: &[u8]) -> Vec<String> {
    HeaderSection::parse(message).all(FIELD).map(|field| compact(field.value)).collect()
}

fn without_seals(message: &[u8]) -> Vec<u8> {
    let header = HeaderSection::parse(message);
    let mut kept = message.to_vec();
    for field in header.all(FIELD).collect::<Vec<_>>().into_iter().rev() {
        kept.drain(field.start..field.end);
    }
    kept
}

fn vectors() -> Vec<(PathBuf, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    cases.sort();
    let read = |path: PathBuf| {
        let case = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path.with_extension("eml"), case)
    };
    cases.into_iter().map(read).collect()
}

fn published_key() -> SealingKey {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sealing-key.pem");
    SealingKey::from_pem(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Seals a vector's message again, as its own seal says it was sealed.
fn sealed_again(message: &[u8], seal_value: &str) -> Option<String> {
    let statement = Seal::parse(seal_value.as_bytes()).ok()?.statement;
    let parse = |text: &String| Delegation::parse(text, &statement.domain, &statement.selector).ok();
    let delegations = Delegations::new(statement.delegation.iter().filter_map(parse).collect());
    let sealer = Sealer {
        domain: statement.domain,
        selector: statement.selector,
        key: published_key(),
        lifetime: statement.expires_at - statement.sealed_at,
        delegations,
    };
    let bare = without_seals(message);
    let edits =
        seal(&Message::new(&bare), &sealer, Moment { now: statement.sealed_at, random: [0; 16] }).ok()?;
    seals(&edits.apply(&bare)).pop()
}

/// Whether the header and body hashes are those of the seal, so that the message is as it was sealed.
fn has_the_hashes_of(seal: &Seal, message: &[u8]) -> bool {
    let (statement, header) = (&seal.statement, HeaderSection::parse(message));
    header.faults.is_empty()
        && header.identity_hash() == statement.identity
        && header.addressing_hash() == statement.addressing
        && header.structure_hash() == statement.structure
        && body::hash(&message[header.body_start..]) == statement.body
}

#[test]
fn seals_as_the_independent_implementation_does() {
    let published = published_key().public();
    let mut compared = Vec::new();
    for (path, case) in vectors() {
        let message = fs::read(&path).unwrap();
        let found = seals(&message);
        let [original] = found.as_slice() else { continue };
        let Ok(seal) = Seal::parse(original.as_bytes()) else { continue };
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_foreign = !published.verifies(&seal.signed, &seal.signature);
        let is_touched = case["expect"]["body"] == "changed" || !has_the_hashes_of(&seal, &message);
        let (domain, selector) = (&seal.statement.domain, &seal.statement.selector);
        let delegation = seal.statement.delegation.as_ref();
        let holds = delegation.is_none_or(|text| {
            Delegation::parse(text, domain, selector).is_ok_and(|delegation| delegation.holds_for(&seal))
        });
        // We write no unknown tag, and seal with no delegation that does not hold.
        if is_foreign || is_touched || !holds || name.contains("extra-tag") {
            continue;
        }
        let again = sealed_again(&message, original).unwrap();
        let (again, original) =
            (Seal::parse(again.as_bytes()).unwrap(), Seal::parse(original.as_bytes()).unwrap());
        assert_eq!(without_additions(again.statement), original.statement, "{name}");
        compared.push(name);
    }
    assert!(compared.len() >= 10, "{compared:?}");
}

/// What a seal stated before parts, parameters and links were listed, as the independent implementation makes it still.
fn without_additions(mut statement: Statement) -> Statement {
    statement.parts = None;
    statement.links = None;
    statement.manifest.entries.iter_mut().for_each(|entry| entry.parameters.clear());
    statement
}

/// What a list or relay may do leaves the manifest alone, so that both implementations hash the leaves alike.
#[test]
fn finds_the_leaves_that_the_independent_implementation_sealed() {
    let entries = |value: &str, with_texts: bool| -> Vec<Entry> {
        let manifest = without_additions(Seal::parse(value.as_bytes()).unwrap().statement).manifest;
        manifest.entries.into_iter().filter(|entry| with_texts || entry.kind == Kind::Attachment).collect()
    };
    let mut compared = 0;
    for (path, case) in vectors() {
        let expect = &case["expect"];
        // A footer added as a part puts another level around the leaves. HTML that readers offer as a file is sealed as one
        // since.
        let differs = path.ends_with("05-footer-as-part.eml") || path.ends_with("55-nested.eml");
        if expect["verdict"] != "pass" || differs {
            continue;
        }
        let message = fs::read(&path).unwrap();
        let original = &seals(&message)[0];
        // Seals with a list of parts are not the independent implementation's; what carries them was wrapped and rewritten.
        if Seal::parse(original.as_bytes()).unwrap().statement.parts.is_some() {
            continue;
        }
        let again = sealed_again(&message, original).unwrap();
        let with_texts = !matches!(expect["text"].as_str(), Some("changed" | "appended" | "prepended"));
        assert_eq!(entries(&again, with_texts), entries(original, with_texts), "{}", path.display());
        compared += 1;
    }
    assert!(compared >= 15, "only {compared}");
}

#[test]
fn a_seal_goes_on_top_and_nothing_else_is_touched() {
    let message = crlf(MESSAGE);
    let result = sealed(message.as_bytes());
    assert!(result.starts_with(b"Attachment-Seal: v=1; a=ed25519-blake3; d=example.org; s=gate1;"));
    assert!(result.ends_with(message.as_bytes()));
    assert_eq!(HeaderSection::parse(&result).fields[0].end, result.len() - message.len());
    let result = check(&result);
    assert_eq!(result.verdict(), Verdict::Pass, "{}", describe(&result));
    assert_eq!(result.attachments().len(), 1);
    assert_eq!(result.sealed_at(), Some(NOW));
}

#[test]
fn lines_of_a_seal_stay_within_78_columns() {
    let mut message = MESSAGE.replace("report.pdf", &"n".repeat(1500));
    message = crlf(&message);
    let field_length = sealed(message.as_bytes()).len() - message.len();
    let field = &sealed(message.as_bytes())[..field_length];
    assert!(field.split(|&octet| octet == b'\n').all(|line| line.len() <= 79));
    assert!(passes(&sealed(message.as_bytes())));
}

#[test]
fn sealing_again_replaces_our_seal_and_keeps_others() {
    let foreign = Sealer { domain: "partner.example".parse().unwrap(), ..sealer() };
    let message = crlf(MESSAGE);
    let twice =
        seal(&Message::new(message.as_bytes()), &foreign, moment()).unwrap().apply(message.as_bytes());
    let ours = sealed(&sealed(&sealed(&twice)));
    let found = seals(&ours);
    assert_eq!(found.len(), 2);
    assert!(found[0].contains(";d=example.org;") && found[1].contains(";d=partner.example;"), "{found:?}");
    assert_eq!(without_seals(&ours), message.as_bytes());
    assert!(passes(&ours));
}

#[test]
fn a_seal_of_ours_goes_wherever_it_stands_and_however_broken_it_is() {
    for (after, stray) in [
        ("Subject: Report\n", "Attachment-Seal: v=1; d=example.org\n"),
        ("MIME-Version: 1.0\n", "ATTACHMENT-SEAL : junk;\n d=exam\n\tple.org\n"),
        ("boundary=b\n", "attachment-seal: d=example.org;b=\n"),
    ] {
        let message = crlf(&MESSAGE.replace(after, &format!("{after}{stray}")));
        assert_eq!(without_seals(&sealed(message.as_bytes())), crlf(MESSAGE).as_bytes(), "{stray}");
        assert!(passes(&sealed(message.as_bytes())), "{stray}");
    }
}

#[test]
fn missing_date_and_message_id_are_added_below_the_seal_and_covered() {
    let bare = crlf(
        &MESSAGE
            .replace("Date: Mon, 23 Nov 2026 00:00:00 +0000\n", "")
            .replace("Message-ID: <1@example.org>\n", ""),
    );
    let result = sealed(bare.as_bytes());
    let header = HeaderSection::parse(&result);
    let names: Vec<_> =
        header.fields.iter().take(4).map(|field| String::from_utf8_lossy(field.name)).collect();
    assert_eq!(names, ["Attachment-Seal", "Date", "Message-ID", "From"]);
    assert_eq!(header.fields[1].unfolded(), b"Mon, 23 Nov 2026 00:00:00 +0000");
    assert!(header.fields[2].unfolded().ends_with(b"@example.org>"));
    assert!(passes(&result));
    let text = String::from_utf8(result).unwrap();
    for (from, to) in [("00:00:00 +", "00:00:01 +"), ("<1795392000.ab", "<1795392000.ac")] {
        let result = check(text.replace(from, to).as_bytes());
        assert_eq!(describe(&result), "fail other-message");
    }
    let only_date = crlf(&MESSAGE.replace("Message-ID: <1@example.org>\n", ""));
    let header_count = |message: &[u8]| HeaderSection::parse(message).fields.len();
    assert_eq!(header_count(&sealed(only_date.as_bytes())), header_count(only_date.as_bytes()) + 2);
}

#[test]
fn an_unclean_header_section_is_refused_with_its_line() {
    for (from, to, line, code) in [
        ("Subject: Report\n", "Subject: Report\njunk\n", 4, "junk-header-line"),
        ("Subject: Report\n", "Subject: Report\n \n", 4, "junk-header-line"),
        ("Subject: Report\n", "Subject: Re␀port\n", 3, "nul"),
        ("Subject: Report\n", "Subject: Re␊port\n", 3, "bare-line-end"),
        ("From: a@", "\tx\nFrom: a@", 1, "junk-header-line"),
        ("MIME-Version:", "Content_Type: a/b\nMIME-Version:", 6, "lookalike-field"),
        ("Content-Type:", "Content-Type :", 7, "space-before-colon"),
    ] {
        let message = crlf(&MESSAGE.replacen(from, to, 1));
        let Err(SealError::Unclean(fault)) = try_seal(message.as_bytes()) else {
            panic!("{to:?} was sealed")
        };
        assert_eq!((fault.line, fault.doubt.code()), (line, code), "{to:?}");
    }
}

fn with_leaves(count: usize) -> Vec<u8> {
    let start = crlf(MESSAGE).split_once("--b").unwrap().0.to_owned();
    format!("{start}{}--b--\r\n", "--b\r\n\r\nx\r\n".repeat(count)).into_bytes()
}

fn with_levels(count: usize) -> Vec<u8> {
    let head = MESSAGE.split_once("Content-Type:").unwrap().0;
    let open = |level| format!("Content-Type: multipart/mixed; boundary=b{level:03}\n\n--b{level:03}\n");
    let close = |level| format!("\n--b{level:03}--");
    let levels: String = (0..count).map(open).chain(["\nx".to_owned()]).collect();
    crlf(&(head.to_owned() + &levels + &(0..count).rev().map(close).collect::<String>() + "\n")).into_bytes()
}

#[test]
fn the_limits_of_a_seal_are_1000_leaves_and_100_levels() {
    assert!(passes(&sealed(&with_leaves(1000))));
    assert_eq!(try_seal(&with_leaves(1001)), Err(SealError::TooManyParts));
    assert!(passes(&sealed(&with_levels(100))));
    assert_eq!(try_seal(&with_levels(101)), Err(SealError::TooDeep));
}

/// Any message is sealed. A part that cannot be decoded passes as it was sealed, whatever happens to its neighbours; what
/// cannot be read of the message itself passes only with the message untouched.
#[test]
fn what_cannot_be_decoded_passes_only_untouched() {
    for (from, to, verdict) in [
        ("JVBERi0xLjQK", "JVBERi0xLjQ!", Verdict::Pass),
        ("Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: x-own", Verdict::Pass),
        ("name=report.pdf", "name*=nope''a", Verdict::Pass),
        ("boundary=b", "boundary=never", Verdict::Fail(Reason::Attachments)),
        ("--b--\n", "", Verdict::Ambiguous),
    ] {
        let message = crlf(&MESSAGE.replacen(from, to, 1));
        let result = sealed(message.as_bytes());
        assert!(passes(&result), "{to}");
        let touched = String::from_utf8(result).unwrap().replace("Here it is.", "Here it is!");
        assert_eq!(check(touched.as_bytes()).verdict(), verdict, "{to}");
    }
}

#[test]
fn messages_that_lack_nearly_everything_are_sealed() {
    for message in ["", "\n", "From: a@example.org\n", "From: a@example.org\n\n", "From: a@example.org\n\nx"]
    {
        let result = try_seal(crlf(message).as_bytes()).unwrap();
        let expected = if message.contains("From") { "pass" } else { "ambiguous bad-from" };
        assert_eq!(describe(&check(&result)), expected, "{message:?}");
    }
}
