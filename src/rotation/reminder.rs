//! Reminds of old keys' records that are in DNS still, though no mail needs them; forgets those that are gone.

use attachment_seal::seal::key::KeyRecord;
use attachment_seal::seal::knowledge::Answer;
use jiff::Timestamp;
use tokio::task;
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::dns::lookup::LookupKey;
use crate::dns::{self, Dns, key_record_name};
use crate::gateway::Running;
use crate::notify::Notice;
use crate::store::{Retired, RotationFile};

/// What is left to do about an old key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Nothing.
    Nothing,
    /// To take its record away, or to revoke it.
    Record,
    /// Nobody can say for now.
    Unknown,
}

/// Looks for the records of old keys whose time has come, says which are there still, by alert too if that is wanted, and
/// forgets the others.
pub async fn remind(running: &Running, alert: bool) {
    let file = RotationFile::new(&running.setup.config.state);
    let reading = file.clone();
    let rotations = match task::spawn_blocking(move || reading.read()).await {
        Ok(Ok(rotations)) => rotations,
        Ok(Err(error)) => return warn!(%error, "cannot remind of keys to be removed from DNS"),
        Err(_) => return,
    };
    let now = Timestamp::now();
    for old in rotations.retired.into_iter().filter(|old| is_due(old, now)) {
        match remains(&running.setup.dns, &old).await {
            Remains::Nothing => {
                let file = file.clone();
                let (domain, selector) = (old.domain.clone(), old.selector.clone());
                let forgotten =
                    task::spawn_blocking(move || file.change(|all| all.forget(&domain, &selector))).await;
                match forgotten {
                    Ok(Ok(_)) => info!(domain = old.domain, selector = old.selector, "{}", gone(&old)),
                    failure => warn!(?failure, "cannot write down that an old key's record is gone"),
                }
            }
            Remains::Record => say(running, &old, alert),
            Remains::Unknown => {
                debug!(domain = old.domain, selector = old.selector, "cannot look for an old key's record");
            }
        }
    }
}

/// Whether there is something to do about an old key.
pub fn is_due(old: &Retired, now: Timestamp) -> bool {
    old.compromised || old.remove_after <= now
}

/// What of an old key's record the resolvers see, nothing remembered of earlier answers.
pub async fn remains(settings: &dns::Settings, old: &Retired) -> Remains {
    if settings.servers.as_ref().is_some_and(Vec::is_empty) {
        return Remains::Unknown;
    }
    remains_at(&Dns::new(settings.clone()), old).await
}

/// The same by way of who asks already.
pub async fn remains_at(dns: &Dns, old: &Retired) -> Remains {
    let (Ok(domain), Ok(selector)) = (old.domain.parse(), old.selector.parse()) else {
        return Remains::Nothing;
    };
    judged(&dns.lookup(&domain, &selector).await, old.compromised)
}

fn judged(answer: &Answer<KeyRecord>, compromised: bool) -> Remains {
    match answer {
        Answer::Found { records, .. } if records.iter().all(|record| record.key.is_none()) => {
            Remains::Nothing
        }
        // Where the record is merely gone, those who remember the key believe it on.
        Answer::NotFound { .. } if !compromised => Remains::Nothing,
        Answer::Found { .. } | Answer::NotFound { .. } => Remains::Record,
        Answer::Failed(_) => Remains::Unknown,
    }
}

fn say(running: &Running, old: &Retired, alert: bool) {
    let text = words(old);
    warn!("{text}");
    if let (true, Some(alerter)) = (alert, &running.alerter) {
        let what = if old.compromised { "must be revoked" } else { "can be removed from DNS" };
        let subject = format!("the old key {} of {} {what}", old.selector, old.domain);
        alerter.notice(Notice { subject, text });
    }
}

/// What is to be done about an old key whose record is there still.
pub fn words(old: &Retired) -> String {
    let (name, since) = (record_name(old), day(old.since));
    if old.compromised {
        return format!(
            "the key {} of {} has not sealed since {since}, and others have it: publish \"v=SEAL1; k=ed25519; p=\" at {name} \
             now, and leave that there for good",
            old.selector, old.domain
        );
    }
    format!(
        "the key {} of {} has not sealed since {since}, and since {} no mail needs it: remove {name} from DNS",
        old.selector,
        old.domain,
        day(old.remove_after)
    )
}

fn gone(old: &Retired) -> &'static str {
    if old.compromised { "the old key is revoked" } else { "the old key's record is gone" }
}

/// Where an old key's record stands.
pub fn record_name(old: &Retired) -> String {
    match (old.domain.parse(), old.selector.parse()) {
        (Ok(domain), Ok(selector)) => key_record_name(&domain, &selector),
        _ => format!("{}, {}", old.domain, old.selector),
    }
}

/// The day of a moment, UTC.
pub fn day(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d").to_string()
}

/// For how long the longest-lived seal of a domain's old key may be under way, and some days for late readers.
pub fn removal(config: &Config, domain: &str, since: Timestamp) -> Timestamp {
    const MARGIN: u64 = 7 * 86_400;
    let own = config.domains.iter().find(|own| own.name.as_str() == domain);
    let lifetime = own.map_or(attachment_seal::seal::sign::DEFAULT_LIFETIME, |own| own.lifetime.as_secs());
    let wait = i64::try_from(lifetime.saturating_add(MARGIN)).unwrap_or(i64::MAX);
    since.checked_add(jiff::SignedDuration::from_secs(wait)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use attachment_seal::seal::key::SealingKey;
    use attachment_seal::seal::knowledge::Failure;

    use super::*;

    #[test]
    fn what_remains_to_be_done() {
        let key = Some(SealingKey::from_seed(&[1; 32]).public());
        let live = KeyRecord { key, trial: false };
        let revoked = KeyRecord { key: None, trial: false };
        let found = |records: &[KeyRecord]| Answer::Found { records: records.to_vec(), secure: true };
        let none = Answer::NotFound { secure: true };
        for (answer, retired, compromised) in [
            (found(&[live]), Remains::Record, Remains::Record),
            (found(&[revoked]), Remains::Nothing, Remains::Nothing),
            (found(&[revoked, live]), Remains::Record, Remains::Record),
            (none, Remains::Nothing, Remains::Record),
            (Answer::Failed(Failure::Unanswered), Remains::Unknown, Remains::Unknown),
        ] {
            assert_eq!((judged(&answer, false), judged(&answer, true)), (retired, compromised), "{answer:?}");
        }
    }
}
