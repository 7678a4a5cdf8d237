//! Held mail is released once: not twice when two people do it, not at all when nobody could know, and with the envelope that
//! it came with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use program::smtp::Client;
use program::{Config, Ended, Gateway, letter, run, wait_for, word};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the next hop does when a message has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Say(&'static str),
    /// It takes the message and says nothing, for as long as the test runs.
    Sleep,
    HangUp,
}

/// A next hop whose manners a test can change as it goes.
#[derive(Default)]
struct Manners {
    offers: Vec<&'static str>,
    /// Recipients that it refuses.
    refuses: Vec<&'static str>,
    /// LHLO rather than EHLO, and a reply for each recipient.
    is_lmtp: bool,
    ends: VecDeque<End>,
    /// The command lines of each session that came to the end of a message.
    sessions: Vec<Vec<String>>,
    messages: Vec<String>,
}

#[derive(Clone)]
struct Hop {
    address: SocketAddr,
    manners: Arc<Mutex<Manners>>,
}

impl Hop {
    fn start(offers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hop = Self { address: listener.local_addr().unwrap(), manners: Arc::default() };
        hop.set(|manners| manners.offers = offers.to_vec());
        let manners = Arc::clone(&hop.manners);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let manners = Arc::clone(&manners);
                thread::spawn(move || serve(client, &manners));
            }
        });
        hop
    }

    fn set(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.manners.lock().unwrap());
    }

    fn messages(&self) -> Vec<String> {
        self.manners.lock().unwrap().messages.clone()
    }

    fn last_session(&self) -> Vec<String> {
        self.manners.lock().unwrap().sessions.last().unwrap().clone()
    }
}

fn serve(client: TcpStream, manners: &Mutex<Manners>) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let say = |client: &mut BufReader<TcpStream>, line: &str| {
        client.get_mut().write_all(format!("{line}\r\n").as_bytes())
    };
    say(&mut client, "220 hop.example")?;
    let mut lines: Vec<String> = Vec::new();
    loop {
        let mut line = String::new();
        if client.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        lines.push(line.clone());
        let is_lmtp = manners.lock().unwrap().is_lmtp;
        match line.split(' ').next().unwrap() {
            "EHLO" if is_lmtp => say(&mut client, "500 5.5.1 this is LMTP")?,
            "EHLO" | "LHLO" => {
                let offers = manners.lock().unwrap().offers.clone();
                let list: String = offers.iter().map(|offer| format!("250-{offer}\r\n")).collect();
                say(&mut client, &format!("250-hop.example\r\n{list}250 ENHANCEDSTATUSCODES"))?;
            }
            "RCPT" => {
                let refused = manners.lock().unwrap().refuses.iter().any(|path| line.contains(path));
                say(&mut client, if refused { "550 5.1.1 no such user" } else { "250 2.1.5 ok" })?;
            }
            "DATA" => {
                say(&mut client, "354 go ahead")?;
                let mut message = String::new();
                while !message.ends_with("\r\n.\r\n") {
                    if client.read_line(&mut message)? == 0 {
                        return Ok(());
                    }
                }
                let end = {
                    let mut manners = manners.lock().unwrap();
                    manners.messages.push(message);
                    manners.sessions.push(lines.clone());
                    manners.ends.pop_front().unwrap_or(End::Say("250 2.0.0 taken"))
                };
                match end {
                    End::Say(reply) => {
                        for reply in reply.split('|') {
                            say(&mut client, reply)?;
                        }
                    }
                    End::Sleep => loop {
                        thread::park();
                    },
                    End::HangUp => return Ok(()),
                }
            }
            "QUIT" => return say(&mut client, "221 2.0.0 bye"),
            _ => say(&mut client, "250 2.0.0 ok")?,
        }
    }
}

struct Site {
    folder: TempDir,
    gateway: Gateway,
    hop: Hop,
}

const ALL: &[&str] = &["8BITMIME", "SMTPUTF8", "DSN", "SIZE 50000000"];

