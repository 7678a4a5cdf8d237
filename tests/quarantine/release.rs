//! By whom a message is released, to whom, and what is on record of it.

use std::fs;

use crate::desk::{desks, hold};
use crate::program::{letter, waxseal_with, word};

#[test]
fn two_people_release_a_message() {
    for desk in desks() {
        let gateway = desk.start("[quarantine]\nrelease_needs = 2\n");
        let message = desk.site.swapped("for two");
        let id = hold(&gateway, &["desk@partner.example"], &message);
        let release =
            |who: &str, reason: &str| desk.run_as(who, &["quarantine", "release", &id, "--reason", reason]);

        let first = release("anna", "the office confirmed it");
        assert_eq!((first.status, first.stderr.as_str()), (3, ""), "{first:?}");
        assert!(first.text().contains("requested by anna; it takes a second person"), "{first:?}");
        let again = release("anna", "really");
        assert_eq!(again.status, 3, "{again:?}");
        assert!(again.text().contains("anna requested the release already"), "{again:?}");
        assert!(desk.site.next_hop.received().is_empty());
        assert_eq!(desk.listed(&["--state", "requested"]), [id.as_str()]);

        let second = release("boris", "I asked, too");
        assert_eq!((second.status, second.stderr.as_str()), (0, ""), "{second:?}");
        let received = desk.site.next_hop.received();
        let result = "Authentication-Results: mx.partner.example; x-attachment-seal=fail";
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].from, "office@example.org");
        let sent = String::from_utf8_lossy(&received[0].message).into_owned();
        assert!(sent.starts_with(result), "{sent}");
        assert!(received[0].message.ends_with(&message), "byte for byte");
        assert!(desk.listed(&[]).is_empty());

        let deeds = desk.record("<for.two@example.org>");
        let is = |what: &str, who: &str| (what.to_owned(), who.to_owned());
        assert_eq!(deeds, [is("release-requested", "anna"), is("released", "boris")]);
        let report = desk.run(&["report", "--message-id", "for.two@example.org"]);
        for said in ["the office confirmed it", "I asked, too", "250 2.0.0 taken", &id, "boris released it"] {
            assert!(report.text().contains(said), "{said}: {}", report.text());
        }
        let line = gateway.await_log("what=\"released\"");
        assert!(line.contains("boris") && line.contains("I asked, too") && line.contains(&id), "{line}");
    }
}

/// Where gateways share a database, any of them releases what another one held, though that one is gone with its disk.
#[test]
fn another_gateway_releases_a_message() {
    for desk in desks() {
        let two = "[quarantine]\nrelease_needs = 2\n";
        let Some(other) = desk.other_gateway(two) else { continue };
        let message = desk.site.swapped("elsewhere");
        let gateway = desk.start(two);
        let id = hold(&gateway, &["desk@partner.example"], &message);
        drop(gateway);
        fs::remove_dir_all(desk.site.folder.path().join("state")).unwrap();
        let run = |who: &str, arguments: &[&str]| {
            waxseal_with(&[("SUDO_USER", who)], &[arguments, &["--config", word(&other)]].concat())
        };
        for (who, status) in [("anna", 3), ("boris", 0)] {
            let release = run(who, &["quarantine", "release", &id, "--reason", "the office confirmed it"]);
            assert_eq!((release.status, release.stderr.as_str()), (status, ""), "{release:?}");
        }
        let received = desk.site.next_hop.received();
        assert_eq!(received.len(), 1);
        assert!(received[0].message.ends_with(&message), "byte for byte");
        let report = run("anna", &["report", "--message-id", "<elsewhere@example.org>"]);
        for said in [&id, "anna asked for its release", "boris released it", "the office confirmed it"] {
            assert!(report.text().contains(said), "{said}: {}", report.text());
        }
    }
}

#[test]
fn one_person_is_enough_unless_the_configuration_says_so() {
    for desk in desks() {
        let gateway = desk.start("");
        let id = hold(&gateway, &["desk@partner.example"], &desk.site.swapped("for one"));
        assert_eq!(desk.run(&["quarantine", "release", &id]).status, 0);
        let report = desk.run(&["report", "--message-id", "<for.one@example.org>"]);
        assert!(report.text().contains("no reason given"), "{}", report.text());
    }
}

#[test]
fn a_message_goes_to_those_who_are_named() {
    for desk in desks() {
        let gateway = desk.start("");
        let id = hold(&gateway, &["a@partner.example", "b@partner.example"], &desk.site.swapped("named"));
        let release = |to: &str| desk.run(&["quarantine", "release", &id, "--to", to]);
        let to = || desk.site.next_hop.received().into_iter().map(|one| one.to).collect::<Vec<_>>();

        release("c@partner.example").assert_failed("c@partner.example is no recipient of ");
        let released = release("b@partner.example");
        assert_eq!(released.status, 0, "{released:?}");
        assert!(released.text().contains("still held for those who have not got it"), "{released:?}");
        assert_eq!(to(), ["b@partner.example"]);
        assert_eq!(desk.listed(&["--state", "partly"]), [id.as_str()]);
        assert_eq!(release("<B@partner.example>").status, 0, "he has it");
        assert_eq!(to(), ["b@partner.example"]);

        assert_eq!(desk.run(&["quarantine", "release", &id]).status, 0);
        assert_eq!(to(), ["b@partner.example", "a@partner.example"]);
        assert!(desk.listed(&[]).is_empty());
    }
}

#[test]
fn of_several_messages_each_is_released() {
    for desk in desks() {
        let gateway = desk.start("");
        let plain = |subject: &str| letter::plain("office@example.org", subject);
        let [one, two] =
            ["one", "two"].map(|subject| hold(&gateway, &["a@partner.example"], &plain(subject)));
        let ended =
            desk.run(&["quarantine", "release", &one, "20261123T061112-000000", &two, "--reason", "ok"]);
        assert_eq!(ended.status, 2, "{ended:?}");
        assert!(ended.stderr.contains("no message 20261123T061112-000000 is held"), "{ended:?}");
        assert_eq!(desk.site.next_hop.received().len(), 2);

        let gone = hold(&gateway, &["a@partner.example"], &plain("three"));
        let deleted = desk.run_as("boris", &["quarantine", "delete", &gone, &one, "--reason", "spam"]);
        assert_eq!((deleted.status, deleted.stderr.lines().count()), (2, 1), "{deleted:?}");
        assert!(desk.listed(&[]).is_empty());
        assert_eq!(desk.record("three@example.org"), [("deleted".to_owned(), "boris".to_owned())]);
    }
}
