//! What no account may do, for each form of the one table; and what every answer has.

use waxseal::console::pages::view::Action;
use waxseal::console::{DEEDS, Row};
use waxseal::store::Role;

use crate::program::site::Site;
use crate::program::smtp::connected;
use crate::program::{Gateway, waxseal, word};
use crate::visit::{Visitor, add, console, exchange, held, with_console};

/// What a form is about, and what it needs to do something.
struct Subject {
    path: String,
    page: String,
    fields: Vec<(&'static str, &'static str)>,
}

impl Subject {
    fn of(row: &Row, id: &str) -> Self {
        let fields: &[_] = match row.action {
            Action::Pin => {
                &[("key", "00001 00002 00003 00004 00005 00006 00007 00008 00009 00010 00011 00012")]
            }
            Action::AlsoUnsealed => &[("unsealed", "yes")],
            Action::SetPreferences => &[("language", "de"), ("zone", "")],
            _ => &[("reason", "because"), ("sure", "yes"), ("key", "x")],
        };
        let (subject, page) = match row.action {
            Action::LogIn | Action::LogOut | Action::SetPreferences => {
                (String::new(), "/preferences".to_owned())
            }
            _ if row.path.starts_with("/held/") => (id.to_owned(), format!("/messages/{id}")),
            _ => ("example.org".to_owned(), "/correspondents/example.org".to_owned()),
        };
        Self { path: row.path_of(&subject), page, fields: fields.to_vec() }
    }
}

/// Everything that a form could have changed.
fn state(gateway: &Gateway) -> String {
    let run = |arguments: &[&str]| {
        let ended = waxseal(&[arguments, &["--config", word(&gateway.config)]].concat());
        assert_eq!(ended.status, 0, "{ended:?}");
        ended.text().to_owned()
    };
    [
        run(&["quarantine", "list", "--json"]),
        run(&["keys", "list", "--json"]),
        run(&["console", "user", "list", "--json"]),
    ]
    .concat()
}

fn role_below(role: Role) -> Option<&'static str> {
    match role {
        Role::Viewer => None,
        Role::Operator => Some("viewer"),
        Role::Admin => Some("operator"),
    }
}

#[test]
fn what_no_account_may_do() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    let server = console(&gateway);
    for role in ["viewer", "operator", "admin"] {
        add(&gateway, role, role);
    }
    let id = held(&site, &gateway, "stays");
    let mut admin = Visitor::logged_in(server, "admin");
    let other = Visitor::logged_in(server, "admin");
    let ended = {
        let mut ended = Visitor::logged_in(server, "admin");
        let before = ended.clone();
        assert_eq!(ended.send_form("/", "/logout", &[]).status, 303);
        before
    };
    let before = state(&gateway);
    for row in DEEDS.iter().filter(|row| row.role.is_some() && row.method == "POST") {
        let Subject { path, page, fields } = Subject::of(row, &id);
        // Approving has its form with a key only; any form will do for what must be refused.
        let token = |visitor: &mut Visitor| {
            let page = visitor.get(&page);
            page.token(&path).or_else(|| page.token("/logout")).unwrap()
        };
        let own = token(&mut admin);
        let refused = |name: &str, visitor: &Visitor, token: &str, statuses: &[u16]| {
            let fields = [&[("token", token)], &fields[..]].concat();
            let answer = visitor.clone().post(&path, &fields);
            assert!(statuses.contains(&answer.status), "{name}: {path}: {answer:?}");
            assert!(state(&gateway) == before, "{name}: {path} has changed something");
        };
        for origin in ["http://evil.example", "null", "http://127.0.0.1:1", &format!("https://{server}")] {
            let forged = Visitor { origin: Some(origin.to_owned()), ..admin.clone() };
            // The last is a proxy's, for all that we know: it is the token that it lacks.
            if !origin.starts_with("https://127") {
                refused("a forged origin", &forged, &own, &[403]);
            }
        }
        refused("no origin", &Visitor { origin: None, ..admin.clone() }, &own, &[403]);
        let referred = "Referer: http://evil.example/\r\n".to_owned();
        let elsewhere = Visitor { origin: None, more: referred, ..admin.clone() };
        refused("a referer from elsewhere", &elsewhere, &own, &[403]);
        let fetched = "Sec-Fetch-Site: cross-site\r\n".to_owned();
        refused("a page of another site", &Visitor { more: fetched, ..admin.clone() }, &own, &[403]);
        let rebound = Visitor {
            host: "evil.example".to_owned(),
            origin: Some("http://evil.example".to_owned()),
            ..admin.clone()
        };
        refused("a name that is not ours", &rebound, &own, &[421]);
        refused("no session", &Visitor::new(server), &own, &[303]);
        refused("another's session", &other, &own, &[403]);
        refused("a session that has ended", &ended, &own, &[303]);
        refused("no token", &admin, "", &[403]);
        refused("a token of nobody", &admin, &"0".repeat(96), &[403]);
        let elsewhere = if path == "/logout" { "/preferences" } else { "/logout" };
        let foreign = admin.get("/preferences").token(elsewhere).unwrap();
        refused("another form's token", &admin, &foreign, &[403]);
        if let Some(below) = role_below(row.role.unwrap()) {
            let mut below = Visitor::logged_in(server, below);
            assert!(below.get(&page).token(&path).is_none(), "{path} is offered to a role too low");
            let token = below.get(&page).token("/logout").unwrap();
            refused("a role too low", &below, &token, &[403]);
            refused("a role too low, with a token of another", &below, &own, &[403]);
        }
    }
    // The one that is no form.
    let download = format!("/held/{id}/download");
    assert_eq!(Visitor::logged_in(server, "viewer").get(&download).status, 403);
    assert_eq!(Visitor::new(server).get(&download).status, 303);
    assert_eq!(ended.clone().get(&download).status, 303);
    let rebound = Visitor { host: "evil.example".to_owned(), ..admin.clone() };
    assert_eq!(rebound.clone().get(&download).status, 421);
    assert_eq!(admin.get(&download).status, 200);
    assert!(site.next_hop.received().is_empty());
}

