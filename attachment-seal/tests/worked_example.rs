//! The worked example of docs/SPEC.md: its message, sealed with its key at its time, has the field at the head of the page.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::fs;

use attachment_seal::seal::format::Seal;
use attachment_seal::{Message, Moment, Sealer, SealingKey, seal};

/// The indented block that begins with `start`, its lines ending in CR LF.
fn block(page: &str, start: &str) -> String {
    let at = page.find(&format!("    {start}")).unwrap();
    let is_inside = |line: &&str| line.is_empty() || line.starts_with("    ");
    let lines: Vec<&str> = page[at..].lines().take_while(is_inside).collect();
    let text = lines.iter().map(|line| line.strip_prefix("    ").unwrap_or_default());
    text.collect::<Vec<_>>().join("\r\n").trim_end().to_owned() + "\r\n"
}

fn compact(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn is_what_sealing_makes() {
    // A relative path: cargo runs a test in its package's folder.
    let page = fs::read_to_string("../docs/SPEC.md").unwrap();
    let message = block(&page, "From: Dolma");
    let field = block(&page, "Attachment-Seal: v=1;");
    let own = Seal::parse(&compact(&field).as_bytes()["Attachment-Seal:".len()..]).unwrap().statement;
    let sealer = Sealer {
        domain: "example.org".parse().unwrap(),
        selector: "gate1".parse().unwrap(),
        key: SealingKey::from_seed(&[1; 32]),
        lifetime: own.expires_at - own.sealed_at,
        delegations: Default::default(),
    };
    let moment = Moment { now: own.sealed_at, random: [0; 16] };
    let sealed = seal(&Message::new(message.as_bytes()), &sealer, moment).unwrap();
    let sealed = String::from_utf8(sealed.apply(message.as_bytes())).unwrap();
    let made = sealed.strip_suffix(&message).unwrap();
    assert_eq!(compact(made), compact(&field), "\n{made}");
    let signed = compact(&block(&page, "attachment-seal/1\r\n".trim_end()));
    assert_eq!(
        signed["attachment-seal/1".len()..],
        compact(made)["Attachment-Seal:".len()..compact(made).rfind("b=").unwrap() + 2]
    );
}
