//! Messages whose writers want to do something to the people who look at them.

use crate::program::letter;
use crate::program::site::Site;

/// What a relay does to a message.
type Change = Box<dyn Fn(&str) -> String>;

/// What runs a script where a page takes it for more than text.
const SCRIPT: &str = "<script>alert('owned')</script><img src=x onerror=alert(1)><svg/onload=alert(2)>";

/// The same as far as an address may have it (RFC 5321 §4.1.2, Quoted-string).
pub(crate) const IN_AN_ADDRESS: &str = "<img src=x onerror=alert(3)>";

/// The hostile messages, each sealed first and then changed, so that each is held.
pub(crate) fn messages(site: &Site) -> Vec<Vec<u8>> {
    let field = |name: &'static str, value: String| {
        move |message: &str| {
            let message = letter::swapped(message);
            let rest: Vec<&str> =
                message.split("\r\n").filter(|line| !line.starts_with(&format!("{name}: "))).collect();
            format!("{name}: {value}\r\n{}", rest.join("\r\n"))
        }
    };
    let turned = "\u{202e}fdp.exe\u{2066}\u{200b}";
    let encoded = |text: &str| format!("=?utf-8?b?{}?=", encodify::base64::STANDARD.encode(text.as_bytes()));
    let named = |name: String| {
        move |message: &str| letter::swapped(message).replace("\"Agenda.pdf\"", &format!("\"{name}\""))
    };
    let changes: Vec<Change> = vec![
        Box::new(field("Subject", SCRIPT.to_owned())),
        Box::new(field("Subject", encoded(&format!("{SCRIPT}{turned}\0\u{1b}[2J\r\nX: y")))),
        Box::new(field("From", format!("{} <office@example.org>", encoded(SCRIPT)))),
        Box::new(field("From", format!("\"{}\" <office@example.org>", SCRIPT.replace('"', "'")))),
        Box::new(field("To", format!("{} <desk@partner.example>", encoded(turned)))),
        Box::new(field("Message-ID", format!("<{SCRIPT}@example.org>"))),
        Box::new(field("Date", SCRIPT.to_owned())),
        Box::new(field("Received", format!("from {SCRIPT} by {turned}; {SCRIPT}"))),
        Box::new(field(
            "X-Anything",
            format!("\"'><base href=//evil.example/><style>*{{display:none}}</style>{SCRIPT}"),
        )),
        Box::new(|message: &str| {
            letter::swapped(message).replace("charset=utf-8", "charset=\"'><script>alert(4)</script>\"")
        }),
        Box::new(named(format!("{}.pdf", SCRIPT.replace('"', "'")))),
        Box::new(named(encoded(&format!("agenda{turned}")))),
        // A name of 1 MiB, in lines that mail allows.
        Box::new(|message: &str| {
            let name: String = (0..1 << 10)
                .map(|at| format!(";\r\n filename*{at}=\"{}\"", "<b>x".repeat(256 / 4 * 4)))
                .collect();
            letter::swapped(message).replacen("; filename=\"Agenda.pdf\"", &name, 1)
        }),
        // 10,000 attachments.
        Box::new(|message: &str| {
            let parts: String = (0..10_000)
                .map(|at| {
                    format!(
                        "--=_letter\r\nContent-Type: text/html; name=\"{at}<script>alert(5)</script>.html\"\r\n\
                         Content-Disposition: attachment\r\n\r\n{SCRIPT}\r\n"
                    )
                })
                .collect();
            letter::swapped(message).replace("--=_letter--", &format!("{parts}--=_letter--"))
        }),
    ];
    let letters = changes
        .iter()
        .enumerate()
        .map(|(at, change)| site.changed(&letter::with_attachments(&format!("letter {at}")), change));
    letters.collect()
}
