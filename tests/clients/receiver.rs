//! A mail server that offers all that waxseal can pass on (RFC 5321, 1870, 3030, 6152, 6531), or speaks LMTP
//! (RFC 2033), and remembers what it took. Recipients called `nobody` it refuses, and by LMTP it has no room for those
//! called `full`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::program::{PATIENCE, wait_for};

const OFFER: &str = "250-mail.partner.example\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n250-DSN\r\n\
                     250-SMTPUTF8\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES\r\n";

/// A message as it was taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    /// What stood behind `MAIL FROM:`, parameters and all.
    pub(crate) mail: String,
    /// The forward-paths that were accepted, without brackets.
    pub(crate) recipients: Vec<String>,
    /// The message, octet for octet.
    pub(crate) message: Vec<u8>,
}

/// The server. It ends with the test's process.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self { address: listener.local_addr().unwrap(), taken: Arc::default() };
        let taken = Arc::clone(&receiver.taken);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let taken = Arc::clone(&taken);
                thread::spawn(move || Session::new(client, &taken).serve());
            }
        });
        receiver
    }

    /// Every message in which `text` stands.
    pub(crate) fn with(&self, text: &str) -> Vec<Taken> {
        let has_text = |taken: &&Taken| String::from_utf8_lossy(&taken.message).contains(text);
        self.taken.lock().unwrap().iter().filter(has_text).cloned().collect()
    }

    /// Waits for the message in which `text` stands.
    pub(crate) fn await_message(&self, text: &str) -> Taken {
        wait_for(|| self.with(text).pop()).unwrap_or_else(|| panic!("no message with `{text}`"))
    }
}

struct Session<'a> {
    stream: BufReader<TcpStream>,
    all: &'a Mutex<Vec<Taken>>,
    is_lmtp: bool,
    open: Taken,
}

impl<'a> Session<'a> {
    fn new(client: TcpStream, all: &'a Mutex<Vec<Taken>>) -> Self {
        client.set_read_timeout(Some(PATIENCE * 2)).unwrap();
        Self { stream: BufReader::new(client), all, is_lmtp: false, open: Taken::default() }
    }

    /// A client that hangs up ends its session, and nothing else.
    fn serve(mut self) -> std::io::Result<()> {
        self.say("220 mail.partner.example ESMTP\r\n")?;
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            let argument = line.split_once(':').map_or("", |(_, argument)| argument.trim());
            match verb.as_str() {
                "EHLO" => self.say(OFFER)?,
                "LHLO" => {
                    self.is_lmtp = true;
                    self.say(OFFER)?;
                }
                "MAIL" => {
                    self.open = Taken { mail: argument.to_owned(), ..Taken::default() };
                    self.say("250 2.1.0 ok\r\n")?;
                }
                "RCPT" => self.recipient(argument)?,
                "DATA" if self.open.recipients.is_empty() => self.say("554 5.5.1 no recipients\r\n")?,
                "DATA" => {
                    self.say("354 go ahead\r\n")?;
                    self.read_data()?;
                    self.take()?;
                }
                "BDAT" => self.chunk(line)?,
                "QUIT" => return self.say("221 2.0.0 bye\r\n"),
                _ => self.say("250 2.0.0 ok\r\n")?,
            }
        }
    }

    fn say(&mut self, reply: &str) -> std::io::Result<()> {
        self.stream.get_mut().write_all(reply.as_bytes())
    }

    fn recipient(&mut self, argument: &str) -> std::io::Result<()> {
        let path = argument.split('>').next().unwrap_or_default().trim_start_matches('<');
        if path.starts_with("nobody@") {
            return self.say("550 5.1.1 no such user\r\n");
        }
        self.open.recipients.push(path.to_owned());
        self.say("250 2.1.5 ok\r\n")
    }

    fn read_data(&mut self) -> std::io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.stream.read_until(b'\n', &mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            match line.as_slice() {
                b".\r\n" => return Ok(()),
                [b'.', rest @ ..] => self.open.message.extend_from_slice(rest),
                line => self.open.message.extend_from_slice(line),
            }
        }
    }

    fn chunk(&mut self, line: &str) -> std::io::Result<()> {
        let mut words = line.split(' ').skip(1);
        let size: u64 = words.next().unwrap_or_default().parse().map_err(std::io::Error::other)?;
        (&mut self.stream).take(size).read_to_end(&mut self.open.message)?;
        if words.next().is_some() { self.take() } else { self.say("250 2.0.0 more\r\n") }
    }

    /// Takes the message: one reply, or with LMTP one for each recipient (RFC 2033 §4.2).
    fn take(&mut self) -> std::io::Result<()> {
        let mut taken = std::mem::take(&mut self.open);
        let mut replies = "250 2.0.0 taken\r\n".to_owned();
        if self.is_lmtp {
            let has_room = |to: &String| !to.starts_with("full@");
            let reply = |to| if has_room(to) { "250 2.0.0 taken\r\n" } else { "452 4.2.2 no room\r\n" };
            replies = taken.recipients.iter().map(reply).collect();
            taken.recipients.retain(has_room);
        }
        self.all.lock().unwrap().push(taken);
        self.say(&replies)
    }
}
