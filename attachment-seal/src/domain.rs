//! Domain names and selectors as checked types: lower-case A-labels, so that equality is byte equality.
//! The organisational domain is the one just below a public suffix (RFC 7489 §3.2).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A domain name in lower-case A-labels without a final dot, 1 to 253 octets.
///
/// Two names are equal when DNS takes them for equal; U-labels are converted (UTS 46) on the way in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(String);

/// A text that is not a domain name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a domain name")]
pub struct ParseDomainError(String);

impl DomainName {
    /// Takes only what is written as SPEC.md §2 wants a domain name: lower-case A-labels, nothing to convert.
    pub fn from_canonical(text: &str) -> Result<Self, ParseDomainError> {
        if is_canonical(text) { Ok(Self(text.to_owned())) } else { Err(ParseDomainError(text.to_owned())) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `other` or lies below it.
    pub fn is_at_or_below(&self, other: &DomainName) -> bool {
        self.0.strip_suffix(&other.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The organisational domain, or `None` for a public suffix itself (`org.uk`).
    pub fn organisational(&self) -> Option<DomainName> {
        psl::domain_str(&self.0).map(|name| Self(name.to_owned()))
    }

    /// This domain and its parents, nearest first, none above the organisational domain.
    /// A public suffix has only itself.
    pub fn self_and_parents(&self) -> impl Iterator<Item = DomainName> + '_ {
        let floor = self.organisational().map_or(self.0.len(), |top| top.0.len());
        let mut rest = Some(self.0.as_str());
        std::iter::from_fn(move || {
            let name = rest.filter(|name| name.len() >= floor)?;
            rest = name.split_once('.').map(|(_, parent)| parent);
            Some(DomainName(name.to_owned()))
        })
    }

    /// How many labels the name has.
    pub fn label_count(&self) -> usize {
        self.0.split('.').count()
    }
}

impl FromStr for DomainName {
    type Err = ParseDomainError;

    /// Takes a name as people and mail write it: any case, U-labels, a final dot.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDomainError(text.chars().take(80).collect());
        let bare = text.strip_suffix('.').unwrap_or(text);
        let ascii = idna::domain_to_ascii(bare).map_err(|_| error())?;
        if is_canonical(&ascii) { Ok(Self(ascii)) } else { Err(error()) }
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_canonical(name: &str) -> bool {
    let last_is_numeric =
        name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && !last_is_numeric && name.split('.').all(is_label)
}

/// RFC 5321 §4.1.2 sub-domain, with the underscore that real names hold.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

/// A selector: which of a sealing domain's keys sealed (SPEC.md §3). 1 to 63 octets of `a-z 0-9 - _`,
/// with `.` between labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector(String);

/// A text that is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a selector: 1 to 63 of a-z 0-9 - _ and single dots between them")]
pub struct ParseSelectorError(String);

impl Selector {
    /// The selector as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
        };
        if text.len() <= 63 && text.split('.').all(label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseSelectorError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    #[test]
    fn converts_what_people_write() {
        for (text, name) in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("a_b.example", "a_b.example"),
        ] {
            assert_eq!(domain(text).as_str(), name);
        }
        for text in
            ["", ".", "a..b", "-a.example", "a b.example", "127.0.0.1", "[127.0.0.1]", &"a.".repeat(130)]
        {
            assert!(text.parse::<DomainName>().is_err(), "{text}");
        }
    }

    #[test]
    fn takes_only_the_canonical_spelling_of_a_sealing_domain() {
        assert!(DomainName::from_canonical("example.org").is_ok());
        for text in ["Example.org", "example.org.", "bücher.example"] {
            assert!(DomainName::from_canonical(text).is_err(), "{text}");
        }
    }

    #[test]
    fn walks_up_to_the_organisational_domain() {
        let names = |text: &str| domain(text).self_and_parents().map(|d| d.to_string()).collect::<Vec<_>>();
        assert_eq!(names("a.b.example.co.uk"), ["a.b.example.co.uk", "b.example.co.uk", "example.co.uk"]);
        assert_eq!(names("example.org"), ["example.org"]);
        assert_eq!(names("org.uk"), ["org.uk"]);
        assert_eq!(domain("org.uk").organisational(), None);
    }

    #[test]
    fn knows_what_lies_below() {
        assert!(domain("a.example.org").is_at_or_below(&domain("example.org")));
        assert!(domain("example.org").is_at_or_below(&domain("example.org")));
        assert!(!domain("badexample.org").is_at_or_below(&domain("example.org")));
    }

    #[test]
    fn checks_selectors() {
        for text in ["gate1", "a.b", "2026-11_x"] {
            assert!(text.parse::<Selector>().is_ok(), "{text}");
        }
        for text in ["", "A", "a..b", ".a", "a ", &"a".repeat(64)] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
