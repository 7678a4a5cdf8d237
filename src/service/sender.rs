//! Sends what waits in the outbox. Letters to one address become one mail: the first goes out at once, those of the next minute
//! together, those to recipients of the next hour. So a flood of held mail does not become one of ours.
//!
//! A letter that was taken is ours for a minute, so no attempt begins that could last longer. What is not sent is put back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::blocking::blocking;
use crate::config::Server;
use crate::gateway::Running;
use crate::gateway::post::{Counts, News, domain_of};
use crate::gateway::setup::Setup;
use crate::notify::digest::{Part, digest_mail};
use crate::notify::recipient::{self, HeldNotice};
use crate::notify::{self, AddressError, Alert, Mail, Mailer, Notice, Route, SendError};
use crate::store::{
    AuditTrail, DatabaseError, Due, LetterId, LetterKind, Outbox, Quarantine, State, StoreError, What,
};

/// Between two looks into the outbox.
const PAUSE: Duration = Duration::from_secs(1);
/// Letters that are taken at once.
const MAX_TAKEN: usize = 10_000;
/// For so long after letters were taken another attempt begins: it lasts 30 seconds at most, and they are ours for 60.
const TIME: Duration = Duration::from_secs(25);
/// Alerts that one mail lists; the others are counted.
const MAX_LISTED: usize = 100;
/// How long notices to one recipient are gathered after one was sent.
const GATHER_NOTICES: Duration = Duration::from_secs(3_600);
/// Notices that are sent within a minute, to whomever.
const NOTICES_A_MINUTE: usize = 60;
/// Addresses of which it is remembered when they got their last mail.
const MAX_REMEMBERED: usize = 20_000;
/// Between two looks for held messages of which nobody was told.
const ADOPTED_PAUSE: Duration = Duration::from_secs(600);
/// How long ago such a message was found, at most.
const ADOPTED_WITHIN: Duration = Duration::from_secs(3_600);
/// How many of them a killed gateway can have left.
const MAX_ADOPTED: usize = 50;
/// The pauses between attempts, in seconds; the last one is repeated.
const PAUSES: [u64; 8] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400];
/// For so long after its time a letter is kept if no server answers at all.
const NO_SERVER: Duration = Duration::from_secs(9 * 86_400);

/// One mail that is to be.
struct Group {
    to: String,
    content: Content,
    letters: Vec<LetterId>,
    /// How often the first of them was put off.
    attempts: u32,
    /// When the last of them is no longer worth sending.
    expires: Timestamp,
}

enum Content {
    Alerts(Vec<Alert>),
    Notice(Notice),
    Digest(Vec<Part>),
    Held(Vec<HeldNotice>),
}

/// What is merged with its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sort {
    Alerts,
    Digest,
    Held,
}

impl Content {
    /// `None` for what is a mail of its own.
    fn sort(&self) -> Option<Sort> {
        match self {
            Self::Alerts(_) => Some(Sort::Alerts),
            Self::Notice(_) => None,
            Self::Digest(_) => Some(Sort::Digest),
            Self::Held(_) => Some(Sort::Held),
        }
    }

