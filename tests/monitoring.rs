//! What the running gateway tells to those who watch it: metrics, health, readiness (docs/MONITORING.md), as a monitoring
//! system, a balancer and somebody with bad manners ask for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use program::site::{RECIPIENT, SENDER, Site, plain};
use program::smtp::{Client, Server, closed_port, connected, connected_to};
use program::tls::Authority;
use program::{Config, Gateway, letter, wait_for, waxseal, waxseal_in, word};
use rustix::process::Signal;
use serde_json::Value;

const ADMIN: &str = "[admin]\nlisten = [\"127.0.0.1:0\"]";

const TLS: &str = "[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"";

/// An answer of the gateway's HTTP server.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// The status line and the header section, in lower case.
    head: String,
    body: String,
}

/// Sends `request` as it is and reads until the gateway hangs up.
fn exchange<S: Read + Write>(mut stream: S, request: &str) -> Answer {
    // It may have been refused before its end was sent.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn get_saying(server: SocketAddr, path: &str, more: &str) -> Answer {
    exchange(connected(server), &format!("GET {path} HTTP/1.1\r\nHost: gate\r\n{more}\r\n"))
}

fn get(server: SocketAddr, path: &str) -> Answer {
    get_saying(server, path, "")
}

/// Status and body of `/ready`, or of what stands behind it.
fn ready(server: SocketAddr, listener: &str) -> (u16, String) {
    let answer = get(server, &format!("/ready{listener}"));
    (answer.status, answer.body)
}

/// Where a gateway tells of itself.
fn admin(gateway: &Gateway) -> SocketAddr {
    gateway.await_log(" metrics and health address=").rsplit_once('=').unwrap().1.parse().unwrap()
}

/// The value of one series, such as `waxseal_ready{listener="inbound",mode="verify"}`.
fn value(server: SocketAddr, series: &str) -> Option<f64> {
    let text = get(server, "/metrics").body;
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .map(|value| value.parse().unwrap())
}

/// Waits until a series has a value: what is counted at the end of a session may come a moment later.
fn await_value(server: SocketAddr, series: &str, expected: f64) {
    let is_there = || (value(server, series) == Some(expected)).then_some(());
    assert!(wait_for(is_there).is_some(), "{series} is {:?}, not {expected}", value(server, series));
}

