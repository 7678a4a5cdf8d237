//! Why a rotation cannot go on, in words that say what to do about it.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use attachment_seal::domain::{DomainName, Selector};
use thiserror::Error;

use super::edit::EditError;
use super::plan::is_credential;
use crate::config::Mistake;
use crate::dns::{Said, ZoneError};
use crate::keys::{KeyFileError, shown, token};
use crate::store::{RotationFileError, StateFileError};

/// Why a rotation cannot go on.
#[derive(Debug, Error)]
pub enum RotateError {
    /// The gateway does not seal for the domain.
    #[error("no [[domain]] of the configuration is for {0}")]
    NoDomain(DomainName),
    /// The configuration seals with neither the old nor the new key.
    #[error(
        "the configuration seals for {domain} with {found}, and a rotation from {from} to {to} is under way: give it up with \
         --abandon"
    )]
    Stranded {
        /// The domain.
        domain: DomainName,
        /// The selector that seals.
        found: Selector,
        /// The old one.
        from: String,
        /// The new one.
        to: String,
    },
    /// Something else was asked for when the rotation began.
    #[error(
        "a rotation to {0} is under way: say the same of --selector, --out and --key to go on, or give it up with --abandon"
    )]
    UnderWay(String),
    /// A selector is in use, or was.
    #[error("the selector {0} is or was in use: name another with --selector")]
    SelectorTaken(Selector),
    /// None comes after.
    #[error("no free selector comes after the one in use: name one with --selector")]
    NoSelector,
    /// A new key must not replace an old one.
    #[error("{}: exists already, and a key is never overwritten; to take it for the new key, name it with --key", .0.display())]
    KeyExists(PathBuf),
    /// The old key is no file that another may be put beside.
    #[error("the key is {}: say where the new one goes with --out, or name one that was made before with --key", shown(.0))]
    NoPlace(PathBuf),
    /// The key of a rotation under way was there for the thief as well.
    #[error(
        "the new key {0} of the rotation under way was on this machine as well: give it up with --abandon, and begin anew"
    )]
    NewKeyToo(String),
    /// The new key was to be made elsewhere.
    #[error("{}: the new key was to be made here; say so with --out, or give the rotation up with --abandon", shown(.0))]
    OtherPlace(PathBuf),
    /// The new key is in a token that nobody named this time.
    #[error("the new key is {}: name it once more, with --out if it was made by this rotation, else with --key", shown(.0))]
    TokenUnnamed(PathBuf),
    /// The new key is not the one that was published.
    #[error("{}: not the key that the rotation began with", shown(.0))]
    OtherKey(PathBuf),
    /// No server could be asked.
    #[error("no name server of the zone can be asked: {}; name some that can with --name-server", servers(.0))]
    NoServer(Vec<Said>),
    /// The zone's servers cannot be found.
    #[error("{0}; name them with --name-server")]
    Zone(#[from] ZoneError),
    /// A file cannot be used.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The new key's folder is somebody else's.
    #[error(
        "{}: {error}: run this as root; or name a folder of yours that the gateway can read with --out, and leave the \
         configuration to its owner with --no-edit", path.display()
    )]
    NotOurs {
        /// The file that was to be made.
        path: PathBuf,
        /// Why it was not.
        error: io::Error,
    },
    /// The state folder is somebody else's.
    #[error("{0}: run this as root, or as the gateway's user")]
    StateNotOurs(RotationFileError),
    /// A key or delegation cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// What is under way cannot be read or written down.
    #[error(transparent)]
    State(RotationFileError),
    /// It cannot be known what the gateway does.
    #[error(transparent)]
    Gateway(#[from] StateFileError),
    /// The configuration's text cannot be changed.
    #[error("the configuration cannot be changed: {0}")]
    Edit(#[from] EditError),
    /// The changed configuration would be wrong.
    #[error("with the new key the configuration would be wrong, so it stays: {}", first(.0))]
    Mistakes(Vec<Mistake>),
    /// The changed configuration would not do what it is for.
    #[error("the changed configuration would not seal with the new key, so it stays as it is")]
    NotAsMeant,
    /// The gateway refused the changed configuration.
    #[error(
        "the gateway refuses the configuration with the new key, and its log says why; the old one is back and in force{0}"
    )]
    Refused(Handed),
    /// The gateway refused a configuration that was changed before, or by hand.
    #[error("the gateway refuses {} as it is now, and its log says why: mend it, and run this again{}", .0.display(), .1)]
    RefusedAsItIs(PathBuf, Handed),
    /// The gateway refused the changed configuration, and the old one could not be put back.
    #[error("the gateway refuses the configuration with the new key, and the old one cannot be put back: {}: {error}", path.display())]
    NotUndone {
        /// The configuration file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The gateway read another configuration than we did.
    #[error("the gateway has reloaded and does not seal with the new key: is {} its configuration?", .0.display())]
    OtherConfiguration(PathBuf),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    NoChance,
}

/// How the gateway comes by a key; shown as what is to be thought of where it refuses the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// From a file.
    File,
    /// From systemd, at its start.
    Credential,
    /// It asks a token.
    Token,
}

impl Handed {
    pub(super) fn of(key: &Path) -> Self {
        match key {
            _ if is_credential(key) => Self::Credential,
            _ if token(key).is_some() => Self::Token,
            _ => Self::File,
        }
    }
}

impl fmt::Display for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "",
            Self::Credential => {
                "; a reload hands over no new credential: systemctl daemon-reload && systemctl restart waxseal"
            }
            Self::Token => {
                "; a token that keeps its objects in files, as SoftHSM does, makes them readable for their maker alone: if \
                 another user than the service's made the key, chown the token's files to the service's user and run this \
                 again, or rotate as that user"
            }
        })
    }
}

impl From<RotationFileError> for RotateError {
    fn from(error: RotationFileError) -> Self {
        match error {
            RotationFileError::File(StateFileError::Io { ref source, .. }) if is_denied(source) => {
                Self::StateNotOurs(error)
            }
            error => Self::State(error),
        }
    }
}

/// Whether a file cannot be written by us, here, though another user or another place may do.
pub(super) fn is_denied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn servers(said: &[Said]) -> String {
    let names: Vec<String> = said.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn first(mistakes: &[Mistake]) -> String {
    mistakes.first().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_has_the_hint_that_fits_it() {
        for (key, hint) in [
            ("pkcs11:token=t;object=gate2", "chown the token's files to the service's user"),
            ("credential:gate2", "systemctl restart waxseal"),
        ] {
            for error in [
                RotateError::Refused(Handed::of(Path::new(key))),
                RotateError::RefusedAsItIs("/etc/waxseal/waxseal.toml".into(), Handed::of(Path::new(key))),
            ] {
                assert!(error.to_string().contains(hint), "{error}");
            }
        }
        let file = RotateError::Refused(Handed::of(Path::new("/etc/waxseal/gate2.pem")));
        assert!(file.to_string().ends_with("in force"), "{file}");
    }
}
