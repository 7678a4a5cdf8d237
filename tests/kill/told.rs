//! Nobody who should be told of held mail is left untold, whoever dies when.
//!
//! Round after round, clients have altered messages held, and the gateway is killed (SIGKILL) at any moment: while it holds, while it
//! sends alerts and notices, between a mail server's 250 and its own note of that. The mail server is a real one on loopback; now
//! and then it puts a mail off, or hangs up instead of its 250. In the end, of each message that is held, the administrator and
//! the recipient were told once, or twice where a 250 was lost or the gateway was killed around it, and never not at all.
//!
//! `WAXSEAL_KILL_ROUNDS=200` makes a long test of it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mail_parser::MessageParser;

use crate::chance::Chance;
use crate::program::site::{SENDER, Site};
use crate::program::{Gateway, PATIENCE};
use crate::seed;

/// Rounds unless `WAXSEAL_KILL_ROUNDS` has another number.
const ROUNDS: usize = 12;
/// Clients in a round, each with a recipient of its own.
const CLIENTS: usize = 2;
const ADMINISTRATOR: &str = "root@partner.example";
/// A kill this soon after a mail may have come before the gateway noted that it was taken.
const NOTED: Duration = Duration::from_secs(2);
/// Longer than alerts are gathered, and than any machine needs.
const SETTLED: Duration = Duration::from_secs(240);

/// A mail that was taken.
#[derive(Clone, Debug)]
struct Taken {
    to: String,
    text: String,
    at: Instant,
    /// Whether the gateway got no 250 for it.
    is_mute: bool,
}

/// The server that takes alerts and notices.
#[derive(Debug)]
struct Told {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
    /// Of a hundred mails, so many meet with a mishap.
    mishaps: Arc<AtomicUsize>,
}

impl Told {
    fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let told = Self {
            address: listener.local_addr().unwrap(),
            taken: Arc::default(),
            mishaps: Arc::new(AtomicUsize::new(15)),
        };
        let (taken, mishaps) = (Arc::clone(&told.taken), Arc::clone(&told.mishaps));
        thread::spawn(move || {
            for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
                let (taken, mishaps) = (Arc::clone(&taken), Arc::clone(&mishaps));
                let chance = Chance::new(seed, 10_000 + number as u64);
                // A client that is killed ends its session, and nothing else.
                thread::spawn(move || serve(client, &taken, &mishaps, chance));
            }
        });
        told
    }

    fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }
}

fn serve(
    client: TcpStream,
    taken: &Mutex<Vec<Taken>>,
    mishaps: &AtomicUsize,
    mut chance: Chance,
) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut client = BufReader::new(client);
    client.get_mut().write_all(b"220 told.example ESMTP\r\n")?;
    let (mut line, mut to) = (String::new(), String::new());
    while {
        line.clear();
        client.read_line(&mut line)? > 0
    } {
        let reply = match line.split([' ', '\r', ':']).next().unwrap_or_default() {
            "EHLO" => "250-told.example\r\n250 8BITMIME",
            "RCPT" => {
                to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                "250 2.1.5 ok"
            }
            "DATA" => {
                client.get_mut().write_all(b"354 go ahead\r\n")?;
                let mut mail = Vec::new();
                while !mail.ends_with(b"\r\n.\r\n") {
                    if client.read_until(b'\n', &mut mail)? == 0 {
                        return Ok(());
                    }
                }
                // The dot is no more of the mail; behind base64 it would be no symbol.
                mail.truncate(mail.len() - b".\r\n".len());
                // The gateway may be killed while it waits.
                thread::sleep(Duration::from_millis(chance.below(80) as u64));
                let is_mishap = chance.percent(mishaps.load(Ordering::Relaxed));
                let is_mute = is_mishap && chance.percent(50);
                if is_mishap && !is_mute {
                    client.get_mut().write_all(b"451 4.3.0 not now\r\n")?;
                    continue;
                }
                let text = MessageParser::default().parse(&mail).unwrap().body_text(0).unwrap().into_owned();
                taken.lock().unwrap().push(Taken { to: to.clone(), text, at: Instant::now(), is_mute });
                if is_mute {
                    return Ok(());
                }
                "250 2.0.0 taken"
            }
            "QUIT" => {
                client.get_mut().write_all(b"221 2.0.0 bye\r\n")?;
                return Ok(());
            }
            _ => "250 2.0.0 ok",
        };
        client.get_mut().write_all(format!("{reply}\r\n").as_bytes())?;
    }
    Ok(())
}