/// The metrics that are told, by the names that people ask for.
fn names(server: SocketAddr) -> BTreeSet<String> {
    let text = get(server, "/metrics").body;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// A gateway that verifies and seals, and tells of it.
fn of_both_modes(site: &Site) -> Config {
    let verifying = site.verifying("");
    verifying.listener("outbound", "seal", site.next_hop.address, "").sealing_with(&site.key).and(ADMIN)
}

#[test]
fn mail_is_counted() {
    let site = Site::new();
    let gateway = of_both_modes(&site).start();
    let admin = admin(&gateway);
    // A series that is not there before its first event is no increase to Prometheus.
    for series in [
        "waxseal_verdicts_total{listener=\"inbound\",verdict=\"fail\"}",
        "waxseal_message_replies_total{listener=\"inbound\",by=\"gateway\",class=\"4yz\"}",
        "waxseal_next_hop_failures_total{listener=\"outbound\",reason=\"connect\"}",
        "waxseal_dns_lookups_total{record=\"key\",result=\"bogus\"}",
    ] {
        assert_eq!(value(admin, series), Some(0.0), "{series}");
    }
    let mut client = Client::hello(gateway.address("inbound"));
    await_value(admin, "waxseal_sessions_open{listener=\"inbound\"}", 1.0);
    let intact = site.changed(&letter::with_attachments("intact"), str::to_owned);
    let swapped = site.swapped("swapped");
    for message in [&intact, &swapped, &plain("none"), &plain("none")] {
        assert!(client.deliver(SENDER, RECIPIENT, message).starts_with("250"));
    }
    assert!(client.open(SENDER, RECIPIENT).starts_with("354"));
    assert!(client.finish(b"Subject: bare\r\n\r\na\nb\r\n").starts_with("550 5.5.2 "));
    drop(client);
    let mut client = Client::hello(gateway.address("outbound"));
    for message in [letter::with_attachments("ours"), plain("not ours")] {
        assert!(client.deliver(SENDER, RECIPIENT, &message).starts_with("250"));
    }
    drop(client);

    let of = |listener: &str, rest: &str| format!("{{listener=\"{listener}\",{rest}}}");
    let message = |listener, mode, action, verdict, reason| {
        let what = format!("mode=\"{mode}\",action=\"{action}\",verdict=\"{verdict}\",reason=\"{reason}\"");
        format!("waxseal_messages_total{}", of(listener, &what))
    };
    for (series, expected) in [
        (message("inbound", "verify", "deliver", "pass", ""), 1.0),
        (message("inbound", "verify", "quarantine", "fail", "attachments"), 1.0),
        (message("inbound", "verify", "deliver", "none", ""), 2.0),
        (message("outbound", "seal", "seal", "", ""), 1.0),
        (message("outbound", "seal", "pass", "", ""), 1.0),
        (format!("waxseal_verdicts_total{}", of("inbound", "verdict=\"none\"")), 2.0),
        (format!("waxseal_message_replies_total{}", of("inbound", "by=\"next-hop\",class=\"2yz\"")), 3.0),
        (format!("waxseal_message_replies_total{}", of("inbound", "by=\"gateway\",class=\"2yz\"")), 1.0),
        (format!("waxseal_messages_refused_total{}", of("inbound", "reason=\"bare-line-end\"")), 1.0),
        ("waxseal_message_size_bytes_count{listener=\"inbound\"}".to_owned(), 4.0),
        ("waxseal_message_processing_seconds_count{listener=\"outbound\"}".to_owned(), 2.0),
        ("waxseal_next_hop_seconds_count{listener=\"inbound\"}".to_owned(), 3.0),
        ("waxseal_sessions_total{listener=\"inbound\"}".to_owned(), 1.0),
        ("waxseal_sessions_open{listener=\"inbound\"}".to_owned(), 0.0),
        ("waxseal_dns_lookups_total{record=\"policy\",result=\"absent\"}".to_owned(), 2.0),
        ("waxseal_quarantine_messages".to_owned(), 1.0),
        ("waxseal_quarantine_bytes".to_owned(), swapped.len() as f64),
        ("waxseal_remembering".to_owned(), 1.0),
        ("waxseal_panics_total".to_owned(), 0.0),
        ("waxseal_messages_spooled".to_owned(), 0.0),
        ("waxseal_message_memory_bytes".to_owned(), 0.0),
    ] {
        await_value(admin, &series, expected);
    }
    let octets = value(admin, "waxseal_message_size_bytes_sum{listener=\"inbound\"}").unwrap();
    assert_eq!(octets, (intact.len() + swapped.len() + 2 * plain("none").len()) as f64);
    let free = value(admin, "waxseal_state_free_bytes").unwrap();
    assert!(free > 0.0 && free <= value(admin, "waxseal_state_size_bytes").unwrap());

    // Nothing of any message's.
    let text = get(admin, "/metrics").body;
    for theirs in ["example.net", "partner.example", "office", "127.0.0.1", "Agenda"] {
        assert!(!text.contains(theirs), "{theirs}: {text}");
    }
}

/// What `report --json` says once as many attempts are written down as are expected.
fn reported(gateway: &Gateway, attempts: u64) -> Value {
    let report = || waxseal(&["report", "--json", "--config", word(&gateway.config)]).json().remove(0);
    let total = |report: &Value| -> u64 {
        report["counts"].as_array().unwrap().iter().map(|count| count["count"].as_u64().unwrap()).sum()
    };
    wait_for(|| Some(report()).filter(|report| total(report) == attempts))
        .unwrap_or_else(|| panic!("not {attempts} attempts: {}", report()))
}

/// The next hop has the last word: what it puts off or refuses is not written down as delivered, and a message that it
/// puts off twice is one message.
#[test]
fn what_the_next_hop_makes_of_a_message_is_what_is_recorded() {
    let site = Site::new();
    let tries = AtomicUsize::new(0);
    let next_hop = Server::start(move |received| match String::from_utf8_lossy(&received.message) {
        text if text.contains("greylisted") && tries.fetch_add(1, Ordering::Relaxed) < 2 => {
            "450 4.2.0 try later".to_owned()
        }
        text if text.contains("unwanted") => "550 5.7.1 spam".to_owned(),
        _ => "250 2.0.0 taken".to_owned(),
    });
    let gateway = site
        .config()
        .listener("inbound", "verify", next_hop.address, "")
        .listener("outbound", "seal", next_hop.address, "")
        .pinning(&site.record)
        .sealing_with(&site.key)
        .and("[policy]\nmode = \"observe\"")
        .and(ADMIN)
        .start();
    let admin = admin(&gateway);
    let mut client = Client::hello(gateway.address("inbound"));
    let greylisted = site.changed(&letter::with_attachments("greylisted"), str::to_owned);
    for (message, reply) in [
        (&greylisted, "450"),
        (&greylisted, "450"),
        (&greylisted, "250"),
        (&plain("unwanted"), "550"),
        (&site.swapped("unwanted and swapped"), "550"),
    ] {
        assert!(client.deliver(SENDER, RECIPIENT, message).starts_with(reply));
    }
    drop(client);
    let mut client = Client::hello(gateway.address("outbound"));
    assert!(client.deliver(SENDER, RECIPIENT, &letter::with_attachments("unwanted")).starts_with("550"));

    let message = |listener, mode, action, verdict, reason| {
        format!(
            "waxseal_messages_total{{listener=\"{listener}\",mode=\"{mode}\",action=\"{action}\",\
             verdict=\"{verdict}\",reason=\"{reason}\"}}"
        )
    };
    for (series, expected) in [
        (message("inbound", "verify", "deliver", "pass", ""), 1.0),
        (message("inbound", "verify", "deferred-by-next-hop", "", ""), 2.0),
        (message("inbound", "verify", "refused-by-next-hop", "none", ""), 1.0),
        (message("inbound", "verify", "refused-by-next-hop", "fail", "attachments"), 1.0),
        (message("outbound", "seal", "refused-by-next-hop", "", ""), 1.0),
        ("waxseal_verdicts_total{listener=\"inbound\",verdict=\"pass\"}".to_owned(), 1.0),
        ("waxseal_verdicts_total{listener=\"inbound\",verdict=\"fail\"}".to_owned(), 1.0),
        ("waxseal_message_size_bytes_count{listener=\"inbound\"}".to_owned(), 5.0),
    ] {
        await_value(admin, &series, expected);
    }
    for (action, level) in
        [("deferred-by-next-hop", "WARN"), ("deliver", "INFO"), ("refused-by-next-hop", "WARN")]
    {
        let line = gateway.await_log(&format!("action=\"{action}\""));
        assert!(line.contains(&format!(" {level} ")), "{line}");
    }

    let report = reported(&gateway, 5);
    let counts: Vec<_> = report["counts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|count| {
            let word = |key: &str| count[key].as_str().unwrap().to_owned();
            (word("verdict"), word("asked"), word("done"), count["count"].as_u64().unwrap())
        })
        .collect();
    let count = |verdict: &str, asked: &str, done: &str, count| {
        (verdict.to_owned(), asked.to_owned(), done.to_owned(), count)
    };
    assert_eq!(
        counts,
        [
            count("fail", "quarantine", "refused-by-next-hop", 1),
            count("none", "deliver", "refused-by-next-hop", 1),
            count("pass", "deliver", "deferred-by-next-hop", 2),
            count("pass", "deliver", "deliver", 1),
        ]
    );
    // Memory has seen one message.
    let listed = waxseal(&["keys", "list", "--json", "example.org", "--config", word(&gateway.config)]);
    assert_eq!(listed.json()[0]["memory"]["verdicts"]["pass"], 1, "{listed:?}");
    // Named is what the policy has anything against.
    let named = report["messages"].as_array().unwrap();
    assert_eq!((named.len(), &named[0]["done"]), (1, &"refused-by-next-hop".into()), "{report}");
    let text = waxseal(&["report", "--config", word(&gateway.config)]);
    let text = text.text();
    assert!(text.starts_with("3 messages were judged since "), "{text}");
    assert!(text.contains("\nThe next hop put off 2 more attempts, "), "{text}");
    assert!(text.contains("\nKept from their readers: 1\n") && !text.contains("no longer named"), "{text}");
}

