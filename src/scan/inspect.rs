//! One message of a mail store, from its octets to what is to be told of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use attachment_seal::message::stored::{to_wire, unquoted};
use attachment_seal::seal::message::Message;
use attachment_seal::verdict::{State, Verdict, Verification};

use super::letter::{Letter, is_mail};
use super::source::Stored;
use super::wanted::Wanted;
use super::{Place, Unread};

/// What became of a message.
#[derive(Debug)]
pub enum Outcome {
    /// It was judged.
    Judged(Box<Judged>),
    /// It is none of those that were asked for.
    LeftOut,
    /// It could not be read or judged.
    Unread(Unread),
}

/// A message that was judged.
#[derive(Debug)]
pub struct Judged {
    /// What it says of itself.
    pub letter: Letter,
    /// The result.
    pub verification: Verification,
    /// Its octets, unpacked.
    pub size: u64,
}

/// What there is to tell about one place.
#[derive(Debug)]
pub struct Told {
    /// Where.
    pub place: Place,
    /// Octets of the store that this took.
    pub read: u64,
    /// What.
    pub outcome: Outcome,
}

/// Unpacks a message and has it judged, if it is mail and asked for. Of a panic no more than this message is lost.
pub fn inspect(
    stored: Stored,
    max: u64,
    wanted: &Wanted,
    judge: impl Fn(&Message<'_>) -> Result<Verification, Unread>,
) -> Outcome {
    let look = || look(stored, max, wanted, judge);
    match catch_unwind(AssertUnwindSafe(look)) {
        Ok(Ok(Some(judged))) => Outcome::Judged(Box::new(judged)),
        Ok(Ok(None)) => Outcome::LeftOut,
        Ok(Err(fault)) => Outcome::Unread(fault),
        Err(_) => Outcome::Unread(Unread::Fault),
    }
}

fn look(
    stored: Stored,
    max: u64,
    wanted: &Wanted,
    judge: impl Fn(&Message<'_>) -> Result<Verification, Unread>,
) -> Result<Option<Judged>, Unread> {
    let in_mbox = stored.in_mbox;
    let octets = stored.unpack(max)?;
    let size = octets.len() as u64;
    let (wire, _) = to_wire(octets);
    let message = Message::new(&wire);
    if !is_mail(message.raw(), message.header()) {
        return Err(Unread::NoMail);
    }
    if !wanted.includes(&message) {
        return Ok(None);
    }
    let verification = if in_mbox { judge_quoted(&message, judge)? } else { judge(&message)? };
    Ok(Some(Judged { letter: Letter::of(message.header()), verification, size }))
}

/// The result for a message of an mbox file, where lines that begin with `From ` may have been quoted.
fn judge_quoted(
    message: &Message<'_>,
    judge: impl Fn(&Message<'_>) -> Result<Verification, Unread>,
) -> Result<Verification, Unread> {
    let as_stored = judge(message)?;
    let may_be_quoting = matches!(as_stored.verdict(), Verdict::Fail(_) | Verdict::Ambiguous)
        || as_stored.body().is_some_and(|body| body == State::Changed);
    if may_be_quoting && let Some(unquoted) = unquoted(message.raw()) {
        let without_quotes = judge(&Message::new(&unquoted))?;
        if matches!(without_quotes.verdict(), Verdict::Pass | Verdict::Expired) {
            return Ok(without_quotes);
        }
    }
    Ok(as_stored)
}
