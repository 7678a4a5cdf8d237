//! What an administrator looks for when a sender complains, or somebody tries passwords: for each client that is turned away, by
//! whatever, the log at its default level has a line with its true address and the reason. And what it says cannot be forged.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use program::site::{RECIPIENT, SENDER, Site, plain};
use program::skip::are_there;
use program::smtp::{Client, Server, closed_port};
use program::tls::Authority;
use program::{Gateway, letter, wait_for};
use serde_json::Value;

const TLS: &str = "[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"";

/// The lines that the log gains by this, up to one with `text`.
fn lines_of(gateway: &Gateway, text: &str, act: impl FnOnce()) -> Vec<String> {
    let before = gateway.log().len();
    act();
    let is_there = || gateway.log()[before..].iter().any(|line| line.contains(text)).then_some(());
    assert!(wait_for(is_there).is_some(), "no line with `{text}`: {:#?}", &gateway.log()[before..]);
    gateway.log()[before..].to_vec()
}

#[test]
fn each_client_that_is_turned_away_has_a_line() {
    let site = Site::new();
    Authority::new("authority").issue(&["mx.partner.example"]).write(site.folder.path());
    let gateway = site.verifying("").and(TLS).and("[limits]\nmessage_size = 100000").start();
    let inbound = gateway.address("inbound");
    let say = |lines: &[&str]| {
        let mut client = Client::hello(inbound);
        for line in lines {
            client.say(line);
        }
    };
    let long = format!("RCPT TO:<{}>", "x".repeat(3000));
    let big = format!("Subject: big\r\n\r\n{}", "0123456789\r\n".repeat(20_000));
    type Act<'a> = Box<dyn FnOnce() + 'a>;
    let cases: Vec<(&str, Act<'_>)> = vec![
        (
            "message cut off: after",
            Box::new(|| {
                let mut client = Client::hello(inbound);
                assert!(client.open(SENDER, RECIPIENT).starts_with("354"));
                client.send(&[b'x'; 5000]);
            }),
        ),
        (
            "message cut off: after",
            Box::new(|| {
                let mut client = Client::hello(inbound);
                client.say(&format!("MAIL FROM:<{SENDER}>"));
                client.say(&format!("RCPT TO:<{RECIPIENT}>"));
                client.send(b"BDAT 5000 LAST\r\nSubject: x\r\n");
            }),
        ),
        (
            "message cut off: after",
            Box::new(|| {
                let mut client = Client::hello(inbound);
                client.say(&format!("MAIL FROM:<{SENDER}>"));
                client.say(&format!("RCPT TO:<{RECIPIENT}>"));
                client.send(b"BDAT 12\r\nSubject: x\r\n");
                client.reply();
            }),
        ),
        ("message cut off: before the first octet", Box::new(|| say(&["MAIL FROM:<a@b.example>"]))),
        ("message refused: larger than allowed", Box::new(|| say(&["MAIL FROM:<a@b.example> SIZE=200000"]))),
        (
            "message refused: message too large",
            Box::new(|| {
                Client::hello(inbound).deliver(SENDER, RECIPIENT, big.as_bytes());
            }),
        ),
        ("501 5.5.4 syntax", Box::new(|| say(&["MAIL FROM:\"Scanner 1\" <a@b.example>"]))),
        (
            "500 5.5.2 bare CR",
            Box::new(|| {
                let mut client = Client::hello(inbound);
                client.send(b"MAIL FROM:<a@b.example>\n");
                client.reply();
            }),
        ),
        ("500 5.5.1 command not recognized", Box::new(|| say(&["ETRN example.org"]))),
        ("500 5.5.2 line too long", Box::new(|| say(&[&long]))),
        ("503 5.5.1 need MAIL first", Box::new(|| say(&["DATA"]))),
        ("554 5.5.1 no valid recipients", Box::new(|| say(&["MAIL FROM:<a@b.example>", "DATA"]))),
        ("550 5.7.1 insufficient authorization", Box::new(|| say(&["XCLIENT ADDR=192.0.2.1"]))),
        ("550 5.7.1 insufficient authorization", Box::new(|| say(&["XFORWARD ADDR=192.0.2.1"]))),
        ("too many bad commands", Box::new(|| say(&["NONSENSE"; 101]))),
        ("client speaks HTTP", Box::new(|| say(&["GET / HTTP/1.1"]))),
        (
            "the TLS handshake failed",
            Box::new(|| {
                let mut client = Client::hello(inbound);
                assert!(client.say("STARTTLS").starts_with("220"));
                client.send(b"EHLO again.example\r\n");
            }),
        ),
    ];
    for (text, act) in cases {
        let lines = lines_of(&gateway, text, act);
        let line = lines.iter().find(|line| line.contains(text)).unwrap();
        assert!(line.contains("client=127.0.0.1:"), "{line}");
        assert!(line.contains("listener=\"inbound\""), "{line}");
        let is_message = text.starts_with("message refused");
        assert_eq!(line.contains(" WARN "), is_message, "{line}");
    }
    // One that only looks whether we are there is no news.
    let lines = lines_of(&gateway, "command refused", || {
        Client::hello(inbound).say("QUIT");
        drop(TcpStream::connect(inbound));
        drop(Client::connect(inbound));
        thread::sleep(Duration::from_millis(300));
        say(&["ETRN"]);
    });
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

/// A next hop that refuses credentials and one recipient.
fn refusing_next_hop() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || -> std::io::Result<()> {
                let mut client = BufReader::new(client);
                client.get_mut().write_all(b"220 next.example\r\n")?;
                let mut line = String::new();
                while client.read_line(&mut line)? > 0 {
                    let reply = match line.get(..4).unwrap_or_default() {
                        "EHLO" => "250-next.example\r\n250-XFORWARD ADDR PORT\r\n250 AUTH PLAIN",
                        "AUTH" => "535 5.7.8 no: AGRvbG1hAHlhay1idXR0ZXItdGVh",
                        "RCPT" if line.contains("nobody") => "550 5.1.1 nobody of this name",
                        "DATA" => "354 go on",
                        _ => "250 2.0.0 ok",
                    };
                    client.get_mut().write_all(format!("{reply}\r\n").as_bytes())?;
                    line.clear();
                }
                Ok(())
            });
        }
    });
    address
}

