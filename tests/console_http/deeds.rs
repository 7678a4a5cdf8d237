//! What people do at the console, and what is on record of it.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use waxseal::console::DEEDS;

use crate::program::site::{RECIPIENT, SENDER, Site, plain};
use crate::program::smtp::{Client, Server};
use crate::program::{Gateway, wait_for, waxseal, word};
use crate::visit::{CONSOLE, Visitor, add, console, held, with_console};

/// What the audit trail has of a held message: who did what, and why.
fn deeds(gateway: &Gateway) -> Vec<[String; 3]> {
    let report = waxseal(&["report", "--json", "--config", word(&gateway.config)]).json().remove(0);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let deeds = report["deeds"].as_array().unwrap().iter();
    deeds.map(|deed| [text(&deed["who"]), text(&deed["what"]), text(&deed["reason"])]).collect()
}

#[test]
fn a_message_is_found_read_and_released_once() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    add(&gateway, "anna", "operator");
    let id = held(&site, &gateway, "to be released");
    let mut anna = Visitor::logged_in(console(&gateway), "anna");

    assert!(anna.get("/").has(&format!("/messages/{id}")));
    // It is written down a moment later.
    let found = || anna.clone().get("/messages?verdict=fail").has("to be released").then_some(());
    assert!(wait_for(found).is_some());
    assert!(anna.get("/messages?to=desk%40partner.example&from=office%40example.org").has("to be released"));
    assert!(!anna.get("/messages?verdict=pass").has("to be released"));
    let wrong = anna.get("/messages?day=yesterday");
    assert_eq!(wrong.status, 200);
    let page = anna.get(&format!("/messages/{id}"));
    assert_eq!(page.status, 200);
    for text in ["to be released", SENDER, RECIPIENT, "Agenda.pdf", "attachments"] {
        assert!(page.has(text), "{text}: {}", page.text());
    }

    let release = format!("/held/{id}/release");
    let token = page.token(&release).unwrap();
    // Without a reason nothing is done, and the form is spent.
    let done = anna.post(&release, &[("token", &token), ("reason", " ")]);
    assert_eq!(done.status, 200);
    assert!(site.next_hop.received().is_empty() && gateway.held().len() == 1);
    let other = anna.get(&format!("/messages/{id}")).token(&release).unwrap();
    let fields = [("token", other.as_str()), ("reason", "the author read the hashes")];
    let (first, second) = thread::scope(|scope| {
        let (mut one, mut two) = (anna.clone(), anna.clone());
        let (one, two) = (
            scope.spawn(move || one.post(&release, &fields)),
            scope.spawn({
                let release = format!("/held/{id}/release");
                move || two.post(&release, &fields)
            }),
        );
        (one.join().unwrap(), two.join().unwrap())
    });
    for answer in [&first, &second] {
        assert!(answer.status == 200 && answer.has("Released"), "{}", answer.text());
    }
    site.next_hop.await_message("to be released");
    assert!(gateway.held().is_empty());
    assert_eq!(
        deeds(&gateway),
        [["anna".to_owned(), "released".to_owned(), "the author read the hashes".to_owned()]]
    );
    // Its address stays, and tells what was done.
    let after = anna.get(&format!("/messages/{id}"));
    assert!(after.status == 200 && after.has("the author read the hashes"), "{}", after.text());
    assert!(after.token(&format!("/held/{id}/release")).is_none());
    assert_eq!(site.next_hop.received().len(), 1);
}

#[test]
fn it_takes_two_people_where_that_is_configured() {
    let site = Site::new();
    let gateway = site.verifying("").and(CONSOLE).and("[quarantine]\nrelease_needs = 2").start();
    let server = console(&gateway);
    add(&gateway, "anna", "operator");
    add(&gateway, "bert", "operator");
    let id = held(&site, &gateway, "for two");
    let (page, release) = (format!("/messages/{id}"), format!("/held/{id}/release"));
    let [mut anna, mut bert] = ["anna", "bert"].map(|name| Visitor::logged_in(server, name));
    // Of somebody who has asked, the page takes the form away; it may be open twice.
    let second = anna.get(&page).token(&release).unwrap();
    let asked = anna.send_form(&page, &release, &[("reason", "first")]);
    assert!(asked.status == 200 && !asked.has("Released"), "{}", asked.text());
    assert!(anna.get(&page).token(&release).is_none());
    let again = anna.post(&release, &[("token", &second), ("reason", "first, again")]);
    assert!(again.status == 200 && !again.has("Released"), "{}", again.text());
    assert!(site.next_hop.received().is_empty());
    let done = bert.send_form(&page, &release, &[("reason", "second")]);
    assert!(done.has("Released"), "{}", done.text());
    site.next_hop.await_message("for two");
    let whats: Vec<_> = deeds(&gateway).into_iter().map(|[who, what, _]| (who, what)).collect();
    let deed = |who: &str, what: &str| (who.to_owned(), what.to_owned());
    assert_eq!(whats, [deed("anna", "release-requested"), deed("bert", "released")]);
}

