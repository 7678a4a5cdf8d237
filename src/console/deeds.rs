//! What somebody may do: one table of forms, and what each of them does, by the same code as the commands.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::fingerprint::Told;
use attachment_seal::seal::key::PublicKey;
use axum::body::Body;
use axum::extract::{Form, FromRequest, Path, Request, State};
use axum::http::Response;
use axum::http::request::Parts;
use jiff::tz::TimeZone;
use tokio::time::timeout;
use tracing::{info, warn};

use super::looks::{done_page, preferences_page, problem};
use super::once::Turn;
use super::pages::view::{Action, Done, Outcome, ProblemKind};
use super::session::{Visitor, Who};
use super::{Console, pages};
use crate::blocking::blocking;
use crate::clock::second;
use crate::gateway::correspondents::{self, CorrespondentError};
use crate::gateway::release::{self, Options, Released, release};
use crate::phrase::with_causes;
use crate::store::{By, HeldId, Preferences, Role, SaidKey, SaidPin, StoreError};

/// A form: what it does, where it goes, and who may send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it does.
    pub action: Action,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Its path, as the router has it.
    pub path: &'static str,
    /// The least role; none for whoever is about to log in.
    pub role: Option<Role>,
}

impl Row {
    /// The path for a message or a correspondent.
    pub fn path_of(&self, subject: &str) -> String {
        let subject = super::session::encoded(subject);
        self.path.replace("{id}", &subject).replace("{domain}", &subject)
    }
}

const fn row(action: Action, method: &'static str, path: &'static str, role: Option<Role>) -> Row {
    Row { action, method, path, role }
}

/// Every form, and the one page that is more than looking. What is not here cannot be done at the console.
pub const DEEDS: &[Row] = &[
    row(Action::LogIn, "POST", "/login", None),
    row(Action::LogOut, "POST", "/logout", Some(Role::Viewer)),
    row(Action::SetPreferences, "POST", "/preferences", Some(Role::Viewer)),
    row(Action::Release, "POST", "/held/{id}/release", Some(Role::Operator)),
    row(Action::Delete, "POST", "/held/{id}/delete", Some(Role::Operator)),
    row(Action::Keep, "POST", "/held/{id}/keep", Some(Role::Operator)),
    row(Action::KeepNoLonger, "POST", "/held/{id}/keep-no-longer", Some(Role::Operator)),
    row(Action::Download, "GET", "/held/{id}/download", Some(Role::Operator)),
    row(Action::Approve, "POST", "/correspondents/{domain}/approve", Some(Role::Admin)),
    row(Action::Pin, "POST", "/correspondents/{domain}/pin", Some(Role::Admin)),
    row(Action::Forget, "POST", "/correspondents/{domain}/forget", Some(Role::Admin)),
    row(Action::AlsoUnsealed, "POST", "/correspondents/{domain}/unsealed", Some(Role::Admin)),
];

/// The row of an action.
pub(super) fn row_of(action: Action) -> &'static Row {
    DEEDS.iter().find(|row| row.action == action).expect("every action has its row: a test sees to it")
}

/// How long somebody waits for what a form does. It goes on without them.
const PATIENCE: Duration = Duration::from_secs(25);
/// Most characters of a reason that are kept, as the commands do.
const MAX_REASON: usize = 500;

const STOPS: &str = "the gateway stops; try again when it is back";

/// The fields of a form, in its order. Passwords may be among them, so they are not shown.
pub(super) struct Fields(Vec<(String, String)>);

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Fields {
    /// A form as browsers send it; `None` for anything else.
    pub(super) async fn read(parts: &Parts, body: Body) -> Option<Self> {
        let request = Request::from_parts(parts.clone(), body);
        let Form(fields) = Form::<Vec<(String, String)>>::from_request(request, &()).await.ok()?;
        Some(Self(fields))
    }

    /// The one field of this name; empty where there is none, or where there are several.
    pub(super) fn one(&self, name: &str) -> &str {
        let mut found = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = found.next().unwrap_or_default();
        if found.next().is_some() { "" } else { value }
    }

    /// All fields of this name that hold something.
    fn all(&self, name: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.clone()).collect()
    }

    fn is_yes(&self, name: &str) -> bool {
        self.one(name) == "yes"
    }
}

