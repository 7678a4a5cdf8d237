//! The sealing side: mail of our domains gets its seal, other mail goes its way untouched.

use std::sync::Arc;

use attachment_seal::message::author::Author;
use attachment_seal::message::body::ArrivingBody;
use attachment_seal::message::edits::Edits;
use attachment_seal::message::header::HeaderSection;
use attachment_seal::seal::message::Message;
use attachment_seal::seal::sign::{Moment, SealError, Sealer, Unsigned, prepare};
use tokio::task;
use tracing::{error, warn};

use super::account::{Account, Deed, Origin};
use super::{Running, unreadable};
use crate::clock::unix_time;
use crate::config::UncleanHeader;
use crate::gateway::setup::Setup;
use crate::policy::Action;
use crate::smtp::{Content, Decision, Reply, SessionInfo};

/// What is said of mail that is not ours to seal.
const NOT_OURS: &str = "not sealed: the author's domain is not ours";

/// What is said of mail that names a domain of ours, and that nobody can check whose it is.
const UNCLEAR: &str = "message cannot be sealed: From is not one field with one address in one domain";

/// Whose a message is.
enum Whose {
    /// Of a domain that we seal for.
    Ours(Arc<Sealer>),
    /// Of one for which no key may seal now.
    Keyless,
    /// To some readers it is of a domain that we seal for, to others it is not.
    Unclear,
    NotOurs,
}

impl Whose {
    fn is(origin: &Origin, setup: &Setup) -> Self {
        match &origin.author {
            Author::One(domain) => match setup.own_domain(domain) {
                Some(own) => own.sealer().map_or(Self::Keyless, Self::Ours),
                None => Self::NotOurs,
            },
            Author::Unclear(_) => {
                let is_named =
                    origin.author.domains().iter().any(|domain| setup.own_domain(domain).is_some());
                if is_named { Self::Unclear } else { Self::NotOurs }
            }
        }
    }
}

/// Seals a message whose author's domain is ours.
pub(super) async fn seal(
    running: Arc<Running>,
    session: &SessionInfo,
    mut message: Content,
    body: ArrivingBody,
) -> Decision<Account> {
    let origin = Origin::to_seal(&HeaderSection::parse(message.head()));
    let sealer = match Whose::is(&origin, &running.setup) {
        Whose::Ours(sealer) => sealer,
        Whose::Keyless => {
            let reason = "no key of the domain may seal; see waxseal keys status";
            return cannot_now(running, session, origin, reason);
        }
        Whose::NotOurs => {
            let account = Account::unjudged(running, Deed::Pass, origin, NOT_OURS);
            return Decision::relay(message, Edits::none(), account);
        }
        // Correspondents would miss the seal, and hold it.
        Whose::Unclear => return refused(running, origin, UNCLEAR),
    };
    let for_thread = Arc::clone(&sealer);
    let prepared = message.examine(move |octets| prepare_now(octets, body, &for_thread)).await;
    let sealed = match prepared {
        Ok(Ok(unsigned)) => {
            if let Some(beyond) = unsigned.beyond_readers() {
                warn!(session = %session.id, reason = %beyond, "recipients may not see all of this message");
            }
            sign(unsigned, sealer).await
        }
        Ok(Err(error)) => Err(error),
        Err(error) => return unreadable(running, session, &error, origin),
    };
    let reason = match sealed {
        Ok(edits) => {
            let account = Account::unjudged(running, Deed::Seal, origin, "sealed");
            return Decision::relay(message, edits, account);
        }
        Err(SealNowError::Seal(error @ SealError::Unclean(_)))
            if passes_unclean(&running, &session.listener) =>
        {
            let account = Account::unjudged(running, Deed::Pass, origin, &format!("not sealed: {error}"));
            return Decision::relay(message, Edits::none(), account);
        }
        Err(SealNowError::Seal(
            error @ (SealError::Unclean(_)
            | SealError::TooManyParts
            | SealError::TooDeep
            | SealError::HeaderTooLong),
        )) => return refused(running, origin, &format!("message cannot be sealed: {error}")),
        // It is we who cannot.
        Err(SealNowError::Seal(error @ (SealError::NotDelegated(_) | SealError::Sign(_)))) => {
            error.to_string()
        }
        Err(SealNowError::Moment) => "no clock or no random numbers".to_owned(),
        Err(SealNowError::Lost) => "the thread that was to sign is gone".to_owned(),
    };
    cannot_now(running, session, origin, &reason)
}

/// Mail of ours that can be sealed later comes again.
fn cannot_now(
    running: Arc<Running>,
    session: &SessionInfo,
    origin: Origin,
    reason: &str,
) -> Decision<Account> {
    error!(session = %session.id, reason, "cannot seal");
    let account = Account::unjudged(running, Deed::Own(Action::Defer), origin, reason);
    Decision::answer(Reply::new(451, "4.3.0 cannot seal now, try again later"), account)
}

/// What is not ours to seal goes through as it is, which its header section alone decides.
pub(super) fn wave_foreign_through(running: Arc<Running>, head: &[u8]) -> Option<(Edits, Account)> {
    let origin = Origin::to_seal(&HeaderSection::parse(head));
    let is_foreign = matches!(Whose::is(&origin, &running.setup), Whose::NotOurs);
    is_foreign.then(|| (Edits::none(), Account::unjudged(running, Deed::Pass, origin, NOT_OURS)))
}

/// Mail of ours that cannot be sealed goes back to its author.
fn refused(running: Arc<Running>, origin: Origin, why: &str) -> Decision<Account> {
    let account = Account::unjudged(running, Deed::Own(Action::Reject), origin, why);
    Decision::answer(Reply::new(550, &format!("5.6.0 {why}")), account)
}

fn passes_unclean(running: &Running, listener: &str) -> bool {
    let listener = running.setup.listener(listener);
    listener.is_some_and(|listener| listener.unclean_header == UncleanHeader::Pass)
}

enum SealNowError {
    Seal(SealError),
    Moment,
    Lost,
}

impl From<SealError> for SealNowError {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

fn prepare_now(message: &[u8], body: ArrivingBody, sealer: &Sealer) -> Result<Unsigned, SealNowError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| SealNowError::Moment)?;
    let now = unix_time().ok_or(SealNowError::Moment)?;
    let moment = Moment { now, random };
    Ok(prepare(&Message::arrived(message, body), sealer, moment)?)
}

/// Signs, where waiting for a token holds up nobody else.
async fn sign(unsigned: Unsigned, sealer: Arc<Sealer>) -> Result<Edits, SealNowError> {
    let signed = if sealer.key.blocks() {
        task::spawn_blocking(move || unsigned.sign(&sealer.key)).await.map_err(|_| SealNowError::Lost)?
    } else {
        unsigned.sign(&sealer.key)
    };
    signed.map_err(|error| SealError::Sign(error).into())
}