#[test]
fn held_mail_is_kept_deleted_and_downloaded() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    add(&gateway, "anna", "operator");
    let id = held(&site, &gateway, "evidence");
    let exact = gateway.quarantine(&["export", &id]).stdout;
    let mut anna = Visitor::logged_in(console(&gateway), "anna");
    let page = format!("/messages/{id}");
    let file = anna.get(&format!("/held/{id}/download"));
    assert!(file.status == 200 && file.body == exact, "{file:?}");
    assert_eq!(file.field("content-type"), Some("application/octet-stream"));
    assert_eq!(file.field("content-disposition"), Some(&*format!("attachment; filename=\"{id}.eml\"")));
    assert_eq!(file.field("x-content-type-options"), Some("nosniff"));
    assert!(file.field("content-security-policy").unwrap().starts_with("sandbox;"));
    assert_eq!(anna.get("/held/20200101T000000-000000/download").status, 404);
    assert_eq!(anna.get("/held/..%2F..%2Fetc%2Fpasswd/download").status, 404);

    anna.send_form(&page, &format!("/held/{id}/keep"), &[("reason", "for the CERT")]);
    assert_eq!(gateway.held()[0]["keep"], Value::from(true));
    anna.send_form(&page, &format!("/held/{id}/keep-no-longer"), &[("reason", "")]);
    assert_eq!(gateway.held()[0]["keep"], Value::from(false));
    let delete = format!("/held/{id}/delete");
    anna.send_form(&page, &delete, &[("reason", "spam")]);
    anna.send_form(&page, &delete, &[("sure", "yes")]);
    assert_eq!(gateway.held().len(), 1, "neither unsure nor without a reason");
    let done = anna.send_form(&page, &delete, &[("reason", "spam"), ("sure", "yes")]);
    assert_eq!(done.status, 200);
    assert!(gateway.held().is_empty());
    let whats: Vec<_> = deeds(&gateway).into_iter().map(|[_, what, _]| what).collect();
    assert_eq!(whats, ["kept", "kept-no-longer", "deleted"]);
}

/// Only those who are named get it; the rest of them can have it later.
#[test]
fn a_message_is_released_to_some_of_its_recipients() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    add(&gateway, "anna", "operator");
    let mut client = Client::hello(gateway.address("inbound"));
    for line in [
        &format!("MAIL FROM:<{SENDER}>"),
        "RCPT TO:<a@partner.example>",
        "RCPT TO:<b@partner.example>",
        "DATA",
    ] {
        let reply = client.say(line);
        assert!(reply.starts_with(['2', '3']), "{line}: {reply}");
    }
    let reply = client.finish(&site.swapped("for two recipients"));
    let id = reply.strip_prefix("250 2.0.0 accepted as ").unwrap();
    let mut anna = Visitor::logged_in(console(&gateway), "anna");
    let (page, release) = (format!("/messages/{id}"), format!("/held/{id}/release"));
    let stranger = anna.send_form(&page, &release, &[("reason", "x"), ("to", "c@partner.example")]);
    assert!(stranger.status == 200 && site.next_hop.received().is_empty(), "{}", stranger.text());
    anna.send_form(&page, &release, &[("reason", "only b"), ("to", "b@partner.example")]);
    site.next_hop.await_message("for two recipients");
    assert_eq!(gateway.held()[0]["delivered"], serde_json::json!(["b@partner.example"]));
    anna.send_form(&page, &release, &[("reason", "all")]);
    assert!(wait_for(|| (site.next_hop.received().len() == 2).then_some(())).is_some());
    assert!(gateway.held().is_empty());
}

