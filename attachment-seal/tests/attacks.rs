//! Attacks made by hand on a sealed message: none may pass. They follow the tricks known from the literature on parsers
//! that disagree (ambiguous fields, malformed structure, inconsistent decoding) and those on the seal itself.
//!
//! An attack replaces texts of the sealed message, the first occurrence of each. `␍`, `␊` and `␀` stand for a bare CR, a
//! bare LF and a NUL; other line ends become CR LF. The verdict expected is the beginning of what is found.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "messages/support.rs"]
mod support;

use attachment_seal::seal::key::SealingKey;
use attachment_seal::seal::message::Message;
use attachment_seal::seal::sign::{Moment, Sealer, seal};
use attachment_seal::verdict::Verdict;
use support::{NOW, check, crlf, describe, moment, sealed, sealer};

const MESSAGE: &str = r#"From: Office <office@example.org>
To: desk@partner.example
Subject: Agenda
Date: Mon, 23 Nov 2026 00:00:00 +0000
Message-ID: <1@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b1"

A multi-part message.
--b1
Content-Type: multipart/alternative; boundary="a1"

--a1
Content-Type: text/plain; charset=utf-8

The agenda is attached.
--a1
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<p>The agenda is attached.</p>
--a1--

--b1
Content-Type: application/pdf; name="Agenda.pdf"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="Agenda.pdf"

JVBERi0xLjQKJSBhZ2VuZGEKJSBhbmQgbW9yZQo=
--b1
Content-Type: text/csv; name="guests.csv"
Content-Transfer-Encoding: quoted-printable
Content-Disposition: attachment; filename="guests.csv"

name;city
J=C3=B6rg;Bern
--b1
Content-Type: text/plain
Content-Disposition: attachment

unnamed notes
--b1
Content-Type: application/octet-stream
Content-Transfer-Encoding: binary
Content-Disposition: attachment; filename="data.bin"

one--c1 two
--b1
Content-Type: message/rfc822

From: a@partner.example
Subject: inner

inner text
--b1
Content-Type: application/octet-stream; name="empty.bin"
Content-Disposition: attachment; filename="empty.bin"

--b1--
"#;

/// Why, what is replaced by what, and the beginning of the verdict.
type Attack<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

const PDF: &str = "JVBERi0xLjQKJSBhZ2VuZGEKJSBhbmQgbW9yZQo=";

fn attacked(base: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from_utf8(base.to_vec()).unwrap();
    for (from, to) in changes {
        let (from, to) = (crlf(from), crlf(to));
        assert!(text.contains(&from), "nothing to attack: {from:?}");
        text = text.replacen(&from, &to, 1);
    }
    text.into_bytes()
}

