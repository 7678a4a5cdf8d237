//! What we keep on disk, under the state folder: held mail, what the administrator says of correspondents' keys, what is known of
//! our own, which gateway runs, and the database of what is remembered and what was judged.

mod claim;
mod database;
mod json_file;
mod judged;
mod keys;
mod ledger;
mod memories;
mod memory;
mod pins;
mod presence;
mod probes;
mod quarantine;
mod quota;
mod recorder;

pub use claim::{Claim, Releases};
pub use database::DatabaseError;
pub use json_file::{Stamp, StateFileError};
pub use judged::{Count, DEFERRED_BY_NEXT_HOP, Judged, Judgements, Period, REFUSED_BY_NEXT_HOP};
pub use keys::KeysFile;
pub use ledger::Filling;
pub use memories::{DomainRecord, KeyRecord, KeyState, Memories};
pub use pins::{PinFile, PinFileError, Said, SaidKey, SaidPin};
pub use presence::{Announcement, Presence};
pub use probes::{keep_probe, read_probe};
pub use quarantine::{Held, HeldId, HoldError, Kept, Listing, Quarantine, StoreError, Usage};
pub use quota::{Quota, Quotas};
pub use recorder::{Entry, Recorder};

use std::io;
use std::path::Path;

/// Makes the state folder if it is missing: for our user alone, whatever the umask is.
pub fn make_state_folder(state: &Path) -> io::Result<()> {
    crate::disk::beneath::Folder::open_or_make(state).map(drop)
}
