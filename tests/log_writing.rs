//! A log that cannot be written, or whose reader is stuck: mail goes on as if nothing were, what is dropped is counted and
//! told. And where systemd's journal reads, it gets priorities.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, ChildStderr, Command, Stdio};

use program::run::{ended, signal};
use program::site::{RECIPIENT, SENDER, Site, plain};
use program::smtp::{Client, connected, free_port};
use program::{wait_for, word};
use rustix::process::Signal;

struct Running {
    child: Child,
    listener: SocketAddr,
    admin: SocketAddr,
}

impl Running {
    /// A gateway whose log goes to `stderr`.
    fn start(site: &Site, log: &str, environment: &[(&str, &str)], stderr: impl Into<Stdio>) -> Self {
        let (listener, admin) = (free_port(), free_port());
        let config = site
            .config()
            .listener_at(
                "inbound",
                "verify",
                &listener.to_string(),
                site.next_hop.address,
                "xclient_from = [\"127.0.0.0/8\"]",
            )
            .and(&format!("[admin]\nlisten = [\"{admin}\"]\n[log]\n{log}"))
            .write();
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal"));
        command.env_clear().envs(environment.iter().copied()).args(["run", "--config", word(&config)]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let running = Self { child, listener, admin };
        assert!(wait_for(|| TcpStream::connect(running.listener).ok()).is_some(), "not listening");
        running
    }

    fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().unwrap()
    }

    fn deliver(&self, subject: &str) {
        let mut client = Client::hello(self.listener);
        assert_eq!(client.deliver(SENDER, RECIPIENT, &plain(subject)), "250 2.0.0 taken");
    }

    /// How many lines were dropped, as the metrics tell.
    fn dropped(&self) -> u64 {
        let mut stream = connected(self.admin);
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let series = "waxseal_log_lines_dropped_total ";
        answer.lines().find_map(|line| line.strip_prefix(series)).unwrap().parse().unwrap()
    }

    /// Ends it, as a service manager does; it must not take longer than that waits.
    fn stop(mut self) {
        signal(&self.child, Signal::TERM);
        assert_eq!(ended(&mut self.child).unwrap().code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_log_whose_reader_is_gone_stops_no_mail() {
    let site = Site::new();
    for format in ["text", "json"] {
        let mut gateway = Running::start(&site, &format!("format = \"{format}\""), &[], Stdio::piped());
        let mut log = BufReader::new(gateway.stderr());
        log.read_line(&mut String::new()).unwrap();
        drop(log);
        for n in 0..3 {
            gateway.deliver(&format!("unlogged {n}"));
        }
        assert!(gateway.dropped() >= 3);
        gateway.stop();
    }
    assert_eq!(site.next_hop.received().len(), 6);
}

#[test]
fn a_log_on_a_full_disk_stops_no_mail() {
    let site = Site::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let gateway = Running::start(&site, "", &[], full);
    for n in 0..3 {
        gateway.deliver(&format!("unlogged {n}"));
    }
    assert!(gateway.dropped() >= 3);
    gateway.stop();
    assert_eq!(site.next_hop.received().len(), 3);
}

#[test]
fn a_log_whose_reader_is_stuck_stops_no_mail_and_tells_later_what_it_lacks() {
    let site = Site::new();
    let mut gateway = Running::start(&site, "", &[], Stdio::piped());
    let log = gateway.stderr();
    // Enough lines to fill the pipe and the room behind it.
    let mut client = Client::hello(gateway.listener);
    for _ in 0..100 {
        client.send("XCLIENT ADDR=192.0.2.1 PORT=25\r\n".repeat(500).as_bytes());
        for _ in 0..500 {
            assert!(client.reply().starts_with("220"));
        }
        if gateway.dropped() > 0 {
            break;
        }
    }
    drop(client);
    let dropped = gateway.dropped();
    assert!(dropped > 0, "nothing is ever dropped");
    for n in 0..3 {
        gateway.deliver(&format!("unlogged {n}"));
    }
    assert_eq!(site.next_hop.received().len(), 3);

    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let told = lines.find(|line| line.contains("lines of the log were dropped")).unwrap();
    assert!(told.contains(" WARN "), "{told}");
    let number: u64 = told.split_once("lines=").unwrap().1.parse().unwrap();
    assert!(number > dropped, "{number} are told of {dropped} and the messages'");
    std::thread::spawn(move || lines.count());
    gateway.deliver("logged again");
    gateway.stop();
}

/// A reader that never reads keeps the gateway from ending no longer than a moment.
#[test]
fn a_stuck_reader_does_not_keep_the_gateway_from_ending() {
    let site = Site::new();
    let mut gateway = Running::start(&site, "", &[], Stdio::piped());
    let _log = gateway.stderr();
    let mut client = Client::hello(gateway.listener);
    client.send("XCLIENT ADDR=192.0.2.1 PORT=25\r\n".repeat(1000).as_bytes());
    (0..1000).for_each(|_| _ = client.reply());
    drop(client);
    gateway.stop();
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let site = Site::new();
    let path = site.folder.path().join("log");
    let gateway = Running::start(&site, "", &[], File::create(&path).unwrap());
    gateway.deliver("the last");
    gateway.stop();
    assert!(fs::read_to_string(&path).unwrap().trim_end().ends_with(": stopped"));
}

#[test]
fn the_journal_gets_priorities_and_nobody_else() {
    let site = Site::new();
    for (format, is_journal) in [("text", true), ("json", true), ("text", false)] {
        let path = site.folder.path().join(format!("log-{format}-{is_journal}"));
        let file = File::create(&path).unwrap();
        let found = file.metadata().unwrap();
        let stream = format!("{}:{}", found.dev(), found.ino() + u64::from(!is_journal));
        let log = format!("format = \"{format}\"\nlevel = \"debug\"");
        let gateway = Running::start(&site, &log, &[("JOURNAL_STREAM", &stream)], file);
        let mut client = Client::hello(gateway.listener);
        assert!(client.deliver(SENDER, RECIPIENT, b"Subject: bare\r\n\r\na\nb\r\n").starts_with("550"));
        drop(client);
        gateway.stop();
        let log = fs::read_to_string(&path).unwrap();
        let has = |priority: &str, text: &str| {
            log.lines().any(|line| line.starts_with(priority) && line.contains(text))
        };
        assert_eq!(has("<4>", "message refused"), is_journal, "{log}");
        assert_eq!(has("<6>", "listening"), is_journal, "{log}");
        assert_eq!(has("<7>", "session begins"), is_journal, "{log}");
        assert_eq!(log.lines().all(|line| line.starts_with('<')), is_journal, "{log}");
    }
}

/// A gateway that does not start, and the journal has the reason as an error.
#[test]
fn the_journal_gets_why_a_gateway_does_not_start_as_an_error() {
    let site = Site::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let wrong = site.config().and("[limits]\nmemory = \"none\"");
    let blocked = site.config().listener_at("inbound", "verify", &address, site.next_hop.address, "");
    for (config, status) in [(wrong, 1), (blocked, 2)] {
        let path = site.folder.path().join("log");
        let file = File::create(&path).unwrap();
        let found = file.metadata().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_waxseal"))
            .args(["run", "--config", word(&config.write())])
            .env("JOURNAL_STREAM", format!("{}:{}", found.dev(), found.ino()))
            .stdin(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        assert_eq!(ended(&mut child).unwrap().code(), Some(status));
        let log = fs::read_to_string(&path).unwrap();
        assert!(log.lines().any(|line| line.starts_with("<3>")), "{log}");
    }
}
