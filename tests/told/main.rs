//! Everybody concerned is told of held mail, once: administrators by alerts and a digest, recipients by notices in their language.
//! The gateway is the real program, and the mail servers are real sockets. Where time must pass, libfaketime moves the clock.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod clock;
#[path = "../program/mod.rs"]
mod program;

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use clock::Clock;
use mail_parser::MessageParser;
use program::site::{SENDER, Site};
use program::smtp::{Client, Received, Server, free_port};
use program::{Config, Gateway, wait_for, waxseal, word};

const ADMINISTRATOR: &str = "root@partner.example";
const DESK: &str = "desk@partner.example";
const CHAIR: &str = "chair@partner.example";

/// A site that tells administrator and recipients by `server`.
fn told_by(site: &Site, server: SocketAddr, more: &str) -> Config {
    site.verifying("").and(&format!(
        "[alerts]\nto = \"{ADMINISTRATOR}\"\nnext_hop = \"{server}\"\ndigest = \"off\"\n\
         [notices]\nto = \"recipients\"\ncontact = \"Tashi, 2222\"\n{more}"
    ))
}

/// Sends a message to several people; the last reply.
fn send(gateway: &Gateway, recipients: &[&str], message: &[u8]) -> String {
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.say(&format!("MAIL FROM:<{SENDER}>")).starts_with("250"));
    let accepted =
        recipients.iter().filter(|to| client.say(&format!("RCPT TO:<{to}>")).starts_with("250")).count();
    assert!(accepted > 0);
    assert!(client.say("DATA").starts_with("354"));
    client.finish(message)
}

/// Has a message held; its id.
fn hold(gateway: &Gateway, site: &Site, recipients: &[&str], subject: &str) -> String {
    let reply = send(gateway, recipients, &site.swapped(subject));
    let id = reply.strip_prefix("250 2.0.0 accepted as ").unwrap_or_else(|| panic!("{reply}"));
    id.to_owned()
}

/// The text of a mail, decoded.
fn text(received: &Received) -> String {
    let mail = MessageParser::default().parse(&received.message).unwrap();
    mail.body_text(0).unwrap().into_owned()
}

fn subject(received: &Received) -> String {
    let mail = MessageParser::default().parse(&received.message).unwrap();
    mail.subject().unwrap().to_owned()
}

/// Waits for a mail to somebody.
fn await_mail(server: &Server, to: &str, text_of_it: &str) -> Received {
    let is_it = |mail: &Received| mail.to == to && text(mail).contains(text_of_it);
    wait_for(|| server.received().into_iter().find(is_it))
        .unwrap_or_else(|| panic!("no mail to {to} with `{text_of_it}`: {:#?}", mails(server)))
}

/// All mails that a server was given.
fn mails(server: &Server) -> Vec<(String, String)> {
    server.received().iter().map(|mail| (mail.to.clone(), text(mail))).collect()
}

fn count(server: &Server, to: &str) -> usize {
    server.received().iter().filter(|mail| mail.to == to).count()
}

/// Long enough for two looks into the outbox.
fn a_moment() {
    thread::sleep(Duration::from_secs(3));
}

