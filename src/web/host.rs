//! By which name a request calls us (RFC 9110 §7.2, RFC 9112 §3.2). It must be one of ours, or a web page could have a browser ask
//! here under a name of its own (DNS rebinding).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode, Version};
use axum::middleware::Next;

use super::{Peer, text};

/// Names that we may be called by, besides those that are names in nobody's DNS.
#[derive(Clone)]
pub struct Names {
    /// Whether this is one of them; lower case, without a port.
    pub is_ours: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// The setting that has more of them.
    pub setting: &'static str,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("setting", &self.setting).finish_non_exhaustive()
    }
}

/// Why a request is not for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// It has no Host, or several, or one that is no name.
    Malformed,
    /// It is for somebody else.
    Foreign,
}

/// Lets those through who call us by a name of ours. By a UNIX socket nobody's browser asks.
pub async fn known_names(State(names): State<Names>, request: Request, next: Next) -> Response<Body> {
    let peer = request.extensions().get::<Peer>();
    let is_by_socket = peer.is_some_and(|peer| peer.address.is_none());
    let (parts, body) = request.into_parts();
    let status = match is_ours(&parts, &names) {
        Ok(()) => None,
        Err(_) if is_by_socket => None,
        Err(HostError::Malformed) => Some(StatusCode::BAD_REQUEST),
        Err(HostError::Foreign) => Some(StatusCode::MISDIRECTED_REQUEST),
    };
    match status {
        None => next.run(Request::from_parts(parts, body)).await,
        Some(status) => text(
            status,
            format!("the Host of the request is no name of this gateway: see {}\n", names.setting),
        ),
    }
}

fn is_ours(parts: &Parts, names: &Names) -> Result<(), HostError> {
    let Some(host) = host_of(parts)? else { return Ok(()) };
    let host = without_port(&host).trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_ours = address.parse::<IpAddr>().is_ok()
        || !host.contains('.')
        || host.ends_with(".localhost")
        || (names.is_ours)(&host);
    if is_ours { Ok(()) } else { Err(HostError::Foreign) }
}

/// The name and perhaps the port that a request calls us by; none in HTTP/1.0, which has none.
pub fn host_of(parts: &Parts) -> Result<Option<String>, HostError> {
    let mut fields = parts.headers.get_all(HOST).iter();
    match (parts.uri.authority(), fields.next(), fields.next()) {
        (_, _, Some(_)) => Err(HostError::Malformed),
        (Some(authority), ..) => Ok(Some(authority.as_str().to_owned())),
        (None, Some(field), None) => {
            let host = field.to_str().map_err(|_| HostError::Malformed)?;
            Ok(Some(host.to_owned()))
        }
        (None, None, None) if parts.version < Version::HTTP_11 => Ok(None),
        (None, None, None) => Err(HostError::Malformed),
    }
}

fn without_port(host: &str) -> &str {
    // What stands before an @ is no part of the name.
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let end = host.rfind(']').unwrap_or(0);
    host[end..].find(':').map_or(host, |colon| &host[..end + colon])
}
