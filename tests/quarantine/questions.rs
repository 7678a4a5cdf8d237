//! What a report answers.

use jiff::Timestamp;
use serde_json::Value;
use waxseal::store::{Entry, Judged, Question, State};

use crate::desk::{Desk, desks, hold};
use crate::program::site::plain;
use crate::program::smtp::{Client, Server};
use crate::program::wait_for;

const NOW: u64 = 1_795_392_005;

fn judged() -> Judged {
    Judged {
        at: NOW,
        session: "s".into(),
        verdict: "fail".into(),
        reason: None,
        known: None,
        trust: None,
        asked: "quarantine".into(),
        done: "quarantine".into(),
        from_domain: None,
        domain: None,
        reverse_path: "\u{0}\u{1f4ce}".into(),
        recipients: 1,
        message_id: None,
        attachments: Vec::new(),
        summary: String::new(),
        held: None,
        queue_id: None,
        arrived_as: None,
    }
}

#[test]
fn a_message_is_found_by_what_people_know_of_it() {
    for desk in desks() {
        let state = State::open_to_serve(&desk.place()).unwrap();
        let text = |text: &str| Some(text.to_owned());
        let messages = [
            Judged {
                message_id: text("<1@a.example>"),
                from_domain: text("news.a.example"),
                held: text("20261123T061112-7f3a9c"),
                ..judged()
            },
            Judged {
                message_id: text("<2\u{0}@a.example>"),
                domain: text("a.example"),
                queue_id: text("4XyZ"),
                arrived_as: text("7D1"),
                session: "s2".into(),
                ..judged()
            },
            Judged {
                at: NOW + 86_400,
                message_id: text("3@b.example"),
                from_domain: text("notaaexample"),
                ..judged()
            },
        ];
        let entry = |judged: &Judged| Box::new(Entry::of(judged.clone()));
        state.memories.record(&messages.iter().map(entry).collect::<Vec<_>>()).unwrap();
        let any = Question::default;
        for (question, found) in [
            (any(), &[0, 1, 2][..]),
            (Question { message_id: text("<1@a.example>"), ..any() }, &[0]),
            (Question { message_id: text("1@a.example"), ..any() }, &[0]),
            (Question { message_id: text("3@b.example"), ..any() }, &[2]),
            (Question { message_id: text("<3@b.example>"), ..any() }, &[2]),
            (Question { queue_id: text("4XyZ"), ..any() }, &[1]),
            (Question { queue_id: text("7D1"), ..any() }, &[1]),
            (Question { queue_id: text("s2"), ..any() }, &[1]),
            (Question { queue_id: text("20261123T061112-7f3a9c"), ..any() }, &[0]),
            (Question { domain: text("a.example"), ..any() }, &[0, 1]),
            (Question { domain: text("a_example"), ..any() }, &[]),
            (Question { from: NOW + 1, ..any() }, &[2]),
            (Question { until: Some(NOW + 1), domain: text("example"), ..any() }, &[0, 1]),
        ] {
            let expected: Vec<_> = found.iter().map(|at| messages[*at].clone()).collect();
            assert_eq!(state.judgements.ask(&question).unwrap(), expected, "{question:?}");
        }
    }
}

fn report(desk: &Desk, arguments: &[&str]) -> Value {
    let ended = desk.run(&[&["report", "--json"], arguments].concat());
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{arguments:?}");
    ended.json().remove(0)
}

fn message_ids(report: &Value) -> Vec<&str> {
    let messages = report["messages"].as_array().unwrap().iter();
    messages.map(|message| message["message_id"].as_str().unwrap()).collect()
}

#[test]
fn a_report_tells_what_became_of_a_message() {
    for desk in desks() {
        let next_hop = Server::start(|received| {
            let is_marked = String::from_utf8_lossy(&received.message).contains("Subject: marked");
            let queue_id = if is_marked { "MARKED12" } else { "4XyZ12abcdz3" };
            format!("250 2.0.0 Ok: queued as {queue_id}")
        });
        let gateway = desk.config_before(next_hop.address, "[policy]\nnone = \"mark\"\n").start();
        let id = hold(&gateway, &["a@partner.example"], &desk.site.swapped("held"));
        let marked = String::from_utf8(plain("marked")).unwrap();
        let marked = format!(
            "Received: from a by mx with ESMTP id 7D1F2; Mon, 23 Nov 2026 09:00:00 +0000\r\n{marked}"
        );
        let mut client = Client::hello(gateway.address("inbound"));
        client.deliver("x@example.net", "a@partner.example", marked.as_bytes());
        let are_written = || {
            let report = report(&desk, &[]);
            (report["messages"].as_array().unwrap().len() == 2).then_some(())
        };
        assert!(wait_for(are_written).is_some());
        assert_eq!(desk.run_as("boris", &["quarantine", "release", &id, "--reason", "asked"]).status, 0);

        let today = Timestamp::now().strftime("%Y-%m-%d").to_string();
        for arguments in [
            &["--message-id", "held@example.org"][..],
            &["--queue-id", &id],
            &["--queue-id", "4XyZ12abcdz3"],
            &["--domain", "example.org"],
            &["--day", "today", "--domain", "example.org"],
            &["--day", &today, "--message-id", "<held@example.org>"],
        ] {
            let report = report(&desk, arguments);
            assert_eq!(report["deeds"][0]["what"], "released", "{arguments:?}: {report}");
            assert_eq!(report["deeds"][0]["who"], "boris");
            if arguments != ["--queue-id", "4XyZ12abcdz3"] {
                assert_eq!(message_ids(&report), ["<held@example.org>"], "{arguments:?}");
                assert_eq!(report["messages"][0]["held"], id.as_str());
            }
        }
        for arguments in
            [&["--message-id", "other@example.org"][..], &["--queue-id", "other"], &["--day", "2020-01-01"]]
        {
            let report = report(&desk, arguments);
            assert!(
                message_ids(&report).is_empty() && report["deeds"].as_array().unwrap().is_empty(),
                "{report}"
            );
        }
        let text = desk.run(&["report", "--queue-id", &id]);
        for part in [
            "1 message found",
            "held as ",
            "boris released it to <a@partner.example>; reason: asked; 250 2.0.0 Ok: queued as 4XyZ12abcdz3",
        ] {
            assert!(text.text().contains(part), "{part}: {}", text.text());
        }
    }
}
