//! Commands about held mail while the configuration has mistakes.

use crate::desk::{desks, hold};
use crate::program::{Config, waxseal, word};

#[test]
fn a_mistake_elsewhere_is_printed_once_and_keeps_no_command_from_its_work() {
    for desk in desks() {
        let gateway = desk.start("");
        let ids =
            ["one", "two"].map(|subject| hold(&gateway, &["a@partner.example"], &desk.site.swapped(subject)));
        let [one, two] = ids.each_ref().map(String::as_str);
        desk.config("[policy]\nfail = \"shred\"\n[dns]\nservers = []\nquestions = 0\n").write();
        for command in [
            &["quarantine", "list"][..],
            &["quarantine", "show", one],
            &["quarantine", "export", one],
            &["quarantine", "keep", one],
            &["quarantine", "release", one, "--reason", "ok"],
            &["quarantine", "delete", two],
            &["report"],
            &["report", "--message-id", "one@example.org"],
        ] {
            let ended = desk.run(command);
            assert_eq!(ended.status, 0, "{command:?}: {ended:?}");
            for mistake in ["policy.fail: `shred`: not an action", "dns.questions: 0 is out of range"] {
                assert_eq!(ended.stderr.matches(mistake).count(), 1, "{command:?}: {ended:?}");
            }
            assert_eq!(ended.stderr.lines().count(), 2, "{command:?}: {ended:?}");
        }
        assert_eq!(desk.site.next_hop.received().len(), 1);
    }
}

/// Nobody may release alone because a setting is misspelt.
#[test]
fn a_release_needs_its_own_sections() {
    for desk in desks() {
        let gateway = desk.start("[quarantine]\nrelease_needs = 2\n");
        let id = hold(&gateway, &["a@partner.example"], &desk.site.swapped("one"));
        let release = || desk.run(&["quarantine", "release", &id]);
        for (more, section) in [
            ("[quarantine]\nrelease_needs = \"two\"\n", "quarantine"),
            ("[quarantine]\nrelease_need = 2\n", "quarantine"),
            ("[quarantin]\nrelease_needs = 2\n", "quarantine"),
            ("[quarantine]\nrelease_needs = = 2\n", "quarantine"),
            ("[limits]\nrecipients = 0\n", "limits"),
        ] {
            desk.config(more).write();
            let ended = release();
            assert_eq!(ended.status, 2, "{more}: {ended:?}");
            assert!(ended.stderr.contains("a release needs") && ended.stderr.contains(section), "{ended:?}");
            assert_eq!(desk.run(&["quarantine", "list"]).status, 0, "{more}");
        }
        let listener = desk.config("").listener("other", "verify", desk.site.next_hop.address, "auth = 1\n");
        listener.write();
        assert_eq!(release().status, 0, "another listener's mistake");
        assert_eq!(desk.site.next_hop.received().len(), 1);
    }
}

#[test]
fn without_the_place_of_the_state_nothing_can_be_done() {
    let folder = crate::program::folder();
    for state in ["stat = \"state\"\n", "state = \"\"\n", "state = 1\n"] {
        let config = Config::of(folder.path(), "mx.partner.example", state)
            .listener("inbound", "verify", ([127, 0, 0, 1], 26).into(), "")
            .write();
        let ended = waxseal(&["quarantine", "list", "--config", word(&config)]);
        assert_eq!((ended.status, ended.stderr.lines().count()), (2, 1), "{ended:?}");
    }
}