#[test]
fn what_goes_wrong_is_counted() {
    let site = Site::new();
    let refusing = Server::start(|_| "451 4.2.0 later".to_owned());
    let gateway = site
        .config()
        .listener("down", "verify", closed_port(), "")
        .listener("nobody", "verify", site.next_hop.address, "clients = [\"192.0.2.1\"]")
        .listener("later", "verify", refusing.address, "")
        .and("[limits]\nmessage_size = \"100KiB\"\nconnections_per_client = 1")
        .and(ADMIN)
        .start();
    let admin = admin(&gateway);
    assert!(Client::connect(gateway.address("down")).greeting.starts_with("421 4.3.0 "));
    assert!(Client::connect(gateway.address("nobody")).greeting.starts_with("554 5.7.1 "));
    await_value(admin, "waxseal_sessions_open{listener=\"down\"}", 0.0);
    let mut client = Client::hello(gateway.address("later"));
    assert!(Client::connect(gateway.address("later")).greeting.starts_with("421 4.7.0 "));
    assert_eq!(client.deliver(SENDER, RECIPIENT, &plain("later")), "451 4.2.0 later");
    let large = [&plain("large")[..], &b"and so on\r\n".repeat(20_000)].concat();
    assert!(client.deliver(SENDER, RECIPIENT, &large).starts_with("552 5.3.4 "));
    for series in [
        "waxseal_next_hop_failures_total{listener=\"down\",reason=\"connect\"}",
        "waxseal_sessions_refused_total{listener=\"nobody\",reason=\"not-listed\"}",
        "waxseal_sessions_refused_total{listener=\"later\",reason=\"too-many-connections\"}",
        "waxseal_message_replies_total{listener=\"later\",by=\"next-hop\",class=\"4yz\"}",
        "waxseal_messages_refused_total{listener=\"later\",reason=\"message-too-large\"}",
    ] {
        await_value(admin, series, 1.0);
    }
    // A next hop that is down or slow is for its own metrics.
    assert_eq!(ready(admin, ""), (200, "ok\n".to_owned()));
}

