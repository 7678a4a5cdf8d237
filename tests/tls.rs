//! TLS with clients: STARTTLS and TLS from the first octet, what was said before it, and a certificate that changes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use program::smtp::{Client, Server, connected};
use program::tls::{Authority, Manner, OpenSsl, TlsServer};
use program::{Config, Gateway, letter, wait_for, waxseal, word};
use rustix::process::Signal;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

const SENDER: &str = "someone@example.net";
const RECIPIENT: &str = "desk@partner.example";
const NAME: &str = "mx.partner.example";
const TLS: &str = "[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"";

/// A site with a certificate, and a server behind its gateway.
struct Site {
    folder: TempDir,
    authority: Authority,
    next_hop: Server,
}

impl Site {
    fn new() -> Self {
        let (folder, authority) = (program::folder(), Authority::new("a trusted authority"));
        authority.write(folder.path());
        authority.issue(&[NAME]).write(folder.path());
        Self { folder, authority, next_hop: Server::taking_all() }
    }

    /// The gateway; `lines` are the listener's other keys.
    fn config(&self, lines: &str) -> Config {
        self.config_before(&self.next_hop, lines)
    }

    fn config_before(&self, next_hop: &impl Address, lines: &str) -> Config {
        Config::new(self.folder.path(), NAME)
            .listener("inbound", "verify", next_hop.address(), lines)
            .and(TLS)
    }

    fn openssl(&self, gateway: &Gateway, options: &[&str]) -> OpenSsl {
        OpenSsl::connect(gateway.address("inbound"), &self.folder.path().join("ca.pem"), options)
    }

    /// A session under TLS, by STARTTLS, its EHLO still to come.
    fn starttls(&self, gateway: &Gateway) -> Client<impl Read + Write + use<>> {
        self.authority.starttls(NAME, Client::hello(gateway.address("inbound")))
    }
}

trait Address {
    fn address(&self) -> std::net::SocketAddr;
}

impl Address for Server {
    fn address(&self) -> std::net::SocketAddr {
        self.address
    }
}

impl Address for TlsServer {
    fn address(&self) -> std::net::SocketAddr {
        self.address
    }
}

/// A message of many TLS records arrives as it was sent.
fn deliver<S: Read + Write>(client: &mut Client<S>, site: &Site, subject: &str) {
    let message = [letter::plain(SENDER, subject), b"One more line.\r\n".repeat(20_000)].concat();
    assert_eq!(client.deliver(SENDER, RECIPIENT, &message), "250 2.0.0 taken");
    assert!(site.next_hop.await_message(subject).message.ends_with(&message));
}

#[test]
fn openssl_delivers_by_starttls() {
    if !OpenSsl::is_there() {
        return;
    }
    let site = Site::new();
    let gateway = site.config("").start();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = Client::over(site.openssl(&gateway, &["-starttls", "smtp", version]));
        let reply = client.say("EHLO client.example.org");
        assert!(reply.contains("PIPELINING") && !reply.contains("STARTTLS"), "{reply}");
        deliver(&mut client, &site, version);
        assert_eq!(client.say("QUIT"), "221 2.0.0 bye");
        assert!(client.is_closed());
    }
}

#[test]
fn openssl_delivers_by_implicit_tls() {
    if !OpenSsl::is_there() {
        return;
    }
    let site = Site::new();
    let gateway = site.config("implicit_tls = true").start();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = Client::greeted_over(site.openssl(&gateway, &[version]));
        assert_eq!(client.greeting, format!("220 {NAME} ESMTP"));
        let reply = client.say("EHLO client.example.org");
        assert!(reply.contains("PIPELINING") && !reply.contains("STARTTLS"), "{reply}");
        assert_eq!(client.say("STARTTLS"), "503 5.5.1 TLS is in use already");
        deliver(&mut client, &site, version);
    }
}

#[test]
fn old_versions_are_refused() {
    if !OpenSsl::is_there() {
        return;
    }
    let site = Site::new();
    let gateway = site.config("implicit_tls = true").start();
    let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    assert!(Client::over(site.openssl(&gateway, &old)).is_closed());
    gateway.await_log("the other side supports neither TLS 1.2 nor 1.3, only older versions");
}

