//! The pages that only show: who may see them, what they ask for, and how they go out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::pages::view::{self, Action, Done, ProblemKind};
use super::pages::{self, style};
use super::session::{Visitor, Who};
use super::{Console, deeds, known, shown};
use crate::blocking::blocking;
use crate::config;
use crate::phrase::with_causes;
use crate::store::{DatabaseError, Preferences, Role};

/// A page.
pub(super) fn html(status: StatusCode, page: String) -> Response<Body> {
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// A page that tells why there is no other.
pub(super) fn problem(
    console: &Console,
    visitor: &Visitor,
    status: u16,
    kind: ProblemKind,
    detail: Option<String>,
) -> Response<Body> {
    let page = pages::problem(&visitor.frame(console), &view::Problem { status, kind, detail });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    visitor.answer(html(status, page))
}

/// What came of a form.
pub(super) fn done_page(console: &Console, visitor: &Visitor, done: &Done) -> Response<Body> {
    visitor.answer(html(StatusCode::OK, pages::done(&visitor.frame(console), done)))
}

/// Why something cannot be shown.
#[derive(Debug)]
pub(super) enum LookError {
    /// It is not there.
    NotFound,
    /// The question makes no sense.
    BadRequest(String),
    /// The state cannot be read.
    Unavailable(String),
}

impl From<DatabaseError> for LookError {
    fn from(error: DatabaseError) -> Self {
        Self::Unavailable(with_causes(&error))
    }
}

impl From<crate::store::StoreError> for LookError {
    fn from(error: crate::store::StoreError) -> Self {
        match error {
            crate::store::StoreError::UnknownId(_) | crate::store::StoreError::BadId(_) => Self::NotFound,
            error => Self::Unavailable(with_causes(&error)),
        }
    }
}

impl From<crate::store::PinsError> for LookError {
    fn from(error: crate::store::PinsError) -> Self {
        Self::Unavailable(with_causes(&error))
    }
}

/// Shows somebody who may see it what `look` finds.
async fn show<V: Send + 'static>(
    console: Arc<Console>,
    visitor: Visitor,
    look: impl FnOnce(&Console, &Visitor, &Who) -> Result<V, LookError> + Send + 'static,
    page: fn(&view::Frame, &V) -> String,
) -> Response<Body> {
    match visitor.somebody(Role::Viewer, &console).cloned() {
        Ok(who) => show_to(&console, visitor, who, look, page).await,
        Err(answer) => *answer,
    }
}

/// Shows a reader what `look` finds, on a thread where that may take its time.
async fn show_to<V: Send + 'static>(
    console: &Arc<Console>,
    visitor: Visitor,
    who: Who,
    look: impl FnOnce(&Console, &Visitor, &Who) -> Result<V, LookError> + Send + 'static,
    page: fn(&view::Frame, &V) -> String,
) -> Response<Body> {
    let found = {
        let (console, visitor) = (Arc::clone(console), visitor.clone());
        blocking(move || look(&console, &visitor, &who)).await
    };
    match found {
        Ok(view) => visitor.answer(html(StatusCode::OK, page(&visitor.frame(console), &view))),
        Err(LookError::NotFound) => problem(console, &visitor, 404, ProblemKind::NotFound, None),
        Err(LookError::BadRequest(why)) => {
            problem(console, &visitor, 400, ProblemKind::BadRequest, Some(why))
        }
        Err(LookError::Unavailable(why)) => {
            problem(console, &visitor, 503, ProblemKind::Unavailable, Some(why))
        }
    }
}

/// `GET /`.
pub(super) async fn now(State(console): State<Arc<Console>>, visitor: Visitor) -> Response<Body> {
    let who = match visitor.somebody(Role::Viewer, &console) {
        Ok(who) => who.clone(),
        Err(answer) => return *answer,
    };
    let setup = Arc::clone(&console.running.load().setup);
    let found = console.checks.look(&setup).await;
    show_to(&console, visitor, who, move |console, _, _| shown::now(console, found), pages::now).await
}

/// What `/messages` may be asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MessagesQuery {
    pub(super) message_id: String,
    pub(super) queue_id: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) domain: String,
    pub(super) verdict: String,
    pub(super) day: String,
    pub(super) held: String,
    pub(super) after: String,
}

/// `GET /messages`.
pub(super) async fn messages(
    State(console): State<Arc<Console>>,
    Query(query): Query<MessagesQuery>,
    visitor: Visitor,
) -> Response<Body> {
    let look = move |console: &Console, visitor: &Visitor, _: &Who| shown::messages(console, visitor, &query);
    show(console, visitor, look, pages::messages).await
}

