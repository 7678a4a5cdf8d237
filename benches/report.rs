//! What it takes to answer a question about a million judged messages, and to write one down.
//!
//! `cargo bench --bench report` fills a state folder first, which takes some minutes; `docs/PERFORMANCE.md` keeps a table. With
//! `WAXSEAL_BENCH_STATE=postgres://…` it fills that empty database instead.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot run has failed")]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use waxseal::store::{
    Details, Entry, Findings, HeaderField, HeldAttachment, HeldFile, Judged, Location, Particulars, Question,
    State,
};

const MESSAGES: u64 = 1_000_000;
const NOW: u64 = 1_795_392_000;
/// They came over 50 days.
const PAUSE: u64 = 50 * 86_400 / MESSAGES;
/// Written in one transaction, as the gateway does at most.
const BATCH: u64 = 1_024;
const DAY: u64 = 86_400;

fn text(text: impl Into<String>) -> Option<String> {
    Some(text.into())
}

fn correspondent(number: u64) -> u64 {
    (number % 5_000) * (number % 3) / 2
}

/// As a site has it: some correspondents write often, one message in ten is held, one is marked, and the others are delivered.
fn judged(number: u64) -> Judged {
    let correspondent = correspondent(number);
    let is_held = number.is_multiple_of(10);
    let done = match number % 10 {
        0 => "quarantine",
        1 => "mark",
        _ => "deliver",
    };
    Judged {
        at: NOW - MESSAGES.saturating_sub(number) * PAUSE,
        session: format!("{number:010x}"),
        verdict: match number % 10 {
            0 => "fail",
            1 => "unknown-key",
            2..5 => "pass",
            _ => "none",
        }
        .into(),
        reason: is_held.then(|| "attachments".into()),
        known: None,
        trust: is_held.then(|| "dns".into()),
        asked: done.into(),
        done: done.into(),
        from_domain: text(format!("mail{}.c{correspondent}.example", number % 4)),
        domain: text(format!("c{correspondent}.example")),
        reverse_path: format!("office@c{correspondent}.example"),
        recipients: 1,
        message_id: text(format!("<{number}.20261123@c{correspondent}.example>")),
        attachments: if is_held { vec!["altered Agenda 2026.pdf".into()] } else { Vec::new() },
        summary: "changed on the way: altered Agenda 2026.pdf".into(),
        held: is_held.then(|| format!("20261123T061112-{:06x}", number & 0xff_ffff)),
        queue_id: (!is_held).then(|| format!("4X{number:x}")),
        arrived_as: text(format!("7D{number:x}")),
    }
}

fn particulars(number: u64) -> Particulars {
    let correspondent = correspondent(number);
    Particulars {
        author: text(format!("office@mail{}.c{correspondent}.example", number % 4)),
        to: vec![format!("person{}@partner.example", number % 300)],
        subject: text("Agenda of the meeting on Monday"),
        size: 40_000,
        listener: "inbound".into(),
        client: Some([192, 0, 2, 1].into()),
        client_name: text(format!("mx.c{correspondent}.example")),
    }
}

fn entry(number: u64) -> Entry {
    Entry { particulars: particulars(number), ..Entry::of(judged(number)) }
}

/// Of a message with three attachments and a usual header section.
fn findings(has_fields: bool) -> Option<Box<Findings>> {
    let file = Some(HeldFile {
        name: "Agenda 2026.pdf".into(),
        media_type: "application/pdf".into(),
        size: 12_000,
        hash: "5a".repeat(32),
    });
    let attachment = HeldAttachment { status: "altered".into(), sealed: file.clone(), found: file };
    let path = "from mx.c1.example (mx.c1.example [192.0.2.1]) by mx.partner.example with ESMTPS id 4XyZ12abcdz3; \
                Mon, 23 Nov 2026 09:00:00 +0100";
    let details = Details {
        from: text("office@c1.example"),
        subject: text("Agenda of the meeting on Monday"),
        path: vec![path.to_owned(); 4],
        attachments: vec![attachment; 3],
        ..Details::default()
    };
    let field = HeaderField { name: "DKIM-Signature".into(), value: "x".repeat(200) };
    let fields = if has_fields { vec![field; 15] } else { Vec::new() };
    Some(Box::new(Findings { details, fields, more_fields: 0 }))
}

/// How long a message takes to be written down, in batches that are as large as they may be.
fn time_recording(state: &State) {
    let mut number = MESSAGES;
    let mut time = |what: &str, fits: fn(u64) -> bool, findings: Option<Box<Findings>>| {
        const BATCHES: u64 = 20;
        let mut spent = 0.0;
        for _ in 0..BATCHES {
            let mut entries = Vec::new();
            while (entries.len() as u64) < BATCH {
                number += 1;
                if fits(number) {
                    entries.push(Box::new(Entry { findings: findings.clone(), ..entry(number) }));
                }
            }
            let began = Instant::now();
            state.memories.record(&entries).unwrap();
            spent += began.elapsed().as_secs_f64();
        }
        println!("written down, {what}: {:.1} us a message", spent * 1e6 / (BATCHES * BATCH) as f64);
    };
    let is_delivered = |number| number % 10 > 1;
    time("delivered", is_delivered, None);
    time("delivered with a seal", is_delivered, findings(false));
    time("held", |number| number.is_multiple_of(10), None);
    time("held, with what was found", |number| number.is_multiple_of(10), findings(true));
}

