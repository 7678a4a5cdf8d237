//! Messages that are made to do something to whoever looks at them.

use crate::program::site::{RECIPIENT, Site};
use crate::program::smtp::Client;
use crate::program::wait_for;
use crate::visit::{Visitor, add, console, with_console};

/// What must not be in a page as it is: markup that a stranger wrote, and characters that turn or hide text.
const NEVER: [&str; 9] = [
    "<script>alert",
    "<img src=x",
    "onerror=\"",
    "<svg/onload",
    "<iframe src",
    "</title></textarea",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
];

/// Markup for every place that is shown.
const MARKUP: &str = "\"'><script>alert(1)</script><img src=x onerror=\"alert(1)\"><svg/onload=alert(1)>";

fn messages() -> Vec<(&'static str, String)> {
    let head = |from: &str, more: &str| {
        format!(
            "From: {from}\r\nTo: {MARKUP} <desk@partner.example>\r\nDate: {MARKUP}\r\n{more}MIME-Version: 1.0\r\n"
        )
    };
    let encoded = |text: &str| {
        let digits: String = text.bytes().map(|octet| format!("={octet:02X}")).collect();
        format!("=?utf-8?q?{digits}?=")
    };
    let office = "office@example.org";
    let part = |name: &str| {
        format!(
            "--b\r\nContent-Type: application/pdf; name=\"{name}\"\r\nContent-Disposition: attachment; \
             filename*=utf-8''%3Cscript%3Ealert(1)%3C%2Fscript%3E%E2%80%AEfdp.exe\r\n\r\nx\r\n"
        )
    };
    let multipart = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let long = "A".repeat(900) + "<script>alert(1)</script>";
    let folded: String = (0..1_100).map(|_| format!(" {}\r\n", "n".repeat(950))).collect();
    vec![
        ("script in the subject", head(office, &format!("Subject: s1 {MARKUP}\r\n")) + "\r\nx\r\n"),
        (
            "encoded script and bidi in the subject",
            head(
                office,
                &format!(
                    "Subject: s2 {} {}\r\n",
                    encoded(MARKUP),
                    encoded("\u{202e}\u{2066}\u{200b}gpj.exe")
                ),
            ) + "\r\nx\r\n",
        ),
        (
            "script in the author's name and address",
            head(&format!("{MARKUP} <\"<script>alert(1)</script>\"@example.org>"), "Subject: s3\r\n")
                + "\r\nx\r\n",
        ),
        (
            "script in the Message-ID and other fields",
            head(
                office,
                &format!(
                    "Subject: s4\r\nMessage-ID: <{MARKUP}@example.org>\r\nX-{MARKUP}: {MARKUP}\r\nReceived: from {MARKUP} by {MARKUP}\r\n"
                ),
            ) + "\r\nx\r\n",
        ),
        (
            "script in a charset and a type",
            head(
                office,
                &format!(
                    "Subject: =?{MARKUP}?q?s5?= s5\r\nContent-Type: text/{MARKUP}; charset=\"{MARKUP}\"\r\n"
                ),
            ) + "\r\nx\r\n",
        ),
        (
            "script and bidi in names of attachments",
            head(office, "Subject: s6\r\n") + multipart + &part(&MARKUP.replace('"', "\\\"")) + "--b--\r\n",
        ),
        (
            "a title that ends",
            head(office, "Subject: s7 </title></textarea><script>alert(1)</script>\r\n") + "\r\nx\r\n",
        ),
        ("a long name", head(office, "Subject: s8\r\n") + multipart + &part(&long) + "--b--\r\n"),
        (
            "a name of a mebibyte",
            head(office, "Subject: s9\r\n")
                + multipart
                + &format!(
                    "--b\r\nContent-Type: application/pdf; name=\"\r\n{folded} \"\r\n\r\nx\r\n--b--\r\n"
                ),
        ),
        (
            "ten thousand attachments",
            head(office, "Subject: s10\r\n") + multipart + &part("a<b>.pdf").repeat(10_000) + "--b--\r\n",
        ),
    ]
}

#[test]
fn nothing_of_a_message_is_markup() {
    let site = Site::new();
    let gateway = with_console(&site).start();
    add(&gateway, "anna", "admin");
    let mut held = Vec::new();
    for (name, message) in messages() {
        let reply = Client::hello(gateway.address("inbound")).deliver(
            "\"<script>alert(1)</script>\"@example.org",
            RECIPIENT,
            message.as_bytes(),
        );
        // A From that is none has no author, and such mail is delivered where nothing is expected.
        match reply.strip_prefix("250 2.0.0 accepted as ") {
            Some(id) => held.push((name, id.to_owned())),
            None => assert!(reply.starts_with("250 ") || reply.starts_with("5"), "{name}: {reply}"),
        }
    }
    assert!(held.len() >= 8, "{held:?}");
    let mut anna = Visitor::logged_in(console(&gateway), "anna");
    let all = || {
        let page = anna.clone().get("/messages");
        (page.text().matches("href=\"/messages/2").count() >= held.len()).then_some(page)
    };
    let list = wait_for(all).unwrap();
    let links = list.text().split("href=\"").skip(1).filter_map(|link| link.split('"').next());
    let mut paths: Vec<String> =
        links.filter(|link| link.starts_with("/messages/2")).map(str::to_owned).collect();
    paths.extend(held.iter().map(|(_, id)| format!("/messages/{id}")));
    paths.extend(
        ["/", "/messages?verdict=missing", "/correspondents", "/correspondents/example.org"]
            .map(str::to_owned),
    );
    // What is asked is shown as it was typed.
    let asked = "%22%27%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%E2%80%AE";
    for field in ["message_id", "queue_id", "from", "to", "domain", "verdict", "day"] {
        paths.push(format!("/messages?{field}={asked}"));
    }
    paths.extend([
        format!("/correspondents?domain={asked}"),
        format!("/messages/{asked}"),
        format!("/correspondents/{asked}"),
    ]);
    for path in &paths {
        let page = anna.get(path);
        assert!([200, 400, 404].contains(&page.status), "{path}: {}", page.status);
        assert!(page.body.len() < 2_000_000, "{path}: {}", page.body.len());
        for text in NEVER {
            assert!(!page.has(text), "{path} has {text:?}: {}", page.text());
        }
    }
    // What one of them says is there, as text.
    let page = anna.get(&format!("/messages/{}", held[0].1));
    assert!(page.has("s1 ") && page.has("&lt;script&gt;alert(1)"), "{}", page.text());
}
