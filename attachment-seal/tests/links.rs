//! What became of the links of a text (SPEC.md §6.2 and §8 step 11): named where the text is not intact, and no verdict.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "messages/support.rs"]
mod support;

use attachment_seal::manifest::{LinkChanges, TextState};
use attachment_seal::mime::scan::{LINK_HASH, MAX_LINKS, link_hash};
use attachment_seal::seal::format::Seal;
use attachment_seal::verdict::authres;
use attachment_seal::verdict::report::{Report, summary};
use attachment_seal::verdict::{Verdict, Verification};
use support::{check, crlf, describe, sealed};

const FOOTER: &str = "_____\nList: https://lists.example.net/visitors\n";

fn plain(text: &str) -> String {
    letter("text/plain; charset=utf-8", text)
}

fn html(text: &str) -> String {
    letter("text/html; charset=utf-8", text)
}

fn letter(media_type: &str, text: &str) -> String {
    format!(
        "From: a@example.org\nDate: Mon, 23 Nov 2026 00:00:00 +0000\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\n\
         Content-Type: {media_type}\nContent-Transfer-Encoding: 8bit\n\n{text}"
    )
}

/// A message in plain text and HTML.
fn both(plain: &str, html: &str) -> String {
    let parts =
        format!("--b\nContent-Type: text/plain\n\n{plain}\n--b\nContent-Type: text/html\n\n{html}\n--b--\n");
    letter("multipart/alternative; boundary=b", &parts)
}

/// A message that is sealed, and then has `from` replaced by `to`.
fn changed(message: &str, from: &str, to: &str) -> Verification {
    let sealed = String::from_utf8(sealed(crlf(message).as_bytes())).unwrap();
    let (head, body) = sealed.split_once("\r\n\r\n").unwrap();
    let arrives = format!("{head}\r\n\r\n{}", body.replace(&crlf(from), &crlf(to)));
    assert_ne!(arrives, sealed, "{from}");
    check(arrives.as_bytes())
}

fn passing(result: &Verification) -> Option<LinkChanges> {
    assert_eq!(result.verdict(), Verdict::Pass, "{}", describe(result));
    assert_ne!(result.text(), Some(TextState::Intact));
    result.links().cloned()
}

#[test]
fn a_link_that_is_added_or_removed_is_named_and_no_verdict() {
    let message = plain("See https://example.org/report\n");
    let added = passing(&changed(&message, "report\n", &format!("report\n{FOOTER}"))).unwrap();
    assert_eq!(added.added, ["https://lists.example.net/visitors"]);
    assert!(added.removed.is_empty() && added.sealed_all && added.found_all);

    let removed = passing(&changed(&message, "See https://example.org/report", "See below")).unwrap();
    assert!(removed.added.is_empty());
    let hashes: Vec<[u8; LINK_HASH]> = removed.removed.iter().map(|link| link.hash).collect();
    assert_eq!(hashes, [link_hash("https://example.org/report")]);

    assert_eq!(passing(&changed(&message, "See", "Read")), None);
}

#[test]
fn a_target_swapped_under_the_same_words_is_both() {
    let message = html("<p>Pay <a href=\"https://bank.example/pay\">here</a></p>\n");
    let result = changed(&message, "https://bank.example/pay", "https://bank-example.evil.example/pay");
    let links = passing(&result).unwrap();
    assert_eq!(links.added, ["https://bank-example.evil.example/pay"]);
    assert_eq!(links.removed[0].hash, link_hash("https://bank.example/pay"));
    assert_eq!(
        summary(&result),
        "every attachment is as it was sent; in its text 1 link added \
         (hxxps[:]//bank-example[.]evil[.]example/pay), 1 link removed"
    );
}