#[test]
fn who_drains_is_alive_and_not_ready() {
    let site = Site::new();
    let mut gateway = site.verifying("").and(ADMIN).start();
    let admin = admin(&gateway);
    assert_eq!(get(admin, "/health").status, 200);
    assert_eq!(ready(admin, ""), (200, "ok\n".to_owned()));
    assert_eq!(value(admin, "waxseal_ready{listener=\"inbound\",mode=\"verify\"}"), Some(1.0));

    let mut busy = Client::hello(gateway.address("inbound"));
    assert!(busy.open(SENDER, RECIPIENT).starts_with("354"));
    gateway.signal(Signal::TERM);
    let drains = || (ready(admin, "") == (503, "draining\n".to_owned())).then_some(());
    assert!(wait_for(drains).is_some());
    assert_eq!(ready(admin, "/inbound"), (503, "draining\n".to_owned()));
    let health = get(admin, "/health");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    assert_eq!(value(admin, "waxseal_ready{listener=\"inbound\",mode=\"verify\"}"), Some(0.0));

    assert_eq!(busy.finish(&plain("under way")), "250 2.0.0 taken");
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(TcpStream::connect(admin).is_err());
}

#[test]
fn who_cannot_hold_mail_is_not_ready() {
    let site = Site::new();
    let gateway = of_both_modes(&site).start();
    let admin = admin(&gateway);
    let tmp = site.folder.path().join("state/quarantine/tmp");
    fs::remove_dir(&tmp).unwrap();
    let is_said = || (ready(admin, "").0 == 503).then_some(());
    assert!(wait_for(is_said).is_some());
    let (_, why) = ready(admin, "/inbound");
    assert!(why.starts_with("inbound: the quarantine cannot be used: ") && why.lines().count() == 1, "{why}");
    assert_eq!(ready(admin, "/outbound"), (200, "ok\n".to_owned()));
    assert_eq!(get(admin, "/ready/elsewhere").status, 404);
    assert_eq!(value(admin, "waxseal_ready{listener=\"outbound\",mode=\"seal\"}"), Some(1.0));
    assert_eq!(value(admin, "waxseal_ready{listener=\"inbound\",mode=\"verify\"}"), Some(0.0));

    fs::create_dir(&tmp).unwrap();
    let is_well = || (ready(admin, "").0 == 200).then_some(());
    assert!(wait_for(is_well).is_some());
}

