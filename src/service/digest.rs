//! The daily digest: gathers what the last day had at the time that `[alerts] digest` names, and puts it into the outbox. Of all
//! gateways that share a state, one tells of the site; each tells of itself.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use attachment_seal::seal::knowledge::{Answer, Failure};
use attachment_seal::verdict::report::printable;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::reminders;
use crate::blocking::blocking;
use crate::clock::{second, unix_time};
use crate::dns::lookup::LookupKey;
use crate::gateway::Running;
use crate::gateway::keyring::watch::sentence;
use crate::notify::digest::{Became, Day, Part, gateway_part};
use crate::smtp::next_hop::visit::Visit;
use crate::smtp::{Introduction, Settings};
use crate::store::{DatabaseError, Deed, Filter, Judged, State, What};

/// Between two looks at the clock.
const PAUSE: Duration = Duration::from_secs(20);
/// A digest of a gateway's own health goes out only so soon after its time: later, it says nothing of that time.
const FRESH: SignedDuration = SignedDuration::from_secs(600);
/// How long a next hop or a name server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Held messages that are looked at for their end.
const MAX_EXPIRING: usize = 200;
/// A letter that waits for longer is told of.
const LATE: SignedDuration = SignedDuration::from_secs(3_600);
/// Less than this part of the disk is little, in hundredths.
const LITTLE: u64 = 5;
/// So much of a quota is much, in hundredths.
const MUCH: u64 = 70;

/// What the digest is made of.
pub(super) struct Digester<L> {
    pub(super) running: Arc<ArcSwap<Running>>,
    pub(super) state: State,
    pub(super) lookup: Arc<L>,
    pub(super) time: Time,
}

impl<L: LookupKey> Digester<L> {
    /// Makes a digest a day, until `shutdown` turns true. One that was missed is made up for.
    pub(super) async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut done: Option<Timestamp> = None;
        loop {
            tokio::select! {
                () = sleep(PAUSE) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            let Some((from, until)) = last_day(&Zoned::now(), self.time) else { continue };
            if done == Some(until) {
                continue;
            }
            match self.digest(from, until).await {
                Ok(()) => done = Some(until),
                Err(error) => warn!(%error, "the daily digest cannot be made now; it is tried again"),
            }
        }
    }

    /// Puts the digest of a day into the outbox, unless somebody has.
    async fn digest(&self, from: Timestamp, until: Timestamp) -> Result<(), DatabaseError> {
        let running = self.running.load_full();
        let state = self.state.clone();
        let day = blocking(move || gather(&state, from, until)).await?;
        // After midnight by the site's clock: the day is named by the date on which its digest goes out.
        let date = until.to_zoned(TimeZone::system()).strftime("%Y-%m-%d").to_string();
        let mut letters = Vec::new();
        if let Some(part) = day.part(from, until) {
            letters.extend(running.post.digest_letter(&part, date.clone()));
        }
        if Timestamp::now().duration_since(until) < FRESH
            && let Some(part) = self.of_gateway(&running).await
        {
            letters.extend(running.post.digest_letter(&part, format!("{date} {}", running.setup.hostname)));
        }
        if letters.is_empty() {
            return Ok(());
        }
        info!(parts = letters.len(), "the daily digest is put into the outbox");
        let outbox = Arc::clone(&self.state.outbox);
        blocking(move || outbox.put(&letters)).await.map(drop)
    }

    async fn of_gateway(&self, running: &Arc<Running>) -> Option<Part> {
        let keys = keys(running);
        let (state, now) = (self.state.clone(), Arc::clone(running));
        let mut health = blocking(move || of_disk_and_database(&state, &now)).await;
        health.extend(self.of_dns(running).await);
        for listener in &running.setup.config.listeners {
            if let Some(settings) = running.setup.smtp_settings(&listener.name) {
                health.extend(of_next_hop(&settings).await);
            }
        }
        gateway_part(running.setup.hostname.as_str(), &keys, &health)
    }

