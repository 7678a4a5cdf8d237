//! A small HTTP/1 server (RFC 9110, RFC 9112) for programs that watch the gateway; the only module that names hyper.
//!
//! It reads and never changes anything, so it takes GET and HEAD alone. Whoever calls is a stranger all the same: a
//! connection is for one request, and for a few seconds, and there are few connections: one more takes the place of the
//! oldest, first of one that has asked for nothing yet. A request by TCP must call us by a name of ours, or a web page could
//! have a browser read what is told here under a name of its own (DNS rebinding).

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, warn};

/// Most connections at once by one socket.
const MAX_CONNECTIONS: usize = 64;
/// How long a connection may last, from its first octet to its last.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets that are read of a request at most, the least that hyper takes; its body is not read.
const MAX_REQUEST: usize = 8192;
/// Most header fields of a request.
const MAX_FIELDS: usize = 50;
/// How long to wait after a failure to accept, such as having no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What there is to read.
pub trait Pages: Send + Sync + 'static {
    /// The page at a path, if there is one. `accept` is the request's Accept field.
    fn page(&self, path: &str, accept: &str) -> impl Future<Output = Option<Page>> + Send;

    /// Whether we may be called by this name; lower case, without a port.
    fn is_our_name(&self, host: &str) -> bool;
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// 200, or 503 where what was asked for is not in order.
    pub is_good: bool,
    /// The Content-Type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// A listening socket.
#[derive(Debug)]
pub enum Socket {
    /// On a TCP port.
    Tcp(TcpListener),
    /// On a path.
    Unix(UnixListener),
}

/// Serves `pages` on all `sockets`, until it is dropped.
pub async fn serve(sockets: Vec<Socket>, pages: Arc<impl Pages>) {
    let mut serving = JoinSet::new();
    for socket in sockets {
        serving.spawn(serve_socket(socket, Arc::clone(&pages)));
    }
    while let Some(ended) = serving.join_next().await {
        if let Err(fault) = ended {
            error!(%fault, "metrics and health are no longer told, by a fault in this program");
        }
    }
}

async fn serve_socket(socket: Socket, pages: Arc<impl Pages>) {
    let mut connections = JoinSet::new();
    let mut open: Vec<Open> = Vec::new();
    loop {
        let asks = Arc::new(AtomicBool::new(false));
        let accepted = match &socket {
            Socket::Tcp(listener) => listener.accept().await.map(|(client, _)| {
                connections.spawn(converse(client, Arc::clone(&asks), true, Arc::clone(&pages)))
            }),
            Socket::Unix(listener) => listener.accept().await.map(|(client, _)| {
                connections.spawn(converse(client, Arc::clone(&asks), false, Arc::clone(&pages)))
            }),
        };
        while connections.try_join_next().is_some() {}
        open.retain(|connection| !connection.task.is_finished());
        match accepted {
            Ok(task) => {
                if open.len() >= MAX_CONNECTIONS {
                    let idle = open.iter().position(|connection| !connection.asks.load(Ordering::Relaxed));
                    open.remove(idle.unwrap_or(0)).task.abort();
                }
                open.push(Open { task, asks });
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept a connection that asks for metrics or health");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection, the oldest first in its list.
struct Open {
    task: AbortHandle,
    /// Whether its request is here.
    asks: Arc<AtomicBool>,
}

/// The client was gone before we took it up.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

async fn converse<P: Pages>(
    client: impl AsyncRead + AsyncWrite + Unpin,
    asks: Arc<AtomicBool>,
    needs_name: bool,
    pages: Arc<P>,
) {
    let service = service_fn(|request| {
        asks.store(true, Ordering::Relaxed);
        answer(&*pages, needs_name, request)
    });
    let mut http = http1::Builder::new();
    // One deadline for everything, our own.
    http.keep_alive(false).max_buf_size(MAX_REQUEST).max_headers(MAX_FIELDS).header_read_timeout(None);
    match timeout(PATIENCE, http.serve_connection(TokioIo::new(client), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection that asked for metrics or health failed"),
        Err(_) => debug!("a connection that asked for metrics or health took too long"),
    }
}

async fn answer<P: Pages>(
    pages: &P,
    needs_name: bool,
    request: Request<Incoming>,
) -> Result<Response<String>, Infallible> {
    if needs_name && let Err(status) = check_host(pages, &request) {
        return Ok(text(
            status,
            "the Host of the request is no name of this gateway: see `hosts` in [admin]\n".to_owned(),
        ));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accept = accept.collect::<Vec<_>>().join(",");
    let Some(page) = pages.page(request.uri().path(), &accept).await else {
        return Ok(text(StatusCode::NOT_FOUND, "there is no such page\n".to_owned()));
    };
    let status = if page.is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = text(status, page.body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    Ok(response)
}

/// Whether the request calls us by a name of ours (RFC 9110 §7.2, RFC 9112 §3.2): an address, a name that is one in nobody's
/// DNS, or one that we know.
fn check_host(pages: &impl Pages, request: &Request<Incoming>) -> Result<(), StatusCode> {
    let mut fields = request.headers().get_all(HOST).iter();
    let host = match (request.uri().host(), fields.next(), fields.next()) {
        (_, _, Some(_)) => return Err(StatusCode::BAD_REQUEST),
        (Some(host), ..) => host,
        (None, Some(field), None) => without_port(field.to_str().map_err(|_| StatusCode::BAD_REQUEST)?),
        (None, None, None) if request.version() < Version::HTTP_11 => return Ok(()),
        (None, None, None) => return Err(StatusCode::BAD_REQUEST),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_ours = address.parse::<IpAddr>().is_ok()
        || !host.contains('.')
        || host.ends_with(".localhost")
        || pages.is_our_name(&host);
    if is_ours { Ok(()) } else { Err(StatusCode::MISDIRECTED_REQUEST) }
}

fn without_port(host: &str) -> &str {
    let end = host.rfind(']').unwrap_or(0);
    host[end..].find(':').map_or(host, |colon| &host[..end + colon])
}

fn text(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
