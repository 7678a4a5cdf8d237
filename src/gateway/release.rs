//! Releases a held message: hands it to its listener's next hop, with its envelope, once. What went out and what came of it
//! is noted beside the message, so that it is neither delivered twice unasked nor lost.

use std::collections::BTreeSet;
use std::io::Read;

use attachment_seal::message::edits::Edits;
use attachment_seal::verdict::authres;
use jiff::Timestamp;
use thiserror::Error;

use crate::config::Config;
use crate::config::Mistake;
use crate::gateway::setup::next_hop_settings;
use crate::smtp::next_hop::hand_over::{Fate, HandOverError, Letter, Recipient, hand_over};
use crate::store::{By, Held, HeldId, Quarantine, Release, Releases, Removal, Request, StoreError};

/// How a message is to be released.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// By another listener's next hop than its own.
    pub listener: Option<&'a str>,
    /// Also to those who may have it already, because an earlier attempt was cut short.
    pub again: bool,
    /// Only to these recipients; to all if none is named.
    pub to: &'a [String],
}

/// What came of an attempt to release a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It went to the next hop.
    Released(Released),
    /// Nothing was sent: it takes another person than this one.
    Requested {
        /// Who asked for the release first.
        by: Request,
        /// Whether that was now.
        is_new: bool,
    },
}

/// What became of a message. It stays held as long as somebody has not got it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Those to whom it was delivered, now or before.
    pub delivered: Vec<String>,
    /// Those for whom the next hop refused it, and what it said.
    pub refused: Vec<(String, String)>,
    /// Those who may have it or not.
    pub in_doubt: Vec<String>,
    /// Whether it is held still, for those who have not got it.
    pub is_held_still: bool,
}

/// Why a message was not released.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The quarantine says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody knows the next hop.
    #[error(
        "it came in by listener `{0}`, which is no longer in the configuration: name one with --listener"
    )]
    NoListener(String),
    /// Somebody whom the message is not for.
    #[error("{path} is no recipient of {id}; its recipients are {}", .recipients.join(", "))]
    NoRecipient {
        /// The message.
        id: HeldId,
        /// Who was named.
        path: String,
        /// Whom it is for.
        recipients: Vec<String>,
    },
    /// The next hop cannot be spoken to as the configuration says.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NextHop(Vec<Mistake>),
    /// The next hop says no.
    #[error("nothing was sent, and the message is still held")]
    HandOver(#[from] HandOverError),
    /// The next hop answered, and that could not be noted, so the message is in doubt.
    #[error("the next hop answered, but the disk has no note of it ({error}); delivered to: {}", .delivered.join(", "))]
    NotNoted {
        /// To whom it was delivered.
        delivered: Vec<String>,
        /// Why it cannot be noted.
        error: StoreError,
    },
}

