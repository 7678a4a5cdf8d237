//! Looking for a key's record: first with each of the zone's own name servers, then with the configured resolvers. These are
//! asked only once all of the others have the record, since they would remember for a while that it is not there.

use std::net::SocketAddr;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::key::{KeyRecord, ParseKeyError, PublicKey};
use attachment_seal::seal::knowledge::{Answer, Failure};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::dns::lookup::LookupKey;
use crate::dns::{self, Dns, Said, ZoneAnswer, all_say, key_record_name, resolvers};

/// How long at most a resolver is thought to remember that there was no record, in seconds, whatever the zone allows: RFC 2308
/// §5 has one to three hours for sensible, and resolvers keep to that.
const MAX_NEGATIVE_TTL: u32 = 3 * 3_600;

/// The same, where no server says what the zone allows.
const USUAL_NEGATIVE_TTL: u32 = 3_600;

/// What was found of a key's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// Nobody could be asked.
    #[default]
    Unknown,
    /// No name server is configured, so that nobody is ever asked: pins alone count.
    Unasked,
    /// All that were asked have it, alone.
    Everywhere,
    /// The same, and it says `t=y`.
    OnTrial,
    /// All have a record that revokes the key.
    Revoked,
    /// All have none.
    Nowhere,
    /// Who answers has it, but not all answer.
    Silent,
    /// Anything else: somebody has none, or another.
    Partly,
}

impl Found {
    /// Whether a new key may seal, as far as its record goes.
    pub fn is_enough(self) -> bool {
        matches!(self, Self::Everywhere | Self::Unasked)
    }

    /// Whether somebody says that there is none, or has another: that may be remembered elsewhere.
    pub fn is_denied(self) -> bool {
        matches!(self, Self::Revoked | Self::Nowhere | Self::Partly)
    }

    /// Whether a seal by the key can be checked, be it on trial.
    pub fn is_given(self) -> bool {
        self.is_enough() || self == Self::OnTrial
    }
}

/// What a look for a key's record came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// In a word.
    pub found: Found,
    /// For how many seconds an absence may be remembered.
    pub negative_ttl: u32,
    /// Who said what, for people.
    pub answers: Vec<String>,
}

/// Asks all about a key's record; without a key, whether that revokes its selector. `servers` are asked in the place of those that the zone names, if there are any.
pub async fn look(
    settings: &dns::Settings,
    servers: &[SocketAddr],
    (domain, selector): (&DomainName, &Selector),
    key: Option<PublicKey>,
) -> Look {
    if settings.servers.as_ref().is_some_and(Vec::is_empty) {
        let answers = vec!["no name server is configured: nobody is asked".to_owned()];
        return Look { found: Found::Unasked, answers, ..Look::default() };
    }
    let (name, dns) = (key_record_name(domain, selector), Dns::new(settings.clone()));
    let said = match servers {
        [] => dns.ask_zone(&name).await,
        servers => dns.ask_servers(servers, &name).await,
    };
    let said = match said {
        Ok(said) => said,
        Err(error) => return Look { answers: vec![error.to_string()], ..Look::default() },
    };
    let mut records: Vec<Record> = said.iter().map(|said| Record::at_server(&said.answer, key)).collect();
    let mut answers: Vec<String> =
        said.iter().map(|said| format!("{said}: {}", words(&said.answer, key))).collect();
    let negative_ttl = said.iter().filter_map(|said| said.negative_ttl).max();
    let negative_ttl = negative_ttl.unwrap_or(USUAL_NEGATIVE_TTL).min(MAX_NEGATIVE_TTL);
    let is_at_all = has_all(&said, key);
    if is_at_all {
        let heard = match resolvers(settings) {
            Ok(resolvers) => ask_resolvers(settings, resolvers, domain, selector).await,
            Err(error) => return Look { answers: vec![error.to_string()], ..Look::default() },
        };
        for (resolver, answer) in &heard {
            let (record, words) = resolved(answer, key);
            answers.push(format!("resolver {resolver}: {words}"));
            records.push(record);
        }
    }
    Look { found: summary(&said, &records, is_at_all), negative_ttl, answers }
}

/// Whether all servers have the key, be it on trial.
fn has_all(said: &[Said], key: Option<PublicKey>) -> bool {
    all_say(said, |texts| matches!(Record::of_texts(texts, key), Record::New | Record::Trial))
}

fn summary(said: &[Said], records: &[Record], is_at_all: bool) -> Found {
    // One that has the record behind an alias says nothing itself; the servers of the alias's target are heard.
    let heard = || records.iter().filter(|record| **record != Record::Unheard);
    let all = |wanted: &[Record]| heard().all(|record| wanted.contains(record));
    let do_resolvers_answer = !records[said.len()..].contains(&Record::Unheard);
    if heard().next().is_none() {
        Found::Unknown
    } else if is_at_all && do_resolvers_answer && all(&[Record::New]) {
        Found::Everywhere
    } else if is_at_all && do_resolvers_answer && all(&[Record::New, Record::Trial]) {
        Found::OnTrial
    } else if all(&[Record::Revoked]) {
        Found::Revoked
    } else if all(&[Record::None]) {
        Found::Nowhere
    } else if all(&[Record::New, Record::Trial]) {
        Found::Silent
    } else {
        Found::Partly
    }
}

/// What each of the configured resolvers says, nothing remembered of what they said before.
async fn ask_resolvers(
    settings: &dns::Settings,
    resolvers: Vec<SocketAddr>,
    domain: &DomainName,
    selector: &Selector,
) -> Vec<(SocketAddr, Answer<KeyRecord>)> {
    let asked = resolvers.into_iter().map(async |resolver| {
        let dns = Dns::new(dns::Settings { servers: Some(vec![resolver]), ..settings.clone() });
        (resolver, dns.lookup(domain, selector).await)
    });
    join_all(asked).await
}

