//! Which messages are listed.

use crate::desk::{desks, hold};
use crate::program::letter;

#[test]
fn each_filter_finds_what_it_should() {
    for desk in desks() {
        let gateway = desk.start("");
        let swapped = hold(&gateway, &["a@partner.example", "c@partner.example"], &desk.site.swapped("one"));
        let plain = letter::plain("news@sub.example.org", "two");
        let missing = hold(&gateway, &["b@partner.example"], &plain);
        let both = [swapped.as_str(), missing.as_str()];
        for (arguments, found) in [
            (&[][..], &both[..]),
            (&["--from", "NEWS@sub"], &[missing.as_str()]),
            (&["--from", "office@example.org"], &both),
            (&["--to", "b@partner"], &[missing.as_str()]),
            (&["--to", "a@partner.example"], &[swapped.as_str()]),
            (&["--domain", "sub.example.org"], &[missing.as_str()]),
            (&["--domain", "example.org"], &both),
            (&["--domain", "ample.org"], &[]),
            (&["--verdict", "fail"], &[swapped.as_str()]),
            (&["--verdict", "missing", "--to", "a@partner.example"], &[]),
            (&["--since", "1h"], &both),
            (&["--since", "2020-01-01"], &both),
            (&["--since", "2999-01-01"], &[]),
            (&["--older-than", "1h"], &[]),
            (&["--message-id", "<two@example.org>"], &[missing.as_str()]),
            (&["--message-id", "two@example.org"], &[missing.as_str()]),
            (&["--state", "held"], &both),
            (&["--state", "kept"], &[]),
            (&["--state", "in-doubt"], &[]),
        ] {
            assert_eq!(desk.listed(arguments), found, "{arguments:?}");
        }
        for wrong in [["--state", "lost"], ["--verdict", "bad"], ["--since", "soon"], ["--domain", "a b"]] {
            assert_eq!(desk.run(&[&["quarantine", "list"], &wrong[..]].concat()).status, 2, "{wrong:?}");
        }
    }
}

#[test]
fn a_message_is_kept_until_it_is_not() {
    for desk in desks() {
        let gateway = desk.start("");
        let id = hold(&gateway, &["a@partner.example"], &desk.site.swapped("kept"));
        assert_eq!(desk.run(&["quarantine", "keep", &id, "--reason", "evidence"]).status, 0);
        assert_eq!(desk.listed(&["--state", "kept"]), [id.as_str()]);
        assert_eq!(desk.shown(&id)["keep"], true);
        let show = desk.run(&["quarantine", "show", &id]);
        assert!(show.text().contains("state         kept: it is not removed by age"), "{}", show.text());
        assert!(show.text().contains("anna set it to be kept; reason: evidence"), "{}", show.text());
        assert_eq!(desk.run(&["quarantine", "keep", "--off", &id]).status, 0);
        assert!(desk.listed(&["--state", "kept"]).is_empty());
        desk.run(&["quarantine", "keep", "20261123T061112-000000"]).assert_failed("no message");
    }
}

#[test]
fn a_line_has_what_tells_a_message_from_others() {
    for desk in desks() {
        let gateway = desk.start("");
        let id = hold(&gateway, &["a@partner.example", "b@partner.example"], &desk.site.swapped("in a line"));
        let list = desk.run(&["quarantine", "list"]);
        assert_eq!(list.text().lines().count(), 1, "a script gets no heading");
        assert_eq!(list.text().split(' ').next(), Some(id.as_str()));
        for part in [
            " held fail (attachments) ",
            " office@example.org <a@partner.example>, <b@partner.example> in a line ",
            "altered Agenda.pdf",
        ] {
            assert!(list.text().contains(part), "{part}: {}", list.text());
        }
    }
}