/// Makes a root key, and for the site's key a delegation that began some days ago.
fn delegate(site: &Site, days_ago: i64, days: &str) {
    let folder = site.folder.path();
    let run = |arguments: &[&str]| {
        let ended = waxseal_in(folder, arguments);
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{arguments:?}");
        ended
    };
    run(&["root", "new", "--domain", "example.org"]);
    let key = word(&site.key);
    let records = run(&["dns-record", "--key", key, "--domain", "example.org", "--selector", "gate1"]);
    fs::write(folder.join("gate1.txt"), &records.stdout).unwrap();
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let begin = today.checked_sub(jiff::ToSpan::days(days_ago)).unwrap().to_string();
    let to = ["--days", days, "--from", &begin, "--out", "x.delegation", "gate1.txt"];
    run(&[&["root", "delegate", "--key", "example.org.root.pem"], &to[..]].concat());
}

#[test]
fn a_delegation_that_ends_is_seen() {
    const DAY: f64 = 86_400.0;
    let key = "{domain=\"example.org\",selector=\"gate1\"}";
    let site = Site::new();
    delegate(&site, 20, "25");
    let gateway = config_of(&site).start();
    let server = admin(&gateway);
    let left = value(server, &format!("waxseal_delegation_remaining_seconds{key}")).unwrap();
    assert!((3.0 * DAY..6.0 * DAY).contains(&left), "{left}");
    let end = value(server, &format!("waxseal_delegation_end_time_seconds{key}")).unwrap();
    let now = Timestamp::now().as_second() as f64;
    assert!((end - now - left).abs() < 60.0, "{end} {left}");
    assert_eq!(value(server, &format!("waxseal_delegation_ends_soon{key}")), Some(1.0));
    assert_eq!(ready(server, ""), (200, "ok\n".to_owned()));
    drop(gateway);

    let site = Site::new();
    delegate(&site, 20, "10");
    let gateway = config_of(&site).start();
    let server = admin(&gateway);
    assert_eq!(value(server, &format!("waxseal_delegation_remaining_seconds{key}")), Some(0.0));
    let why = "outbound: no delegation holds, so nothing can be sealed\n";
    assert_eq!(ready(server, ""), (503, why.to_owned()));
    assert_eq!(ready(server, "/outbound").0, 503);
}

/// A gateway that seals by a delegation.
fn config_of(site: &Site) -> program::Config {
    let config = site.config().listener("outbound", "seal", site.next_hop.address, "");
    config.sealing_with(&site.key).and("delegation = \"x.delegation\"").and(ADMIN)
}

#[test]
fn reloads_are_counted_and_the_address_takes_a_restart() {
    let site = Site::new();
    let gateway = site.verifying("").and(ADMIN).start();
    let admin = admin(&gateway);
    assert_eq!(value(admin, "waxseal_config_last_reload_successful"), Some(1.0));
    site.verifying("").and("[policy]\nfail = \"shred\"").and(ADMIN).write();
    gateway.signal(Signal::HUP);
    gateway.await_log("the old one stays in force");
    assert_eq!(value(admin, "waxseal_config_last_reload_successful"), Some(0.0));
    assert_eq!(value(admin, "waxseal_config_reloads_total{result=\"refused\"}"), Some(1.0));

    site.verifying("").write();
    gateway.signal(Signal::HUP);
    assert!(gateway.await_log("a change of admin takes effect at the next restart").contains("WARN"));
    gateway.await_log("configuration reloaded");
    assert_eq!(value(admin, "waxseal_config_last_reload_successful"), Some(1.0));
    assert_eq!(value(admin, "waxseal_config_reloads_total{result=\"done\"}"), Some(1.0));
    let last = value(admin, "waxseal_config_last_reload_time_seconds").unwrap();
    assert!(last >= value(admin, "waxseal_start_time_seconds").unwrap());
}

