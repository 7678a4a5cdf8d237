//! What sealing and checking cost, beside plain BLAKE3 over the same octets and mail-parser's own parse.
//!
//! `cargo bench --bench core` prints octets a second for each; `docs/PERFORMANCE.md` keeps a table.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot run has failed")]

use std::fs;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use attachment_seal::message::body::ArrivingBody;
use attachment_seal::message::header::HeaderSection;
use attachment_seal::mime;
use attachment_seal::seal::key::{KeyRecord, SealingKey};
use attachment_seal::seal::knowledge::{Knowledge, Pin, PinnedKey, Pins};
use attachment_seal::seal::message::Message;
use attachment_seal::seal::sign::{DEFAULT_LIFETIME, Moment, Sealer, seal};
use attachment_seal::verdict::verify::verify;
use attachment_seal::verdict::{State, Verdict};
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use encodify::base64;

const NOW: u64 = 1_795_392_000;

const HEADER: &str = "From: Office <office@example.org>\r\nTo: desk@partner.example\r\nSubject: Agenda\r\n\
    Date: Mon, 23 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n";

fn sealer() -> Sealer {
    Sealer {
        domain: "example.org".parse().unwrap(),
        selector: "gate1".parse().unwrap(),
        key: SealingKey::from_seed(&[1; 32]),
        lifetime: DEFAULT_LIFETIME,
        delegations: Default::default(),
    }
}

fn pins() -> Pins {
    let record = KeyRecord { key: Some(sealer().key.public()), trial: false };
    let mut pins = Pins::default();
    let keys = vec![PinnedKey { selector: None, record }];
    pins.add("example.org".parse().unwrap(), Pin { keys, ..Pin::default() });
    pins
}

/// A message of about `size` octets: a text and one attachment in base64.
fn message(size: usize, columns: usize) -> Vec<u8> {
    let content: Vec<u8> =
        (0..size as u64 / 4 * 3).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let encoded = base64::STANDARD.encode(&content);
    let mut text = format!(
        "{HEADER}Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain\r\n\r\n\
         {}--=_b\r\nContent-Type: application/pdf; name=\"Agenda.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"Agenda.pdf\"\r\n\r\n",
        "The agenda for the visit is attached, please read it.\r\n".repeat(20)
    )
    .into_bytes();
    for line in encoded.as_bytes().chunks(columns) {
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"--=_b--\r\n");
    text
}

fn sealed(message: &[u8]) -> Vec<u8> {
    let moment = Moment { now: NOW, random: [0; 16] };
    seal(&Message::new(message), &sealer(), moment).unwrap().apply(message)
}

/// A sealed message whose base64 was wrapped anew on the way.
fn changed(size: usize) -> Vec<u8> {
    let original = sealed(&message(size, 76));
    let seal_end = original.windows(7).position(|window| window == b"\r\nFrom:").unwrap() + 2;
    [&original[..seal_end], &message(size, 60)].concat()
}

/// The body's hash as it is known when the last octets have come in.
fn arrived(message: &[u8]) -> ArrivingBody {
    let mut body = ArrivingBody::default();
    message.chunks(256 << 10).for_each(|octets| body.see(octets));
    body
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, octets: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(octets as u64));
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    group
}

