//! What we keep on disk, under the state folder: held mail, what the administrator says of correspondents' keys, and the
//! database of what is remembered and what was judged.

mod database;
mod judged;
mod memory;
mod pins;
mod quarantine;
mod recorder;

pub use database::DatabaseError;
pub use judged::{Count, Judged, Judgements, Period};
pub use memory::{DomainRecord, KeyRecord, KeyState, Memories};
pub use pins::{PinFile, PinFileError, Said, SaidKey, SaidPin, Stamp};
pub use quarantine::{Held, HeldId, Listing, Quarantine, StoreError};
pub use recorder::{Entry, Recorder};
