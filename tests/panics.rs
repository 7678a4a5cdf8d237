//! A fault in this program: it ends the session that it happens in, and the log says where it is.
//!
//! Alone in its file, for the log and the panic hook are those of the whole process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[allow(dead_code, reason = "each test file uses a part of this")]
mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Gateway, next_hop, settings};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), octets)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn hello(server: SocketAddr) -> Self {
        let mut client = Self(BufReader::new(TcpStream::connect(server).await.unwrap()));
        assert!(client.reply().await.starts_with("220 "));
        assert!(client.say("HELO client.example").await.starts_with("250 "));
        client
    }

    async fn say(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.reply().await
    }

    async fn reply(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.unwrap().unwrap();
        line
    }
}

#[tokio::test]
async fn a_panic_ends_one_session_and_is_a_line_of_the_log() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).init();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(waxseal::log::report_panic));

    let gateway = Gateway::start(settings(next_hop().await)).await;
    let mut other = Client::hello(gateway.address).await;
    let mut client = Client::hello(gateway.address).await;
    for line in ["MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>"] {
        assert!(client.say(line).await.starts_with("250 "));
    }
    assert!(client.say("DATA").await.starts_with("354 "));
    let reply = client.say("X-Test: panic\r\n\r\n.").await;
    assert!(reply.starts_with("421 4.3.0 "), "{reply}");
    let mut rest = Vec::new();
    timeout(PATIENCE, client.0.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty());

    assert!(other.say("NOOP").await.starts_with("250 "), "other sessions go on");
    Client::hello(gateway.address).await;
    std::panic::set_hook(usual);
    assert_eq!(waxseal::log::panics(), 1);

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let panic = lines.iter().find(|line| line["message"] == "panic").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(panic["level"], "ERROR");
    assert!(panic["reason"].as_str().unwrap().contains("the message asked for it"), "{panic}");
    assert!(panic["location"].as_str().unwrap().contains("common"), "{panic}");
    assert!(lines.iter().any(|line| line["message"] == "session ended by a fault in this program"), "{text}");
}
