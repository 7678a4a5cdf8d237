//! Programs that send mail on somebody's behalf: swaks, msmtp, curl, nodemailer, and Python's smtplib.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use crate::passage::{Letter, Passage, assert_sent};
use crate::program::run::{Run, works};
use crate::program::skip::are_there;
use crate::program::word;

/// What a program does when one recipient of many is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OneRefused {
    /// Sends the message to the others.
    GoesOn,
    /// Sends it to nobody, and reports failure.
    GivesUp,
}

/// What a program does with addresses that are no ASCII (RFC 6531).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Utf8 {
    /// It does not take them.
    Refuses,
    /// Sends them as they are, with no word of warning to the server.
    Sends,
    /// Says SMTPUTF8 to MAIL.
    Announces,
    /// Says SMTPUTF8 to every MAIL, whatever the addresses.
    AlwaysAnnounces,
}

/// A program, how it is told to send a letter's file to an address, and what it can do.
struct Program {
    name: &'static str,
    send: fn(SocketAddr, &Path, &Letter) -> Output,
    is_there: fn() -> bool,
    utf8: fn() -> Utf8,
    one_refused: OneRefused,
}

impl Program {
    fn play(&self) {
        if !are_there(&[(self.name, (self.is_there)())]) {
            return;
        }
        let (passage, utf8) = (Passage::new(), (self.utf8)());
        let name = |scene: &str| format!("{scene}.{}", self.name);
        let mut letters = vec![
            Letter::new(&name("plain")),
            Letter::bulky(&name("bulky")),
            Letter::with_null_reverse_path(&name("null")),
        ];
        if utf8 != Utf8::Refuses {
            letters.push(Letter::international(&name("international")));
        }
        let send = |letter: &Letter| (self.send)(passage.door(), &passage.file(letter), letter);
        for letter in &letters {
            assert_sent(letter, &send(letter));
            let taken = passage.assert_arrived(letter);
            let is_announced = match utf8 {
                Utf8::Refuses | Utf8::Sends => false,
                Utf8::Announces => letter.name.starts_with("international"),
                Utf8::AlwaysAnnounces => true,
            };
            assert_eq!(taken.mail.contains("SMTPUTF8"), is_announced, "{}", taken.mail);
        }

        let many = Letter::to_many(&name("many"));
        let output = send(&many);
        match self.one_refused {
            OneRefused::GoesOn => _ = passage.assert_arrived(&many),
            OneRefused::GivesUp => {
                assert!(!output.status.success(), "{output:?}");
                passage.assert_not_arrived(&many);
            }
        }
    }
}

/// Sends its commands in one go (RFC 2920), where others wait for each reply.
#[test]
fn swaks() {
    Program {
        name: "swaks",
        send: |server, file, letter| {
            // It ends the last line itself, whether or not that has an end.
            let message = letter.message.strip_suffix(b"\r\n").unwrap();
            std::fs::write(file, message).unwrap();
            Command::new("swaks")
                .args(["--server", &server.to_string(), "--ehlo", "client.example.org", "--pipeline"])
                .args(["--from", letter.reverse_path()])
                .args(["--to", &letter.to.join(","), "--data", &format!("@{}", word(file))])
                .run()
        },
        is_there: || works("swaks", &["--version"]),
        utf8: || Utf8::Refuses,
        one_refused: OneRefused::GoesOn,
    }
    .play();
}

#[test]
fn msmtp() {
    Program { name: "msmtp", send: |server, file, letter| by_msmtp("smtp", server, file, letter), ..MSMTP }
        .play();
}

/// By LMTP (RFC 2033) each recipient gets a reply of its own at the end.
#[test]
fn msmtp_by_lmtp() {
    Program {
        name: "msmtp.lmtp",
        send: |server, file, letter| by_msmtp("lmtp", server, file, letter),
        ..MSMTP
    }
    .play();
}

