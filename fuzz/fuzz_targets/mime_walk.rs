//! The strict walk, the digests of what it finds, and the second view.
#![no_main]

use attachment_seal::message::header::HeaderSection;
use attachment_seal::manifest::Found;
use attachment_seal::mime::{MAX_LEAVES, second_view, walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let structure = walk(message, &HeaderSection::parse(message));
    assert!(structure.leaves.len() <= MAX_LEAVES);
    let mut at = 0;
    for leaf in &structure.leaves {
        assert!(at <= leaf.body.start && leaf.body.start <= leaf.body.end && leaf.body.end <= message.len());
        at = leaf.body.end;
    }
    let found = Found::of(message, &structure.leaves);
    if structure.doubts.is_empty() && found.iter().all(|found| found.doubts.is_empty()) {
        _ = second_view::agrees(message, &structure.leaves);
    }
});
