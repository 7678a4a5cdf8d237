//! What is told to whoever watches the gateway: metrics (`/metrics`), whether it lives (`/health`), and whether it can do its
//! work (`/ready`, `/ready/<listener>`). docs/MONITORING.md is its other half.

pub mod ask;
mod counted;
mod disk;
mod exposition;
mod gauges;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tokio::sync::watch;

pub use self::counted::Counted;
use self::disk::{Disk, Watcher};
use self::exposition::Format;
use crate::clock::unix_time;
use crate::config::Mode;
use crate::gateway::Running;
use crate::metrics::Metrics;
use crate::smtp::Resources;
use crate::web;

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// What is watched.
#[derive(Debug)]
pub struct Monitoring {
    running: Arc<ArcSwap<Running>>,
    resources: Resources,
    metrics: Arc<Metrics>,
    reloads: Arc<Reloads>,
    listeners: Vec<Watched>,
    shutdown: watch::Receiver<bool>,
    disk: Watcher,
    /// Unix seconds.
    started: u64,
}

/// A listener that is watched.
#[derive(Clone, Debug)]
pub struct Watched {
    name: String,
    mode: Mode,
    is_served: Arc<AtomicBool>,
}

/// Dropped, it says that a socket of a listener is served no more.
#[derive(Debug)]
pub struct Served(Arc<AtomicBool>);