    fn is_for_recipients(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// How long the next ones to the same address are gathered.
    fn gather(&self) -> Option<Duration> {
        match self {
            Self::Alerts(_) => Some(notify::GATHER),
            Self::Held(_) => Some(GATHER_NOTICES),
            Self::Notice(_) | Self::Digest(_) => None,
        }
    }

    /// Adds what is of the same sort.
    fn join(&mut self, more: Self) {
        match (self, more) {
            (Self::Alerts(all), Self::Alerts(more)) => all.extend(more),
            (Self::Digest(all), Self::Digest(more)) => all.extend(more),
            (Self::Held(all), Self::Held(more)) => all.extend(more),
            _ => {}
        }
    }
}

/// Sends for as long as the gateway runs.
pub(super) struct Sender {
    running: Arc<ArcSwap<Running>>,
    outbox: Arc<dyn Outbox>,
    quarantine: Arc<dyn Quarantine>,
    audit: Arc<dyn AuditTrail>,
    /// How alerts leave; a change needs a restart.
    alerts: Option<Route>,
    mailers: HashMap<Route, Arc<Mailer>>,
    /// When an address got its last mail, of alerts (false) or of notices to recipients (true).
    told: HashMap<(bool, String), Timestamp>,
    /// The minute for which notices are counted, and how many were sent in it or put off from it.
    paced: (Timestamp, usize),
    was_readable: bool,
}

impl Sender {
    /// For what runs, if it has an outbox.
    pub(super) fn of(running: &Arc<ArcSwap<Running>>, state: Option<&State>) -> Option<Self> {
        let now = running.load();
        let alerts = now.setup.config.alerts.as_ref();
        Some(Self {
            running: Arc::clone(running),
            outbox: Arc::clone(now.post.outbox()?),
            quarantine: Arc::clone(now.quarantine.as_ref()?),
            audit: Arc::clone(&state?.audit),
            alerts: alerts.map(|alerts| route(&alerts.from, &alerts.next_hop, &now.setup)),
            mailers: HashMap::new(),
            told: HashMap::new(),
            paced: (Timestamp::UNIX_EPOCH, 0),
            was_readable: true,
        })
    }

    /// Sends until `stop` turns true, and then what was gathered.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut looked: Option<Instant> = None;
        loop {
            if looked.is_none_or(|looked| looked.elapsed() > ADOPTED_PAUSE) {
                looked = Some(Instant::now());
                self.tell_of_adopted().await;
            }
            tokio::select! {
                () = sleep(PAUSE) => self.send(Duration::ZERO).await,
                _ = stop.changed() => break,
            }
        }
        self.told.retain(|(is_for_recipients, _), _| *is_for_recipients);
        self.send(notify::GATHER + PAUSE).await;
    }

    /// A gateway that is killed while it holds a message may leave it without letters. The next one finds it, and writes them here;
    /// those that were written before are not written again. Where many are found, the database was lost, and everybody was told
    /// before.
    async fn tell_of_adopted(&self) {
        let (running, audit) = (self.running.load_full(), Arc::clone(&self.audit));
        let (quarantine, outbox) = (Arc::clone(&self.quarantine), Arc::clone(&self.outbox));
        let told = blocking(move || {
            let deeds = audit.since(Timestamp::now() - ADOPTED_WITHIN)?;
            let adopted = deeds.iter().filter(|deed| deed.what == What::Adopted);
            let ids: Vec<_> = adopted.filter_map(|deed| deed.id.as_ref()).collect();
            if ids.len() > MAX_ADOPTED {
                return Ok(0);
            }
            let has_notices = running.setup.config.notices.is_some();
            // What is gone by now needs no letter.
            let there = ids.iter().filter_map(|id| quarantine.show(id).ok());
            let letters: Vec<_> = there
                .flat_map(|listed| running.post.letters_about(&listed.id, &listed.held, has_notices))
                .collect();
            if letters.is_empty() { Ok(0) } else { outbox.put(&letters) }
        });
        note(told.await.map(drop));
    }

    /// Sends what is due so far ahead of now.
    async fn send(&mut self, ahead: Duration) {
        let (outbox, taken_at) = (Arc::clone(&self.outbox), Instant::now());
        let taken = blocking(move || outbox.take(Timestamp::now() + ahead, MAX_TAKEN)).await;
        let due = match taken {
            Ok(due) => due,
            Err(error) => {
                if self.was_readable {
                    error!(%error, "the outbox cannot be read: alerts and notices wait in it");
                }
                self.was_readable = false;
                return;
            }
        };
        self.was_readable = true;
        let (groups, unknown) = grouped(due);
        if !unknown.is_empty() {
            self.give_up(unknown, "its form is unknown to this version").await;
        }
        // Where one mail could not be delivered, the next one would not be either.
        let mut away = Vec::new();
        for group in groups {
            if taken_at.elapsed() > TIME {
                self.put_back(group.letters, Timestamp::now()).await;
                continue;
            }
            if let Some(until) = self.gathered_until(&group) {
                self.put_back(group.letters, until).await;
                continue;
            }
            self.deliver(group, &mut away, taken_at).await;
        }
    }

