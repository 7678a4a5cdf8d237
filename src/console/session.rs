//! Who somebody is, and which forms are theirs. A session is known by a random token, of which the browser alone has more than a
//! hash; a form by a token that only a page of this session can have, and that is good for this one form.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use axum_extra::extract::cookie::{Cookie, SameSite};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Console;
use super::guard::Client;
use super::looks::{html, problem};
use super::pages::view::{Action, Frame, Offer, ProblemKind, Viewer};
use super::pages::{self};
use crate::blocking::blocking;
use crate::store::{Account, AccountError, AccountName, DatabaseError, NewSession, Role, State, TokenHash};

/// How long a session lasts.
pub const SESSION: SignedDuration = SignedDuration::from_hours(12);

/// The cookie of a session, and that of somebody who is about to log in.
const COOKIE_OF_SESSION: &str = "__Host-waxseal";
const COOKIE_OF_LOGIN: &str = "__Host-waxseal-login";

/// Octets of a token.
const TOKEN: usize = 32;
/// Octets that make each form's token another one.
const NONCE: usize = 16;

/// What the secret of a session begins with that a proxy vouched for: it is good only as long as the proxy does.
const VOUCHED: &str = "vouched-";

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// The account, as it is now.
    pub(super) account: Account,
    /// By which the session is found.
    pub(super) token: TokenHash,
    /// What forms are bound to.
    secret: String,
}

impl Who {
    /// The token of a form that goes to this path.
    pub(super) fn form_token(&self, path: &str) -> String {
        form_token(&self.secret, path)
    }

    /// A form, where somebody may send it.
    pub(super) fn offer(&self, action: Action, path: String) -> Offer {
        let token = if action == Action::Download { String::new() } else { self.form_token(&path) };
        Offer { action, path, token }
    }

    /// Which form this is; `None` where it is none of this session for this path.
    pub(super) fn form(&self, path: &str, token: &str) -> Option<FormId> {
        check_form(&self.secret, path, token)
    }
}

/// One form that was given out.
pub(super) type FormId = blake3::Hash;

fn form_token(secret: &str, path: &str) -> String {
    let mut nonce = [0; NONCE];
    // Without randomness the token is still this session's alone, and only one for each path.
    let _ = getrandom::fill(&mut nonce);
    let mac = mac(secret, path, &nonce);
    let nonce: String = nonce.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{nonce}{}", mac.to_hex())
}

fn mac(secret: &str, path: &str, nonce: &[u8; NONCE]) -> blake3::Hash {
    let key = blake3::derive_key("waxseal console: the token of a form", secret.as_bytes());
    blake3::keyed_hash(&key, &[nonce, path.as_bytes()].concat())
}