/// Old clients that speak TLS 1.2: the log names what they have, for whoever must mend them.
#[test]
fn old_cipher_suites_are_named_in_the_log() {
    let site = Site::new();
    let gateway = site.config("").start();
    let old = ["-starttls", "smtp", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:AES128-SHA@SECLEVEL=0"];
    assert!(Client::over(site.openssl(&gateway, &old)).is_closed());
    let line = gateway.await_log("no cipher suite that we have");
    assert!(line.contains("TLS_RSA_WITH_AES_128_CBC_SHA"), "{line}");
}

/// What nginx is known to write where it listens in one family and connects in the other.
#[test]
fn a_proxy_header_of_two_families_is_named_in_the_log() {
    let site = Site::new();
    let gateway = site.config("proxy_protocol_from = [\"127.0.0.1\"]").start();
    let line = "PROXY TCP4 192.0.2.7 2001:db8::1 4711 25";
    let mut socket = connected(gateway.address("inbound"));
    socket.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    assert_eq!(socket.read(&mut [0]).unwrap_or_default(), 0);
    let logged = gateway.await_log("the addresses in the PROXY header are of two families");
    assert!(logged.contains(line), "{logged}");
}

#[test]
fn starttls_is_offered_where_there_is_a_certificate() {
    let site = Site::new();
    let gateway = site.config("").start();
    let mut client = Client::connect(gateway.address("inbound"));
    assert!(client.say("EHLO client.example.org").contains("250-STARTTLS\r\n"));
    assert!(client.say("STARTTLS now").starts_with("501 5.5.4 "));
    let mut client = site.authority.starttls(NAME, client);
    assert_eq!(client.say("STARTTLS"), "503 5.5.1 TLS is in use already");
    drop(gateway);

    let config = Config::new(site.folder.path(), NAME);
    let gateway = config.listener("inbound", "verify", site.next_hop.address, "").start();
    let mut client = Client::connect(gateway.address("inbound"));
    assert!(!client.say("EHLO client.example.org").contains("STARTTLS"));
    assert!(client.say("STARTTLS").starts_with("502 5.5.1 "));
}

#[test]
fn nothing_said_before_counts_after() {
    let site = Site::new();
    let next_hop = TlsServer::start(&site.authority.issue(&[NAME]), Manner::Unable);
    let gateway = site.config_before(&next_hop, "").start();
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.say("MAIL FROM:<before@example.net>").starts_with("250"));
    assert!(client.say("RCPT TO:<before@partner.example>").starts_with("250"));
    let mut client = site.authority.starttls(NAME, client);
    assert_eq!(client.say("DATA"), "503 5.5.1 need MAIL first");
    assert_eq!(client.say("MAIL FROM:<a@example.net>"), "503 5.5.1 EHLO first");
    assert!(client.say("EHLO client.example.org").starts_with("250"));
    assert_eq!(client.deliver(SENDER, RECIPIENT, b"Subject: after\r\n\r\n"), "250 2.0.0 taken");
    let expected = [
        "EHLO client.example.org",
        "MAIL FROM:<before@example.net>",
        "RCPT TO:<before@partner.example>",
        "QUIT",
        "EHLO client.example.org",
        "MAIL FROM:<someone@example.net>",
        "RCPT TO:<desk@partner.example>",
        "DATA",
    ];
    assert_eq!(next_hop.heard(), expected);
}

#[test]
fn the_client_is_announced_anew() {
    let site = Site::new();
    let next_hop = TlsServer::start(&site.authority.issue(&[NAME]), Manner::Unable);
    let gateway = site.config_before(&next_hop, "xclient = true").start();
    let mut client = Client::connect(gateway.address("inbound"));
    assert!(client.say("EHLO before.example").starts_with("250"));
    let mut client = site.authority.starttls(NAME, client);
    assert!(client.say("EHLO after.example").starts_with("250"));
    let expected = [
        "EHLO mx.partner.example",
        "XCLIENT ADDR=127.0.0.1 PROTO=ESMTP HELO=before.example",
        "EHLO before.example",
        "QUIT",
        "EHLO mx.partner.example",
        "XCLIENT ADDR=127.0.0.1 PROTO=ESMTP HELO=after.example",
        "EHLO after.example",
    ];
    assert_eq!(next_hop.heard(), expected);
}