#[test]
fn what_the_next_hop_refuses_has_a_line_and_credentials_have_none() {
    let site = Site::new();
    let gateway = site.config().listener("inbound", "verify", refusing_next_hop(), "").start();
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.say("AUTH PLAIN AGRvbG1hAHlhay1idXR0ZXItdGVh").starts_with("535"));
    let line = gateway.await_log("AUTH refused by the next hop");
    assert!(line.contains("client=127.0.0.1:") && line.contains("code=535"), "{line}");
    client.say("MAIL FROM:<a@b.example>");
    assert!(client.say("RCPT TO:<nobody@partner.example>").starts_with("550"));
    let line = gateway.await_log("RCPT refused by the next hop");
    assert!(line.contains("recipient=\"nobody@partner.example\" code=550"), "{line}");
    assert!(!gateway.log().join("\n").contains("AGRvbG1h"));
    // Of one who tries many there are some lines, and a count.
    for n in 0..40 {
        client.say(&format!("RCPT TO:<nobody{n}@partner.example>"));
    }
    drop(client);
    let line = gateway.await_log("more was refused");
    assert!(line.contains("refusals=22"), "{line}");
    let lines = gateway.log().iter().filter(|line| line.contains("RCPT refused")).count();
    assert_eq!(lines, 19);
}

/// A Postfix in front says by XFORWARD whose mail it is, for one message.
#[test]
fn log_and_quarantine_name_the_client_that_xforward_names() {
    let site = Site::new();
    let more = "xforward = true\nclients = [\"127.0.0.0/8\"]";
    let gateway =
        site.config().listener("inbound", "verify", refusing_next_hop(), more).pinning(&site.record).start();
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.say("XFORWARD NAME=mail.example ADDR=192.0.2.7 PORT=2525").starts_with("250"));
    let reply = client.deliver(SENDER, RECIPIENT, &letter::plain(SENDER, "forged"));
    assert!(reply.contains("accepted as"), "{reply}");
    assert!(gateway.await_log("action=\"quarantine\"").contains("client=192.0.2.7:2525 "));
    assert_eq!(gateway.held()[0]["client"], "192.0.2.7");
    // The next message is somebody else's.
    client.deliver(SENDER, RECIPIENT, &letter::plain(SENDER, "forged as well"));
    // Ids of one second are in no order.
    let held = gateway.held();
    let of_next = held.iter().find(|held| held["message_id"].to_string().contains("forged.as.well")).unwrap();
    assert_eq!(of_next["client"], "127.0.0.1");
    client.say("XFORWARD ADDR=IPV6:2001:db8::7");
    client.say(&format!("MAIL FROM:<{SENDER}>"));
    drop(client);
    assert!(gateway.await_log("message cut off").contains("client=[2001:db8::7]:0 "));
}

