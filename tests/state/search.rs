//! Judged messages as people look for them, on each adapter.

use std::net::IpAddr;

use serde_json::json;
use waxseal::store::{
    Details, Entry, Findings, HeaderField, Judged, JudgedId, Location, MAX_PAGE, Page, Particulars, Position,
    Question, State,
};

use crate::contract::{NOW, judged, on_each, on_each_place};
use crate::program::site::{RECIPIENT, SENDER, Site};
use crate::program::smtp::Client;
use crate::program::wait_for;

const DAY: u64 = 86_400;

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn any() -> Question {
    Question { delivered: true, ..Question::default() }
}

fn search(state: &State, question: &Question) -> Page {
    state.messages.search(question, None, 50).unwrap()
}

/// When the messages that are found were judged, after `NOW`.
fn found(state: &State, question: &Question) -> Vec<u64> {
    let page = search(state, question);
    assert_eq!(page.next, None);
    page.messages.iter().map(|found| found.judged.at - NOW).collect()
}

fn entry(judged: Judged, particulars: Particulars) -> Box<Entry> {
    Box::new(Entry { particulars, ..Entry::of(judged) })
}

fn delivered(at: u64) -> Judged {
    judged(NOW + at, "pass", "deliver", "deliver")
}

fn held(at: u64) -> Judged {
    judged(NOW + at, "fail", "quarantine", "quarantine")
}

/// Five messages, each of its own kind.
fn some() -> [Box<Entry>; 5] {
    let particulars = |author: &str, to: &[&str]| Particulars {
        author: text(author),
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        subject: text("Agenda"),
        size: 1_234,
        listener: "inbound".into(),
        client: Some(IpAddr::from([192, 0, 2, 1])),
        client_name: text("mx.a.example"),
    };
    let a = Judged {
        message_id: text("<1@a.example>"),
        from_domain: text("news.a.example"),
        domain: text("a.example"),
        reverse_path: "bounce@mailer.example".into(),
        queue_id: text("4XyZ"),
        session: "s0".into(),
        ..delivered(0)
    };
    let b = Judged {
        message_id: text("<2@a.example>"),
        from_domain: text("a.example"),
        held: text("20261123T061112-7f3a9c"),
        arrived_as: text("7D1"),
        session: "s1".into(),
        ..held(1)
    };
    let c = Judged { from_domain: text("notaaexample"), session: "s2".into(), ..held(DAY) };
    let refused = Judged { session: "s3".into(), done: "refused-by-next-hop".into(), ..delivered(DAY + 1) };
    let attempt = Judged { done: "deferred-by-next-hop".into(), ..held(DAY + 2) };
    [
        entry(a, particulars("Anna@News.A.example", &["j\u{fc}rgen@Partner.example", "b@other.example"])),
        entry(b, particulars("anna@a.example", &["c@mail.partner.example"])),
        entry(c, Particulars::default()),
        entry(refused, particulars("x@x.example", &["b@other.example"])),
        entry(attempt, Particulars::default()),
    ]
}

