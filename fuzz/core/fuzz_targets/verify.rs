//! The whole check: a message is sealed, then everything below its identity is replaced by the fuzzer's octets. Whatever
//! passes must show another parser the very attachment that was sealed, and no other.
#![no_main]

use std::sync::LazyLock;

use attachment_seal::seal::key::{KeyRecord, SealingKey};
use attachment_seal::seal::knowledge::{Knowledge, Pin, PinnedKey, Pins};
use attachment_seal::seal::message::Message;
use attachment_seal::seal::sign::{DEFAULT_LIFETIME, Moment, Sealer, seal};
use attachment_seal::verdict::verify::verify;
use attachment_seal::verdict::{State, Verdict};
use libfuzzer_sys::fuzz_target;
use mail_parser::{MessageParser, MimeHeaders};

const NOW: u64 = 1_795_392_000;
const IDENTITY: &str = "From: a@example.org\r\nDate: Mon, 23 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n";
const CONTENT: &str = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nText.\r\n--b\r\n\
    Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\
    Content-Disposition: attachment; filename=a.pdf\r\n\r\nJVBERg==\r\n--b--\r\n";

static SEALED: LazyLock<(Vec<u8>, Pins)> = LazyLock::new(|| {
    let key = SealingKey::from_seed(&[1; 32]);
    let record = KeyRecord { key: Some(key.public()), trial: false };
    let domain = "example.org".parse().expect("a domain");
    let sealer = Sealer {
        domain,
        selector: "s".parse().expect("a selector"),
        key,
        lifetime: DEFAULT_LIFETIME,
        delegations: Default::default(),
    };
    let message = format!("{IDENTITY}{CONTENT}");
    let edits = seal(&Message::new(message.as_bytes()), &sealer, Moment { now: NOW, random: [0; 16] }).expect("a seal");
    let sealed = edits.apply(message.as_bytes());
    let mut pins = Pins::default();
    pins.add(sealer.domain, Pin { keys: vec![PinnedKey { selector: None, record }], ..Pin::default() });
    (sealed[..sealed.len() - CONTENT.len()].to_vec(), pins)
});

fuzz_target!(|content: &[u8]| {
    let (top, pins) = &*SEALED;
    let message = [top, content].concat();
    let result = verify(&Message::new(&message), &Knowledge::pinned(pins), NOW);
    if result.verdict() != Verdict::Pass || result.body() == Some(State::Intact) {
        return;
    }
    let parsed = MessageParser::new().parse(&message).expect("a message");
    let attachments: Vec<_> =
        parsed.parts.iter().filter(|part| part.attachment_name().is_some() || !part.is_text() && !part.is_multipart()).collect();
    assert_eq!(attachments.len(), 1);
    assert_eq!(attachments[0].contents(), b"%PDF");
    assert_eq!(attachments[0].attachment_name(), Some("a.pdf"));
});