#[test]
fn correspondents_are_pinned_noted_and_forgotten() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    add(&gateway, "root", "admin");
    let mut root = Visitor::logged_in(console(&gateway), "root");
    let known = |domain: &str| {
        let listed = waxseal(&["keys", "list", "--json", domain, "--config", word(&gateway.config)]);
        listed.json().into_iter().next().unwrap_or_default()
    };
    assert!(root.get("/correspondents").has("example.org"));
    let other = site.folder.path().join("other.pem");
    let made = waxseal(&["keygen", "--domain", "friend.example", "--selector", "k1", "--out", word(&other)]);
    let printed = made.text().to_owned();
    let digits = printed.lines().find_map(|line| line.strip_prefix("; fingerprint: ")).unwrap().trim();
    let (page, path) =
        ("/correspondents/friend.example", |what: &str| format!("/correspondents/friend.example/{what}"));
    for wrong in ["", "12345 12345", "v=SEAL1; nonsense"] {
        let answer = root.send_form(page, &path("pin"), &[("key", wrong)]);
        assert!(answer.status == 200 && known("friend.example").is_null(), "{wrong}: {}", answer.text());
    }
    let pinned = root.send_form(page, &path("pin"), &[("key", digits), ("selector", "")]);
    assert_eq!(pinned.status, 200);
    assert_eq!(known("friend.example")["pinned"][0]["fingerprint"], Value::from(digits), "{}", pinned.text());
    root.send_form(page, &path("unsealed"), &[("unsealed", "yes")]);
    assert_eq!(known("friend.example")["also_unsealed"], Value::from(true));
    root.send_form(page, &path("unsealed"), &[("unsealed", "no")]);
    root.send_form(page, &path("forget"), &[]);
    assert!(!known("friend.example").is_null(), "not unless somebody is sure");
    root.send_form(page, &path("forget"), &[("sure", "yes")]);
    assert!(known("friend.example").is_null(), "{}", known("friend.example"));
    let whats: Vec<_> = deeds(&gateway).into_iter().map(|[who, what, _]| format!("{who} {what}")).collect();
    assert_eq!(
        whats,
        ["root pinned", "root unsealed-noted", "root unsealed-noted-no-longer", "root unpinned"]
    );
}

/// Mail goes on while somebody does all that there is.
#[test]
fn the_table_and_the_router_agree() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    add(&gateway, "root", "admin");
    let mut root = Visitor::logged_in(console(&gateway), "root");
    for row in DEEDS {
        let path = row.path_of("example.org");
        let other = match row.method {
            "GET" => root.post(&path, &[]),
            _ => root.get(&path),
        };
        // /login and /preferences are pages as well.
        let is_page = ["/login", "/preferences"].contains(&row.path);
        assert!(is_page || other.status == 404, "{path}: {}", other.status);
    }
    assert!(
        Client::hello(gateway.address("inbound")).deliver(SENDER, RECIPIENT, &plain("on")).starts_with("250")
    );
}

/// Whoever stops the gateway waits for a release that is under way.
#[test]
fn a_release_is_finished_before_the_gateway_stops() {
    let site = Site::new();
    let next_hop = Server::start(|_| {
        thread::sleep(Duration::from_secs(2));
        "250 2.0.0 taken".to_owned()
    });
    let config = site.config().listener("inbound", "verify", next_hop.address, "").pinning(&site.record);
    let mut gateway = config.and(CONSOLE).start();
    add(&gateway, "anna", "operator");
    let id = held(&site, &gateway, "slowly");
    let mut anna = Visitor::logged_in(console(&gateway), "anna");
    let (page, release) = (format!("/messages/{id}"), format!("/held/{id}/release"));
    let token = anna.get(&page).token(&release).unwrap();
    let other = anna.get(&page).token(&format!("/held/{id}/keep")).unwrap();
    let config = gateway.config.clone();
    thread::scope(|scope| {
        let mut sender = anna.clone();
        let sent = scope.spawn(move || sender.post(&release, &[("token", &token), ("reason", "because")]));
        thread::sleep(Duration::from_millis(700));
        gateway.signal(Signal::TERM);
        gateway.await_log("stopping");
        let refused = anna.post(&format!("/held/{id}/keep"), &[("token", &other), ("reason", "")]);
        assert_eq!(refused.status, 503);
        assert!(sent.join().unwrap().has("Released"));
    });
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(next_hop.received().len(), 1);
    let listed = waxseal(&["quarantine", "list", "--json", "--config", word(&config)]);
    assert!(listed.json().is_empty(), "{listed:?}");
}