#[test]
fn administrator_and_recipients_are_told() {
    let (site, server) = (Site::new(), Server::taking_all());
    let french =
        "[[notices.for]]\ndomain = \"geneve.partner.example\"\nlanguage = \"fr\"\ncontact = \"Anne, 3333\"\n";
    let gateway = told_by(&site, server.address, french).start();
    let subject_line = "see www.evil.example or ask help@evil.example";
    let geneva = "anne@geneve.partner.example";
    let recipients = [DESK, "Desk@Partner.Example", geneva, "unknown@partner.example"];
    let id = hold(&gateway, &site, &recipients, subject_line);

    let alert = await_mail(&server, ADMINISTRATOR, &id);
    let alert_text = text(&alert);
    for line in [
        format!("             id: {id}"),
        "       listener: inbound".to_owned(),
        "         client: 127.0.0.1".to_owned(),
        format!("         author: {SENDER}"),
        format!("        subject: {subject_line}"),
        format!("      recipient: {geneva}"),
        "     attachment: altered: Agenda.pdf".to_owned(),
        format!("    waxseal quarantine show {id}"),
    ] {
        assert!(alert_text.lines().any(|found| found == line), "{line} in\n{alert_text}");
    }

    let notice = await_mail(&server, DESK, &id);
    assert_eq!((notice.from.as_str(), subject(&notice).as_str()), ("", "A message to you is held"));
    let notice_text = text(&notice);
    for part in
        ["office[at]example[.]org", "see www[.]evil[.]example", "Tashi, 2222", "not the one that was sent"]
    {
        assert!(notice_text.contains(part), "{part} in\n{notice_text}");
    }
    let french = await_mail(&server, geneva, &id);
    assert_eq!(subject(&french), "Un message qui vous est destiné est retenu");
    assert!(text(&french).contains("Anne, 3333"), "{}", text(&french));
    let raw = String::from_utf8_lossy(&french.message).into_owned();
    for field in ["Auto-Submitted: auto-generated", "Content-Language: fr"] {
        assert!(raw.contains(field), "{raw}");
    }
    for notice in [&notice, &french] {
        let text = text(notice);
        assert!(!text.contains("evil.example") && !text.contains("://"), "{text}");
        let mail = MessageParser::default().parse(&notice.message).unwrap();
        assert_eq!((mail.attachment_count(), mail.html_body_count()), (0, 1), "text alone");
    }
    a_moment();
    // One a person, and nobody who was refused.
    assert_eq!(server.received().len(), 3, "{:#?}", mails(&server));
}

#[test]
fn who_is_not_to_be_told_is_not() {
    let (site, server) = (Site::new(), Server::taking_all());
    let config = site
        .verifying("")
        .and(&format!("[alerts]\nto = \"{ADMINISTRATOR}\"\nnext_hop = \"{}\"", server.address));
    let gateway = config.start();
    let id = hold(&gateway, &site, &[DESK], "off by default");
    await_mail(&server, ADMINISTRATOR, &id);
    a_moment();
    assert_eq!(count(&server, DESK), 0);
}

/// A notice that the gateway holds must not make another one.
#[test]
fn a_notice_about_a_notice_is_none() {
    let (site, server) = (Site::new(), Server::taking_all());
    let config = told_by(&site, server.address, "").and("[policy]\nnone = \"quarantine\"");
    let gateway = config.start();
    let from = "waxseal@mx.partner.example";
    for (reverse_path, author) in [("", from), ("someone@example.net", "someone@example.net")] {
        let message = program::letter::plain(author, "not sealed");
        let reply = Client::hello(gateway.address("inbound")).deliver(reverse_path, DESK, &message);
        assert!(reply.starts_with("250 2.0.0 accepted as"), "{reply}");
    }
    await_mail(&server, DESK, "someone[at]example[.]net");
    a_moment();
    assert_eq!(count(&server, DESK), 1, "{:#?}", mails(&server));
    assert!(!mails(&server).iter().any(|(to, text)| to == DESK && text.contains("waxseal[at]")));
}

#[test]
fn what_was_rejected_is_told() {
    let (site, server) = (Site::new(), Server::taking_all());
    let gateway = told_by(&site, server.address, "").and("[policy]\nfail = \"reject\"").start();
    let reply = send(&gateway, &[DESK], &site.swapped("rejected"));
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let alert = await_mail(&server, ADMINISTRATOR, "action: rejected");
    assert!(text(&alert).contains("waxseal report --all"), "{}", text(&alert));
    assert_eq!(count(&server, DESK), 0, "the client tells the sender");
}

/// Killed before anything could be sent, the gateway sends it after the restart, once.
#[test]
fn a_crash_loses_no_alert() {
    let (site, address) = (Site::new(), free_port());
    let config = told_by(&site, address, "");
    let gateway = config.start();
    let mut wanted = Vec::new();
    for n in 0..5 {
        let to = format!("r{n}@partner.example");
        let id = hold(&gateway, &site, &[&to], &format!("message {n}"));
        wanted.extend([(to, id.clone()), (ADMINISTRATOR.to_owned(), id)]);
    }
    gateway.await_log("mail not sent, trying again");
    // SIGKILL.
    drop(gateway);
    let server = Server::taking_all_at(address);
    let _gateway = config.start();
    let times = |(to, id): &(String, String)| {
        mails(&server).iter().filter(|(to_whom, text)| to_whom == to && text.contains(id.as_str())).count()
    };
    for letter in &wanted {
        let told = wait_long(|| (times(letter) > 0).then_some(()));
        assert!(told.is_some(), "{letter:?}: {:#?}", mails(&server));
    }
    a_moment();
    for letter in &wanted {
        assert_eq!(times(letter), 1, "{letter:?}");
    }
}