    /// When a group is due that must wait for others to the same address, or for its turn.
    fn gathered_until(&mut self, group: &Group) -> Option<Timestamp> {
        let now = Timestamp::now();
        let gather = group.content.gather()?;
        let is_for_recipients = group.content.is_for_recipients();
        // A clock that was put back must not keep anybody waiting.
        let last = self.told.get(&(is_for_recipients, group.to.clone())).filter(|last| **last <= now);
        if let Some(until) = last.map(|last| *last + gather).filter(|until| *until > now) {
            return Some(until);
        }
        if !is_for_recipients {
            return None;
        }
        let minute = Duration::from_secs(60);
        if self.paced.0 > now || self.paced.0 + minute <= now {
            self.paced = (now, 0);
        }
        self.paced.1 += 1;
        let turn = (self.paced.1 - 1) / NOTICES_A_MINUTE;
        (turn > 0).then(|| self.paced.0 + minute * u32::try_from(turn).unwrap_or(u32::MAX).min(60))
    }

    async fn deliver(&mut self, mut group: Group, away: &mut Vec<Route>, taken_at: Instant) {
        let running = self.running.load_full();
        if let Content::Held(held) = &mut group.content {
            let over = self.no_longer_held(&group.to, held, &mut group.letters).await;
            if !over.is_empty() {
                self.give_up(over, "the recipient has the message, or it is held no longer").await;
            }
            if group.letters.is_empty() {
                return;
            }
        }
        let route = self.route(&running.setup, &group);
        let Some(route) = route else {
            self.give_up(group.letters, "the configuration has nobody told of it any more").await;
            return;
        };
        if away.contains(&route) {
            return self.put_off(group, &running).await;
        }
        let more = if matches!(group.content, Content::Alerts(_)) { self.more().await } else { 0 };
        let mail = compose(&running.setup, &group, more);
        let sent = match self.mailer(&route) {
            Ok(mailer) => {
                let sent = mailer.send(&mail).await;
                match (&sent, &group.content) {
                    // A filter on its way may dislike what strangers wrote.
                    (Err(error), Content::Alerts(alerts))
                        if error.is_final() && taken_at.elapsed() < TIME =>
                    {
                        mailer.send(&notify::terse_mail(&group.to, alerts, more)).await
                    }
                    _ => sent,
                }
            }
            Err(error) => Err(error.into()),
        };
        let server = format!("{}:{}", route.next_hop.0, route.next_hop.1);
        match sent {
            Ok(()) => self.sent(group, more, &running).await,
            Err(error) => {
                if !error.is_reply() {
                    away.push(route);
                }
                self.failed(group, &error, &server, &running).await;
            }
        }
    }

    async fn sent(&mut self, group: Group, more: u64, running: &Running) {
        let count = group.letters.len() as u64;
        debug!(to = group.to, letters = count, "mail sent");
        counts(running, &group).add_sent(count + more);
        if self.told.len() >= MAX_REMEMBERED {
            let now = Timestamp::now();
            self.told.retain(|_, last| *last + GATHER_NOTICES > now && *last <= now);
        }
        if group.content.gather().is_some() && self.told.len() < MAX_REMEMBERED {
            self.told.insert((group.content.is_for_recipients(), group.to), Timestamp::now());
        }
        let (outbox, letters) = (Arc::clone(&self.outbox), group.letters);
        let noted = blocking(move || {
            outbox.sent(&letters)?;
            if more > 0 { outbox.told_more(more) } else { Ok(()) }
        });
        if let Err(error) = noted.await {
            warn!(%error, letters = count, "it cannot be noted that letters were sent: they are sent again");
        }
    }

