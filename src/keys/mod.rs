//! Where keys lie: private sealing keys in files that their owner alone can read, in systemd credentials and in PKCS#11
//! tokens, and folders of correspondents' key records.

mod folder;
#[cfg(feature = "hsm")]
mod pkcs11;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::delegation::Delegation;
use attachment_seal::seal::key::{KeyRecord, ParseKeyError, PublicKey, SealingKey};
use attachment_seal::seal::knowledge::{Pin, PinnedKey};
use attachment_seal::seal::published::Published;
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::folder::{
    FolderKey, KeyFolder, Times, add_key, folder_stamp, free_selector, is_selector_taken, read_key_folder,
    revoke_key,
};

/// A file or folder of keys that cannot be used.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others than its owner can read a private key.
    #[error("{0}: others can read this private key (mode {mode:04o}): run chmod 600 on it", path.display())]
    Exposed {
        /// Which one.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A new key must not replace an old one.
    #[error("{}: exists already, and a key is never overwritten", .0.display())]
    Exists(PathBuf),
    /// A new key's folder is not there.
    #[error("{}: there is no folder {}: make it first", path.display(), folder.display())]
    NoFolder {
        /// The key's file.
        path: PathBuf,
        /// What is missing.
        folder: PathBuf,
    },
    /// A key in a token cannot be used.
    #[cfg(feature = "hsm")]
    #[error("{name}: {error}")]
    Token {
        /// Which one.
        name: String,
        /// Why.
        error: pkcs11::TokenError,
    },
    /// A key in a token, and no way to it.
    #[error(
        "{0}: this build of waxseal cannot use keys in PKCS#11 tokens: use one that can, or build it with \
         `cargo build --release --features hsm`"
    )]
    NoTokens(String),
    /// It holds something else than a key.
    #[error("{}: {error}", path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        error: ParseKeyError,
    },
    /// The name of a file or folder is not a domain's or selector's.
    #[error("{}: {reason}", path.display())]
    Name {
        /// Which one.
        path: PathBuf,
        /// What it should be.
        reason: String,
    },
}

/// Longest key file that is read, in octets.
const MAX_FILE: usize = 64 << 10;
/// Longest file of certificates that is read, in octets; a system's roots make some 200 KiB.
const MAX_CERTIFICATES: u64 = 4 << 20;
/// Longest private key file of a certificate that is read, in octets.
const MAX_CERTIFICATE_KEY: usize = 64 << 10;

/// What the path of a private key begins with that is a systemd credential, `credential:gate1`.
pub const CREDENTIAL: &str = "credential:";

/// What the name of a private key begins with that is in a PKCS#11 token, a URI (RFC 7512).
pub const TOKEN: &str = "pkcs11:";

/// Whether somebody sees what a token says to its PIN. Matters only for a token that was told a wrong one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caution {
    /// A service, perhaps one that is started again and again: a doubtful PIN is not tried.
    Unattended,
    /// A command typed by somebody who wants to know.
    ByHand,
}

/// Longest private key file that is read, in octets. Read in one piece, so that no copy is left behind.
const MAX_PEM: usize = 4 << 10;

/// Reads a private key in PKCS#8 PEM, which nobody but its owner may be able to read. `credential:NAME` is the file
/// that systemd's `LoadCredential=NAME:…` put before us; `pkcs11:…` a key that stays in its token.
pub fn read_sealing_key(path: &Path) -> Result<SealingKey, KeyFileError> {
    read_key(path, Caution::Unattended)
}

/// The same for somebody who wants to see whether a token takes the PIN: it is tried though the last one was wrong.
pub fn read_sealing_key_by_hand(path: &Path) -> Result<SealingKey, KeyFileError> {
    read_key(path, Caution::ByHand)
}

fn read_key(path: &Path, caution: Caution) -> Result<SealingKey, KeyFileError> {
    if let Some(uri) = token(path) {
        return open_in_token(uri, caution);
    }
    parse_pem(&read_pem(open_private(path)?, path)?, path)
}

/// What a private key's file holds.
fn read_pem(file: File, path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_PEM));
    let read = file.take(MAX_PEM as u64).read_to_string(&mut text);
    read.map_err(|error| KeyFileError::Io { path: path.to_owned(), error })?;
    Ok(text)
}

fn parse_pem(text: &str, path: &Path) -> Result<SealingKey, KeyFileError> {
    SealingKey::from_pem(text).map_err(|error| KeyFileError::Content { path: path.to_owned(), error })
}