/// A token that was good once does nothing a second time.
#[test]
fn a_token_that_is_replayed_does_nothing_more() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    add(&gateway, "anna", "operator");
    let id = held(&site, &gateway, "stays");
    let mut anna = Visitor::logged_in(console(&gateway), "anna");
    let (page, keep) = (format!("/messages/{id}"), format!("/held/{id}/keep"));
    let token = anna.get(&page).token(&keep).unwrap();
    let fields = [("token", token.as_str()), ("reason", "once")];
    assert_eq!(anna.post(&keep, &fields).status, 200);
    assert_eq!(anna.send_form(&page, &format!("/held/{id}/keep-no-longer"), &[]).status, 200);
    assert_eq!(anna.post(&keep, &fields).status, 200);
    assert_eq!(gateway.held()[0]["keep"], serde_json::Value::from(false));
}

#[test]
fn every_answer_is_protected() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    let server = console(&gateway);
    add(&gateway, "anna", "operator");
    let id = held(&site, &gateway, "protected");
    let mut anna = Visitor::logged_in(server, "anna");
    let stranger = Visitor::new(server);
    let mut rebound = Visitor { host: "evil.example".to_owned(), ..stranger.clone() };
    let page = anna.get("/");
    let sheet = page.text().split("href=\"/style-").nth(1).unwrap().split('"').next().unwrap();
    let answers = [
        ("a page", anna.get("/")),
        ("a message", anna.get(&format!("/messages/{id}"))),
        ("a file", anna.get(&format!("/held/{id}/download"))),
        ("no page", anna.get("/nothing")),
        ("the login", stranger.clone().get("/login")),
        ("a redirect", stranger.clone().get("/")),
        ("a form from nowhere", anna.clone().post("/logout", &[])),
        ("another name", rebound.get("/")),
        ("the style sheet", anna.get(&format!("/style-{sheet}"))),
        ("a large form", anna.post("/logout", &[("token", &"x".repeat(20_000))])),
    ];
    for (name, answer) in &answers {
        let policy = answer.field("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{name}: {policy}");
        assert!(!policy.contains("script-src"), "{name}: {policy}");
        for (field, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.field(field), Some(value), "{name}: {field}");
        }
        assert!(answer.field("permissions-policy").is_some(), "{name}");
        let cache = answer.field("cache-control").unwrap();
        assert_eq!(cache == "no-store", *name != "the style sheet", "{name}: {cache}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("<script"), "{name}");
    }
    assert_eq!(answers.last().unwrap().1.status, 413);
}

#[test]
fn other_methods_and_other_bodies_are_refused() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    let server = console(&gateway);
    for method in ["PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: {server}\r\nOrigin: http://{server}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(exchange(connected(server), request.as_bytes()).status, 403, "{method}");
    }
    for kind in ["text/plain", "application/json", "multipart/form-data; boundary=x"] {
        let request = format!(
            "POST /login HTTP/1.1\r\nHost: {server}\r\nOrigin: http://{server}\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: 6\r\n\r\nname=a"
        );
        assert_eq!(exchange(connected(server), request.as_bytes()).status, 400, "{kind}");
    }
}

/// A link in a mail or on another site's page leads to where it should, for somebody who is logged in.
#[test]
fn a_link_from_elsewhere_leads_there() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    let server = console(&gateway);
    add(&gateway, "anna", "viewer");
    let mut anna = Visitor::logged_in(server, "anna");
    // The browser keeps its cookies back.
    let mut link = Visitor { more: "Sec-Fetch-Site: cross-site\r\n".to_owned(), ..Visitor::new(server) };
    let step = link.get("/messages?verdict=fail");
    assert_eq!(step.status, 200);
    assert!(step.has("0;url=/open?next=%2Fmessages%3Fverdict%3Dfail"), "{}", step.text());
    let there = anna.get("/open?next=%2Fmessages%3Fverdict%3Dfail");
    assert_eq!((there.status, there.field("location")), (303, Some("/messages?verdict=fail")));
    let stranger = Visitor::new(server).get("/open?next=%2Fmessages");
    assert_eq!(stranger.field("location"), Some("/login?next=%2Fmessages"));
    assert_eq!(anna.get("/open?next=https%3A%2F%2Fevil.example").field("location"), Some("/"));
}