    async fn failed(&self, group: Group, error: &SendError, server: &str, running: &Running) {
        let now = Timestamp::now();
        let is_over = group.expires <= now && (error.is_reply() || group.expires + NO_SERVER <= now);
        let count = group.letters.len();
        // What is refused for good may be the administrator's to mend; nobody mends a recipient's address.
        let is_refused = error.is_final() && group.content.is_for_recipients();
        if is_over || is_refused {
            error!(%error, server, to = group.to, lost = count, "mail is given up");
            counts(running, &group).add_lost(count as u64);
            let why = format!("{server}: {error}");
            return self.give_up(group.letters, &why).await;
        }
        let pause = pause(group.attempts);
        warn!(%error, server, to = group.to, letters = count, ?pause, "mail not sent, trying again");
        self.put_back(group.letters, now + pause).await;
    }

    /// The server was away a moment ago.
    async fn put_off(&self, group: Group, running: &Running) {
        let now = Timestamp::now();
        if group.expires + NO_SERVER <= now {
            counts(running, &group).add_lost(group.letters.len() as u64);
            return self.give_up(group.letters, "no server answers").await;
        }
        self.put_back(group.letters, now + pause(group.attempts)).await;
    }

    /// Takes those out that are about messages which the recipient has, or which are gone.
    async fn no_longer_held(
        &self,
        to: &str,
        held: &mut Vec<HeldNotice>,
        letters: &mut Vec<LetterId>,
    ) -> Vec<LetterId> {
        let (quarantine, to) = (Arc::clone(&self.quarantine), to.to_owned());
        let references: Vec<String> = held.iter().map(|notice| notice.reference.clone()).collect();
        let waits = blocking(move || {
            references.iter().map(|reference| waits_for(&*quarantine, reference, &to)).collect::<Vec<_>>()
        });
        let waits = waits.await;
        let mut each = waits.iter();
        held.retain(|_| each.next().is_none_or(|waits| *waits));
        let taken = std::mem::take(letters).into_iter().zip(waits);
        let (stay, over): (Vec<_>, Vec<_>) = taken.partition(|(_, waits)| *waits);
        letters.extend(stay.into_iter().map(|(letter, _)| letter));
        over.into_iter().map(|(letter, _)| letter).collect()
    }

    /// How a group leaves; `None` where that is told no more.
    fn route(&self, setup: &Setup, group: &Group) -> Option<Route> {
        if !group.content.is_for_recipients() {
            return self.alerts.clone();
        }
        let notices = setup.config.notices.as_ref()?;
        Some(route(&notices.from, &notices.next_hop, setup))
    }

    fn mailer(&mut self, route: &Route) -> Result<Arc<Mailer>, AddressError> {
        Ok(match self.mailers.entry(route.clone()) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(new) => Arc::clone(new.insert(Arc::new(Mailer::new(route)?))),
        })
    }

    /// Letters that did not fit into the outbox, and of which nobody was told yet.
    async fn more(&self) -> u64 {
        let outbox = Arc::clone(&self.outbox);
        blocking(move || outbox.waiting()).await.map_or(0, |waiting| waiting.more)
    }

    async fn put_back(&self, letters: Vec<LetterId>, until: Timestamp) {
        let outbox = Arc::clone(&self.outbox);
        note(blocking(move || outbox.postpone(&letters, until)).await);
    }

    async fn give_up(&self, letters: Vec<LetterId>, why: &str) {
        info!(letters = letters.len(), why, "letters are not sent");
        let (outbox, why) = (Arc::clone(&self.outbox), why.to_owned());
        note(blocking(move || outbox.give_up(&letters, &why)).await);
    }
}

/// A letter of which nothing is noted is due again within a minute.
fn note(noted: Result<(), DatabaseError>) {
    if let Err(error) = noted {
        warn!(%error, "the outbox cannot be written");
    }
}

