//! Sockets: both families on one port, listening on a UNIX socket, and passing mail to one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use program::smtp::{Client, Server, connected_to, free_port};
use program::tls::Authority;
use program::{Config, PATIENCE, letter, waxseal, word};
use rustix::process::Signal;

const SENDER: &str = "someone@example.net";
const RECIPIENT: &str = "desk@partner.example";

fn config(folder: &Path, listen: &str, next_hop: &str, more: &str) -> Config {
    Config::new(folder, "mx.partner.example").and(&format!(
        "[[listener]]\nname = \"inbound\"\nmode = \"verify\"\nlisten = [\"{listen}\"]\nnext_hop = \"{next_hop}\"\n\
         clients = [\"127.0.0.1\"]\n{more}"
    ))
}

/// A server behind a UNIX socket that says yes to everything, and what it heard up to DATA.
fn next_hop(path: &Path) -> thread::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        let client = listener.accept().unwrap().0;
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = BufReader::new(client);
        let mut heard = Vec::new();
        client.get_mut().write_all(b"220 mail.partner.example ESMTP\r\n").unwrap();
        loop {
            let mut line = String::new();
            assert!(client.read_line(&mut line).unwrap() > 0, "it hung up: {heard:?}");
            let reply: &[u8] = match line.as_str() {
                "DATA\r\n" => b"354 go ahead\r\n",
                ".\r\n" => b"250 2.0.0 taken\r\n",
                "QUIT\r\n" => return heard,
                line if line.starts_with("EHLO") => {
                    b"250-mail\r\n250-AUTH PLAIN\r\n250 XCLIENT ADDR PORT\r\n"
                }
                line if line.contains("FROM:") || line.contains("TO:<") || line.starts_with("XCLIENT") => {
                    b"250 ok\r\n"
                }
                _ => continue,
            };
            heard.push(line.trim_end().to_owned());
            client.get_mut().write_all(reply).unwrap();
        }
    })
}

#[test]
fn mail_goes_through_unix_sockets_on_both_sides() {
    let folder = program::folder();
    let path = folder.path().join("in.sock");
    let heard = next_hop(&folder.path().join("out.sock"));
    // Relative paths start at the configuration's folder.
    let mut gateway = config(folder.path(), "unix:in.sock", "unix:out.sock", "xclient = true").start();
    gateway.await_log(&format!(" listening listener=\"inbound\" address=unix:{}", path.display()));
    let file = fs::metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o660);

    let mut client = Client::greeted_over(connected_to(&path));
    let reply = client.say("EHLO client.example.org");
    // Nobody on a network can read along.
    assert!(reply.contains("250-AUTH PLAIN\r\n") || reply.ends_with("250 AUTH PLAIN"), "{reply}");
    assert_eq!(client.deliver(SENDER, RECIPIENT, &letter::plain(SENDER, "unix")), "250 2.0.0 taken");
    drop(client);
    let heard = heard.join().unwrap();
    assert_eq!(heard[1], "XCLIENT ADDR=127.0.0.1 PORT=[UNAVAILABLE]");
    assert!(heard.contains(&format!("MAIL FROM:<{SENDER}>")));

    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(!path.exists());
}

/// As administrators write it, in either order; `[::]` alone takes both in, as ever.
#[test]
fn both_families_are_served_on_one_port() {
    if TcpListener::bind("[::1]:0").is_err() {
        return program::skip::skipped("this machine has no IPv6");
    }
    let (folder, server) = (program::folder(), Server::taking_all());
    for listen in ["0.0.0.0:P\", \"[::]:P", "[::]:P\", \"0.0.0.0:P", "[::]:P\", \"127.0.0.1:P", "[::]:P"] {
        let port = free_port().port();
        let listen = listen.replace('P', &port.to_string());
        let more = "clients = [\"127.0.0.1\", \"::1\"]";
        let config = Config::new(folder.path(), "mx.partner.example").and(&format!(
            "[[listener]]\nname = \"inbound\"\nmode = \"verify\"\nlisten = [\"{listen}\"]\n\
             next_hop = \"{}\"\n{more}",
            server.address
        ));
        let _gateway = config.start();
        for address in
            [SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
        {
            let greeting = Client::connect(address).greeting;
            assert!(greeting.starts_with("220 "), "{listen}, {address}: {greeting}");
        }
    }
}

#[test]
fn a_socket_that_somebody_listens_on_is_not_taken_away() {
    let folder = program::folder();
    let path = folder.path().join("in.sock");
    let server = Server::taking_all();
    let config = config(folder.path(), "unix:in.sock", &server.address.to_string(), "");
    // Killed, it leaves its file behind.
    drop(config.start());
    assert!(path.exists());
    let gateway = config.start();
    let second = waxseal(&["run", "--config", word(&gateway.config)]);
    assert!(second.status != 0 && second.stderr.contains("another program listens there"), "{second:?}");
    drop(connected_to(&path));
    drop(gateway);

    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let third = waxseal(&["run", "--config", word(&folder.path().join("waxseal.toml"))]);
    assert!(third.status != 0 && third.stderr.contains("a file that is no socket"), "{third:?}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn starttls_works_through_a_unix_socket() {
    let folder = program::folder();
    let (authority, server) = (Authority::new("a trusted authority"), Server::taking_all());
    authority.issue(&["mx.partner.example"]).write(folder.path());
    let _gateway = config(folder.path(), "unix:in.sock", &server.address.to_string(), "")
        .and("[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"")
        .start();
    let mut client = Client::greeted_over(connected_to(&folder.path().join("in.sock")));
    assert!(client.say("STARTTLS").starts_with("220"));
    let mut client = Client::over(authority.connect("mx.partner.example", client.into_stream()));
    assert!(client.say("EHLO client.example.org").starts_with("250"));
    assert_eq!(client.deliver(SENDER, RECIPIENT, &letter::plain(SENDER, "unix")), "250 2.0.0 taken");
}