#[test]
fn the_end_of_a_certificate_is_that_of_the_one_in_force() {
    let site = Site::new();
    let authority = Authority::new("an authority");
    authority.issue_expired(&["mx.partner.example"]).write(site.folder.path());
    let gateway = site.verifying("").and(TLS).and(ADMIN).start();
    let admin = admin(&gateway);
    // The first days of 2020 and of 2100.
    assert_eq!(value(admin, "waxseal_tls_certificate_end_time_seconds"), Some(1_577_836_800.0));
    authority.issue(&["mx.partner.example"]).write(site.folder.path());
    gateway.signal(Signal::HUP);
    gateway.await_log("configuration reloaded");
    assert_eq!(value(admin, "waxseal_tls_certificate_end_time_seconds"), Some(4_102_444_800.0));
}

#[test]
fn only_what_is_there_is_told_and_nothing_is_changed() {
    let site = Site::new();
    let gateway = site.verifying("").and(ADMIN).start();
    let admin = admin(&gateway);
    for path in ["/", "/metrics/", "/ready/", "/../etc/passwd", "/ready/inbound/x", "*"] {
        assert_eq!(get(admin, path).status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let request = format!("{method} /metrics HTTP/1.1\r\nHost: gate\r\nContent-Length: 0\r\n\r\n");
        let answer = exchange(connected(admin), &request);
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("\r\nallow: get, head"), "{}", answer.head);
    }
    let head = exchange(connected(admin), "HEAD /health HTTP/1.1\r\nHost: gate\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.head.contains("\r\ncontent-length: 3"), "{}", head.head);
    // As some balancers still ask.
    assert_eq!(exchange(connected(admin), "GET /ready HTTP/1.0\r\n\r\n").status, 200);

    let plain = get(admin, "/metrics");
    assert!(
        plain.head.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8"),
        "{}",
        plain.head
    );
    assert!(plain.body.contains("# TYPE waxseal_sessions_total counter\n"), "{}", plain.body);
    let open = get_saying(admin, "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(
        open.head.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        open.head
    );
    assert!(open.body.contains("# TYPE waxseal_sessions counter\n") && open.body.ends_with("# EOF\n"));
}

#[test]
fn bad_manners_cost_nobody_but_their_owner() {
    let site = Site::new();
    let gateway = site.verifying("").and(ADMIN).start();
    let admin = admin(&gateway);
    for (request, status) in [
        ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400),
        ("EHLO client.example.org\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)), 431),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000)), 431),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100)), 431),
    ] {
        assert_eq!(exchange(connected(admin), &request).status, status, "{request:.60}");
    }
    // One request a connection: nobody stays.
    let two = "GET /health HTTP/1.1\r\nHost: gate\r\n\r\n".repeat(2);
    assert_eq!(exchange(connected(admin), &two).body, "ok\n");

    // They say nothing, never finish, or never read. There are more of them than places.
    let mut stuck: Vec<TcpStream> = (0..40).map(|_| connected(admin)).collect();
    for stream in &mut stuck[10..] {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ga").unwrap();
    }
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.deliver(SENDER, RECIPIENT, &plain("meanwhile")).starts_with("250"));
    assert_eq!(stuck[0].read(&mut [0; 64]).unwrap_or(0), 0, "there is an end to patience");
    drop(stuck);
    assert_eq!(get(admin, "/health").status, 200);
}