/// As every mail server does it: after STARTTLS comes the same EHLO again, and the next hop knows all there is to know.
#[test]
fn the_next_hop_is_asked_nothing_twice() {
    let site = Site::new();
    let next_hop = TlsServer::start(&site.authority.issue(&[NAME]), Manner::Unable);
    let gateway = site.config_before(&next_hop, "xclient = true").start();
    let mut client = Client::connect(gateway.address("inbound"));
    assert!(client.say("EHLO client.example").starts_with("250"));
    let mut client = site.authority.starttls(NAME, client);
    assert_eq!(client.say("MAIL FROM:<a@example.net>"), "503 5.5.1 EHLO first");
    assert!(client.say("EHLO client.example").starts_with("250"));
    assert!(client.say("MAIL FROM:<a@example.net>").starts_with("250"));
    let expected = [
        "EHLO mx.partner.example",
        "XCLIENT ADDR=127.0.0.1 PROTO=ESMTP HELO=client.example",
        "EHLO client.example",
        "MAIL FROM:<a@example.net>",
    ];
    assert_eq!(next_hop.heard(), expected);
}

#[test]
fn commands_slipped_in_behind_starttls_end_the_session() {
    let site = Site::new();
    let next_hop = TlsServer::start(&site.authority.issue(&[NAME]), Manner::Unable);
    let gateway = site.config_before(&next_hop, "").start();
    for injected in ["MAIL FROM:<evil@example.net>\r\n", "N", "\x16\x03\x01"] {
        let mut client = Client::hello(gateway.address("inbound"));
        client.send(format!("STARTTLS\r\n{injected}").as_bytes());
        assert_eq!(client.reply(), "421 4.7.0 nothing may follow STARTTLS, closing connection");
        assert!(client.is_closed());
    }
    assert!(gateway.await_log("client sent more after STARTTLS").contains("WARN"));
    let heard = next_hop.heard();
    assert!(
        heard.iter().all(|line| ["EHLO client.example.org", "QUIT"].contains(&line.as_str())),
        "{heard:?}"
    );
}

#[test]
fn a_client_that_does_not_shake_hands_is_dropped() {
    let site = Site::new();
    let limits = "[limits]\ncommand_timeout = 1";
    let gateway = site.config("").and(limits).start();
    let mut silent = Client::hello(gateway.address("inbound"));
    assert!(silent.say("STARTTLS").starts_with("220"));
    assert!(silent.is_closed());
    assert!(gateway.await_log("the TLS handshake timed out").contains("INFO"));
    let mut garbled = Client::hello(gateway.address("inbound"));
    assert!(garbled.say("STARTTLS").starts_with("220"));
    garbled.send(b"EHLO again.example\r\n");
    gateway.await_log("the TLS handshake failed");
    drop(gateway);

    let gateway = site.config("implicit_tls = true").and(limits).start();
    let mut silent = Client::over(connected(gateway.address("inbound")));
    assert!(silent.is_closed());
    gateway.await_log("connection dropped: the TLS handshake timed out");
}

#[test]
fn a_renewed_certificate_is_for_all_that_come_after() {
    let site = Site::new();
    let mut gateway = site.config("").start();
    let inbound = gateway.address("inbound");
    let (mut secured, waiting) = (site.starttls(&gateway), Client::hello(inbound));

    let renewed = Authority::new("another authority");
    renewed.issue(&[NAME]).write(site.folder.path());
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    // Also for a session that began before; one under TLS already goes on.
    for client in [waiting, Client::hello(inbound)] {
        assert!(renewed.starttls(NAME, client).say("EHLO client.example.org").starts_with("250"));
    }
    assert!(secured.say("EHLO client.example.org").starts_with("250"));

    fs::write(site.folder.path().join("tls.key"), site.authority.issue(&[NAME]).key).unwrap();
    gateway.signal(Signal::HUP);
    assert!(gateway.await_log("tls.key: the private key does not belong").contains("ERROR"));
    assert!(gateway.await_log("the old one stays in force").contains("ERROR"));
    let client = Client::hello(inbound);
    assert!(renewed.starttls(NAME, client).say("EHLO client.example.org").starts_with("250"));
    gateway.signal(Signal::TERM);
    assert!(secured.reply().starts_with("421 4.3.2 "));
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn bad_certificates_are_mistakes_and_open_keys_are_warned_of() {
    let site = Site::new();
    let config = site.config("").write();
    let check = || waxseal(&["check-config", "--config", word(&config)]);
    let (certificate, key) = (site.folder.path().join("tls.pem"), site.folder.path().join("tls.key"));
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let checked = check();
    assert_eq!(checked.status, 0, "{checked:?}");
    assert!(checked.stderr.contains("tls.key: everybody on this machine can read this private key"));
    let gateway = site.config("").start();
    assert!(gateway.await_log("everybody on this machine can read").contains("WARN"));
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    assert!(!check().stderr.contains("private key"), "{:?}", check());

    let good = fs::read(&certificate).unwrap();
    for (content, reason) in [
        ("", "tls.certificate: holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", "tls.certificate: not PEM: "),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "tls.certificate: cannot be used: ",
        ),
    ] {
        fs::write(&certificate, content).unwrap();
        let checked = check();
        assert!(checked.status == 1 && checked.stderr.contains(reason), "{reason}: {checked:?}");
    }
    fs::write(&certificate, good).unwrap();
    fs::write(&key, "").unwrap();
    assert!(check().stderr.contains("tls.key: holds no private key that can be used: "), "{:?}", check());
    fs::remove_file(&key).unwrap();
    assert!(check().stderr.contains("No such file"), "{:?}", check());
}

