//! Nothing that was answered 250 is ever lost, whoever dies when.
//!
//! Fifty clients send 10,000 messages through a running gateway, half of them to be sealed, the other half, what came
//! of those, to be verified; one in five of them altered, to be held, and one in five from strangers, whose large messages
//! go through while they arrive. Meanwhile clients die at any octet of a message,
//! the next hop dies at any point of a session or as a whole, and the gateway itself is killed (SIGKILL) and started
//! again. Afterwards each attempt to hand in a message is judged by its own name:
//!
//! - answered 250: delivered, or held, exactly once;
//! - sent whole, but not answered 250 (the client, the next hop or the gateway died in between): at most once. The
//!   client will send such a message again, so the reader may have it twice: RFC 5321 §6.1 prefers that to losing it;
//! - not sent whole: neither delivered nor held;
//! - whatever was delivered or held is what the client sent, octet for octet, below the gateway's own field.
//!
//! What is told of held mail meanwhile has a test of its own: `told`.
//!
//! `WAXSEAL_KILL_SEED=<number>` repeats the choices of a run; how they fall in time remains the machine's affair.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod chance;
mod client;
mod ledger;
mod next_hop;
#[path = "../program/mod.rs"]
mod program;
mod told;

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use chance::Chance;
use client::Client;
use encodify::base64;
use ledger::{Attempt, Fate, Ledger, Sent, label};
use next_hop::Kills;
use program::smtp::free_port;
use program::{Config, Gateway};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Each goes through the gateway twice.
const LETTERS: usize = 5_000;
const CLIENTS: usize = 50;
const OFFICE: &str = "office@example.org";
/// Somebody whose mail is not ours to seal, and of whom no seal is expected.
const STRANGER: &str = "someone@example.net";
const GATEWAY_KILLS: usize = 8;
/// Longer than any machine needs, shorter than forever.
const DEADLINE: Duration = Duration::from_secs(900);

/// With the memory that a gateway has if nothing is said about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost() {
    kill_everybody("32MiB").await;
}

/// With so little that messages leave it for files at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_with_little_memory() {
    kill_everybody("1MiB").await;
}

async fn kill_everybody(memory: &str) {
    let seed = seed();
    let folder = program::folder();
    let hop = free_port();
    let config = config(folder.path(), hop, memory);
    let gateway = config.start();
    let (outbound, inbound) = (gateway.address("outbound"), gateway.address("inbound"));
    let (ledger, kills) = (Arc::new(Ledger::default()), Arc::new(Kills::default()));
    let next_hop = next_hop::live_and_die(hop, Arc::clone(&ledger), Arc::clone(&kills), Chance::new(seed, 1));
    let next_hop = tokio::spawn(next_hop);

    let progress = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = |address, who| {
            Client::new(address, Arc::clone(&ledger), Chance::new(seed, (100 * number + who) as u64))
        };
        let (sealing, verifying) = (client(outbound, 10), client(inbound, 11));
        clients.spawn(work(number, sealing, verifying, Arc::clone(&progress)));
    }
    let killer = tokio::spawn(kill_now_and_then(gateway, config, progress));
    let all_sent = async {
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        killer.await.unwrap()
    };
    let gateway = timeout(DEADLINE, all_sent).await.expect("all messages are taken in time");
    next_hop.abort();
    drop(gateway);

    let held = held(folder.path());
    let count = judge(&ledger, &held);
    println!("{count:?}, next hop killed {kills:?}, gateway killed {GATEWAY_KILLS} times");
    assert_eq!(count.answered, 2 * LETTERS);
    // It was as wild as it was meant to be.
    assert!(count.cut_off > 100 && count.unanswered > 100, "{count:?}");
    assert!(kills.whole.load(Ordering::Relaxed) > 3 && kills.sessions.load(Ordering::Relaxed) > 20);
}

