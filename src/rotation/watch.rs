//! Waiting until a new key's record is everywhere: first on each of the zone's own name servers, then with the configured
//! resolvers. These are not asked before, since they would remember for a while that the record is not there.

use std::collections::HashMap;
use std::net::SocketAddr;

use attachment_seal::domain::Selector;
use attachment_seal::seal::key::{KeyRecord, ParseKeyError, PublicKey};
use attachment_seal::seal::knowledge::{Answer, Failure};
use futures_util::future::join_all;
use jiff::Timestamp;

use super::{RotateError, Rotation};
use crate::dns::lookup::LookupKey;
use crate::dns::{self, Dns, Said, ZoneAnswer, all_say, key_record_name, resolvers};

/// How long at most a resolver is thought to remember that there was no record, in seconds, whatever the zone allows: RFC 2308
/// §5 has one to three hours for sensible, and resolvers keep to that.
const MAX_NEGATIVE_TTL: u32 = 3 * 3_600;

/// The same, where no server says what the zone allows.
const USUAL_NEGATIVE_TTL: u32 = 3_600;

/// How things stand with a record, after all were asked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether all that were asked have it.
    pub(super) everywhere: bool,
    /// Whether somebody says that there is none, or has another, so that it may be remembered elsewhere.
    pub(super) denied: bool,
    /// For how many seconds an absence may be remembered.
    pub(super) negative_ttl: u32,
}

impl Rotation<'_> {
    /// What each of the zone's servers says of a selector's record.
    pub(super) async fn ask_zone(&self, selector: &Selector) -> Result<Vec<Said>, RotateError> {
        let name = key_record_name(&self.domain, selector);
        let dns = Dns::new(self.dns.clone());
        Ok(match self.wishes.name_servers.as_slice() {
            [] => dns.ask_zone(&name).await?,
            servers => dns.ask_servers(servers, &name).await?,
        })
    }

    /// Asks everybody once, and tells what has changed since the last time.
    pub(super) async fn look(
        &self,
        selector: &Selector,
        key: PublicKey,
        heard: &mut HashMap<String, String>,
    ) -> Result<Standing, RotateError> {
        let mut tell = |who: String, what: String| {
            if heard.get(&who) != Some(&what) {
                (self.say)(&format!("  {} {who}: {what}", clock()));
                heard.insert(who, what);
            }
        };
        let said = match self.ask_zone(selector).await {
            Ok(said) => said,
            Err(RotateError::Zone(error)) if !error.is_lasting() => {
                tell("the zone's name servers".to_owned(), error.to_string());
                return Ok(Standing { everywhere: false, denied: false, negative_ttl: 0 });
            }
            Err(error) => return Err(error),
        };
        for said in &said {
            tell(said.to_string(), words(&said.answer, key));
        }
        let negative_ttl = said.iter().filter_map(|said| said.negative_ttl).max();
        let negative_ttl = negative_ttl.unwrap_or(USUAL_NEGATIVE_TTL).min(MAX_NEGATIVE_TTL);
        let has_other = |said: &Said| match &said.answer {
            ZoneAnswer::Found(texts) => Record::of_texts(texts, key) != Record::New,
            ZoneAnswer::Absent => true,
            ZoneAnswer::Alias(_) | ZoneAnswer::Failed(_) => false,
        };
        let denied = said.iter().any(has_other);
        if !all_say(&said, |texts| Record::of_texts(texts, key) == Record::New) {
            return Ok(Standing { everywhere: false, denied, negative_ttl });
        }
        let answers = self.ask_resolvers(selector).await?;
        let mut everywhere = true;
        for (resolver, answer) in &answers {
            let (record, words) = resolved(answer, key);
            everywhere &= record == Record::New;
            tell(format!("resolver {resolver}"), words);
        }
        Ok(Standing { everywhere, denied, negative_ttl })
    }

    /// What each of the configured resolvers says, nothing remembered of what they said before.
    async fn ask_resolvers(
        &self,
        selector: &Selector,
    ) -> Result<Vec<(SocketAddr, Answer<KeyRecord>)>, RotateError> {
        let asked = resolvers(&self.dns)?.into_iter().map(async |resolver| {
            let dns = Dns::new(dns::Settings { servers: Some(vec![resolver]), ..self.dns.clone() });
            (resolver, dns.lookup(&self.domain, selector).await)
        });
        Ok(join_all(asked).await)
    }
}

