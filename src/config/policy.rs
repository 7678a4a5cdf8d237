//! `[policy]` and `[[policy.for]]`.

use attachment_seal::domain::DomainName;

use super::check::Checker;
use super::parsed::Parsed;
use super::raw;
use crate::policy::{Choice, Choices, Exception, Policy};

/// The choices of a raw table, those that it leaves open as in `$base`: one list for tables that serde must see apart.
macro_rules! choices {
    ($raw:ident, $base:expr) => {{
        let (raw, base) = (&$raw, $base);
        let or = |choice: &Option<Parsed<Choice>>, base| choice.as_ref().map_or(base, |choice| choice.0);
        Choices {
            mode: raw.mode.as_ref().map_or(base.mode, |mode| mode.0),
            pass: or(&raw.pass, base.pass),
            none: or(&raw.none, base.none),
            missing: or(&raw.missing, base.missing),
            // What is written down counts even where only memory speaks (SPEC.md §10).
            missing_by_memory: or(&raw.missing, base.missing_by_memory),
            fail: or(&raw.fail, base.fail),
            ambiguous: or(&raw.ambiguous, base.ambiguous),
            unaligned: or(&raw.unaligned, base.unaligned),
            expired: or(&raw.expired, base.expired),
            unknown_key: or(&raw.unknown_key, base.unknown_key),
            key_changed: or(&raw.key_changed, base.key_changed),
            temperror: or(&raw.temperror, base.temperror),
            links: raw.links.as_ref().map_or(base.links, |links| links.0.0),
        }
    }};
}

/// What is done about verdicts; mistakes are recorded.
pub(super) fn check(checker: &mut Checker<'_>, raw: raw::Policy) -> Policy {
    let choices = choices!(raw, Choices::default());
    let exceptions = raw.exceptions.into_iter().enumerate();
    let exceptions = exceptions.map(|(index, raw)| exception(checker, index, raw, &choices)).collect();
    let subject_prefix = subject_prefix(checker, raw.subject_prefix);
    Policy { choices, exceptions, subject_prefix, links_except: names(raw.links_except) }
}

/// What it leaves open is as in `[policy]`.
fn exception(checker: &mut Checker<'_>, index: usize, raw: raw::Exception, base: &Choices) -> Exception {
    let at = |key: &str| format!("policy.for[{index}].{key}");
    let is_complete = ["correspondents", "recipients"].iter().all(|key| checker.places.is_missing(&at(key)));
    for (key, domains) in [("correspondents", &raw.correspondents), ("recipients", &raw.recipients)] {
        if is_complete && domains.as_ref().is_some_and(Vec::is_empty) {
            checker.wrong(&at(key), "empty; name domains, or leave the key out for all");
        }
    }
    if is_complete && raw.correspondents.is_none() && raw.recipients.is_none() {
        let reason = "for no mail in particular; write correspondents = [\"partner.example\"] or \
                      recipients = [\"example.org\"], or use [policy]";
        checker.wrong(&format!("policy.for[{index}]"), reason);
    }
    let choices = choices!(raw, base);
    Exception { correspondents: names(raw.correspondents), recipients: names(raw.recipients), choices }
}

fn names(names: Option<Vec<Parsed<DomainName>>>) -> Vec<DomainName> {
    names.unwrap_or_default().into_iter().map(|name| name.0).collect()
}

fn subject_prefix(checker: &mut Checker<'_>, prefix: Option<String>) -> Option<String> {
    let prefix = prefix.filter(|prefix| !prefix.is_empty())?;
    if prefix.len() > 64 || !prefix.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
        checker.wrong("policy.subject_prefix", "must be printable ASCII of at most 64 characters");
    }
    Some(prefix)
}