fn honest(criterion: &mut Criterion) {
    let (sealer, pins) = (sealer(), pins());
    let knowledge = Knowledge::pinned(&pins);
    let check = |message: &[u8]| verify(&Message::new(message), &knowledge, NOW);
    for (name, size) in [("24KiB", 24 << 10), ("1MiB", 1 << 20), ("25MiB", 25 << 20)] {
        let (plain, changed) = (message(size, 76), changed(size));
        let intact = sealed(&plain);
        assert_eq!(check(&intact).body(), Some(State::Intact));
        let result = check(&changed);
        assert_eq!((result.verdict(), result.body()), (Verdict::Pass, Some(State::Changed)));

        let mut group = group(criterion, name, plain.len());
        group.bench_function("blake3", |b| b.iter(|| blake3::hash(black_box(&plain))));
        group.bench_function("mail-parser", |b| {
            b.iter(|| {
                mail_parser::MessageParser::new().parse(black_box(&plain)).map(|parsed| parsed.parts.len())
            });
        });
        group.bench_function("walk", |b| {
            b.iter(|| mime::walk(black_box(&plain), &HeaderSection::parse(&plain)).leaves.len());
        });
        let moment = Moment { now: NOW, random: [0; 16] };
        group.bench_function("seal", |b| {
            b.iter(|| seal(&Message::new(black_box(&plain)), &sealer, moment).unwrap());
        });
        group.bench_function("verify-intact", |b| b.iter(|| check(black_box(&intact)).verdict()));
        group.bench_function("verify-changed", |b| b.iter(|| check(black_box(&changed)).verdict()));
        // As the gateway does it: the body was hashed while it came in, and this is what is left at the final dot.
        group.bench_function("seal, at the final dot", |b| {
            b.iter_batched(
                || arrived(&plain),
                |body| seal(&Message::arrived(black_box(&plain), body), &sealer, moment).unwrap(),
                BatchSize::PerIteration,
            );
        });
        for (name, message) in
            [("verify-intact, at the final dot", &intact), ("verify-changed, at the final dot", &changed)]
        {
            group.bench_function(name, |b| {
                b.iter_batched(
                    || arrived(message),
                    |body| verify(&Message::arrived(black_box(message), body), &knowledge, NOW).verdict(),
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

/// Prints what `waxseal verify` holds in memory at most for a message, the message included.
fn print_peak_memory(name: &str, message: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys/example.org");
    fs::create_dir_all(&keys).unwrap();
    let record = KeyRecord { key: Some(sealer().key.public()), trial: false };
    fs::write(keys.join("gate1.txt"), record.to_string()).unwrap();
    let file = folder.path().join("message.eml");
    fs::write(&file, message).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_waxseal"))
        .args(["verify", "--json", "--keys"])
        .args([folder.path().join("keys"), file])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak: f64 = 0.0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let kibibytes = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = kibibytes.map_or(peak, |kibibytes: f64| peak.max(kibibytes / 1024.0));
        thread::sleep(Duration::from_micros(500));
    }
    println!(
        "{name}: peak memory {peak:.0} MiB for a message of {:.0} MiB",
        message.len() as f64 / f64::from(1 << 20)
    );
}

/// Messages made to cost as much as they can, sealed as something else and so looked at in full.
fn hostile(criterion: &mut Criterion) {
    let size = 25 << 20;
    let pins = pins();
    let knowledge = Knowledge::pinned(&pins);
    let plain = sealed(&message(1000, 76));
    let top = |content: &str| {
        let from = plain.windows(7).position(|window| window == b"\r\nFrom:").unwrap() + 2;
        [&plain[..from], HEADER.as_bytes(), content.as_bytes()].concat()
    };
    let mixed = "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n";
    let fill = |text: &str| text.repeat(size / text.len());
    let parameters: String =
        (0..size / 40).map(|n| format!(";\r\n name*{n}*=utf-8''aaaaaaaaaaaaaaaa")).collect();
    let one_line = base64::STANDARD.encode(vec![7; size / 4 * 3]);
    let leaf = "--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let text = "--b\r\nContent-Type: text/plain\r\n\r\n";
    for (name, message) in [
        ("plain changed message", changed(size)),
        ("tiny header fields", top(&format!("{}\r\n\r\n", fill("A:b\r\n")))),
        ("boundary lines", top(&format!("{mixed}{}", fill("--b\r\n")))),
        ("lines that begin with two hyphens", top(&format!("{mixed}{text}{}--b--\r\n", fill("--\r\n")))),
        ("nested attached messages", top(&fill("Content-Type:message/rfc822\r\n\r\n"))),
        (
            "nested multiparts without end",
            top(&fill("Content-Type: multipart/mixed; boundary=\"x\"\r\n\r\n--x\r\n")),
        ),
        (
            "RFC 2231 continuations",
            top(&format!("{mixed}--b\r\nContent-Type: a/b{parameters}\r\n\r\n--b--\r\n")),
        ),
        ("base64 of junk", top(&format!("{mixed}{leaf}{}--b--\r\n", fill("!#$%&*\r\n")))),
        ("base64 on one line", top(&format!("{mixed}{leaf}{one_line}\r\n--b--\r\n"))),
        ("base64 one symbol a line", top(&format!("{mixed}{leaf}{}--b--\r\n", fill("A\r\n")))),
        (
            "quoted-printable, every octet escaped",
            top(&format!(
                "{mixed}--b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n--b--\r\n",
                fill("=41=41=41=41=41=41=41=41=41=41=\r\n")
            )),
        ),
        ("text of blanks", top(&format!("{mixed}{text}{}\r\n--b--\r\n", fill(" \t")))),
        ("text of colons", top(&format!("{mixed}{text}{}\r\n--b--\r\n", fill("data:")))),
        ("empty lines", top(&format!("\r\n{}", fill("\r\n")))),
    ] {
        let mut group = group(criterion, "hostile 25MB", message.len());
        group.sample_size(10).measurement_time(Duration::from_millis(500));
        group.bench_function(name, |b| {
            b.iter_batched(
                || &message,
                |message| verify(&Message::new(message), &knowledge, NOW).verdict(),
                BatchSize::PerIteration,
            );
        });
        group.finish();
        print_peak_memory(name, &message);
    }
}

criterion_group!(benches, honest, hostile);
criterion_main!(benches);