impl Watched {
    /// Watches a socket of a listener as well. What this gives is to be kept for as long as clients are served there.
    pub fn serve(watched: &mut Vec<Self>, name: &str, mode: Mode) -> Served {
        if let Some(listener) = watched.iter().find(|listener| listener.name == name) {
            return Served(Arc::clone(&listener.is_served));
        }
        let is_served = Arc::new(AtomicBool::new(true));
        watched.push(Self { name: name.to_owned(), mode, is_served: Arc::clone(&is_served) });
        Served(is_served)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What became of reloads.
#[derive(Debug, Default)]
pub struct Reloads {
    done: AtomicU64,
    refused: AtomicU64,
    last_was_refused: AtomicBool,
    /// Unix seconds; 0 before the first.
    last: AtomicU64,
}

impl Reloads {
    /// A reload put a configuration in force, or found that it was wrong.
    pub fn note(&self, is_done: bool) {
        let count = if is_done { &self.done } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
        self.last_was_refused.store(!is_done, Ordering::Relaxed);
        self.last.store(unix_time().unwrap_or_default(), Ordering::Relaxed);
    }
}

impl Monitoring {
    /// Watches what runs, until `shutdown` turns true and beyond.
    pub fn new(
        running: Arc<ArcSwap<Running>>,
        resources: Resources,
        metrics: Arc<Metrics>,
        reloads: Arc<Reloads>,
        listeners: Vec<Watched>,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let disk = {
            let now = running.load();
            let folder = now.setup.config.state.folder.clone();
            Watcher::new(folder, now.quarantine.clone(), now.post.outbox().cloned())
        };
        Self {
            running,
            resources,
            metrics,
            reloads,
            listeners,
            shutdown,
            disk,
            started: unix_time().unwrap_or_default(),
        }
    }

    async fn metrics(&self, format: Format) -> Page {
        let body = exposition::text(&self.registry(self.disk.look().await.as_deref()), format);
        Page { is_good: true, content_type: format.content_type(), body }
    }

    /// Whether all listeners can do their work, or the one of this name can; `None` if there is none.
    async fn ready(&self, name: Option<&str>) -> Option<Page> {
        let is_asked_for = |listener: &&Watched| name.is_none_or(|name| listener.name == name);
        let asked_for: Vec<_> = self.listeners.iter().filter(is_asked_for).collect();
        if asked_for.is_empty() {
            return None;
        }
        let disk = self.disk.look().await;
        let mut obstacles: Vec<String> = Vec::new();
        for listener in asked_for {
            obstacles.extend(self.obstacle(listener, disk.as_deref()));
        }
        obstacles.dedup();
        let is_good = obstacles.is_empty();
        let body = if is_good { "ok\n".to_owned() } else { format!("{}\n", obstacles.join("; ")) };
        Some(Page { is_good, content_type: PLAIN_TEXT, body })
    }

    async fn told_ready(&self, name: Option<&str>) -> Response<axum::body::Body> {
        match self.ready(name).await {
            Some(page) => page.response(),
            None => web::no_such_page().await,
        }
    }

    /// Why a listener should get no mail now. It is not for want of the next hop, which clients are told of at once and
    /// which another gateway would miss as well; nor of memory, without which most mail can go on.
    fn obstacle(&self, listener: &Watched, disk: Option<&Disk>) -> Option<String> {
        let name = &listener.name;
        if *self.shutdown.borrow() {
            return Some("draining".to_owned());
        }
        if !listener.is_served.load(Ordering::Relaxed) {
            return Some(format!("{name}: no longer served, by a fault in this program"));
        }
        match listener.mode {
            Mode::Seal => {
                let why = self.why_none_seals()?;
                Some(format!("{name}: {why}, so nothing can be sealed"))
            }
            Mode::Verify => match disk {
                Some(disk) => {
                    disk.obstacle.as_ref().map(|why| format!("{name}: the quarantine cannot be used: {why}"))
                }
                None => Some(format!("{name}: the disk of the state folder does not answer")),
            },
        }
    }

    /// Mail of no domain of ours could be sealed. As long as there is one that can, its mail shall go on.
    fn why_none_seals(&self) -> Option<&'static str> {
        let (running, now) = (self.running.load(), unix_time().unwrap_or_default());
        let mut sealers = running.setup.sealers().peekable();
        match sealers.peek() {
            None if running.setup.domains.is_empty() => None,
            None => Some("no key may seal"),
            Some(_) => {
                let holds = sealers.any(|own| own.delegations.for_seal(now, own.lifetime).is_ok());
                (!holds).then_some("no delegation holds")
            }
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    /// 200, or 503 where what was asked for is not in order.
    is_good: bool,
    content_type: &'static str,
    body: String,
}

impl Page {
    fn response(self) -> Response<axum::body::Body> {
        let status = if self.is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut response = web::text(status, self.body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        response
    }
}

/// What answers those who watch. Other paths are left to others, or to [`web::no_such_page`] where `is_alone`.
pub fn router(monitoring: Arc<Monitoring>, is_alone: bool) -> Router {
    let running = Arc::clone(&monitoring.running);
    let names = web::Names {
        is_ours: Arc::new(move |host| {
            let running = running.load();
            let config = &running.setup.config;
            let mut names = std::iter::once(&config.hostname).chain(&config.admin.hosts);
            names.any(|name| name.as_str() == host)
        }),
        setting: "`hosts` in [admin]",
    };
    let metrics = async |State(monitoring): State<Arc<Monitoring>>, headers: HeaderMap| {
        let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let accept = accept.collect::<Vec<_>>().join(",");
        monitoring.metrics(Format::wanted(&accept)).await.response()
    };
    let health =
        async || Page { is_good: true, content_type: PLAIN_TEXT, body: "ok\n".to_owned() }.response();
    let ready = async |State(monitoring): State<Arc<Monitoring>>| monitoring.told_ready(None).await;
    let listener_ready = async |State(monitoring): State<Arc<Monitoring>>, Path(listener): Path<String>| {
        monitoring.told_ready(Some(&listener)).await
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/ready/{*listener}", get(listener_ready));
    let router = if is_alone { router.fallback(web::no_such_page) } else { router };
    router
        .layer(from_fn(web::only_reading))
        .layer(from_fn_with_state(names, web::known_names))
        .with_state(monitoring)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_served_as_long_as_all_its_sockets_are() {
        let mut watched = Vec::new();
        let one = Watched::serve(&mut watched, "inbound", Mode::Verify);
        let other = Watched::serve(&mut watched, "inbound", Mode::Verify);
        let _third = Watched::serve(&mut watched, "outbound", Mode::Seal);
        let are_served = |watched: &[Watched]| -> Vec<bool> {
            watched.iter().map(|listener| listener.is_served.load(Ordering::Relaxed)).collect()
        };
        assert_eq!(are_served(&watched), [true, true]);
        drop(other);
        assert_eq!(are_served(&watched), [false, true]);
        drop(one);
    }
}