#[test]
fn a_message_is_found_by_all_that_people_know_of_it() {
    on_each(|gateway, commands| {
        assert!(found(gateway, &any()).is_empty());
        gateway.memories.record(&some()).unwrap();
        for (question, expected) in [
            (any(), &[DAY + 1, DAY, 1, 0][..]),
            (Question::default(), &[DAY, 1]),
            (Question { message_id: text("1@a.example"), ..any() }, &[0]),
            (Question { message_id: text("<1@a.example>"), ..Question::default() }, &[]),
            (Question { queue_id: text("4XyZ"), ..any() }, &[0]),
            (Question { queue_id: text("7D1"), ..any() }, &[1]),
            (Question { queue_id: text("s2"), ..any() }, &[DAY]),
            (Question { queue_id: text("20261123T061112-7f3a9c"), ..any() }, &[1]),
            (Question { sender: text("anna@news.a.example"), ..any() }, &[0]),
            (Question { sender: text("BOUNCE@mailer.example"), ..any() }, &[0]),
            (Question { sender: text("a.example"), ..any() }, &[1, 0]),
            (Question { sender: text(".A.example."), ..any() }, &[1, 0]),
            (Question { sender: text("notaaexample"), ..any() }, &[DAY]),
            (Question { sender: text("aexample"), ..any() }, &[]),
            (Question { recipient: text("J\u{dc}RGEN@partner.example"), ..any() }, &[0]),
            (Question { recipient: text("partner.example"), ..any() }, &[1, 0]),
            (Question { recipient: text("b@other.example"), ..any() }, &[DAY + 1, 0]),
            (Question { recipient: text("other.example"), ..Question::default() }, &[]),
            (Question { domain: text("a.example"), ..any() }, &[1, 0]),
            (Question { domain: text("mailer.example"), ..any() }, &[]),
            (Question { verdict: text("fail"), ..any() }, &[DAY, 1]),
            (Question { verdict: text("pass"), ..any() }, &[DAY + 1, 0]),
            (Question { done: text("refused-by-next-hop"), ..any() }, &[DAY + 1]),
            (Question { from: NOW + 1, ..any() }, &[DAY + 1, DAY, 1]),
            (Question { from: NOW + 1, until: Some(NOW + DAY), ..any() }, &[1]),
            // Freely combined.
            (Question { verdict: text("pass"), recipient: text("other.example"), ..any() }, &[DAY + 1, 0]),
            (
                Question {
                    verdict: text("pass"),
                    done: text("deliver"),
                    sender: text("example"),
                    recipient: text("b@other.example"),
                    domain: text("a.example"),
                    message_id: text("<1@a.example>"),
                    queue_id: text("s0"),
                    until: Some(NOW + 1),
                    ..any()
                },
                &[0],
            ),
            (Question { verdict: text("fail"), recipient: text("other.example"), ..any() }, &[]),
            (Question { sender: text("a.example"), from: NOW + 1, ..any() }, &[1]),
        ] {
            assert_eq!(found(commands, &question), expected, "{question:?}");
        }
        // What is found is what was written down.
        let page = search(commands, &Question { queue_id: text("s0"), ..any() });
        let (one, written) = (&page.messages[0], &some()[0]);
        assert_eq!((&one.judged, &one.particulars), (&written.judged, &written.particulars));
        assert_eq!(one.id.as_str().parse::<JudgedId>().unwrap(), one.id);
        assert_eq!(commands.messages.show(&one.id).unwrap().unwrap().found, *one);
        assert_eq!(commands.messages.show(&"20261123-000000000000".parse().unwrap()).unwrap(), None);
    });
}

#[test]
fn pages_have_everything_once_while_more_arrives() {
    on_each(|gateway, commands| {
        let entries = |numbers: std::ops::Range<u64>| -> Vec<Box<Entry>> {
            let one = |at: u64| if at.is_multiple_of(3) { held(at) } else { delivered(at) };
            numbers.map(|at| Box::new(Entry::of(one(at)))).collect()
        };
        // More than one stretch of each kind.
        gateway.memories.record(&entries(0..13_000)).unwrap();
        let until = Some(NOW + 13_000);
        for (question, expected) in [
            (Question { until, ..any() }, (12_500..13_000).rev().collect::<Vec<_>>()),
            (
                Question { until, verdict: text("fail"), ..any() },
                (0..13_000_u64).rev().filter(|at| at.is_multiple_of(3)).collect(),
            ),
            (Question { until: Some(NOW + 180), ..any() }, (0..180).rev().collect()),
            (
                Question { from: NOW + 5_000, until: Some(NOW + 5_200), done: text("deliver"), ..any() },
                (5_000..5_200_u64).rev().filter(|at| !at.is_multiple_of(3)).collect(),
            ),
        ] {
            let (mut all, mut after) = (Vec::new(), None::<Position>);
            while all.len() < expected.len() {
                let page = commands.messages.search(&question, after.as_ref(), 100).unwrap();
                all.extend(page.messages.iter().map(|found| found.judged.at - NOW));
                gateway
                    .memories
                    .record(&entries(20_000 + all.len() as u64..20_002 + all.len() as u64))
                    .unwrap();
                match page.next {
                    Some(next) => after = Some(next.to_string().parse().unwrap()),
                    None => break,
                }
            }
            assert_eq!(all, expected, "{question:?}");
        }
        assert_eq!(commands.messages.search(&any(), None, usize::MAX).unwrap().messages.len(), MAX_PAGE);
    });
}

