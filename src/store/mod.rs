//! What outlives a restart. What the gateways of a site share is behind the traits of `state`: held mail, what is remembered and
//! what was judged, what the administrator says of correspondents' keys. What belongs to one process is in its folder: what is
//! known of our own keys, and which gateway runs.

mod accounts;
mod audit;
mod error;
mod exchange;
mod filling;
mod held;
mod index;
mod json_file;
mod judged;
mod keys;
mod location;
mod memories;
mod outbox;
mod pins;
#[cfg(feature = "postgres")]
mod postgres;
mod presence;
mod quota;
mod recorder;
mod search;
mod sqlite;
mod state;
mod terms;
mod written;

pub use accounts::{
    Account, AccountError, AccountName, Accounts, MAX_ACCOUNTS, MAX_SESSIONS, MAX_SESSIONS_OF_ONE,
    NewSession, ParseAccountNameError, Preferences, Role, Session, TokenHash,
};
pub use audit::{By, Deed, ParseWhatError, What};
pub use error::{DatabaseError, Fault};
pub use exchange::{Counted, Digest, ExchangeError, back_up, move_state, restore};
pub use filling::Filling;
pub use held::{
    Details, Filter, Held, HeldAttachment, HeldDoubt, HeldFile, HeldId, HeldLink, HeldState, HoldError,
    Incomplete, Kept, Listed, Listing, Missing, OfferedKey, Release, Releases, Removal, Request, StoreError,
    Usage,
};
pub use json_file::{Stamp, StateFileError};
pub use judged::{
    Count, DEFERRED_BY_NEXT_HOP, DayCount, Findings, Found, HeaderField, Judged, JudgedId, MAX_PAGE,
    MAX_RECIPIENTS, MAX_TEXT, Page, ParseJudgedIdError, ParsePositionError, Particulars, Period, Position,
    Question, REFUSED_BY_NEXT_HOP, Shown,
};
pub use keys::KeysFile;
pub use location::{Label, Location, ParseLabelError, Server};
pub use memories::{DomainRecord, KeyRecord, KeyState};
pub use outbox::{Due, Letter, LetterId, LetterKind, ParseLetterKindError, Waiting};
pub use pins::{PinsError, Said, SaidKey, SaidPin};
pub use presence::{Announcement, Presence};
pub use quota::{Quota, Quotas};
pub use recorder::{Entry, Recorder};
pub use state::{
    AuditTrail, Claim, Judgements, Memories, Messages, OpenError, Outbox, Probes, Quarantine, SaidPins, State,
};

use std::io;
use std::path::Path;

/// Makes the state folder if it is missing: for our user alone, whatever the umask is.
pub fn make_state_folder(state: &Path) -> io::Result<()> {
    crate::disk::beneath::Folder::open_or_make(state).map(drop)
}
