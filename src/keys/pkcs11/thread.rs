//! One thread for each PKCS#11 module, which alone calls it. A module need not be safe for several threads, may be begun
//! anew when its token is lost, and may hang: whoever asks waits no longer than it wants to.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::TokenError;
use super::token::Tokens;

/// Calls that may wait for a module. Each has a thread of the asker waiting.
const MAX_WAITING: usize = 64;

type Job = Box<dyn FnOnce(&mut Tokens) + Send>;

/// The way to a module's thread.
struct Way {
    jobs: SyncSender<Job>,
    /// Since when the module has been at its present call.
    busy_since: Mutex<Option<Instant>>,
}

/// Never emptied: modules are begun once for all, and there are few.
static WAYS: Mutex<BTreeMap<PathBuf, Arc<Way>>> = Mutex::new(BTreeMap::new());

/// Has the module's thread do something, and waits for it no longer than `patience`. While a call has gone on for half of
/// that already, nobody else waits at all.
pub(super) fn ask<T: Send + 'static>(
    module: &Path,
    patience: Duration,
    work: impl FnOnce(&mut Tokens) -> Result<T, TokenError> + Send + 'static,
) -> Result<T, TokenError> {
    let way = way(module)?;
    if locked(&way.busy_since).is_some_and(|since| since.elapsed() > patience / 2) {
        return Err(TokenError::Hangs);
    }
    let (answer, answered) = mpsc::sync_channel(1);
    let deadline = Instant::now() + patience;
    let job = move |tokens: &mut Tokens| {
        // Else nobody waits for it any more.
        if Instant::now() < deadline {
            let _ = answer.send(work(tokens));
        }
    };
    way.jobs.try_send(Box::new(job)).map_err(|error| match error {
        TrySendError::Full(_) => TokenError::Busy,
        TrySendError::Disconnected(_) => TokenError::Broke,
    })?;
    answered.recv_timeout(patience).map_err(|error| match error {
        RecvTimeoutError::Timeout => TokenError::Late(patience),
        RecvTimeoutError::Disconnected => TokenError::Broke,
    })?
}

fn way(module: &Path) -> Result<Arc<Way>, TokenError> {
    let mut ways = locked(&WAYS);
    if let Some(way) = ways.get(module) {
        return Ok(Arc::clone(way));
    }
    let (jobs, waiting) = mpsc::sync_channel::<Job>(MAX_WAITING);
    let way = Arc::new(Way { jobs, busy_since: Mutex::new(None) });
    let (own, path) = (Arc::clone(&way), module.to_owned());
    let run = move || {
        let mut tokens = Tokens::new(path);
        for job in waiting {
            *locked(&own.busy_since) = Some(Instant::now());
            if catch_unwind(AssertUnwindSafe(|| job(&mut tokens))).is_err() {
                tokens.forget();
            }
            *locked(&own.busy_since) = None;
        }
    };
    thread::Builder::new().name("pkcs11".to_owned()).spawn(run).map_err(TokenError::Thread)?;
    ways.insert(module.to_owned(), Arc::clone(&way));
    Ok(way)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_holds_up_nobody() {
        let module = Path::new("/hangs");
        let (go_on, hanging) = mpsc::channel::<()>();
        let patience = Duration::from_millis(50);
        let late = ask(module, patience, move |_| Ok(hanging.recv().is_ok()));
        assert!(matches!(late, Err(TokenError::Late(_))), "{late:?}");
        let next = ask(module, patience, |_| Ok(()));
        assert!(matches!(next, Err(TokenError::Hangs | TokenError::Late(_))), "{next:?}");
        go_on.send(()).unwrap();
        let patience = Duration::from_secs(20);
        assert!(ask(module, patience, |_| Ok(())).is_ok());
    }

    #[test]
    fn a_panic_ends_its_call_alone() {
        let (module, patience) = (Path::new("/panics"), Duration::from_secs(20));
        let broke = ask::<()>(module, patience, |_| panic!("as a broken module's answer makes it"));
        assert!(matches!(broke, Err(TokenError::Broke)), "{broke:?}");
        assert!(ask(module, patience, |_| Ok(())).is_ok());
    }

    #[test]
    fn no_more_wait_than_may() {
        let module = Path::new("/busy");
        let (go_on, hanging) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel();
        let patience = Duration::from_secs(20);
        let hold = move |_: &mut Tokens| {
            began.send(()).map_err(|_| TokenError::Broke)?;
            hanging.recv().map_err(|_| TokenError::Broke)
        };
        let first = thread::spawn(move || ask(module, patience, hold));
        begun.recv().unwrap();
        let way = way(module).unwrap();
        for _ in 0..MAX_WAITING {
            way.jobs.try_send(Box::new(|_| ())).unwrap();
        }
        assert!(matches!(ask(module, patience, |_| Ok(())), Err(TokenError::Busy)));
        go_on.send(()).unwrap();
        first.join().unwrap().unwrap();
    }
}