fn check_form(secret: &str, path: &str, token: &str) -> Option<FormId> {
    let (nonce, given) = token.split_at_checked(2 * NONCE)?;
    let mut octets = [0; NONCE];
    for (octet, digits) in octets.iter_mut().zip(nonce.as_bytes().chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    let given = blake3::Hash::from_hex(given).ok()?;
    // Hashes compare in constant time.
    (mac(secret, path, &octets) == given).then_some(given)
}

/// A random token as text.
fn random() -> Result<String, getrandom::Error> {
    let mut octets = [0; TOKEN];
    getrandom::fill(&mut octets)?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

/// Somebody who asks for a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// Nobody is known before the login.
    pub(super) who: Option<Who>,
    /// Where they are.
    pub(super) client: Client,
    /// The path with its question.
    pub(super) path: String,
    language: String,
    zone: TimeZone,
    /// A cookie that goes out with the answer.
    cookie: Option<String>,
}

/// Why a session could not be looked at.
#[derive(Debug)]
pub(super) enum SessionError {
    Database(DatabaseError),
    Account(AccountError),
    NoRandomness,
    /// A proxy vouches for a name that has no account.
    NoAccount,
}

impl From<DatabaseError> for SessionError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<AccountError> for SessionError {
    fn from(error: AccountError) -> Self {
        Self::Account(error)
    }
}

/// An answer in the place of a page where it cannot be known who asks.
pub(super) struct Unknown(Box<Response<Body>>);

impl IntoResponse for Unknown {
    fn into_response(self) -> Response<Body> {
        *self.0
    }
}

impl FromRequestParts<Arc<Console>> for Visitor {
    type Rejection = Unknown;

    /// Finds out who asks.
    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Unknown> {
        let client = parts.extensions.get::<Client>().cloned().unwrap_or_else(|| Client {
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            vouched: None,
            is_from_elsewhere: true,
        });
        let cookie = cookie(&parts.headers, COOKIE_OF_SESSION);
        let known = {
            let (console, client, cookie) = (Arc::clone(console), client.clone(), cookie.clone());
            blocking(move || known(&console.state, &client, cookie.as_deref())).await
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut visitor = Self::unknown(console, client, path, &parts.headers);
        match known {
            Ok((who, cookie)) => {
                if let Some(who) = &who {
                    visitor.prefer(&who.account);
                }
                visitor.who = who;
                visitor.cookie = cookie;
                Ok(visitor)
            }
            Err(error) => {
                let (kind, status, detail) = match error {
                    SessionError::Database(error) => (ProblemKind::Unavailable, 503, error.to_string()),
                    SessionError::Account(error) => (ProblemKind::Unavailable, 503, error.to_string()),
                    SessionError::NoRandomness => {
                        (ProblemKind::Unavailable, 503, "the system gave no random numbers".to_owned())
                    }
                    SessionError::NoAccount => {
                        let detail = "this name has no account here: waxseal console user add".to_owned();
                        (ProblemKind::Forbidden(Role::Viewer), 403, detail)
                    }
                };
                Err(Unknown(Box::new(problem(console, &visitor, status, kind, Some(detail)))))
            }
        }
    }
}

impl Visitor {
    fn unknown(console: &Console, client: Client, path: String, headers: &HeaderMap) -> Self {
        let languages = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let zone = console.settings().map_or(TimeZone::UTC, |settings| settings.time_zone);
        let language = pages::language_for(languages.unwrap_or_default()).to_owned();
        Self { who: None, client, path, language, zone, cookie: None }
    }

    pub(super) fn prefer(&mut self, account: &Account) {
        let preferences = &account.preferences;
        if let Some(language) = &preferences.language {
            self.language = pages::language_for(language).to_owned();
        }
        if let Some(zone) = preferences.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok()) {
            self.zone = zone;
        }
    }

    /// The reader's zone.
    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// What is around each page.
    pub(super) fn frame(&self, console: &Console) -> Frame {
        Frame {
            viewer: self
                .who
                .as_ref()
                .map(|who| Viewer { name: who.account.name.to_string(), role: who.account.role }),
            language: self.language.clone(),
            zone: self.zone.clone(),
            path: self.path.clone(),
            site: console.running.load().setup.config.hostname.to_string(),
            now: Timestamp::now(),
            log_out: self.who.as_ref().map(|who| who.offer(Action::LogOut, "/logout".to_owned())),
        }
    }

    /// Whoever is logged in; else an answer that leads there.
    pub(super) fn somebody(&self, least: Role, console: &Console) -> Result<&Who, Box<Response<Body>>> {
        let Some(who) = &self.who else { return Err(Box::new(self.to_login())) };
        if who.account.role < least {
            return Err(Box::new(problem(console, self, 403, ProblemKind::Forbidden(least), None)));
        }
        Ok(who)
    }

    /// To the login, and back here afterwards.
    fn to_login(&self) -> Response<Body> {
        // A link in a mail or on a page leads here without our cookie (SameSite=Strict): one step further it is there.
        if self.client.is_from_elsewhere {
            return self.answer(html(StatusCode::OK, step_further(&self.path)));
        }
        self.answer(redirect(&format!("/login?next={}", encoded(&self.path))))
    }

    /// An answer, with the cookie that goes out with it.
    pub(super) fn answer(&self, mut response: Response<Body>) -> Response<Body> {
        if let Some(cookie) = &self.cookie {
            add_cookie(&mut response, cookie);
        }
        response
    }
}

/// A page that leads to another address of ours by itself, from where the browser sends our cookies.
fn step_further(path: &str) -> String {
    let to = format!("/open?next={}", encoded(path));
    let refresh = format!("0;url={to}");
    maud::html! {
        (maud::DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content=(refresh);
                title { "waxseal" }
            }
            body { p { a href=(to) { "Go on" } } }
        }
    }
    .into_string()
}

/// Who has this session, and a cookie where a new one was opened.
fn known(
    state: &State,
    client: &Client,
    cookie: Option<&str>,
) -> Result<(Option<Who>, Option<String>), SessionError> {
    let now = Timestamp::now();
    let session = match cookie.map(|cookie| TokenHash::of(cookie.as_bytes())) {
        Some(token) => state.accounts.session(&token, now)?,
        None => None,
    };
    let session = session.map(|session| Who {
        account: session.account,
        token: session.opened.token,
        secret: session.opened.csrf,
    });
    let Some(vouched) = &client.vouched else {
        return Ok((session.filter(|who| !who.secret.starts_with(VOUCHED)), None));
    };
    let name: AccountName = vouched.parse().map_err(|_| SessionError::NoAccount)?;
    if let Some(who) = session.filter(|who| who.account.name == name) {
        return Ok((Some(who), None));
    }
    let account = state.accounts.find(&name)?.ok_or(SessionError::NoAccount)?;
    let (token, opened) = opening(VOUCHED)?;
    state.accounts.open_session(&name, &opened)?;
    let who = Who { account, token: opened.token, secret: opened.csrf };
    Ok((Some(who), Some(cookie_of(COOKIE_OF_SESSION, &token))))
}

fn opening(prefix: &str) -> Result<(String, NewSession), SessionError> {
    let token = random().map_err(|_| SessionError::NoRandomness)?;
    let csrf = format!("{prefix}{}", random().map_err(|_| SessionError::NoRandomness)?);
    let created = Timestamp::now();
    let expires = created.checked_add(SESSION).unwrap_or(created);
    let opened = NewSession { token: TokenHash::of(token.as_bytes()), csrf, created, expires };
    Ok((token, opened))
}