#[test]
fn a_unix_socket_will_do() {
    let site = Site::new();
    let mut gateway = site.verifying("").and("[admin]\nlisten = [\"unix:admin.sock\"]").start();
    let path = site.folder.path().join("admin.sock");
    gateway.await_log(&format!(" metrics and health address=unix:{}", path.display()));
    let answer = exchange(connected_to(&path), "GET /ready HTTP/1.1\r\nHost: gate\r\n\r\n");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn an_address_that_is_taken_is_said_before_any_mail() {
    let site = Site::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let config = site.verifying("").and(&format!("[admin]\nlisten = [\"{address}\"]")).write();
    let ended = waxseal(&["run", "--config", word(&config)]);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.stderr.contains(&format!("admin.listen: cannot listen on {address}: ")), "{ended:?}");

    let config = site.verifying("").and("[admin]\nlisten = [\"0.0.0.0:9825\"]").write();
    let check = waxseal(&["check-config", "--config", word(&config)]);
    assert_eq!(check.status, 0, "{check:?}");
    assert!(
        check.stderr.contains("admin.listen: `0.0.0.0:9825` can be reached from other machines"),
        "{check:?}"
    );
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_is_there() {
    let site = Site::new();
    delegate(&site, 0, "30");
    Authority::new("an authority").issue(&["mx.partner.example"]).write(site.folder.path());
    let gateway = config_of(&site)
        .listener("inbound", "verify", site.next_hop.address, "")
        .and(TLS)
        .and(&format!("[alerts]\nto = \"a@example.org\"\nnext_hop = \"{}\"", site.next_hop.address))
        .and("[notices]\nto = \"recipients\"")
        .start();
    let mut client = Client::hello(gateway.address("inbound"));
    assert!(client.deliver(SENDER, RECIPIENT, &plain("for waxseal_messages_total")).starts_with("250"));
    let told = names(admin(&gateway));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = fs::read_to_string(root.join("docs/MONITORING.md")).unwrap();
    let rows = documents.lines().filter_map(|line| line.strip_prefix("| `waxseal_"));
    let documented: BTreeSet<String> =
        rows.map(|row| format!("waxseal_{}", row.split('`').next().unwrap())).collect();
    assert_eq!(told, documented);

    let rules = fs::read_to_string(root.join("deploy/prometheus-rules.yml")).unwrap();
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for word in rules.split(|c: char| !is_of_a_name(c)).filter(|word| word.starts_with("waxseal_")) {
        assert!(told.contains(word), "{word} of the rules is no metric");
    }
}

/// Whoever opens connections and asks for nothing keeps nobody from being answered.
#[test]
fn idle_clients_keep_nobody_waiting() {
    let site = Site::new();
    let gateway = site.verifying("").and(ADMIN).start();
    let server = admin(&gateway);
    let idle: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut stream = connected(server);
            // Half of them begin to ask.
            if n % 2 == 0 {
                let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: gate\r\n");
            }
            stream
        })
        .collect();
    for path in ["/health", "/metrics", "/ready"] {
        let start = std::time::Instant::now();
        assert_eq!(get(server, path).status, 200);
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{path} took {:?}", start.elapsed());
    }
    drop(idle);
}

/// A web page can have a browser ask here under a name of the page's own: it gets no answer.
#[test]
fn a_request_must_call_us_by_a_name_of_ours() {
    let site = Site::new();
    let gateway = site.verifying("").and(&format!("{ADMIN}\nhosts = [\"mx1.internal.example\"]")).start();
    let server = admin(&gateway);
    let status = |version: &str, host: &str| {
        exchange(connected(server), &format!("GET /health HTTP/{version}\r\n{host}\r\n")).status
    };
    for host in [
        "127.0.0.1",
        "127.0.0.1:9825",
        "[::1]:9825",
        "192.0.2.1",
        "localhost",
        "LOCALHOST:9825",
        "gate",
        "gate.localhost",
        "mx.partner.example",
        "MX.partner.example.:9825",
        "mx1.internal.example:80",
    ] {
        assert_eq!(status("1.1", &format!("Host: {host}\r\n")), 200, "{host}");
    }
    for host in ["attacker.example", "127.0.0.1.attacker.example", "mx.partner.example.attacker.example:9825"]
    {
        assert_eq!(status("1.1", &format!("Host: {host}\r\n")), 421, "{host}");
    }
    assert_eq!(status("1.1", ""), 400);
    assert_eq!(status("1.1", "Host: gate\r\nHost: attacker.example\r\n"), 400);
    assert_eq!(status("1.0", ""), 200);
    let absolute = "GET http://attacker.example/health HTTP/1.1\r\nHost: gate\r\n\r\n";
    assert_eq!(exchange(connected(server), absolute).status, 421);
}
