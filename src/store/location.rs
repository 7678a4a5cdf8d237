//! Where the state is: in a folder, or in a database that several gateways share, with a folder for what must be on disk.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

#[cfg(feature = "postgres")]
pub use super::postgres::Server;

/// Where the state is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The folder of what must be on disk; without a server, of everything.
    pub folder: PathBuf,
    /// The database that gateways share.
    pub server: Option<Server>,
    /// What tells this gateway from others that share the database.
    pub label: Label,
}

impl From<&Path> for Location {
    fn from(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), server: None, label: Label::default() }
    }
}

/// A database server: this build has none.
#[cfg(not(feature = "postgres"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {}

#[cfg(not(feature = "postgres"))]
impl FromStr for Server {
    type Err = String;

    fn from_str(_: &str) -> Result<Self, String> {
        Err("this waxseal was built without PostgreSQL; name a folder, or build with --features postgres"
            .to_owned())
    }
}

/// A gateway's name among those that share a database: it is in the ids of what the gateway holds. At most 16 lower-case letters
/// and digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

/// Longest label, in octets.
pub(super) const MAX_LABEL: usize = 16;

impl Label {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first part of a host name, as far as it is fit for a label.
    pub fn of_host(name: &str) -> Self {
        let first = name.split('.').next().unwrap_or_default().bytes();
        let fit = first.map(|octet| octet.to_ascii_lowercase()).filter(|octet| is_fit(*octet));
        let label: String = fit.take(MAX_LABEL).map(char::from).collect();
        if label.is_empty() { Self::default() } else { Self(label) }
    }
}

impl Default for Label {
    fn default() -> Self {
        Self("gateway".to_owned())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a label; use 1 to {MAX_LABEL} lower-case letters and digits, such as mx1")]
pub struct ParseLabelError;

impl FromStr for Label {
    type Err = ParseLabelError;

    fn from_str(text: &str) -> Result<Self, ParseLabelError> {
        let fits = (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(is_fit);
        if fits { Ok(Self(text.to_owned())) } else { Err(ParseLabelError) }
    }
}

/// Whether an octet may be in a label.
pub(super) fn is_fit(octet: u8) -> bool {
    octet.is_ascii_lowercase() || octet.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_plain() {
        for (host, label) in [
            ("mx1.example.org", "mx1"),
            ("MX-1", "mx1"),
            ("-", "gateway"),
            ("a123456789abcdefghi.x", "a123456789abcdef"),
        ] {
            assert_eq!(Label::of_host(host).as_str(), label, "{host}");
            assert!(label.parse::<Label>().is_ok());
        }
        for text in ["", "a-b", "A", "a b", "../a", "a1234567890123456"] {
            assert!(text.parse::<Label>().is_err(), "{text}");
        }
    }
}
