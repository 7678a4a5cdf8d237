//! The policy record that a domain publishes at `_attachment-seal.<domain>` (SPEC.md §10): whether all its mail is sealed,
//! what it asks for mail that is not as sealed, and its root keys. Also the tag list that DNS records are made of.

use super::key::{ParseKeyError, PublicKey};

/// What a domain asks for its mail that is not as it should be, weakest first (`p`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// Nothing, and not all of its mail is sealed.
    #[default]
    None,
    /// That it be held.
    Quarantine,
    /// That it be refused.
    Reject,
}

impl Request {
    /// The word that records and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
}

/// A policy record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRecord {
    /// What the domain asks; `none` where the record has no `p`.
    pub request: Request,
    /// Its root keys. Those that are no keys are left out: one garbled key must not take the rest of the policy away.
    pub roots: Vec<PublicKey>,
    /// Where reports about its mail go: the address of `rua=mailto:…`.
    pub reports_to: Option<String>,
}

impl PolicyRecord {
    /// Reads `v=SEAL1; p=…; root=…; rua=mailto:…`. Unknown tags are ignored; an unknown `p` makes the record none.
    pub fn parse(text: &str) -> Option<Self> {
        let tags = Tags::parse(text).ok()?;
        let request = match tags.get("p") {
            None | Some("none") => Request::None,
            Some("quarantine") => Request::Quarantine,
            Some("reject") => Request::Reject,
            Some(_) => return None,
        };
        let roots = tags.get("root").unwrap_or_default().split(',');
        let roots = roots.filter_map(|root| PublicKey::from_base64url(root.trim()).ok()).collect();
        let reports_to = tags.get("rua").and_then(|address| address.strip_prefix("mailto:"));
        Some(Self { request, roots, reports_to: reports_to.map(str::to_owned) })
    }

    /// Whether the record states that all mail of its domain is sealed.
    pub fn states_sealing(&self) -> bool {
        self.request != Request::None
    }
}

/// `name=value` pairs between semicolons, the first of them `v=SEAL1`, no name twice.
pub(super) struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, ParseKeyError> {
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for tag in text.trim().trim_end_matches(';').split(';') {
            let (name, value) = tag.split_once('=').ok_or(ParseKeyError::Tags)?;
            let (name, value) = (name.trim(), value.trim());
            if tags.iter().any(|(earlier, _)| *earlier == name) {
                return Err(ParseKeyError::Tags);
            }
            tags.push((name, value));
        }
        if tags.first() == Some(&("v", "SEAL1")) { Ok(Self(tags)) } else { Err(ParseKeyError::Version) }
    }

    /// The value of the tag of that name.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::key::SealingKey;

    /// SPEC.md §10: `v=SEAL1; p=none|quarantine|reject; root=<key>[,<key>]; rua=mailto:<address>`.
    #[test]
    fn reads_the_record_of_section_8() {
        let (one, two) = (SealingKey::from_seed(&[1; 32]).public(), SealingKey::from_seed(&[2; 32]).public());
        let text = format!(
            "v=SEAL1; p=reject; root={}, {}; rua=mailto:seal@example.org; x=unknown;",
            one.to_base64url(),
            two.to_base64url()
        );
        let record = PolicyRecord::parse(&text).unwrap();
        assert_eq!(record.request, Request::Reject);
        assert_eq!(record.roots, [one, two]);
        assert_eq!(record.reports_to.as_deref(), Some("seal@example.org"));
    }

    /// SPEC.md §10: `p` other than `none` states that all mail of the domain is sealed.
    #[test]
    fn a_request_states_that_all_mail_is_sealed() {
        for (text, states) in [
            ("v=SEAL1", false),
            ("v=SEAL1; p=none", false),
            ("v=SEAL1;p=quarantine", true),
            ("v=SEAL1; p=reject; root=garbled", true),
        ] {
            assert_eq!(
                PolicyRecord::parse(text).map(|record| record.states_sealing()),
                Some(states),
                "{text}"
            );
        }
    }

    #[test]
    fn takes_nothing_else_for_a_policy() {
        for text in [
            "",
            "v=spf1 -all",
            "p=reject; v=SEAL1",
            "v=SEAL1; p=burn",
            "v=SEAL1; p=none; p=reject",
            "v=SEAL1; p",
        ] {
            assert_eq!(PolicyRecord::parse(text), None, "{text}");
        }
    }
}
