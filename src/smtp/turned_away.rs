//! The log of clients that are turned away at the door. Each has a line; of a flood of them there is one line a second,
//! which counts.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

/// For how long clients that are turned away for the same reason share a line.
const WINDOW: Duration = Duration::from_secs(1);

/// Why a client is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Because {
    NotListed,
    TooManyConnections,
    /// There is no TLS with it, on a listener that begins with it.
    Tls,
    /// It must begin with a PROXY header, and does not.
    ProxyHeader,
}

/// Who is turned away, where, and what the log says of it.
#[derive(Clone, Debug)]
pub(super) struct TurnedAway {
    pub(super) listener: String,
    pub(super) because: Because,
    pub(super) client: SocketAddr,
    /// The other end of the connection.
    pub(super) peer: SocketAddr,
    pub(super) text: String,
}

/// What was said in the last second, by listener and reason.
#[derive(Debug, Default)]
pub(super) struct Floods(Mutex<HashMap<(String, Because), Flood>>);

#[derive(Debug, Default)]
struct Flood {
    untold: u64,
    last: Option<TurnedAway>,
}

impl Floods {
    /// Writes the line, or counts it for the next.
    pub(super) fn log(self: &Arc<Self>, turned_away: TurnedAway) {
        let key = (turned_away.listener.clone(), turned_away.because);
        let mut floods = self.lock();
        if let Some(flood) = floods.get_mut(&key) {
            flood.untold += 1;
            flood.last = Some(turned_away);
            return;
        }
        floods.insert(key.clone(), Flood::default());
        drop(floods);
        turned_away.log(None);
        let floods = Arc::clone(self);
        tokio::spawn(async move { floods.watch(key).await });
    }

    /// Writes a line a second, until a second passes without anybody.
    async fn watch(&self, key: (String, Because)) {
        loop {
            sleep(WINDOW).await;
            let flood = {
                let mut floods = self.lock();
                let Some(flood) = floods.get_mut(&key) else { return };
                if flood.untold == 0 {
                    floods.remove(&key);
                    return;
                }
                std::mem::take(flood)
            };
            if let Some(last) = flood.last {
                last.log(Some(flood.untold));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Because), Flood>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TurnedAway {
    /// `clients` counts those of whom this is the last.
    fn log(&self, clients: Option<u64>) {
        let Self { listener, because, client, peer, text } = self;
        let peer = peer.ip();
        match because {
            Because::ProxyHeader => warn!(%client, %peer, listener, clients, "{text}"),
            _ => info!(%client, %peer, listener, clients, "{text}"),
        }
    }
}
