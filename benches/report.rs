//! What it takes to answer a question about a million judged messages.
//!
//! `cargo bench --bench report` fills a state folder first, which takes a minute or two; `docs/PERFORMANCE.md` keeps a table.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot run has failed")]

use std::hint::black_box;

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use waxseal::store::{Entry, Judged, Question, State};

const MESSAGES: u64 = 1_000_000;
const NOW: u64 = 1_795_392_000;
/// They came over 50 days.
const PAUSE: u64 = 50 * 86_400 / MESSAGES;
/// Written in one transaction.
const BATCH: u64 = 20_000;

fn text(text: String) -> Option<String> {
    Some(text)
}

/// As a site has it: some correspondents write often, and one message in ten is held.
fn judged(number: u64) -> Judged {
    let correspondent = (number % 5_000) * (number % 3) / 2;
    let is_held = number.is_multiple_of(10);
    let done = if is_held { "quarantine" } else { "mark" };
    Judged {
        at: NOW - (MESSAGES - number) * PAUSE,
        session: format!("{number:016x}"),
        verdict: if is_held { "fail" } else { "unknown-key" }.into(),
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

fn questions(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open_to_serve(&folder.path().into()).unwrap();
    for first in (0..MESSAGES).step_by(BATCH as usize) {
        let entry = |number| Box::new(Entry::of(judged(number)));
        let entries: Vec<_> = (first..first + BATCH).map(entry).collect();
        state.memories.record(&entries).unwrap();
    }
    let size = std::fs::metadata(folder.path().join("memory.sqlite")).unwrap().len();
    println!("{MESSAGES} judged messages take {} MiB", size >> 20);
    let mut group = criterion.benchmark_group("report");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let any = Question::default;
    for (name, question, found) in [
        ("message-id", Question { message_id: text("777.20261123@c1166.example".into()), ..any() }, 0),
        ("message-id, found", Question { message_id: judged(700_001).message_id, ..any() }, 1),
        ("queue-id", Question { queue_id: judged(700_001).queue_id, ..any() }, 1),
        ("held", Question { queue_id: judged(700_000).held, ..any() }, 1),
        ("domain", Question { domain: text("c10.example".into()), ..any() }, 1),
        (
            "day",
            Question { from: NOW - 10 * 86_400, until: Some(NOW - 9 * 86_400), ..any() },
            // As many as one answer has.
            20_000,
        ),
    ] {
        let messages = state.judgements.ask(&question).unwrap().len();
        assert!(messages >= found, "{name}: {messages}");
        group.bench_function(format!("{name} ({messages})"), |bencher| {
            bencher.iter(|| black_box(state.judgements.ask(&question).unwrap()));
        });
    }
    group.bench_function("14 days", |bencher| {
        bencher.iter(|| black_box(state.judgements.since(NOW - 14 * 86_400).unwrap()));
    });
}

criterion_group!(benches, questions);
criterion_main!(benches);
