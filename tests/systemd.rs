//! The gateway under systemd: what it tells of itself (sd_notify(3)), and sockets that it is handed (sd_listen_fds(3)).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

use program::smtp::{Client, Server, closed_port, connected, connected_to};
use program::{Config, PATIENCE, letter, word};
use rustix::process::Signal;
use tempfile::TempDir;

/// A verifying gateway's place, and systemd beside it.
struct Site {
    folder: TempDir,
    next_hop: Server,
    path: PathBuf,
    notified: UnixDatagram,
}

impl Site {
    fn new() -> Self {
        let folder = program::folder();
        let path = folder.path().join("notify");
        let notified = UnixDatagram::bind(&path).unwrap();
        notified.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { folder, next_hop: Server::taking_all(), path, notified }
    }

    fn config(&self) -> Config {
        let config = Config::new(self.folder.path(), "mx.example.org");
        config.listener("inbound", "verify", self.next_hop.address, "")
    }

    /// The next message that says this.
    fn hears(&self, state: &str) -> String {
        loop {
            let message = self.next();
            if message.lines().any(|line| line == state) {
                return message;
            }
        }
    }

    fn next(&self) -> String {
        let mut message = [0; 4096];
        let length = self.notified.recv(&mut message).expect("a word from the gateway");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// All that was said and not yet heard.
    fn rest(&self) -> Vec<String> {
        self.notified.set_nonblocking(true).unwrap();
        let mut message = [0; 4096];
        let received =
            std::iter::from_fn(|| self.notified.recv(&mut message).ok().map(|n| message[..n].to_vec()));
        received.map(|message| String::from_utf8(message).unwrap()).collect()
    }
}

#[test]
fn tells_when_it_is_ready_reloads_and_stops() {
    let site = Site::new();
    let mut gateway = site.config().start_with(&[("NOTIFY_SOCKET", word(&site.path))]);
    let inbound = gateway.address("inbound");
    let ready = site.next();
    assert_eq!(ready.trim_end(), format!("READY=1\nSTATUS=listening: inbound {inbound}; sessions: 0"));

    gateway.signal(Signal::HUP);
    let first = monotonic_time(&site.hears("RELOADING=1"));
    assert!(!site.hears("READY=1").contains("REFUSED"));

    site.config().and("[policy]\nfail = \"shred\"").write();
    gateway.signal(Signal::HUP);
    assert!(monotonic_time(&site.hears("RELOADING=1")) > first);
    let refused = site.hears("READY=1");
    assert!(
        refused.contains("\nSTATUS=NEW CONFIGURATION REFUSED, the old one is in force; listening: "),
        "{refused}"
    );

    site.config().write();
    let _session = Client::hello(inbound);
    gateway.signal(Signal::HUP);
    let ready = site.hears("READY=1");
    assert!(ready.contains("\nSTATUS=listening: ") && ready.contains("; sessions: 1\n"), "{ready}");

    gateway.signal(Signal::TERM);
    let stopping = site.hears("STOPPING=1");
    assert!(stopping.contains("\nSTATUS=stopping, "), "{stopping}");
    assert_eq!(gateway.wait().code(), Some(0));
}

/// Without it, systemd 253 and later take a reload for a failed one.
fn monotonic_time(message: &str) -> u64 {
    let microseconds = message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    microseconds.unwrap_or_else(|| panic!("{message}")).parse().unwrap()
}

#[test]
fn tells_the_watchdog_that_it_is_alive() {
    let site = Site::new();
    let environment = [("NOTIFY_SOCKET", word(&site.path)), ("WATCHDOG_USEC", "300000")];
    let mut gateway = site.config().start_with(&environment);
    for _ in 0..4 {
        site.hears("WATCHDOG=1");
    }
    // Until the end: a delivery may take its time.
    let mut busy = Client::hello(gateway.address("inbound"));
    assert!(busy.open("a@example.net", "b@example.org").starts_with("354"));
    gateway.signal(Signal::TERM);
    site.hears("STOPPING=1");
    site.hears("WATCHDOG=1");
    assert!(busy.finish(&letter::plain("a@example.net", "late")).starts_with("250"));
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_watchdog_of_another_process_is_not_ours() {
    let site = Site::new();
    let environment =
        [("NOTIFY_SOCKET", word(&site.path)), ("WATCHDOG_USEC", "100000"), ("WATCHDOG_PID", "1")];
    let mut gateway = site.config().start_with(&environment);
    gateway.signal(Signal::TERM);
    gateway.wait();
    let said = site.rest();
    assert!(said.iter().any(|message| message.starts_with("STOPPING=1")), "{said:?}");
    assert!(!said.iter().any(|message| message.contains("WATCHDOG")), "{said:?}");
}

#[test]
fn is_not_ready_when_it_cannot_start() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = Config::new(site.folder.path(), "mx.example.org");
    let config = config.listener_at("inbound", "verify", &address, site.next_hop.address, "");
    let script = format!("export NOTIFY_SOCKET='{}'", word(&site.path));
    let ended = config.run_from_shell(&script, std::process::Stdio::null());
    assert_eq!(ended.status, 2, "{ended:?}");
    assert_eq!(site.rest(), Vec::<String>::new());
}

#[test]
fn goes_on_when_nobody_listens_to_what_it_tells() {
    let site = Site::new();
    let nowhere = site.folder.path().join("nowhere");
    let mut gateway = site.config().start_with(&[("NOTIFY_SOCKET", word(&nowhere))]);
    assert!(gateway.await_log("cannot tell systemd").contains("WARN"));
    Client::hello(gateway.address("inbound"));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
}

/// What a shell does for a program in its place: stdin becomes the one socket that is handed over.
fn handing_over(names: &str) -> String {
    format!("exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={names}")
}

#[test]
fn serves_the_listener_that_a_socket_is_named_for() {
    let site = Site::new();
    let (idle, other) = (closed_port(), Server::taking_all());
    let config = Config::new(site.folder.path(), "mx.example.org")
        .listener_at("inbound", "verify", &idle.to_string(), site.next_hop.address, "")
        .listener("second", "verify", other.address, "");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut gateway = config.start_from_shell(&handing_over("inbound"), OwnedFd::from(socket));

    assert_eq!(gateway.address("inbound"), address);
    assert!(TcpStream::connect(idle).is_err(), "`listen` is not used");
    let deliver = |to, subject| {
        let mut client = Client::hello(to);
        client.deliver("a@example.net", "b@example.org", &letter::plain("a@example.net", subject))
    };
    assert_eq!(deliver(address, "by the socket"), "250 2.0.0 taken");
    assert_eq!(site.next_hop.received().len(), 1);
    assert_eq!(deliver(gateway.address("second"), "bound as ever"), "250 2.0.0 taken");
    assert_eq!(other.received().len(), 1);
    // It does not block: with a socket that does, a session like this would hold up everything.
    let mut sessions: Vec<_> = (0..8).map(|_| Client::hello(address)).collect();
    assert!(sessions.iter_mut().all(|client| client.say("NOOP").starts_with("250")));
    drop(sessions);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn serves_a_unix_socket_and_leaves_its_file() {
    let site = Site::new();
    let path = site.folder.path().join("in.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let mut gateway = site.config().start_from_shell(&handing_over("inbound"), OwnedFd::from(socket));
    gateway.await_log(&format!("address=unix:{}", path.display()));
    let mut client = Client::greeted_over(connected_to(&path));
    assert!(client.say("EHLO client.example.org").starts_with("250"));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(path.exists(), "it belongs to whoever made it");
}

#[test]
fn tells_of_itself_by_the_socket_named_admin() {
    let site = Site::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let config = site.config().and("[admin]\nlisten = [\"127.0.0.1:1\"]");
    let gateway = config.start_from_shell(&handing_over("admin"), OwnedFd::from(socket));
    gateway.await_log(&format!(" metrics and health address={address}"));
    let mut client = connected(address);
    client.write_all(b"GET /ready HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
}

#[test]
fn says_what_is_wrong_with_a_socket() {
    let site = Site::new();
    let listening = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let refused = |script: &str, socket: OwnedFd, why: &str| {
        let ended = site.config().run_from_shell(script, socket);
        assert_eq!(ended.status, 2, "{ended:?}");
        assert!(ended.stderr.contains(why), "{why}: {}", ended.stderr);
    };
    refused(
        &handing_over("waxseal.socket"),
        listening(),
        "handed over as `waxseal.socket`, and no listener has that name: write FileDescriptorName= with one of `inbound`",
    );
    refused(&handing_over("inbound:outbound"), listening(), "1 sockets and 2 names");
    refused(&format!("{}; unset LISTEN_FDNAMES", handing_over("x")), listening(), "handed over as `unknown`");

    let connected = TcpStream::connect(site.next_hop.address).unwrap();
    let why = "hands over as `inbound` does not listen: the unit needs ListenStream= and Accept=no";
    refused(&handing_over("inbound"), connected.into(), why);
    let file = std::fs::File::open("/dev/null").unwrap();
    refused(&handing_over("inbound"), file.into(), why);
}

#[test]
fn leaves_sockets_of_another_process_alone() {
    let site = Site::new();
    for pid in ["LISTEN_PID=1", "LISTEN_PID="] {
        let script =
            format!("{}; export {pid}; [ $LISTEN_PID ] || unset LISTEN_PID", handing_over("inbound"));
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let gateway = site.config().start_from_shell(&script, OwnedFd::from(socket));
        assert_ne!(gateway.address("inbound"), address);
        Client::hello(gateway.address("inbound"));
    }
}
