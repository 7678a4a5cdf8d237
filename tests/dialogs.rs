//! Plays the SMTP conversations in `tests/dialogs/` against the real server, with both its peers: the client and
//! the next hop. Every `.dialog` file there is a test; adding one needs no code.
//!
//! | line | means |
//! |---|---|
//! | `# …` | what the dialog proves |
//! | `set KEY VALUE` | a limit or setting, before all else; `set next_hop down` has nobody listen there |
//! | `include NAME` | the lines of `NAME.part` |
//! | `C: …` | the client sends this line |
//! | `C\| …` | the client sends exactly this, no CR LF added |
//! | `S: …` | the client gets this line; `*` at its end stands for anything |
//! | `N> …` | the next hop gets this line |
//! | `N= …` | the next hop gets exactly this |
//! | `N< …` | the next hop says this line |
//! | `N\| …` | the next hop says exactly this |
//! | `N! broken off` | the gateway hangs up on the next hop before a message's end; it may connect again |
//! | `C! close`, `N! close` | the client, the next hop hangs up, and goes on listening |
//! | `N! gone` | the next hop hangs up and listens no more; it may be connected to again |
//! | `N! down` | the next hop hangs up and nobody listens there any more |
//! | `C! closed`, `N! closed` | the client, the next hop finds that the gateway hung up |
//! | `wait MILLISECONDS` | nothing happens for a while |
//! | `shutdown` | the gateway is asked to stop |
//!
//! `\r`, `\n`, `\\` and `\xHH` stand for octets, `{x*100}` for a hundred `x`. At the end neither peer may have got
//! anything that the dialog does not list, except that the next hop may get `QUIT`. Each dialog is played twice: as
//! it is, and with the client's octets one at a time, unless `set pieces no` says that it is about what comes at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its dialog has failed")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use waxseal::smtp::{BareLineEnds, Introduction, Settings};

/// How long anything that must come may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn dialogs() {
    play_all(false).await;
}

#[tokio::test]
async fn dialogs_octet_by_octet() {
    play_all(true).await;
}

async fn play_all(octet_by_octet: bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let dialogs: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "dialog")).collect();
    assert!(!dialogs.is_empty());
    let mut playing: JoinSet<Result<(), String>> =
        dialogs.into_iter().map(|path| play(path, octet_by_octet)).collect();
    let mut failures = Vec::new();
    while let Some(played) = playing.join_next().await {
        failures.extend(played.unwrap().err());
    }
    failures.sort();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Three clients at once, each with more than the memory that all may take: they wait for each other, none is
/// refused, and no octet is lost.
#[tokio::test]
async fn large_messages_arrive_although_memory_is_short() {
    let next_hop = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = common::settings(next_hop.local_addr().unwrap());
    settings.limits.message_size = 10 << 20;
    settings.limits.memory = 1 << 20;
    let gateway = Gateway::start(settings).await;
    let mut sessions = JoinSet::new();
    for number in 0..3 {
        let client = TcpStream::connect(gateway.address).await.unwrap();
        let next_hop = timeout(PATIENCE, next_hop.accept()).await.unwrap().unwrap().0;
        let sending = send_large(Peer::new(client), Peer::new(next_hop), number);
        sessions.spawn(timeout(4 * PATIENCE, sending));
    }
    while let Some(sent) = sessions.join_next().await {
        sent.unwrap().expect("it arrives in time").unwrap();
    }
    assert!(gateway.stop().await);
}

async fn send_large(mut client: Peer, mut next_hop: Peer, number: usize) -> Result<(), String> {
    let line = [vec![b'0' + number as u8; 70 + number], b"\r\n..\r\n".to_vec()].concat();
    let message = [b"\r\n".to_vec(), line.repeat(40_000), b".\r\n".to_vec()].concat();
    next_hop.send(b"220 mail.example\r\n").await?;
    client.expect("220 *").await?;
    for command in ["MAIL FROM:<a@example.org>", "RCPT TO:<b@example.net>"] {
        client.send(format!("{command}\r\n").as_bytes()).await?;
        next_hop.expect(command).await?;
        next_hop.send(b"250 ok\r\n").await?;
        client.expect("250 ok").await?;
    }
    client.send(b"DATA\r\n").await?;
    client.expect("354 *").await?;
    client.send(&message).await?;
    next_hop.expect("DATA").await?;
    next_hop.send(b"354 go on\r\n").await?;
    let mut arrived = vec![0; message.len()];
    next_hop.stream.read_exact(&mut arrived).await.map_err(|error| error.to_string())?;
    if arrived != message {
        return Err("the message changed on its way".into());
    }
    next_hop.send(b"250 queued\r\n").await?;
    client.expect("250 queued").await
}

/// A line of a dialog and where it stands.
struct Step {
    place: String,
    text: String,
}