#[test]
fn a_place_is_text_of_one_form() {
    for text in ["", "1", "1-", "-1", "1--1", "1-+1", "a-b", "1-99999999999999999999"] {
        assert!(text.parse::<Position>().is_err(), "{text}");
    }
    for text in ["", "20261123", "20261123-0f3a9c2b1d4", "20261123-0F3A9C2B1D4E", "2026112x-0f3a9c2b1d4e"] {
        assert!(text.parse::<JudgedId>().is_err(), "{text}");
    }
}

/// Runs SQL in the database of a place.
fn run_sql(place: &Location, sqlite: &str, postgres: &str) {
    match &place.server {
        None => {
            let database = rusqlite::Connection::open(place.folder.join("memory.sqlite")).unwrap();
            database.execute_batch(sqlite).unwrap();
        }
        #[cfg(feature = "postgres")]
        Some(_) => {
            let server = crate::server::Postgres::shared().unwrap();
            server.run_sql(&crate::contract::url(place), postgres);
        }
        #[cfg(not(feature = "postgres"))]
        Some(_) => unreachable!("{postgres}"),
    }
}

/// As if a million of one kind had been written since.
fn flood(place: &Location, table: &str) {
    run_sql(
        place,
        &format!("UPDATE sqlite_sequence SET seq = seq + 1000000 WHERE name = '{table}'"),
        &format!(
            "SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}) + 1000000)"
        ),
    );
}

#[test]
fn a_flood_of_one_kind_pushes_none_of_the_other_out() {
    on_each_place(|place| {
        let state = State::open_to_serve(place).unwrap();
        let record = |judged| state.memories.record(&[Box::new(Entry::of(judged))]).unwrap();
        record(held(0));
        record(delivered(1));
        flood(place, "delivered");
        record(delivered(2));
        assert_eq!(found(&state, &any()), [2, 0]);
        flood(place, "judged");
        record(held(3));
        assert_eq!(found(&state, &any()), [3, 2]);
        assert_eq!(found(&state, &Question { verdict: text("fail"), ..any() }), [3]);
    });
}

fn findings(number: u64) -> Findings {
    let details: Details = serde_json::from_value(json!({
        "subject": format!("{number}\u{0}\u{202e}\u{1f4ce}"),
        "path": ["from a by b"],
        "attachments": [{"status": "altered", "sealed": {"name": "Agenda.pdf", "size": 1}, "found": null}],
    }))
    .unwrap();
    let field = HeaderField { name: "X-\u{fffd}".into(), value: "<script>\u{0}".into() };
    Findings { details, fields: vec![field], more_fields: number }
}

#[test]
fn what_was_found_in_a_message_is_kept_while_there_is_room() {
    on_each_place(|place| {
        let state = State::open_to_serve(place).unwrap();
        let record = |judged, number| {
            let findings = Some(Box::new(findings(number)));
            state.memories.record(&[Box::new(Entry { findings, ..Entry::of(judged) })]).unwrap();
        };
        let kept = || -> Vec<Option<u64>> {
            let page = search(&state, &any());
            let show = |id| state.messages.show(id).unwrap().unwrap().findings;
            page.messages.iter().map(|found| show(&found.id).map(|findings| findings.more_fields)).collect()
        };
        record(delivered(0), 10);
        record(held(1), 11);
        state.memories.record(&[Box::new(Entry::of(held(2)))]).unwrap();
        assert_eq!(kept(), [None, Some(11), Some(10)]);
        let id = search(&state, &any()).messages[1].id.clone();
        assert_eq!(state.messages.show(&id).unwrap().unwrap().findings, Some(findings(11)));
        // As if so much had been written since.
        let sql = |octets: u64, is: &str| format!("UPDATE finding SET total = {octets} WHERE {is}");
        run_sql(place, &sql(200 << 20, "delivered"), &sql(200 << 20, "delivered"));
        record(held(3), 13);
        assert_eq!(kept(), [Some(13), None, Some(11), Some(10)], "each kind has its own room");
        run_sql(place, "UPDATE finding SET total = 5", "UPDATE finding SET total = 5");
        let last = |octets: u64| {
            format!("UPDATE finding SET total = {octets} WHERE number = (SELECT max(number) FROM finding)")
        };
        run_sql(place, &last(600 << 20), &last(600 << 20));
        record(held(4), 14);
        assert_eq!(kept(), [Some(14), Some(13), None, None, Some(10)]);
    });
}

