//! Listeners, next hops, TLS with both.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::thread;

use rustix::process::Signal;

use crate::program::smtp::{Server, closed_port, free_port};
use crate::program::tls::{Authority, Manner, TlsServer};
use crate::program::{Config, folder, keygen, word};
use crate::{ended, examine};

/// The gateway, nobody, and somebody else on our port.
#[test]
fn a_listener_is_known_by_its_greeting() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let next_hop = Server::taking_all();
    let port = free_port().to_string();
    let config = Config::new(folder.path(), "mx.partner.example").listener_at(
        "inbound",
        "verify",
        &port,
        next_hop.address,
        "",
    );
    let nobody = examine(&config.write());
    nobody.assert("listener", "inbound", "problem", "does not run");
    assert_eq!(nobody.status, 1);
    let people = ended(&config.write(), &[]);
    assert!(people.text().lines().last().unwrap().contains("the gateway does not run"), "{people:?}");

    let gateway = config.start();
    let findings = examine(&gateway.config);
    findings.assert_well("listener", "inbound");
    findings.assert("next-hop", "inbound", "ok", "SMTP");
    drop(gateway);

    let stranger = TcpListener::bind(&port).unwrap();
    thread::spawn(move || {
        for client in stranger.incoming() {
            let _ = client.unwrap().write_all(b"220 other.example ESMTP\r\n");
        }
    });
    examine(&config.write()).assert("listener", "inbound", "problem", "");
}

/// What a next hop lacks is said, and that nobody is there is a problem.
#[test]
fn next_hops_are_called_on() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let server = Server::taking_all();
    let config = |keys: &str, next_hop| {
        Config::new(folder.path(), "mx.partner.example")
            .listener("inbound", "verify", next_hop, keys)
            .and("[limits]\nmessage_size = 60000000")
            .write()
    };
    let findings = examine(&config("xforward = true", server.address));
    findings.assert("next-hop", "inbound", "warning", "no SMTPUTF8");
    findings.assert("next-hop", "inbound", "warning", "it takes messages of");
    findings.assert("next-hop", "inbound", "warning", "no XFORWARD");
    assert!(findings.of("open-relay", "").is_empty(), "no stranger can connect");
    assert!(!findings.shown().contains("no 8BITMIME"));
    examine(&config("xclient = true", server.address)).assert("next-hop", "inbound", "problem", "no XCLIENT");
    let nobody = examine(&config("", closed_port()));
    let finding = nobody.assert("next-hop", "inbound", "problem", "refused");
    assert!(finding["remedy"].as_str().unwrap().starts_with("nothing listens at "), "{finding}");
    assert!(server.received().is_empty(), "nothing was sent");
}

/// A next hop that takes anything for anybody, behind a gateway that the world can reach.
#[test]
fn an_open_relay_is_found_without_sending_anything() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let server = Server::taking_all();
    let config = Config::new(folder.path(), "mx.partner.example")
        .listener_at("inbound", "verify", "0.0.0.0:0", server.address, "")
        .write();
    examine(&config).assert("open-relay", "inbound", "problem", "an open relay");
    assert!(server.received().is_empty(), "nothing was sent");
}

