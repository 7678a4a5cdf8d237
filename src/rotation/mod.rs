//! Another sealing key in place of the old one, without a message that names a key which is not published everywhere
//! (`waxseal keys rotate`). Each step is written down before it is taken and looks at what is there, so that the whole can be
//! interrupted anywhere and run again.

mod advice;
mod edit;
mod error;
mod place;
mod plan;
pub mod reminder;
mod switch;
mod watch;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::key::{PublicKey, SealingKey};
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

pub use self::edit::EditError;
use self::error::is_denied;
pub use self::error::{Handed, RotateError};
use crate::clock::second;
use crate::config::{Config, SealingDomain};
use crate::dns;
use crate::gateway::setup::Setup;
use crate::keys::{make_sealing_key, read_sealing_key, shown, token};
use crate::store::{Newest, Retired, RotationFile, UnderWay};

/// What the administrator wants of a rotation beyond the ordinary.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The new selector; the next free one if none is named.
    pub selector: Option<Selector>,
    /// Where the new key goes; beside the old one if nothing is said.
    pub out: Option<PathBuf>,
    /// A key that was made before, as `key` of the configuration names it, to take in place of a new one.
    pub key: Option<PathBuf>,
    /// The zone's name servers; found by its NS records if none are named.
    pub name_servers: Vec<SocketAddr>,
    /// Whether others have the old key: then nothing is waited for but that the new one is published.
    pub compromised: bool,
    /// Whether to wait; else each run goes as far as it can.
    pub wait: bool,
    /// Whether the configuration file may be changed.
    pub edit: bool,
    /// Between two looks.
    pub every: Duration,
}

/// How far a run came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The new key seals.
    Rotated(Rotated),
    /// It goes on with another run, once this has come.
    Pending(Awaits),
}

/// A rotation that has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The new key's selector.
    pub selector: String,
    /// Since when it seals.
    pub since: Timestamp,
    /// What is left to do about the old one.
    pub old: Option<Retired>,
    /// Whether an earlier run did it, within a day, and nothing was done now.
    pub is_earlier: bool,
}

/// What a rotation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// The new key's record in DNS.
    Record,
    /// That no resolver remembers any more that there was none.
    Resolvers(Timestamp),
    /// A delegation of the new key by the domain's root.
    Delegation,
    /// The new key in the configuration.
    Configuration(Order),
    /// A gateway that has taken the configuration in.
    Gateway(Order),
}

/// What the gateway is to be told when its configuration has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To read it.
    Reload,
    /// To start anew: systemd hands credentials over at the start alone.
    Restart,
}

impl Order {
    fn for_key(key: &Path) -> Self {
        if plan::is_credential(key) { Self::Restart } else { Self::Reload }
    }
}

/// One domain's rotation.
pub struct Rotation<'a> {
    config: &'a Config,
    path: &'a Path,
    domain: DomainName,
    dns: dns::Settings,
    wishes: &'a Wishes,
    file: RotationFile,
    say: &'a dyn Fn(&str),
}

impl<'a> Rotation<'a> {
    /// Of a domain of the configuration that was read from `path`. What happens is told by `say`, a line at a time.
    pub fn new(
        config: &'a Config,
        path: &'a Path,
        domain: &DomainName,
        wishes: &'a Wishes,
        say: &'a dyn Fn(&str),
    ) -> Result<Self, RotateError> {
        if !config.domains.iter().any(|own| own.name == *domain) {
            return Err(RotateError::NoDomain(domain.clone()));
        }
        let (_, dns) = Setup::read_for_verifying(config).map_err(RotateError::Mistakes)?;
        let file = RotationFile::new(&config.state);
        Ok(Self { config, path, domain: domain.clone(), dns, wishes, file, say })
    }

    /// Begins a rotation, or goes on with the one under way, as far as it goes.
    pub async fn run(&self) -> Result<Ended, RotateError> {
        let _at_work = self.file.begin()?;
        if let Some(rotated) = self.just_ended()? {
            if let Some(old) = &rotated.old {
                self.warn_of_holders(&old.selector, &self.own().selector, old.compromised);
            }
            return Ok(Ended::Rotated(rotated));
        }
        let mut under_way = self.begun().await?;
        let to = to_selector(&under_way)?;
        let key = self.key(&mut under_way, &to)?;
        if self.own().selector == to {
            return self.finish(&under_way, &to, key, None).await;
        }
        self.introduce(&under_way, &to, key);
        if let Some(pending) = self.await_publication(&mut under_way, &to, key).await? {
            return Ok(Ended::Pending(pending));
        }
        let succession = self.succession(&under_way, &to, key)?;
        let Some(changed) = self.configure(&under_way, &to, key, succession.as_ref())? else {
            return Ok(Ended::Pending(Awaits::Configuration(Order::for_key(&under_way.key))));
        };
        self.finish(&under_way, &to, key, Some(changed)).await
    }