fn seed() -> u64 {
    let seed = match std::env::var("WAXSEAL_KILL_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    };
    println!("WAXSEAL_KILL_SEED={seed}");
    seed
}

/// A gateway that seals and verifies with the same key, on ports that outlive it.
fn config(folder: &Path, next_hop: SocketAddr, memory: &str) -> Config {
    let record = program::keygen(&folder.join("gate1.pem"));
    Config::new(folder, "gate.example.org")
        .listener_at("outbound", "seal", &free_port().to_string(), next_hop, "")
        .listener_at("inbound", "verify", &free_port().to_string(), next_hop, "clients = [\"127.0.0.1\"]")
        .sealing_with(Path::new("gate1.pem"))
        .pinning(&record)
        .and("[policy]\nfail = \"quarantine\"")
        .and(&format!("[limits]\nconnections_per_client = 500\nmemory = \"{memory}\""))
        .and("[log]\nlevel = \"warn,waxseal::commands=info\"")
}

/// Sends every fiftieth letter: to be sealed, and what came of that to be verified.
async fn work(first: usize, mut sealing: Client, mut verifying: Client, progress: Arc<AtomicUsize>) {
    for number in (first..LETTERS).step_by(CLIENTS) {
        let is_stranger = number % 5 == 1;
        let fate = if is_stranger { Fate::Untouched } else { Fate::Sealed };
        let letter = letter(number, if is_stranger { STRANGER } else { OFFICE }, &mut sealing.chance);
        let id = sealing.send(&format!("{number}.out"), fate, &letter).await;
        progress.fetch_add(1, Ordering::Relaxed);
        let Some(message) = sealing.ledger.delivered(&id).pop() else {
            panic!("answered 250, not delivered: {id}")
        };
        let (fate, message) = match number % 5 {
            0 => (Fate::Held, renamed(&message)),
            1 => (Fate::Unsealed, message),
            _ => (Fate::Passed, message),
        };
        verifying.send(&format!("{number}.in"), fate, &message).await;
        progress.fetch_add(1, Ordering::Relaxed);
    }
}

/// A message with an attachment: mostly small, now and then too large for one packet or buffer. Some lines begin with
/// dots.
fn letter(number: usize, author: &str, chance: &mut Chance) -> Vec<u8> {
    let is_large = chance.percent(if author == STRANGER { 20 } else { 3 });
    let size = if is_large { 250_000 + chance.below(100_000) } else { 10 + chance.below(8_000) };
    format!(
        "From: Office <{author}>\r\nTo: Desk <desk@partner.example>\r\nSubject: {number}\r\n\
         Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{number}@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_letter\"\r\n\r\n\
         --=_letter\r\nContent-Type: text/plain\r\n\r\nSee the agenda.\r\n.\r\n..dots\r\n\
         --=_letter\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"Agenda.pdf\"\r\n\r\n{}--=_letter--\r\n",
        base64::MIME.encode(chance.octets(size)),
    )
    .into_bytes()
}

/// The message with its attachment under another name, which no verifying gateway lets through.
fn renamed(message: &[u8]) -> Vec<u8> {
    String::from_utf8(message.to_vec()).unwrap().replace("\"Agenda.pdf\"", "\"Agenda.exe\"").into_bytes()
}

/// Kills the gateway whenever a further part of all messages is through, and starts it again.
async fn kill_now_and_then(mut gateway: Gateway, config: Config, progress: Arc<AtomicUsize>) -> Gateway {
    let config = Arc::new(config);
    for kill in 1..=GATEWAY_KILLS {
        while progress.load(Ordering::Relaxed) < 2 * LETTERS * kill / (GATEWAY_KILLS + 1) {
            sleep(Duration::from_millis(5)).await;
        }
        let config = Arc::clone(&config);
        let restart = move || {
            drop(gateway);
            config.start()
        };
        gateway = tokio::task::spawn_blocking(restart).await.unwrap();
    }
    gateway
}

/// What lies in the quarantine, by attempt.
fn held(folder: &Path) -> HashMap<String, Vec<Vec<u8>>> {
    let mut held: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for entry in fs::read_dir(folder.join("state/quarantine")).unwrap() {
        let entry = entry.unwrap();
        // `tmp` holds what is not whole yet, and what a killed gateway left so.
        if entry.file_name() != "tmp" {
            let message = fs::read(entry.path().join("message.eml")).unwrap();
            held.entry(label(&message).unwrap_or("none").to_owned()).or_default().push(message);
        }
    }
    held
}

/// How the attempts ended.
#[derive(Debug, Default)]
struct Count {
    /// With 250.
    answered: usize,
    /// With 4yz, or in silence, after the whole message.
    unanswered: usize,
    /// With a part of the message sent.
    cut_off: usize,
    /// Before anything of the message was sent: turned away for now.
    turned_away: usize,
    /// Delivered or held without the client's having heard of it: the reader will have these twice.
    duplicates: usize,
}

/// Holds every attempt against what is there of it.
fn judge(ledger: &Ledger, held: &HashMap<String, Vec<Vec<u8>>>) -> Count {
    let mut count = Count::default();
    let mut strays = ledger.taken();
    strays.extend(held.keys().cloned());
    for attempt in ledger.attempts() {
        let delivered = ledger.delivered(&attempt.id);
        let held = held.get(&attempt.id).map_or(&[][..], Vec::as_slice);
        strays.remove(&attempt.id);
        let (there, elsewhere) = match attempt.fate {
            Fate::Held => (held.len(), delivered.len()),
            _ => (delivered.len(), held.len()),
        };
        assert_eq!(elsewhere, 0, "in the wrong place: {attempt:?}");
        match attempt {
            Attempt { reply: Some(250), .. } => {
                count.answered += 1;
                assert_eq!(there, 1, "answered 250: {}", attempt.id);
            }
            Attempt { sent: Sent::All, .. } => {
                count.unanswered += 1;
                count.duplicates += there;
                assert!(there <= 1, "{} is there {there} times", attempt.id);
            }
            Attempt { sent, .. } => {
                let counter = if sent == Sent::Part { &mut count.cut_off } else { &mut count.turned_away };
                *counter += 1;
                assert_eq!(there, 0, "never sent whole: {}", attempt.id);
            }
        }
        delivered.iter().for_each(|message| assert_whole(&attempt, message));
        assert!(held.iter().all(|message| *message == *attempt.message), "held as sent: {}", attempt.id);
    }
    assert!(strays.is_empty(), "sent by nobody: {strays:?}");
    count
}

/// The message is as it was sent, with at most the one field on top that the gateway adds.
fn assert_whole(attempt: &Attempt, delivered: &[u8]) {
    let id = &attempt.id;
    let field = delivered.strip_suffix(attempt.message.as_slice());
    let field = std::str::from_utf8(field.unwrap_or_else(|| panic!("not as it was sent: {id}"))).unwrap();
    let expected = match attempt.fate {
        Fate::Sealed => "Attachment-Seal: v=1;",
        Fate::Untouched => return assert!(field.is_empty(), "{id}: {field}"),
        Fate::Passed | Fate::Held => "Authentication-Results: gate.example.org; x-attachment-seal=pass ",
        Fate::Unsealed => "Authentication-Results: gate.example.org; x-attachment-seal=none\r\n",
    };
    assert!(field.starts_with(expected), "{id}: {field}");
    let lines = field.trim_end().split("\r\n");
    assert!(lines.skip(1).all(|line| line.starts_with([' ', '\t'])), "{id}: one field: {field}");
}