#[test]
fn held_rejected_and_deferred_messages_are_warnings() {
    let site = Site::new();
    let next_hop = Server::start(|received| match String::from_utf8_lossy(&received.message) {
        text if text.contains("later") => "450 4.2.0 try later".to_owned(),
        text if text.contains("never") => "550 5.7.1 spam".to_owned(),
        _ => "250 2.0.0 taken".to_owned(),
    });
    let gateway = site
        .config()
        .listener("inbound", "verify", next_hop.address, "")
        .pinning(&site.record)
        .and("[policy]\nfail = \"reject\"")
        .start();
    let mut client = Client::hello(gateway.address("inbound"));
    for (message, text, level) in [
        (plain("fine"), "action=\"deliver\"", "INFO"),
        (letter::plain(SENDER, "unsealed"), "action=\"quarantine\"", "WARN"),
        (site.swapped("swapped"), "action=\"reject\"", "WARN"),
        (plain("try later"), "code=450", "WARN"),
        (plain("never"), "code=550 reply=\"550 5.7.1 spam\"", "WARN"),
    ] {
        let lines = lines_of(&gateway, text, || _ = client.deliver(SENDER, RECIPIENT, &message));
        let line = lines.iter().find(|line| line.contains(text)).unwrap();
        assert!(line.contains(&format!(" {level} ")), "{level}: {line}");
    }
}

/// By LMTP each recipient has a reply of its own (RFC 2033 §4.2); the last of them does not speak for all.
#[test]
fn a_message_that_not_every_recipient_gets_is_a_warning() {
    let site = Site::new();
    let next_hop = Server::start(|_| "550 5.2.2 mailbox full\r\n250 2.0.0 taken".to_owned());
    let gateway = site.config().listener("inbound", "verify", next_hop.address, "").start();
    let mut client = Client::connect(gateway.address("inbound"));
    assert!(client.say("LHLO client.example.org").starts_with("250"));
    for line in
        ["MAIL FROM:<a@example.net>", "RCPT TO:<full@partner.example>", "RCPT TO:<desk@partner.example>"]
    {
        assert!(client.say(line).starts_with("250"), "{line}");
    }
    assert!(client.say("DATA").starts_with("354"));
    assert_eq!(client.finish(&plain("split")), "550 5.2.2 mailbox full");
    assert_eq!(client.reply(), "250 2.0.0 taken");
    let line = gateway.await_log("recipients=2 recipients_refused=1 ");
    assert!(line.contains(" WARN ") && line.contains("action=\"deliver\" code=250"), "{line}");
}

#[test]
fn a_flood_at_the_door_is_a_line_a_second_that_counts() {
    let site = Site::new();
    let gateway = site.verifying("clients = [\"192.0.2.0/24\"]").start();
    let inbound = gateway.address("inbound");
    let start = Instant::now();
    let mut refused = 0;
    while start.elapsed() < Duration::from_secs(3) {
        assert!(Client::connect(inbound).greeting.starts_with("554"));
        refused += 1;
    }
    let seconds = start.elapsed().as_secs() as usize + 2;
    let lines = || -> Vec<String> {
        gateway.log().into_iter().filter(|line| line.contains("client not listed")).collect()
    };
    let count =
        |line: &String| -> u64 { line.split_once("clients=").map_or(1, |(_, count)| count.parse().unwrap()) };
    let is_all = || (lines().iter().map(count).sum::<u64>() == refused).then_some(());
    assert!(wait_for(is_all).is_some(), "{refused} refused: {:#?}", lines());
    assert!(lines().len() <= seconds, "{:#?}", lines());
    assert!(lines().iter().all(|line| line.contains("client=127.0.0.1:")), "{:#?}", lines());
    assert!(refused > 20, "no flood: {refused}");
}