/// The URI that a private key's name is, if its key is in a token.
pub fn token(path: &Path) -> Option<&str> {
    path.to_str().filter(|name| name.starts_with(TOKEN))
}

/// A private key's name, to be shown: a URI without what may hold its PIN.
pub fn shown(path: &Path) -> String {
    match token(path) {
        Some(uri) => {
            let end = ["?", "&", "pin-"].iter().filter_map(|mark| uri.find(mark)).min();
            uri[..end.unwrap_or(uri.len())].to_owned()
        }
        None => path.display().to_string(),
    }
}

/// What is to be said of a private key's name though it works.
pub fn advice(path: &Path) -> Option<&'static str> {
    let holds_pin = token(path).is_some_and(|uri| uri.contains("pin-value="));
    holds_pin.then_some(
        "pin-value is as secret as this file, and commands show it to everybody on this machine: put the PIN into a file of \
         its own (mode 0600) and write pin-source=file:/…",
    )
}

#[cfg(feature = "hsm")]
fn open_in_token(uri: &str, caution: Caution) -> Result<SealingKey, KeyFileError> {
    pkcs11::open(uri, caution).map_err(|error| KeyFileError::Token { name: shown(Path::new(uri)), error })
}

#[cfg(not(feature = "hsm"))]
fn open_in_token(uri: &str, _: Caution) -> Result<SealingKey, KeyFileError> {
    Err(KeyFileError::NoTokens(shown(Path::new(uri))))
}

#[cfg(feature = "hsm")]
fn make_in_token(uri: &str) -> Result<SealingKey, KeyFileError> {
    pkcs11::make(uri).map_err(|error| KeyFileError::Token { name: shown(Path::new(uri)), error })
}

#[cfg(not(feature = "hsm"))]
fn make_in_token(uri: &str) -> Result<SealingKey, KeyFileError> {
    open_in_token(uri, Caution::ByHand)
}

/// The file of `credential:NAME`; `None` for any other path.
fn named_credential(path: &Path) -> Result<Option<PathBuf>, KeyFileError> {
    let name = path.to_str().and_then(|path| path.strip_prefix(CREDENTIAL));
    name.map(|name| credential(path, name, std::env::var_os("CREDENTIALS_DIRECTORY"))).transpose()
}

/// The folder that holds a credential.
fn credentials_folder(path: &Path, name: &str) -> Result<PathBuf, KeyFileError> {
    let file = credential(path, name, std::env::var_os("CREDENTIALS_DIRECTORY"))?;
    Ok(file.parent().unwrap_or(&file).to_owned())
}

fn credential(path: &Path, name: &str, folder: Option<OsString>) -> Result<PathBuf, KeyFileError> {
    let bad = |reason: &str| KeyFileError::Name { path: path.to_owned(), reason: reason.to_owned() };
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(bad("write credential:NAME, the NAME of a LoadCredential= line"));
    }
    let folder = folder.filter(|folder| !folder.is_empty());
    let folder =
        folder.ok_or_else(|| bad("$CREDENTIALS_DIRECTORY is not set: only the systemd service has it"))?;
    Ok(Path::new(&folder).join(name))
}

/// Opens a file, or credential, that nobody but its owner may be able to read.
fn open_private(path: &Path) -> Result<File, KeyFileError> {
    match named_credential(path)? {
        // systemd grants by an ACL, whose mask shows as the group's permission.
        Some(file) => open_hidden(&file, 0o007),
        None => open_hidden(path, 0o077),
    }
}

/// Opens a file on which nobody has the permissions of `forbidden`.
fn open_hidden(path: &Path, forbidden: u32) -> Result<File, KeyFileError> {
    let file = File::open(path).map_err(|error| KeyFileError::Io { path: path.to_owned(), error })?;
    check_hidden(&file, path, forbidden)?;
    Ok(file)
}

fn check_hidden(file: &File, path: &Path, forbidden: u32) -> Result<(), KeyFileError> {
    let metadata = file.metadata().map_err(|error| KeyFileError::Io { path: path.to_owned(), error })?;
    let mode = metadata.mode() & 0o777;
    if metadata.is_file() && mode & forbidden != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Makes a new private key that nobody else has, in a file ([`write_sealing_key`]) or, for a URI, in its token, which
/// never gives it out. What exists stays as it is.
pub fn make_sealing_key(path: &Path) -> Result<SealingKey, KeyFileError> {
    if let Some(uri) = token(path) {
        return make_in_token(uri);
    }
    let key = new_key(path)?;
    write_sealing_key(path, &key)?;
    Ok(key)
}

/// A new key by chance.
fn new_key(path: &Path) -> Result<SealingKey, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice())
        .map_err(|error| KeyFileError::Io { path: path.to_owned(), error: error.into() })?;
    Ok(SealingKey::from_seed(&seed))
}

