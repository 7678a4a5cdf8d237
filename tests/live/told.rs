//! The story of a message that somebody swapped an attachment of, with real Postfix on both sides: it is held, the administrator and
//! the recipient are told, somebody looks, and it is released.

use super::postfix::{Postfix, smtpd};
use super::program::smtp::free_port;
use super::program::{wait_for, waxseal, word};
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
        "[alerts]\nto = \"{ADMINISTRATOR}\"\nnext_hop = \"{inside}\"\n\
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
    let released = site.verifying.quarantine(&["release", &id]);
    assert_eq!(released.status, 0, "{released:?}");
    let delivered = site.receiver.await_mail(&victim, "Subject: swapped").expect("it is delivered");
    let delivered = delivered.replace("\r\n", "\n");
    assert!(delivered.trim_end().ends_with(as_received.trim_end()), "byte for byte:\n{delivered}");
    assert!(delivered.contains("x-attachment-seal=fail"), "its verdict goes with it:\n{delivered}");
    assert!(site.verifying.held().is_empty());

    let report = waxseal(&["report", "--config", word(&site.verifying.config)]);
    assert!(
        report.text().contains("<swapped@example.org>") || report.text().contains("swapped"),
        "{}",
        report.text()
    );
    // The message itself, and one notice of it.
    assert_eq!(site.receiver.mailbox(&victim).len(), 2);
    assert_eq!(site.receiver.mailbox(ADMINISTRATOR).len(), 1);
}