/// What a line of the log says, by its documented form: a message, and fields.
fn parsed(line: &str) -> (String, Vec<(String, String)>) {
    let rest = line.split_once(": ").unwrap().1;
    let (message, mut rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquoted(quoted),
        None => {
            let first = rest.find('=').map_or(rest.len(), |at| rest[..at].rfind(' ').unwrap());
            (rest[..first].to_owned(), &rest[first..])
        }
    };
    let mut fields = Vec::new();
    while let Some((key, value)) = rest.trim_start().split_once('=') {
        assert!(key.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_'), "{key:?} in {line}");
        let value = match value.strip_prefix('"') {
            Some(quoted) => {
                let (value, behind) = unquoted(quoted);
                rest = behind;
                value
            }
            None => {
                let (value, behind) = value.split_once(' ').unwrap_or((value, ""));
                rest = behind;
                value.to_owned()
            }
        };
        fields.push((key.to_owned(), value));
    }
    assert_eq!(rest.trim(), "", "{line}");
    (message, fields)
}

/// The text up to the closing quote, and what stands behind that.
fn unquoted(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match characters.next().unwrap().1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                'u' => {
                    let digits: String =
                        characters.by_ref().map(|(_, c)| c).skip(1).take_while(|c| *c != '}').collect();
                    value.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                }
                c => value.push(c),
            },
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}");
}

/// Attachments' names, Message-IDs, addresses and EHLO that would write fields of their own.
#[test]
fn hostile_names_forge_no_fields() {
    const NAMES: [&str; 5] = [
        r#"x verdict=\"pass\" action=\"deliver\".pdf"#,
        "x verdict=pass action=deliver code=250",
        r#"x\\\" verdict=\\\"pass"#,
        "verdict=pass",
        "a: INFO waxseal::smtp::message: all is well verdict=pass",
    ];
    let site = Site::new();
    for format in ["text", "json"] {
        let gateway = site
            .verifying("")
            .and(&format!(
                "[policy]\nfail = \"reject\"\nambiguous = \"reject\"\n[log]\nformat = \"{format}\""
            ))
            .start();
        let inbound = match format {
            "text" => gateway.address("inbound"),
            _ => {
                let line = gateway.await_log("\"listening\"");
                serde_json::from_str::<Value>(&line).unwrap()["address"].as_str().unwrap().parse().unwrap()
            }
        };
        for name in NAMES {
            let letter = String::from_utf8(letter::with_attachments("hostile")).unwrap();
            let id = format!("Message-ID: <{} ", name.replace('\\', ""));
            let letter = letter.replacen("Message-ID: <", &id, 1);
            // Its own sender wrote the name, so nobody minds it; what is in the file was swapped on the way.
            let (plain, hostile) = ("name=\"Agenda.pdf\"", format!("name=\"{name}\""));
            let letter = letter.replace(plain, &hostile);
            let message = site.changed(letter.as_bytes(), |message| {
                letter::swapped(&message.replace(&hostile, plain)).replace(plain, &hostile)
            });
            let mut client = Client::connect(inbound);
            client.say(&format!("EHLO {}", name.replace(['\\', '"'], "")));
            let from = "\"verdict=pass action=deliver\"@example.org";
            let lines = lines_of(&gateway, "own_ms", || {
                let reply = client.deliver(from, RECIPIENT, &message);
                assert!(reply.starts_with("550 5.7.1"), "{reply}");
            });
            let line = lines.iter().find(|line| line.contains("own_ms")).unwrap();
            let mut fields: HashMap<String, Vec<String>> = HashMap::new();
            let message = if format == "text" {
                let (message, all) = parsed(line);
                all.into_iter().for_each(|(key, value)| fields.entry(key).or_default().push(value));
                message
            } else {
                let event: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
                for (key, value) in &event {
                    assert_eq!(line.matches(&format!("\"{key}\":")).count(), 1, "{key} twice: {line}");
                    fields.insert(key.clone(), vec![value.as_str().map_or(value.to_string(), str::to_owned)]);
                }
                event["message"].as_str().unwrap().to_owned()
            };
            for (key, value) in
                [("verdict", "fail"), ("action", "reject"), ("code", "550"), ("reverse_path", from)]
            {
                assert_eq!(fields[key], [value], "{key}: {line}");
            }
            assert!(message.starts_with("changed on the way: "), "{message}");
            // Whoever only looks for the words of a field finds none before the true ones.
            assert_eq!(line.find("verdict=\"pass\""), None, "{line}");
        }
    }
}

#[test]
fn name_servers_that_answer_nothing_are_an_error_once() {
    let site = Site::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    for server in [silent.local_addr().unwrap(), closed_port()] {
        let dns = format!("[dns]\nservers = [\"{server}\"]\ntimeout = \"1s\"");
        let gateway =
            site.config().listener("inbound", "verify", site.next_hop.address, "").and(&dns).start();
        let mut client = Client::hello(gateway.address("inbound"));
        for n in 0..3 {
            let sealed = site.changed(&letter::with_attachments(&format!("letter {n}")), str::to_owned);
            assert!(client.deliver(SENDER, RECIPIENT, &sealed).starts_with("451"));
        }
        let lines: Vec<String> =
            gateway.log().into_iter().filter(|line| line.contains("DNS does not answer")).collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains(" ERROR "), "{lines:#?}");
    }
}