#[test]
fn the_key_may_be_a_systemd_credential() {
    let site = Site::new();
    let config = Config::new(site.folder.path(), NAME)
        .listener("inbound", "verify", site.next_hop.address, "")
        .and("[tls]\ncertificate = \"tls.pem\"\nkey = \"credential:tls.key\"");
    let gateway = config.start_with(&[("CREDENTIALS_DIRECTORY", word(site.folder.path()))]);
    assert!(site.starttls(&gateway).say("EHLO client.example.org").starts_with("250"));
    let checked = waxseal(&["check-config", "--config", word(&config.write())]);
    assert!(checked.status == 1 && checked.stderr.contains("tls.key: "), "{checked:?}");
}

#[test]
fn clients_that_are_not_listed_hear_so_under_implicit_tls() {
    let site = Site::new();
    let gateway = site.config("implicit_tls = true\nclients = [\"192.0.2.0/24\"]").start();
    let socket = connected(gateway.address("inbound"));
    let mut client = Client::greeted_over(site.authority.connect(NAME, socket));
    assert!(client.greeting.starts_with("554 5.7.1 "), "{}", client.greeting);
    assert!(client.is_closed());
}

/// Sends octets before all else, in one segment with what comes first.
struct Prefixed {
    prefix: Vec<u8>,
    socket: TcpStream,
}

impl Read for Prefixed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Prefixed {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.socket.write_all(&[std::mem::take(&mut self.prefix), octets.to_vec()].concat())?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.socket.flush()
    }
}

#[test]
fn implicit_tls_begins_behind_a_proxy_header() {
    let site = Site::new();
    let lines = "implicit_tls = true\nproxy_protocol_from = [\"127.0.0.1\"]\nxclient = true";
    let next_hop = TlsServer::start(&site.authority.issue(&[NAME]), Manner::Unable);
    let gateway = site.config_before(&next_hop, lines).start();
    let prefix = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 465\r\n".to_vec();
    let socket = Prefixed { prefix, socket: connected(gateway.address("inbound")) };
    let mut client = Client::greeted_over(site.authority.connect(NAME, socket));
    assert!(client.say("EHLO client.example.org").starts_with("250"));
    assert!(
        next_hop.heard().contains(&"XCLIENT ADDR=192.0.2.1 PROTO=ESMTP HELO=client.example.org".to_owned())
    );
}

/// AUTH is for clients whose credentials nobody can read on the way.
#[test]
fn auth_needs_tls_on_a_network() {
    let site = Site::new();
    let next_hop = TlsServer::start(&site.authority.issue(&[NAME]), Manner::Able);
    let lines = "next_hop_tls = \"encrypt\"\nproxy_protocol_from = [\"127.0.0.1\"]";
    let gateway = site.config_before(&next_hop, lines).start();
    let remote = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\r\n";
    let connect = || Client::connect_saying(gateway.address("inbound"), remote);

    let mut client = connect();
    assert!(!client.say("EHLO client.example.org").contains("AUTH"));
    assert!(client.say("AUTH PLAIN AGEAYg==").starts_with("502"));
    let mut client = site.authority.starttls(NAME, client);
    assert!(client.say("AUTH PLAIN AGEAYg==").starts_with("502"));
    assert!(client.say("EHLO client.example.org").contains("AUTH PLAIN"));
    assert_eq!(client.say("AUTH PLAIN AGEAYg=="), "235 2.7.0 welcome");
    assert!(gateway.log().iter().all(|line| !line.contains("AGEAYg==")));
}

