//! The data of a message: the same for any split, and what is stuffed comes back unstuffed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::smtp::BareLineEnds;
use waxseal::smtp::protocol::data::{DataError, Receiver, Stuffer, stuffed, stuffed_to_end};

const MAX_SIZE: u64 = 1 << 20;

fn receive(pieces: &[&[u8]], mode: BareLineEnds) -> Option<(Result<Vec<u8>, DataError>, usize)> {
    let mut receiver = Receiver::for_data(MAX_SIZE, mode);
    let (mut message, mut taken) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        let complete = receiver.push(&mut rest, &mut message);
        taken += piece.len() - rest.len();
        if complete {
            return Some((receiver.error().map_or(Ok(message), Err), taken));
        }
    }
    None
}

fn receive_chunks(pieces: &[&[u8]], mode: BareLineEnds) -> Result<Vec<u8>, DataError> {
    let mut receiver = Receiver::for_chunks(MAX_SIZE, mode);
    let mut message = Vec::new();
    for piece in pieces {
        assert!(!receiver.push(&mut &**piece, &mut message));
    }
    receiver.end_chunks(&mut message);
    receiver.error().map_or(Ok(message), Err)
}

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (normalize, at, octets) = input;
    let mode = if normalize { BareLineEnds::Normalize } else { BareLineEnds::Refuse };
    let (one, other) = octets.split_at(usize::from(at).min(octets.len()));
    assert_eq!(receive_chunks(&[octets], mode), receive_chunks(&[one, other], mode));
    assert_eq!(receive_chunks(&[one, other], BareLineEnds::Keep).as_deref(), Ok(octets));
    let whole = receive(&[octets], mode);
    assert_eq!(whole, receive(&[one, other], mode));
    let Some((Ok(message), _)) = whole else { return };
    let mut stuffer = Stuffer::default();
    let (start, end) = message.split_at(usize::from(at).min(message.len()));
    let mut wire: Vec<u8> = stuffed(&mut stuffer, [start].into_iter()).flatten().copied().collect();
    wire.extend(stuffed_to_end(&mut stuffer, [end].into_iter()).flatten());
    let (again, taken) = receive(&[&wire], BareLineEnds::Refuse).expect("a final dot");
    assert_eq!(taken, wire.len());
    assert_eq!(again, Ok(message));
});
