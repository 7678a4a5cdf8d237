//! What is shown of one message.

use jiff::Timestamp;
use serde_json::json;
use waxseal::store::State;

use crate::desk::{desks, hold, hold_without_details};
use crate::program::{letter, waxseal, word};

#[test]
fn a_swapped_attachment_is_shown_with_all_that_a_telephone_call_needs() {
    for desk in desks() {
        let gateway = desk.start("");
        // A name that turns the direction of what follows, and a control character that moves the cursor.
        let message = desk.site.changed(&letter::with_attachments("bill"), |sealed| {
            let received = "Received: from relay.example.net (relay [192.0.2.9])\r\n\tby mx with ESMTPS id 4XyZ12abc;\r\n\tMon, 23 Nov 2026 09:00:01 +0000\r\n";
            let renamed = letter::swapped(sealed).replace("Subject: bill", "Subject: =?utf-8?q?=E2=80=AEfdp=1B[2J.exe?=");
            format!("{received}{renamed}")
        });
        let id = hold(&gateway, &["desk@partner.example"], &message);
        let shown = desk.run(&["quarantine", "show", &id]);
        assert_eq!((shown.status, shown.stderr.as_str()), (0, ""));
        let text = shown.text();
        let key = waxseal(&["keys", "fingerprint", word(&desk.site.key)]);
        let fingerprints = key.text().lines().skip(1).map(str::trim).collect::<Vec<_>>();
        assert!(fingerprints.len() >= 2, "{key:?}");
        let found = blake3::hash(b"%PDF-1.4\nan infected document").to_hex();
        let sealed = blake3::hash(&letter::agenda()).to_hex();
        let sealed_size = format!("sealed 3009 octets, BLAKE3 {sealed}");
        for part in [
            "verdict       fail (attachments)",
            "listener      inbound",
            "client        127.0.0.1",
            "reverse-path  <office@example.org>",
            "recipients    <desk@partner.example>",
            "From          office@example.org",
            "To            Desk <desk@partner.example>",
            "Subject       \\u{202e}fdp\\u{1b}[2J.exe",
            "Date          Mon, 23 Nov 2026 09:00:00 +0000",
            "Message-ID    <bill@example.org>",
            "Received      from relay.example.net (relay [192.0.2.9]) by mx with ESMTPS id 4XyZ12abc;",
            "domain        example.org",
            "selector      gate1",
            "trust         pinned",
            "altered: Agenda.pdf [application/pdf]",
            &sealed_size,
            &format!("found  29 octets, BLAKE3 {found}"),
            "intact: Budget.csv [text/csv]",
            "1. Telephone the author",
            &format!("waxseal quarantine release {id} --reason"),
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for fingerprint in fingerprints {
            let fingerprint = fingerprint.rsplit(": ").next().unwrap();
            assert!(text.contains(fingerprint), "{fingerprint}: {text}");
        }
        assert!(!text.contains('\u{202e}') && !text.contains('\u{1b}'), "{text}");

        let json = desk.shown(&id);
        assert_eq!(json["subject"], "\u{202e}fdp\u{1b}[2J.exe");
        assert_eq!(json["attachments"][0]["found"]["hash"], found.as_str());
        assert_eq!(json["key"]["selector"], "gate1");
        assert_eq!(json["trust"], "pinned");
        assert!(json["advice"][0].as_str().unwrap().starts_with("Telephone"));
        assert!(json["deeds"].is_array());
    }
}

#[test]
fn a_doubt_is_a_sentence_and_a_step() {
    for desk in desks() {
        let gateway = desk.start("");
        let message = desk.site.changed(&letter::with_attachments("doubt"), |sealed| {
            letter::swapped(sealed).replace("\r\nContent-Type: multipart", "\r\nContent-Type : multipart")
        });
        let id = hold(&gateway, &["desk@partner.example"], &message);
        let shown = desk.run(&["quarantine", "show", &id]);
        for part in [
            "verdict       ambiguous",
            "space-before-colon: A blank is before the colon of a MIME field",
            "what to do: Export the message and look at its header section.",
        ] {
            assert!(shown.text().contains(part), "{part}: {}", shown.text());
        }
        let json = desk.shown(&id);
        assert_eq!(json["doubts_explained"][0]["code"], "space-before-colon");
    }
}

#[test]
fn of_what_an_early_version_held_the_facts_are_found_again() {
    for desk in desks() {
        let state = State::open_to_serve(&desk.place()).unwrap();
        let message = desk.site.swapped("early");
        let now = Timestamp::now().to_string();
        let same = hold_without_details(&state, &now, "fail", &message);
        let other = hold_without_details(&state, &now, "unknown-key", &message);
        drop(state);
        desk.config("").write();

        let shown = desk.run(&["quarantine", "show", same.as_str()]);
        for part in
            ["checked again just now, with the same verdict", "altered: Agenda.pdf", "Subject       early"]
        {
            assert!(shown.text().contains(part), "{part}: {}", shown.text());
        }
        let shown = desk.run(&["quarantine", "show", other.as_str()]);
        assert!(shown.text().contains("comes to another verdict"), "{}", shown.text());
        assert!(shown.text().contains("Subject       early") && !shown.text().contains("Agenda.pdf"));
        assert_eq!(desk.shown(other.as_str())["attachments"], json!([]));
    }
}
