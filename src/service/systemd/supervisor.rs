//! Our state as systemd knows it (sd_notify(3)): ready, reloading, stopping, alive, and a line for `systemctl status`.

use std::env;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

/// How often the status line is brought up to date where no watchdog wants to hear of us.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);

/// How long systemd may take to hear of a change.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells systemd, if it wants to know: without `NOTIFY_SOCKET` nothing is said to anybody.
#[derive(Debug)]
pub struct Supervisor<F> {
    headline: Mutex<String>,
    sessions: F,
}

impl<F: Fn() -> usize> Supervisor<F> {
    /// `sessions` counts the sessions that there are now, for the status line.
    pub fn new(sessions: F) -> Self {
        Self { headline: Mutex::default(), sessions }
    }

    /// Everything is up, or a reload is over; `headline` says how it went.
    pub async fn ready(&self, headline: String) {
        self.set(headline);
        self.tell(&[NotifyState::Ready]).await;
    }

    /// The configuration is about to be read again. [`Supervisor::ready`] must follow, whatever comes of it.
    pub async fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]).await,
            Err(error) => warn!(%error, "systemd is not told of the reload"),
        }
    }

    /// We are about to end.
    pub async fn stopping(&self, headline: String) {
        self.set(headline);
        self.tell(&[NotifyState::Stopping]).await;
    }

    /// Says again and again that we are alive, twice in the watchdog's time; returns only where there
    /// is nobody to tell. Where tasks are not run any more, this one isn't either, and systemd starts us anew.
    pub async fn keep_alive(&self) {
        if !is_supervised() {
            return;
        }
        let watchdog = sd_notify::watchdog_enabled().filter(|period| !period.is_zero());
        let mut beats = interval(watchdog.map_or(STATUS_INTERVAL, |period| period / 2));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let alive: &[NotifyState<'_>] = if watchdog.is_some() { &[NotifyState::Watchdog] } else { &[] };
            send(self.message(alive)).await;
        }
    }

    fn set(&self, headline: String) {
        *self.headline.lock().unwrap_or_else(PoisonError::into_inner) = headline;
    }

    async fn tell(&self, states: &[NotifyState<'_>]) {
        if timeout(PATIENCE, send(self.message(states))).await.is_err() {
            warn!("systemd does not listen");
        }
    }

    /// One assignment a line, the status last.
    fn message(&self, states: &[NotifyState<'_>]) -> String {
        let headline =
            self.headline.lock().unwrap_or_else(PoisonError::into_inner).replace(['\n', '\r'], " ");
        let status = match headline.as_str() {
            "" => None,
            headline => Some(format!("STATUS={headline}; sessions: {}", (self.sessions)())),
        };
        let lines: Vec<_> = states.iter().map(ToString::to_string).chain(status).collect();
        lines.join("\n")
    }
}

fn is_supervised() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// In a thread apart: with a systemd that is stuck, sending waits, and no session may wait with it.
async fn send(message: String) {
    if !is_supervised() {
        return;
    }
    let sent = spawn_blocking(move || sd_notify::notify(&[NotifyState::Custom(&message)]));
    if let Ok(Err(error)) = sent.await {
        warn!(%error, "systemd cannot be told of our state");
    }
}