#[test]
fn auth_is_not_for_clients_that_were_announced_across_a_network() {
    let site = Site::new();
    let next_hop = TlsServer::start(&site.authority.issue(&[NAME]), Manner::Able);
    let lines = "next_hop_tls = \"encrypt\"\nxclient_from = [\"127.0.0.1\"]";
    let gateway = site.config_before(&next_hop, lines).start();
    let mut client = site.starttls(&gateway);
    assert!(client.say("EHLO client.example.org").contains("AUTH PLAIN"));
    for (announced, has_auth) in [("192.0.2.1", false), ("[UNAVAILABLE]", false), ("127.0.0.2", true)] {
        assert!(client.say(&format!("XCLIENT ADDR={announced}")).starts_with("220"));
        let reply = client.say("EHLO client.example.org");
        assert_eq!(reply.contains("AUTH PLAIN"), has_auth, "{announced}: {reply}");
    }
}

#[test]
fn starttls_comes_before_auth() {
    let site = Site::new();
    let next_hop = TlsServer::start(&site.authority.issue(&[NAME]), Manner::Able);
    let gateway = site.config_before(&next_hop, "next_hop_tls = \"encrypt\"").start();
    let mut client = Client::hello(gateway.address("inbound"));
    assert_eq!(client.say("AUTH PLAIN AGEAYg=="), "235 2.7.0 welcome");
    assert_eq!(client.say("STARTTLS"), "503 5.5.1 too late, after AUTH");
}

/// At the start a warning of it is easily seen, after a renewal that took the wrong file it is not.
#[test]
fn a_certificate_that_is_not_valid_now_is_loud_at_each_reload() {
    let site = Site::new();
    let gateway = site.config("").start();
    for (identity, why) in [
        (site.authority.issue_expired(&[NAME]), "the certificate in [tls] expired"),
        (site.authority.issue_from(&[NAME], 2090), "the certificate in [tls] is not valid before"),
    ] {
        identity.write(site.folder.path());
        gateway.signal(Signal::HUP);
        assert!(gateway.await_log(why).contains("ERROR"));
    }
    drop(gateway);
    site.authority.issue_expired(&[NAME]).write(site.folder.path());
    let gateway = site.config("").start();
    assert!(gateway.await_log("the certificate in [tls] expired").contains("ERROR"));
}

/// What a key was read from is wiped, and a reload that finds the same key keeps the one that there is.
#[test]
fn reloads_leave_no_copies_of_the_key() {
    let site = Site::new();
    let gateway = site.config("").start();
    let pem = fs::read_to_string(site.folder.path().join("tls.key")).unwrap();
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let der = der.secret_der();
    // PKCS #8 of P-256: the secret number is the first string of 32 octets.
    let at = der.windows(2).position(|tag| tag == [0x04, 0x20]).unwrap() + 2;
    let secret = &der[at..at + 32];
    let reversed: Vec<u8> = secret.iter().rev().copied().collect();
    let text = pem.lines().nth(1).unwrap();
    let copies = || {
        let memory = memory_of(gateway.id());
        let count = |what: &[u8]| memchr::memmem::find_iter(&memory, what).count();
        [count(text.as_bytes()), count(secret), count(&reversed)]
    };
    let first = copies();
    for n in 0..31 {
        gateway.signal(Signal::HUP);
        let is_done = || {
            let log = gateway.log();
            (log.iter().filter(|line| line.contains("configuration reloaded")).count() > n).then_some(())
        };
        assert!(wait_for(is_done).is_some());
    }
    let last = copies();
    assert_eq!((last[0], last[1]), (0, 0), "{first:?} at first, {last:?} in the end");
    assert!(last[2] <= 1, "{first:?} at first, {last:?} in the end");
    assert_eq!(first, last);
}

/// All memory that a process has to write in.
fn memory_of(process: u32) -> Vec<u8> {
    use std::io::{Read, Seek, SeekFrom};
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut file = fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut memory = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (start, end) = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap()).into();
        if file.seek(SeekFrom::Start(start)).is_ok() {
            let _ = (&mut file).take(end - start).read_to_end(&mut memory);
        }
    }
    memory
}
