//! Held mail while time goes by: what people do to it is in the gateway's log, and what is too old goes, once that was told.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use attachment_seal::verdict::report::printable;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::gateway::Running;
use crate::gateway::post::Post;
use crate::gateway::retention::{Going, going, remove_expired};
use crate::notify::Notice;
use crate::phrase::{counted, with_causes};
use crate::store::{AuditTrail, By, Deed, Quarantine, StoreError, What};

/// Between two looks at what was done.
const PAUSE: Duration = Duration::from_secs(5);
/// Between two looks for what is too old.
const RETENTION_PAUSE: Duration = Duration::from_secs(3600);
/// Deeds are noted by the clock of whoever does them, which may be this much behind.
const LATE: SignedDuration = SignedDuration::from_secs(60);
/// Messages that a notice lists.
const MAX_LISTED: usize = 50;

/// Looks now and again, until `shutdown` turns true.
pub(super) async fn watch(
    running: Arc<ArcSwap<Running>>,
    audit: Arc<dyn AuditTrail>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut looks = interval(PAUSE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut done = Done { since: Timestamp::now(), logged: Vec::new() };
    let mut looked: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        let audit = Arc::clone(&audit);
        let look = move || {
            done.log(&*audit);
            done
        };
        match task::spawn_blocking(look).await {
            Ok(same) => done = same,
            Err(_) => return,
        }
        if looked.is_none_or(|looked| looked.elapsed() >= RETENTION_PAUSE) {
            looked = Some(Instant::now());
            let now = running.load_full();
            let _ = task::spawn_blocking(move || let_go(&now)).await;
        }
    }
}

/// What was logged of what people did.
struct Done {
    since: Timestamp,
    /// Of the last minute.
    logged: Vec<Deed>,
}

impl Done {
    /// Logs what was done since, each deed once.
    fn log(&mut self, audit: &dyn AuditTrail) {
        let from = Timestamp::now() - LATE;
        // A database that does not answer is told of elsewhere.
        let Ok(deeds) = audit.since(from.max(self.since)) else { return };
        // What the gateway does for each message has its own lines.
        let is_ours = |what: What| what.is_personal() || what == What::Expired;
        for deed in deeds.iter().filter(|deed| is_ours(deed.what) && !self.logged.contains(deed)) {
            log(deed);
        }
        self.logged = deeds;
    }
}

fn log(deed: &Deed) {
    info!(
        held = deed.id.as_ref().map(ToString::to_string),
        what = deed.what.as_str(),
        who = printable(&deed.who, 100),
        recipients = printable(&deed.recipients.join(" "), 500),
        message_id = deed.message_id.as_deref().map(|id| printable(id, 200)),
        reason = deed.reason.as_deref().map(|reason| printable(reason, 500)),
        detail = deed.detail.as_deref().map(|detail| printable(detail, 500)),
        "something was done to held mail"
    );
}

/// Removes what is too old, and tells of what will be.
fn let_go(running: &Running) {
    let config = &running.setup.config;
    let (Some(keep), Some(quarantine)) = (config.held_mail.keep, &running.quarantine) else { return };
    let by = By::user(format!("gateway {}", config.state.label));
    let now = Timestamp::now();
    let told = remove_expired(&**quarantine, keep, &by, now).and_then(|removed| {
        if removed > 0 {
            info!(removed, "held mail was removed by age");
        }
        tell(&**quarantine, &running.post, &going(&**quarantine, keep, now)?)
    });
    if let Err(error) = told {
        warn!(error = with_causes(&error), "held mail cannot be removed by age now; it is tried again");
    }
}

/// Has the administrator told. Only what was told of is removed.
fn tell(quarantine: &dyn Quarantine, post: &Post, going: &Going) -> Result<(), StoreError> {
    if going.messages.is_empty() {
        return Ok(());
    }
    let day = going.expires.strftime("%Y-%m-%d");
    let count = counted(going.messages.len(), "held message");
    let mut text = format!(
        "{count} will be removed on {day}, by [quarantine] keep. To keep one: waxseal quarantine keep ID\n\n"
    );
    for listed in going.messages.iter().take(MAX_LISTED) {
        let from = listed.held.details.from.as_deref().unwrap_or(&listed.held.reverse_path);
        let _ = writeln!(text, "{} {} from {}", listed.id, listed.held.verdict, printable(from, 80));
    }
    if let more @ 1.. = going.messages.len().saturating_sub(MAX_LISTED) {
        let _ = writeln!(text, "and {more} more: waxseal quarantine list");
    }
    let notice = Notice { subject: format!("{count} will be removed on {day}"), text };
    if !post.announce(&notice)? {
        return Ok(());
    }
    let ids: Vec<_> = going.messages.iter().map(|listed| listed.id.clone()).collect();
    quarantine.announce(&ids, going.expires)
}
