//! Key and policy records: what a domain publishes is read without a panic, and a key record that parses is written back to
//! the same record.
#![no_main]

use attachment_seal::seal::key::KeyRecord;
use attachment_seal::seal::policy_record::PolicyRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(record) = KeyRecord::parse(text) {
        assert_eq!(KeyRecord::parse(&record.to_string()), Ok(record));
    }
    if let Some(record) = PolicyRecord::parse(text) {
        assert_eq!(record.states_sealing(), record.request.as_str() != "none");
    }
});