/// What is where a key's record ought to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// The key, and nothing else.
    New,
    /// The key, on trial.
    Trial,
    /// No key record.
    None,
    /// What is meant for one, and is not of its form.
    Malformed(ParseKeyError),
    /// A revoked key.
    Revoked,
    /// Another key.
    Other,
    /// The key among others.
    Several,
    /// Nobody knows.
    Unheard,
}

impl Record {
    fn of(records: &[KeyRecord], key: Option<PublicKey>) -> Self {
        let is_new = |record: &KeyRecord| key.is_some() && record.key == key;
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

    fn of_texts(texts: &[String], key: Option<PublicKey>) -> Self {
        // Other records at the name are passed over, as verifying gateways do.
        let parsed: Vec<_> = texts.iter().map(|text| KeyRecord::parse(text)).collect();
        let records: Vec<_> = parsed.iter().filter_map(|parsed| (*parsed).ok()).collect();
        let is_meant = |error: &ParseKeyError| *error != ParseKeyError::Version;
        match parsed.into_iter().filter_map(Result::err).find(is_meant) {
            Some(error) if records.is_empty() => Self::Malformed(error),
            _ => Self::of(&records, key),
        }
    }

    fn at_server(answer: &ZoneAnswer, key: Option<PublicKey>) -> Self {
        match answer {
            ZoneAnswer::Found(texts) => Self::of_texts(texts, key),
            ZoneAnswer::Absent => Self::None,
            ZoneAnswer::Alias(_) | ZoneAnswer::Failed(_) => Self::Unheard,
        }
    }

    fn words(self) -> String {
        let words = match self {
            Self::Malformed(error) => {
                return format!("a malformed key record ({error}): put this one there");
            }
            Self::New => "this key",
            Self::Trial => "this key, on trial (t=y)",
            Self::None => "no key record",
            Self::Revoked => "a revoked key",
            Self::Other => "another key",
            Self::Several => "this key and others: leave only this one",
            Self::Unheard => "does not answer",
        };
        words.to_owned()
    }
}

fn words(answer: &ZoneAnswer, key: Option<PublicKey>) -> String {
    match answer {
        ZoneAnswer::Found(texts) => Record::of_texts(texts, key).words(),
        ZoneAnswer::Alias(target) => format!("an alias of {target}"),
        ZoneAnswer::Absent => "nothing".to_owned(),
        ZoneAnswer::Failed(failure) => failure.to_string(),
    }
}

fn resolved(answer: &Answer<KeyRecord>, key: Option<PublicKey>) -> (Record, String) {
    let (record, secure) = match answer {
        Answer::Found { records, secure } => (Record::of(records, key), *secure),
        Answer::NotFound { secure } => (Record::None, *secure),
        Answer::Failed(Failure::Bogus) => {
            return (Record::Unheard, "an answer whose DNSSEC proof is wrong".to_owned());
        }
        Answer::Failed(Failure::Unanswered) => return (Record::Unheard, Record::Unheard.words()),
    };
    let proof = if secure { ", proved by DNSSEC" } else { "" };
    (record, format!("{}{proof}", record.words()))
}

#[cfg(test)]
mod tests {
    use attachment_seal::seal::key::SealingKey;

    use super::*;
    use crate::dns::ZoneFailure;

    fn key(seed: u8) -> Option<PublicKey> {
        Some(SealingKey::from_seed(&[seed; 32]).public())
    }

    fn text(seed: u8) -> String {
        KeyRecord { key: key(seed), trial: false }.to_string()
    }

    #[test]
    fn only_the_new_key_alone_will_do() {
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

    #[test]
    fn all_must_be_heard_and_agree() {
        let new = || ZoneAnswer::Found(vec![text(2)]);
        let trial = || ZoneAnswer::Found(vec![format!("{}; t=y", text(2))]);
        let revoked = || ZoneAnswer::Found(vec!["v=SEAL1; p=".to_owned()]);
        let (none, silent) = (|| ZoneAnswer::Absent, || ZoneAnswer::Failed(ZoneFailure::Silent));
        for (answers, resolvers, wanted) in [
            (vec![new(), new()], vec![Record::New], Found::Everywhere),
            (vec![new(), new()], vec![Record::Unheard], Found::Silent),
            (vec![new(), new()], vec![Record::None], Found::Partly),
            (vec![new(), trial()], vec![Record::New], Found::OnTrial),
            (vec![new(), none()], vec![], Found::Partly),
            (vec![new(), silent()], vec![], Found::Silent),
            (vec![none(), none()], vec![], Found::Nowhere),
            (vec![none(), silent()], vec![], Found::Nowhere),
            (vec![revoked(), revoked()], vec![], Found::Revoked),
            (vec![revoked(), new()], vec![], Found::Partly),
            (vec![silent(), silent()], vec![], Found::Unknown),
            (vec![], vec![], Found::Unknown),
        ] {
            let said: Vec<Said> = answers
                .into_iter()
                .map(|answer| Said { server: None, address: None, answer, negative_ttl: None })
                .collect();
            let mut records: Vec<_> =
                said.iter().map(|said| Record::at_server(&said.answer, key(2))).collect();
            records.extend(&resolvers);
            assert_eq!(summary(&said, &records, has_all(&said, key(2))), wanted, "{said:?} {resolvers:?}");
        }
    }
}
