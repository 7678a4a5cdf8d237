//! TLS with the next hop, in its four modes, against servers that offer it, don't, or misbehave.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;

use program::skip::skipped;
use program::smtp::Client;
use program::tls::{Authority, Identity, Manner, OpenSsl, TlsServer};
use program::{Config, Gateway, letter, word};
use tempfile::TempDir;

const SENDER: &str = "someone@example.net";
const RECIPIENT: &str = "desk@partner.example";

/// What clients hear where TLS is a must and cannot be had.
const NOT_NOW: &str = "421 4.3.0 mail server not available, try again later";

/// A gateway before a server with this certificate and manner.
struct Scene {
    folder: TempDir,
    authority: Authority,
    server: TlsServer,
}

impl Scene {
    fn new(manner: Manner) -> Self {
        Self::with(manner, |authority| authority.issue(&["127.0.0.1"]))
    }

    fn with(manner: Manner, identity: impl Fn(&Authority) -> Identity) -> Self {
        Self::on(Ipv4Addr::LOCALHOST.into(), manner, identity)
    }

    fn on(address: IpAddr, manner: Manner, identity: impl Fn(&Authority) -> Identity) -> Self {
        let (folder, authority) = (program::folder(), Authority::new("a trusted authority"));
        authority.write(folder.path());
        let server = TlsServer::start_on(address, &identity(&authority), manner);
        Self { folder, authority, server }
    }

    fn gateway(&self, lines: &str) -> Gateway {
        Config::new(self.folder.path(), "mx.partner.example")
            .listener("inbound", "verify", self.server.address, lines)
            .start()
    }

    fn verifying(&self) -> Gateway {
        self.gateway("next_hop_tls = \"verify\"\nnext_hop_ca = \"ca.pem\"")
    }

    /// What the server hears of a delivery that it takes.
    fn heard(&self, gateway: &Gateway) -> Vec<String> {
        let mut client = Client::hello(gateway.address("inbound"));
        let reply = client.deliver(SENDER, RECIPIENT, &letter::plain(SENDER, "tls"));
        assert_eq!(reply, "250 2.0.0 taken");
        assert_eq!(client.say("QUIT"), "221 2.0.0 bye");
        self.server.heard()
    }

    /// Asserts that the client is asked to come back, the log says why, and nothing of the client's went out.
    fn assert_deferred(&self, gateway: &Gateway, why: &str) {
        let mut client = Client::connect(gateway.address("inbound"));
        assert_eq!(client.greeting, NOT_NOW);
        assert!(client.is_closed());
        let line = gateway.await_log(why);
        assert!(line.contains("WARN") && line.contains("session ends"), "{line}");
        let heard = self.server.heard();
        let is_ours =
            |line: &&String| !["EHLO mx.partner.example", "STARTTLS", "QUIT"].contains(&line.as_str());
        assert!(!heard.iter().any(|line| is_ours(&line)), "{heard:?}");
    }
}

/// What `openssl req -x509` makes.
fn self_made(names: &[&str]) -> Identity {
    let folder = program::folder();
    let (certificate, key) = (folder.path().join("own.pem"), folder.path().join("own.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mail.example"])
        .args(["-keyout", word(&key), "-out", word(&certificate)])
        .args(names)
        .output();
    let made = made.unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = |file| std::fs::read_to_string(file).unwrap();
    Identity { certificate: read(certificate), key: read(key) }
}

const IN_CLEAR: [&str; 5] = [
    "EHLO client.example.org",
    "MAIL FROM:<someone@example.net>",
    "RCPT TO:<desk@partner.example>",
    "DATA",
    "QUIT",
];

fn under_tls() -> Vec<String> {
    let opening = ["EHLO mx.partner.example", "STARTTLS"].map(str::to_owned);
    opening.into_iter().chain(IN_CLEAR.map(|line| format!("TLS: {line}"))).collect()
}

#[test]
fn off_means_never() {
    let scene = Scene::new(Manner::Able);
    assert_eq!(scene.heard(&scene.gateway("")), IN_CLEAR);
}