/// A form of the table that somebody sends who is logged in.
pub(super) async fn form(
    row: &'static Row,
    State(console): State<Arc<Console>>,
    path: Option<Path<String>>,
    visitor: Visitor,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let who = match visitor.somebody(row.role.unwrap_or(Role::Admin), &console) {
        Ok(who) => who.clone(),
        Err(answer) => return *answer,
    };
    let Some(fields) = Fields::read(&parts, body).await else {
        return problem(&console, &visitor, 400, ProblemKind::BadRequest, None);
    };
    let Some(form) = who.form(parts.uri.path(), fields.one("token")) else {
        return problem(&console, &visitor, 403, ProblemKind::Stale, None);
    };
    if row.action == Action::SetPreferences {
        return prefer(&console, visitor, &who, &fields).await;
    }
    // Whoever stops the gateway waits for this.
    let Ok(under_way) = Arc::clone(&console.under_way).try_read_owned() else {
        return problem(&console, &visitor, 503, ProblemKind::Unavailable, Some(STOPS.to_owned()));
    };
    if *console.shutdown.borrow() {
        return problem(&console, &visitor, 503, ProblemKind::Unavailable, Some(STOPS.to_owned()));
    }
    let subject = path.map(|Path(subject)| subject).unwrap_or_default();
    let mut outcome = match console.once.take(form) {
        Turn::Again(outcome) => outcome,
        Turn::First(told, outcome) => {
            // Whoever sent it may go away: what is begun is finished.
            let (console, action) = (Arc::clone(&console), row.action);
            tokio::spawn(async move {
                let done = perform(&console, action, &who, &subject, &fields).await;
                told.send_replace(Some(done));
                drop(under_way);
            });
            outcome
        }
    };
    let done = match timeout(PATIENCE, outcome.wait_for(Option::is_some)).await {
        Ok(Ok(done)) => done.clone(),
        Ok(Err(_)) => None,
        Err(_) => Some(not_done(
            "it takes long, and goes on: look at the message again in a minute".to_owned(),
            "/",
        )),
    };
    match done {
        Some(done) => done_page(&console, &visitor, &done),
        None => problem(&console, &visitor, 500, ProblemKind::Unavailable, None),
    }
}

/// Why somebody does something, and who.
fn by(who: &Who, fields: &Fields) -> By {
    let reason: String = fields.one("reason").trim().chars().take(MAX_REASON).collect();
    By { who: who.account.name.to_string(), reason: Some(reason).filter(|reason| !reason.is_empty()) }
}

fn not_done(line: String, back: &str) -> Done {
    Done { outcome: Outcome::NotDone, lines: vec![line], back: back.to_owned() }
}

async fn perform(console: &Arc<Console>, action: Action, who: &Who, subject: &str, fields: &Fields) -> Done {
    let by = by(who, fields);
    let done = match action {
        Action::Release | Action::Delete | Action::Keep | Action::KeepNoLonger => {
            with_held(console, action, subject, by, fields).await
        }
        Action::Approve | Action::Pin | Action::Forget | Action::AlsoUnsealed => {
            with_correspondent(console, action, subject, by, fields).await
        }
        Action::LogIn | Action::LogOut | Action::SetPreferences | Action::Download => {
            not_done("there is no such form".to_owned(), "/")
        }
    };
    info!(account = %who.account.name, ?action, subject, outcome = ?done.outcome, "done at the console");
    done
}

async fn with_held(console: &Arc<Console>, action: Action, subject: &str, by: By, fields: &Fields) -> Done {
    let Ok(id) = subject.parse::<HeldId>() else {
        return not_done("there is no such message".to_owned(), "/messages");
    };
    let back = format!("/messages/{id}");
    let Some(quarantine) = console.running.load().quarantine.clone() else {
        return not_done("nothing is held here".to_owned(), "/");
    };
    if matches!(action, Action::Release | Action::Delete) && by.reason.is_none() {
        return not_done("give a reason, for the record".to_owned(), &back);
    }
    if action == Action::Delete && !fields.is_yes("sure") {
        return not_done("tick that you are sure: nobody else has this message".to_owned(), &back);
    }
    let failed = {
        let back = back.clone();
        move |error: &StoreError| not_done(with_causes(error), &back)
    };
    match action {
        Action::Release => {
            let running = console.running.load_full();
            let (to, again) = (fields.all("to"), fields.is_yes("again"));
            // Reading what is held, and noting each step, waits for the state: not on a thread that others need.
            let runtime = tokio::runtime::Handle::current();
            blocking(move || {
                let config = &running.setup.config;
                let options = Options { listener: None, again, to: &to };
                match runtime.block_on(release(config, &*quarantine, &id, &by, options)) {
                    Ok(done) => released(done, &by, back),
                    Err(error) => {
                        let lines = vec![with_causes(&error)];
                        Done { outcome: Outcome::NotReleased, lines, back }
                    }
                }
            })
            .await
        }
        Action::Delete => {
            let deleted = blocking(move || quarantine.delete(&id, &by)).await;
            match deleted {
                Ok(()) => Done { outcome: Outcome::Deleted, lines: Vec::new(), back },
                Err(error) => failed(&error),
            }
        }
        _ => {
            let keep = action == Action::Keep;
            let kept = blocking(move || quarantine.keep(&id, keep, &by)).await;
            let outcome = if keep { Outcome::Kept } else { Outcome::KeptNoLonger };
            match kept {
                Ok(()) => Done { outcome, lines: Vec::new(), back },
                Err(error) => failed(&error),
            }
        }
    }
}