/// What stands where the new key ought to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// The new key, and nothing else.
    New,
    /// The new key, on trial.
    Trial,
    /// No key record.
    None,
    /// What is meant for one, and is not of its form.
    Malformed(ParseKeyError),
    /// A revoked key.
    Revoked,
    /// Another key.
    Other,
    /// The new key among others.
    Several,
}

impl Record {
    fn of(records: &[KeyRecord], key: PublicKey) -> Self {
        let is_new = |record: &KeyRecord| record.key == Some(key);
        match records {
            [] => Self::None,
            [one] if is_new(one) && one.trial => Self::Trial,
            [one] if is_new(one) => Self::New,
            [one] if one.key.is_none() => Self::Revoked,
            [_] => Self::Other,
            several if several.iter().any(is_new) => Self::Several,
            _ => Self::Other,
        }
    }

    fn of_texts(texts: &[String], key: PublicKey) -> Self {
        // Other records at the name are passed over, as verifying gateways do.
        let parsed: Vec<_> = texts.iter().map(|text| KeyRecord::parse(text)).collect();
        let records: Vec<_> = parsed.iter().filter_map(|parsed| (*parsed).ok()).collect();
        let is_meant = |error: &ParseKeyError| *error != ParseKeyError::Version;
        match parsed.into_iter().filter_map(Result::err).find(is_meant) {
            Some(error) if records.is_empty() => Self::Malformed(error),
            _ => Self::of(&records, key),
        }
    }

    fn words(self) -> String {
        let words = match self {
            Self::Malformed(error) => {
                return format!("a malformed key record ({error}): put the new one there");
            }
            Self::New => "the new key",
            Self::Trial => "the new key, but on trial: take `t=y` away",
            Self::None => "no key record yet",
            Self::Revoked => "a revoked key: put the new one there",
            Self::Other => "another key: put the new one there",
            Self::Several => "the new key and others: leave only the new one",
        };
        words.to_owned()
    }
}

fn words(answer: &ZoneAnswer, key: PublicKey) -> String {
    match answer {
        ZoneAnswer::Found(texts) => Record::of_texts(texts, key).words(),
        ZoneAnswer::Alias(target) => format!("an alias of {target}"),
        ZoneAnswer::Absent => "nothing yet".to_owned(),
        ZoneAnswer::Failed(failure) => failure.to_string(),
    }
}

fn resolved(answer: &Answer<KeyRecord>, key: PublicKey) -> (Record, String) {
    let (record, secure) = match answer {
        Answer::Found { records, secure } => (Record::of(records, key), *secure),
        Answer::NotFound { secure } => (Record::None, *secure),
        Answer::Failed(Failure::Bogus) => {
            return (Record::None, "an answer whose DNSSEC proof is wrong".to_owned());
        }
        Answer::Failed(Failure::Unanswered) => return (Record::None, "does not answer".to_owned()),
    };
    let proof = if secure { ", proved by DNSSEC" } else { "" };
    (record, format!("{}{proof}", record.words()))
}

/// The time of day, UTC.
pub(super) fn clock() -> String {
    Timestamp::now().strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use attachment_seal::seal::key::SealingKey;

    use super::*;

    #[test]
    fn only_the_new_key_alone_will_do() {
        let key = |seed: u8| SealingKey::from_seed(&[seed; 32]).public();
        let text = |seed: u8| KeyRecord { key: Some(key(seed)), trial: false }.to_string();
        let spf = "v=spf1 -all".to_owned();
        for (texts, wanted) in [
            (vec![], Record::None),
            (vec![spf.clone()], Record::None),
            (vec![text(2)], Record::New),
            (vec![spf, text(2)], Record::New),
            (vec![text(1)], Record::Other),
            (vec![text(1), text(2)], Record::Several),
            (vec![text(1), text(3)], Record::Other),
            (vec![format!("{}; t=y", text(2))], Record::Trial),
            (vec!["v=SEAL1; p=".to_owned()], Record::Revoked),
            (vec!["v=SEAL1; p=AAAA".to_owned()], Record::Malformed(ParseKeyError::PublicKey)),
            (vec!["v=SEAL1; p=AAAA".to_owned(), text(2)], Record::New),
        ] {
            assert_eq!(Record::of_texts(&texts, key(2)), wanted, "{texts:?}");
        }
    }
}
