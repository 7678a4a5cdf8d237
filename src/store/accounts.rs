//! Who may use the console: accounts, what each prefers, and the sessions of those who have logged in. No password and no token is
//! here, only what tells whether one is right.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use thiserror::Error;

use super::error::DatabaseError;

/// Accounts in all.
pub const MAX_ACCOUNTS: u64 = 500;
/// Sessions of one account; the oldest ends when another is opened.
pub const MAX_SESSIONS_OF_ONE: u64 = 10;
/// Sessions in all; likewise.
pub const MAX_SESSIONS: u64 = 1_000;
/// Longest name of an account, in octets.
const MAX_NAME: usize = 64;
/// Longest text of a password's hash and of a preference, in octets.
const MAX_TEXT: usize = 512;

/// The name of an account: 1 to 64 ASCII letters, digits and `.`, `-`, `_`, `@`, `+`. Case does not matter, so it is kept in lower
/// case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Text that is no name of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a name; use 1 to {MAX_NAME} ASCII letters, digits and . - _ @ +")]
pub struct ParseAccountNameError;

impl FromStr for AccountName {
    type Err = ParseAccountNameError;

    fn from_str(text: &str) -> Result<Self, ParseAccountNameError> {
        let is_fit = |octet: u8| octet.is_ascii_alphanumeric() || b".-_@+".contains(&octet);
        let fits = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_fit);
        if fits { Ok(Self(text.to_ascii_lowercase())) } else { Err(ParseAccountNameError) }
    }
}

/// What an account may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Releases, deletes and keeps held mail, and downloads it.
    Operator,
    /// Approves, pins and forgets correspondents, and sees accounts.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("choose one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// How somebody wants pages to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// A language's tag, such as `de`; without one, the browser says.
    pub language: Option<String>,
    /// A time zone's name, such as `Europe/Berlin`; without one, the configuration says.
    pub time_zone: Option<String>,
}

/// Somebody who may use the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// The hash of its password, a text that only who checks it reads. Empty where nobody logs in by password.
    pub password: String,
    /// What it may do.
    pub role: Role,
    /// How pages are to be.
    pub preferences: Preferences,
    /// When it was made; kept to the second.
    pub created: Timestamp,
}

/// The hash of a session's token, by which the session is found. The token itself is the browser's alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    /// Of a token, which is random and has at least 128 bits: no salt is needed then.
    pub fn of(token: &[u8]) -> Self {
        Self(blake3::hash(token))
    }

    pub(super) fn as_octets(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Nothing of it, so that no log has one.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A session that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// By which it is found.
    pub token: TokenHash,
    /// What its forms must show. A secret of the session.
    pub csrf: String,
    /// When it begins; kept to the second.
    pub created: Timestamp,
    /// When it ends; likewise.
    pub expires: Timestamp,
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose it is, as the account is now.
    pub account: Account,
    /// By which it is found, what its forms must show, and its times.
    pub opened: NewSession,
}

/// Why an account or a session cannot be made.
#[derive(Debug, Error)]
pub enum AccountError {
    /// The database says no.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// There is one of that name.
    #[error("there is an account {0} already")]
    Exists(AccountName),
    /// There is none of that name, or no longer.
    #[error("there is no account {0}")]
    Unknown(AccountName),
    /// There are as many as there may be.
    #[error("there are {MAX_ACCOUNTS} accounts already; remove one first")]
    TooMany,
    /// A text is too long, or is none that every database takes.
    #[error("the {0} is longer than {MAX_TEXT} octets, or has control characters")]
    Unfit(&'static str),
}

/// Accounts of the console and their sessions. Two gateways that share a state share these. Times are by the caller's clock.
pub trait Accounts: fmt::Debug + Send + Sync {
    /// Every account, by name.
    fn list(&self) -> Result<Vec<Account>, DatabaseError>;

    /// The account of this name.
    fn find(&self, name: &AccountName) -> Result<Option<Account>, DatabaseError>;

    /// Makes an account. When this returns `Ok`, it is there to stay.
    fn add(&self, account: &Account) -> Result<(), AccountError>;

    /// Removes an account, and ends its sessions at once. Tells whether there was one.
    fn remove(&self, name: &AccountName) -> Result<bool, DatabaseError>;

    /// Gives an account another password, and ends its sessions at once.
    fn set_password(&self, name: &AccountName, password: &str) -> Result<(), AccountError>;

    /// Changes what an account may do, in its sessions, too.
    fn set_role(&self, name: &AccountName, role: Role) -> Result<(), AccountError>;

    /// Changes how somebody wants pages to be.
    fn prefer(&self, name: &AccountName, preferences: &Preferences) -> Result<(), AccountError>;

    /// Opens a session of an account that is there. Of those that are too many, the oldest end.
    fn open_session(&self, name: &AccountName, session: &NewSession) -> Result<(), AccountError>;

    /// The session of this token, unless it has ended.
    fn session(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, DatabaseError>;

    /// Ends a session. Tells whether there was one.
    fn close_session(&self, token: &TokenHash) -> Result<bool, DatabaseError>;
}

/// Sees that a text can be kept.
fn check(what: &'static str, text: &str) -> Result<(), AccountError> {
    let is_fit = text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
    if is_fit { Ok(()) } else { Err(AccountError::Unfit(what)) }
}

impl Account {
    /// Sees that it can be kept.
    pub(super) fn check(&self) -> Result<(), AccountError> {
        check_password(&self.password)?;
        self.preferences.check()
    }
}

/// Sees that a password's hash can be kept.
pub(super) fn check_password(password: &str) -> Result<(), AccountError> {
    check("hash of the password", password)
}

impl Preferences {
    /// Sees that they can be kept.
    pub(super) fn check(&self) -> Result<(), AccountError> {
        self.language.as_deref().map_or(Ok(()), |text| check("language", text))?;
        self.time_zone.as_deref().map_or(Ok(()), |text| check("time zone", text))
    }
}

impl NewSession {
    /// Sees that it can be kept.
    pub(super) fn check(&self) -> Result<(), AccountError> {
        check("secret of the session", &self.csrf)
    }
}