/// A lease of a minute, and pauses between attempts.
fn wait_long<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    (0..5).find_map(|_| wait_for(&mut ask))
}

#[test]
fn what_was_released_is_not_told() {
    let (site, address) = (Site::new(), free_port());
    let gateway = told_by(&site, address, "").start();
    let released = hold(&gateway, &site, &[DESK], "released");
    let deleted = hold(&gateway, &site, &[CHAIR], "deleted");
    let stays = hold(&gateway, &site, &["third@partner.example"], "stays");
    gateway.await_log("mail not sent, trying again");
    assert_eq!(gateway.quarantine(&["release", &released]).status, 0);
    assert_eq!(gateway.quarantine(&["delete", &deleted]).status, 0);
    let server = Server::taking_all_at(address);
    let is_told = || {
        mails(&server)
            .iter()
            .any(|(to, text)| to == "third@partner.example" && text.contains(&stays))
            .then_some(())
    };
    assert!(wait_long(is_told).is_some(), "{:#?}", mails(&server));
    a_moment();
    assert_eq!((count(&server, DESK), count(&server, CHAIR)), (0, 0), "{:#?}", mails(&server));
    assert!(count(&server, ADMINISTRATOR) > 0);
}

/// Filters on the way read what strangers wrote.
#[test]
fn an_alert_is_sent_without_the_words_that_a_filter_refuses() {
    let site = Site::new();
    let server = Server::start(|mail| {
        let is_bad = text(mail).contains("Agenda.pdf");
        if is_bad { "550 5.7.1 this looks like spam" } else { "250 2.0.0 taken" }.to_owned()
    });
    let gateway = told_by(&site, server.address, "").start();
    let id = hold(&gateway, &site, &[DESK], "spam");
    let terse = await_mail(&server, ADMINISTRATOR, "would not take the full text");
    assert!(text(&terse).contains(&id) && !text(&terse).contains("Agenda.pdf"), "{}", text(&terse));
}

/// A flood becomes no flood of ours: one mail to each now, and what follows together.
#[test]
fn a_flood_of_held_mail_is_not_ours() {
    let (site, server) = (Site::new(), Server::taking_all());
    let gateway = told_by(&site, server.address, "").start();
    let swapped = site.swapped("flood");
    let mut client = Client::hello(gateway.address("inbound"));
    for n in 0..100 {
        let reply = client.deliver(SENDER, DESK, &swapped);
        assert!(reply.starts_with("250"), "{n}: {reply}");
    }
    await_mail(&server, DESK, "held");
    a_moment();
    assert_eq!(count(&server, DESK), 1, "{:#?}", mails(&server));
    assert_eq!(count(&server, ADMINISTRATOR), 1);
    assert_eq!(gateway.held().len(), 100);
}

#[test]
fn mistakes_in_texts_are_named() {
    let site = Site::new();
    let folder = site.folder.path().join("texts");
    fs::create_dir(&folder).unwrap();
    let check = |more: &str| {
        let config = site.verifying("").and(&format!("[notices]\nto = \"recipients\"\n{more}")).write();
        let ended = waxseal(&["check-config", "--config", word(&config)]);
        (ended.status, format!("{}{}", ended.text(), ended.stderr))
    };
    for (more, expected) in [
        (
            "language = \"klingon\"",
            "notices.language: there are no texts in `klingon`; choose from ar, bo, de",
        ),
        ("[[notices.for]]\ndomain = \"a.example\"\nlanguage = \"pt\"", "there are no texts in `pt`"),
        ("folder = \"nowhere\"", "nowhere: No such file or directory"),
    ] {
        let (status, report) = check(more);
        assert!(status != 0 && report.contains(expected), "{report}");
    }
    fs::write(folder.join("pt.ftl"), "subject = Uma mensagem está retida\n").unwrap();
    let good = "folder = \"texts\"\nlanguage = \"pt-BR\"";
    assert_eq!(check(good).0, 0, "{}", check(good).1);
    fs::write(folder.join("pt.ftl"), "subjct = Uma mensagem\n").unwrap();
    let (status, report) = check(good);
    assert!(status != 0 && report.contains("texts/pt.ftl: there is no message `subjct`"), "{report}");
}