fn steps(path: &Path) -> Vec<Step> {
    let name = path.file_name().unwrap().to_string_lossy();
    let mut steps = Vec::new();
    for (number, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
        match line.strip_prefix("include ") {
            Some(part) => steps.extend(self::steps(&path.with_file_name(format!("{part}.part")))),
            None if line.is_empty() || line.starts_with('#') => {}
            None => {
                let place = format!("{name}:{}", number + 1);
                steps.push(Step { place, text: line.to_owned() });
            }
        }
    }
    steps
}

async fn play(path: PathBuf, octet_by_octet: bool) -> Result<(), String> {
    let next_hop = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = common::settings(next_hop.local_addr().unwrap());
    let mut next_hop = Some(next_hop);
    // A port that is taken, so that no other test gets it, but that nobody listens on.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let steps = steps(&path);
    let (set, spoken): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step.text.starts_with("set "));
    for step in set {
        match &step.text[4..] {
            "next_hop down" => {
                next_hop = None;
                settings.next_hop = deaf.local_addr().unwrap().into();
            }
            "pieces no" if octet_by_octet => return Ok(()),
            "pieces no" => {}
            setting => set_one(&mut settings, setting),
        }
    }
    let gateway = Gateway::start(settings).await;
    let client = TcpStream::connect(gateway.address).await.unwrap();
    let mut scene = Scene {
        client: Peer { octet_by_octet, ..Peer::new(client) },
        next_hop: None,
        next_hop_listener: next_hop,
        gateway,
        client_is_gone: false,
    };
    for step in &spoken {
        let said = timeout(PATIENCE, scene.play(&step.text)).await;
        said.unwrap_or_else(|_| Err("nothing happened".into()))
            .map_err(|error| format!("{}: `{}`: {error}", step.place, step.text))?;
    }
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    timeout(PATIENCE, scene.end())
        .await
        .unwrap_or_else(|_| Err("no end".into()))
        .map_err(|error| format!("{name}: at the end: {error}"))
}

fn set_one(settings: &mut Settings, setting: &str) {
    let (key, value) = setting.split_once(' ').expect("set KEY VALUE");
    let number = || value.parse::<u64>().expect("a number");
    let duration = || Duration::from_millis(number());
    let networks = || vec![value.parse().expect("a network")];
    let limits = &mut settings.limits;
    match key {
        "message_size" => limits.message_size = number(),
        "header_size" => limits.header_size = number(),
        "memory" => limits.memory = number(),
        "recipients" => limits.recipients = value.parse().expect("a number"),
        "spool_per_client" => limits.spool_per_client = number(),
        "connections" => limits.connections = value.parse().expect("a number"),
        "bad_commands" => limits.bad_commands = value.parse().expect("a number"),
        "command_timeout" => limits.command_timeout = duration(),
        "data_timeout" => limits.data_timeout = duration(),
        "next_hop_timeout" => limits.next_hop_timeout = duration(),
        "clients" => settings.clients = networks(),
        "xclient" => settings.introduction = Introduction::Xclient,
        "proxy_protocol" => settings.introduction = Introduction::ProxyHeader,
        "xclient_from" => settings.xclient_from = networks(),
        "xforward_from" => settings.xforward_from = networks(),
        "proxy_protocol_from" => settings.proxy_header_from = networks(),
        "connections_per_client" => limits.connections_per_client = value.parse().expect("a number"),
        "auth" if value == "required" => settings.requires_auth = true,
        "growth" => settings.growth = number(),
        "bare_line_ends" if value == "normalize" => settings.bare_line_ends = BareLineEnds::Normalize,
        _ => panic!("unknown setting {key}"),
    }
}

struct Scene {
    client: Peer,
    next_hop: Option<Peer>,
    next_hop_listener: Option<TcpListener>,
    gateway: Gateway,
    client_is_gone: bool,
}

impl Scene {
    async fn play(&mut self, text: &str) -> Result<(), String> {
        let (tag, rest) = text.split_once(' ').unwrap_or((text, ""));
        let line = || [octets(rest), b"\r\n".to_vec()].concat();
        match tag {
            "C:" => self.client.send(&line()).await,
            "C|" => self.client.send(&octets(rest)).await,
            "S:" => self.client.expect(rest).await,
            "N>" => self.next_hop().await.expect(rest).await,
            "N=" => self.next_hop().await.expect_exactly(&octets(rest)).await,
            "N<" => self.next_hop().await.send(&line()).await,
            "N|" => self.next_hop().await.send(&octets(rest)).await,
            "C!" if rest == "close" => {
                self.client_is_gone = true;
                self.client.hang_up().await
            }
            "C!" if rest == "closed" => self.client.expect_end(&[b""]).await,
            "N!" if rest == "broken off" => {
                let mut next_hop = self.next_hop.take().ok_or("nobody to break off with")?;
                let _ = next_hop.stream.read_to_end(&mut next_hop.input).await;
                let ended = next_hop.input.windows(5).any(|octets| octets == b"\r\n.\r\n");
                let said_more = next_hop.input.ends_with(b"QUIT\r\n");
                match (ended, said_more) {
                    (true, _) => Err("the message was ended".into()),
                    (_, true) => Err("QUIT became a line of the message".into()),
                    (false, false) => Ok(()),
                }
            }
            "N!" if rest == "close" => self.next_hop().await.hang_up().await,
            "N!" if rest == "gone" => {
                self.next_hop().await;
                self.next_hop = None;
                Ok(())
            }
            "N!" if rest == "down" => {
                self.next_hop().await;
                (self.next_hop, self.next_hop_listener) = (None, None);
                Ok(())
            }
            "N!" if rest == "closed" => self.next_hop().await.expect_end(&[b""]).await,
            "wait" => {
                sleep(Duration::from_millis(rest.parse().expect("milliseconds"))).await;
                Ok(())
            }
            "shutdown" => {
                self.gateway.shut_down();
                Ok(())
            }
            _ => Err("not a line of a dialog".into()),
        }
    }