fn run(message: &str, attacks: &[Attack<'_>]) {
    let base = sealed(crlf(message).as_bytes());
    let mut failures = Vec::new();
    for (why, changes, expected) in attacks {
        let found = describe(&check(&attacked(&base, changes)));
        if found.starts_with("pass") || !found.starts_with(expected) {
            failures.push(format!("{why}: {found}, not {expected}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// The base itself passes, and so it does with a footer: what fails below fails for its own reason.
#[test]
fn the_message_under_attack_passes() {
    let base = sealed(crlf(MESSAGE).as_bytes());
    assert_eq!(describe(&check(&base)), format!("pass{}", " intact".repeat(6)));
    let footer = [
        ("attached.\n--a1", "attached.\n-- \nthe list\n--a1"),
        ("\n--b1--", "\n--b1\nContent-Type: text/plain\n\n-- \nthe list\n--b1--"),
    ];
    // An empty attachment goes on to be empty: the line end before a delimiter is the delimiter's.
    assert_eq!(describe(&check(&attacked(&base, &footer[..1]))), format!("pass{}", " intact".repeat(6)));
    assert_eq!(describe(&check(&attacked(&base, &footer))), format!("pass{}", " intact".repeat(6)));
}

#[test]
fn ambiguous_fields() {
    run(
        MESSAGE,
        &[
            (
                "two types, the second a multipart",
                &[(
                    "Content-Type: application/pdf;",
                    "Content-Type: multipart/mixed; boundary=\"q\"\nContent-Type: application/pdf;",
                )],
                "ambiguous duplicate-field",
            ),
            (
                "two types at the top",
                &[(
                    "Content-Type: multipart/mixed",
                    "Content-Type: text/plain\nContent-Type: multipart/mixed",
                )],
                "ambiguous duplicate-field",
            ),
            (
                "two equal encodings",
                &[(
                    "Content-Transfer-Encoding: base64\n",
                    "Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: base64\n",
                )],
                "ambiguous duplicate-field",
            ),
            (
                "two encodings that differ",
                &[(
                    "Content-Transfer-Encoding: base64\n",
                    "Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit\n",
                )],
                "ambiguous duplicate-field",
            ),
            (
                "two dispositions",
                &[(
                    "Content-Disposition: attachment; filename=\"Agenda.pdf\"",
                    "Content-Disposition: attachment; filename=\"Agenda.pdf\"\nContent-Disposition: inline; filename=\"Agenda.exe\"",
                )],
                "ambiguous duplicate-field",
            ),
            (
                "two versions",
                &[("MIME-Version: 1.0\n", "MIME-Version: 1.0\nMIME-Version: 1.0\n")],
                "ambiguous duplicate-field",
            ),
            ("another version", &[("MIME-Version: 1.0\n", "MIME-Version: 2.0\n")], "ambiguous mime-version"),
            (
                "a comment in a type",
                &[("application/pdf;", "application/pdf (x);")],
                "ambiguous comment-in-structure",
            ),
            (
                "a comment that opens in a boundary parameter",
                &[("mixed; boundary=\"b1\"", "mixed; (boundary=\"b0\"); boundary=\"b1\"")],
                "ambiguous",
            ),
            (
                "a comment before the encoding",
                &[("Encoding: base64", "Encoding: (x) base64")],
                "ambiguous comment-in-structure",
            ),
            (
                "a comment without its end",
                &[("Encoding: base64", "Encoding: base64 (x")],
                "ambiguous comment-in-structure",
            ),
            (
                "words after the encoding",
                &[("Encoding: base64", "Encoding: base64 7bit")],
                "ambiguous bad-encoding",
            ),
            (
                "a semicolon after the encoding",
                &[("Encoding: base64", "Encoding: base64;")],
                "ambiguous bad-encoding",
            ),
            (
                "a comma after the encoding",
                &[("Encoding: base64", "Encoding: base64, 7bit")],
                "ambiguous bad-encoding",
            ),
            (
                "quotes around the encoding",
                &[("Encoding: base64", "Encoding: \"base64\"")],
                "ambiguous bad-encoding",
            ),
            (
                "an encoded-word as encoding",
                &[("Encoding: base64", "Encoding: =?utf-8?Q?base64?=")],
                "ambiguous",
            ),
            (
                "uuencode as an encoding",
                &[("Encoding: base64", "Encoding: x-uuencode")],
                "ambiguous bad-encoding",
            ),
            ("no encoding at all", &[("Encoding: base64", "Encoding:")], "ambiguous bad-encoding"),
            (
                "an RFC 2231 boundary",
                &[("boundary=\"b1\"", "boundary*=us-ascii''b1")],
                "ambiguous encoded-structure",
            ),
            (
                "a split boundary",
                &[("boundary=\"b1\"", "boundary*0=b; boundary*1=1")],
                "ambiguous encoded-structure",
            ),
            (
                "both a plain and a split boundary",
                &[("boundary=\"b1\"", "boundary=\"b1\"; boundary*0=a; boundary*1=1")],
                "ambiguous encoded-structure",
            ),
            (
                "two boundaries",
                &[("boundary=\"b1\"", "boundary=\"b1\"; boundary=\"a1\"")],
                "ambiguous duplicate-parameter",
            ),
            ("an empty boundary", &[("boundary=\"b1\"", "boundary=\"\"")], "ambiguous"),
            ("no boundary", &[("; boundary=\"b1\"", "")], "ambiguous no-boundary"),
            ("another boundary", &[("boundary=\"b1\"", "boundary=\"b2\"")], "ambiguous no-boundary"),
            (
                "a boundary in another case",
                &[("boundary=\"b1\"", "boundary=\"B1\"")],
                "ambiguous no-boundary",
            ),
            ("a boundary folded in its quotes", &[("boundary=\"b1\"", "boundary=\"b\n 1\"")], "ambiguous"),
            ("a boundary with a blank at its end", &[("boundary=\"b1\"", "boundary=\"b1 \"")], "ambiguous"),
            (
                "blanks around the equals sign",
                &[("boundary=\"b1\"", "boundary = \"b1\"")],
                "ambiguous bad-type",
            ),
            ("a boundary with its quote open", &[("boundary=\"b1\"", "boundary=\"b1")], "ambiguous"),
            (
                "text after the boundary's quotes",
                &[("boundary=\"b1\"", "boundary=\"b1\"x")],
                "ambiguous bad-type",
            ),
            ("quotes inside the boundary", &[("boundary=\"b1\"", "boundary=b\"1\"")], "ambiguous"),
            ("a backslash in the boundary", &[("boundary=\"b1\"", "boundary=\"b\\1\"")], "ambiguous"),
            (
                "a type that is a list",
                &[("application/pdf;", "application/pdf, text/html;")],
                "ambiguous bad-type",
            ),
            ("a type without a subtype", &[("application/pdf;", "application;")], "ambiguous bad-type"),
            ("a type with blanks", &[("application/pdf;", "application / pdf;")], "ambiguous bad-type"),
            (
                "a near miss of multipart",
                &[("multipart/alternative", "multi-part/alternative")],
                "ambiguous bad-type",
            ),
            (
                "an encoded-word as type",
                &[("multipart/mixed;", "=?us-ascii?Q?multipart/mixed?=;")],
                "ambiguous",
            ),
        ],
    );
}

#[test]
fn header_tricks() {
    run(
        MESSAGE,
        &[
            (
                "an underscore",
                &[("Subject: Agenda", "Subject: Agenda\nContent_Type: text/plain")],
                "ambiguous lookalike-field",
            ),
            (
                "a letter less, in a part",
                &[(
                    "Content-Disposition: attachment; filename=\"Agenda.pdf\"",
                    "Content-Disposition: attachment; filename=\"Agenda.pdf\"\nContent-Tye: text/plain",
                )],
                "ambiguous lookalike-field",
            ),
            (
                "a blank before the colon",
                &[("Content-Type: application/pdf", "Content-Type : application/pdf")],
                "ambiguous space-before-colon",
            ),
            (
                "a tab before the colon, at the top",
                &[("MIME-Version:", "MIME-Version\t:")],
                "ambiguous space-before-colon",
            ),
            (
                "two colons",
                &[("Content-Type: application/pdf", "Content-Type:: application/pdf")],
                "ambiguous junk-header-line",
            ),
            (
                "a comment in a field's name",
                &[("Subject: Agenda", "Subject: Agenda\nContent-Type(x): text/plain")],
                "ambiguous lookalike-field",
            ),
            (
                "a field's name folded",
                &[("Subject: Agenda", "Subject: Agenda\nContent-\n Type: text/plain")],
                "ambiguous junk-header-line",
            ),
            (
                "a MIME field as a continuation",
                &[("Subject: Agenda", "Subject: Agenda\n Content-Type: text/plain")],
                "ambiguous lookalike-field",
            ),
            (
                "an encoding as a continuation, in a part",
                &[(
                    "Content-Transfer-Encoding: base64",
                    "X-Note: x\n\tContent-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64",
                )],
                "ambiguous lookalike-field",
            ),
            (
                "a line of blanks ends the header section early",
                &[("Subject: Agenda", "Subject: Agenda\n \nX: y")],
                "ambiguous junk-header-line",
            ),
            (
                "the same in a part",
                &[("Content-Transfer-Encoding: base64", "X: y\n\t\nContent-Transfer-Encoding: base64")],
                "ambiguous junk-header-line",
            ),
            (
                "a line without a colon",
                &[("Subject: Agenda", "Subject: Agenda\n.")],
                "ambiguous junk-header-line",
            ),
            (
                "an mbox line on top",
                &[("From: Office", "From office Mon Nov 23\nFrom: Office")],
                "ambiguous junk-header-line",
            ),
            (
                "a bare CR that ends a line for some",
                &[("Subject: Agenda", "Subject: Agenda␍Content-Type: text/plain")],
                "ambiguous bare-line-end",
            ),
            (
                "bare LFs that end the section for some",
                &[("Subject: Agenda", "Subject: Agenda␊␊text")],
                "ambiguous bare-line-end",
            ),
            ("a NUL where some stop reading", &[("Subject: Agenda", "Subject: Agenda␀")], "ambiguous nul"),
            ("a NUL in a part's field", &[("application/pdf;", "application/pdf␀;")], "ambiguous nul"),
            (
                "the header section ended early, all else as text",
                &[("Content-Type: multipart/mixed", "\nContent-Type: multipart/mixed")],
                "ambiguous field-in-body",
            ),
            (
                "an empty line before a part's fields",
                &[("--b1\nContent-Type: application/pdf", "--b1\n\nContent-Type: application/pdf")],
                "ambiguous field-in-body",
            ),
            (
                "two empty lines before a part's fields",
                &[("--b1\nContent-Type: application/pdf", "--b1\n\n\nContent-Type: application/pdf")],
                "ambiguous field-in-body",
            ),
            (
                "a byte order mark before a name",
                &[("--b1\nContent-Type: application/pdf", "--b1\n\u{feff}Content-Type: application/pdf")],
                "ambiguous junk-header-line",
            ),
            (
                "a letter that looks like another",
                &[("--b1\nContent-Type: application/pdf", "--b1\nC\u{43e}ntent-Type: application/pdf")],
                "ambiguous",
            ),
        ],
    );
}

#[test]
fn malformed_structure() {
    run(
        MESSAGE,
        &[
            (
                "a part in the epilogue",
                &[("\n--b1--\n", "\n--b1--\n--b1\nContent-Type: application/pdf\n\nx\n--b1--\n")],
                "ambiguous hidden-part",
            ),
            (
                "fields in the epilogue",
                &[("\n--b1--\n", "\n--b1--\n\nContent-Type: application/pdf\n\nx\n")],
                "ambiguous hidden-part",
            ),
            (
                "a part in the preamble",
                &[("A multi-part message.", "--b0\nContent-Type: application/pdf\n\nx")],
                "ambiguous hidden-part",
            ),
            (
                "a part in the epilogue of the inner multipart",
                &[("--a1--\n", "--a1--\n--a1\n\nx\n--a1--\n")],
                "ambiguous hidden-part",
            ),
            ("no end", &[("\n--b1--\n", "\n")], "ambiguous unclosed"),
            ("no end of the inner one", &[("--a1--\n\n", "")], "ambiguous unclosed"),
            ("the outer end inside the inner multipart", &[("--a1--\n", "--b1--\n--a1--\n")], "ambiguous"),
            ("more behind the end", &[("\n--b1--\n", "\n--b1--x\n")], "ambiguous"),
            (
                "more behind a delimiter",
                &[("--b1\nContent-Type: application/pdf", "--b1x\nContent-Type: application/pdf")],
                "ambiguous",
            ),
            (
                "a tab and more behind a delimiter",
                &[("--b1\nContent-Type: application/pdf", "--b1\tx\nContent-Type: application/pdf")],
                "ambiguous",
            ),
            (
                "a delimiter behind a bare LF",
                &[("unnamed notes", "unnamed notes␊--b1\n\nmore")],
                "ambiguous bare-line-end",
            ),
            (
                "a delimiter behind a bare CR",
                &[("unnamed notes", "unnamed notes␍--b1\n\nmore")],
                "ambiguous bare-line-end",
            ),
            (
                "a delimiter behind a bare LF in a binary part",
                &[("one--c1 two", "one--c1 two␊--b1\n\nmore")],
                "ambiguous bare-line-end",
            ),
            (
                "a delimiter that ends in a bare LF",
                &[("--b1\nContent-Type: text/csv", "--b1␊Content-Type: text/csv")],
                "ambiguous",
            ),
            ("a delimiter in mid-line", &[("unnamed notes", "unnamed --b1 notes")], "ambiguous views-differ"),
            (
                "a delimiter in a header section",
                &[("Content-Transfer-Encoding: base64\n", "Content-Transfer-Encoding: base64\n--b1\n")],
                "ambiguous delimiter-in-header",
            ),
            (
                "an inner boundary that begins as the outer one",
                &[
                    ("boundary=\"a1\"", "boundary=\"b1x\""),
                    ("--a1", "--b1x"),
                    ("\n--a1", "\n--b1x"),
                    ("--a1--", "--b1x--"),
                ],
                "ambiguous boundary-prefix",
            ),
            (
                "the same boundary twice",
                &[
                    ("boundary=\"a1\"", "boundary=\"b1\""),
                    ("--a1", "--b1"),
                    ("\n--a1", "\n--b1"),
                    ("--a1--", "--b1--"),
                ],
                "ambiguous",
            ),
            (
                "a multipart in base64",
                &[("boundary=\"a1\"\n", "boundary=\"a1\"\nContent-Transfer-Encoding: base64\n")],
                "ambiguous encoded-container",
            ),
            (
                "the whole message in quoted-printable",
                &[("boundary=\"b1\"\n", "boundary=\"b1\"\nContent-Transfer-Encoding: quoted-printable\n")],
                "ambiguous encoded-container",
            ),
            (
                "an attached message in base64",
                &[(
                    "Content-Type: message/rfc822\n",
                    "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n",
                )],
                "ambiguous encoded-container",
            ),
            (
                "a fragment",
                &[(
                    "Content-Type: message/rfc822\n",
                    "Content-Type: message/partial; id=x; number=1; total=1\n",
                )],
                "ambiguous partial-message",
            ),
            (
                "an external body",
                &[(
                    "Content-Type: message/rfc822\n",
                    "Content-Type: message/external-body; access-type=URL; URL=\"http://a.example/\"\n",
                )],
                "ambiguous partial-message",
            ),
            (
                "a multipart as a leaf",
                &[("Content-Type: application/pdf;", "Content-Type: multipart/x-pdf;")],
                "ambiguous no-boundary",
            ),
            (
                "a leaf with a boundary of its own",
                &[
                    ("Content-Type: text/csv;", "Content-Type: text/csv; boundary=\"q\";"),
                    ("name;city", "--q\n\nname;city"),
                ],
                "ambiguous bad-type",
            ),
            (
                "the message cut short in an attachment",
                &[("JVBERi0xLjQKJSBhZ2VuZGEK", "JVBERi0xLjQK")],
                "fail attachments",
            ),
            (
                "all cut off behind the text",
                &[("attached.\n--a1\n", "attached.\n--a1--\n--b1--\n")],
                "ambiguous",
            ),
        ],
    );
}

#[test]
fn inconsistent_decoding() {
    run(
        MESSAGE,
        &[
            ("data behind the padding", &[("bW9yZQo=", "bW9yZQo=AAAA")], "ambiguous bad-base64"),
            ("padding in the middle", &[("JVBERi0xLjQK", "JVBERi0xLg==")], "ambiguous bad-base64"),
            ("no padding", &[("bW9yZQo=", "bW9yZQo")], "ambiguous bad-base64"),
            ("too much padding", &[("bW9yZQo=", "bW9yZQo==")], "ambiguous bad-base64"),
            ("bits behind the end", &[("bW9yZQo=", "bW9yZQp=")], "ambiguous bad-base64"),
            ("a lone symbol", &[("bW9yZQo=", "bW9yZQoKA")], "ambiguous bad-base64"),
            ("a symbol that some skip", &[("JVBERi0x", "JVBE!Ri0x")], "ambiguous bad-base64"),
            ("symbols of base64url", &[("JVBERi0x", "JVBE-i0x")], "ambiguous bad-base64"),
            ("a dash line", &[("JVBERi0x", "JVBERi0x\n--\n")], "ambiguous bad-base64"),
            ("a form feed", &[("JVBERi0x", "JVBE\x0cRi0x")], "ambiguous bad-base64"),
            ("a NUL in base64", &[("JVBERi0x", "JVBE␀Ri0x")], "ambiguous nul"),
            ("a bare LF in base64", &[("JVBERi0x", "JVBE␊Ri0x")], "ambiguous bare-line-end"),
            ("an escape that is none", &[("J=C3=B6rg", "J=C3=B6rg=XX")], "ambiguous bad-qp"),
            ("half an escape", &[("Bern\n", "Bern=4\n")], "ambiguous bad-qp"),
            ("blanks behind a soft line break", &[("Bern\n", "Ber= \nn\n")], "ambiguous bad-qp"),
            (
                "blanks at a line's end, which some keep",
                &[("name;city\n", "name;city \n")],
                "ambiguous bad-qp",
            ),
            ("blanks at the last line's end", &[("Bern\n", "Bern \t\n")], "ambiguous bad-qp"),
            ("a raw octet", &[("J=C3=B6rg", "Jörg")], "ambiguous bad-qp"),
            (
                "an octet of 8 bits in a 7bit part",
                &[("unnamed notes", "unnamed nötes")],
                "ambiguous eight-bit",
            ),
            ("a NUL in a 7bit part", &[("unnamed notes", "unnamed␀notes")], "ambiguous nul"),
            (
                "another charset for a text",
                &[("text/plain; charset=utf-8", "text/plain; charset=utf-7")],
                "ambiguous text-charset",
            ),
            (
                "another charset for an attachment",
                &[("text/csv; ", "text/csv; charset=utf-7; ")],
                "ambiguous text-charset",
            ),
            (
                "UTF-16 without a mark",
                &[("text/csv; ", "text/csv; charset=UTF-16LE; ")],
                "ambiguous text-charset",
            ),
            (
                "an RFC 2231 charset",
                &[("text/csv; ", "text/csv; charset*=us-ascii''utf-7; ")],
                "ambiguous text-charset",
            ),
            (
                "two charsets",
                &[("charset=utf-8", "charset=utf-8; charset=iso-2022-jp")],
                "ambiguous duplicate-parameter",
            ),
            (
                "an escape to another charset",
                &[("The agenda is", "The \x1b$Bagenda\x1b(B is")],
                "ambiguous text-charset",
            ),
            (
                "uuencode in a text",
                &[("The agenda is attached.\n", "begin 644 Agenda.exe\n#0V%T\n`\nend\n")],
                "ambiguous embedded-file",
            ),
            (
                "uuencode with many blanks",
                &[("The agenda is attached.\n", "begin 644   Agenda.exe\n#0V%T\n`\nend\n")],
                "ambiguous embedded-file",
            ),
            (
                "uuencode in escapes",
                &[("<p>The agenda", "=62egin 644 Agenda.exe\n#0V%T\n`\nend\n<p>")],
                "ambiguous embedded-file",
            ),
            (
                "uuencode in an added text",
                &[(
                    "\n--b1--",
                    "\n--b1\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nYmVnaW4gNjQ0IHJ1bi5leGUKIzBWJVQKYAplbmQK\n--b1--",
                )],
                "ambiguous embedded-file",
            ),
            (
                "yEnc in a text",
                &[("The agenda is attached.\n", "=ybegin line=128 size=3 name=a.exe\nxxx\n=yend size=3\n")],
                "ambiguous embedded-file",
            ),
            (
                "BinHex in a text",
                &[("The agenda is attached.\n", "(This file must be converted with BinHex 4.0)\n:abc:\n")],
                "ambiguous embedded-file",
            ),
            (
                "a data URL in a text",
                &[("<p>The agenda", "<a href=3D\"data:application/pdf;base64,JVBERi0=\">The agenda")],
                "ambiguous",
            ),
        ],
    );
}

#[test]
fn names() {
    run(
        MESSAGE,
        &[
            (
                "renamed",
                &[
                    ("name=\"Agenda.pdf\"", "name=\"Agenda.exe\""),
                    ("filename=\"Agenda.pdf\"", "filename=\"Agenda.exe\""),
                ],
                "fail attachments renamed",
            ),
            (
                "another name for some",
                &[("name=\"Agenda.pdf\"", "name=\"Agenda.exe\"")],
                "ambiguous name-conflict",
            ),
            (
                "an extended name that differs",
                &[("filename=\"Agenda.pdf\"", "filename=\"Agenda.pdf\"; filename*=utf-8''Agenda.exe")],
                "ambiguous duplicate-parameter",
            ),
            (
                "an extended name of Content-Type that differs",
                &[("name=\"Agenda.pdf\"", "name=\"Agenda.pdf\"; name*=utf-8''Agenda.exe")],
                "ambiguous duplicate-parameter",
            ),
            (
                "two names",
                &[("filename=\"Agenda.pdf\"", "filename=\"Agenda.pdf\"; filename=\"Agenda.exe\"")],
                "ambiguous duplicate-parameter",
            ),
            (
                "a split name out of order",
                &[("filename=\"Agenda.pdf\"", "filename*1=.pdf; filename*0=Agenda")],
                "ambiguous duplicate-parameter",
            ),
            (
                "a split name with a gap",
                &[("filename=\"Agenda.pdf\"", "filename*0=Agenda.pdf; filename*2=.exe")],
                "ambiguous duplicate-parameter",
            ),
            (
                "a split name and a plain one",
                &[("filename=\"Agenda.pdf\"", "filename=\"Agenda.pdf\"; filename*0=Agenda; filename*1=.exe")],
                "ambiguous duplicate-parameter",
            ),
            (
                "a section with leading zeros",
                &[("filename=\"Agenda.pdf\"", "filename*00=Agenda.pdf; filename*01=.exe")],
                "ambiguous duplicate-parameter",
            ),
            (
                "text turned around",
                &[("filename=\"Agenda.pdf\"", "filename*=utf-8''Agenda%E2%80%AEfdp.exe")],
                "ambiguous name-conflict",
            ),
            (
                "a NUL in the name",
                &[
                    ("name=\"Agenda.pdf\"\n", "x=y\n"),
                    ("filename=\"Agenda.pdf\"", "filename*=utf-8''Agenda.pdf%00.exe"),
                ],
                "ambiguous bad-name",
            ),
            (
                "an unknown charset",
                &[
                    ("name=\"Agenda.pdf\"\n", "x=y\n"),
                    ("filename=\"Agenda.pdf\"", "filename*=x-own''Agenda.pdf"),
                ],
                "ambiguous bad-name",
            ),
            (
                "an encoded-word inside the extended form",
                &[
                    ("name=\"Agenda.pdf\"\n", "x=y\n"),
                    ("filename=\"Agenda.pdf\"", "filename*=utf-8''%3D%3Futf-8%3FQ%3FAgenda.pdf%3F%3D"),
                ],
                "fail attachments renamed",
            ),
            (
                "a backslash that some keep",
                &[
                    ("name=\"Agenda.pdf\"\n", "x=y\n"),
                    ("filename=\"Agenda.pdf\"", "filename=\"Agenda\\.pdf\""),
                ],
                "ambiguous",
            ),
            (
                "a name where some look for one: a disposition's `name`",
                &[(
                    "Content-Type: text/plain; charset=utf-8\n",
                    "Content-Type: text/plain; charset=utf-8\nContent-Disposition: inline; name=\"run.exe\"\n",
                )],
                "ambiguous name-conflict",
            ),
            (
                "a name where some look for one: a type's `filename`",
                &[("text/plain; charset=utf-8", "text/plain; charset=utf-8; filename=\"run.exe\"")],
                "ambiguous name-conflict",
            ),
            (
                "a disposition's `name` beside the file name",
                &[("filename=\"Agenda.pdf\"", "filename=\"Agenda.pdf\"; name=\"Agenda.exe\"")],
                "ambiguous name-conflict",
            ),
            (
                "a name with blanks and no quotes",
                &[("filename=\"Agenda.pdf\"", "filename=Agenda.pdf .exe")],
                "ambiguous",
            ),
            (
                "a name with its quote open",
                &[("filename=\"Agenda.pdf\"", "filename=\"Agenda.pdf")],
                "ambiguous bad-disposition",
            ),
            (
                "more behind the name's quotes",
                &[("filename=\"Agenda.pdf\"", "filename=\"Agenda.pdf\".exe")],
                "ambiguous bad-disposition",
            ),
            (
                "a name for the nameless",
                &[(
                    "Content-Disposition: attachment\n",
                    "Content-Disposition: attachment; filename=notes.exe\n",
                )],
                "fail attachments",
            ),
            (
                "no name any more",
                &[("; name=\"Agenda.pdf\"", ""), ("; filename=\"Agenda.pdf\"", "")],
                "fail attachments",
            ),
            (
                "blanks in the name",
                &[
                    ("name=\"Agenda.pdf\"", "name=\"Agenda.pdf \""),
                    ("filename=\"Agenda.pdf\"", "filename=\"Agenda.pdf \""),
                ],
                "fail attachments renamed",
            ),
            ("another type", &[("application/pdf;", "application/x-msdownload;")], "fail attachments"),
        ],
    );
}

const ADDED: &str =
    "\n--b1\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=x.pdf\n\nx\n--b1--";

#[test]
fn attachments_altered_added_removed_moved() {
    let pdf_part: String = MESSAGE.split("--b1\n").nth(2).unwrap().to_owned();
    let csv_part: String = MESSAGE.split("--b1\n").nth(3).unwrap().to_owned();
    let twice = format!("--b1\n{pdf_part}--b1\n{pdf_part}");
    let once = format!("--b1\n{pdf_part}");
    let in_alternative = format!("--a1\n{pdf_part}--a1--");
    let swapped = csv_part.replace("guests.csv", "Agenda.pdf");
    let (once, csv_part): (&str, &str) = (&once, &csv_part);
    run(
        MESSAGE,
        &[
            ("one bit", &[("JVBERi0x", "JVBFRi0x")], "fail attachments altered"),
            ("added", &[("\n--b1--", ADDED)], "fail attachments"),
            ("removed", &[(once, "")], "fail attachments removed"),
            ("twice", &[(once, &twice)], "fail attachments"),
            (
                "into the alternative",
                &[(once, ""), ("--a1--", &in_alternative)],
                "ambiguous container-changed",
            ),
            ("in the alternative as well", &[("--a1--", &in_alternative)], "ambiguous container-changed"),
            (
                "the alternative made mixed and all made alternative",
                &[
                    ("multipart/mixed", "multipart/alternative"),
                    ("multipart/alternative; boundary=\"a1\"", "multipart/mixed; boundary=\"a1\""),
                ],
                "ambiguous container-changed",
            ),
            (
                "mixed made related",
                &[("multipart/mixed", "multipart/related")],
                "ambiguous container-changed",
            ),
            (
                "html out of its alternative",
                &[("multipart/alternative", "multipart/mixed")],
                "ambiguous container-changed",
            ),
            ("mixed made signed", &[("multipart/mixed", "multipart/signed")], "ambiguous container-changed"),
            (
                "mixed made a type nobody knows",
                &[("multipart/mixed", "multipart/x-own")],
                "ambiguous container-changed",
            ),
            (
                "one attachment under the other's name",
                &[(once, ""), (csv_part, &swapped)],
                "fail attachments",
            ),
            (
                "html added",
                &[("\n--b1--", "\n--b1\nContent-Type: text/html\n\n<b>x</b>\n--b1--")],
                "fail attachments",
            ),
            (
                "html added in the alternative",
                &[("--a1--", "--a1\nContent-Type: text/html\n\n<b>x</b>\n--a1--")],
                "fail attachments",
            ),
            (
                "the text made html",
                &[("text/plain; charset=utf-8", "text/html; charset=utf-8")],
                "fail attachments",
            ),
            (
                "the html text once more",
                &[("\n--b1--", "\n--b1\nContent-Type: text/html\n\n<p>The agenda is attached.</p>\n--b1--")],
                "fail attachments",
            ),
            (
                "the plain text once more, as something to save",
                &[(
                    "\n--b1--",
                    "\n--b1\nContent-Type: text/plain\nContent-Disposition: x-own\n\nThe agenda is attached.\n--b1--",
                )],
                "fail attachments",
            ),
            (
                "a text to save",
                &[(
                    "\n--b1--",
                    "\n--b1\nContent-Type: text/plain\nContent-Disposition: attachment\n\nx\n--b1--",
                )],
                "fail attachments",
            ),
            (
                "a text with a name",
                &[("\n--b1--", "\n--b1\nContent-Type: text/plain; name=x.txt\n\nx\n--b1--")],
                "fail attachments",
            ),
            (
                "a text in a disposition nobody knows",
                &[("\n--b1--", "\n--b1\nContent-Type: text/plain\nContent-Disposition: x-own\n\nx\n--b1--")],
                "fail attachments",
            ),
            (
                "rich text added",
                &[("\n--b1--", "\n--b1\nContent-Type: text/enriched\n\nx\n--b1--")],
                "fail attachments",
            ),
            (
                "a calendar added",
                &[("\n--b1--", "\n--b1\nContent-Type: text/calendar\n\nBEGIN:VCALENDAR\n--b1--")],
                "fail attachments",
            ),
            (
                "TNEF added",
                &[(
                    "\n--b1--",
                    "\n--b1\nContent-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\nInjfPg==\n--b1--",
                )],
                "fail attachments",
            ),
            (
                "the text made an attachment",
                &[(
                    "Content-Type: text/plain; charset=utf-8\n",
                    "Content-Type: text/plain; charset=utf-8\nContent-Disposition: attachment\n",
                )],
                "fail attachments",
            ),
            (
                "the text given a name",
                &[("text/plain; charset=utf-8", "text/plain; charset=utf-8; name=run.txt")],
                "fail attachments",
            ),
            (
                "the html text made an attachment",
                &[(
                    "Content-Type: text/html; charset=utf-8\n",
                    "Content-Type: text/html; charset=utf-8\nContent-Disposition: attachment\n",
                )],
                "fail attachments",
            ),
            (
                "an attachment made text",
                &[("Content-Disposition: attachment\n\nunnamed", "\nunnamed")],
                "fail attachments",
            ),
            (
                "an attachment hidden as text",
                &[
                    ("Content-Type: text/csv; name=\"guests.csv\"", "Content-Type: text/plain"),
                    ("Content-Disposition: attachment; filename=\"guests.csv\"\n", ""),
                ],
                "fail attachments",
            ),
            (
                "an empty attachment filled",
                &[("filename=\"empty.bin\"\n\n", "filename=\"empty.bin\"\n\nMZ\n")],
                "fail attachments",
            ),
            (
                "an empty attachment gone",
                &[(
                    "--b1\nContent-Type: application/octet-stream; name=\"empty.bin\"\nContent-Disposition: attachment; filename=\"empty.bin\"\n\n",
                    "",
                )],
                "fail attachments",
            ),
            ("an attached message changed", &[("inner text", "inner test")], "fail attachments"),
            (
                "an attached message with one more field",
                &[("Subject: inner", "Subject: inner\nX: y")],
                "fail attachments",
            ),
            ("a line end less", &[("city\n", "city=\n")], "fail attachments"),
        ],
    );
}

#[test]
fn two_tricks_at_once() {
    run(
        MESSAGE,
        &[
            (
                "swapped and hidden in another encoding",
                &[(PDF, "AAAA"), ("Encoding: base64", "Encoding: base64 (x) ")],
                "fail attachments",
            ),
            (
                "wrapped in a list's level, one bit changed",
                &[
                    (
                        "Content-Type: multipart/mixed; boundary=\"b1\"\n",
                        "Content-Type: multipart/mixed; boundary=\"m\"\n\n--m\nContent-Type: multipart/mixed; boundary=\"b1\"\n",
                    ),
                    ("\n--b1--\n", "\n--b1--\n\n--m\n\nfooter\n--m--\n"),
                    ("JVBERi0x", "JVBFRi0x"),
                ],
                "fail attachments",
            ),
            (
                "wrapped in an alternative that shows only the footer",
                &[
                    (
                        "Content-Type: multipart/mixed; boundary=\"b1\"\n",
                        "Content-Type: multipart/alternative; boundary=\"m\"\n\n--m\nContent-Type: multipart/mixed; boundary=\"b1\"\n",
                    ),
                    ("\n--b1--\n", "\n--b1--\n\n--m\n\nfooter\n--m--\n"),
                ],
                "ambiguous container-changed",
            ),
            (
                "retitled, with one attachment more",
                &[("Subject: Agenda", "Subject: [list] Agenda"), ("\n--b1--", ADDED)],
                "fail attachments",
            ),
            (
                "a footer and a name",
                &[
                    ("attached.\n--a1", "attached.\n-- \nfooter\n--a1"),
                    ("filename=\"guests.csv\"", "filename=\"guests.exe\""),
                ],
                "ambiguous name-conflict",
            ),
            (
                "a new boundary, and a part of the old one",
                &[
                    ("boundary=\"a1\"", "boundary=\"n1\""),
                    ("--a1", "--n1"),
                    ("\n--a1", "\n--n1"),
                    ("--a1--", "--n1--\n--a1\nContent-Type: application/pdf\n\nx\n--a1--"),
                ],
                "ambiguous hidden-part",
            ),
        ],
    );
}

#[test]
fn authors_and_identity() {
    run(
        MESSAGE,
        &[
            (
                "another From on top",
                &[("From: Office", "From: ceo@evil.example\nFrom: Office")],
                "ambiguous bad-from",
            ),
            ("another From below", &[("To: desk", "From: ceo@evil.example\nTo: desk")], "ambiguous bad-from"),
            (
                "the same From twice",
                &[("To: desk", "From: Office <office@example.org>\nTo: desk")],
                "ambiguous bad-from",
            ),
            (
                "a blank before From's colon",
                &[("From: Office", "From : ceo@evil.example\nFrom: Office")],
                "ambiguous bad-from",
            ),
            (
                "two addresses",
                &[("From: Office <office@example.org>", "From: ceo@evil.example, office@example.org")],
                "ambiguous bad-from",
            ),
            (
                "a group",
                &[("From: Office <office@example.org>", "From: Office: office@example.org;")],
                "ambiguous bad-from",
            ),
            (
                "two angle brackets",
                &[("From: Office <office@example.org>", "From: <ceo@evil.example> <office@example.org>")],
                "ambiguous bad-from",
            ),
            (
                "an address as display name",
                &[("From: Office", "From: ceo@evil.example")],
                "ambiguous bad-from",
            ),
            (
                "an encoded display name",
                &[("From: Office", "From: =?utf-8?Q?ceo=40evil.example?=")],
                "fail other-message",
            ),
            (
                "another author of the domain",
                &[("office@example.org", "ceo@example.org")],
                "fail other-message",
            ),
            ("a subdomain", &[("office@example.org", "office@sub.example.org")], "fail other-message"),
            (
                "a comment that hides an address",
                &[("From: Office <office@example.org>", "From: ceo@evil.example (<office@example.org>)")],
                "unaligned",
            ),
            ("no author", &[("From: Office <office@example.org>\n", "")], "ambiguous bad-from"),
            (
                "another date",
                &[("Mon, 23 Nov 2026 00:00:00", "Mon, 23 Nov 2026 00:00:01")],
                "fail other-message",
            ),
            ("two dates", &[("Date:", "Date: Mon, 23 Nov 2026 00:00:00 +0000\nDate:")], "fail other-message"),
            (
                "two message ids",
                &[("Message-ID:", "Message-ID: <1@example.org>\nMessage-ID:")],
                "fail other-message",
            ),
            ("no message id", &[("Message-ID: <1@example.org>\n", "")], "fail other-message"),
        ],
    );
}

fn seal_field(sealed: &[u8]) -> String {
    let text = std::str::from_utf8(sealed).unwrap();
    text[..text.find("From: ").unwrap()].to_owned()
}

#[test]
fn seals_moved_and_edited() {
    let base = sealed(crlf(MESSAGE).as_bytes());
    let text = String::from_utf8(base.clone()).unwrap();
    let other = sealed(crlf(&MESSAGE.replace("<1@", "<2@").replace(PDF, "AAAA")).as_bytes());
    let field = seal_field(&base);
    let judged = |message: &str| describe(&check(message.as_bytes()));

    assert_eq!(judged(&text.replace(&field, "")), "missing");
    assert!(judged(&text.replace(&field, &seal_field(&other))).starts_with("fail other-message"));
    // Two seals: the first that verifies counts, so a stale one on top is not hidden behind.
    assert!(judged(&(seal_field(&other) + &text)).starts_with("fail other-message"));
    assert!(judged(&text.replace(&field, &(field.clone() + &seal_field(&other)))).starts_with("pass"));
    assert!(judged(&(field.repeat(8) + &text)).starts_with("fail too-many-seals"));
    for (from, to) in [
        ("a=ed25519-blake3", "a=ed25519-blake2"),
        ("v=1;", "v=1; v=1;"),
        ("v=1;", "v=1; z=1;"),
        ("t:mixed.alt", "a:mixed.alt"),
        ("t=17953", "t=17954"),
        ("s=gate1", "s=gate2"),
        ("\r\nFrom: ", "A\r\nFrom: "),
        ("\r\nFrom: ", ";\r\nFrom: "),
    ] {
        let found = judged(&text.replacen(from, to, 1));
        assert!(found.starts_with("fail") || found.starts_with("key-changed"), "{to}: {found}");
    }
}

#[test]
fn seals_by_other_keys_and_domains() {
    let message = crlf(MESSAGE);
    let by = |domain: &str, seed: u8, now: u64, message: &[u8]| {
        let key = SealingKey::from_seed(&[seed; 32]);
        let sealer = Sealer { domain: domain.parse().unwrap(), key, ..sealer() };
        seal(&Message::new(message), &sealer, Moment { now, ..moment() }).unwrap().apply(message)
    };
    let evil = attacked(message.as_bytes(), &[(PDF, "AAAA")]);
    let genuine = sealed(message.as_bytes());
    let genuine_seal = seal_field(&genuine);
    for (why, attack, expected) in [
        ("another key", by("example.org", 2, NOW, &evil), "fail bad-signature"),
        ("a domain nearer to nobody", by("evil.example", 2, NOW, &evil), "missing"),
        ("below the author's domain", by("gate.example.org", 2, NOW, &evil), "missing"),
        ("a public suffix", by("org", 2, NOW, &evil), "missing"),
        ("dated ahead", by("example.org", 1, NOW + 3600, &evil), "fail future-seal"),
        (
            "a genuine seal below a forged one",
            by("evil.example", 2, NOW, &[genuine_seal.as_bytes(), &evil].concat()),
            "fail attachments",
        ),
    ] {
        let found = describe(&check(&attack));
        assert!(found.starts_with(expected), "{why}: {found}");
    }
    let stale = by("example.org", 1, NOW - 30 * 24 * 3600, message.as_bytes());
    assert_eq!(check(&stale).verdict, Verdict::Expired);
}

/// A message of one part: its header section is all the structure there is.
#[test]
fn a_message_without_parts() {
    let message =
        "From: a@example.org\nDate: Mon, 23 Nov 2026 00:00:00 +0000\nMessage-ID: <1@example.org>\n\nHello.\n";
    run(
        message,
        &[
            ("made html", &[("\n\nHello", "\nContent-Type: text/html\n\nHello")], "fail attachments"),
            (
                "made an attachment",
                &[("\n\nHello", "\nContent-Disposition: attachment\n\nHello")],
                "fail attachments",
            ),
            (
                "given a name",
                &[("\n\nHello", "\nContent-Type: text/plain; name=a.exe\n\nHello")],
                "fail attachments",
            ),
            (
                "made an application",
                &[("\n\nHello", "\nContent-Type: application/pdf\n\nHello")],
                "fail attachments",
            ),
            (
                "made a multipart",
                &[(
                    "\n\nHello.",
                    "\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/pdf\n\nx\n--b--",
                )],
                "fail attachments",
            ),
            (
                "made a message",
                &[("\n\nHello.", "\nContent-Type: message/rfc822\n\nSubject: x\n\nx")],
                "fail attachments",
            ),
            (
                "given a file",
                &[("Hello.\n", "Hello.\nbegin 644 a.exe\n#0V%T\n`\nend\n")],
                "ambiguous embedded-file",
            ),
            ("given fields", &[("Hello.", "Content-Type: application/pdf\n\nx")], "ambiguous field-in-body"),
        ],
    );
}
