//! How many files and sockets this process may have open (RLIMIT_NOFILE): enough for all sessions, or somebody is told.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// The client's socket, the next hop's, and the file of a message that is held.
const A_SESSION: u64 = 3;

/// Listening sockets, the log, alerts, the runtime's own.
const SPARE: u64 = 64;

/// Raises the soft limit to the hard one, if it is too low for so many sessions; warns if that is not enough.
pub fn make_room(connections: usize) {
    let needed =
        u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(A_SESSION).saturating_add(SPARE);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No limit at all is enough for everything.
    if current.is_none_or(|current| current >= needed) {
        return;
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let open_files = getrlimit(Resource::Nofile).current;
    debug!(?open_files, needed, "limit of open files raised");
    if let Err(error) = raised {
        warn!(%error, "the limit of open files cannot be raised");
    }
    if let Some(open_files) = open_files.filter(|open_files| *open_files < needed) {
        warn!(
            open_files,
            needed,
            connections,
            "too few open files are allowed for limits.connections: raise LimitNOFILE (ulimit -Hn), or lower it"
        );
    }
}