/// Writes a new private key with mode 0600, durably; an existing file stays as it is.
pub fn write_sealing_key(path: &Path, key: &SealingKey) -> Result<(), KeyFileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.to_owned()),
        io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(path).to_owned();
            KeyFileError::NoFolder { path: path.to_owned(), folder }
        }
        _ => KeyFileError::Io { path: path.to_owned(), error },
    };
    let pem = key.to_pem().ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Reads a text file of keys, in one piece: should it be a private key's, whoever gets it can wipe it.
pub fn read_text(path: &Path) -> Result<String, KeyFileError> {
    let io = |error| KeyFileError::Io { path: path.to_owned(), error };
    let mut text = String::with_capacity(MAX_FILE);
    File::open(path).map_err(io)?.take(MAX_FILE as u64).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// Reads the delegations in a file, one a line, or in the `.delegation` files of a folder.
pub fn read_delegations(
    path: &Path,
    domain: &DomainName,
    selector: &Selector,
) -> Result<Vec<Delegation>, KeyFileError> {
    let mut delegations = Vec::new();
    let files = if path.is_dir() { entries(path)? } else { vec![path.to_owned()] };
    for file in files.iter().filter(|file| *file == path || file_name(file).ends_with(".delegation")) {
        for line in lines(&read_text(file)?) {
            let parsed = Delegation::parse(line, domain, selector);
            delegations.push(parsed.map_err(|error| KeyFileError::Content { path: file.clone(), error })?);
        }
    }
    Ok(delegations)
}

/// The lines of a text that hold something, comments excepted.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// Reads a file of certificates, PEM. What stands around them may be anything.
pub fn read_certificates(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let io = |error| KeyFileError::Io { path: path.to_owned(), error };
    let mut pem = Vec::new();
    File::open(path).map_err(io)?.take(MAX_CERTIFICATES).read_to_end(&mut pem).map_err(io)?;
    Ok(pem)
}

/// Reads the private key of a certificate, PEM, and says whether everybody on this machine can. Other servers often
/// share such a file with us, so that is no error. `credential:NAME` is as for [`read_sealing_key`].
pub fn read_certificate_key(path: &Path) -> Result<(Zeroizing<Vec<u8>>, bool), KeyFileError> {
    let io = |error| KeyFileError::Io { path: path.to_owned(), error };
    let file = named_credential(path)?;
    let file = File::open(file.as_deref().unwrap_or(path)).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mut pem = Zeroizing::new(Vec::with_capacity(MAX_CERTIFICATE_KEY));
    file.take(MAX_CERTIFICATE_KEY as u64).read_to_end(&mut pem).map_err(io)?;
    Ok((pem, metadata.is_file() && metadata.mode() & 0o004 != 0))
}

/// Reads a folder of pins: `<domain>/<selector>.txt`, a key record each, and `<domain>/root.txt`, root keys one a line.
/// Files of other kinds are left alone; so is everything whose name begins with a dot.
pub fn read_keys_dir(folder: &Path) -> Result<Vec<(DomainName, Pin)>, KeyFileError> {
    let mut pins = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            let domain = file_name(&path).parse().map_err(|_| KeyFileError::Name {
                path: path.clone(),
                reason: "the folder's name is not a domain".to_owned(),
            })?;
            pins.push((domain, read_pin(&path)?));
        }
    }
    Ok(pins)
}

fn read_pin(folder: &Path) -> Result<Pin, KeyFileError> {
    let mut pin = Pin { subdomains: true, ..Pin::default() };
    for path in entries(folder)? {
        let name = file_name(&path);
        let Some(stem) = name.strip_suffix(".txt") else { continue };
        let text = read_text(&path)?;
        let bad = |error| KeyFileError::Content { path: path.clone(), error };
        if stem == "root" {
            for line in lines(&text) {
                pin.roots.push(PublicKey::from_base64url(line).map_err(bad)?);
            }
        } else {
            let selector: Selector = stem
                .parse()
                .map_err(|error| KeyFileError::Name { path: path.clone(), reason: format!("{error}") })?;
            let record = KeyRecord::parse(&text).or_else(|error| printed(&text, &selector).ok_or(error));
            let record = record.map_err(bad)?;
            pin.keys.push(PinnedKey { selector: Some(selector), record });
        }
    }
    Ok(pin)
}

