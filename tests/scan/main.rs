//! `waxseal scan`, as people run it over mail stores.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod dovecot;
#[path = "../program/mod.rs"]
mod program;
mod report;
mod select;
mod terminal;

use std::fs;

use program::desk::Desk;
use program::letter;
use serde_json::json;

#[test]
fn finds_what_was_altered_in_a_maildir() {
    let desk = Desk::new();
    let lf = |message: String| message.replace("\r\n", "\n").into_bytes();
    desk.write("Maildir/new/1.host", &lf(desk.sealed("1")));
    desk.write("Maildir/cur/2.host:2,S", &lf(desk.sealed("2")));
    desk.write("Maildir/.Archive/cur/3.host:2,S", &lf(desk.sealed("3")));
    fs::create_dir_all(desk.path("Maildir/.Archive/new")).unwrap();
    desk.write("Maildir/tmp/4.host", b"half a mess");
    let ended = desk.run(&["scan", "--keys", "pins", "Maildir"]);
    assert_eq!(
        (ended.status, ended.text().lines().last()),
        (0, Some("3 messages: 3 pass")),
        "{}",
        ended.stderr
    );
    assert!(ended.text().contains("messages and "), "it tells its rate: {}", ended.text());

    desk.write("Maildir/.Archive/cur/5.host:2,S", &lf(letter::swapped(&desk.sealed("5"))));
    desk.write("Maildir/cur/6.host:2,S", &lf(letter::stripped(&desk.sealed("6"))));
    let ended = desk.run(&["scan", "--keys", "pins", "Maildir"]);
    assert_eq!(ended.status, 1);
    assert_eq!(ended.text().lines().last(), Some("5 messages: 1 fail, 1 missing, 3 pass"));
    assert!(ended.text().contains("Maildir/.Archive/cur/5.host:2,S: fail"), "{}", ended.text());
    assert!(!ended.text().contains("2.host"), "only findings are listed");

    let ended = desk.run(&["scan", "--keys", "pins", "--json", "Maildir"]);
    assert_eq!((ended.status, ended.json().len()), (1, 5));
    assert!(ended.json().iter().all(|line| line["file"].as_str().unwrap().starts_with("Maildir/")));
}

#[test]
fn reads_mboxes_and_folders() {
    let desk = Desk::new();
    let from = "From office@example.org Mon Nov 23 09:00:00 2026\n";
    let letters = [desk.sealed("1"), letter::swapped(&desk.sealed("2")), desk.sealed("3")];
    let mbox: String =
        letters.iter().map(|letter| format!("{from}{}\n", letter.replace("\r\n", "\n"))).collect();
    desk.write("store/inbox", mbox.as_bytes());
    desk.write("store/old/4.eml", desk.sealed("4").as_bytes());
    desk.write("store/old/readme.txt", b"no mail\n");
    let ended = desk.run(&["scan", "--keys", "pins", "store"]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.text().contains("store/inbox#2: fail"), "{}", ended.text());
    assert_eq!(ended.text().lines().last(), Some("4 messages: 1 fail, 3 pass"));
}

#[test]
fn quotes_do_not_alter_a_message() {
    let desk = Desk::new();
    let message = String::from_utf8(letter::with_attachments("quoted")).unwrap();
    let message = message.replace("Schöne Grüße,", "From here on:");
    let sealed = desk.seal(message.as_bytes());
    let mbox = format!("From a Mon Nov 23 09:00:00 2026\n{}\n", sealed.text().replace("\r\n", "\n"));
    desk.write("inbox", mbox.replace("\nFrom here", "\n>From here").as_bytes());
    let ended = desk.run(&["scan", "--keys", "pins", "--json", "inbox"]);
    assert_eq!((ended.status, &ended.json()[0]["body"]), (0, &json!("intact")), "{ended:?}");
}

#[test]
fn reports_what_it_could_read() {
    let desk = Desk::new();
    desk.write("1.eml", desk.sealed("1").as_bytes());
    let ended = desk.run(&["scan", "--keys", "pins", "nowhere", "1.eml"]);
    assert_eq!((ended.status, ended.stderr.lines().count()), (2, 1), "{ended:?}");
    assert_eq!(ended.text().lines().last(), Some("1 message: 1 pass; 1 could not be read"));
}

#[test]
fn names_what_is_no_mail() {
    let desk = Desk::new();
    desk.write("store/a.eml", b"\x7fELF\x02\x01\x01\0 no mail\n");
    desk.write("store/b.eml", desk.sealed("1").as_bytes());
    fs::create_dir(desk.path("empty")).unwrap();
    let ended =
        desk.run(&["scan", "--keys", "pins", "store", "empty", "--csv", "out.csv", "--report", "out.html"]);
    assert_eq!((ended.status, ended.stderr.lines().count()), (2, 2), "{ended:?}");
    assert!(ended.stderr.contains("store/a.eml: this is no mail"), "{}", ended.stderr);
    assert!(ended.stderr.contains("empty: no mail in it"), "{}", ended.stderr);
    assert_eq!(ended.text().lines().last(), Some("1 message: 1 pass; 2 could not be read"));
    assert_eq!(fs::read_to_string(desk.path("out.csv")).unwrap().lines().count(), 3);
    let page = fs::read_to_string(desk.path("out.html")).unwrap();
    assert!(page.contains("2 things could not be read"), "{page}");
}

/// A folder's name, or a person's, may be that of a server's file.
#[test]
fn reads_mail_that_is_named_as_a_server_names_its_files() {
    let desk = Desk::new();
    let swapped = letter::swapped(&desk.sealed("1"));
    desk.write("mail/dovecot", format!("From a Mon Nov 23 09:00:00 2026\n{swapped}").as_bytes());
    desk.write("mail/dovecot upgrade.eml", swapped.as_bytes());
    desk.write("mail/subscriptions", b"V\t2\n\ndovecot\n");
    desk.write("Maildir/cur/dovecot-1.host:2,S", swapped.as_bytes());
    fs::create_dir(desk.path("Maildir/new")).unwrap();
    desk.write("Maildir/dovecot-uidlist", b"3 V1795874454 N2 G00\n");
    let ended = desk.run(&["scan", "--keys", "pins", "mail", "Maildir"]);
    assert_eq!((ended.status, ended.text().lines().last()), (1, Some("3 messages: 3 fail")), "{ended:?}");
    assert!(!ended.text().contains("other file"), "a server's own files are no mail: {}", ended.text());
}

#[test]
fn takes_a_thousand_messages_in_its_stride() {
    let desk = Desk::new();
    let sealed = desk.sealed("many");
    for number in 0..1000 {
        desk.write(&format!("many/{number}.eml"), sealed.as_bytes());
    }
    desk.write("many/500.eml", letter::added(&sealed).as_bytes());
    let ended = desk.run(&["scan", "--keys", "pins", "many"]);
    assert_eq!(ended.status, 1);
    assert_eq!(ended.text().lines().last(), Some("1000 messages: 1 fail, 999 pass"));
}
