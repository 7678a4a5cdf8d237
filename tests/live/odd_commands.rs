//! Odd commands, to a Postfix with its defaults and to the gateway before it: where Postfix takes one and it can mean one
//! thing only, so does the gateway, with the same envelope. Where it is stricter, the table says why. And a message of the
//! greatest size.

use super::postfix::{Postfix, smtpd};
use super::program::letter;
use super::program::smtp::{Client, free_port};
use super::{Ground, SENDER as OFFICE};

const SENDER: &str = "a@example.net";
const DESK: &str = "desk@partner.example";

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Both take it.
    Taken,
    /// Neither takes it.
    Refused,
    /// Both do the same, which depends on Postfix's version.
    Alike,
    /// Postfix takes it, the gateway does not, for this reason.
    TooOdd(&'static str),
}
use Fate::{Alike, Refused, Taken, TooOdd};

const TWO: &str = "it could mean two things";
const CONTROLS: &str = "logs and other servers choke on control characters";

/// MAIL for `a@example.net`, or for nobody.
const MAIL: &[(&str, Fate)] = &[
    ("MAIL FROM:<a@example.net>", Taken),
    ("MAIL FROM: <a@example.net>", Taken),
    ("mail from:<a@example.net> ", Taken),
    (" MAIL FROM:<a@example.net>", Taken),
    ("\tMAIL\tFROM:\t<a@example.net>\t", Taken),
    ("MAIL  FROM:  <a@example.net>  SIZE=10", Taken),
    ("MAIL FROM:<a@example.net>\x0bSIZE=10\x0c", Taken),
    ("MAIL FROM:a@example.net", Taken),
    ("MAIL FROM: a@example.net SIZE=10", Taken),
    ("MAIL FROM:a@example.net>", Taken),
    ("MAIL FROM:<a@example.net>>", Taken),
    ("MAIL FROM:<<a@example.net>>", Taken),
    ("MAIL FROM:< a@example.net >", Taken),
    ("MAIL FROM:<a @ example . net>", Taken),
    ("MAIL FROM:<a@example.net.>", Taken),
    ("MAIL FROM:<a@example.net;>", Taken),
    ("MAIL FROM:x<a@example.net>", Taken),
    ("MAIL FROM:\"A, B\"<a@example.net>", Taken),
    ("MAIL FROM:<A B <a@example.net>>", Taken),
    ("MAIL FROM:<(c)a@example.net>", Taken),
    ("MAIL FROM:<a@example.net (c (d))>", Taken),
    ("MAIL FROM:(c)<a@example.net>(d)", Taken),
    ("MAIL FROM:<@relay.example:a@example.net>", Taken),
    ("MAIL FROM:<\"a\"@example.net>", Taken),
    ("MAIL FROM:<\"a b\"@example.net>", Taken),
    ("MAIL FROM:<a\\ b@example.net>", Taken),
    ("MAIL FROM:<a..b@example.net>", Taken),
    ("MAIL FROM:<a@b@example.net>", Taken),
    ("MAIL FROM:<a:b@example.net>", Taken),
    ("MAIL FROM:<mailto:a@example.net>", Taken),
    ("MAIL FROM:<>", Taken),
    ("MAIL FROM: <>", Taken),
    ("MAIL FROM:< >", Taken),
    ("MAIL FROM:\"\"", Taken),
    ("MAIL FROM:<a@example.net> size=10 body=8bitmime", Taken),
    ("MAIL FROM:<a@example.net> SIZE=10 SIZE=10", Taken),
    ("MAIL FROM:<a@example.net> RET=HDRS ENVID=x", Taken),
    ("MAIL FROM:<a@example.net> SIZE=10 SIZE=20", TooOdd(TWO)),
    ("MAIL FROM:<a@example.net> BODY=8BITMIME BODY=7BIT", TooOdd(TWO)),
    ("MAIL FROM:<a(b@example.net>", TooOdd(TWO)),
    ("MAIL FROM:<a\x07@example.net>", TooOdd(CONTROLS)),
    ("MAIL FROM:", Refused),
    ("MAIL FROM", Refused),
    ("MAIL", Refused),
    ("MAIL <a@example.net>", Refused),
    ("MAIL FROM <a@example.net>", Refused),
    ("MAIL FROM :<a@example.net>", Refused),
    ("MAIL TO:<a@example.net>", Refused),
    ("MAIL FROM:<a@example.net", Refused),
    ("MAIL FROM:<\"a@example.net>", Refused),
    ("MAIL FROM:<a@example.net>x", Refused),
    ("MAIL FROM:<a@example.net>SIZE=10", Refused),
    ("MAIL FROM:A <a@example.net>", Refused),
    ("MAIL FROM:<a@example.net> (c)", Refused),
    ("MAIL FROM:<a@example.net><b@example.net>", Refused),
    ("MAIL FROM:<a@example.net>,<b@example.net>", Refused),
    ("MAIL FROM:<a@example.net,b@example.net>", Refused),
    ("MAIL FROM:<a@example.net b@example.net>", Refused),
    ("MAIL FROM:a@example.net b@example.net", Refused),
    ("MAIL FROM:<a b@example.net>", Refused),
    ("MAIL FROM:<a@>", Refused),
    ("MAIL FROM:<a@b..example.net>", Refused),
    ("MAIL FROM:[a@example.net]", Refused),
    ("MAIL FROM:<a@example.net> SIZE=", Refused),
    ("MAIL FROM:<a@example.net> SIZE=x", Refused),
    ("MAIL FROM:<a@example.net> SIZE = 10", Refused),
    ("MAIL FROM:<a@example.net> BODY", Refused),
    ("MAIL FROM:<a@example.net> BODY=9BIT", Refused),
    ("MAIL FROM:<a@example.net> BODY=BINARYMIME", Refused),
    ("MAIL FROM:<a@example.net> NOTIFY=NEVER", Refused),
    ("MAIL FROM:<a@example.net> XFOO=1", Refused),
    ("MAIL FROM:<a@example.net> ,", Refused),
];

