//! The data of a message: the same for any split, and what is stuffed comes back unstuffed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::smtp::BareLineEnds;
use waxseal::smtp::data::{DataError, Receiver, stuffed};

fn receive(pieces: &[&[u8]], mode: BareLineEnds) -> Option<(Result<Vec<u8>, DataError>, usize)> {
    let mut receiver = Receiver::new(1 << 20, mode);
    let mut taken = 0;
    for piece in pieces {
        let mut rest = *piece;
        let complete = receiver.push(&mut rest);
        taken += piece.len() - rest.len();
        if complete {
            return Some((receiver.finish(1 << 20), taken));
        }
    }
    None
}

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (normalize, at, octets) = input;
    let mode = if normalize { BareLineEnds::Normalize } else { BareLineEnds::Refuse };
    let (one, other) = octets.split_at(usize::from(at).min(octets.len()));
    let whole = receive(&[octets], mode);
    assert_eq!(whole, receive(&[one, other], mode));
    let Some((Ok(message), _)) = whole else { return };
    let wire: Vec<u8> = stuffed([message.as_slice()].into_iter()).flatten().copied().collect();
    let (again, taken) = receive(&[&wire], BareLineEnds::Refuse).expect("a final dot");
    assert_eq!(taken, wire.len());
    assert_eq!(again, Ok(message));
});
