//! Links in texts that were changed on the way: what `[policy] links` has done about added ones, and where they are named.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod program;

use std::fs;

use program::site::{RECIPIENT, SENDER, Site};
use program::smtp::{Client, Server};
use program::{Gateway, letter, waxseal, word};

const EVIL: &str = "https://evil.example/pay";
const DEFANGED: &str = "hxxps[:]//evil[.]example/pay";

/// A sealed letter that got a link of somebody else's below its text.
fn with_link(site: &Site, subject: &str, target: &str) -> Vec<u8> {
    let footer = format!("is attached.\r\n____\r\nSee {target}\r\n");
    site.changed(&letter::with_attachments(subject), |sealed| sealed.replace("is attached.\r\n", &footer))
}

fn deliver(gateway: &Gateway, message: &[u8]) {
    let reply = Client::hello(gateway.address("inbound")).deliver(SENDER, RECIPIENT, message);
    assert!(reply.starts_with("250"), "{reply}");
}

fn delivered(site: &Site, subject: &str) -> String {
    let arrived = site.next_hop.await_message(&format!("Subject: {subject}"));
    String::from_utf8(arrived.message).unwrap()
}

#[test]
fn by_default_an_added_link_is_reported_and_the_message_delivered() {
    let site = Site::new();
    let gateway = site.verifying("").start();
    deliver(&gateway, &with_link(&site, "default", EVIL));
    let message = delivered(&site, "default");
    let result = format!("x-attachment-seal=pass reason=\"1 link added ({DEFANGED})\"");
    assert!(message.contains(&result) && !message.contains("X-Attachment-Seal-Warning"), "{message}");
    let line = gateway.await_log("verdict=\"pass\"");
    assert!(line.contains("action=\"deliver\"") && line.contains(DEFANGED), "{line}");
    assert!(!line.contains("links-added") && !line.contains("evil.example"), "{line}");

    // What nobody touched has no links to tell of.
    deliver(&gateway, &site.changed(&letter::with_attachments("intact"), str::to_owned));
    assert!(delivered(&site, "intact").contains("x-attachment-seal=pass header.d="));
}

#[test]
fn deliver_is_the_default_written_down() {
    let site = Site::new();
    let gateway = site.verifying("").and("[policy]\nlinks = \"deliver\"").start();
    deliver(&gateway, &with_link(&site, "deliver", EVIL));
    assert!(!delivered(&site, "deliver").contains("X-Attachment-Seal-Warning"));
}

#[test]
fn mark_delivers_it_with_a_warning() {
    let site = Site::new();
    let gateway = site.verifying("").and("[policy]\nlinks = \"mark\"").start();
    deliver(&gateway, &with_link(&site, "mark", EVIL));
    let message = delivered(&site, "mark");
    let warning = format!(
        "X-Attachment-Seal-Warning: pass; every attachment is as it was sent; in its text 1 link added ({DEFANGED})"
    );
    assert!(message.contains(&warning), "{message}");
    let line = gateway.await_log("action=\"mark\"");
    assert!(line.contains("verdict=\"pass\" reason=\"links-added\""), "{line}");
}

#[test]
fn quarantine_holds_it_and_tells_the_administrator() {
    let site = Site::new();
    let office = Server::taking_all();
    let gateway = site
        .verifying("")
        .and(&format!(
            "[policy]\nlinks = \"quarantine\"\nlinks_except = [\"lists.example.net\"]\n\
             [alerts]\nto = \"postmaster@partner.example\"\nnext_hop = \"{}\"",
            office.address
        ))
        .start();
    deliver(&gateway, &with_link(&site, "held", EVIL));
    let held = gateway.held();
    assert_eq!(
        (held[0]["verdict"].as_str(), held[0]["reason"].as_str()),
        (Some("pass"), Some("links-added")),
        "{held:?}"
    );
    let alert = office.await_message("Subject: [waxseal] ");
    let text = String::from_utf8(alert.message).unwrap();
    for fact in ["example.org quarantined: pass (links-added)", &format!("link: added: {DEFANGED}\r\n")] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    assert!(!text.contains("evil.example"), "{text}");

    // A list's own footer is no reason, nor is a name that only looks like the list's.
    deliver(&gateway, &with_link(&site, "footer", "https://www.lists.example.net/visitors"));
    assert!(
        delivered(&site, "footer").contains("1 link added (hxxps[:]//www[.]lists[.]example[.]net/visitors)")
    );
    deliver(&gateway, &with_link(&site, "look-alike", "https://lists.example.net@evil.example/"));
    assert_eq!(gateway.held().len(), 2);
}

#[test]
fn an_observer_delivers_it_and_says_what_would_have_been_done() {
    let site = Site::new();
    let gateway = site.verifying("").and("[policy]\nmode = \"observe\"\nlinks = \"quarantine\"").start();
    deliver(&gateway, &with_link(&site, "observed", EVIL));
    delivered(&site, "observed");
    let line = gateway.await_log("withheld=\"quarantine\"");
    assert!(line.contains("reason=\"links-added\"") && line.contains("action=\"deliver\""), "{line}");
}

#[test]
fn verify_names_what_became_of_the_links() {
    let site = Site::new();
    let file = site.folder.path().join("arrived.eml");
    fs::write(&file, with_link(&site, "verify", EVIL)).unwrap();
    let pins = site.folder.path().join("pins");
    fs::create_dir_all(pins.join("example.org")).unwrap();
    fs::write(pins.join("example.org/gate1.txt"), &site.record).unwrap();
    let verify = |more: &[&str]| {
        waxseal(&[&["verify", "--no-dns", "--keys", word(&pins), word(&file)], more].concat())
    };
    let for_people = verify(&[]);
    assert!(for_people.text().contains(&format!("link added: {DEFANGED}\n")), "{for_people:?}");
    let json = verify(&["--json"]);
    assert_eq!(json.status, 0, "{json:?}");
    let report = &json.json()[0];
    assert_eq!(report["links"]["added"], serde_json::json!([EVIL]));
    assert_eq!((&report["verdict"], &report["text"]), (&"pass".into(), &"appended".into()));
}
