//! Keys in PKCS#11 tokens: named by a URI (RFC 7512), used by a thread that alone calls the token's module, and never in
//! our memory.

mod thread;
mod token;
mod uri;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attachment_seal::seal::key::{PublicKey, SealingKey, SignError, TokenKey};
use thiserror::Error;
use zeroize::Zeroizing;

use self::uri::{ParseUriError, Pin, Uri};
use super::{Caution, KeyFileError, open_private};

/// How long a message waits for its signature. What it takes to find a lost token again is within that.
const SIGNING: Duration = Duration::from_secs(10);
/// How long a key may take to be found when the configuration is read, or to be made.
const OPENING: Duration = Duration::from_secs(30);

/// Longest PIN file that is read, in octets. Read in one piece, so that no copy is left behind.
const MAX_PIN: usize = 1 << 10;

/// A key that cannot be used now, or at all as it is named.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The URI.
    #[error(transparent)]
    Uri(#[from] ParseUriError),
    /// The module cannot be loaded.
    #[error("{}: cannot load the PKCS#11 module: {}; install it, or correct module-path", path.display(), call(error))]
    Module {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: Box<cryptoki::error::Error>,
    },
    /// The system gives no thread.
    #[error("no thread for the PKCS#11 module: {0}")]
    Thread(std::io::Error),
    /// None of the module's tokens is the one that is named.
    #[error("no such token; the module has {}", listed(others))]
    NoToken {
        /// The labels of those that it has.
        others: Vec<String>,
    },
    /// More than one is.
    #[error("several tokens are so called; add serial=…")]
    SeveralTokens,
    /// The token wants a PIN and none is given.
    #[error("the token wants a PIN; add pin-source=file:/… or pin-source=credential:…")]
    NoPin,
    /// The PIN's file cannot be read.
    #[error("the token's PIN: {0}")]
    PinFile(Box<KeyFileError>),
    /// Wrong.
    #[error(
        "the token refuses the PIN. It is not tried again, since tokens lock after a few wrong ones: correct it"
    )]
    PinRefused,
    /// An earlier one was wrong, perhaps ours.
    #[error(
        "the PIN is not tried, since the token says that the last one was wrong, and tokens lock after a few. Correct it, \
         and see once by hand that it is right: waxseal keys fingerprint 'pkcs11:…'"
    )]
    PinTriedBefore,
    /// One more would lock it.
    #[error("the PIN is not tried, since a wrong one would lock the token: log in once by its own tool")]
    PinLastTry,
    /// Too many were wrong.
    #[error("the token's PIN is locked: unlock it by its own tool")]
    PinLocked,
    /// The token holds no such private key.
    #[error("no such private key in the token; it has {}", listed(others))]
    NoKey {
        /// The labels of those that it has.
        others: Vec<String>,
    },
    /// More than one is.
    #[error("several private keys of the token are so called; add id=…")]
    SeveralKeys,
    /// Of another kind.
    #[error("not an Ed25519 key; make one with waxseal keygen --out 'pkcs11:…'")]
    NotEd25519,
    /// The token does not say what the public key is.
    #[error("the token has no public key beside the private one; store it with the same label and id")]
    NoPublicKey,
    /// A public key has its label or id, and is another's.
    #[error("the public key in the token is not that of the private key")]
    WrongPublicKey,
    /// A new key needs one.
    #[error("a new key needs a label: add object=…")]
    NoLabel,
    /// A new key must not replace an old one, nor stand beside it.
    #[error("an object with this label or id exists already, and a key is never overwritten")]
    Exists,
    /// A new key could be taken out.
    #[error("the token would give the key out again; it was not kept")]
    Extractable,
    /// No chance for an identifier.
    #[error("the system gave no random numbers")]
    NoRandom,
    /// Small tokens sign small texts only.
    #[error(
        "the token signs no text of {0} octets; a seal has some 700, and 100 more for each part of the message"
    )]
    TooLong(usize),
    /// Anything else that the module says.
    #[error("the token: {}", call(.0))]
    Call(#[from] cryptoki::error::Error),
    /// No answer in time.
    #[error("the token gave no answer within {} seconds", .0.as_secs())]
    Late(Duration),
    /// No answer to an earlier call yet.
    #[error("the token has been silent for long, and is not asked again until it answers")]
    Hangs,
    /// Too many are waiting.
    #[error("the token has too many signatures to make already")]
    Busy,
    /// A fault in what speaks with the module.
    #[error("the module's answer could not be understood")]
    Broke,
}

impl TokenError {
    /// Whether the module may be what does not see the token or key.
    fn may_be_the_modules(&self) -> bool {
        matches!(self, Self::NoToken { .. } | Self::NoKey { .. } | Self::NoPublicKey | Self::Call(_))
    }
}

/// As many as somebody can look through.
fn listed(names: &[String]) -> String {
    let mut quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.escape_default())).collect();
    quoted.sort();
    quoted.truncate(20);
    if quoted.is_empty() { "none".to_owned() } else { quoted.join(", ") }
}

/// What a module says, by the standard's name for it rather than the standard's paragraph about it.
fn call(error: &cryptoki::error::Error) -> String {
    use cryptoki::error::Error;
    match error {
        Error::LibraryLoading(error) => error.to_string(),
        Error::Pkcs11(said, function) => format!("C_{function:?} failed: {said:?}"),
        error => error.to_string(),
    }
}

/// A token's private key.
struct Key {
    uri: Uri,
    public: PublicKey,
}

impl TokenKey for Key {
    fn public(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, text: &[u8]) -> Result<[u8; 64], SignError> {
        let (uri, text) = (self.uri.clone(), text.to_vec());
        let signed = thread::ask(&self.uri.key.module, SIGNING, move |tokens| tokens.sign(&uri, &text));
        signed.map_err(|error| SignError::Token(format!("{}: {error}", self.uri.key)))
    }
}

/// Finds the key that a URI names, and sees that it signs.
pub(super) fn open(text: &str, caution: Caution) -> Result<SealingKey, TokenError> {
    let uri = Uri::parse(text)?;
    let asked = uri.clone();
    let public = thread::ask(&uri.key.module, OPENING, move |tokens| tokens.open(&asked, caution))?;
    Ok(SealingKey::in_token(Key { uri, public }))
}

/// Makes the key that a URI names, which must not exist.
pub(super) fn make(text: &str) -> Result<SealingKey, TokenError> {
    let uri = Uri::parse(text)?;
    let asked = uri.clone();
    let public = thread::ask(&uri.key.module, OPENING, move |tokens| tokens.make(&asked))?;
    Ok(SealingKey::in_token(Key { uri, public }))
}

/// A PIN from a file that only its owner can read, less the line end.
fn pin_from(path: &Path) -> Result<Pin, TokenError> {
    let wrong = |error| TokenError::PinFile(Box::new(error));
    let file = open_private(path).map_err(wrong)?;
    let mut pin = Zeroizing::new(Vec::with_capacity(MAX_PIN));
    file.take(MAX_PIN as u64)
        .read_to_end(&mut pin)
        .map_err(|error| wrong(KeyFileError::Io { path: path.to_owned(), error }))?;
    while pin.last().is_some_and(|octet| matches!(octet, b'\n' | b'\r')) {
        pin.pop();
    }
    Ok(Pin(pin))
}