/// RCPT for `desk@partner.example`.
const RCPT: &[(&str, Fate)] = &[
    ("RCPT TO:<desk@partner.example>", Taken),
    (" rcpt to: <desk@partner.example> ", Taken),
    ("RCPT TO:desk@partner.example", Taken),
    ("RCPT TO: desk@partner.example NOTIFY=NEVER", Taken),
    ("RCPT TO:desk@partner.example>", Taken),
    ("RCPT TO:<<desk@partner.example>>", Taken),
    ("RCPT TO:<desk@partner.example.>", Taken),
    ("RCPT TO:Desk<desk@partner.example>", Taken),
    ("RCPT TO:<@relay.example:desk@partner.example>", Taken),
    ("RCPT TO:<desk@partner.example> ORCPT=rfc822;desk@partner.example", Taken),
    ("RCPT TO:<>", Refused),
    ("RCPT TO:< >", Refused),
    ("RCPT TO:\"\"", Refused),
    ("RCPT TO:", Refused),
    ("RCPT TO:<desk@partner.example", Refused),
    ("RCPT TO:<desk@partner.example>NOTIFY=NEVER", Refused),
    ("RCPT TO:<desk@partner.example> SIZE=10", Refused),
    ("RCPT TO:<desk@partner.example> XFOO", Refused),
    ("RCPT TO:<desk@partner.example> <other@partner.example>", Refused),
    ("RCPT TO:<desk@partner.example>,<other@partner.example>", Refused),
    ("RCPT TO:<desk@partner.example,other@partner.example>", Refused),
];

/// Others, with a recipient given before.
const OTHERS: &[(&str, Fate)] = &[
    (" DATA", Taken),
    ("data\t", Taken),
    ("DATA x", Refused),
    (" RSET ", Taken),
    ("RSET x", Refused),
    ("RSET;", Refused),
    ("NOOP", Taken),
    ("  noop  with much to say", Taken),
    ("QUIT", Taken),
    ("quit now ", Taken),
    ("VRFY", Refused),
    (" VRFY desk@partner.example", Taken),
    ("HELP", Alike), // Postfix 3.10 has it.
    ("EHLO a b", Taken),
    (" EHLO\ta ", Taken),
    ("EHLO", Refused),
    ("HELO", Refused),
    ("HELO a_b", Taken),
    ("STARTTLS x", Refused),
    ("BDAT 0 LAST x", Refused),
    ("  bdat  0  last ", Taken),
    ("", Refused),
    (" ", Refused),
    ("FOO", Refused),
    ("NOOP \0", TooOdd(CONTROLS)),
    ("NOOP\r", TooOdd(TWO)),
];

