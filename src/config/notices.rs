//! `[alerts]` and `[notices]`: whom the gateway tells of what it does, and how.

use std::str::FromStr;

use attachment_seal::domain::DomainName;
use jiff::civil::Time;

use super::check::{Checker, is_address};
use super::{Alerts, NoticeFor, Notices, Server, raw};

/// When the digest goes out, unless it is said otherwise.
const DIGEST: Time = Time::constant(7, 0, 0, 0);

/// Longest text that says whom to ask, in characters.
const MAX_CONTACT: usize = 200;

/// A time of day, `07:00`, or `off`.
#[derive(Clone, Copy, Debug)]
pub(super) struct DigestTime(Option<Time>);

impl FromStr for DigestTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        let time = Time::strptime("%H:%M", text);
        time.map(|time| Self(Some(time)))
            .map_err(|_| format!("`{text}` is no time of day; write \"07:00\", or \"off\""))
    }
}

/// Who gets notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nobody.
    Nobody,
    /// The recipients of held mail.
    Recipients,
}

impl FromStr for Told {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "recipients" => Ok(Self::Recipients),
            "nobody" => Ok(Self::Nobody),
            _ => Err(format!("`{text}`: choose \"recipients\" or \"nobody\"")),
        }
    }
}

/// `[alerts]`; mistakes are recorded.
pub(super) fn alerts(
    checker: &mut Checker<'_>,
    raw: raw::Alerts,
    hostname: Option<&DomainName>,
) -> Option<Alerts> {
    let to = checker.required("alerts.to", raw.to, "to = \"postmaster@example.org\"");
    if to.as_ref().is_some_and(|to| !is_address(to)) {
        checker.wrong("alerts.to", NO_ADDRESS);
    }
    let from = from(checker, "alerts.from", raw.from, hostname);
    let next_hop = raw.next_hop.map(|hop| hop.0).or_else(near);
    let digest = raw.digest.map_or(Some(DIGEST), |digest| digest.0.0);
    Some(Alerts { to: to?, from: from?, next_hop: next_hop?, digest })
}

/// `[notices]`; mistakes are recorded. Its server and its From are those of `[alerts]`, unless it has its own.
pub(super) fn notices(
    checker: &mut Checker<'_>,
    raw: raw::Notices,
    alerts: Option<&Alerts>,
    hostname: Option<&DomainName>,
) -> Option<Notices> {
    let from = match (raw.from, alerts) {
        (None, Some(alerts)) => Some(alerts.from.clone()),
        (given, _) => from(checker, "notices.from", given, hostname),
    };
    let next_hop = raw.next_hop.map(|hop| hop.0).or_else(|| alerts.map(|alerts| alerts.next_hop.clone()));
    let language = raw.language.unwrap_or_else(|| "en".to_owned());
    let language = checker.places.locate("notices.language", language);
    let folder = raw.folder.and_then(|folder| checker.path("notices.folder", folder));
    let contact = contact(checker, "notices.contact", raw.contact);
    let domains = raw.exceptions.iter().map(|raw| raw.domain.as_ref().map(|domain| &domain.0));
    checker.unique("notices.for", "domain", domains);
    let exceptions = raw.exceptions.into_iter().enumerate();
    let exceptions: Vec<_> = exceptions.filter_map(|(index, raw)| exception(checker, index, raw)).collect();
    (raw.to.is_some_and(|to| to.0 == Told::Recipients)).then_some(())?;
    Some(Notices { language, folder, contact, from: from?, next_hop: next_hop.or_else(near)?, exceptions })
}

fn exception(checker: &mut Checker<'_>, index: usize, raw: raw::NoticeFor) -> Option<NoticeFor> {
    let at = |key: &str| format!("notices.for[{index}].{key}");
    let domain = checker.required(&at("domain"), raw.domain, "domain = \"example.org\"");
    let language = raw.language.map(|language| checker.places.locate(&at("language"), language));
    let contact = contact(checker, &at("contact"), raw.contact);
    Some(NoticeFor { domain: domain?.0, language, contact })
}

const NO_ADDRESS: &str = "not a mail address; write it as \"postmaster@example.org\"";

fn near() -> Option<Server> {
    "127.0.0.1:25".parse().ok()
}

fn from(
    checker: &mut Checker<'_>,
    path: &str,
    given: Option<String>,
    hostname: Option<&DomainName>,
) -> Option<String> {
    let from = given.or_else(|| hostname.map(|name| format!("waxseal@{name}")));
    if from.as_ref().is_some_and(|from| !is_address(from)) {
        checker.wrong(path, NO_ADDRESS);
    }
    from
}

/// Whom recipients may ask. No link: a notice must not teach anybody to follow one.
fn contact(checker: &mut Checker<'_>, path: &str, contact: Option<String>) -> Option<String> {
    let contact = contact.map(|contact| contact.trim().to_owned()).filter(|contact| !contact.is_empty())?;
    if contact.chars().count() > MAX_CONTACT || contact.chars().any(char::is_control) {
        checker.wrong(path, "one line of at most 200 characters");
    } else if contact.contains("://") {
        checker.wrong(path, "no link: forged notices have one; name a person or a telephone number");
    }
    Some(contact)
}