    /// The rotation to the selector in force, if it ended a moment ago: whoever interrupted it and has it go on does not mean
    /// another one, unless that is said.
    fn just_ended(&self) -> Result<Option<Rotated>, RotateError> {
        let Wishes { selector: None, key: None, out: None, compromised: false, .. } = self.wishes else {
            return Ok(None);
        };
        let all = self.file.read()?;
        if all.of(self.domain.as_str()).is_some() {
            return Ok(None);
        }
        let now = Timestamp::now();
        let is_recent = |newest: &&Newest| {
            (newest.domain.as_str(), newest.selector.as_str())
                == (self.domain.as_str(), self.own().selector.as_str())
                && now.duration_since(newest.since) < SignedDuration::from_hours(24)
        };
        let Some(Newest { selector, since, .. }) = all.newest.into_iter().find(|newest| is_recent(&newest))
        else {
            return Ok(None);
        };
        let is_old = |old: &Retired| (old.domain.as_str(), old.since) == (self.domain.as_str(), since);
        let old = all.retired.into_iter().find(is_old);
        Ok(Some(Rotated { selector, since, old, is_earlier: true }))
    }

    /// The rotation under way, or one that begins now and is written down.
    async fn begun(&self) -> Result<UnderWay, RotateError> {
        let found = &self.own().selector;
        let Some(under_way) = self.file.read()?.of(self.domain.as_str()).cloned() else {
            let planned = self.plan().await?;
            self.note(&planned)?;
            return Ok(planned);
        };
        let Wishes { selector, out, key, .. } = self.wishes;
        let is_same = |selector: &Selector| selector.as_str() == under_way.to;
        let is_place_fixed = under_way.public.is_some() && out.is_some() || key.is_some();
        if is_place_fixed && !self.is_place_as_asked(&under_way)? || !selector.as_ref().is_none_or(is_same) {
            return Err(RotateError::UnderWay(under_way.to));
        }
        if ![&under_way.from, &under_way.to].contains(&&found.to_string()) {
            let (from, to) = (under_way.from, under_way.to);
            return Err(RotateError::Stranded {
                domain: self.domain.clone(),
                found: found.clone(),
                from,
                to,
            });
        }
        if self.wishes.compromised && !under_way.compromised {
            // It lay beside the old one.
            return Err(RotateError::NewKeyToo(under_way.to));
        }
        (self.say)(&format!("{}: going on with what began at {}", self.domain, second(under_way.began)));
        Ok(under_way)
    }

    /// The new key, made if it is not there yet.
    fn key(&self, under_way: &mut UnderWay, to: &Selector) -> Result<PublicKey, RotateError> {
        let place = under_way.file.clone().unwrap_or_else(|| under_way.key.clone());
        // To ask a token is to load its module, a program.
        let mut named = [Some(&under_way.key), under_way.file.as_ref()].into_iter().flatten();
        let other_token = named.find(|key| token(key).is_some() && **key != self.own().key.value);
        if let Some(token) = other_token
            && !self.is_place_as_asked(under_way)?
        {
            return Err(RotateError::TokenUnnamed(token.clone()));
        }
        let known = under_way.public.as_deref().and_then(|text| PublicKey::from_base64url(text).ok());
        if let Some(known) = known {
            // What is out of our sight is what it was; the gateway will tell.
            return match read_sealing_key(&place) {
                Ok(key) if key.public() != known => Err(RotateError::OtherKey(place)),
                _ => Ok(known),
            };
        }
        if !self.is_place_as_asked(under_way)? {
            return Err(RotateError::OtherPlace(place));
        }
        // There was nothing when this was planned, so what is there now is what an interrupted run made.
        let key = match read_sealing_key(&place) {
            Ok(key) => key,
            Err(_) => match self.make_key(&place) {
                Ok(key) => key,
                Err(error) => {
                    // Nothing has come of it, so it may begin anew in another way.
                    self.file.change(|all| all.end(self.domain.as_str()))?;
                    return Err(error);
                }
            },
        };
        let public = key.public();
        under_way.public = Some(public.to_base64url());
        self.note(under_way)?;
        (self.say)(&format!("{to}: new key in {}", shown(&place)));
        Ok(public)
    }

    /// Whether the new key's place is what the configuration and this command line say. They alone are believed: what is under
    /// way, the gateway's user could have written, and we may be root.
    fn is_place_as_asked(&self, under_way: &UnderWay) -> Result<bool, RotateError> {
        let asked = plan::place(self.own(), &to_selector(under_way)?, self.wishes, true);
        Ok(asked.is_ok_and(|asked| asked == (under_way.key.clone(), under_way.file.clone())))
    }

