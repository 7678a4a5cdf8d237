//! The story of a message that somebody swapped an attachment of, with real Postfix on both sides: it is held, the administrator and
//! the recipient are told, somebody looks, and two people release it.

use super::postfix::{Postfix, smtpd};
use super::program::smtp::free_port;
use super::program::{wait_for, waxseal, waxseal_with, word};
use super::{Ground, SENDER, Site, hostile_relay, recipient, relayhost};

const ADMINISTRATOR: &str = "root@partner.example";

#[test]
fn swapped_held_told_and_released() {
    let Some(ground) = Ground::new() else { return };
    let (submission, inside) = (free_port(), free_port());
    let victim = recipient("swapped");
    let mailboxes = [victim.clone(), ADMINISTRATOR.to_owned()];
    let receiver = Postfix::start("mx.partner.example", &mailboxes, &[smtpd(inside, &[])], "");
    let told = format!(
        "[quarantine]\nrelease_needs = 2\n[alerts]\nto = \"{ADMINISTRATOR}\"\nnext_hop = \"{inside}\"\n\
         [notices]\nto = \"recipients\"\nlanguage = \"fr\"\ncontact = \"Anne, téléphone 3333\"\n"
    );
    let verifying = ground.verifying(inside, &told);
    let relay = hostile_relay(verifying.address("inbound"));
    let sealing = ground.sealing(relay.address);
    let to_gateway = relayhost(sealing.address("outbound"));
    let sender = Postfix::start("mail.example.org", &[SENDER.into()], &[smtpd(submission, &[])], &to_gateway);
    let site = Site { submission, sender, receiver, verifying, ground };

    site.send("swapped");
    let held = wait_for(|| site.verifying.held().pop()).expect("it is held");
    let id = held["id"].as_str().unwrap().to_owned();
    let alert = site.receiver.await_mail(ADMINISTRATOR, &id).expect("the administrator is told");
    for part in [
        "altered: Agenda.pdf",
        &format!("author: {SENDER}"),
        &format!("recipient: {victim}"),
        &format!("waxseal quarantine show {id}"),
    ] {
        assert!(alert.contains(part), "{part} in\n{alert}");
    }
    let notice = site.receiver.await_mail(&victim, "Content-Language: fr").expect("the recipient is told");
    let parsed = mail_parser::MessageParser::default().parse(notice.as_bytes()).unwrap();
    assert_eq!(parsed.subject(), Some("Un message qui vous est destiné est retenu"));
    let text = parsed.body_text(0).unwrap();
    for part in [
        "la pièce jointe n’est pas celle qui a été envoyée",
        &id,
        "Anne, téléphone 3333",
        "office[at]example[.]org",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }

    let show = site.verifying.quarantine(&["show", &id]);
    assert!(show.text().contains("fail (attachments)"), "{}", show.text());
    let as_received = site.verifying.quarantine(&["export", &id]).text().replace("\r\n", "\n");
    for (who, status) in [("anna", 3), ("boris", 0)] {
        let arguments = ["quarantine", "release", &id, "--reason", "confirmed by telephone", "--config"];
        let config = word(&site.verifying.config);
        let released = waxseal_with(&[("SUDO_USER", who)], &[&arguments[..], &[config]].concat());
        assert_eq!(released.status, status, "{released:?}");
    }
    let delivered = site.receiver.await_mail(&victim, "Subject: swapped").expect("it is delivered");
    let delivered = delivered.replace("\r\n", "\n");
    assert!(delivered.trim_end().ends_with(as_received.trim_end()), "byte for byte:\n{delivered}");
    assert!(delivered.contains("x-attachment-seal=fail"), "its verdict goes with it:\n{delivered}");
    assert!(site.verifying.held().is_empty());

    let message_id = delivered.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
    let config = word(&site.verifying.config);
    let report = waxseal(&["report", "--message-id", message_id, "--config", config]);
    for part in [&id, "anna asked for its release", "boris released it", "reason: confirmed by telephone"] {
        assert!(report.text().contains(part), "{part} in\n{}", report.text());
    }
    // The message itself, and one notice of it.
    assert_eq!(site.receiver.mailbox(&victim).len(), 2);
    assert_eq!(site.receiver.mailbox(ADMINISTRATOR).len(), 1);
}
