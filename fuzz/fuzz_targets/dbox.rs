//! A dbox file, and what its messages unpack to: the same for any buffer, and no octet belongs to two messages.
#![no_main]

use std::io::BufReader;

use libfuzzer_sys::fuzz_target;
use waxseal::scan::compression::Compression;
use waxseal::scan::dbox::{Dbox, begins};
use waxseal::scan::{Part, Unread};

const MAX_MESSAGE: u64 = 4 << 10;

fn read(file: &[u8], buffer: usize) -> Result<Vec<Result<Part, Unread>>, Unread> {
    Ok(Dbox::open(BufReader::with_capacity(buffer, file), MAX_MESSAGE)?.collect())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (buffer, file) = input;
    let whole = read(file, 8 << 10);
    let in_pieces = read(file, usize::from(buffer).max(1));
    assert_eq!(format!("{whole:?}"), format!("{in_pieces:?}"));
    let Ok(parts) = whole else { return };
    assert!(begins(file));
    let mut end = None;
    for (number, part) in (1..).zip(&parts) {
        let Ok(part) = part else {
            assert_eq!(number, parts.len(), "nothing is read after a fault");
            return;
        };
        assert!(end.is_none_or(|end| end == part.offset));
        end = Some(part.offset + part.size);
        let Ok(message) = &part.message else { continue };
        let [start, end] = [part.offset, part.offset + part.size].map(|at| usize::try_from(at).unwrap());
        assert!(message.len() as u64 <= MAX_MESSAGE);
        assert!(file[start..end].windows(message.len().max(1)).any(|octets| octets.starts_with(message)));
        if let Some(Ok(plain)) = Compression::of(message).map(|packed| packed.unpack(message, MAX_MESSAGE)) {
            assert!(plain.len() as u64 <= MAX_MESSAGE);
        }
    }
    assert!(end.is_none_or(|end| end == file.len() as u64), "what follows the last message is no message");
});
