//! The reports, of messages by somebody who wants them to do harm in a browser or a spreadsheet.

use std::fs;
use std::process::Command;

use html5gum::{StartTag, Token, Tokenizer};

use crate::program::desk::Desk;
use crate::program::run::{Run, works};
use crate::program::{Ended, letter, skip};

const SCRIPT: &str = "<script>alert(1)</script>";
const IMAGE: &str = "\"'><img src=x onerror=alert(2)>";

/// An encoded-word: what a mail program decodes, and so what a report shows.
fn encoded(text: &str) -> String {
    let quoted: String = text.bytes().map(|octet| format!("={octet:02X}")).collect();
    format!("=?utf-8?Q?{quoted}?=")
}

/// A letter with these texts in every place that a report shows, sealed, its attachment swapped.
fn hostile(desk: &Desk, subject: &str, name: &str, message_id: &str) -> String {
    let text = String::from_utf8(letter::with_attachments("SUBJECT")).unwrap();
    let text = text
        .replace("Subject: SUBJECT", &format!("Subject: {}", encoded(subject)))
        .replace("<SUBJECT@example.org>", message_id)
        .replace("From: Office <", &format!("From: {} <", encoded(name)))
        .replace("Date: Mon, 23 Nov 2026 09:00:00 +0000", &format!("Date: {message_id}"))
        .replace("Budget.csv", &encoded(name));
    let ended = desk.seal(text.as_bytes());
    assert_eq!(ended.status, 0, "{ended:?}");
    letter::swapped(ended.text())
}

fn scan(desk: &Desk) -> Ended {
    desk.run(&["scan", "--keys", "pins", "--no-dns", "store", "--report", "scan.html", "--csv", "scan.csv"])
}

/// A page, as a browser takes it apart: its elements, and its text.
fn taken_apart(page: &str) -> (Vec<StartTag<()>>, String) {
    let (mut tags, mut text) = (Vec::new(), String::new());
    for token in Tokenizer::new(page) {
        match token.unwrap() {
            Token::StartTag(tag) => tags.push(tag),
            Token::String(string) => text += &String::from_utf8_lossy(&string),
            Token::EndTag(_) => {}
            Token::Doctype(doctype) => assert_eq!(doctype.name.as_slice(), b"html"),
            token @ (Token::Comment(_) | Token::Error(_)) => panic!("{token:?}"),
        }
    }
    (tags, text)
}

/// The elements of a report, with the attributes that each may have.
const ELEMENTS: [(&str, &[&str]); 19] = [
    ("html", &["lang"]),
    ("head", &[]),
    ("meta", &["charset", "http-equiv", "content", "name"]),
    ("title", &[]),
    ("style", &[]),
    ("body", &[]),
    ("h1", &[]),
    ("h2", &[]),
    ("h3", &[]),
    ("div", &["class"]),
    ("b", &[]),
    ("p", &[]),
    ("table", &[]),
    ("tr", &[]),
    ("th", &[]),
    ("td", &["class"]),
    ("span", &["class"]),
    ("ul", &[]),
    ("li", &[]),
];

#[test]
fn nothing_of_a_message_is_html() {
    let desk = Desk::new();
    let message = hostile(&desk, SCRIPT, IMAGE, "<a@b\"><script>alert(3)</script>");
    desk.write("store/\"><img src=x onerror=alert(4)>.eml", message.as_bytes());
    desk.write("store/<iframe srcdoc=x>.eml", b"\x7fELF no mail\n");
    desk.write("store/<a href=x>notes.txt", b"no mail\n");
    let mbox = format!("From a Mon Nov 23 09:00:00 2026\r\n{message}\r\n");
    desk.write("store/<base href=x>", mbox.as_bytes());
    let ended = scan(&desk);
    assert_eq!((ended.status, ended.stderr.lines().count()), (2, 1), "{ended:?}");

    let page = fs::read_to_string(desk.path("scan.html")).unwrap();
    let (tags, text) = taken_apart(&page);
    for tag in &tags {
        let name = String::from_utf8_lossy(&tag.name);
        let allowed = ELEMENTS.iter().find(|(element, _)| *element == name).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{tag:?}\n{page}"));
        for (attribute, value) in &tag.attributes {
            let [attribute, value] = [&attribute[..], &value[..]].map(String::from_utf8_lossy);
            assert!(allowed.contains(&&*attribute), "{tag:?}");
            assert!(!value.contains(['<', '>', '"']), "{tag:?}");
        }
    }
    let count = |name: &str| tags.iter().filter(|tag| &tag.name[..] == name.as_bytes()).count();
    assert_eq!(["html", "style", "h3", "li"].map(count), [1, 1, 2, 1], "{page}");
    // It is all there, as text.
    for part in [
        SCRIPT,
        IMAGE,
        "<a@b\"><script>alert(3)</script>",
        "store/\"><img src=x onerror=alert(4)>.eml",
        "store/<iframe srcdoc=x>.eml",
        "<a href=x>notes.txt",
        "store/<base href=x>",
        "message 1, at offset 0",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    // A browser fetches nothing for it.
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    assert!(page.contains(&format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">")));
    assert!(!page.contains("url(") && !page.contains("@import") && !page.contains("://"), "{page}");
}

/// Every row of a table, as Python reads it, which has a reader of its own.
fn rows(desk: &Desk) -> Vec<Vec<String>> {
    let script = "import csv, json; print(json.dumps(list(csv.reader(open('scan.csv', newline='', encoding='utf-8'), strict=True))))";
    let output = Command::new("python3").args(["-c", script]).current_dir(desk.folder.path()).run();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn no_cell_of_the_table_is_a_formula_or_breaks_a_row() {
    if !skip::are_there(&[("Python", works("python3", &["--version"]))]) {
        return;
    }
    let desk = Desk::new();
    let texts = [
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\t=1+1",
        "\r=1+1",
        "a\r\nunread,,=1+1,,,,,,,,,",
        "\"\r\n=1+1,\"",
        "a\",=1+1,\"b",
        "; =1+1;",
        " =1+1",
        "\u{ff1d}1+1",
        "\u{feff}=1+1",
        "\u{a0}=1+1",
    ];
    for (number, text) in (10..).zip(texts) {
        desk.write(&format!("store/{number}.eml"), hostile(&desk, text, text, "=1+1").as_bytes());
    }
    desk.write("store/=1+1,\"x\n.eml", b"\x7fELF no mail\n");
    assert_eq!(scan(&desk).status, 2);
    let rows = rows(&desk);
    assert_eq!(rows.len(), texts.len() + 2, "{rows:#?}");
    for row in &rows {
        assert_eq!(row.len(), rows[0].len(), "{row:?}");
        for cell in row {
            let first = cell
                .trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}')
                .chars()
                .next();
            let is_formula = first.is_some_and(|c| "=+-@\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}".contains(c));
            assert!(!is_formula && !cell.contains(char::is_control), "{cell:?} in {row:?}");
        }
    }
    let column = |name: &str| rows[0].iter().position(|column| column == name).unwrap();
    let subjects: Vec<&str> = rows[1..].iter().map(|row| row[column("subject")].as_str()).collect();
    assert_eq!(subjects[0], "'=cmd|' /C calc'!A0", "{subjects:?}");
    assert!(subjects.contains(&"a\",=1+1,\"b"), "{subjects:?}");
    let unread: Vec<&Vec<String>> = rows.iter().filter(|row| row[0] == "unread").collect();
    assert_eq!((unread.len(), unread[0][column("file")].as_str()), (1, "store/=1+1,\"x?.eml"));
}
