//! The same programs under TLS, begun by STARTTLS (RFC 3207) and with the connection (RFC 8314). Each checks the sealing
//! gateway's certificate, and sends nothing where it cannot.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::passage::{Letter, Passage, assert_sent};
use crate::program::run::{Run, works};
use crate::program::skip::are_there;
use crate::program::tls::Authority;
use crate::program::{Config, Gateway, word};
use crate::programs::{has_nodemailer, node};

/// A gateway's name, by which clients reach it, too.
const NAME: &str = "localhost";

/// What a program is told.
struct Order<'a> {
    /// Whether TLS begins with the connection.
    is_implicit: bool,
    port: u16,
    /// The root that the gateway's certificate must lead to, a PEM file.
    root: &'a Path,
    /// The message.
    file: &'a Path,
    letter: &'a Letter,
}

/// Has a program send letters under TLS, and one to a gateway whose certificate it must not accept.
fn play(name: &'static str, is_there: bool, send: fn(&Order<'_>) -> Output) {
    if !are_there(&[(name, is_there)]) {
        return;
    }
    let site = Site::new();
    for listener in ["submission", "submissions"] {
        let sent = |letter: &Letter, root: &Path| {
            send(&Order {
                is_implicit: listener == "submissions",
                port: site.gateway.address(listener).port(),
                root,
                file: &site.passage.file(letter),
                letter,
            })
        };
        let plain = Letter::new(&format!("plain.{name}.{listener}"));
        let bulky = Letter::bulky(&format!("bulky.{name}.{listener}"));
        for letter in [plain, bulky] {
            assert_sent(&letter, &sent(&letter, &site.root));
            site.passage.assert_arrived(&letter);
        }
        let letter = Letter::new(&format!("strange.{name}.{listener}"));
        let output = sent(&letter, &site.strange_root);
        assert!(!output.status.success(), "{output:?}");
        site.passage.assert_not_arrived(&letter);
    }
}

/// A passage with a further sealing gateway, which speaks TLS.
struct Site {
    passage: Passage,
    gateway: Gateway,
    /// Its certificate leads here, not there.
    root: PathBuf,
    strange_root: PathBuf,
}

impl Site {
    fn new() -> Self {
        let passage = Passage::new();
        let folder = passage.folder().join("tls");
        fs::create_dir(&folder).unwrap();
        let authority = Authority::new("a trusted authority");
        let root = authority.write(&folder);
        authority.issue(&[NAME]).write(&folder);
        let strange_root = folder.join("strange.pem");
        fs::write(&strange_root, Authority::new("another authority").pem()).unwrap();
        let next_hop = passage.verifying.address("inbound");
        let gateway = Config::new(&folder, NAME)
            .listener("submission", "seal", next_hop, "")
            .listener("submissions", "seal", next_hop, "implicit_tls = true")
            .sealing_with(Path::new("../sealing/gate1.pem"))
            .and("[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"")
            .start();
        Self { passage, gateway, root, strange_root }
    }
}

#[test]
fn swaks() {
    let is_there = works("swaks", &["--version"]) && works("perl", &["-MNet::SSLeay", "-e", "1"]);
    play("swaks", is_there, |order| {
        // It ends the last line itself, whether or not that has an end.
        fs::write(order.file, order.letter.message.strip_suffix(b"\r\n").unwrap()).unwrap();
        Command::new("swaks")
            .args(["-4", "--server", NAME, "--port", &order.port.to_string(), "--ehlo", "client.example.org"])
            .args([if order.is_implicit { "--tls-on-connect" } else { "--tls" }, "--tls-verify"])
            .args(["--tls-ca-path", word(order.root)])
            .args(["--from", order.letter.from, "--to", &order.letter.to[0]])
            .args(["--data", &format!("@{}", word(order.file))])
            .run()
    });
}

#[test]
fn msmtp() {
    play("msmtp", works("msmtp", &["--version"]), |order| {
        Command::new("msmtp")
            .args(["--file=/dev/null", "--auth=off", "--domain=client.example.org", "--tls=on"])
            .arg(format!("--tls-starttls={}", if order.is_implicit { "off" } else { "on" }))
            .arg(format!("--tls-trust-file={}", word(order.root)))
            .args([format!("--host={NAME}"), format!("--port={}", order.port)])
            .arg(format!("--from={}", order.letter.from))
            .args(["--", &order.letter.to[0]])
            .stdin(File::open(order.file).unwrap())
            .to_end()
    });
}

#[test]
fn curl() {
    play("curl", works("curl", &["--version"]), |order| {
        let scheme = if order.is_implicit { "smtps" } else { "smtp" };
        Command::new("curl")
            .args(["--silent", "--show-error", "--ssl-reqd", "--cacert", word(order.root)])
            .args(["--mail-from", order.letter.from, "--mail-rcpt", &order.letter.to[0]])
            .args(["--upload-file", word(order.file)])
            .arg(format!("{scheme}://{NAME}:{}/client.example.org", order.port))
            .run()
    });
}

const NODEMAILER: &str = r#"
const [port, implicit, root, from, to, file] = process.argv.slice(1);
const tls = {ca: require("fs").readFileSync(root)};
const secure = implicit === "true";
const transport = require("nodemailer").createTransport({
    host: "localhost", port, secure, requireTLS: true, tls, name: "client.example.org",
});
transport.sendMail({envelope: {from, to}, raw: {path: file}}).catch((error) => { console.error(error); process.exit(1); });
"#;

#[test]
fn nodemailer() {
    play("nodemailer", has_nodemailer(), |order| {
        node()
            .args(["-e", NODEMAILER, "--", &order.port.to_string(), &order.is_implicit.to_string()])
            .args([word(order.root), order.letter.from, &order.letter.to[0], word(order.file)])
            .run()
    });
}

const SMTPLIB: &str = r#"
import smtplib, ssl, sys
port, implicit, root, sender, recipient, file = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
if implicit == "true":
    server = smtplib.SMTP_SSL("localhost", port, "client.example.org", context=context)
else:
    server = smtplib.SMTP("localhost", port, "client.example.org")
    server.starttls(context=context)
with server:
    server.sendmail(sender, recipient, open(file, "rb").read(), ["BODY=8BITMIME"])
"#;

#[test]
fn python() {
    play("python3", works("python3", &["--version"]), |order| {
        Command::new("python3")
            .args(["-c", SMTPLIB, &order.port.to_string(), &order.is_implicit.to_string(), word(order.root)])
            .args([order.letter.from, &order.letter.to[0], word(order.file)])
            .run()
    });
}
