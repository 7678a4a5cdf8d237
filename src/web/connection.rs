//! One connection: TLS, requests, and the time that all of it may take.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

use super::{Manners, Peer, Site};

/// How long a program's connection may last, from its first octet to its last.
const WATCHING: Duration = Duration::from_secs(10);
/// How long the TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a person's connection may wait for the next request, and a request for the end of its header section.
const NEXT_REQUEST: Duration = Duration::from_secs(15);
/// After so long a person's connection takes no further request.
const READING: Duration = Duration::from_secs(120);
/// And how long its last answer may take after that: somebody downloads a large message.
const LAST_ANSWER: Duration = Duration::from_secs(600);

/// Octets that are read of a program's request at most, the least that hyper takes; its body is not read.
const WATCHING_REQUEST: usize = 8192;
/// Octets of a person's header section at most: browsers send more.
const READING_REQUEST: usize = 16_384;
/// Most header fields of a request.
const MAX_FIELDS: usize = 50;

pub(super) async fn converse(
    client: impl AsyncRead + AsyncWrite + Unpin + Send,
    address: Option<IpAddr>,
    asks: Arc<AtomicBool>,
    site: Site,
) {
    let Site { router, manners, secure } = site;
    let peer = Peer { address, is_secure: secure.is_some() };
    match secure {
        None => speak(client, peer, asks, router, manners).await,
        Some(secure) => match timeout(HANDSHAKE, secure().accept(client)).await {
            Ok(Ok(client)) => speak(client, peer, asks, router, manners).await,
            Ok(Err(error)) => debug!(%error, "a TLS handshake by HTTP failed"),
            Err(_) => debug!("a TLS handshake by HTTP took too long"),
        },
    }
}

async fn speak(
    client: impl AsyncRead + AsyncWrite + Unpin + Send,
    peer: Peer,
    asks: Arc<AtomicBool>,
    router: Router,
    manners: Manners,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer);
        let (answer, asks) = (hyper::service::Service::call(&router, request), Arc::clone(&asks));
        async move {
            let answer = answer.await;
            // A program's connection ends with the answer.
            asks.store(manners == Manners::Watching, Ordering::Relaxed);
            answer
        }
    });
    let mut http = http1::Builder::new();
    http.max_headers(MAX_FIELDS);
    let ended = match manners {
        Manners::Watching => {
            // One deadline for everything, our own.
            http.keep_alive(false).max_buf_size(WATCHING_REQUEST).header_read_timeout(None);
            timeout(WATCHING, http.serve_connection(TokioIo::new(client), service)).await
        }
        Manners::Reading => {
            http.timer(TokioTimer::new()).header_read_timeout(NEXT_REQUEST).max_buf_size(READING_REQUEST);
            let mut connection = pin!(http.serve_connection(TokioIo::new(client), service));
            match timeout(READING, connection.as_mut()).await {
                Ok(ended) => Ok(ended),
                Err(_) => {
                    connection.as_mut().graceful_shutdown();
                    timeout(LAST_ANSWER, connection).await
                }
            }
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection by HTTP failed"),
        Err(_) => debug!("a connection by HTTP took too long"),
    }
}