#[test]
fn spellings_of_one_target_are_one_link() {
    let message =
        both("https://example.org/x?a=1&b=2", "<a href=\"https://example.org/x?a=1&amp;b=2\">x</a>");
    for spelling in [
        "https://example.org/x?a=1&b=2",
        "HTTPS://Example.ORG/x?a=1&#38;b=2",
        "https://example.org:443/x?a=1&amp;b=2",
        "https://example.org:0443/x&#x3f;a=1&amp;b=2",
        " https:\\\\ex%61mple.org/x?a=1&amp;b=2 ",
    ] {
        let result = changed(&message, "https://example.org/x?a=1&amp;b=2", spelling);
        // What only the HTML's branch holds is written otherwise, and is the link of the plain text.
        assert_eq!(result.verdict(), Verdict::Pass, "{spelling}: {}", describe(&result));
        assert_eq!(result.links(), None, "{spelling}");
    }
    let message = html("<a href=\"https://bücher.example/\">x</a>\n");
    assert_eq!(passing(&changed(&message, "https://bücher.example/", "https://xn--bcher-kva.example")), None);
}

#[test]
fn an_untouched_text_is_not_searched() {
    let message = plain("See https://example.org/report\n");
    let sealed = sealed(crlf(&message).as_bytes());
    assert_eq!(check(&sealed).links(), None);
    // Re-encoded, and intact.
    let text = String::from_utf8(sealed).unwrap();
    let result = check(text.replace("Encoding: 8bit", "Encoding: 7bit").as_bytes());
    assert_eq!(
        (result.verdict(), result.text(), result.links()),
        (Verdict::Pass, Some(TextState::Intact), None)
    );
}

#[test]
fn a_seal_without_the_list_tells_nothing() {
    let message = plain("Hello\n");
    let result = changed(&message, "Hello\n", &format!("Hello\n{FOOTER}"));
    assert!(result.links().is_some());
    let bare = support::under_seal_of(
        crlf(&message).as_bytes(),
        crlf(&message.replace("Hello\n", &format!("Hello\n{FOOTER}"))).as_bytes(),
    );
    let result = check(&bare);
    assert_eq!(
        (result.verdict(), result.text(), result.links()),
        (Verdict::Pass, Some(TextState::Appended), None)
    );
}

#[test]
fn of_too_many_links_the_rest_is_counted() {
    let lines = |count: usize| -> String { (0..count).map(|n| format!("https://a.example/{n}\n")).collect() };
    let message = sealed(crlf(&plain(&lines(MAX_LINKS + 40))).as_bytes());
    let value: String = String::from_utf8(message).unwrap().split_whitespace().collect();
    assert!(value.contains(",+40;b="), "{}", value.len());
    let value = value.split_once("Attachment-Seal:").unwrap().1.split("From:").next().unwrap();
    assert!(Seal::parse(value.as_bytes()).unwrap().statement.links.is_some() && value.len() < 13_000);

    // By an incomplete list nobody can tell what was added.
    let result = changed(&plain(&lines(MAX_LINKS + 40)), "/539\n", "/539\nhttps://evil.example/\n");
    assert!(
        summary(&result).contains("the seal does not list all links that were sent"),
        "{}",
        summary(&result)
    );
    let links = passing(&result).unwrap();
    assert!(!links.sealed_all && links.has_added(|_| false));
    assert!(links.added.contains(&"https://evil.example/".to_owned()) || links.more_added > 0);

    // A flood hides none: what is over the limit is counted.
    let flood = format!("Hello\n{}", lines(MAX_LINKS + 40));
    let links = passing(&changed(&plain("Hello\n"), "Hello\n", &flood)).unwrap();
    assert_eq!((links.added.len(), links.more_added), (MAX_LINKS, 40));
    assert!(links.sealed_all && links.found_all);
}