/// TLS with the next hop as the gateway would have it: a good certificate, and each way in which it is none.
#[test]
fn tls_with_the_next_hop_is_tried() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let authority = Authority::new("an authority");
    authority.write(folder.path());
    let config = |mode: &str, next_hop| {
        let ca = if matches!(mode, "verify" | "implicit") { "\nnext_hop_ca = \"ca.pem\"" } else { "" };
        Config::new(folder.path(), "mx.partner.example")
            .listener("inbound", "verify", next_hop, &format!("next_hop_tls = \"{mode}\"{ca}"))
            .write()
    };
    let good = TlsServer::start(&authority.issue(&["127.0.0.1"]), Manner::Able);
    examine(&config("verify", good.address)).assert_well("next-hop-tls", "inbound");
    let stranger = Authority::new("a stranger").issue(&["127.0.0.1"]);
    for (identity, says) in [
        (stranger, "no authority that is trusted"),
        (authority.issue_expired(&["127.0.0.1"]), "expired"),
        (authority.issue(&["mail.example.net"]), "another name"),
    ] {
        let server = TlsServer::start(&identity, Manner::Able);
        examine(&config("verify", server.address)).assert("next-hop-tls", "inbound", "problem", says);
        examine(&config("encrypt", server.address)).assert("next-hop-tls", "inbound", "ok", "not checked");
    }
    let clear = Server::taking_all();
    examine(&config("encrypt", clear.address)).assert(
        "next-hop-tls",
        "inbound",
        "problem",
        "does not offer STARTTLS",
    );
    examine(&config("may", clear.address)).assert("next-hop-tls", "inbound", "warning", "in clear");

    // TLS that begins with the connection, as at port 465, and one of which we only think so.
    let at_once = TlsServer::start(&authority.issue(&["127.0.0.1"]), Manner::Implicit);
    let findings = examine(&config("encrypt", at_once.address));
    let finding = findings.assert("next-hop-tls", "inbound", "problem", "no greeting in time");
    assert!(finding["remedy"].as_str().unwrap().contains("next_hop_tls = \"implicit\""), "{finding}");
    examine(&config("implicit", at_once.address)).assert_well("next-hop-tls", "inbound");
    let finding = examine(&config("implicit", clear.address));
    let finding = finding.assert("next-hop-tls", "inbound", "problem", "the TLS handshake failed");
    assert!(finding["remedy"].as_str().unwrap().contains("STARTTLS"), "{finding}");
}

/// What a next hop that is not reached came to decides what is advised.
#[test]
fn remedies_name_what_was_seen() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let examined = |greeting: Option<&'static [u8]>| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for client in listener.incoming() {
                let _ = client.unwrap().write_all(greeting.unwrap_or_default());
            }
        });
        let config = Config::new(folder.path(), "mx.partner.example");
        examine(&config.listener("inbound", "verify", address, "").write())
    };
    for (greeting, found, remedy) in [
        (None, "before its greeting", "its log has the reason"),
        (Some(&b"HTTP/1.1 400 Bad Request\r\n"[..]), "malformed reply", "is no mail server"),
    ] {
        let findings = examined(greeting);
        let finding = findings.assert("next-hop", "inbound", "problem", found);
        assert!(finding["remedy"].as_str().unwrap().contains(remedy), "{finding}");
    }
}

/// Our own certificate: its names, its dates, and whether it is the one that clients see.
#[test]
fn our_certificate_is_looked_at() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("state")).unwrap();
    let next_hop = Server::taking_all();
    let authority = Authority::new("an authority");
    let port = free_port().to_string();
    let config = Config::new(folder.path(), "mx.partner.example")
        .listener_at("inbound", "verify", &port, next_hop.address, "")
        .and("[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"");
    let write = |identity: crate::program::tls::Identity| {
        identity.write(folder.path());
        keygen_mode(&path("tls.key"));
    };
    write(authority.issue(&["mx.partner.example"]));
    let gateway = config.start();
    let findings = examine(&gateway.config);
    findings.assert("certificate", "tls.pem", "ok", "valid until 2100");
    findings.assert("certificate", "tls.pem", "warning", "no authority that this system trusts");
    findings.assert_well("listener", "inbound");
    write(authority.issue(&["mail.example.net"]));
    let findings = examine(&gateway.config);
    findings.assert("certificate", "tls.pem", "warning", "not for mx.partner.example");
    findings.assert("listener", "inbound", "warning", "another certificate than the one on disk");
    write(authority.issue_expired(&["mx.partner.example"]));
    examine(&gateway.config).assert("certificate", "tls.pem", "problem", "expired");
    // A key that is another certificate's.
    fs::write(path("tls.key"), authority.issue(&["mx.partner.example"]).key).unwrap();
    let findings = examine(&gateway.config);
    findings.assert("configuration", "tls.key", "problem", "does not belong");
    findings.assert("certificate", "tls.pem", "not-checked", "whether the key is this certificate's");
}

fn keygen_mode(key: &std::path::Path) {
    fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// A sealing site that is well, but for what nobody publishes here, and the one question that is left open.
#[test]
fn a_healthy_site_has_no_problem() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    keygen(&folder.path().join("gate1.pem"));
    let next_hop = Server::taking_all();
    let port = free_port().to_string();
    let gateway = Config::new(folder.path(), "gate.example.org")
        .listener_at("outbound", "seal", &port, next_hop.address, "")
        .sealing_with(&folder.path().join("gate1.pem"))
        .start();
    let findings = examine(&gateway.config);
    assert_eq!(findings.status, 0, "{}", findings.shown());
    findings.assert("key-record", "gate1", "not-checked", "no name server");
    findings.assert("resolvers", "", "not-checked", "servers = []");
    findings.assert("postfix", "", "not-checked", "whether mail is changed after sealing");
    assert!(word(&gateway.config).ends_with("waxseal.toml"));
}

