//! How somebody gets in, and out again.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use serde::Deserialize;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::deeds::Fields;
use super::looks::{html, problem};
use super::pages::view::{Login, LoginFailure, ProblemKind};
use super::passwords::{Busy, MAX_PASSWORD};
use super::session::{
    Beginning, Visitor, add_cookie, add_session, next, no_login, no_session, redirect, session_cookie,
};
use super::{Console, pages};
use crate::blocking::blocking;
use crate::store::AccountName;

/// Where somebody wants to go.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wish {
    next: String,
}

/// `GET /open`: where a link from elsewhere leads, with our cookies.
pub(super) async fn open(
    State(console): State<Arc<Console>>,
    Query(wish): Query<Wish>,
    mut visitor: Visitor,
) -> Response<Body> {
    // However the browser puts it: there is no step further than this.
    visitor.client.is_from_elsewhere = false;
    visitor.path = next(&wish.next).to_owned();
    match visitor.somebody(crate::store::Role::Viewer, &console) {
        Ok(_) => visitor.answer(redirect(&visitor.path)),
        Err(answer) => *answer,
    }
}

/// `GET /login`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    Query(wish): Query<Wish>,
    visitor: Visitor,
    request: Request,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    if visitor.who.is_some() {
        return visitor.answer(redirect(next(&wish.next)));
    }
    form(&console, &visitor, &parts, "", next(&wish.next), None)
}

/// The form, whatever happened before. Its browser is known again by a cookie.
fn form(
    console: &Console,
    visitor: &Visitor,
    parts: &Parts,
    name: &str,
    next: &str,
    failed: Option<LoginFailure>,
) -> Response<Body> {
    let Some(beginning) = Beginning::of(&parts.headers).or_else(Beginning::new) else {
        return problem(console, visitor, 503, ProblemKind::Unavailable, None);
    };
    let status = match failed {
        None => StatusCode::OK,
        Some(LoginFailure::Wrong) => StatusCode::UNAUTHORIZED,
        Some(LoginFailure::TooMany(_)) => StatusCode::TOO_MANY_REQUESTS,
        Some(LoginFailure::Stale) => StatusCode::FORBIDDEN,
    };
    let login = Login {
        name: name.chars().take(100).collect(),
        next: next.to_owned(),
        failed,
        offer: beginning.offer(),
    };
    let mut response = html(status, pages::login(&visitor.frame(console), &login));
    add_cookie(&mut response, &beginning.cookie());
    response
}

/// `POST /login`.
pub(super) async fn log_in(
    State(console): State<Arc<Console>>,
    mut visitor: Visitor,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Some(fields) = Fields::read(&parts, body).await else {
        return problem(&console, &visitor, 400, ProblemKind::BadRequest, None);
    };
    let (name, to) = (fields.one("name").trim(), next(fields.one("next")));
    if !Beginning::of(&parts.headers).is_some_and(|beginning| beginning.is_form(fields.one("token"))) {
        return form(&console, &visitor, &parts, name, to, Some(LoginFailure::Stale));
    }
    // A session that there may be has nothing to do with what is tried here.
    visitor.who = None;
    let address = visitor.client.address;
    let tried = name.to_ascii_lowercase();
    if let Err(wait) = console.throttle.attempt(&tried, address, Instant::now()) {
        let seconds = wait.as_secs().max(1);
        warn!(%address, "logins at the console are slowed down");
        return form(&console, &visitor, &parts, name, to, Some(LoginFailure::TooMany(seconds)));
    }
    let account = match tried.parse::<AccountName>() {
        Ok(name) => {
            let state = console.state.clone();
            match blocking(move || state.accounts.find(&name)).await {
                Ok(account) => account,
                Err(error) => {
                    let detail = Some(error.to_string());
                    return problem(&console, &visitor, 503, ProblemKind::Unavailable, detail);
                }
            }
        }
        Err(_) => None,
    };
    let password = fields.one("password");
    let is_fit = password.len() <= MAX_PASSWORD;
    let password = Zeroizing::new(if is_fit { password.to_owned() } else { String::new() });
    let stored = account.as_ref().map(|account| account.password.clone());
    match (console.passwords.fits(stored, password).await, account) {
        (Ok(true), Some(account)) if is_fit => {
            console.throttle.succeeded(&tried, address);
            let (state, name) = (console.state.clone(), account.name.clone());
            let opened = blocking(move || add_session(&state, &name)).await;
            let token = match opened {
                Ok(token) => token,
                Err(error) => {
                    return problem(&console, &visitor, 503, ProblemKind::Unavailable, Some(error));
                }
            };
            info!(%address, account = %account.name, "somebody logged in at the console");
            let mut response = redirect(to);
            add_cookie(&mut response, &session_cookie(&token));
            no_login(&mut response);
            response
        }
        (Ok(_), _) => {
            // The name may be a password that was typed into the wrong field.
            warn!(%address, "a login at the console failed");
            form(&console, &visitor, &parts, name, to, Some(LoginFailure::Wrong))
        }
        (Err(Busy), _) => {
            let detail = "too many people log in at the moment; try again in a minute".to_owned();
            problem(&console, &visitor, 503, ProblemKind::TooMany, Some(detail))
        }
    }
}

/// `POST /logout`.
pub(super) async fn log_out(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Some(who) = &visitor.who else { return redirect("/login") };
    let token = Fields::read(&parts, body).await.map(|fields| fields.one("token").to_owned());
    if token.and_then(|token| who.form("/logout", &token)).is_none() {
        return problem(&console, &visitor, 403, ProblemKind::Stale, None);
    }
    let (state, token) = (console.state.clone(), who.token);
    if let Err(error) = blocking(move || state.accounts.close_session(&token)).await {
        return problem(&console, &visitor, 503, ProblemKind::Unavailable, Some(error.to_string()));
    }
    info!(account = %who.account.name, "somebody logged out of the console");
    let mut response = redirect("/login");
    no_session(&mut response);
    response
}
