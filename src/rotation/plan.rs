//! What a rotation is to do, found out before anything is done: which selector comes next, and where its key is to be.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use attachment_seal::domain::Selector;
use attachment_seal::seal::key::PublicKey;
use jiff::Timestamp;

use super::{RotateError, Rotation, Wishes};
use crate::config::SealingDomain;
use crate::dns::ZoneAnswer;
use crate::keys::{CREDENTIAL, read_sealing_key, token};
use crate::store::{Announcement, UnderWay};

/// Selectors that are looked at before we give up finding a free one.
const MAX_SELECTORS: usize = 50;

impl Rotation<'_> {
    /// A rotation that is not yet begun.
    pub(super) async fn plan(&self) -> Result<UnderWay, RotateError> {
        let own = self.own();
        let to = self.free_selector().await?;
        let (key, file) = place(own, &to, self.wishes, false)?;
        let public = match &self.wishes.key {
            Some(key) => Some(read_sealing_key(key)?.public().to_base64url()),
            None => None,
        };
        Ok(UnderWay {
            domain: self.domain.to_string(),
            from: own.selector.to_string(),
            to: to.to_string(),
            key,
            file,
            public,
            old_public: self.old_key()?.to_base64url(),
            compromised: self.wishes.compromised,
            began: Timestamp::now(),
            published: None,
            settled: None,
            succession: None,
        })
    }

    /// The key that seals now, from its file or, where we cannot read that, from the gateway.
    fn old_key(&self) -> Result<PublicKey, RotateError> {
        let own = self.own();
        match read_sealing_key(&own.key.value) {
            Ok(key) => Ok(key.public()),
            Err(error) => {
                let running = Announcement::of(&self.config.state)?.unwrap_or_default();
                let names = (self.domain.as_str(), own.selector.as_str());
                let mut sealing = running.sealing.iter();
                let said = sealing.find(|with| (with.domain.as_str(), with.selector.as_str()) == names);
                said.and_then(|with| PublicKey::from_base64url(&with.public).ok()).ok_or_else(|| error.into())
            }
        }
    }

    /// The selector that was asked for, or the next that stands neither in the configuration nor in DNS nor in our notes.
    async fn free_selector(&self) -> Result<Selector, RotateError> {
        let retired = self.file.read()?.retired;
        let is_ours = |selector: &Selector| {
            *selector == self.own().selector
                || retired.iter().any(|old| {
                    (old.domain.as_str(), old.selector.as_str()) == (self.domain.as_str(), selector.as_str())
                })
        };
        if let Some(selector) = &self.wishes.selector {
            let is_published = self.is_published(selector).await?;
            // A key that was made before may have been published before, too.
            return match is_ours(selector) || is_published && self.wishes.key.is_none() {
                true => Err(RotateError::SelectorTaken(selector.clone())),
                false => Ok(selector.clone()),
            };
        }
        let mut selector = self.own().selector.clone();
        for _ in 0..MAX_SELECTORS {
            selector = next(&selector).ok_or(RotateError::NoSelector)?;
            if !is_ours(&selector) && !self.is_published(&selector).await? {
                return Ok(selector);
            }
        }
        Err(RotateError::NoSelector)
    }

    /// Whether anything stands in DNS under a selector. The zone's own servers are asked: a resolver would remember for a
    /// while that there is nothing.
    async fn is_published(&self, selector: &Selector) -> Result<bool, RotateError> {
        let said = self.ask_zone(selector).await?;
        if said.iter().any(|said| matches!(said.answer, ZoneAnswer::Found(_) | ZoneAnswer::Alias(_))) {
            return Ok(true);
        }
        match said.iter().any(|said| said.answer == ZoneAnswer::Absent) {
            true => Ok(false),
            false => Err(RotateError::NoServer(said)),
        }
    }
}

/// How the configuration is to name the new key, and the file to write it to, at which there may be something only if that
/// `may_exist`.
pub(super) fn place(
    own: &SealingDomain,
    to: &Selector,
    wishes: &Wishes,
    may_exist: bool,
) -> Result<(PathBuf, Option<PathBuf>), RotateError> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| RotateError::File { path: path.to_owned(), error })
    };
    if let Some(key) = &wishes.key {
        let key = if is_file(key) { absolute(key)? } else { key.clone() };
        return Ok((key, None));
    }
    let old = &own.key.value;
    if let Some(token) = wishes.out.as_ref().filter(|out| token(out).is_some()) {
        return Ok((token.clone(), Some(token.clone())));
    }
    let file = match &wishes.out {
        Some(out) => absolute(out)?,
        None if is_file(old) => old.with_file_name(name_like(old, &own.selector, to)),
        None => return Err(RotateError::NoPlace(old.clone())),
    };
    if !may_exist && fs::symlink_metadata(&file).is_ok() {
        return Err(RotateError::KeyExists(file));
    }
    let key = if is_credential(old) { format!("{CREDENTIAL}{to}").into() } else { file.clone() };
    Ok((key, Some(file)))
}

/// Whether a `key` is a file that we may put another beside; else it is a credential, or in a token.
pub(super) fn is_file(key: &Path) -> bool {
    !is_credential(key) && token(key).is_none()
}

/// Whether a `key` is handed to the service alone.
pub(super) fn is_credential(key: &Path) -> bool {
    key.to_str().is_some_and(|key| key.starts_with(CREDENTIAL))
}

/// The name of a new key's file: as the old one's where that holds the selector.
fn name_like(old: &Path, from: &Selector, to: &Selector) -> OsString {
    let name = old.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.matches(from.as_str()).count() == 1 {
        return name.replace(from.as_str(), to.as_str()).into();
    }
    format!("{to}.pem").into()
}

/// The selector after this one: its last number, one higher, or a 2 behind it.
fn next(selector: &Selector) -> Option<Selector> {
    let text = selector.as_str();
    let stem = text.trim_end_matches(|last: char| last.is_ascii_digit());
    let number = &text[stem.len()..];
    let next = match number.parse::<u64>() {
        Ok(n) => format!("{stem}{:0width$}", n.checked_add(1)?, width = number.len()),
        Err(_) if number.is_empty() => format!("{text}-2"),
        Err(_) => return None,
    };
    next.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_count_up() {
        for (selector, wanted) in [
            ("gate1", Some("gate2")),
            ("gate9", Some("gate10")),
            ("gate09", Some("gate10")),
            ("gate", Some("gate-2")),
            ("gate-2", Some("gate-3")),
            ("2026a", Some("2026a-2")),
            ("20261231", Some("20261232")),
            ("7", Some("8")),
            ("a.b1", Some("a.b2")),
            ("99999999999999999999999", None),
        ] {
            let next = next(&selector.parse().unwrap());
            assert_eq!(next.as_ref().map(Selector::as_str), wanted, "{selector}");
        }
        assert_eq!(next(&"x".repeat(63).parse().unwrap()), None);
    }

    #[test]
    fn a_new_key_is_named_like_the_old_one() {
        let (from, to) = ("gate1".parse().unwrap(), "gate2".parse().unwrap());
        for (old, wanted) in [
            ("/etc/waxseal/gate1.pem", "gate2.pem"),
            ("/etc/waxseal/example.org-gate1.key", "example.org-gate2.key"),
            ("/etc/waxseal/sealing.pem", "gate2.pem"),
            ("/etc/waxseal/gate1-gate1.pem", "gate2.pem"),
        ] {
            assert_eq!(name_like(Path::new(old), &from, &to), wanted, "{old}");
        }
    }
}
