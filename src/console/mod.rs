//! The console: pages for people, by which they find a message, see why it was held, and decide what becomes of it.
//! docs/CONSOLE.md is its other half.
//!
//! | file | what |
//! |---|---|
//! | `guard` | which requests are let in, and the header fields that every answer has |
//! | `session` | who somebody is, and which forms are theirs |
//! | `login`, `passwords`, `throttle` | how somebody gets in |
//! | `deeds`, `once` | what somebody may do, by role; each of it once |
//! | `looks`, `shown`, `known` | the pages that only show |
//! | `checks` | what needs a hand |
//! | `pages` | all of it as HTML |

mod checks;
mod deeds;
mod download;
mod guard;
mod known;
mod login;
mod looks;
mod once;
pub mod pages;
pub mod passwords;
mod session;
mod shown;
mod throttle;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use tokio::sync::{RwLock, Semaphore, watch};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use self::checks::Checks;
pub use self::deeds::{DEEDS, Row};
use self::once::Once;
use self::pages::style;
use self::passwords::Passwords;
pub use self::session::{SESSION, add_session};
use self::throttle::Throttle;
use crate::config;
use crate::gateway::Running;
use crate::store::State;
use crate::web::{self, Names};

/// Octets of a form at most.
const MAX_FORM: usize = 16 << 10;
/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that are downloaded at once.
const MAX_DOWNLOADS: usize = 4;

/// What the pages are made from.
#[derive(Debug)]
pub struct Console {
    running: Arc<ArcSwap<Running>>,
    state: State,
    shutdown: watch::Receiver<bool>,
    /// Held by each deed that is under way.
    under_way: Arc<RwLock<()>>,
    passwords: Passwords,
    throttle: Throttle,
    once: Once,
    checks: Checks,
    downloads: Arc<Semaphore>,
}

impl Console {
    /// Of a gateway that runs, with what it shares. Once `shutdown` is true, nothing more is begun; what is under way reads
    /// `under_way`.
    pub fn new(
        running: Arc<ArcSwap<Running>>,
        state: State,
        shutdown: watch::Receiver<bool>,
        under_way: Arc<RwLock<()>>,
    ) -> Self {
        Self {
            running,
            state,
            shutdown,
            under_way,
            passwords: Passwords::default(),
            throttle: Throttle::default(),
            once: Once::default(),
            checks: Checks::default(),
            downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
        }
    }

    /// The settings in force; those of the start where a reload took them away.
    fn settings(&self) -> Option<config::Console> {
        self.running.load().setup.config.console.clone()
    }
}

/// What answers people.
pub fn router(console: Arc<Console>) -> Router {
    let running = Arc::clone(&console.running);
    let names = Names {
        is_ours: Arc::new(move |host| {
            let running = running.load();
            let config = &running.setup.config;
            let more = config.console.iter().flat_map(|console| &console.names);
            std::iter::once(&config.hostname).chain(more).any(|name| name.as_str() == host)
        }),
        setting: "`names` in [console]",
    };
    let mut router = Router::new()
        .route("/", get(looks::now))
        .route("/messages", get(looks::messages))
        .route("/messages/{id}", get(looks::message))
        .route("/correspondents", get(looks::correspondents))
        .route("/correspondents/{domain}", get(looks::correspondent))
        .route("/login", get(login::page))
        .route("/open", get(login::open))
        .route(style::path(), get(looks::style))
        .route(style::icon_path(), get(looks::icon));
    for row in DEEDS {
        router = router.route(row.path, method(row));
    }
    router
        .route("/preferences", get(looks::preferences))
        .fallback(looks::nothing)
        .method_not_allowed_fallback(looks::nothing)
        .layer(from_fn_with_state(Arc::clone(&console), guard::admit))
        .layer(RequestBodyLimitLayer::new(MAX_FORM))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, PATIENCE))
        .layer(from_fn_with_state(names, web::known_names))
        .layer(from_fn(guard::protect))
        .with_state(console)
}

/// What answers a form, or gives a file.
fn method(row: &'static Row) -> MethodRouter<Arc<Console>> {
    use pages::view::Action;
    match row.action {
        Action::LogIn => post(login::log_in),
        Action::LogOut => post(login::log_out),
        Action::Download => get(download::download),
        Action::SetPreferences
        | Action::Release
        | Action::Delete
        | Action::Keep
        | Action::KeepNoLonger
        | Action::Approve
        | Action::Pin
        | Action::Forget
        | Action::AlsoUnsealed => {
            post(move |state, path, visitor, request| deeds::form(row, state, path, visitor, request))
        }
    }
}