fn released(done: release::Done, by: &By, back: String) -> Done {
    match done {
        release::Done::Requested { by: first, is_new } => {
            let outcome = if is_new { Outcome::Requested } else { Outcome::StillRequested };
            let lines =
                if is_new { Vec::new() } else { vec![format!("{}, {}", first.who, second(first.at))] };
            debug_assert!(!is_new || first.who == by.who);
            Done { outcome, lines, back }
        }
        release::Done::Released(Released { delivered, refused, in_doubt, is_held_still }) => {
            let outcome = match (delivered.is_empty(), is_held_still) {
                (_, false) => Outcome::Released,
                (false, true) => Outcome::PartlyReleased,
                (true, true) if in_doubt.is_empty() => Outcome::NotReleased,
                (true, true) => Outcome::PartlyReleased,
            };
            let mut lines: Vec<String> =
                delivered.iter().map(|path| format!("delivered to <{path}>")).collect();
            lines.extend(refused.iter().map(|(path, reply)| format!("refused for <{path}>: {reply}")));
            let lost = |path| format!("in doubt for <{path}>: the next hop was lost before it answered");
            lines.extend(in_doubt.iter().map(lost));
            Done { outcome, lines, back }
        }
    }
}

async fn with_correspondent(
    console: &Arc<Console>,
    action: Action,
    subject: &str,
    by: By,
    fields: &Fields,
) -> Done {
    let Ok(domain) = subject.parse::<DomainName>() else {
        return not_done("this is no domain".to_owned(), "/correspondents");
    };
    let back = format!("/correspondents/{domain}");
    let state = console.state.clone();
    let failed = {
        let back = back.clone();
        move |error: &CorrespondentError| {
            warn!(error = with_causes(error), "a deed at the console failed");
            not_done(with_causes(error), &back)
        }
    };
    match action {
        Action::Approve => {
            let not = |why: &str| Done {
                outcome: Outcome::NotApproved,
                lines: vec![why.to_owned()],
                back: back.clone(),
            };
            let Ok(key) = PublicKey::from_base64url(fields.one("key")) else { return not("this is no key") };
            // What the form shows and what somebody confirms must be the same key.
            match told(fields) {
                Ok(told) if told.is(&key.fingerprint()) => {}
                Ok(_) => {
                    return not("this is not the fingerprint of the key: ask again, and do not approve it");
                }
                Err(why) => return not(&why),
            }
            let approved = blocking(move || {
                let waits = correspondents::waiting(&state, &domain)?.iter().any(|known| known.key == key);
                Ok(waits && correspondents::approve(&state, &domain, &key, &by)?)
            })
            .await;
            match approved {
                Ok(true) => Done { outcome: Outcome::Approved, lines: Vec::new(), back },
                Ok(false) => not("no such key waits to be approved"),
                Err(error) => failed(&error),
            }
        }
        Action::Pin => {
            let (text, selector) = (fields.one("key").to_owned(), fields.one("selector").trim().to_owned());
            let is_root = fields.is_yes("root");
            let pinned = blocking(move || {
                let pin = pin_of(&state, &domain, text.trim(), &selector, is_root)?;
                correspondents::pin(&state, &pin, &by)
            })
            .await;
            match pinned {
                Ok(()) => Done { outcome: Outcome::Pinned, lines: Vec::new(), back },
                Err(error) => Done { outcome: Outcome::NotPinned, lines: vec![with_causes(&error)], back },
            }
        }
        Action::Forget => {
            if !fields.is_yes("sure") {
                return not_done("tick that you are sure".to_owned(), &back);
            }
            let forgotten = blocking(move || {
                let was_known = correspondents::forget(&state, &domain, &by)?;
                Ok(correspondents::unpin(&state, &domain, &by)? || was_known)
            })
            .await;
            match forgotten {
                Ok(true) => Done {
                    outcome: Outcome::Forgotten,
                    lines: Vec::new(),
                    back: "/correspondents".to_owned(),
                },
                Ok(false) => not_done("nothing was remembered or pinned by command".to_owned(), &back),
                Err(error) => failed(&error),
            }
        }
        _ => {
            let is_so = fields.is_yes("unsealed");
            let noted = blocking(move || correspondents::note_unsealed(&state, &domain, is_so, &by)).await;
            let outcome = if is_so { Outcome::Noted } else { Outcome::NotedNoLonger };
            match noted {
                Ok(()) => Done { outcome, lines: Vec::new(), back },
                Err(error) => failed(&error),
            }
        }
    }
}