const MSMTP: Program = Program {
    name: "msmtp",
    send: |_, _, _| unreachable!("it is told which protocol to speak"),
    is_there: || works("msmtp", &["--version"]),
    utf8: msmtp_utf8,
    one_refused: OneRefused::GivesUp,
};

/// It has learnt the extension in version 1.8.28.
fn msmtp_utf8() -> Utf8 {
    let said = Command::new("msmtp").arg("--version").run().stdout;
    let version = String::from_utf8_lossy(&said).split_whitespace().nth(2).map(str::to_owned).unwrap();
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap()).collect();
    if numbers.as_slice() < [1, 8, 28].as_slice() { Utf8::Sends } else { Utf8::AlwaysAnnounces }
}

fn by_msmtp(protocol: &str, server: SocketAddr, file: &Path, letter: &Letter) -> Output {
    Command::new("msmtp")
        .arg(format!("--protocol={protocol}"))
        .args(["--file=/dev/null", "--auth=off", "--tls=off", "--domain=client.example.org"])
        .args([format!("--host={}", server.ip()), format!("--port={}", server.port())])
        .arg(format!("--from={}", letter.from))
        .arg("--")
        .args(&letter.to)
        .stdin(File::open(file).unwrap())
        .to_end()
}

#[test]
fn curl() {
    Program {
        name: "curl",
        send: |server, file, letter| {
            let recipients = letter.to.iter().flat_map(|to| ["--mail-rcpt", to]);
            Command::new("curl")
                .args(["--silent", "--show-error", "--mail-rcpt-allowfails"])
                .args(["--mail-from", letter.reverse_path()])
                .args(recipients)
                .args(["--upload-file", word(file)])
                .arg(format!("smtp://{}/client.example.org", server))
                .run()
        },
        is_there: || works("curl", &["--version"]),
        utf8: || Utf8::Announces,
        one_refused: OneRefused::GoesOn,
    }
    .play();
}

const NODEMAILER: &str = r#"
const [address, from, to, file] = process.argv.slice(1);
const [host, port] = address.split(":");
const transport = require("nodemailer").createTransport({host, port, name: "client.example.org", ignoreTLS: true});
const envelope = {from: from || false, to: to.split(","), use8BitMime: true};
transport.sendMail({envelope, raw: {path: file}}).catch((error) => { console.error(error); process.exit(1); });
"#;

/// Node.js, told where Debian has the libraries that are no part of it.
pub(crate) fn node() -> Command {
    let mut node = Command::new("node");
    node.env("NODE_PATH", "/usr/share/nodejs");
    node
}

pub(crate) fn has_nodemailer() -> bool {
    node().args(["-e", "require('nodemailer')"]).succeeds()
}

#[test]
fn nodemailer() {
    Program {
        name: "nodemailer",
        send: |server, file, letter| {
            node()
                .args(["-e", NODEMAILER, "--", &server.to_string(), letter.from, &letter.to.join(",")])
                .arg(file)
                .run()
        },
        is_there: has_nodemailer,
        utf8: || Utf8::Announces,
        one_refused: OneRefused::GoesOn,
    }
    .play();
}

const SMTPLIB: &str = r#"
import smtplib, sys
address, sender, recipients, file = sys.argv[1:]
options = ["BODY=8BITMIME"] + (["SMTPUTF8"] if not (sender + recipients).isascii() else [])
with smtplib.SMTP(*address.split(":"), local_hostname="client.example.org") as server:
    server.sendmail(sender, recipients.split(","), open(file, "rb").read(), options)
"#;

/// Python's way.
pub(crate) fn smtplib(server: SocketAddr, file: &Path, letter: &Letter) -> Output {
    Command::new("python3")
        .args(["-c", SMTPLIB, &server.to_string(), letter.from, &letter.to.join(",")])
        .arg(file)
        .run()
}

#[test]
fn python() {
    Program {
        name: "python3",
        send: smtplib,
        is_there: || works("python3", &["--version"]),
        utf8: || Utf8::Announces,
        one_refused: OneRefused::GoesOn,
    }
    .play();
}