/// Where markup can hide a link from us, or show one that others do not see, the result says that there may be more.
#[test]
fn an_attacker_who_hides_a_link_leaves_a_doubt() {
    let message = html("<p>Hello</p>\n");
    for hidden in [
        "<p>Hello</p><style><!--></style><p title=\"--><a href=https://evil.example/>\">\n",
        "<p>Hello</p><noscript><p title=\"</noscript><a href=https://evil.example/>\"></noscript>\n",
        "<p>Hello</p><!-- <a href=https://evil.example/>\n",
    ] {
        let result = changed(&message, "<p>Hello</p>\n", hidden);
        let links = result.links().cloned().unwrap_or_default();
        assert!(links.has_added(|_| true), "{hidden}: {links:?}");
        assert!(summary(&result).contains("evil[.]example") || !links.found_all, "{hidden}");
    }
    let long = format!("{} https://evil.example/{}\n", "x".repeat(70_000), "y".repeat(70_000));
    let links = passing(&changed(&plain("Hello\n"), "Hello\n", &format!("Hello\n{long}"))).unwrap();
    assert!(!links.found_all, "{links:?}");
}

/// A stranger chose them, so they are short, on one line, and nothing that a program makes clickable.
#[test]
fn what_strangers_chose_is_shown_bounded_and_defanged() {
    let hostile: String = (0..30)
        .map(|n| {
            format!(
                "<a href=\"https://evil.example/{n}\u{202e}&#10;&#13;&quot;&#92;www.x{}\">\n",
                "y".repeat(900)
            )
        })
        .collect();
    let result = changed(&html("<p>Hello\n"), "<p>Hello\n", &format!("<p>Hello\n{hostile}"));
    let line = summary(&result);
    assert!(line.contains("30 links added") && line.len() < 500, "{line}");
    let field = authres::field(&"mx.example.net".parse().unwrap(), &result);
    assert!(field.contains("x-attachment-seal=pass reason=\"30 links added") && field.len() < 500, "{field}");
    assert!(field.is_ascii() && field.matches('\n').count() == 1, "{field}");
    for text in [&line, &field] {
        for bad in ["://", "www.", "evil.example", "\u{202e}"] {
            assert!(!text.contains(bad), "{bad}: {text}");
        }
    }
    let json: serde_json::Value = serde_json::from_str(&Report::new(None, &result).to_line()).unwrap();
    let links = &json["links"];
    let added = links["added"].as_array().unwrap();
    assert_eq!((added.len(), &links["more_added"]), (20, &serde_json::json!(10)));
    assert!(added.iter().all(|target| target.as_str().unwrap().chars().count() <= 500), "{links}");
    assert_eq!((&links["sealed_all"], &links["found_all"]), (&true.into(), &true.into()));
}

#[test]
fn json_names_what_was_removed_by_its_hash_and_its_target_where_that_is_known() {
    let message = html("<a href=\"https://bank.example/x\">a</a> <a href=\"https://gone.example/\">b</a>\n");
    let from = "<a href=\"https://bank.example/x\">a</a> <a href=\"https://gone.example/\">b</a>";
    let to = "<a href=\"https://safe.example/?url=https%3A%2F%2Fbank.example%2Fx&amp;d=1\">a</a> b";
    let result = changed(&message, from, to);
    let json: serde_json::Value = serde_json::from_str(&Report::new(None, &result).to_line()).unwrap();
    assert_eq!(
        json["links"]["added"],
        serde_json::json!(["https://safe.example/?url=https%3A%2F%2Fbank.example%2Fx&d=1"])
    );
    let removed = json["links"]["removed"].as_array().unwrap();
    let target = |hash: [u8; LINK_HASH]| {
        let hex: String = hash.iter().map(|octet| format!("{octet:02x}")).collect();
        removed.iter().find(|link| link["blake3"] == hex.as_str()).unwrap()["target"].clone()
    };
    assert_eq!(target(link_hash("https://bank.example/x")), "https://bank.example/x");
    assert_eq!(target(link_hash("https://gone.example/")), serde_json::Value::Null);
    assert!(
        summary(&result).contains("2 links removed (hxxps[:]//bank[.]example/x)"),
        "{}",
        summary(&result)
    );
}