#[test]
fn odd_commands_are_taken_as_a_default_postfix_takes_them() {
    let Some(ground) = Ground::new() else { return };
    let (door, behind) = (free_port(), free_port());
    let servers = [smtpd(door, &[]), smtpd(behind, &[])];
    let receiver = Postfix::start("mx.partner.example", &[DESK.to_owned()], &servers, "");
    let gateway = ground.verifying_with(behind, "", "");
    let through = gateway.address("inbound");

    let mut taken = Vec::new();
    let mut wrong = Vec::new();
    for (number, (command, fate)) in [MAIL, RCPT, OTHERS].concat().into_iter().enumerate() {
        let mut postfix_takes = false;
        for (server, is_gateway) in [(door, false), (through, true)] {
            let mut client = Client::connect(server);
            assert!(client.say("EHLO client.example.net").starts_with("250"));
            let verb = command.trim_start().get(..4).unwrap_or_default().to_ascii_uppercase();
            if verb != "MAIL" {
                assert!(client.say(&format!("MAIL FROM:<{SENDER}>")).starts_with("250"));
            }
            if verb != "MAIL" && verb != "RCPT" {
                assert!(client.say(&format!("RCPT TO:<{DESK}>")).starts_with("250"));
            }
            let reply = client.say(command);
            let is_taken = reply.starts_with(['2', '3']);
            let should_be_taken = match fate {
                Taken => true,
                Refused => false,
                TooOdd(_) => !is_gateway,
                Alike if is_gateway => postfix_takes,
                Alike => is_taken,
            };
            postfix_takes = is_taken;
            if is_taken != should_be_taken {
                wrong
                    .push(format!("{command:?} {}: {reply}", if is_gateway { "here" } else { "to Postfix" }));
            } else if fate == Taken && (verb == "MAIL" || verb == "RCPT") {
                if verb == "MAIL" {
                    assert!(client.say(&format!("RCPT TO:<{DESK}>")).starts_with("250"), "{command:?}");
                }
                assert!(client.say("DATA").starts_with("354"), "{command:?}");
                let subject = format!("{number}-{}", if is_gateway { "here" } else { "there" });
                let message = format!("From: <{SENDER}>\r\nSubject: {subject}\r\n\r\nodd\r\n");
                assert!(client.finish(message.as_bytes()).starts_with("250"), "{command:?}");
                taken.push((command, number));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(receiver.is_idle());
    for (command, number) in taken {
        let envelope = |place: &str| {
            let message = receiver.await_mail(DESK, &format!("Subject: {number}-{place}\n"));
            let message = message.unwrap_or_else(|| panic!("{command:?} did not arrive"));
            // X-Original-To keeps a dot at the end that nothing else keeps.
            let is_meant = |line: &&str| line.starts_with("Return-Path") || line.starts_with("Delivered-To");
            let lines = message.lines().filter(is_meant);
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let (there, here) = (envelope("there"), envelope("here"));
        assert!(there.iter().any(|line| line.starts_with("Return-Path: ")), "{there:?}");
        assert_eq!(there, here, "{command:?}");
    }
}

/// The seal comes on top of what the client has sent, and Postfix's limit is for both: the size that the gateway announces
/// leaves room for it.
#[test]
fn a_message_of_the_announced_size_is_taken() {
    let Some(ground) = Ground::new() else { return };
    let behind = free_port();
    let main = "message_size_limit = 200000\n";
    let provider = Postfix::start("mail.example.org", &[DESK.to_owned()], &[smtpd(behind, &[])], main);
    let gateway = ground.sealing(behind);
    let mut client = Client::connect(gateway.address("outbound"));
    let offer = client.say("EHLO client.example.org");
    let size = offer.lines().find_map(|line| line[4..].strip_prefix("SIZE ")).unwrap();
    let size: usize = size.parse().unwrap();
    assert!(size < 200_000, "{offer}");

    let mut message = letter::with_attachments("large");
    // Behind the last boundary nothing counts but the size.
    message.extend(b"x".repeat(70).into_iter().chain(*b"\r\n").cycle().take(size - message.len() - 2));
    message.extend(b"\r\n");
    let message = String::from_utf8(message).unwrap().replace("\r\r\n", "x\r\n");
    assert_eq!(message.len(), size);
    assert!(client.say(&format!("MAIL FROM:<{OFFICE}> SIZE={size}")).starts_with("250"));
    assert!(client.say(&format!("RCPT TO:<{DESK}>")).starts_with("250"));
    assert!(client.say("DATA").starts_with("354"));
    let reply = client.finish(message.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let arrived = provider.await_mail(DESK, "<large@example.org>").unwrap();
    assert!(arrived.contains("Attachment-Seal: "), "{arrived}");
}