/// A name server that is there, but can look nothing up, is called what it calls itself.
#[test]
fn a_name_server_that_fails_is_an_error_by_its_word() {
    let site = Site::new();
    let failing = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dns = format!("[dns]\nservers = [\"{}\"]\ntimeout = \"2s\"", failing.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = failing.recv_from(&mut packet) {
            // A response with recursion, and code 2 (RFC 1035 §4.1.1).
            (packet[2], packet[3]) = (0x81, 0x82);
            failing.send_to(&packet[..length], client).unwrap();
        }
    });
    let gateway = site.config().listener("inbound", "verify", site.next_hop.address, "").and(&dns).start();
    let sealed = site.changed(&letter::with_attachments("a letter"), str::to_owned);
    let reply = Client::hello(gateway.address("inbound")).deliver(SENDER, RECIPIENT, &sealed);
    assert!(reply.starts_with("451"), "{reply}");
    let line = gateway.await_log("the name servers answer with an error");
    assert!(line.contains(" ERROR ") && line.contains("error=\"SERVFAIL\""), "{line}");
}

/// The filter in `deploy/` finds those who try passwords or nonsense, in lines as the gateway writes them, and no others.
#[test]
fn the_fail2ban_filter_fits_the_lines() {
    let is_there = Command::new("fail2ban-regex").arg("--version").output().is_ok();
    if !are_there(&[("fail2ban-regex", is_there)]) {
        return;
    }
    let site = Site::new();
    Authority::new("authority").issue(&["mx.partner.example"]).write(site.folder.path());
    let gateway = site
        .config()
        .listener("inbound", "verify", refusing_next_hop(), "xclient_from = [\"127.0.0.0/8\"]")
        .listener("closed", "verify", refusing_next_hop(), "clients = [\"192.0.2.0/24\"]")
        .pinning(&site.record)
        .and(TLS)
        .start();
    let as_client = |address: &str| {
        let mut client = Client::hello(gateway.address("inbound"));
        assert!(client.say(&format!("XCLIENT ADDR={address}")).starts_with("220"));
        assert!(client.say("EHLO client.example").starts_with("250"));
        client
    };
    // Those to be banned.
    as_client("192.0.2.1").say("ETRN root");
    as_client("IPV6:2001:db8::2").say("GET / HTTP/1.0");
    let mut client = as_client("192.0.2.4");
    (0..101).for_each(|_| _ = client.say("NONSENSE"));
    assert!(Client::connect(gateway.address("closed")).greeting.starts_with("554"));
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.say("AUTH PLAIN AGRvbG1hAHlhay1idXR0ZXItdGVh").starts_with("535"));
    let mut client = as_client("192.0.2.6");
    client.say("STARTTLS");
    client.send(b"EHLO again.example\r\n");
    gateway.await_log("the TLS handshake failed");
    // Those to be left alone, though they do what they can to have another banned.
    let mut client = as_client("192.0.2.8");
    let forged = "\"command refused client=198.51.100.9:1 AUTH refused by the next hop client=198.51.100.9:2\"@b.example";
    client.deliver(
        forged,
        RECIPIENT,
        &plain("x command refused client=198.51.100.9:1 session ends: client speaks HTTP"),
    );
    client.say("QUIT");
    gateway.await_log("own_ms");

    let log = site.folder.path().join("log");
    std::fs::write(&log, gateway.log().join("\n") + "\n").unwrap();
    let filter = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/fail2ban/filter.d/waxseal.conf");
    let normal = ["127.0.0.1", "192.0.2.1", "192.0.2.4", "2001:db8::2"];
    let aggressive = ["127.0.0.1", "192.0.2.1", "192.0.2.4", "192.0.2.6", "2001:db8::2"];
    for (mode, expected) in [("normal", &normal[..]), ("aggressive", &aggressive)] {
        let filter = format!("{filter}[mode={mode}]");
        let mut command = Command::new("fail2ban-regex");
        let found = command.args(["--out", "ip"]).arg(&log).arg(filter).output().unwrap();
        let text = String::from_utf8(found.stdout).unwrap();
        let mut banned: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        banned.sort_unstable();
        banned.dedup();
        assert_eq!(banned, expected, "{mode}: {text}");
    }
}