impl Site {
    fn new(offers: &[&'static str]) -> Self {
        let (folder, hop) = (program::folder(), Hop::start(offers));
        let record = program::keygen(&folder.path().join("gate1.pem"));
        let gateway = Config::new(folder.path(), "mx.partner.example")
            .listener("inbound", "verify", hop.address, "clients = [\"127.0.0.0/8\"]")
            .pinning(&record)
            .start();
        Self { folder, gateway, hop }
    }

    /// Has a message held; gives its id.
    fn hold(&self, envelope: &[&str], message: &[u8]) -> String {
        let mut client = Client::hello(self.gateway.address("inbound"));
        for line in envelope {
            let reply = client.say(line);
            assert!(reply.starts_with("250"), "{line}: {reply}");
        }
        assert!(client.say("DATA").starts_with("354"));
        let reply = client.finish(message);
        reply.strip_prefix("250 2.0.0 accepted as ").unwrap_or_else(|| panic!("{reply}")).to_owned()
    }

    fn hold_plain(&self) -> String {
        self.hold(&ENVELOPE, &letter::plain("office@example.org", "held"))
    }

    fn release(&self, arguments: &[&str]) -> Ended {
        self.gateway.quarantine(&[&["release"], arguments].concat())
    }

    fn shown(&self, id: &str) -> Value {
        self.gateway.quarantine(&["show", "--json", id]).json().remove(0)
    }

    fn folder_of(&self, id: &str) -> PathBuf {
        self.folder.path().join("state/quarantine").join(id)
    }
}

const ENVELOPE: [&str; 3] =
    ["MAIL FROM:<office@example.org>", "RCPT TO:<a@partner.example>", "RCPT TO:<b@partner.example>"];

#[test]
fn goes_out_once_with_its_envelope() {
    let site = Site::new(ALL);
    let plain = String::from_utf8(letter::plain("office@example.org", "held")).unwrap();
    let result = "mx.partner.example; x-attachment-seal=pass\r\n";
    let forged = format!(
        " {result}Authentication-Results: {result}X-Attachment-Seal-Warning: none\r\nAuthentication-Results: \u{a0}{result}"
    );
    let id = site.hold(
        &[
            "MAIL FROM:<office@example.org> BODY=8BITMIME RET=HDRS ENVID=x+2B SIZE=5000",
            "RCPT TO:<a@partner.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@partner.example",
            "RCPT TO:<b@partner.example>",
        ],
        format!("{forged}{plain}").as_bytes(),
    );
    let released = site.release(&[&id]);
    assert_eq!((released.status, released.stderr.as_str()), (0, ""));
    assert_eq!(released.text().lines().count(), 2, "{released:?}");
    let result = "Authentication-Results: mx.partner.example; x-attachment-seal=missing\r\n";
    let expected = format!("{result}{plain}.\r\n");
    assert_eq!(site.hop.messages(), [expected.as_str()]);
    let size = expected.len() - 3;
    assert_eq!(
        site.hop.last_session()[1..],
        [
            &format!("MAIL FROM:<office@example.org> SIZE={size} BODY=8BITMIME RET=HDRS ENVID=x+2B"),
            "RCPT TO:<a@partner.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@partner.example",
            "RCPT TO:<b@partner.example>",
            "DATA",
        ]
    );
    assert!(site.gateway.held().is_empty());
    site.release(&[&id]).assert_failed("is held");
    assert_eq!(site.hop.messages().len(), 1);
}

#[test]
fn of_two_people_one_releases() {
    let site = Site::new(ALL);
    let id = site.hold_plain();
    site.hop.set(|manners| manners.ends = [End::Sleep].into());
    let mut first = spawn(&site, &id);
    wait_for(|| (!site.hop.messages().is_empty()).then_some(())).unwrap();
    site.release(&[&id]).assert_failed("is being released or deleted by another process");
    site.gateway.quarantine(&["delete", &id]).assert_failed("is being released or deleted");
    assert_eq!(site.hop.messages().len(), 1);

    // The first dies, and nobody can know any more.
    run::kill(&mut first);
    let again = site.release(&[&id]);
    assert_eq!(again.status, 1, "{again:?}");
    assert!(again.text().contains("in doubt for <a@partner.example>"), "{again:?}");
    assert_eq!(site.hop.messages().len(), 1, "not sent again unasked");
    assert_eq!(site.shown(&id)["in_doubt"], json!(["a@partner.example", "b@partner.example"]));
    assert_eq!(site.release(&["--again", &id]).status, 0);
    assert_eq!(site.hop.messages().len(), 2);
    assert!(site.gateway.held().is_empty());
}

fn spawn(site: &Site, id: &str) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_waxseal"))
        .env_clear()
        .args(["quarantine", "release", id, "--config", word(&site.gateway.config)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_next_hop_that_dies_before_its_reply_leaves_doubt() {
    let site = Site::new(ALL);
    let id = site.hold_plain();
    site.hop.set(|manners| manners.ends = [End::HangUp].into());
    let released = site.release(&[&id]);
    assert_eq!(released.status, 1, "{released:?}");
    assert!(released.text().contains("in doubt for <b@partner.example>"), "{released:?}");
    assert_eq!(site.gateway.held().len(), 1);
}

#[test]
fn a_refusal_keeps_the_message() {
    let site = Site::new(ALL);
    let id = site.hold_plain();
    site.hop.set(|manners| manners.ends = [End::Say("451 4.3.0 later"), End::Say("554 5.6.0 no")].into());
    for reply in ["451 4.3.0 later", "554 5.6.0 no"] {
        let released = site.release(&[&id]);
        assert_eq!(released.status, 1, "{released:?}");
        assert!(
            released.text().contains(&format!("refused for <a@partner.example>: {reply}")),
            "{released:?}"
        );
        assert!(!released.text().contains("in doubt"), "{released:?}");
    }
    assert_eq!(site.release(&[&id]).status, 0);
    assert_eq!(site.hop.messages().len(), 3);
}

#[test]
fn those_who_have_it_get_it_no_second_time() {
    let site = Site::new(ALL);
    let id = site.hold_plain();
    site.hop.set(|manners| manners.refuses = vec!["a@"]);
    let released = site.release(&[&id]);
    assert_eq!(released.status, 1, "{released:?}");
    assert!(released.text().contains("delivered to <b@partner.example>"), "{released:?}");
    assert!(
        released.text().contains("refused for <a@partner.example>: 550 5.1.1 no such user"),
        "{released:?}"
    );
    assert_eq!(site.shown(&id)["delivered"], json!(["b@partner.example"]));

    site.hop.set(|manners| manners.refuses.clear());
    assert_eq!(site.release(&[&id]).status, 0);
    let session = site.hop.last_session();
    assert_eq!(session[2..], ["RCPT TO:<a@partner.example>", "DATA"], "{session:?}");
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let site = Site::new(ALL);
    let id = site.hold_plain();
    site.hop.set(|manners| {
        manners.is_lmtp = true;
        manners.ends = [End::Say("250 2.0.0 a has it|452 4.2.2 b is full")].into();
    });
    let released = site.release(&[&id]);
    assert_eq!(released.status, 1, "{released:?}");
    assert!(released.text().contains("refused for <b@partner.example>: 452 4.2.2 b is full"), "{released:?}");
    assert_eq!(site.release(&[&id]).status, 0);
    assert_eq!(site.hop.last_session()[3..], ["RCPT TO:<b@partner.example>", "DATA"]);
}

#[test]
fn nothing_is_sent_that_the_next_hop_cannot_take() {
    let site = Site::new(ALL);
    let utf8 = String::from_utf8(letter::plain("office@example.org", "Grüße")).unwrap();
    let eight_bit = letter::plain("office@example.org", "plain");
    let eight_bit = [eight_bit.as_slice(), "Grüße\r\n".as_bytes()].concat();
    let international = site.hold(
        &["MAIL FROM:<büro@example.org> SMTPUTF8 BODY=8BITMIME", "RCPT TO:<a@partner.example>"],
        utf8.as_bytes(),
    );
    let eight_bit = site.hold(&["MAIL FROM:<office@example.org> BODY=8BITMIME", ENVELOPE[1]], &eight_bit);
    let ascii = site.hold(
        &[
            "MAIL FROM:<office@example.org> SMTPUTF8 BODY=8BITMIME RET=FULL",
            "RCPT TO:<a@partner.example> NOTIFY=NEVER",
        ],
        &letter::plain("office@example.org", "plain"),
    );
    site.hop.set(|manners| manners.offers = vec!["8BITMIME"]);
    site.release(&[&international])
        .assert_failed("the message needs SMTPUTF8, which the next hop does not offer");
    site.hop.set(|manners| manners.offers = vec![]);
    site.release(&[&eight_bit])
        .assert_failed("the message needs 8BITMIME, which the next hop does not offer");
    assert!(site.hop.messages().is_empty());
    assert_eq!(site.gateway.held().len(), 3);
    // What says nothing about this message is left out.
    assert_eq!(site.release(&[&ascii]).status, 0);
    assert_eq!(
        site.hop.last_session()[1..],
        ["MAIL FROM:<office@example.org>", "RCPT TO:<a@partner.example>", "DATA"]
    );
    site.hop.set(|manners| manners.offers = ALL.to_vec());
    assert_eq!(site.release(&[&international]).status, 0);
    let mail = site.hop.last_session()[1].clone();
    assert!(
        mail.starts_with("MAIL FROM:<büro@example.org> ") && mail.ends_with(" BODY=8BITMIME SMTPUTF8"),
        "{mail}"
    );
}

#[test]
fn what_an_early_version_held_is_released_too() {
    let site = Site::new(ALL);
    let id = site.hold_plain();
    let file = site.folder_of(&id).join("meta.json");
    let mut held: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for member in ["recipient_parameters", "result", "mail_parameters"] {
        held.as_object_mut().unwrap().remove(member).unwrap();
    }
    fs::write(&file, held.to_string()).unwrap();
    assert_eq!(site.release(&[&id]).status, 0);
    assert_eq!(site.hop.messages().len(), 1);
}

#[test]
fn says_why_nothing_was_sent() {
    let site = Site::new(ALL);
    let id = site.hold_plain();
    site.release(&["20261123T061112-000000"]).assert_failed("no message 20261123T061112-000000 is held");
    site.release(&["--listener", "outbound", &id]).assert_failed("listener `outbound`");
    site.hop.set(|manners| manners.refuses = vec!["@partner"]);
    let refused = site.release(&[&id]);
    assert_eq!((refused.status, site.hop.messages().len()), (1, 0), "{refused:?}");
    // Nobody there.
    let text = fs::read_to_string(&site.gateway.config).unwrap();
    let closed = program::smtp::closed_port().to_string();
    fs::write(&site.gateway.config, text.replace(&site.hop.address.to_string(), &closed)).unwrap();
    let down = site.release(&[&id]);
    down.assert_failed("nothing was sent, and the message is still held: cannot connect");
    assert_eq!(down.stderr.matches("refused").count(), 1, "{down:?}");
    assert_eq!(site.gateway.held().len(), 1);
}