#[test]
fn tls_is_used_where_it_is_offered() {
    for mode in ["may", "encrypt"] {
        // Whose certificate it is does not matter, nor what it says.
        let scene =
            Scene::with(Manner::Able, |_| Authority::new("stranger").issue_expired(&["other.example"]));
        assert_eq!(scene.heard(&scene.gateway(&format!("next_hop_tls = \"{mode}\""))), under_tls(), "{mode}");
    }
    let scene = Scene::new(Manner::Able);
    assert_eq!(scene.heard(&scene.verifying()), under_tls());
}

#[test]
fn a_host_name_is_checked_as_well_as_an_address() {
    let scene = Scene::with(Manner::Able, |authority| authority.issue(&["localhost"]));
    let lines = "next_hop_tls = \"verify\"\nnext_hop_ca = \"ca.pem\"";
    let listener = format!(
        "[[listener]]\nname = \"inbound\"\nmode = \"verify\"\nlisten = [\"127.0.0.1:0\"]\n\
         next_hop = \"localhost:{}\"\n{lines}\n",
        scene.server.address.port()
    );
    let gateway = Config::new(scene.folder.path(), "mx.partner.example").and(&listener).start();
    assert_eq!(scene.heard(&gateway), under_tls());
}

#[test]
fn may_goes_on_in_clear() {
    // What was said before goes for a connection of its own: the server takes one greeting only.
    let hello = "EHLO mx.partner.example";
    for (manner, before) in [
        (Manner::Unable, vec![hello, "QUIT"]),
        (Manner::Answering("454 4.7.0 not now\r\n"), vec![hello, "STARTTLS", "QUIT"]),
        (Manner::Babbling, vec![hello, "STARTTLS"]),
        (Manner::Leaving, vec![hello, "STARTTLS"]),
        (Manner::Missing, vec![hello, "STARTTLS"]),
    ] {
        let scene = Scene::new(manner);
        let gateway = scene.gateway("next_hop_tls = \"may\"");
        let expected: Vec<_> = before.into_iter().chain(IN_CLEAR).map(str::to_owned).collect();
        assert_eq!(scene.heard(&gateway), expected, "{manner:?}");
        if matches!(manner, Manner::Babbling | Manner::Leaving | Manner::Missing) {
            assert!(gateway.await_log("going on in clear").contains("WARN"));
        }
    }
}

#[test]
fn encrypt_and_verify_do_without_mail_rather_than_without_tls() {
    for (manner, why) in [
        (Manner::Unable, "does not offer STARTTLS"),
        (Manner::Answering("454 4.7.0 not now\r\n"), "refuses STARTTLS: 454 4.7.0 not now"),
        (Manner::Babbling, "the TLS handshake failed: "),
        (Manner::Leaving, "the TLS handshake failed: "),
        (Manner::Missing, "the TLS handshake failed: "),
    ] {
        let scene = Scene::new(manner);
        scene.assert_deferred(&scene.gateway("next_hop_tls = \"encrypt\""), why);
        scene.assert_deferred(&scene.verifying(), why);
    }
}