#[test]
fn what_is_old_is_forgotten_whole() {
    on_each(|gateway, commands| {
        let entry = |judged| Box::new(Entry { findings: Some(Box::new(findings(1))), ..Entry::of(judged) });
        gateway.memories.record(&[entry(held(0)), entry(delivered(1)), entry(held(5 * DAY))]).unwrap();
        let later = NOW + 60 * DAY + 2;
        let work =
            (1..=7).map(|ago| Box::new(Entry::of(judged(later - ago * DAY, "none", "deliver", "deliver"))));
        gateway.memories.record(&work.collect::<Vec<_>>()).unwrap();
        let gone = search(commands, &Question { until: Some(NOW + 2), ..any() }).messages;
        assert_eq!(gone.len(), 2);
        gateway.memories.forget_old(later).unwrap();
        assert!(found(commands, &Question { until: Some(NOW + 2), ..any() }).is_empty());
        assert!(gone.iter().all(|found| commands.messages.show(&found.id).unwrap().is_none()));
        assert_eq!(found(commands, &Question { verdict: text("fail"), ..any() }), [5 * DAY]);
    });
}

#[test]
fn messages_are_counted_by_day() {
    on_each(|gateway, commands| {
        let entries = [delivered(0), delivered(1), held(2), delivered(DAY), delivered(3 * DAY)];
        gateway.memories.record(&entries.map(|judged| Box::new(Entry::of(judged)))).unwrap();
        let counts = |from, to| -> Vec<(u64, String, u64)> {
            let counts = commands.messages.daily(from, to).unwrap();
            counts.into_iter().map(|one| (one.day, one.count.verdict, one.count.count)).collect()
        };
        let day = NOW / DAY * DAY;
        let expected =
            [(day, "fail".to_owned(), 1), (day, "pass".to_owned(), 2), (day + DAY, "pass".to_owned(), 1)];
        assert_eq!(counts(NOW, NOW + 2 * DAY), expected);
        assert_eq!(counts(NOW + DAY, NOW + DAY), expected[2..]);
        assert!(counts(NOW + 4 * DAY, NOW + 9 * DAY).is_empty());
    });
}

/// What no name, address or subject should have, and more of it than anybody reads.
#[test]
fn what_strangers_write_is_kept_and_bounded() {
    on_each(|gateway, commands| {
        let nasty = "\u{0}\n<script>\u{202e}\u{fffd}'\"%_\\\u{1f4ce}";
        let judged = Judged {
            message_id: text(nasty),
            from_domain: text(nasty),
            queue_id: text(nasty),
            reverse_path: format!("{nasty}@{nasty}"),
            session: nasty.into(),
            ..held(0)
        };
        let particulars = Particulars {
            author: Some(format!("{nasty}@{nasty}")),
            to: vec![format!("{nasty}@{nasty}"); 3],
            subject: Some("\u{1f4ce}".repeat(1 << 18)),
            client_name: text(nasty),
            ..Particulars::default()
        };
        gateway.memories.record(&[entry(judged.clone(), particulars)]).unwrap();
        for question in [
            Question { message_id: text(nasty), ..any() },
            Question { queue_id: text(nasty), ..any() },
            Question { domain: text(nasty), ..any() },
            Question { sender: Some(format!("{nasty}@{nasty}")), ..any() },
            Question { recipient: text(nasty), ..any() },
        ] {
            let page = search(commands, &question);
            assert_eq!(page.messages.len(), 1, "{question:?}");
            assert_eq!(page.messages[0].judged, judged);
            let subject = page.messages[0].particulars.subject.as_ref().unwrap();
            assert_eq!(subject.chars().count(), 250);
        }
        for question in [
            Question { verdict: text("%"), ..any() },
            Question { sender: Some("x".repeat(1 << 20)), ..any() },
            Question { recipient: text("' OR 1=1 --"), ..any() },
        ] {
            assert!(found(commands, &question).is_empty());
        }
    });
}