/// Opens a session of an account. Gives its token, which is nowhere else.
pub fn add_session(state: &State, name: &AccountName) -> Result<String, String> {
    let (token, opened) = opening("").map_err(|_| "the system gave no random numbers".to_owned())?;
    state.accounts.open_session(name, &opened).map_err(|error| error.to_string())?;
    Ok(token)
}

/// The cookie for a session's token.
pub(super) fn session_cookie(token: &str) -> String {
    cookie_of(COOKIE_OF_SESSION, token)
}

/// The cookies that take a session and a login's begin away.
pub(super) fn no_session(response: &mut Response<Body>) {
    add_cookie(response, &without(COOKIE_OF_SESSION));
}

/// Ends the begin of a login.
pub(super) fn no_login(response: &mut Response<Body>) {
    add_cookie(response, &without(COOKIE_OF_LOGIN));
}

/// Somebody who is about to log in, who has a form and no session.
pub(super) struct Beginning(String);

impl Beginning {
    /// By the cookie of a browser that has seen the login.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        cookie(headers, COOKIE_OF_LOGIN).map(Self)
    }

    /// Of a browser that sees it now.
    pub(super) fn new() -> Option<Self> {
        random().ok().map(Self)
    }

    /// The form.
    pub(super) fn offer(&self) -> Offer {
        let path = "/login".to_owned();
        Offer { action: Action::LogIn, token: form_token(&self.0, &path), path }
    }

    /// Whether this is a form of this browser.
    pub(super) fn is_form(&self, token: &str) -> bool {
        check_form(&self.0, "/login", token).is_some()
    }

    /// The cookie by which it is known again.
    pub(super) fn cookie(&self) -> String {
        cookie_of(COOKIE_OF_LOGIN, &self.0)
    }
}

/// The one cookie of this name; none where there are several.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let fields = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookies = fields.flat_map(Cookie::split_parse).filter_map(Result::ok);
    let mut found = cookies.filter(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned());
    let value = found.next()?;
    let is_fit = value.len() == 2 * TOKEN && value.bytes().all(|octet| octet.is_ascii_hexdigit());
    (found.next().is_none() && is_fit).then_some(value)
}

fn cookie_of(name: &'static str, value: &str) -> String {
    let cookie = Cookie::build((name, value.to_owned()));
    cookie.path("/").secure(true).http_only(true).same_site(SameSite::Strict).build().to_string()
}

fn without(name: &'static str) -> String {
    format!("{}; Max-Age=0", cookie_of(name, ""))
}

pub(super) fn add_cookie(response: &mut Response<Body>, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(axum::http::header::SET_COOKIE, value);
    }
}

/// To another address of ours, by GET.
pub(super) fn redirect(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, to);
    response
}

/// Longest address that is gone back to, in octets.
const MAX_NEXT: usize = 500;

/// An address of ours to go to, if it is one; else the first page.
pub(super) fn next(text: &str) -> &str {
    let is_ours = text.starts_with('/')
        && !text[1..].starts_with(['/', '\\'])
        && text.len() <= MAX_NEXT
        && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\');
    if is_ours { text } else { "/" }
}

/// A text as a value in an address (RFC 3986 §2.1).
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            encoded.push(char::from(octet));
        } else {
            encoded.push_str(&format!("%{octet:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forms_token_is_good_for_its_session_and_path_alone() {
        let token = form_token("secret", "/held/x/release");
        assert!(check_form("secret", "/held/x/release", &token).is_some());
        let other = form_token("secret", "/held/x/release");
        assert_ne!(token, other, "each form has its own");
        let mut changed = token.clone();
        changed.replace_range(0..1, if token.starts_with('0') { "1" } else { "0" });
        for (secret, path, token) in [
            ("another", "/held/x/release", token.as_str()),
            ("secret", "/held/x/delete", &token),
            ("secret", "/held/y/release", &token),
            ("secret", "/held/x/release", &changed),
            ("secret", "/held/x/release", &token[1..]),
            ("secret", "/held/x/release", ""),
            ("secret", "/held/x/release", "ä"),
        ] {
            assert!(check_form(secret, path, token).is_none(), "{secret} {path} {token}");
        }
    }

    #[test]
    fn cookies_are_for_us_alone() {
        let cookie = cookie_of(COOKIE_OF_SESSION, "1f");
        for part in ["__Host-waxseal=1f", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains("Domain"));
    }

    #[test]
    fn goes_back_to_addresses_of_ours_alone() {
        assert_eq!(next("/messages?verdict=fail"), "/messages?verdict=fail");
        for text in
            ["//evil.example", "/\\evil.example", "https://evil.example/", "", "/a\\b", "/a\r\nb", "messages"]
        {
            assert_eq!(next(text), "/", "{text:?}");
        }
    }
}