/// The record of a file as `keygen` prints it: a line of a zone file, with comments.
fn printed(text: &str, selector: &Selector) -> Option<KeyRecord> {
    match Published::read(text).ok()?.as_slice() {
        [Published::Key { owner, record }] => {
            let is_its_own = owner.as_ref().is_none_or(|(_, named)| named == selector);
            is_its_own.then_some(*record)
        }
        _ => None,
    }
}

/// What a folder holds, in the order of names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, KeyFileError> {
    let io = |error| KeyFileError::Io { path: folder.to_owned(), error };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if !file_name(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_new_key_is_its_owners_alone_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate1.pem");
        let key = SealingKey::from_seed(&[4; 32]);
        write_sealing_key(&path, &key).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_sealing_key(&path).unwrap().public(), key.public());
        assert!(matches!(write_sealing_key(&path, &key), Err(KeyFileError::Exists(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_sealing_key(&path), Err(KeyFileError::Exposed { mode: 0o640, .. })));
    }

    #[test]
    fn a_credential_is_found_where_systemd_puts_it() {
        let path = |name: &str, folder: Option<&str>| {
            let whole = format!("{CREDENTIAL}{name}");
            credential(Path::new(&whole), name, folder.map(OsString::from)).ok()
        };
        assert_eq!(path("gate1", Some("/run/c")), Some(PathBuf::from("/run/c/gate1")));
        for (name, folder) in
            [("gate1", None), ("gate1", Some("")), ("", Some("/run/c")), ("../x", Some("/run/c"))]
        {
            assert_eq!(path(name, folder), None, "{name} {folder:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gate1");
        write_sealing_key(&file, &SealingKey::from_seed(&[4; 32])).unwrap();
        // As an ACL shows.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(open_hidden(&file, 0o007).is_ok());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        assert!(matches!(open_hidden(&file, 0o007), Err(KeyFileError::Exposed { .. })));
    }

    #[test]
    fn a_pin_in_a_name_is_not_shown() {
        for name in [
            "pkcs11:token=t?pin-value=1234&module-path=/m",
            "pkcs11:token=t?module-path=/m&pin-value=1234",
            "pkcs11:token=t;pin-value=1234?module-path=/m",
            "pkcs11:token=t&pin-value=1234",
        ] {
            assert!(!shown(Path::new(name)).contains("1234"), "{name}");
            assert!(advice(Path::new(name)).is_some());
            let error = read_sealing_key(Path::new(name)).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("1234"), "{error}");
        }
        assert_eq!(shown(Path::new("/etc/gate1.pem")), "/etc/gate1.pem");
        assert_eq!(advice(Path::new("pkcs11:token=t?pin-source=/p")), None);
    }

    #[test]
    fn a_build_without_tokens_says_so() {
        let error = KeyFileError::NoTokens("pkcs11:token=t".to_owned()).to_string();
        assert!(error.starts_with("pkcs11:token=t: ") && error.contains("--features hsm"), "{error}");
    }

    #[test]
    fn reads_a_folder_of_pins() {
        let folder = tempfile::tempdir().unwrap();
        let domain = folder.path().join("example.org");
        fs::create_dir(&domain).unwrap();
        let key = SealingKey::from_seed(&[5; 32]).public();
        let record = KeyRecord { key: Some(key), trial: false };
        fs::write(domain.join("gate1.txt"), format!("{record}\n")).unwrap();
        fs::write(domain.join("root.txt"), format!("# ours\n{}\n\n", key.to_base64url())).unwrap();
        fs::write(domain.join("notes.md"), "not a key").unwrap();
        let pins = read_keys_dir(folder.path()).unwrap();
        assert_eq!(pins.len(), 1);
        assert_eq!(pins[0].1.roots, [key]);
        assert_eq!(pins[0].1.keys, [PinnedKey { selector: "gate1".parse().ok(), record }]);
        fs::write(domain.join("bad.txt"), "junk").unwrap();
        assert!(matches!(read_keys_dir(folder.path()), Err(KeyFileError::Content { .. })));
    }
}
