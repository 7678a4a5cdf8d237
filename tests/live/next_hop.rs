//! The connection to a real Postfix behind the gateway: clients from outside, slow ones, many messages, IPv6.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use std::{fs, thread};

use tokio::net::TcpSocket;

use super::postfix::{Postfix, smtpd};
use super::program::skip::skipped;
use super::program::smtp::{Client, free_port};
use super::program::tls::Authority;
use super::program::{Config, PATIENCE, letter, wait_for};
use super::{Ground, STRANGERS};

const RECIPIENT: &str = "desk@partner.example";
const SENDER: &str = "someone@example.net";

/// What `deploy/postfix/front/master.cf` sets for its smtpd.
fn front() -> Vec<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/postfix/front/master.cf");
    let text = fs::read_to_string(file).unwrap();
    let options = text.lines().filter_map(|line| line.trim().strip_prefix("-o "));
    options.filter(|option| !option.starts_with("syslog_name")).map(str::to_owned).collect()
}

/// From another address of this machine than the gateway's.
fn connect_from(source: &str, server: SocketAddr) -> Client {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
        socket.connect(server).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client::<TcpStream>::greeted_over(stream)
}

/// After XCLIENT a Postfix takes the session for the client's, and offers XCLIENT no more.
#[test]
fn the_front_wiring_serves_clients_that_say_starttls() {
    let Some(ground) = Ground::new() else { return };
    let inside = free_port();
    let options = front();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let receiver = Postfix::start("mx.partner.example", &[RECIPIENT.into()], &[smtpd(inside, &options)], "");
    let folder = ground.folder.path().join("verifying");
    let authority = Authority::new("an authority");
    authority.issue(&["mx.partner.example"]).write(&folder);
    let tls = "[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"";
    let gateway = ground.verifying_with(inside, "xclient = true", tls);
    for (number, (source, name)) in
        [("127.0.0.9", "outside.example"), ("127.0.0.9", "other.example"), ("127.0.0.1", "inside.example")]
            .into_iter()
            .enumerate()
    {
        let mut client = connect_from(source, gateway.address("inbound"));
        assert!(client.say("EHLO outside.example").contains("STARTTLS"));
        let mut client = authority.starttls("mx.partner.example", client);
        let reply = client.say(&format!("EHLO {name}"));
        assert!(reply.starts_with("250"), "{source} {name}: {reply}");
        let reply = client.deliver(SENDER, RECIPIENT, &letter::plain(SENDER, &format!("outside {number}")));
        assert!(reply.starts_with("250"), "{source} {name}: {reply}");
        assert!(receiver.await_mail(RECIPIENT, &format!("Subject: outside {number}")).is_some());
        receiver.await_log(&format!("client=unknown[{source}]"));
    }
}

/// A busy Postfix waits 10 seconds for a command, takes one NOOP and no more.
#[test]
fn an_upload_slower_than_postfix_waits_arrives() {
    let Some(ground) = Ground::new() else { return };
    let inside = free_port();
    let receiver =
        Postfix::start("mx.partner.example", &[RECIPIENT.into()], &[smtpd(inside, &["stress=yes"])], "");
    let gateway = ground.verifying(inside, "");
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.open(SENDER, RECIPIENT).starts_with("354"));
    for line in String::from_utf8(letter::plain(SENDER, "slow")).unwrap().lines() {
        client.send(format!("{line}\r\n").as_bytes());
    }
    for _ in 0..18 {
        thread::sleep(Duration::from_secs(1));
        client.send(b"more\r\n");
    }
    let reply = client.say(".");
    assert!(reply.starts_with("250"), "{reply}");
    assert!(receiver.await_mail(RECIPIENT, "Subject: slow").is_some());
}

/// Postfix answers 421 after a hundred commands that are of no use, such as RSET.
#[test]
fn a_session_may_have_any_number_of_messages_held() {
    let Some(ground) = Ground::new() else { return };
    let inside = free_port();
    let receiver = Postfix::start("mx.partner.example", &[RECIPIENT.into()], &[smtpd(inside, &[])], "");
    let gateway = ground.verifying(inside, "");
    let mut client = Client::hello(gateway.address("inbound"));
    let unsealed = letter::plain("office@example.org", "held");
    for number in 0..150 {
        let reply = client.deliver("office@example.org", RECIPIENT, &unsealed);
        assert!(reply.starts_with("250"), "message {number}: {reply}");
    }
    assert_eq!(gateway.held().len(), 150);
    let reply = client.deliver(SENDER, RECIPIENT, &letter::plain(SENDER, "at last"));
    assert!(reply.starts_with("250"), "{reply}");
    assert!(receiver.await_mail(RECIPIENT, "Subject: at last").is_some());
    assert!(!receiver.log().contains("too many errors"), "{}", receiver.log());
}

/// A Postfix without IPv6 refuses clients by IPv6, however they are announced; the log says how to mend it.
#[test]
fn ipv6_clients_in_front_of_a_postfix_without_ipv6() {
    let Some(ground) = Ground::new() else { return };
    if UdpSocket::bind("[::1]:0").is_err() {
        skipped("this machine has no IPv6");
        return;
    }
    let xclient = ["smtpd_authorized_xclient_hosts=127.0.0.1", STRANGERS];
    let proxy = ["smtpd_upstream_proxy_protocol=haproxy", STRANGERS];
    let mended = "inet_protocols=all";
    let (refusing, refusing_proxy, taking, taking_proxy) =
        (free_port(), free_port(), free_port(), free_port());
    let servers = [
        smtpd(refusing, &xclient),
        smtpd(refusing_proxy, &proxy),
        smtpd(taking, &[xclient[0], xclient[1], mended]),
        smtpd(taking_proxy, &[proxy[0], proxy[1], mended]),
    ];
    let receiver = Postfix::start("mx.partner.example", &[RECIPIENT.into()], &servers, "");
    for (inside, way, is_taken) in [
        (refusing, "xclient = true", false),
        (refusing_proxy, "proxy_protocol = true", false),
        (taking, "xclient = true", true),
        (taking_proxy, "proxy_protocol = true", true),
    ] {
        let gateway = Config::new(ground.folder.path(), "mx.partner.example")
            .listener_at("inbound", "verify", "[::1]:0", inside, way)
            .start();
        let mut client = Client::connect(gateway.address("inbound"));
        if !is_taken {
            if client.greeting.starts_with("220") {
                assert!(client.say("EHLO client.example.org").starts_with("421"));
            }
            gateway.await_log("inet_protocols=all");
            continue;
        }
        assert!(client.say("EHLO client.example.org").starts_with("250"), "{way}: {}", client.greeting);
        let reply = client.deliver(SENDER, RECIPIENT, &letter::plain(SENDER, way));
        assert!(reply.starts_with("250"), "{way}: {reply}");
    }
    let known = || receiver.log().matches("client=unknown[::1]").count() >= 2;
    assert!(wait_for(|| known().then_some(())).is_some(), "{}", receiver.log());
}