fn questions(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let server = std::env::var("WAXSEAL_BENCH_STATE").ok().map(|url| url.parse().unwrap());
    let place = Location { server, ..folder.path().into() };
    let state = State::open_to_serve(&place).unwrap();
    let began = Instant::now();
    for first in (0..MESSAGES).step_by(BATCH as usize) {
        let numbers = first..(first + BATCH).min(MESSAGES);
        state.memories.record(&numbers.map(|number| Box::new(entry(number))).collect::<Vec<_>>()).unwrap();
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64;
    let size = std::fs::metadata(folder.path().join("memory.sqlite")).map_or(0, |file| file.len());
    println!("{MESSAGES} judged messages take {} MiB, and {each:.1} us each to be written down", size >> 20);
    let mut group = criterion.benchmark_group("report");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let any = Question::default;
    let day = Question { from: NOW - 10 * DAY, until: Some(NOW - 9 * DAY), ..any() };
    for (name, question, found) in [
        ("message-id", Question { message_id: text("777.20261123@c1166.example"), ..any() }, 0),
        ("message-id, found", Question { message_id: judged(700_001).message_id, ..any() }, 1),
        ("queue-id", Question { queue_id: judged(700_001).queue_id, ..any() }, 1),
        ("held", Question { queue_id: judged(700_000).held, ..any() }, 1),
        ("domain", Question { domain: text("c10.example"), ..any() }, 1),
        ("day", day.clone(), 4_000),
    ] {
        let messages = state.judgements.ask(&question).unwrap().len();
        assert!(messages >= found, "{name}: {messages}");
        group.bench_function(format!("{name} ({messages})"), |bencher| {
            bencher.iter(|| black_box(state.judgements.ask(&question).unwrap()));
        });
    }
    group.bench_function("14 days", |bencher| {
        bencher.iter(|| black_box(state.judgements.since(NOW - 14 * DAY).unwrap()));
    });
    group.finish();
    pages(criterion, &state);
    time_recording(&state);
}

/// A page of 50 for each kind of question, of all messages.
fn pages(criterion: &mut Criterion, state: &State) {
    let mut group = criterion.benchmark_group("search");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let any = || Question { delivered: true, ..Question::default() };
    let old = judged(123_456);
    for (name, question) in [
        ("everything", any()),
        ("message-id, none", Question { message_id: text("<nobody@example>"), ..any() }),
        ("message-id", Question { message_id: old.message_id.clone(), ..any() }),
        ("queue-id", Question { queue_id: old.queue_id.clone(), ..any() }),
        ("sender, often", Question { sender: text("office@c0.example"), ..any() }),
        ("sender, seldom", Question { sender: text("office@mail1.c4998.example"), ..any() }),
        ("sender's domain", Question { sender: text("c10.example"), ..any() }),
        ("every sender", Question { sender: text("example"), ..any() }),
        ("recipient", Question { recipient: text("person7@partner.example"), ..any() }),
        ("recipient's domain", Question { recipient: text("partner.example"), ..any() }),
        ("domain", Question { domain: text("c10.example"), ..any() }),
        ("verdict", Question { verdict: text("fail"), ..any() }),
        ("verdict, none", Question { verdict: text("ambiguous"), ..any() }),
        ("done", Question { done: text("mark"), ..any() }),
        ("an old day", Question { from: NOW - 40 * DAY, until: Some(NOW - 39 * DAY), ..any() }),
        (
            "an old day and a recipient",
            Question {
                from: NOW - 40 * DAY,
                until: Some(NOW - 39 * DAY),
                recipient: text("person7@partner.example"),
                ..any()
            },
        ),
        (
            "sender and recipient",
            Question { sender: text("c10.example"), recipient: text("person7@partner.example"), ..any() },
        ),
        // All of them are in every stretch, and never together.
        (
            "what excludes itself",
            Question {
                verdict: text("none"),
                done: text("mark"),
                recipient: text("partner.example"),
                ..any()
            },
        ),
        (
            "what excludes itself, often",
            Question {
                verdict: text("none"),
                sender: text("mail0.c0.example"),
                done: text("deliver"),
                ..any()
            },
        ),
        (
            "two that are frequent and never together",
            Question { verdict: text("pass"), recipient: text("person8@partner.example"), ..any() },
        ),
    ] {
        let page = state.messages.search(&question, None, 50).unwrap();
        let (count, more) = (page.messages.len(), if page.next.is_some() { ", and more" } else { "" });
        group.bench_function(format!("{name} ({count}{more})"), |bencher| {
            bencher.iter(|| black_box(state.messages.search(&question, None, 50).unwrap()));
        });
    }
    let first = state.messages.search(&any(), None, 1).unwrap();
    group.bench_function("one message", |bencher| {
        bencher.iter(|| black_box(state.messages.show(&first.messages[0].id).unwrap()));
    });
    group.bench_function("60 days by verdict", |bencher| {
        bencher.iter(|| black_box(state.messages.daily(NOW - 60 * DAY, NOW).unwrap()));
    });
}

criterion_group!(benches, questions);
criterion_main!(benches);
