//! Tells the administrator in time that a sealing key's delegation ends, from its last third on, that the certificate for clients
//! is not valid or soon will not be: in the log four times a day, by alert once a day, and at every reload.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use attachment_seal::seal::delegation::Life;
use attachment_seal::seal::sign::Sealer;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::clock::{moment, unix_time};
use crate::gateway::Running;
use crate::notify::Notice;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(6 * 3600);
/// Every so many looks an alert goes out, as long as there is reason.
const LOOKS_BETWEEN_ALERTS: u64 = 4;

/// Looks now and again, until `shutdown` turns true.
pub async fn watch(running: Arc<ArcSwap<Running>>, mut shutdown: watch::Receiver<bool>) {
    let mut looks = interval(PAUSE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 0.. {
        tokio::select! {
            _ = looks.tick() => say(&running.load(), look % LOOKS_BETWEEN_ALERTS == 0),
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
    }
}

/// A certificate should have been renewed when no more is left of it than this, or than a third of its life if that is less.
const CERTIFICATE_SHORT: u64 = 14 * 86_400;

/// Something that somebody must see to.
pub struct Reminder {
    /// A few words for the subject of an alert.
    subject: String,
    /// The whole of it.
    pub text: String,
    /// Whether harm is done already.
    is_late: bool,
    /// Whether the administrator is told by alert as well.
    is_alerted: bool,
}

impl Reminder {
    fn say(self, running: &Running, alert: bool) {
        let Self { subject, text, is_late, is_alerted } = self;
        if is_late {
            error!("{text}");
        } else {
            warn!("{text}");
        }
        if alert && is_alerted {
            running.post.notice(Notice { subject, text });
        }
    }
}

/// What is wrong with the certificate for clients.
pub fn certificate(running: &Running, now: u64) -> Option<Reminder> {
    let (begins, ends) = (running.setup.certificate_begins, running.setup.certificate_ends);
    let third = ends.unwrap_or(0).saturating_sub(begins.unwrap_or(0)) / 3;
    let ends = ends.filter(|ends| *ends <= now + third.min(CERTIFICATE_SHORT));
    let begins = begins.filter(|begins| *begins > now);
    let (about, text, is_late) = match (begins, ends) {
        (Some(begins), _) => {
            let begins = moment(begins);
            (
                "is not valid yet",
                format!(
                    "the certificate in [tls] is not valid before {begins}: check the certificate and the clock"
                ),
                true,
            )
        }
        (None, Some(ends)) => {
            let (about, verb) =
                if ends <= now { ("has expired", "expired") } else { ("expires soon", "expires") };
            let text =
                format!("the certificate in [tls] {verb} {}: renew it, and reload the gateway", moment(ends));
            (about, text, ends <= now)
        }
        (None, None) => return None,
    };
    // What can still be renewed in time is in the log and the digest.
    Some(Reminder {
        subject: format!("the certificate for clients {about}"),
        text,
        is_late,
        is_alerted: is_late,
    })
}

/// Which delegations end soon or have ended.
pub fn delegations(running: &Running, now: u64) -> Vec<Reminder> {
    let mut found = Vec::new();
    for own in &running.setup.domains {
        let Some(sealer) = own.sealer() else { continue };
        let Some(life) = sealer.delegations.life(now).filter(|life| life.is_short) else {
            continue;
        };
        let about = if life.left == 0 { "has ended" } else { "ends soon" };
        found.push(Reminder {
            subject: format!("the delegation of {} ({}) {about}", sealer.domain, sealer.selector),
            text: words(&sealer, life),
            is_late: life.left == 0,
            is_alerted: true,
        });
    }
    found
}

/// Says which delegations end soon or have ended, and whether the certificate is valid; after a reload at once, since it is
/// what the reload may be for.
pub fn say(running: &Running, alert: bool) {
    let Some(now) = unix_time() else { return };
    for own in running.setup.domains.iter().filter(|own| !own.has_folder()) {
        if let Some(sealer) = own.sealer().filter(|sealer| sealer.delegations.has_lapsed(now)) {
            let (domain, selector) = (&sealer.domain, &sealer.selector);
            info!(%domain, %selector, "The old key's delegation has expired. Remove `succession`.");
        }
    }
    for reminder in certificate(running, now).into_iter().chain(delegations(running, now)) {
        reminder.say(running, alert);
    }
}

fn words(sealer: &Sealer, life: Life) -> String {
    let (domain, selector) = (&sealer.domain, &sealer.selector);
    let ends = moment(life.ends);
    if life.left == 0 {
        return format!(
            "no delegation of {selector} for {domain} is valid now (the last ends {ends}): mail of {domain} is deferred with 451 until you make another with `waxseal root delegate`"
        );
    }
    let left = life.left / 3600;
    format!(
        "the delegation of {selector} for {domain} ends {ends}, in {left} hours; then mail of {domain} is deferred: make another with `waxseal root delegate`"
    )
}
