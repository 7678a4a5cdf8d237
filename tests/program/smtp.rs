//! A mail client and a mail server (RFC 5321), as small as tests need them.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{PATIENCE, wait_for};

/// Nobody listens at this address.
pub(crate) fn closed_port() -> SocketAddr {
    free_port()
}

/// An address that nobody uses now, for a server that must be told where to listen. Its port is below those that
/// the system gives to clients, so none of them takes it in the meantime.
pub(crate) fn free_port() -> SocketAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 1000) as u16 * 10;
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], first + TAKEN.fetch_add(1, Ordering::Relaxed)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A client's session.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    stream: BufReader<S>,
    /// What the server said first.
    pub(crate) greeting: String,
}

impl Client {
    /// Connects and takes the greeting.
    pub(crate) fn connect(server: SocketAddr) -> Self {
        Self::connect_saying(server, "")
    }

    /// Connects, speaks first, and takes the greeting.
    pub(crate) fn connect_saying(server: SocketAddr, header: &str) -> Self {
        let mut client = Self::over(connected(server));
        client.send(header.as_bytes());
        client.greeting = client.reply();
        client
    }

    /// Connects and says EHLO.
    pub(crate) fn hello(server: SocketAddr) -> Self {
        let mut client = Self::connect(server);
        let reply = client.say("EHLO client.example.org");
        assert!(reply.starts_with("250"), "{} {reply}", client.greeting);
        client
    }
}

/// A connection on which nothing takes longer than patience.
pub(crate) fn connected(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The same through the UNIX socket at `path`.
pub(crate) fn connected_to(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

impl<S: Read + Write> Client<S> {
    /// A session over any stream, its greeting still to come.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream: BufReader::new(stream), greeting: String::new() }
    }

    /// A session over any stream that begins with a greeting.
    pub(crate) fn greeted_over(stream: S) -> Self {
        let mut client = Self::over(stream);
        client.greeting = client.reply();
        client
    }

    /// The stream, of which nothing may be left to read.
    pub(crate) fn into_stream(self) -> S {
        assert!(self.stream.buffer().is_empty());
        self.stream.into_inner()
    }

    /// Sends a command and takes the reply.
    pub(crate) fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// Sends octets.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    /// A whole reply, its lines without the last CR LF; empty if the server hung up.
    pub(crate) fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            if self.stream.read_line(&mut reply).unwrap() == 0
                || reply.as_bytes().get(start + 3) != Some(&b'-')
            {
                return reply.trim_end().to_owned();
            }
        }
    }

    /// Whether the server hangs up, having said nothing more.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(read) => read == 0,
            // Under TLS, a farewell may be missing.
            Err(error) => matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
        }
    }

    /// Whether the server hangs up, in whatever way, having said nothing more.
    pub(crate) fn hears_nothing_more(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// MAIL, RCPT and DATA, up to where the message goes.
    pub(crate) fn open(&mut self, from: &str, to: &str) -> String {
        for line in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>")] {
            let reply = self.say(&line);
            if !reply.starts_with("250") {
                return reply;
            }
        }
        self.say("DATA")
    }

    /// The message with its final dot, and the reply to it.
    pub(crate) fn finish(&mut self, message: &[u8]) -> String {
        let stuffed = String::from_utf8_lossy(message).replace("\r\n.", "\r\n..");
        self.send(stuffed.as_bytes());
        self.say(".")
    }

    /// A whole mail transaction; the reply that ended it.
    pub(crate) fn deliver(&mut self, from: &str, to: &str, message: &[u8]) -> String {
        let reply = self.open(from, to);
        if reply.starts_with("354") { self.finish(message) } else { reply }
    }
}

/// A message as a server received it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The reverse-path.
    pub(crate) from: String,
    /// The first forward-path.
    pub(crate) to: String,
    /// The message, octet for octet.
    pub(crate) message: Vec<u8>,
}

/// A server on a free port that answers each message as its handler says. It ends with the test's process.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    /// A server that takes every message.
    pub(crate) fn taking_all() -> Self {
        Self::start(|_| "250 2.0.0 taken".to_owned())
    }

    /// The same at an address that was closed so far.
    pub(crate) fn taking_all_at(address: SocketAddr) -> Self {
        Self::on(TcpListener::bind(address).unwrap(), |_| "250 2.0.0 taken".to_owned())
    }

    /// A server whose replies to messages `handle` gives.
    pub(crate) fn start(handle: impl Fn(&Received) -> String + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), handle)
    }

    fn on(listener: TcpListener, handle: impl Fn(&Received) -> String + Send + Sync + 'static) -> Self {
        let server = Self { address: listener.local_addr().unwrap(), received: Arc::default() };
        let (received, handle) = (Arc::clone(&server.received), Arc::new(handle));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (received, handle) = (Arc::clone(&received), Arc::clone(&handle));
                // A client that hangs up ends its session, and nothing else.
                thread::spawn(move || serve(client, &received, &*handle));
            }
        });
        server
    }

    /// All messages so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits for a message in which `text` stands.
    pub(crate) fn await_message(&self, text: &str) -> Received {
        let has_text = |received: &Received| String::from_utf8_lossy(&received.message).contains(text);
        wait_for(|| self.received().into_iter().find(has_text))
            .unwrap_or_else(|| panic!("no message with `{text}`"))
    }
}

fn serve(
    client: TcpStream,
    received: &Mutex<Vec<Received>>,
    handle: &dyn Fn(&Received) -> String,
) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE + Duration::from_secs(10)))?;
    let mut client = BufReader::new(client);
    let (mut from, mut to, mut line) = (String::new(), String::new(), String::new());
    client.get_mut().write_all(b"220 mail.partner.example ESMTP\r\n")?;
    loop {
        line.clear();
        if client.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = || {
            line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path.to_owned())
        };
        let reply = match line.to_ascii_uppercase().split([' ', '\r']).next() {
            Some("EHLO") => {
                "250-mail.partner.example\r\n250-SIZE 50000000\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH PLAIN\r\n250 8BITMIME"
                    .to_owned()
            }
            Some("MAIL") => {
                (from, to) = (path().unwrap_or_default(), String::new());
                "250 2.1.0 ok".to_owned()
            }
            Some("RCPT") if line.contains("<unknown@") => "550 5.1.1 no such user".to_owned(),
            Some("RCPT") => {
                if to.is_empty() {
                    to = path().unwrap_or_default();
                }
                "250 2.1.5 ok".to_owned()
            }
            Some("DATA") => {
                client.get_mut().write_all(b"354 go ahead\r\n")?;
                let message =
                    Received { from: from.clone(), to: to.clone(), message: read_message(&mut client)? };
                let reply = handle(&message);
                received.lock().unwrap().push(message);
                reply
            }
            Some("AUTH") => {
                if line.split_whitespace().count() == 2 {
                    client.get_mut().write_all(b"334 \r\n")?;
                    line.clear();
                    client.read_line(&mut line)?;
                }
                "235 2.7.0 welcome".to_owned()
            }
            Some("QUIT") => {
                client.get_mut().write_all(b"221 2.0.0 bye\r\n")?;
                return Ok(());
            }
            _ => "250 2.0.0 ok".to_owned(),
        };
        client.get_mut().write_all(format!("{reply}\r\n").as_bytes())?;
    }
}

fn read_message(client: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let start = message.len();
        if client.read_until(b'\n', &mut message)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match &message[start..] {
            b".\r\n" => {
                message.truncate(start);
                return Ok(message);
            }
            [b'.', ..] => _ = message.remove(start),
            _ => {}
        }
    }
}
