//! The strict walk, the digests and marks of what it finds, and how plain it is.
#![no_main]

use attachment_seal::manifest::digests;
use attachment_seal::manifest::judge::plainness;
use attachment_seal::message::header::HeaderSection;
use attachment_seal::mime::marks::marks;
use attachment_seal::mime::{MAX_LEAVES, walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let structure = walk(message, &HeaderSection::parse(message));
    assert!(structure.leaves.len() <= MAX_LEAVES);
    let mut at = 0;
    for leaf in &structure.leaves {
        assert!(at <= leaf.body.start && leaf.body.start <= leaf.body.end && leaf.body.end <= message.len());
        at = leaf.body.end;
    }
    // The marks and the judging of what was found must not fail either, whatever the message is.
    let header = HeaderSection::parse(message);
    if structure.limit.is_none() {
        let digests = digests(message, &structure.leaves);
        assert_eq!(marks(message, &header, &structure, &digests).len(), structure.entities.len());
    }
    _ = plainness(message, &header);
});