    async fn next_hop(&mut self) -> &mut Peer {
        if self.next_hop.is_none() {
            let listener = self.next_hop_listener.as_ref().expect("a next hop that is not down");
            self.next_hop = Some(Peer::new(listener.accept().await.unwrap().0));
        }
        self.next_hop.as_mut().expect("the next hop that was just accepted")
    }

    /// The client hangs up; nothing unheard may be left on either side.
    async fn end(mut self) -> Result<(), String> {
        if !self.client_is_gone {
            self.client.hang_up().await?;
            self.client.expect_end(&[b""]).await.map_err(|error| format!("client: {error}"))?;
        }
        if let Some(next_hop) = &mut self.next_hop {
            let left = next_hop.expect_end(&[b"", b"QUIT\r\n"]).await;
            left.map_err(|error| format!("next hop: {error}"))?;
        }
        drop(self.next_hop);
        if self.gateway.stop().await { Ok(()) } else { Err("a session goes on".into()) }
    }
}

/// One side of the gateway: its client or its next hop.
struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
    octet_by_octet: bool,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, input: Vec::new(), octet_by_octet: false }
    }

    async fn send(&mut self, octets: &[u8]) -> Result<(), String> {
        let cut = if self.octet_by_octet { 1 } else { octets.len().max(1) };
        for part in octets.chunks(cut) {
            // The gateway may have heard enough and hung up; what it said before comes to light when it is expected.
            if self.stream.write_all(part).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn expect(&mut self, pattern: &str) -> Result<(), String> {
        let line = self.read_line().await?;
        let matches = match pattern.strip_suffix('*') {
            Some(start) => line.starts_with(&octets(start)),
            None => line == octets(pattern),
        };
        if matches { Ok(()) } else { Err(format!("came `{}`", line.escape_ascii())) }
    }

    async fn expect_exactly(&mut self, octets: &[u8]) -> Result<(), String> {
        while self.input.len() < octets.len() {
            let read = self.stream.read_buf(&mut self.input).await.map_err(|error| error.to_string())?;
            if read == 0 {
                return Err(format!("closed, after {} octets", self.input.len()));
            }
        }
        let came: Vec<u8> = self.input.drain(..octets.len()).collect();
        if came == octets { Ok(()) } else { Err("something else came".into()) }
    }

    async fn read_line(&mut self) -> Result<Vec<u8>, String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.input.drain(..end + 2).collect::<Vec<_>>();
                return Ok(line[..end].to_vec());
            }
            let read = self.stream.read_buf(&mut self.input).await.map_err(|error| error.to_string())?;
            if read == 0 {
                return Err(format!("closed, after `{}`", self.input.escape_ascii()));
            }
        }
    }

    async fn expect_end(&mut self, allowed: &[&[u8]]) -> Result<(), String> {
        // A reset is an end as well.
        let _ = self.stream.read_to_end(&mut self.input).await;
        let as_it_should = allowed.contains(&self.input.as_slice());
        if as_it_should { Ok(()) } else { Err(format!("still came `{}`", self.input.escape_ascii())) }
    }

    async fn hang_up(&mut self) -> Result<(), String> {
        // The peer may have hung up before.
        let _ = self.stream.shutdown().await;
        Ok(())
    }
}

/// `TEXT*COUNT}` and what follows it.
fn repetition(text: &[u8]) -> Option<(&str, usize, &[u8])> {
    let end = text.iter().position(|&octet| octet == b'}')?;
    let (repeated, count) = std::str::from_utf8(&text[..end]).ok()?.rsplit_once('*')?;
    Some((repeated, count.parse().ok()?, &text[end + 1..]))
}

/// Text of a dialog to octets.
fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        match (first, behind) {
            (b'\\', [b'x', hex @ ..]) => {
                let digits = std::str::from_utf8(&hex[..2]).unwrap();
                octets.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &hex[2..];
            }
            (b'\\', [escaped, behind @ ..]) => {
                octets.push(match escaped {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    other => *other,
                });
                rest = behind;
            }
            (b'{', behind) if repetition(behind).is_some() => {
                let (repeated, count, behind) = repetition(behind).unwrap();
                octets.extend(self::octets(repeated).repeat(count));
                rest = behind;
            }
            _ => octets.push(first),
        }
    }
    octets
}
