//! Getting in: the login, who slows it down, who vouches for somebody, and at which address.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::program::site::Site;
use crate::program::smtp::{connected, free_port};
use crate::program::tls::Authority;
use crate::program::{waxseal, word};
use crate::visit::{PASSWORD, Visitor, add, console, exchange, user, with_console};

#[test]
fn nobody_sees_anything_before_the_login() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    add(&gateway, "anna", "viewer");
    let mut visitor = Visitor::new(console(&gateway));
    for path in [
        "/",
        "/messages?verdict=fail",
        "/messages/x",
        "/correspondents",
        "/preferences",
        "/nothing",
        "/held/x/download",
    ] {
        let answer = visitor.get(path);
        assert_eq!(answer.status, 303, "{path}");
        let location = answer.field("location").unwrap();
        assert!(location.starts_with("/login?next=%2F"), "{path}: {location}");
    }
    let there = visitor.get("/login?next=%2Fmessages%3Fverdict%3Dfail");
    let token = there.token("/login").unwrap();
    let fields =
        [("name", "anna"), ("password", PASSWORD), ("next", "/messages?verdict=fail"), ("token", &token)];
    let answer = visitor.post("/login", &fields);
    assert_eq!(answer.field("location"), Some("/messages?verdict=fail"));
    for elsewhere in ["https://evil.example/", "//evil.example", "/\\evil.example"] {
        let mut visitor = Visitor::new(visitor.console);
        let token = visitor.get("/login").token("/login").unwrap();
        let fields = [("name", "anna"), ("password", PASSWORD), ("next", elsewhere), ("token", &token)];
        assert_eq!(visitor.post("/login", &fields).field("location"), Some("/"), "{elsewhere}");
    }
}

/// A wrong password, a name that nobody has and one that nobody can have: the same answer.
#[test]
fn a_login_does_not_tell_who_has_an_account() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    add(&gateway, "anna", "viewer");
    let server = console(&gateway);
    let tried = |name: &str| {
        let mut visitor = Visitor::new(server);
        let begin = Instant::now();
        let answer = visitor.log_in(name, "not the password");
        let took = begin.elapsed();
        assert_eq!(answer.status, 401, "{name}");
        let own = visitor.cookies["__Host-waxseal-login"].clone();
        let token = answer.token("/login").unwrap();
        let text = answer.text().replace(name, "NAME").replace(&token, "TOKEN").replace(&own, "OWN");
        // Below is the time at which the page was made.
        (text.split("<footer").next().unwrap().to_owned(), took)
    };
    tried("somebody");
    let (anna, bert, nobody) = (tried("anna"), tried("bert"), tried("n o b"));
    assert!(anna.0 == bert.0 && anna.0 == nobody.0, "{}\n{}", anna.0, bert.0);
    // Each of them takes the time of a hash.
    let longest = [anna.1, bert.1, nobody.1].into_iter().max().unwrap();
    for took in [anna.1, bert.1, nobody.1] {
        assert!(took * 10 > longest, "{took:?} of {longest:?}");
    }
}

#[test]
fn an_account_that_is_tried_often_is_slowed_down() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    let server = console(&gateway);
    add(&gateway, "anna", "viewer");
    add(&gateway, "bert", "viewer");
    let mut visitor = Visitor::new(server);
    let guess = |visitor: &mut Visitor, n: usize| visitor.log_in("anna", &format!("guess number {n}")).status;
    let statuses: Vec<u16> = (0..5).map(|n| guess(&mut visitor, n)).collect();
    assert_eq!(statuses, [401; 5]);
    // At once, so that a slow machine is no pause between them.
    let statuses: Vec<u16> = thread::scope(|scope| {
        let (visitor, guess) = (&visitor, &guess);
        let tried: Vec<_> = (5..11).map(|n| scope.spawn(move || guess(&mut visitor.clone(), n))).collect();
        tried.into_iter().map(|tried| tried.join().unwrap()).collect()
    });
    assert!(statuses.contains(&429), "{statuses:?}");
    // The right one has to wait as well, or it could be told from the wrong ones.
    let wait = |visitor: &mut Visitor| visitor.log_in("anna", PASSWORD).status;
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline && !seen.contains(&303) {
        seen.push(wait(&mut visitor));
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(seen.last(), Some(&303), "{seen:?}");
    assert_eq!(Visitor::new(server).log_in("bert", PASSWORD).status, 303);
    assert!(gateway.log().iter().any(|line| line.contains("logins at the console are slowed down")));
    assert!(!gateway.log().iter().any(|line| line.contains("guess number")), "no password is logged");
}

/// An address is slowed down whatever names it tries; it is the client's that a listed proxy tells.
#[test]
fn an_address_that_tries_often_is_slowed_down() {
    let site = Site::new();
    let proxied = "[console]\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1\"]";
    let gateway = site.verifying("").and(proxied).start();
    let server = console(&gateway);
    let from = |address: &str, n: usize| {
        let mut visitor = Visitor::new(server);
        visitor.more = format!("X-Forwarded-For: 198.51.100.{n}, {address}\r\n");
        visitor.log_in(&format!("name{n}"), "some password").status
    };
    let statuses: Vec<u16> = (0..20).map(|n| from("192.0.2.1", n)).collect();
    assert_eq!(statuses, [401; 20]);
    // At once, so that a slow machine is no pause between them.
    let statuses: Vec<u16> = thread::scope(|scope| {
        let from = &from;
        let tried: Vec<_> = (20..26).map(|n| scope.spawn(move || from("192.0.2.1", n))).collect();
        tried.into_iter().map(|tried| tried.join().unwrap()).collect()
    });
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(from("192.0.2.2", 30), 401);
}

