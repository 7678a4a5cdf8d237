//! Which messages `--since` and `--domain` leave out.

use crate::program::desk::Desk;
use crate::program::letter;

/// Swapped messages by example.org: one of November, one of January, and one that is dated January and was received in
/// November. A fourth message is by another domain.
fn store() -> Desk {
    let desk = Desk::new();
    let january = |message: Vec<u8>| {
        String::from_utf8(message).unwrap().replace("Mon, 23 Nov 2026", "Mon, 5 Jan 2026").into_bytes()
    };
    let sealed = |message: &[u8]| letter::swapped(desk.seal(message).text());
    let early = sealed(&january(letter::with_attachments("early")));
    let received =
        "Received: from relay.example.net by mx.partner.example; Tue, 24 Nov 2026 08:00:00 +0000\r\n";
    desk.write("store/1-late.eml", sealed(&letter::with_attachments("late")).as_bytes());
    desk.write("store/2-early.eml", early.as_bytes());
    desk.write("store/3-held-back.eml", format!("{received}{early}").as_bytes());
    desk.write("store/4-other.eml", &letter::plain("office@other.example", "other"));
    desk
}

/// The files of the messages that are judged, and the last line.
fn scan(desk: &Desk, options: &[&str]) -> (Vec<String>, String) {
    let arguments = [&["scan", "--keys", "pins", "--no-dns", "store"], options].concat();
    let ended = desk.run(&[&arguments[..], &["--json"]].concat());
    assert_eq!(ended.stderr, "");
    let name = |path: &str| path.trim_start_matches("store/").trim_end_matches(".eml").to_owned();
    let files = ended.json().iter().map(|line| name(line["file"].as_str().unwrap())).collect();
    (files, desk.run(&arguments).text().lines().last().unwrap().to_owned())
}

#[test]
fn since_goes_by_the_latest_date() {
    let desk = store();
    for (since, expected, last) in [
        ("2026-01-01", &["1-late", "2-early", "3-held-back", "4-other"][..], "4 messages: 3 fail, 1 none"),
        (
            "2026-11-01",
            &["1-late", "3-held-back", "4-other"],
            "3 messages: 2 fail, 1 none; 1 left out, as asked",
        ),
        ("2026-11-23T09:00:01Z", &["3-held-back"], "1 message: 1 fail; 3 left out, as asked"),
        ("2027-01-01", &[], "no message was checked; 4 left out, as asked"),
    ] {
        let (files, line) = scan(&desk, &["--since", since]);
        assert_eq!(
            (files, line.as_str()),
            (expected.iter().map(ToString::to_string).collect(), last),
            "{since}"
        );
    }
    let ended = desk.run(&["scan", "--since", "yesterday", "store"]);
    assert_eq!((ended.status, ended.text()), (2, ""));
    assert!(ended.stderr.contains("neither like 2026-11-23 nor like"), "{}", ended.stderr);
}

#[test]
fn domain_takes_the_author_the_seal_and_the_domains_below() {
    let desk = store();
    // A message by another author, which carries a seal of example.org.
    let forged =
        letter::swapped(&desk.sealed("forged")).replace("office@example.org", "office@third.example");
    desk.write("store/5-forged.eml", forged.as_bytes());
    for (domains, expected) in [
        (&["example.org"][..], &["1-late", "2-early", "3-held-back", "5-forged"][..]),
        (&["other.example"], &["4-other"]),
        (&["Example"], &["4-other", "5-forged"]),
        (&["third.example"], &["5-forged"]),
        (&["other.example", "third.example"], &["4-other", "5-forged"]),
        (&["xample.org"], &[]),
    ] {
        let options: Vec<&str> = domains.iter().flat_map(|domain| ["--domain", domain]).collect();
        let (files, line) = scan(&desk, &options);
        assert_eq!(files, expected, "{domains:?}");
        let left_out = format!("; {} left out, as asked", 5 - expected.len());
        assert!(line.ends_with(&left_out), "{domains:?}: {line}");
    }
    let (files, _) = scan(&desk, &["--domain", "example.org", "--since", "2026-11-24"]);
    assert_eq!(files, ["3-held-back"]);
}

/// Whatever is selected, a file that is no mail is named.
#[test]
fn what_cannot_be_read_is_never_left_out() {
    let desk = store();
    desk.write("store/6.eml", b"\x7fELF\x02 no mail\n");
    let ended = desk.run(&["scan", "--keys", "pins", "--no-dns", "--since", "2027-01-01", "store"]);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.stderr.contains("store/6.eml: this is no mail"), "{}", ended.stderr);
}
