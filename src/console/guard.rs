//! Which requests are let in, and what every answer has. A page of another site can neither read here nor send a form here, nor put
//! a page of ours into a frame.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, ORIGIN, REFERER, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use axum::middleware::Next;

use super::Console;
use crate::web::{self, Peer, host_of};

/// Nothing but our own style sheet and icon is loaded, forms go to us alone, and nobody puts us into a frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// What no page of ours asks a browser for.
const PERMISSIONS: &str = "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), display-capture=(), \
                           encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), hid=(), \
                           identity-credentials-get=(), idle-detection=(), local-fonts=(), magnetometer=(), \
                           microphone=(), midi=(), payment=(), picture-in-picture=(), \
                           publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), \
                           xr-spatial-tracking=()";

/// The field with a client's address that a proxy writes.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Gives every answer the fields that protect it, unless it has a stricter one of its own.
pub(super) async fn protect(request: Request, next: Next) -> Response<Body> {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Where a request is from, once it is known whom to believe: in its extensions.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The address that counts.
    pub(super) address: IpAddr,
    /// Who it is, where a proxy says so that may.
    pub(super) vouched: Option<String>,
    /// Whether a page of another site sent it here.
    pub(super) is_from_elsewhere: bool,
}

/// Believes those who may say who or where somebody is, and nobody else. A form must be from a page of ours.
pub(super) async fn admit(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    if !is_read && (parts.method != Method::POST || !is_from_us(&parts)) {
        return web::text(
            StatusCode::FORBIDDEN,
            "this form is not from a page of the console, or the browser does not tell where it is from\n",
        );
    }
    let client = client(&console, &mut parts.headers, parts.extensions.get::<Peer>().copied());
    parts.extensions.insert(client);
    next.run(Request::from_parts(parts, body)).await
}

fn client(console: &Console, headers: &mut HeaderMap, peer: Option<Peer>) -> Client {
    // Whoever reaches a UNIX socket is on this machine.
    let direct = peer.and_then(|peer| peer.address).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let settings = console.settings();
    let is_proxy = settings.as_ref().is_some_and(|settings| settings.trusted_proxies.allows(direct));
    let header = settings.and_then(|settings| settings.trusted_header);
    let mut client = Client { address: direct, vouched: None, is_from_elsewhere: is_from_elsewhere(headers) };
    if is_proxy {
        let last = headers.get_all(FORWARDED_FOR).iter().next_back().and_then(|value| value.to_str().ok());
        let last = last.and_then(|value| value.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
        client.address = last.map_or(direct, |address| address.to_canonical());
        // Of several, nobody knows which one the proxy wrote.
        client.vouched = header.as_ref().and_then(|header| {
            let mut values = headers.get_all(header.as_str()).iter();
            let value = values.next().filter(|_| values.next().is_none())?;
            Some(value.to_str().ok()?.trim().to_owned()).filter(|name| !name.is_empty())
        });
    }
    // Nobody further in takes them for anything.
    headers.remove(FORWARDED_FOR);
    if let Some(header) = header {
        headers.remove(header.as_str());
    }
    client
}

fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none")
}

/// Whether a form is from a page of ours, by what browsers say of it: Origin, else Referer, and Sec-Fetch-Site where there is one.
fn is_from_us(parts: &Parts) -> bool {
    let Ok(Some(host)) = host_of(parts) else { return false };
    let is_secure = parts.extensions.get::<Peer>().is_some_and(|peer| peer.is_secure);
    let mut origins = parts.headers.get_all(ORIGIN).iter();
    let origin = match (origins.next(), origins.next()) {
        (Some(origin), None) => Some(origin),
        (None, _) => parts.headers.get(REFERER),
        (Some(_), Some(_)) => None,
    };
    let origin = origin.and_then(|origin| origin.to_str().ok()).and_then(|text| text.parse::<Uri>().ok());
    let Some(origin) = origin else { return false };
    !is_from_elsewhere(&parts.headers) && is_same(&origin, &host, is_secure)
}

/// Whether an origin is the one that the browser asked. A proxy before us may have the TLS, so without it here either may do.
fn is_same(origin: &Uri, host: &str, is_secure: bool) -> bool {
    let port = match origin.scheme_str() {
        Some("https") => 443,
        Some("http") if !is_secure => 80,
        _ => return false,
    };
    let of = |authority: &str| {
        let (name, given) = match authority.rsplit_once(':') {
            Some((name, given)) if !given.ends_with(']') => (name, given.parse().ok()?),
            _ => (authority, port),
        };
        Some((name.trim_end_matches('.').to_ascii_lowercase(), given))
    };
    let Some(authority) = origin.authority().filter(|authority| !authority.as_str().contains('@')) else {
        return false;
    };
    let (ours, theirs) = (of(host), of(authority.as_str()));
    ours.is_some() && ours == theirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_whole() {
        for (origin, host, is_secure, is_ours) in [
            ("http://127.0.0.1:8025", "127.0.0.1:8025", false, true),
            ("http://127.0.0.1:8026", "127.0.0.1:8025", false, false),
            ("http://localhost:8025", "127.0.0.1:8025", false, false),
            ("http://[::1]:8025", "[::1]:8025", false, true),
            ("http://[::1]", "[::1]", false, true),
            ("https://mx.example.org", "MX.example.org", true, true),
            ("https://mx.example.org", "mx.example.org:443", true, true),
            ("http://mx.example.org", "mx.example.org", true, false),
            ("https://mx.example.org", "mx.example.org", false, true),
            ("https://mx.example.org.evil.example", "mx.example.org", true, false),
            ("https://evil.example", "mx.example.org", true, false),
            ("https://mx.example.org@evil.example", "mx.example.org", true, false),
            ("ftp://mx.example.org", "mx.example.org", true, false),
        ] {
            let uri: Uri = origin.parse().unwrap();
            assert_eq!(is_same(&uri, host, is_secure), is_ours, "{origin} {host}");
        }
        assert!("null".parse::<Uri>().is_ok_and(|uri| !is_same(&uri, "null", false)));
    }
}