/// For a week no server takes mail. Then everybody is told of all that is held, once.
#[test]
fn a_week_without_the_server() {
    let (site, address) = (Site::new(), free_port());
    let Some(clock) = Clock::new(&site) else { return };
    let config = told_by(&site, address, "");
    let gateway = clock.start(&config);
    let mut ids = Vec::new();
    for hours in [0, 1, 20, 48, 100, 130, 160] {
        clock.set_ahead(hours * 3_600);
        ids.push(hold(&gateway, &site, &[DESK], &format!("after {hours} hours")));
        thread::sleep(Duration::from_secs(3));
    }
    clock.set_ahead(7 * 86_400);
    a_moment();
    let server = Server::taking_all_at(address);
    // Past the longest pause.
    clock.set_ahead(7 * 86_400 + 5 * 3_600);
    for (to, id) in ids.iter().flat_map(|id| [(ADMINISTRATOR, id), (DESK, id)]) {
        await_mail(&server, to, id);
    }
    clock.set_ahead(8 * 86_400);
    a_moment();
    for (to, id) in ids.iter().flat_map(|id| [(ADMINISTRATOR, id), (DESK, id)]) {
        let told = mails(&server)
            .iter()
            .filter(|(to_whom, text)| to_whom == to && text.contains(id.as_str()))
            .count();
        assert!(told >= 1, "{to} {id}");
    }
    assert!(count(&server, DESK) <= 2 && count(&server, ADMINISTRATOR) <= 2, "{:#?}", mails(&server));
}

/// Of an hour, a recipient gets one mail.
#[test]
fn notices_of_an_hour_are_one_mail() {
    let (site, server) = (Site::new(), Server::taking_all());
    let Some(clock) = Clock::new(&site) else { return };
    let gateway = clock.start(&told_by(&site, server.address, ""));
    let first = hold(&gateway, &site, &[DESK], "first");
    await_mail(&server, DESK, &first);
    let more: Vec<_> = (0..3).map(|n| hold(&gateway, &site, &[DESK], &format!("more {n}"))).collect();
    a_moment();
    clock.set_ahead(50 * 60);
    a_moment();
    assert_eq!(count(&server, DESK), 1);
    clock.set_ahead(62 * 60);
    let gathered = await_mail(&server, DESK, &more[0]);
    assert_eq!(subject(&gathered), "Messages to you that are held: 3");
    assert!(more.iter().all(|id| text(&gathered).contains(id.as_str())), "{}", text(&gathered));
    assert_eq!(count(&server, DESK), 2);
}

/// At its time, once a day, whatever is restarted meanwhile.
#[test]
fn the_digest_tells_of_the_day() {
    let (site, server) = (Site::new(), Server::taking_all());
    let Some(clock) = Clock::new(&site) else { return };
    let at = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC) + jiff::SignedDuration::from_hours(2);
    let config = site.verifying("").and(&format!(
        "[alerts]\nto = \"{ADMINISTRATOR}\"\nnext_hop = \"{}\"\ndigest = \"{}\"",
        server.address,
        at.strftime("%H:%M")
    ));
    let gateway = clock.start(&config);
    let id = hold(&gateway, &site, &[DESK], "of the day");
    let deleted = hold(&gateway, &site, &[DESK], "deleted");
    assert_eq!(gateway.quarantine(&["delete", &deleted]).status, 0);
    await_mail(&server, ADMINISTRATOR, &id);
    clock.set_ahead(2 * 3_600 + 60);
    let is_digest = |mail: &Received| subject(mail).starts_with("[waxseal] daily digest: 2 held");
    let digest = wait_long(|| server.received().into_iter().find(is_digest));
    let digest = digest.unwrap_or_else(|| panic!("no digest: {:#?}", mails(&server)));
    // Until the gateway has noted that it was taken.
    a_moment();
    for part in ["    example.org: 2 held", &format!("deleted {deleted} by ")] {
        assert!(text(&digest).contains(part), "{part} in\n{}", text(&digest));
    }
    drop(gateway);
    let gateway = clock.start(&config);
    thread::sleep(Duration::from_secs(25));
    assert_eq!(server.received().iter().filter(|mail| is_digest(mail)).count(), 1);
    drop(gateway);
}