    async fn of_dns(&self, running: &Running) -> Option<String> {
        if running.setup.dns.servers.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        let asked = self.lookup.lookup_policy(&running.setup.hostname);
        match timeout(PATIENCE, asked).await {
            Ok(Answer::Failed(Failure::Unanswered)) | Err(_) => {
                Some("DNS: no name server answers".to_owned())
            }
            Ok(Answer::Failed(Failure::Bogus)) => {
                Some("DNS: what the name servers answer contradicts DNSSEC".to_owned())
            }
            Ok(Answer::Found { .. } | Answer::NotFound { .. }) => None,
        }
    }
}

/// The day that ended when this time of day was last.
fn last_day(now: &Zoned, time: Time) -> Option<(Timestamp, Timestamp)> {
    let day_before = |moment: &Zoned| moment.yesterday().ok()?.with().time(time).build().ok();
    let today = now.with().time(time).build().ok()?;
    let until = if today.timestamp() <= now.timestamp() { today } else { day_before(&today)? };
    let from = day_before(&until)?;
    Some((from.timestamp(), until.timestamp()))
}

/// What happened at the site.
fn gather(state: &State, from: Timestamp, until: Timestamp) -> Result<Day, DatabaseError> {
    let mut day = Day::default();
    let first = u64::try_from(from.as_second()).unwrap_or_default();
    let end = u64::try_from(until.as_second()).unwrap_or_default();
    let period = state.judgements.since(first)?;
    for judged in period.messages.iter().filter(|judged| (first..end).contains(&judged.at)) {
        let domain = judged.from_domain.as_ref().or(judged.domain.as_ref());
        let domain = domain.map_or("unclear", String::as_str);
        if let Some(became) = became(judged) {
            day.count(domain, became);
        }
        if judged.verdict == "key-changed" && !day.offering.iter().any(|known| known == domain) {
            day.offering.push(domain.to_owned());
        }
        day.dated_ahead += u64::from(judged.reason.as_deref() == Some("future-seal"));
    }
    for deed in state.audit.since(from)?.iter().filter(|deed| deed.at < until) {
        day.released += u64::from(deed.what == What::Released);
        day.deeds.extend(in_words(deed));
    }
    let soon =
        Filter { expires: until.checked_add(SignedDuration::from_hours(7 * 24)).ok(), ..Filter::default() };
    // What is damaged in the quarantine is told of elsewhere.
    let going =
        state.quarantine.list(&soon, None, MAX_EXPIRING).map(|listing| listing.held).unwrap_or_default();
    day.expiring = going
        .iter()
        .filter(|listed| !listed.keep)
        .filter_map(|listed| {
            let expires = second(listed.expires?);
            let subject = listed.held.details.subject.as_deref().unwrap_or_default();
            Some(format!("{} {expires} {}", listed.id, printable(subject, 60)))
        })
        .collect();
    Ok(day)
}

fn became(judged: &Judged) -> Option<Became> {
    let would_be_kept = matches!(judged.asked.as_str(), "quarantine" | "reject");
    match judged.done.as_str() {
        "quarantine" => Some(Became::Held),
        "reject" => Some(Became::Rejected),
        "defer" => Some(Became::Deferred),
        "deliver" | "mark" if would_be_kept => Some(Became::Observed),
        "mark" => Some(Became::Marked),
        _ => None,
    }
}

/// What somebody did, in a line; nothing of what the gateway does by itself for each message.
fn in_words(deed: &Deed) -> Option<String> {
    if deed.what.is_routine() {
        return None;
    }
    let id = deed.id.as_ref().map(ToString::to_string).unwrap_or_default();
    let reason = deed.reason.as_ref().or(deed.detail.as_ref());
    let reason = reason.map(|reason| format!(" ({})", printable(reason, 100))).unwrap_or_default();
    let who = printable(&deed.who, 60);
    Some(format!("{} {} {id} by {who}{reason}", second(deed.at), deed.what.as_str()))
}