/// From the final dot to what is found.
#[test]
fn the_gateway_keeps_every_message_it_judges() {
    let site = Site::new();
    let gateway = site.verifying("").start();
    let mut client = Client::hello(gateway.address("inbound"));
    let long = format!("X-Long: {}\r\n", "x".repeat(980)).repeat(60);
    let plain = format!(
        "Received: from a by mx with ESMTP id 7D1F2; Mon, 23 Nov 2026 09:00:00 +0000\r\nFrom: Someone <s@stranger.example>\r\n\
         To: {RECIPIENT}\r\nSubject: plain {}\r\nMessage-ID: <plain@stranger.example>\r\n{long}\r\nhello\r\n",
        "y".repeat(900)
    );
    client.deliver("bounce@stranger.example", RECIPIENT, plain.as_bytes());
    client.deliver(
        SENDER,
        RECIPIENT,
        &site.changed(&crate::program::letter::with_attachments("intact"), str::to_owned),
    );
    client.deliver(SENDER, RECIPIENT, &site.swapped("swapped"));
    client.deliver(SENDER, RECIPIENT, &crate::program::letter::with_attachments("unsealed"));
    let state = State::open_to_look(&site.folder.path().join("state").as_path().into());
    let all = || {
        let page = state.messages.search(&any(), None, 50).ok()?;
        (page.messages.len() == 4).then_some(page.messages)
    };
    let all = wait_for(all).expect("four messages");
    let one = |question: Question| {
        let page = search(&state, &Question { delivered: true, ..question });
        assert_eq!(page.messages.len(), 1, "{page:?}");
        state.messages.show(&page.messages[0].id).unwrap().unwrap()
    };
    let plain = one(Question { sender: text("s@stranger.example"), ..any() });
    assert_eq!(plain.found.judged.asked, "deliver");
    assert_eq!(plain.found.judged.arrived_as.as_deref(), Some("7D1F2"));
    let particulars = &plain.found.particulars;
    assert_eq!(particulars.to, [RECIPIENT]);
    assert_eq!(particulars.subject.as_ref().unwrap().chars().count(), 250);
    assert_eq!(
        (particulars.listener.as_str(), particulars.client),
        ("inbound", Some(IpAddr::from([127, 0, 0, 1])))
    );
    assert!(particulars.client_name.is_some() && particulars.size > 59_000);
    assert_eq!(plain.findings, None, "nothing was found in it");

    let intact = one(Question { verdict: text("pass"), ..any() });
    let findings = intact.findings.unwrap();
    assert!(!findings.details.attachments.is_empty() && findings.fields.is_empty());
    assert!(findings.details.attachments.iter().all(|one| one.status == "intact"));

    let swapped = one(Question { verdict: text("fail"), ..any() });
    let held = swapped.found.judged.held.clone().unwrap();
    let findings = swapped.findings.unwrap();
    let listed = state.quarantine.show(&held.parse().unwrap()).unwrap();
    assert_eq!(findings.details, listed.held.details, "it is computed once");
    assert!(findings.details.attachments.iter().any(|one| one.status != "intact"));
    assert!(findings.details.key.is_some());
    let names: Vec<_> = findings.fields.iter().map(|field| field.name.as_str()).collect();
    assert!(names.contains(&"From") && names.contains(&"Attachment-Seal"), "{names:?}");
    assert_eq!(one(Question { queue_id: Some(held), ..any() }).found, swapped.found);
    drop(all);

    // Nothing was compared, so what arrived is told.
    let missing = one(Question { verdict: text("missing"), ..any() });
    let details = missing.findings.unwrap().details;
    assert!(details.attachments.is_empty() && !details.arrived.is_empty(), "{details:?}");
    let shown = gateway.quarantine(&["show", missing.found.judged.held.as_deref().unwrap()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for file in &details.arrived {
        assert!(file.size > 0 && shown.contains(&file.hash) && shown.contains(&file.name), "{shown}");
    }
    assert!(shown.contains("Nothing was compared with a seal"), "{shown}");
}
