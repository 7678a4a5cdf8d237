//! The header section, its hashes and the author.
#![no_main]

use attachment_seal::message::author::Author;
use attachment_seal::message::header::HeaderSection;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let header = HeaderSection::parse(message);
    assert!(header.body_start <= message.len());
    let mut at = 0;
    for field in &header.fields {
        assert!(at <= field.start && field.start < field.end && field.end <= message.len());
        at = field.end;
    }
    header.identity_hash();
    header.addressing_hash();
    header.structure_hash();
    _ = Author::of(&header);
});
