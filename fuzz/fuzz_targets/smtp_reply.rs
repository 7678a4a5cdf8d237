//! A next hop's replies: the same for any split, and kept to the letter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::smtp::Reply;
use waxseal::smtp::protocol::reply::{ParseReplyError, ReplyParser};

fn read(pieces: &[&[u8]]) -> Result<Option<(Reply, usize)>, ParseReplyError> {
    let mut parser = ReplyParser::default();
    let mut taken = 0;
    for piece in pieces {
        let mut rest = *piece;
        let reply = parser.push(&mut rest)?;
        taken += piece.len() - rest.len();
        if let Some(reply) = reply {
            return Ok(Some((reply, taken)));
        }
    }
    Ok(None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (at, octets) = input;
    let (one, other) = octets.split_at(usize::from(at).min(octets.len()));
    let whole = read(&[octets]);
    assert_eq!(whole, read(&[one, other]));
    if let Ok(Some((reply, taken))) = whole {
        assert_eq!(reply.octets(), &octets[..taken]);
    }
});
