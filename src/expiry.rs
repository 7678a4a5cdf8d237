//! Tells the administrator in time that a sealing key's delegation ends: from its last third on, in the log four times a day
//! and by alert once a day.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, warn};

use crate::gateway::Running;
use crate::notify::Notice;
use crate::seal::delegation::Life;
use crate::seal::sign::Sealer;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(6 * 3600);
/// Every so many looks an alert goes out, as long as there is reason.
const LOOKS_BETWEEN_ALERTS: u64 = 4;

/// Looks now and again until `shutdown` turns true.
pub async fn watch(running: Arc<ArcSwap<Running>>, mut shutdown: watch::Receiver<bool>) {
    let mut looks = interval(PAUSE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 0.. {
        tokio::select! {
            _ = looks.tick() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        say(&running.load(), look % LOOKS_BETWEEN_ALERTS == 0);
    }
}

/// Says which delegations end soon or have ended; after a reload at once, since it is what the reload may be for.
pub fn say(running: &Running, alert: bool) {
    let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
    for sealer in &running.setup.sealers {
        let Some(life) = sealer.delegations.life(now.as_secs()).filter(|life| life.is_short) else {
            continue;
        };
        let text = words(sealer, life);
        if life.left == 0 {
            error!("{text}");
        } else {
            warn!("{text}");
        }
        if let (true, Some(alerter)) = (alert, &running.alerter) {
            let about = if life.left == 0 { "has ended" } else { "ends soon" };
            let subject = format!("the delegation of {} ({}) {about}", sealer.domain, sealer.selector);
            alerter.notice(Notice { subject, text });
        }
    }
}

fn words(sealer: &Sealer, life: Life) -> String {
    let (domain, selector) = (&sealer.domain, &sealer.selector);
    let ends =
        i64::try_from(life.ends).ok().and_then(|ends| Timestamp::from_second(ends).ok()).unwrap_or_default();
    if life.left == 0 {
        return format!(
            "no delegation of {selector} for {domain} holds now (the last ends {ends}): mail of {domain} is put off with \
             451 until there is another from `waxseal root delegate`"
        );
    }
    let left = life.left / 3600;
    format!(
        "the delegation of {selector} for {domain} ends {ends}, in {left} hours; then mail of {domain} is put off: make \
         another with `waxseal root delegate`"
    )
}