/// Keys, delegations and the certificate that need a hand.
fn keys(running: &Running) -> Vec<String> {
    let now = unix_time().unwrap_or_default();
    let mut found: Vec<String> =
        reminders::certificate(running, now).map(|reminder| reminder.text).into_iter().collect();
    found.extend(reminders::delegations(running, now).into_iter().map(|reminder| reminder.text));
    for own in &running.setup.domains {
        let ring = running.keyrings.of(own);
        let statuses = ring.statuses(own.config.lifetime.as_secs(), now);
        let needy = statuses.filter(|status| status.state.needs_somebody());
        found.extend(needy.map(|status| format!("{}: {}", own.name(), sentence(own, &status))));
    }
    found
}

fn of_disk_and_database(state: &State, running: &Running) -> Vec<String> {
    let config = &running.setup.config;
    let mut found = Vec::new();
    if let Ok(room) = crate::disk::room(&config.state.folder)
        && room.free < room.size / 100 * LITTLE
    {
        let (free, size) = (room.free >> 20, room.size >> 20);
        found.push(format!("disk: {free} MiB of {size} MiB are free at {}", config.state.folder.display()));
    }
    if let Err(error) = state.quarantine.check_writable() {
        found.push(format!("quarantine: it cannot be written: {error}"));
    }
    match state.quarantine.usage() {
        Ok(usage) => {
            for (name, taken, limit) in [
                ("messages", usage.messages, config.quarantine.all.messages),
                ("octets", usage.octets, config.quarantine.all.octets),
                ("unverified messages", usage.unverified_messages, config.quarantine.unverified.messages),
                ("unverified octets", usage.unverified_octets, config.quarantine.unverified.octets),
            ] {
                if taken.saturating_mul(100) >= limit.saturating_mul(MUCH) {
                    found.push(format!("quarantine: {taken} of {limit} {name} are taken"));
                }
            }
        }
        Err(error) => found.push(format!("quarantine: it cannot be read: {error}")),
    }
    if !state.memories.is_open() {
        found.push("database: it cannot be used".to_owned());
    }
    match state.memories.damage() {
        Ok(Some(damage)) => found.push(format!("database: {}", printable(&damage, 200))),
        Ok(None) => {}
        Err(error) => found.push(format!("database: {error}")),
    }
    if let Ok(waiting) = state.outbox.waiting()
        && let Some(oldest) = waiting.oldest.filter(|oldest| Timestamp::now().duration_since(*oldest) > LATE)
    {
        found.push(format!("outbox: {} letters wait, the oldest since {}", waiting.letters, second(oldest)));
    }
    found
}

async fn of_next_hop(settings: &Settings) -> Option<String> {
    let mut settings = settings.clone();
    settings.introduction = Introduction::Nothing;
    settings.limits.next_hop_timeout = settings.limits.next_hop_timeout.min(PATIENCE);
    let place = format!("next hop of listener {}", settings.listener);
    match Visit::pay(&settings, std::net::Ipv4Addr::LOCALHOST.into()).await {
        Ok(visit) => {
            let offer = visit.offer.clone();
            visit.leave().await;
            (!offer.is_positive()).then(|| format!("{place}: {offer}"))
        }
        Err(error) => Some(format!("{place}: {}", crate::phrase::with_causes(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_its_time() {
        let time = jiff::civil::time(7, 0, 0, 0);
        for (now, from, until) in [
            ("2026-11-28T06:59:59Z", "2026-11-26T07:00:00Z", "2026-11-27T07:00:00Z"),
            ("2026-11-28T07:00:00Z", "2026-11-27T07:00:00Z", "2026-11-28T07:00:00Z"),
            ("2026-11-28T23:00:00Z", "2026-11-27T07:00:00Z", "2026-11-28T07:00:00Z"),
        ] {
            let now: Timestamp = now.parse().unwrap();
            let day = last_day(&now.to_zoned(TimeZone::UTC), time).unwrap();
            assert_eq!(day, (from.parse().unwrap(), until.parse().unwrap()), "{now}");
        }
        // Where summer time begins, the day has 23 hours.
        let geneva: Zoned = "2026-03-29T08:00:00[Europe/Zurich]".parse().unwrap();
        let (from, until) = last_day(&geneva, time).unwrap();
        assert_eq!(until.duration_since(from), SignedDuration::from_hours(23));
    }
}
