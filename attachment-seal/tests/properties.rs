//! What must hold for any message: sealed it passes, honest changes keep it passing, and no change to an attachment does.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "messages/relay.rs"]
mod relay;
#[path = "messages/support.rs"]
mod support;

use attachment_seal::manifest::{self, Entry, Manifest};
use attachment_seal::message::header::HeaderSection;
use attachment_seal::mime::{self, Kind};
use attachment_seal::seal::format::{Seal, Statement};
use attachment_seal::verdict::Verdict;
use mail_parser::{MessageParser, MimeHeaders, PartType};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use relay::{CHANGES, base64_lines, quoted_printable};
use support::{check, codes, describe, passes, sealed, sealer};

/// A part to be written.
#[derive(Clone, Debug)]
enum Part {
    Text { html: bool, text: String, encoding: &'static str },
    File(File),
    Multipart { subtype: &'static str, parts: Vec<Part> },
}

#[derive(Clone, Debug)]
struct File {
    media_type: &'static str,
    name: Option<String>,
    name_form: u8,
    content: Vec<u8>,
    encoding: &'static str,
}

const HEAD: &str = "From: Office <office@example.org>\r\nTo: desk@partner.example\r\nSubject: Agenda\r\n\
    Date: Mon, 23 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n";

fn written(part: &Part) -> Vec<u8> {
    let mut out = HEAD.as_bytes().to_vec();
    write(part, &mut 0, &mut out);
    if !out.ends_with(b"\r\n") {
        // A quoted-printable body needs a soft line break there, for no delimiter takes the line end away.
        let soft: &[u8] = match part {
            Part::File(File { encoding: "quoted-printable", .. }) => b"=\r\n",
            _ => b"\r\n",
        };
        out.extend_from_slice(soft);
    }
    out
}

fn encoded(content: &[u8], encoding: &str, is_text: bool) -> Vec<u8> {
    match encoding {
        "base64" => base64_lines(content, 76),
        "quoted-printable" => quoted_printable(content, is_text),
        _ => content.to_vec(),
    }
}

fn write(part: &Part, boundaries: &mut usize, out: &mut Vec<u8>) {
    match part {
        Part::Text { html, text, encoding } => {
            let subtype = if *html { "html" } else { "plain" };
            let head = format!(
                "Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            out.extend_from_slice(head.as_bytes());
            out.extend(encoded(text.as_bytes(), encoding, true));
        }
        Part::File(file) => {
            let head = format!(
                "Content-Type: {}\r\nContent-Disposition: attachment{}\r\nContent-Transfer-Encoding: {}\r\n\r\n",
                file.media_type,
                file.name.as_deref().map_or(String::new(), |name| filename(name, file.name_form)),
                file.encoding,
            );
            out.extend_from_slice(head.as_bytes());
            out.extend(encoded(&file.content, file.encoding, false));
        }
        Part::Multipart { subtype, parts } => {
            *boundaries += 1;
            let boundary = format!("=_{boundaries}.part");
            let head = format!("Content-Type: multipart/{subtype}; boundary=\"{boundary}\"\r\n\r\n");
            out.extend_from_slice(head.as_bytes());
            for part in parts {
                out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
                write(part, boundaries, out);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(format!("--{boundary}--").as_bytes());
        }
    }
}

/// A name in one of the forms that programs use.
fn filename(name: &str, form: u8) -> String {
    let escaped = |start: char| name.bytes().map(|octet| format!("{start}{octet:02X}")).collect::<String>();
    match form {
        0 => format!("; filename*=utf-8''{}", escaped('%')),
        1 => format!("; filename=\"=?utf-8?Q?{}?=\"", escaped('=')),
        _ => format!("; filename=\"{name}\""),
    }
}

fn text() -> impl Strategy<Value = Part> {
    let lines =
        vec("[a-zA-Zäöü.,=]([a-zA-Zäöü.,= ]{0,60}[a-z.=])?", 0..4).prop_map(|lines| lines.join("\r\n"));
    let encoding = select(&["8bit", "quoted-printable", "base64"][..]);
    (any::<bool>(), lines, encoding).prop_map(|(html, text, encoding)| Part::Text { html, text, encoding })
}

fn file() -> impl Strategy<Value = Part> {
    let types =
        select(&["application/pdf", "application/octet-stream", "image/png", "application/vnd.x.y+zip"][..]);
    let name = proptest::option::of("[a-zA-Z0-9äßé][a-zA-Z0-9äßé ._,;()-]{0,20}[a-z]");
    let encoding = select(&["base64", "quoted-printable", "binary"][..]);
    (types, name, 0..3_u8, vec(any::<u8>(), 0..200), encoding).prop_map(
        |(media_type, name, name_form, mut content, encoding)| {
            if encoding == "binary" {
                // Nothing that reads as a delimiter behind a bare line end, or is cut off at the end.
                content.retain(|octet| !matches!(octet, b'-' | b'\r' | b'\n'));
            }
            Part::File(File { media_type, name, name_form, content, encoding })
        },
    )
}

fn any_multipart() -> impl Strategy<Value = Part> {
    prop_oneof![text(), file()].prop_recursive(3, 12, 4, |inner| {
        let subtypes = select(&["mixed", "mixed", "related", "alternative", "x-own"][..]);
        (subtypes, vec(inner, 1..4)).prop_map(|(subtype, parts)| Part::Multipart { subtype, parts })
    })
}

fn multipart() -> impl Strategy<Value = Part> {
    any_multipart().prop_map(|mut part| {
        keep_html_at_home(&mut part, &mut 0, false);
        part
    })
}

/// A mixed multipart with a file in it, so that there is something to attack.
fn with_file() -> impl Strategy<Value = Part> {
    (any_multipart(), file(), any_multipart()).prop_map(|(one, file, other)| {
        let mut part = Part::Multipart { subtype: "mixed", parts: vec![one, file, other] };
        keep_html_at_home(&mut part, &mut 0, false);
        part
    })
}

/// Makes plain text of HTML that would be offered as a file: it is neither the first leaf nor in an alternative with it.
fn keep_html_at_home(part: &mut Part, leaves: &mut usize, in_first_alternative: bool) {
    match part {
        Part::Text { html, .. } => {
            *html &= *leaves == 0 || in_first_alternative;
            *leaves += 1;
        }
        Part::File(_) => *leaves += 1,
        Part::Multipart { subtype, parts } => {
            let inside = in_first_alternative || *subtype == "alternative" && *leaves == 0;
            parts.iter_mut().for_each(|part| keep_html_at_home(part, leaves, inside));
        }
    }
}

fn files<'a>(part: &'a mut Part, out: &mut Vec<&'a mut File>) {
    match part {
        Part::Text { .. } => {}
        Part::File(file) => out.push(file),
        Part::Multipart { parts, .. } => parts.iter_mut().for_each(|part| files(part, out)),
    }
}

/// A change that some reader must see in the attachments.
#[derive(Clone, Debug)]
enum Tampering {
    Flip(Index, u8),
    Append(u8),
    Rename,
    Retype,
    Swap(Index),
    Remove,
    Double,
}

fn tampering() -> impl Strategy<Value = Tampering> {
    prop_oneof![
        (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Tampering::Flip(at, bits)),
        any::<u8>().prop_map(Tampering::Append),
        Just(Tampering::Rename),
        Just(Tampering::Retype),
        any::<Index>().prop_map(Tampering::Swap),
        Just(Tampering::Remove),
        Just(Tampering::Double),
    ]
}

/// Tampers with the part's files; the second part of the outermost multipart is a file.
fn tamper(part: &Part, which: Index, how: &Tampering) -> Part {
    let mut part = part.clone();
    if let Part::Multipart { parts, .. } = &mut part {
        match how {
            Tampering::Remove => drop(parts.remove(1)),
            Tampering::Double => parts.push(parts[1].clone()),
            _ => {}
        }
    }
    let mut found = Vec::new();
    files(&mut part, &mut found);
    if found.is_empty() {
        return part;
    }
    let other = match how {
        Tampering::Swap(other) => other.get(&found).content.clone(),
        _ => Vec::new(),
    };
    let at = which.index(found.len());
    let file = &mut found[at];
    match how {
        Tampering::Flip(at, bits) if !file.content.is_empty() => {
            let at = at.index(file.content.len());
            file.content[at] ^= bits;
            file.encoding = "base64";
        }
        Tampering::Append(octet) => {
            file.content.push(*octet);
            file.encoding = "base64";
        }
        Tampering::Rename => file.name = Some(format!("{}x", file.name.as_deref().unwrap_or_default())),
        Tampering::Retype => file.media_type = "application/x-msdownload",
        Tampering::Swap(_) => file.content = other,
        _ => {}
    }
    part
}

fn content_of(part: &Part) -> Vec<(String, String, Vec<u8>)> {
    let mut part = part.clone();
    let mut found = Vec::new();
    files(&mut part, &mut found);
    let key = |file: &mut &mut File| {
        (file.name.clone().unwrap_or_default(), file.media_type.to_owned(), file.content.clone())
    };
    let mut all: Vec<_> = found.iter_mut().map(key).collect();
    all.sort();
    all
}

/// The attachments that mail-parser finds, with their names and types.
fn extracted(message: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let parsed = MessageParser::new().parse(message).unwrap();
    let mut all: Vec<_> = parsed
        .parts
        .iter()
        .filter(|part| matches!(part.body, PartType::Binary(_) | PartType::InlineBinary(_)))
        .map(|part| {
            let kind = part.content_type().unwrap();
            let media_type = format!("{}/{}", kind.ctype(), kind.subtype().unwrap()).to_ascii_lowercase();
            (part.attachment_name().unwrap_or_default().to_owned(), media_type, part.contents().to_vec())
        })
        .collect();
    all.sort();
    all
}

fn seal_of(sealed: &[u8]) -> &[u8] {
    &sealed[..HeaderSection::parse(sealed).fields[0].end]
}

/// One edit of a message's octets; what is put in is what parsers trip over.
#[derive(Clone, Debug)]
enum Mutation {
    Put(Index, &'static [u8]),
    Cut(Index, usize),
    Flip(Index, u8),
    Copy(Index, Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let pieces: &[&'static [u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b"--",
        b"--=_1.part",
        b"\r\n--=_1.part\r\n",
        b"\r\n--=_1.part--",
        b"=",
        b"==",
        b";",
        b":",
        b"\"",
        b"(",
        b")",
        b"\\",
        b"*",
        b"%",
        b"=?",
        b"?=",
        b"AAAA",
        b"Content-Type: text/html\r\n",
        b"\r\n\r\n",
        b"boundary=x",
        b"\xff",
        b"base64",
        b"quoted-printable",
    ];
    prop_oneof![
        (any::<Index>(), select(pieces)).prop_map(|(at, piece)| Mutation::Put(at, piece)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Mutation::Cut(at, length)),
        (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        (any::<Index>(), any::<Index>(), 1..80_usize)
            .prop_map(|(from, to, length)| Mutation::Copy(from, to, length)),
    ]
}

/// Applies the mutations behind the seal.
fn mutated(message: &[u8], start: usize, mutations: &[Mutation]) -> Vec<u8> {
    let mut out = message.to_vec();
    for mutation in mutations {
        let place = |at: &Index, out: &[u8]| start + at.index(out.len() - start);
        match mutation {
            Mutation::Put(at, piece) => {
                let at = place(at, &out);
                out.splice(at..at, piece.iter().copied());
            }
            Mutation::Cut(at, length) => {
                let at = place(at, &out);
                out.drain(at..(at + length).min(out.len()));
            }
            Mutation::Flip(at, bits) => {
                let at = place(at, &out);
                out[at] ^= bits;
            }
            Mutation::Copy(from, to, length) => {
                let (from, to) = (place(from, &out), place(to, &out));
                let piece = out[from..(from + length).min(out.len())].to_vec();
                out.splice(to..to, piece);
            }
        }
        if out.len() <= start {
            break;
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_sealed_message_passes_and_is_intact(part in multipart()) {
        let result = check(&sealed(&written(&part)));
        prop_assert_eq!(result.verdict(), Verdict::Pass);
        prop_assert_eq!(result.attachments().len(), content_of(&part).len());
    }

    #[test]
    fn honest_changes_keep_it_passing(part in with_file(), one in any::<Index>(), other in any::<Index>()) {
        let message = sealed(&written(&part));
        for index in [one, other] {
            let (name, make, _) = CHANGES[index.index(CHANGES.len())];
            if let Some(changed) = make(&message) {
                let result = check(&changed);
                let remarks = result.remarks();
                prop_assert!(result.verdict() == Verdict::Pass, "{}: {} {:?}", name, describe(&result), remarks);
            }
        }
    }

    #[test]
    fn no_change_to_an_attachment_passes(
        part in with_file(), which in any::<Index>(), how in tampering(), change in any::<Index>(),
    ) {
        let original = sealed(&written(&part));
        let evil = tamper(&part, which, &how);
        if content_of(&evil) != content_of(&part) {
            let message = [seal_of(&original), &written(&evil)].concat();
            let result = check(&message);
            prop_assert!(matches!(result.verdict(), Verdict::Fail(_) | Verdict::Ambiguous), "{}", describe(&result));
            // Nor does it behind an honest change.
            let (_, make, _) = CHANGES[change.index(CHANGES.len())];
            prop_assert!(!make(&message).is_some_and(|changed| passes(&changed)));
        }
    }

    #[test]
    fn the_leaves_are_what_was_written(part in multipart()) {
        let message = written(&part);
        let leaves = mime::walk(&message, &HeaderSection::parse(&message)).leaves;
        let found = Manifest::of(&leaves, &manifest::digests(&message, &leaves)).entries;
        let mut hashes: Vec<_> = found
            .iter()
            .filter(|entry| entry.kind == Kind::Attachment)
            .map(|entry| (entry.name.clone(), entry.media_type.clone(), entry.hash.to_hex()))
            .collect();
        hashes.sort();
        // A part alone that is not base64 is hashed with its last line end (SPEC.md §6).
        let is_alone = matches!(&part, Part::File(file) if file.encoding != "base64");
        let mut expected: Vec<_> = content_of(&part)
            .into_iter()
            .map(|(name, media_type, mut content)| {
                if is_alone && !matches!(&part, Part::File(file) if file.encoding == "quoted-printable") {
                    content.extend_from_slice(b"\r\n");
                }
                (name, media_type, blake3::hash(&content).to_hex())
            })
            .collect();
        expected.sort();
        prop_assert_eq!(hashes, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_passes_holds_the_sealed_attachments(part in with_file(), mutations in vec(mutation(), 1..4)) {
        let original = sealed(&written(&part));
        let changed = mutated(&original, seal_of(&original).len(), &mutations);
        let result = check(&changed);
        if result.verdict() == Verdict::Pass {
            prop_assert!(codes(&result).is_empty());
            prop_assert_eq!(extracted(&changed), extracted(&original));
        }
    }

    #[test]
    fn a_damaged_seal_never_passes(at in any::<Index>(), bits in 1..=255_u8) {
        let original = sealed(HEAD.as_bytes());
        let mut damaged = original.clone();
        let value = 17..seal_of(&original).len() - 2;
        let at = value.start + at.index(value.len());
        damaged[at] ^= bits;
        let is_blank = |octet: u8| matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
        prop_assume!(!(is_blank(original[at]) && is_blank(damaged[at])));
        prop_assert!(!passes(&damaged));
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = select(&[Kind::Text, Kind::Attachment][..]);
    (kind, ".{0,12}", any::<u64>(), any::<[u8; 32]>(), "[a-z]{1,9}/[^;]{1,9}", ".{0,90}").prop_map(
        |(kind, path, size, hash, media_type, name)| Entry {
            kind,
            path,
            size,
            hash: hash.into(),
            media_type,
            parameters: ";charset=utf-8;format=flowed".to_owned(),
            name,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_seal_reads_as_it_was_written(
        entries in vec(entry(), 0..12), hashes in any::<[[u8; 32]; 4]>(), t in 0..999_999_999_998_u64,
        delegation in proptest::option::of("[A-Za-z0-9._-]{1,200}"), signature in vec(any::<u8>(), 64),
    ) {
        let [identity, addressing, structure, body] = hashes.map(blake3::Hash::from);
        let sealer = sealer();
        let statement = Statement {
            domain: sealer.domain, selector: sealer.selector, sealed_at: t, expires_at: t + 1, identity, addressing,
            structure, body, manifest: Manifest { entries }, parts: None, links: None,
            delegation,
        };
        let field = statement.to_field(&signature.clone().try_into().unwrap());
        let seal = Seal::parse(&field["Attachment-Seal:".len()..]).unwrap();
        prop_assert_eq!(&seal.statement, &statement);
        prop_assert_eq!(&seal.signature[..], &signature[..]);
        prop_assert_eq!(seal.signed, statement.signed());
        prop_assert!(field.split(|&octet| octet == b'\n').all(|line| line.len() <= 79));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Bodies are decoded in windows of 256 KiB; where they are cut must not show.
    #[test]
    fn long_attachments_hash_as_a_whole(
        seed in vec(any::<u8>(), 1..300), length in 190_000..800_000_usize, columns in 1..200_usize,
        encoding in select(&["base64", "quoted-printable", "binary"][..]),
    ) {
        let content: Vec<u8> = seed.iter().copied().cycle().take(length).filter(|octet| *octet != b'-').collect();
        let body = match encoding {
            "base64" => base64_lines(&content, columns * 4 - 3),
            encoding => encoded(&content, encoding, false),
        };
        let head = format!(
            "{HEAD}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/pdf\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\r\n"
        );
        let message = [head.as_bytes(), &body, b"\r\n--b--\r\n"].concat();
        let structure = mime::walk(&message, &HeaderSection::parse(&message));
        let found = manifest::digests(&message, &structure.leaves);
        prop_assert!(structure.limit.is_none() && found[0].damage.what().is_none());
        prop_assert_eq!(found[0].size, content.len() as u64);
        prop_assert_eq!(found[0].hash, blake3::hash(&content));
    }
}