/// Releases a message. Of two who do so at once, one is told that the other does.
pub async fn release(
    config: &Config,
    quarantine: &dyn Quarantine,
    id: &HeldId,
    by: &By,
    options: Options<'_>,
) -> Result<Done, ReleaseError> {
    let mut claim = quarantine.claim(id, by)?;
    let held = quarantine.show(id)?.held;
    let name = options.listener.unwrap_or(&held.listener);
    let listener = config.listeners.iter().find(|listener| listener.name == name);
    let listener = listener.ok_or_else(|| ReleaseError::NoListener(name.to_owned()))?;
    let meant = meant(&held, id, options.to)?;
    if config.held_mail.release_needs > 1 {
        match &claim.releases().request {
            // Names of people differ by more than case, however the console and the system write them.
            Some(first) if !first.who.eq_ignore_ascii_case(&by.who) => {}
            Some(first) => return Ok(Done::Requested { by: first.clone(), is_new: false }),
            None => {
                let first = Request { at: Timestamp::now(), who: by.who.clone(), reason: by.reason.clone() };
                let Request { at, who, reason } = first.clone();
                claim.note(Release::Requested { at, who, reason })?;
                return Ok(Done::Requested { by: first, is_new: true });
            }
        }
    }
    let mut message = Vec::new();
    let read = quarantine.open_message(id)?.read_to_end(&mut message);
    read.map_err(|source| StoreError::Io { path: id.to_string().into(), source })?;
    let edits = edits(&message, config, &held);

    let wanted = wanted(&meant, claim.releases(), options.again);
    let mut refused = Vec::new();
    if !wanted.is_empty() {
        let none = Vec::new();
        let recipients: Vec<Recipient<'_>> = wanted
            .iter()
            .map(|&at| Recipient {
                path: &held.recipients[at],
                parameters: held.recipient_parameters.get(at).unwrap_or(&none),
            })
            .collect();
        let letter = Letter {
            client: held.client,
            reverse_path: &held.reverse_path,
            mail_parameters: &held.mail_parameters,
            recipients: &recipients,
            message: &message,
            edits: &edits,
        };
        let settings = next_hop_settings(config, listener).map_err(ReleaseError::NextHop)?;
        let places = |places: &[usize]| places.iter().map(|&place| wanted[place]).collect::<Vec<_>>();
        let fates = hand_over(&settings, &letter, |accepted| {
            claim.sending(&places(accepted)).map_err(|error| error.to_string())
        })
        .await?;
        let (mut delivered, mut said) = (Vec::new(), Vec::new());
        for (&at, fate) in wanted.iter().zip(fates) {
            match fate {
                Fate::Delivered(reply) => {
                    delivered.push(at);
                    said.push(reply.to_string());
                }
                Fate::Refused(reply) => {
                    said.push(reply.to_string());
                    refused.push((at, reply.to_string()));
                }
                Fate::InDoubt => {}
            }
        }
        said.dedup();
        let refused_places: Vec<usize> = refused.iter().map(|(at, _)| *at).collect();
        if let Err(error) = claim.answered(&delivered, &refused_places, Some(&said.join("; "))) {
            let delivered = delivered.iter().map(|&at| held.recipients[at].clone()).collect();
            return Err(ReleaseError::NotNoted { delivered, error });
        }
    }
    let path = |at: usize| held.recipients[at].clone();
    let is_held_still = claim.releases().delivered.len() < held.recipients.len();
    let released = Released {
        delivered: claim.releases().delivered.iter().map(|&at| path(at)).collect(),
        refused: refused.into_iter().map(|(at, reply)| (path(at), reply)).collect(),
        in_doubt: claim
            .releases()
            .in_doubt
            .keys()
            .filter(|at| meant.contains(at))
            .map(|&at| path(at))
            .collect(),
        is_held_still,
    };
    if !is_held_still {
        claim.delete(Removal::Released)?;
    }
    Ok(Done::Released(released))
}

/// The recipients whom somebody names, by their places; all of them if nobody is named.
fn meant(held: &Held, id: &HeldId, named: &[String]) -> Result<BTreeSet<usize>, ReleaseError> {
    if named.is_empty() {
        return Ok((0..held.recipients.len()).collect());
    }
    let mut meant = BTreeSet::new();
    for path in named {
        let wanted = path.trim_start_matches('<').trim_end_matches('>');
        let places = held.recipients.iter().enumerate().filter(|(_, path)| path.eq_ignore_ascii_case(wanted));
        let places: Vec<usize> = places.map(|(at, _)| at).collect();
        meant.extend(&places);
        if places.is_empty() {
            let (path, recipients) = (wanted.to_owned(), held.recipients.clone());
            return Err(ReleaseError::NoRecipient { id: id.clone(), path, recipients });
        }
    }
    Ok(meant)
}

/// Those of them who have not got it; those in doubt only where that is wished.
fn wanted(meant: &BTreeSet<usize>, releases: &Releases, again: bool) -> Vec<usize> {
    let is_wanted =
        |at: &usize| !releases.delivered.contains(at) && (again || !releases.in_doubt.contains_key(at));
    meant.iter().copied().filter(is_wanted).collect()
}

/// As with mail that is delivered at once: results that pretend to be ours are cut out, and ours is put on top.
fn edits(message: &[u8], config: &Config, held: &Held) -> Edits {
    let mut edits = Edits::none();
    for cut in authres::forged(message, &config.hostname) {
        edits.remove(cut);
    }
    if let Some(result) = &held.result {
        edits.insert_top(result.as_bytes());
    }
    edits
}
