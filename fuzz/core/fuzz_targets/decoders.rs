//! Transfer encodings and the canonical form of texts: the same for any split of the text.
#![no_main]

use attachment_seal::mime::Encoding;
use attachment_seal::mime::decode::Decoder;
use attachment_seal::mime::text::TextHasher;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (which, at, body) = input;
    let encoding = match which % 5 {
        0 => Encoding::Base64,
        1 => Encoding::QuotedPrintable,
        2 => Encoding::SevenBit,
        3 => Encoding::EightBit,
        _ => Encoding::Binary,
    };
    let mut decoded = Vec::new();
    Decoder::default().decode(body, encoding, &mut |window| decoded.extend_from_slice(window));
    assert!(decoded.len() <= body.len());

    let (one, other) = decoded.split_at(usize::from(at).min(decoded.len()));
    let (mut whole, mut split) = (TextHasher::default(), TextHasher::default());
    whole.update(&decoded);
    split.update(one);
    split.update(other);
    assert_eq!(whole.finish(), split.finish());
});
