//! Accepts clients of one listener, lets in whom it may, and on shutdown waits for messages under way.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::smtp::admission::{Admission, Permit};
use crate::smtp::connection::Connection;
use crate::smtp::handler::MessageHandler;
use crate::smtp::memory::MemoryBudget;
use crate::smtp::reply::Reply;
use crate::smtp::session::{Session, Surroundings, stopped};
use crate::smtp::settings::Settings;

/// How long to wait after a failure to accept, such as having no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long a client that is not let in may take to be told so.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What all listeners share: places for sessions and memory for messages.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    admission: Arc<Admission>,
    memory: Arc<MemoryBudget>,
}

/// Serves the clients of one listening socket. A listener with several addresses has one call for each.
///
/// `settings` is asked for each new session. When `shutdown` turns true, or its sender is dropped, no client is
/// accepted any more, those between messages get 421, and messages under way have `grace` to be finished;
/// then this returns.
pub async fn serve<H: MessageHandler>(
    listener: TcpListener,
    settings: impl Fn() -> Arc<Settings>,
    handler: Arc<H>,
    resources: Resources,
    mut shutdown: watch::Receiver<bool>,
    grace: Duration,
) {
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut shutdown) => break,
            Some(ended) = sessions.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, address)) => {
                let around = Surroundings {
                    settings: settings(),
                    handler: Arc::clone(&handler),
                    memory: Arc::clone(&resources.memory),
                    shutdown: shutdown.clone(),
                };
                receive_client(client, address, around, &resources.admission, &mut sessions);
            }
            // The client was gone before we took it up.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async {
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    };
    if timeout(grace, drained).await.is_err() {
        warn!(sessions = sessions.len(), "sessions cut off by shutdown");
        sessions.shutdown().await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(fault) = ended {
        error!(%fault, "session ended by a fault in this program");
    }
}

fn receive_client<H: MessageHandler>(
    client: TcpStream,
    address: SocketAddr,
    around: Surroundings<H>,
    admission: &Arc<Admission>,
    sessions: &mut JoinSet<()>,
) {
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let settings = &around.settings;
    if !settings.admits(address.ip()) {
        info!(client = %address, listener = settings.listener, "client not listed");
        let reply = Reply::new(554, &format!("5.7.1 {} no access from here", settings.hostname));
        sessions.spawn(refuse(client, reply));
        return;
    }
    match admission.admit(address.ip(), &settings.limits) {
        Ok(permit) => {
            sessions.spawn(run_session(client, address, around, permit));
        }
        Err(_) => {
            info!(client = %address, listener = settings.listener, "too many connections");
            let reply = Reply::new(421, &format!("4.7.0 {} too many connections", settings.hostname));
            sessions.spawn(refuse(client, reply));
        }
    }
}

async fn refuse(client: TcpStream, reply: Reply) {
    let mut client = Connection::new(client, REFUSAL_TIMEOUT);
    client.queue(reply.octets());
    client.close().await;
}

async fn run_session<H: MessageHandler>(
    client: TcpStream,
    address: SocketAddr,
    around: Surroundings<H>,
    _permit: Permit,
) {
    if let Err(error) = client.set_nodelay(true) {
        info!(client = %address, %error, "client gone");
        return;
    }
    let Some(mut session) = Box::pin(Session::open(client, address, around)).await else { return };
    match catch_panic(session.run()).await {
        Some(end) => Box::pin(session.close(&end)).await,
        None => {
            error!(session = %session.info.id, client = %address, "session ended by a fault in this program");
            Box::pin(session.close_after_panic()).await;
        }
    }
}

/// A panic ends the session that it happens in, and only that. What the session was about is not looked at
/// again but for its connections, so nothing half-changed is seen.
async fn catch_panic<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
        Err(_) => Poll::Ready(None),
    })
    .await
}
