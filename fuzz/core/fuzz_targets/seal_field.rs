//! The seal's text form: what parses is written back to the same statement.
#![no_main]

use attachment_seal::seal::format::Seal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    _ = Seal::domain_of(value);
    let Ok(seal) = Seal::parse(value) else { return };
    let field = seal.statement.to_field(&seal.signature);
    assert!(field.split(|&octet| octet == b'\n').all(|line| line.len() <= 998));
    let again = Seal::parse(&field["Attachment-Seal:".len()..]).expect("what we write parses");
    assert_eq!((again.statement, again.signature), (seal.statement, seal.signature));
});