fn pause(attempts: u32) -> Duration {
    let at = usize::try_from(attempts).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
    Duration::from_secs(PAUSES[at])
}

fn counts<'a>(running: &'a Running, group: &Group) -> &'a Counts {
    if group.content.is_for_recipients() { &running.post.notices } else { &running.post.alerts }
}

pub(super) fn route(from: &str, next_hop: &Server, setup: &Setup) -> Route {
    Route {
        from: from.to_owned(),
        next_hop: (next_hop.host.to_string(), next_hop.port),
        hostname: setup.hostname.clone(),
    }
}

/// Whether a recipient still waits for a held message. Where that cannot be known, the recipient is told.
fn waits_for(quarantine: &dyn Quarantine, reference: &str, to: &str) -> bool {
    let Ok(id) = reference.parse() else { return true };
    match (quarantine.show(&id), quarantine.releases(&id)) {
        (Err(StoreError::UnknownId(_)), _) => false,
        (Ok(listed), Ok(releases)) => {
            let mut places = listed.held.recipients.iter().enumerate().filter(|(_, path)| *path == to);
            places.any(|(place, _)| !releases.delivered.contains(&place))
        }
        _ => true,
    }
}

/// Letters by the mails that they become, those to the administrator first; and those that make none.
fn grouped(due: Vec<Due>) -> (Vec<Group>, Vec<LetterId>) {
    let (mut groups, mut unknown): (Vec<Group>, _) = (Vec::new(), Vec::new());
    let mut merged: HashMap<(Sort, String), usize> = HashMap::new();
    for Due { id, letter, attempts } in due {
        let content = match letter.kind {
            LetterKind::Alert => serde_json::from_value(letter.content).ok().map(|news| match news {
                News::Message(mut alert) => {
                    if alert.id.is_empty() {
                        alert.id = letter.about.clone().unwrap_or_default();
                    }
                    Content::Alerts(vec![*alert])
                }
                News::Notice(notice) => Content::Notice(notice),
            }),
            LetterKind::Digest => {
                serde_json::from_value(letter.content).ok().map(|part| Content::Digest(vec![part]))
            }
            LetterKind::Notice => serde_json::from_value(letter.content).ok().map(|mut held: HeldNotice| {
                held.reference = letter.about.clone().unwrap_or_default();
                Content::Held(vec![held])
            }),
            LetterKind::Report => None,
        };
        let Some(content) = content else {
            unknown.push(id);
            continue;
        };
        let key = content.sort().map(|sort| (sort, letter.to.clone()));
        if let Some(group) = key.as_ref().and_then(|key| groups.get_mut(*merged.get(key)?)) {
            group.content.join(content);
            group.letters.push(id);
            group.expires = group.expires.max(letter.expires);
            continue;
        }
        merged.extend(key.map(|key| (key, groups.len())));
        groups.push(Group { to: letter.to, content, letters: vec![id], attempts, expires: letter.expires });
    }
    groups.sort_by_key(|group| group.content.is_for_recipients());
    (groups, unknown)
}

fn compose(setup: &Setup, group: &Group, more: u64) -> Mail {
    match &group.content {
        Content::Alerts(alerts) => {
            let listed = &alerts[..alerts.len().min(MAX_LISTED)];
            notify::alerts_mail(&group.to, listed, more + (alerts.len() - listed.len()) as u64)
        }
        Content::Notice(notice) => notice.mail(&group.to),
        Content::Digest(parts) => digest_mail(&group.to, parts),
        Content::Held(held) => {
            let domain = domain_of(&group.to);
            let (language, contact) =
                setup.config.notices.as_ref().map_or(("en", None), |notices| notices.of(domain.as_ref()));
            let listed = &held[..held.len().min(recipient::MAX_NAMED)];
            recipient::mail(
                setup.languages.words(language),
                &group.to,
                listed,
                (held.len() - listed.len()) as u64,
                contact,
            )
        }
    }
}