#[test]
fn nobody_is_left_untold() {
    let rounds =
        std::env::var("WAXSEAL_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let seed = seed();
    let mut chance = Chance::new(seed, 7);
    let (site, told) = (Site::new(), Told::start(seed));
    let config = site.verifying("").and(&format!(
        "[alerts]\nto = \"{ADMINISTRATOR}\"\nnext_hop = \"{}\"\ndigest = \"off\"\n[notices]\nto = \"recipients\"\nlanguage = \"bo\"\n\
         [log]\nlevel = \"error,waxseal::commands=info\"",
        told.address
    ));
    let swapped = Arc::new(site.swapped("killed"));
    let mut kills = Vec::new();
    for round in 0..rounds {
        let gateway = config.start();
        let address = gateway.address("inbound");
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (swapped, to) = (Arc::clone(&swapped), format!("r{round}c{client}@partner.example"));
                thread::spawn(move || hand_in(address, &to, &swapped))
            })
            .collect();
        thread::sleep(Duration::from_millis(chance.below(1_800) as u64));
        drop(gateway);
        kills.push(Instant::now());
        for client in clients {
            // What the client was told is no matter: what is held counts.
            let _ = client.join().unwrap();
        }
    }
    told.mishaps.store(0, Ordering::Relaxed);
    // What was put off waits for its pause, which may be hours by now.
    let database = rusqlite::Connection::open(site.folder.path().join("state/memory.sqlite")).unwrap();
    database.execute_batch("UPDATE letter SET due = 0").unwrap();
    drop(database);
    let gateway = config.start();
    let wanted = wanted(&gateway);
    assert!(wanted.len() >= rounds, "hardly anything was held: {}", wanted.len());
    let deadline = Instant::now() + SETTLED;
    let missing = || {
        let taken = told.taken();
        wanted.iter().filter(|letter| times(&taken, letter).is_empty()).cloned().collect::<Vec<_>>()
    };
    while !missing().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(200));
    }
    assert!(missing().is_empty(), "never told: {:?}", missing());
    // Nothing comes that was told already.
    thread::sleep(Duration::from_secs(5));
    let taken = told.taken();
    let mut count: HashMap<usize, usize> = HashMap::new();
    for letter in &wanted {
        let times = times(&taken, letter);
        *count.entry(times.len()).or_default() += 1;
        for earlier in &times[..times.len() - 1] {
            let is_killed = kills.iter().any(|kill| *kill + NOTED > earlier.at && *kill < earlier.at + NOTED);
            assert!(earlier.is_mute || is_killed, "{letter:?} was told {} times", times.len());
        }
    }
    println!("{rounds} kills, {} letters, told so many times: {count:?}", wanted.len());
    let is_of_one = |mail: &&Taken| wanted.iter().any(|(to, id)| mail.to == *to && mail.text.contains(id));
    assert_eq!(taken.iter().filter(is_of_one).count(), taken.len(), "mail about nothing that is held");
}

/// Each address, and each message of which it is to be told.
fn wanted(gateway: &Gateway) -> Vec<(String, String)> {
    let mut wanted = Vec::new();
    for held in gateway.held() {
        let id = held["id"].as_str().unwrap().to_owned();
        let recipients = held["recipients"].as_array().unwrap();
        wanted.extend(recipients.iter().map(|to| (to.as_str().unwrap().to_owned(), id.clone())));
        wanted.push((ADMINISTRATOR.to_owned(), id));
    }
    wanted
}

fn times<'a>(taken: &'a [Taken], (to, id): &(String, String)) -> Vec<&'a Taken> {
    taken.iter().filter(|mail| mail.to == *to && mail.text.contains(id)).collect()
}

/// Hands in one message as far as the gateway lives.
fn hand_in(server: SocketAddr, to: &str, message: &[u8]) -> std::io::Result<()> {
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let commands =
        ["HELO client.example.org", &format!("MAIL FROM:<{SENDER}>"), &format!("RCPT TO:<{to}>"), "DATA"];
    for command in commands {
        stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        line.clear();
        stream.read_line(&mut line)?;
    }
    let stuffed = String::from_utf8_lossy(message).replace("\r\n.", "\r\n..");
    stream.get_mut().write_all(stuffed.as_bytes())?;
    stream.get_mut().write_all(b".\r\n")?;
    line.clear();
    stream.read_line(&mut line).map(drop)
}
