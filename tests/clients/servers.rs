//! Postfix and Exim around the gateways: as the client of one, and as its next hop.
//!
//! ```text
//! smtplib → Postfix → sealing gateway → Exim    → verifying gateway → Postfix
//! smtplib → Exim    → sealing gateway → Postfix → verifying gateway → Exim
//! ```

use std::net::SocketAddr;

use crate::exim::{Exim, Takes};
use crate::passage::{DESK, Letter, OFFICE, assert_passed, assert_sent, gateways_folder, sealing, verifying};
use crate::postfix::{Postfix, smtpd};
use crate::program::run::works;
use crate::program::smtp::{Client, free_port};
use crate::program::{self, wait_for};
use crate::programs::smtplib;

const REFUSE_NOBODY: &str = "smtpd_recipient_restrictions=\
                             check_recipient_access,inline:{nobody@partner.example=reject},permit_mynetworks,reject";

#[test]
fn postfix_exim_postfix() {
    if !all_there() {
        return;
    }
    let (folder, first, middle, last) = (gateways_folder(), free_port(), free_port(), free_port());
    let record = program::keygen(&folder.path().join("sealing/gate1.pem"));
    let readers = [vec![DESK.to_owned()], international().to, Letter::to_many("").to].concat();
    let receiver = Postfix::start("mx.partner.example", &readers, &[smtpd(last, &[])], "");
    let verifying = verifying(folder.path(), &record, last);
    let relay = Exim::start(
        "relay.example.net",
        middle,
        "example.net",
        verifying.address("inbound"),
        Takes::AllButNobody,
    );
    let sealing = sealing(folder.path(), middle, "");
    let door = sealing.address("outbound");
    let relayhost = format!("relayhost = [{}]:{}\n", door.ip(), door.port());
    let sender = Postfix::start("mail.example.org", &[OFFICE.to_owned()], &[smtpd(first, &[])], &relayhost);

    play(first, |letter| {
        let mailboxes = letter.readers().into_iter().flat_map(|reader| receiver.mailbox(reader));
        mailboxes.filter(|message| message.contains(&letter.message_id())).collect()
    });
    assert_bounced(&sender.await_mail(OFFICE, "MAILER-DAEMON").unwrap());
    assert_chunks(&relay, verifying.address("inbound"));
    assert!(verifying.held().is_empty());
}

#[test]
fn exim_postfix_exim() {
    if !all_there() {
        return;
    }
    let (folder, first, middle, last) = (gateways_folder(), free_port(), free_port(), free_port());
    let record = program::keygen(&folder.path().join("sealing/gate1.pem"));
    let receiver = Exim::start("mx.partner.example", last, "partner.example", free_port(), Takes::Everybody);
    let verifying = verifying(folder.path(), &record, last);
    let inbound = verifying.address("inbound");
    let relayhost = format!("relayhost = [{}]:{}\n", inbound.ip(), inbound.port());
    let nowhere = ["nobody@example.net".to_owned()];
    let relay = smtpd(middle, &[REFUSE_NOBODY]);
    let _relay = Postfix::start("relay.example.net", &nowhere, &[relay], &relayhost);
    let sealing = sealing(folder.path(), middle, "");
    let sender =
        Exim::start("mail.example.org", first, "example.org", sealing.address("outbound"), Takes::Everybody);

    play(first, |letter| {
        receiver.mailbox().into_iter().filter(|message| message.contains(&letter.message_id())).collect()
    });
    let bounce = || sender.mailbox().into_iter().find(|message| message.contains("Mailer-Daemon"));
    assert_bounced(&wait_for(bounce).unwrap());
    assert_chunks(&sender, sealing.address("outbound"));
    assert!(verifying.held().is_empty());
}

fn all_there() -> bool {
    Postfix::is_there_with(&[("Exim", Exim::is_there()), ("Python", works("python3", &["--version"]))])
}

fn international() -> Letter {
    Letter::international("international")
}

/// Sends every kind of letter by the server at `first`. `copies` finds those of a letter in its readers' mailboxes.
fn play(first: SocketAddr, copies: impl Fn(&Letter) -> Vec<String>) {
    let letters = [
        Letter::new("plain"),
        Letter::bulky("bulky"),
        Letter::with_null_reverse_path("null"),
        international(),
        Letter::to_many("many"),
    ];
    let folder = program::folder();
    for letter in &letters {
        let file = folder.path().join(&letter.name);
        std::fs::write(&file, &letter.message).unwrap();
        assert_sent(letter, &smtplib(first, &file, letter));
    }
    for letter in &letters {
        let count = letter.readers().len();
        let all = wait_for(|| Some(copies(letter)).filter(|copies| copies.len() >= count));
        let all = all.unwrap_or_else(|| panic!("{} did not reach all its readers", letter.name));
        assert_eq!(all.len(), count, "copies of {}", letter.name);
        all.iter().for_each(|copy| assert_passed(letter, copy));
    }
}

/// The bounce is about the one recipient who does not exist.
fn assert_bounced(bounce: &str) {
    assert!(bounce.contains("nobody@partner.example"), "{bounce}");
    assert!(!bounce.contains("desk1@partner.example"), "{bounce}");
}

/// Exim sends a message in chunks (RFC 3030) where the gateway offers that, and only there; `K` says so in its log.
fn assert_chunks(exim: &Exim, gateway: SocketAddr) {
    let is_offered = Client::connect(gateway).say("EHLO client.example.org").contains("CHUNKING");
    let line = exim.await_log("=> desk@partner.example ");
    assert_eq!(line.contains(" K "), is_offered, "{line}");
}
