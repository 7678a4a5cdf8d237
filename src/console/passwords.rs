//! Passwords: hashed by Argon2id (RFC 9106), a bounded number of them at a time, because each hash takes 19 MiB of memory.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier, phc::PasswordHash};
use thiserror::Error as ThisError;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::blocking::blocking;

/// Hashes that are computed at once.
const AT_ONCE: usize = 2;
/// Logins that may wait for that, those under way included.
const MAX_WAITING: usize = 20;
/// How long a login waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shortest password that is accepted, in characters.
pub const MIN_PASSWORD: usize = 12;
/// Longest password, in octets.
pub const MAX_PASSWORD: usize = 1_000;

/// Octets of a salt, as RFC 9106 §3.1 recommends.
const SALT: usize = 16;

/// Why a password cannot be somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub enum PasswordError {
    /// It is too short.
    #[error("the password is too short; use {MIN_PASSWORD} characters or more, such as four or five words")]
    TooShort,
    /// It is too long.
    #[error("the password is too long; use {MAX_PASSWORD} octets or fewer")]
    TooLong,
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    NoRandomness,
    /// It could not be hashed.
    #[error("the password cannot be hashed: {0}")]
    Hash(Error),
}

/// Too many people log in at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// What is kept of a password.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    if password.chars().count() < MIN_PASSWORD {
        return Err(PasswordError::TooShort);
    }
    if password.len() > MAX_PASSWORD {
        return Err(PasswordError::TooLong);
    }
    hash_of(password)
}

fn hash_of(password: &str) -> Result<String, PasswordError> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|_| PasswordError::NoRandomness)?;
    let hashed = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hashed.map(|hash| hash.to_string()).map_err(PasswordError::Hash)
}

/// What the password of a name that nobody has is compared with, so that it takes as long.
static NOBODYS: LazyLock<String> = LazyLock::new(|| hash_of("nobody has this one").unwrap_or_default());

fn fits(stored: Option<&str>, password: &str) -> bool {
    // An account may have no password, where another program says who somebody is.
    let known = stored.filter(|stored| !stored.is_empty());
    let Ok(hash) = PasswordHash::new(known.unwrap_or(&NOBODYS)) else { return false };
    let fits = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
    fits && known.is_some()
}

/// Compares passwords, a few at a time.
#[derive(Debug)]
pub(super) struct Passwords {
    computing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { computing: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::new(Semaphore::new(MAX_WAITING)) }
    }
}

impl Passwords {
    /// Whether this is the password of which `stored` is kept. It takes as long if nothing is kept.
    pub(super) async fn fits(
        &self,
        stored: Option<String>,
        password: Zeroizing<String>,
    ) -> Result<bool, Busy> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| Busy)?;
        let turn = timeout(PATIENCE, Arc::clone(&self.computing).acquire_owned()).await;
        let turn = turn.map_err(|_| Busy)?.map_err(|_| Busy)?;
        // Whoever asked may be gone before the hash is there: its memory is in use until then.
        Ok(blocking(move || {
            let _held = (place, turn);
            LazyLock::force(&NOBODYS);
            fits(stored.as_deref(), &password)
        })
        .await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_fits() {
        let stored = hash("correct horse battery").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(fits(Some(&stored), "correct horse battery"));
        for (stored, password) in [
            (Some(stored.as_str()), "correct horse batterz"),
            (Some(""), ""),
            (Some(""), "nobody has this one"),
            (None, "nobody has this one"),
            (Some("nonsense"), "nonsense"),
        ] {
            assert!(!fits(stored, password), "{stored:?} {password}");
        }
        assert_eq!(hash("elevenchars"), Err(PasswordError::TooShort));
        assert_eq!(hash(&"x".repeat(1_001)), Err(PasswordError::TooLong));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_so_many_wait() {
        let passwords = Arc::new(Passwords::default());
        let _all = Arc::clone(&passwords.waiting).try_acquire_many_owned(MAX_WAITING as u32).unwrap();
        assert_eq!(passwords.fits(None, Zeroizing::new("x".to_owned())).await, Err(Busy));
    }
}