#[test]
fn a_listed_proxy_vouches_and_nobody_else() {
    let site = Site::new();
    let settings =
        "[console]\nlisten = [\"127.0.0.1:0\"]\ntrusted_header = \"X-Remote-User\"\ntrusted_proxies = [\"";
    let gateway = site.verifying("").and(&format!("{settings}127.0.0.0/8\"]")).start();
    let server = console(&gateway);
    add(&gateway, "anna", "viewer");
    let mut anna = Visitor::new(server);
    anna.more = "X-Remote-User: Anna\r\n".to_owned();
    assert_eq!(anna.get("/messages").status, 200);
    let session = anna.cookies.clone();
    assert_eq!(session.len(), 1, "{session:?}");
    assert_eq!(anna.get("/preferences").status, 200);
    assert_eq!(anna.cookies, session, "one session, not one a page");
    let saved = anna.send_form("/preferences", "/preferences", &[("language", "de"), ("zone", "")]);
    assert_eq!(saved.status, 200);
    // Without the proxy's word the session is worth nothing, and another name gets another one.
    anna.more = String::new();
    assert_eq!(anna.get("/messages").status, 303);
    for (more, status) in [
        ("X-Remote-User: bert\r\n", 403),
        ("X-Remote-User: \r\n", 303),
        ("X-Remote-User: anna\r\nX-Remote-User: anna\r\n", 303),
    ] {
        anna.more = more.to_owned();
        assert_eq!(anna.get("/messages").status, status, "{more}");
    }
    drop(gateway);

    let site = Site::new();
    let gateway = site.verifying("").and(&format!("{settings}192.0.2.1\"]")).start();
    add(&gateway, "anna", "viewer");
    let mut anna = Visitor::new(console(&gateway));
    anna.more = "X-Remote-User: anna\r\n".to_owned();
    assert_eq!(anna.get("/messages").status, 303);
}

/// Where both are on one address, one listener has them, each with its own rules.
#[test]
fn metrics_health_and_console_share_an_address() {
    let site = Site::new();
    let address = free_port();
    let both = format!("[admin]\nlisten = [\"{address}\"]\n[console]\nlisten = [\"{address}\"]");
    let gateway = site.verifying("").and(&both).start();
    assert_eq!(console(&gateway), address);
    gateway.await_log(&format!(" metrics and health address={address}"));
    let mut visitor = Visitor::new(address);
    for path in ["/health", "/ready", "/ready/inbound"] {
        let answer = visitor.get(path);
        assert_eq!((answer.status, answer.text()), (200, "ok\n"), "{path}");
    }
    assert!(visitor.get("/metrics").has("waxseal_ready"));
    assert_eq!(visitor.get("/ready/elsewhere").status, 404);
    assert_eq!(visitor.post("/metrics", &[]).status, 405);
    assert_eq!(visitor.get("/").status, 303);
    let asked = waxseal(&["health", "--ready", "--config", word(&gateway.config)]);
    assert_eq!((asked.status, asked.text()), (0, "ready\n"), "{asked:?}");
}

/// Several requests go over one connection, which ends with a page of bad manners.
#[test]
fn a_browser_keeps_its_connection() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    let server = console(&gateway);
    let request = format!("GET /login HTTP/1.1\r\nHost: {server}\r\n");
    let two = format!("{request}\r\n{request}Connection: close\r\n\r\n");
    let answer = exchange(connected(server), two.as_bytes());
    assert_eq!(String::from_utf8_lossy(&answer.body).matches("HTTP/1.1 200 OK").count(), 1);
    let long = format!("GET / HTTP/1.1\r\nHost: {server}\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    assert_eq!(exchange(connected(server), long.as_bytes()).status, 431);
}

/// Where other machines reach the console, it is under TLS.
#[test]
fn from_other_machines_it_is_under_tls() {
    let site = Site::new();
    let authority = Authority::new("an authority");
    authority.issue(&["mx.partner.example"]).write(site.folder.path());
    let port = free_port().port();
    let open =
        format!("[console]\nlisten = [\"0.0.0.0:{port}\"]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"");
    let gateway = site.verifying("").and(&open).start();
    assert!(console(&gateway).ip().is_unspecified());
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let get = "GET /login HTTP/1.1\r\nHost: mx.partner.example\r\nConnection: close\r\n\r\n";
    let answer = exchange(authority.connect("mx.partner.example", connected(server)), get.as_bytes());
    assert_eq!(answer.status, 200);
    // A page that came in clear, under the same name, is another origin.
    let token = answer.token("/login").unwrap();
    let cookie = answer.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let body = format!("name=anna&password=x&next=/&token={token}");
    for (origin, status) in [("http://mx.partner.example", 403), ("https://mx.partner.example", 401)] {
        let post = format!(
            "POST /login HTTP/1.1\r\nHost: mx.partner.example\r\nConnection: close\r\nOrigin: {origin}\r\nCookie: {cookie}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(authority.connect("mx.partner.example", connected(server)), post.as_bytes());
        assert_eq!(answer.status, status, "{origin}");
    }
    // Nothing is told in clear.
    let mut stream = connected(server);
    let _ = std::io::Write::write_all(&mut stream, get.as_bytes());
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/"), "{answer:?}");
    assert_eq!(user(&gateway, &["list"], "").status, 0);
}