/// `GET /messages/ID`.
pub(super) async fn message(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Response<Body> {
    let look = move |console: &Console, _: &Visitor, who: &Who| shown::message(console, who, &id);
    show(console, visitor, look, pages::message).await
}

/// What `/correspondents` may be asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CorrespondentsQuery {
    pub(super) domain: String,
    pub(super) after: String,
}

/// `GET /correspondents`.
pub(super) async fn correspondents(
    State(console): State<Arc<Console>>,
    Query(query): Query<CorrespondentsQuery>,
    visitor: Visitor,
) -> Response<Body> {
    let look = move |console: &Console, _: &Visitor, _: &Who| known::correspondents(console, &query);
    show(console, visitor, look, pages::correspondents).await
}

/// `GET /correspondents/DOMAIN`.
pub(super) async fn correspondent(
    State(console): State<Arc<Console>>,
    Path(domain): Path<String>,
    visitor: Visitor,
) -> Response<Body> {
    let look = move |console: &Console, _: &Visitor, who: &Who| known::correspondent(console, who, &domain);
    show(console, visitor, look, pages::correspondent).await
}

/// `GET /preferences`.
pub(super) async fn preferences(State(console): State<Arc<Console>>, visitor: Visitor) -> Response<Body> {
    let look = |console: &Console, _: &Visitor, who: &Who| {
        Ok(preferences_view(console, who, &who.account.preferences, None))
    };
    show(console, visitor, look, pages::preferences).await
}

fn preferences_view(
    console: &Console,
    who: &Who,
    preferences: &Preferences,
    saved: Option<Option<String>>,
) -> view::Preferences {
    let default_zone = console.settings().map(|settings: config::Console| settings.time_zone);
    let default_zone = default_zone.as_ref().and_then(|zone| zone.iana_name()).unwrap_or("UTC").to_owned();
    view::Preferences {
        language: preferences.language.clone().unwrap_or_default(),
        zone: preferences.time_zone.clone().unwrap_or_default(),
        default_zone,
        zones: jiff::tz::db().available().map(|name| name.to_string()).collect(),
        is_saved: matches!(saved, Some(None)),
        wrong: saved.flatten(),
        offer: Some(who.offer(Action::SetPreferences, "/preferences".to_owned())),
    }
}

/// The page after somebody chose, in the language that they chose.
pub(super) async fn preferences_page(
    console: &Arc<Console>,
    mut visitor: Visitor,
    who: &Who,
    preferences: Preferences,
    saved: Option<Option<String>>,
) -> Response<Body> {
    let status = match &saved {
        Some(Some(_)) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    };
    if status == StatusCode::OK {
        let mut account = who.account.clone();
        account.preferences = preferences.clone();
        visitor.prefer(&account);
    }
    let (for_view, who) = (Arc::clone(console), who.clone());
    let view = blocking(move || preferences_view(&for_view, &who, &preferences, saved)).await;
    visitor.answer(html(status, pages::preferences(&visitor.frame(console), &view)))
}

/// The style sheet.
pub(super) async fn style() -> Response<Body> {
    lasting("text/css; charset=utf-8", style::SHEET)
}

/// The icon.
pub(super) async fn icon() -> Response<Body> {
    lasting("image/svg+xml", style::ICON)
}

/// What has another address whenever it changes.
fn lasting(kind: &'static str, content: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}

/// There is no such page, or it takes another method.
pub(super) async fn nothing(State(console): State<Arc<Console>>, visitor: Visitor) -> Response<Body> {
    // Strangers learn nothing of what there is.
    match visitor.somebody(Role::Viewer, &console) {
        Ok(_) => problem(&console, &visitor, 404, ProblemKind::NotFound, None),
        Err(answer) => *answer,
    }
}

/// The offers of a page: what this role may do, each with its form.
pub(super) fn offers(who: &Who, actions: &[Action], subject: &str) -> Vec<view::Offer> {
    let rows = actions.iter().map(|action| deeds::row_of(*action));
    rows.filter(|row| row.role.is_some_and(|role| who.account.role >= role))
        .map(|row| who.offer(row.action, row.path_of(subject)))
        .collect()
}

/// So many days before now.
pub(super) fn days_ago(days: i64) -> Timestamp {
    Timestamp::now().checked_sub(SignedDuration::from_hours(24 * days)).unwrap_or_default()
}
