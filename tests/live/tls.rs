//! Postfix on both sides of a gateway, TLS on both sides, each checking the other's certificate; and a UNIX socket.

use std::fs;

use super::postfix::{Postfix, smtpd};
use super::program::smtp::{Client, free_port};
use super::program::tls::Authority;
use super::program::{Config, letter, wait_for, word};
use super::{Ground, SENDER, relayhost};

const RECIPIENT: &str = "desk@partner.example";

#[test]
fn both_sides_speak_tls_and_check_certificates() {
    let Some(ground) = Ground::new() else { return };
    let (submission, inside) = (free_port(), free_port());
    let folder = ground.folder.path().join("verifying");
    let authority = Authority::new("a trusted authority");
    let ca = authority.write(&folder);
    authority.issue(&["127.0.0.1", "mx.partner.example"]).write(&folder);
    let (certificate, key) = (folder.join("tls.pem"), folder.join("tls.key"));
    let behind = [
        "smtpd_tls_security_level=encrypt".to_owned(),
        format!("smtpd_tls_cert_file={}", word(&certificate)),
        format!("smtpd_tls_key_file={}", word(&key)),
        "smtpd_tls_received_header=yes".to_owned(),
    ];
    let behind: Vec<&str> = behind.iter().map(String::as_str).collect();
    let receiver = Postfix::start("mx.partner.example", &[RECIPIENT.into()], &[smtpd(inside, &behind)], "");
    let keys = "next_hop_tls = \"verify\"\nnext_hop_ca = \"ca.pem\"";
    let tls = "[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"";
    let gateway = ground.verifying_with(inside, keys, tls);

    let main = format!(
        "{}smtp_tls_security_level = verify\nsmtp_tls_CAfile = {}\nsmtp_tls_loglevel = 1\n\
         smtp_tls_verify_cert_match = mx.partner.example\n",
        relayhost(gateway.address("inbound")),
        word(&ca)
    );
    let sender = Postfix::start("mail.example.net", &[SENDER.into()], &[smtpd(submission, &[])], &main);
    let message = letter::plain("someone@example.net", "across");
    assert!(Client::hello(submission).deliver(SENDER, RECIPIENT, &message).starts_with("250"));
    let arrived = receiver.await_mail(RECIPIENT, "Subject: across").unwrap();
    assert!(arrived.contains("using TLSv1.3 with cipher"), "{arrived}");
    sender.await_log("Verified TLS connection established to 127.0.0.1");
}

#[test]
fn a_before_queue_filter_behind_a_unix_socket() {
    let Some(ground) = Ground::new() else { return };
    let (front, inside) = (free_port(), free_port());
    let socket = ground.folder.path().join("in.sock");
    let listener = format!(
        "[[listener]]\nname = \"inbound\"\nmode = \"verify\"\nlisten = [\"unix:{}\"]\nnext_hop = \"{inside}\"",
        word(&socket)
    );
    let _gateway = Config::new(ground.folder.path(), "mx.partner.example").and(&listener).start();
    let filter = format!("smtpd_proxy_filter=unix:{}", word(&socket));
    let servers = [smtpd(front, &[&filter]), smtpd(inside, &[])];
    // As a member of the gateway's group would.
    let chmod = |mode| fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(mode));
    chmod(0o666).unwrap();
    let receiver = Postfix::start("mx.partner.example", &[RECIPIENT.into()], &servers, "");
    let message = letter::plain("someone@example.net", "filtered");
    let reply = Client::hello(front).deliver(SENDER, RECIPIENT, &message);
    assert!(reply.starts_with("250"), "{reply}");
    let arrived = wait_for(|| receiver.mailbox(RECIPIENT).pop()).unwrap();
    assert!(
        arrived.contains("Authentication-Results: mx.partner.example; x-attachment-seal=none"),
        "{arrived}"
    );
}
