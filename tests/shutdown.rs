//! The end of the SMTP side: who had connected is told, and nobody is waited for longer than the grace.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[allow(dead_code, reason = "each test file uses a part of this")]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Obliging, next_hop, settings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use waxseal::smtp::{self, Resources};

/// How long anything that must come may take.
const PATIENCE: Duration = Duration::from_secs(10);

async fn serve(listener: TcpListener, shutdown: watch::Receiver<bool>, grace: Duration) {
    let settings = Arc::new(settings(next_hop().await));
    let settings = move || Arc::clone(&settings);
    smtp::serve(
        listener,
        settings,
        Arc::new(Obliging),
        Resources::new(std::env::temp_dir()),
        shutdown,
        grace,
    )
    .await;
}

#[tokio::test]
async fn clients_that_nobody_accepted_yet_are_told_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    let (_stop, shutdown) = watch::channel(true);
    let serving = tokio::spawn(serve(listener, shutdown, PATIENCE));
    for mut client in clients {
        let mut said = String::new();
        timeout(PATIENCE, client.read_to_string(&mut said)).await.unwrap().unwrap();
        assert!(said.lines().last().is_some_and(|line| line.starts_with("421 4.3.2 ")), "{said:?}");
    }
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_message_that_does_not_end_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = BufReader::new(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let (stop, shutdown) = watch::channel(false);
    let serving = tokio::spawn(serve(listener, shutdown, Duration::from_millis(200)));
    let mut line = String::new();
    for said in ["EHLO client.example", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>", "DATA"] {
        client.write_all(format!("{said}\r\n").as_bytes()).await.unwrap();
    }
    while !line.starts_with("354") {
        line.clear();
        let read = timeout(PATIENCE, client.read_line(&mut line)).await.unwrap();
        assert!(read.unwrap() > 0, "no 354");
    }
    client.write_all(b"Subject: never ends\r\n").await.unwrap();
    stop.send_replace(true);
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    // No 250: the client has the message and tries again.
    let mut rest = String::new();
    let _ = timeout(PATIENCE, client.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "");
}