/// Alerts that nobody takes, and none at all.
#[test]
fn alerts_are_tried_up_to_their_recipient() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let server = Server::taking_all();
    let config = |more: &str| {
        Config::new(folder.path(), "mx.partner.example")
            .listener("inbound", "verify", server.address, "")
            .and(more)
            .write()
    };
    examine(&config("")).assert("alerts", "", "warning", "nobody learns");
    let alerts = |hop| format!("[alerts]\nto = \"a@partner.example\"\nnext_hop = \"{hop}\"");
    examine(&config(&alerts(server.address))).assert("alerts", "a@partner.example", "ok", "would take them");
    examine(&config(&alerts(closed_port()))).assert("alerts", "a@partner.example", "problem", "refused");
    assert!(server.received().is_empty(), "nothing was sent");
}

/// The gateway's own word, where it may be asked for it.
#[test]
fn the_gateway_is_asked_how_it_is() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let server = Server::taking_all();
    let admin = free_port();
    let config = Config::new(folder.path(), "mx.partner.example")
        .listener("inbound", "verify", server.address, "")
        .and(&format!("[admin]\nlisten = [\"{admin}\"]"));
    examine(&config.write()).assert("admin", "127.0.0.1", "problem", "refused");
    let gateway = config.start();
    let findings = examine(&gateway.config);
    findings.assert("admin", "127.0.0.1", "ok", "every listener");
    findings.assert("reload", "gateway", "ok", "uses its present configuration");
    // The mistake need not be there any more, nor be one that can be seen from here.
    let text = fs::read_to_string(&gateway.config).unwrap();
    fs::write(&gateway.config, "hostname = 1").unwrap();
    gateway.signal(Signal::HUP);
    gateway.await_log("the old one stays in force");
    fs::write(&gateway.config, text).unwrap();
    examine(&gateway.config).assert("reload", "gateway", "problem", "refused the last configuration");
}

/// A refused reload, where what is on disk seems right, and where it cannot all be read.
#[test]
fn a_refused_reload_is_a_problem() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let key = folder.path().join("gate1.pem");
    keygen(&key);
    let next_hop = Server::taking_all();
    let gateway = Config::new(folder.path(), "gate.example.org")
        .listener("outbound", "seal", next_hop.address, "")
        .sealing_with(&key)
        .start();
    examine(&gateway.config).assert("reload", "gateway", "ok", "uses its present configuration");
    let text = fs::read_to_string(&gateway.config).unwrap();
    fs::write(&gateway.config, text.replace(word(&key), "credential:gate1.pem")).unwrap();
    gateway.signal(Signal::HUP);
    gateway.await_log("the old one stays in force");
    let findings = examine(&gateway.config);
    findings.assert("configuration", "key", "not-checked", "$CREDENTIALS_DIRECTORY");
    findings.assert("reload", "gateway", "problem", "refused the last configuration");
    fs::write(&gateway.config, &text).unwrap();
    examine(&gateway.config).assert("reload", "gateway", "problem", "refused the last configuration");
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    examine(&gateway.config).assert("reload", "gateway", "ok", "uses its present configuration");
}

/// Who forgets that the gateway only observes is not protected.
#[test]
fn a_policy_that_holds_nothing_is_a_warning() {
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let config = |more: &str| {
        Config::new(folder.path(), "mx.partner.example")
            .listener("inbound", "verify", closed_port(), "")
            .and(more)
            .write()
    };
    assert!(examine(&config("")).of("policy", "").is_empty());
    let all = examine(&config("[policy]\nmode = \"observe\""));
    all.assert("policy", "[policy]", "warning", "only reports, and holds nothing");
    let some = examine(&config("[[policy.for]]\ncorrespondents = [\"example.org\"]\nmode = \"observe\""));
    some.assert("policy", "[policy]", "warning", "in 1 of [[policy.for]]");
}