#[test]
fn verify_wants_the_right_certificate() {
    let stranger = |_: &Authority| Authority::new("stranger").issue(&["127.0.0.1"]);
    let misnamed = |authority: &Authority| authority.issue(&["other.example", "127.0.0.2"]);
    let expired = |authority: &Authority| authority.issue_expired(&["127.0.0.1"]);
    type Issue<'a> = &'a dyn Fn(&Authority) -> Identity;
    let cases: [(Issue<'_>, &str); 3] = [
        (&stranger, "no authority that is trusted has signed the certificate"),
        (&misnamed, "the certificate is for another name: "),
        (&expired, "the certificate has expired"),
    ];
    for (identity, why) in cases {
        let scene = Scene::with(Manner::Able, identity);
        scene.assert_deferred(&scene.verifying(), why);
    }
}

#[test]
fn the_systems_roots_are_the_default() {
    let scene = Scene::new(Manner::Able);
    let config = Config::new(scene.folder.path(), "mx.partner.example").listener(
        "inbound",
        "verify",
        scene.server.address,
        "next_hop_tls = \"verify\"",
    );
    // As administrators put a root of their own there.
    let roots = scene.authority.write(scene.folder.path());
    let gateway = config.start_with(&[("SSL_CERT_FILE", word(&roots))]);
    assert_eq!(scene.heard(&gateway), under_tls());
    drop(gateway);
    Authority::new("another authority").write(scene.folder.path());
    let gateway = config.start_with(&[("SSL_CERT_FILE", word(&roots))]);
    assert_eq!(Client::connect(gateway.address("inbound")).greeting, NOT_NOW);
    gateway.await_log("no authority that is trusted has signed the certificate");
    drop(gateway);
    let config = config.write();
    let checked =
        program::waxseal_with(&[("SSL_CERT_FILE", "/nowhere")], &["check-config", "--config", word(&config)]);
    assert_eq!(checked.status, 1, "{checked:?}");
    assert!(checked.stderr.contains("next_hop_tls: the system has no root certificates"), "{checked:?}");
}

/// As at port 465: TLS from the first octet on, and the certificate checked as with "verify".
#[test]
fn tls_can_begin_with_the_connection() {
    let implicit = "next_hop_tls = \"implicit\"\nnext_hop_ca = \"ca.pem\"";
    let scene = Scene::new(Manner::Implicit);
    let heard = scene.heard(&scene.gateway(implicit));
    assert_eq!(heard, IN_CLEAR.map(|line| format!("TLS: {line}")));
    let stranger = |_: &Authority| Authority::new("stranger").issue(&["127.0.0.1"]);
    let scene = Scene::with(Manner::Implicit, stranger);
    scene
        .assert_deferred(&scene.gateway(implicit), "no authority that is trusted has signed the certificate");
    // One that expects TLS at once never greets in clear, and the log says what that may be.
    let scene = Scene::new(Manner::Implicit);
    let lines = "next_hop_tls = \"encrypt\"";
    let config = Config::new(scene.folder.path(), "mx.partner.example")
        .listener("inbound", "verify", scene.server.address, lines)
        .and("[limits]\nnext_hop_timeout = \"1s\"");
    let gateway = config.start();
    assert!(Client::connect(gateway.address("inbound")).greeting.starts_with("421 4.4.2 "));
    gateway.await_log("as at port 465, set next_hop_tls = ");
}

/// `openssl req -x509` makes a certificate that is its own authority, by default without a name that counts.
#[test]
fn a_certificate_of_its_own_authority_can_be_named_itself() {
    if !OpenSsl::is_there() {
        return;
    }
    let own = ["-addext", "subjectAltName=IP:127.0.0.1"];
    let other = ["-addext", "subjectAltName=DNS:other.example"];
    for (names, why) in
        [(&own[..], None), (&[], None), (&other[..], Some("the certificate is for another name: "))]
    {
        for (manner, mode) in [(Manner::Able, "verify"), (Manner::Implicit, "implicit")] {
            let identity = self_made(names);
            let scene = Scene::with(manner, |_| identity.clone());
            std::fs::write(scene.folder.path().join("own.pem"), &identity.certificate).unwrap();
            let gateway = scene.gateway(&format!("next_hop_tls = \"{mode}\"\nnext_hop_ca = \"own.pem\""));
            match why {
                None => assert!(scene.heard(&gateway).contains(&"TLS: DATA".to_owned()), "{names:?}"),
                Some(why) => scene.assert_deferred(&gateway, why),
            }
        }
    }
    // Another one of the same making is no proof.
    let scene = Scene::with(Manner::Able, |_| self_made(&own));
    std::fs::write(scene.folder.path().join("own.pem"), self_made(&own).certificate).unwrap();
    let gateway = scene.gateway("next_hop_tls = \"verify\"\nnext_hop_ca = \"own.pem\"");
    assert_eq!(Client::connect(gateway.address("inbound")).greeting, NOT_NOW);
}

#[test]
fn a_reply_slipped_in_behind_starttls_ends_the_session() {
    // The second of them looks like a farewell, which else may come at any time.
    for injected in
        ["220 go ahead\r\n250 2.0.0 queued\r\n", "220 go ahead\r\n421 4.0.0 bye\r\n", "220 go ahead\r\n4"]
    {
        let scene = Scene::new(Manner::Answering(injected));
        for mode in ["may", "encrypt"] {
            let gateway = scene.gateway(&format!("next_hop_tls = \"{mode}\""));
            scene.assert_deferred(&gateway, "more came after the next hop's reply to STARTTLS");
        }
    }
}

#[test]
fn held_mail_is_released_under_tls() {
    let scene = Scene::new(Manner::Able);
    let record = program::keygen(&scene.folder.path().join("gate1.pem"));
    let lines = "next_hop_tls = \"verify\"\nnext_hop_ca = \"ca.pem\"";
    let config = Config::new(scene.folder.path(), "mx.partner.example");
    let gateway = config.listener("inbound", "verify", scene.server.address, lines).pinning(&record).start();
    let mut client = Client::hello(gateway.address("inbound"));
    let unsealed = letter::plain("office@example.org", "held");
    assert!(client.deliver("office@example.org", RECIPIENT, &unsealed).starts_with("250 2.0.0"));
    let id = gateway.held()[0]["id"].as_str().unwrap().to_owned();

    let ca = scene.folder.path().join("ca.pem");
    let good = std::fs::read(&ca).unwrap();
    std::fs::write(&ca, Authority::new("another authority").pem()).unwrap();
    let refused = gateway.quarantine(&["release", &id]);
    assert!(refused.stderr.contains("no authority that is trusted"), "{refused:?}");
    assert_eq!(gateway.held().len(), 1);
    std::fs::write(&ca, good).unwrap();
    let released = gateway.quarantine(&["release", &id]);
    assert_eq!(released.status, 0, "{released:?}");
    assert!(gateway.held().is_empty());
    let heard = scene.server.heard();
    assert!(heard.contains(&"TLS: DATA".to_owned()) && !heard.contains(&"DATA".to_owned()), "{heard:?}");
}

#[test]
fn what_is_offered_is_what_is_offered_under_tls() {
    let scene = Scene::new(Manner::Able);
    let gateway = scene.gateway("next_hop_tls = \"encrypt\"");
    let reply = Client::connect(gateway.address("inbound")).say("EHLO client.example.org");
    assert!(reply.contains("DSN") && reply.contains("AUTH PLAIN") && !reply.contains("SMTPUTF8"), "{reply}");
    assert!(!reply.contains("STARTTLS"), "{reply}");
}

#[test]
fn the_client_is_announced_under_tls() {
    let scene = Scene::new(Manner::Able);
    let gateway = scene.gateway("next_hop_tls = \"encrypt\"\nxclient = true");
    let heard = scene.heard(&gateway);
    let announced = [
        "EHLO mx.partner.example",
        "STARTTLS",
        "TLS: EHLO mx.partner.example",
        "TLS: XCLIENT ADDR=127.0.0.1 PROTO=ESMTP HELO=client.example.org",
        "TLS: EHLO client.example.org",
    ];
    assert_eq!(heard[..5], announced);
}

/// Credentials go to a next hop across a network under TLS only.
#[test]
fn auth_needs_tls_to_a_next_hop_on_a_network() {
    let Some(address) = network_address() else {
        skipped("this machine is on no network");
        return;
    };
    let scene = Scene::on(address, Manner::Able, |authority| authority.issue(&["mail.example"]));
    for (mode, has_auth) in [("off", false), ("encrypt", true)] {
        let gateway = scene.gateway(&format!("next_hop_tls = \"{mode}\""));
        let reply = Client::connect(gateway.address("inbound")).say("EHLO client.example.org");
        assert!(reply.starts_with("250"), "{reply}");
        assert_eq!(reply.contains("AUTH PLAIN"), has_auth, "{mode}: {reply}");
    }
}

/// The address under which others see this machine. Nothing is sent.
fn network_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}