/// The fingerprint that somebody typed, or whose words they ticked.
fn told(fields: &Fields) -> Result<Told, String> {
    let words = fields.all("word");
    let typed = fields.one("digits");
    let text = if words.is_empty() { typed.to_owned() } else { words.join(" ") };
    text.parse::<Told>().map_err(|error| error.to_string())
}

/// What is to be pinned: a fingerprint as it was told, a key record, or a root.
fn pin_of(
    state: &crate::store::State,
    domain: &DomainName,
    text: &str,
    selector: &str,
    is_root: bool,
) -> Result<SaidPin, CorrespondentError> {
    let wrong = CorrespondentError::Pin;
    let selector = Some(selector).filter(|selector| !selector.is_empty());
    let selector: Option<Selector> =
        selector.map(str::parse).transpose().map_err(|_| wrong("this is no selector".to_owned()))?;
    let mut pin = SaidPin { domain: domain.to_string(), subdomains: true, ..SaidPin::default() };
    if let Ok(told) = text.parse::<Told>() {
        correspondents::add_fingerprint(state, domain, &told, &mut pin)?;
    } else if is_root || PublicKey::from_base64url(text).is_ok() {
        let roots = correspondents::roots_to_pin("the key", text, domain).map_err(wrong)?;
        pin.roots.extend(roots.into_iter().map(PublicKey::to_base64url));
    } else {
        let keys = correspondents::keys_to_pin("the key", text, domain, selector.as_ref()).map_err(wrong)?;
        let said = |(selector, record): (_, attachment_seal::seal::key::KeyRecord)| SaidKey {
            selector,
            record: record.to_string(),
        };
        pin.keys.extend(keys.into_iter().map(said));
    }
    Ok(pin)
}

async fn prefer(console: &Arc<Console>, visitor: Visitor, who: &Who, fields: &Fields) -> Response<Body> {
    let given = |name: &str| Some(fields.one(name).trim().to_owned()).filter(|text| !text.is_empty());
    let preferences = Preferences { language: given("language"), time_zone: given("zone") };
    let is_language = |tag: &String| pages::languages().iter().any(|known| known.0 == tag.as_str());
    let wrong = if preferences.language.as_ref().is_some_and(|tag| !is_language(tag)) {
        Some("this language is not there".to_owned())
    } else if preferences.time_zone.as_ref().is_some_and(|name| TimeZone::get(name).is_err()) {
        Some("this is no time zone: write it as Europe/Vienna or UTC".to_owned())
    } else {
        let (state, name, wanted) = (console.state.clone(), who.account.name.clone(), preferences.clone());
        blocking(move || state.accounts.prefer(&name, &wanted)).await.err().map(|error| error.to_string())
    };
    preferences_page(console, visitor, who, preferences, Some(wrong)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_one_row_and_no_row_is_for_everybody() {
        for row in DEEDS {
            assert_eq!(DEEDS.iter().filter(|other| other.action == row.action).count(), 1, "{row:?}");
            assert_eq!(row_of(row.action), row);
            assert_eq!(row.role.is_none(), row.action == Action::LogIn, "{row:?}");
        }
        assert_eq!(row_of(Action::Pin).path_of("a/b"), "/correspondents/a%2Fb/pin");
    }
}