    fn make_key(&self, place: &Path) -> Result<SealingKey, RotateError> {
        if token(place).is_some() {
            return Ok(make_sealing_key(place)?);
        }
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| RotateError::NoChance)?;
        let key = SealingKey::from_seed(&seed);
        let pem = key.to_pem().unwrap_or_default();
        let old = &self.own().key.value;
        let like = if plan::is_file(old) { old } else { &self.config.state };
        match place::new(place, pem.as_bytes(), 0o600, like) {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(RotateError::KeyExists(place.to_owned()))
            }
            Err(error) if is_denied(&error) => Err(RotateError::NotOurs { path: place.to_owned(), error }),
            Err(error) => Err(RotateError::File { path: place.to_owned(), error }),
        }
    }

    /// Waits until the key is published everywhere, for so long that nobody remembers otherwise, and vouched for.
    async fn await_publication(
        &self,
        under_way: &mut UnderWay,
        to: &Selector,
        key: PublicKey,
    ) -> Result<Option<Awaits>, RotateError> {
        let mut heard = HashMap::new();
        (self.say)("what DNS says now:");
        loop {
            let standing = self.look(to, key, &mut heard).await?;
            if standing.denied && under_way.published.take().is_some() {
                // Whoever has this go on must wait anew as well.
                under_way.settled = None;
                self.note(under_way)?;
            }
            let now = Timestamp::now();
            if standing.everywhere && under_way.published.is_none() {
                let wait = SignedDuration::from_secs(standing.negative_ttl.into());
                under_way.published = Some(now);
                under_way.settled = Some(now.saturating_add(wait).unwrap_or(now));
                self.note(under_way)?;
                (self.say)("the new key is published everywhere");
                if !under_way.compromised && !wait.is_zero() {
                    (self.say)(&format!(
                        "others may remember that it was not for {} s; after that it seals",
                        wait.as_secs()
                    ));
                }
            }
            let settled = if under_way.compromised { now } else { under_way.settled.unwrap_or(now) };
            let awaits = if !standing.everywhere {
                Awaits::Record
            } else if now < settled {
                Awaits::Resolvers(settled)
            } else if !self.is_delegated(to, key)? {
                Awaits::Delegation
            } else {
                return Ok(None);
            };
            if !self.wishes.wait {
                return Ok(Some(awaits));
            }
            if awaits == Awaits::Delegation {
                let who = "the root's delegation".to_owned();
                if heard.insert(who, String::new()).is_none() {
                    (self.say)("  waiting for the root's delegation of the new key");
                }
            }
            sleep(self.wishes.every.min(until(settled, now))).await;
        }
    }

    /// Sees that the gateway seals with the new key, and notes what is left to do about the old one.
    async fn finish(
        &self,
        under_way: &UnderWay,
        to: &Selector,
        key: PublicKey,
        changed: Option<switch::Changed>,
    ) -> Result<Ended, RotateError> {
        let is_vouched = changed.as_ref().is_some_and(|changed| changed.is_vouched);
        let since = match self.take_over(to, key, changed).await? {
            Ok(since) => since,
            Err(awaits) => return Ok(Ended::Pending(awaits)),
        };
        if !is_vouched {
            self.warn_of_holders(&under_way.from, to, under_way.compromised);
        }
        let retired = Retired {
            domain: under_way.domain.clone(),
            selector: under_way.from.clone(),
            public: under_way.old_public.clone(),
            since,
            remove_after: reminder::removal(self.config, self.domain.as_str(), since),
            compromised: under_way.compromised,
        };
        self.file.change(|all| {
            all.end(&retired.domain);
            all.retire(retired.clone(), to.as_str());
        })?;
        let selector = to.to_string();
        Ok(Ended::Rotated(Rotated { selector, since, old: Some(retired), is_earlier: false }))
    }

    fn own(&self) -> &SealingDomain {
        let own = self.config.domains.iter().find(|own| own.name == self.domain);
        own.expect("looked for when this was made")
    }

    fn note(&self, under_way: &UnderWay) -> Result<(), RotateError> {
        Ok(self.file.change(|all| all.note(under_way.clone()))?)
    }
}

fn to_selector(under_way: &UnderWay) -> Result<Selector, RotateError> {
    under_way.to.parse().map_err(|_| RotateError::NoSelector)
}

/// The time from `now` to a later moment; long, if that is over.
fn until(moment: Timestamp, now: Timestamp) -> Duration {
    let left = moment.duration_since(now);
    if left.is_positive() { left.unsigned_abs() } else { Duration::MAX }
}
