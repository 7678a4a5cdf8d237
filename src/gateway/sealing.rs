//! The sealing side: mail of our domains gets its seal, other mail goes its way untouched.

use tracing::error;

use super::{Gateway, Origin, Running, unix_time, unreadable};
use crate::config::UncleanHeader;
use crate::edits::Edits;
use crate::header::HeaderSection;
use crate::lookup::LookupKey;
use crate::seal::body::ArrivingBody;
use crate::seal::message::Message;
use crate::seal::sign::{Moment, SealError, Sealer, seal};
use crate::smtp::{Account, Content, Decision, Reply, SessionInfo};

/// What is said of mail that is not ours to seal.
const NOT_OURS: &str = "not sealed: the author's domain is not ours";

impl<L: LookupKey> Gateway<L> {
    /// Seals a message whose author's domain is ours.
    pub(super) async fn seal(
        &self,
        running: &Running,
        session: &SessionInfo,
        mut message: Content,
        body: ArrivingBody,
    ) -> Decision {
        let origin = Origin::of(&HeaderSection::parse(message.head()));
        let Some(sealer) = origin.sealer(&running.setup) else {
            return Decision::relay(message, Edits::none(), origin.account("pass", NOT_OURS));
        };
        match message.examine(move |octets| seal_now(octets, body, &sealer)).await {
            Ok(Ok(edits)) => Decision::relay(message, edits, origin.account("seal", "sealed")),
            Ok(Err(SealNowError::Seal(error @ SealError::Unclean(_)))) if self.passes_unclean(running) => {
                let account = origin.account("pass", &format!("not sealed: {error}"));
                Decision::relay(message, Edits::none(), account)
            }
            Ok(Err(SealNowError::Seal(SealError::NotDelegated(error)))) => {
                error!(session = %session.id, %error, "cannot seal");
                let reply = Reply::new(451, "4.3.0 cannot seal now, try again later");
                Decision::answer(reply, origin.account("defer", &error.to_string()))
            }
            Ok(Err(SealNowError::Seal(error))) => {
                let text = format!("message cannot be sealed: {error}");
                let reply = Reply::new(550, &format!("5.6.0 {text}"));
                Decision::answer(reply, origin.account("reject", &text))
            }
            Ok(Err(SealNowError::Moment)) => {
                error!(session = %session.id, "no clock or no random numbers");
                let reply = Reply::new(451, "4.3.0 cannot seal now, try again later");
                Decision::answer(reply, origin.account("defer", "no clock or no random numbers"))
            }
            Err(error) => unreadable(session, &error, origin.account("defer", "cannot be read back")),
        }
    }

    /// What is not ours to seal goes through as it is, which its header section alone decides.
    pub(super) fn wave_foreign_through(&self, running: &Running, head: &[u8]) -> Option<(Edits, Account)> {
        let origin = Origin::of(&HeaderSection::parse(head));
        let is_ours = origin.sealer(&running.setup).is_some();
        (!is_ours).then(|| (Edits::none(), origin.account("pass", NOT_OURS)))
    }

    fn passes_unclean(&self, running: &Running) -> bool {
        let listener = running.setup.listener(&self.listener);
        listener.is_some_and(|listener| listener.unclean_header == UncleanHeader::Pass)
    }
}

enum SealNowError {
    Seal(SealError),
    Moment,
}

fn seal_now(message: &[u8], body: ArrivingBody, sealer: &Sealer) -> Result<Edits, SealNowError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| SealNowError::Moment)?;
    let now = unix_time().ok_or(SealNowError::Moment)?;
    let moment = Moment { now, random };
    seal(&Message::arrived(message, body), sealer, moment).map_err(SealNowError::Seal)
}
