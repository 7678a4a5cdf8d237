//! A folder of a domain's sealing keys (`keys` of a `[[domain]]`): `<selector>.pem` holds a key, `<selector>.pkcs11` the URI of
//! one in a token. Lines before the key say when it was made and from when on it may seal, so that a copy of the file says the
//! same. Keys in the folder `revoked` beneath are out of use. Nothing is followed out of the folder, which may be the
//! gateway's user's while root writes there.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use attachment_seal::domain::Selector;
use attachment_seal::seal::key::SealingKey;
use jiff::Timestamp;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::{
    CREDENTIAL, KeyFileError, MAX_PEM, check_hidden, credentials_folder, make_sealing_key, new_key,
    parse_pem, read_pem, read_sealing_key, token,
};
use crate::clock::{moment, second};
use crate::disk::beneath::Folder;

/// What the name of a key's file ends in.
const PEM: &str = ".pem";
/// What the name of a file ends in that names a key in a token.
const IN_TOKEN: &str = ".pkcs11";
/// Where keys lie that are out of use.
const REVOKED: &str = "revoked";

/// Most keys of one day.
const MAX_OF_A_DAY: usize = 99;

const MADE: &str = "Made: ";
const NOT_BEFORE: &str = "Not-Before: ";

/// A sealing key of a folder.
#[derive(Clone, Debug)]
pub struct FolderKey {
    /// What it is published as.
    pub selector: Selector,
    /// The key.
    pub key: SealingKey,
    /// When it was made and from when on it may seal.
    pub times: Times,
    stamp: Stamp,
}

/// What a key's file says of it, in Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When it was made; `None` where it does not say.
    pub made: Option<u64>,
    /// From when on it may seal; `None` where that is at any time.
    pub not_before: Option<u64>,
}

/// What a folder of keys holds.
#[derive(Debug, Default)]
pub struct KeyFolder {
    /// The keys.
    pub keys: Vec<FolderKey>,
    /// The selectors of keys that are out of use, though a copy be among the keys.
    pub revoked: Vec<Selector>,
    /// Files that hold no key for us. A key that was read before is among the keys all the same.
    pub mistakes: Vec<KeyFileError>,
}

/// What tells one state of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, i64, i64, u64);

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let about = file.metadata()?;
        // The change of its permissions counts as well.
        Ok(Self(about.ino(), about.ctime(), about.ctime_nsec(), about.len()))
    }
}

/// Where the keys of a folder lie.
struct Place {
    folder: PathBuf,
    /// What their names begin with.
    prefix: String,
    /// Permissions that nobody may have on them.
    forbidden: u32,
}

impl Place {
    /// Of `keys = "credential:NAME"`: systemd hands the files of a folder over as `NAME_<file>`.
    fn of(path: &Path) -> Result<Self, KeyFileError> {
        match path.to_str().and_then(|path| path.strip_prefix(CREDENTIAL)) {
            Some(name) => {
                let folder = credentials_folder(path, name)?;
                Ok(Self { folder, prefix: format!("{name}_"), forbidden: 0o007 })
            }
            None => Ok(Self { folder: path.to_owned(), prefix: String::new(), forbidden: 0o077 }),
        }
    }
}

/// Reads the keys in a folder. One of `known` whose file has not changed since is not read again: it may be in a token.
pub fn read_key_folder(path: &Path, known: &[FolderKey]) -> Result<KeyFolder, KeyFileError> {
    let place = Place::of(path)?;
    let folder = Folder::open(&place.folder).map_err(at(path))?;
    let mut found = KeyFolder::default();
    for name in names(&folder).map_err(at(path))? {
        let Some((selector, is_token)) = selector_of(&name, &place.prefix) else { continue };
        let file = path.join(&name);
        let Ok(selector) = selector.parse::<Selector>() else {
            let reason = "the file's name is not a selector and .pem".to_owned();
            found.mistakes.push(KeyFileError::Name { path: file, reason });
            continue;
        };
        let before = known.iter().find(|key| key.selector == selector);
        let read = match folder.open_file(&name, OFlags::RDONLY) {
            // It went away since we saw its name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(at(&file)(error)),
            Ok(open) => read_one(open, &file, &place, (selector, is_token), before),
        };
        match read {
            Ok(key) => found.keys.push(key),
            Err(error) => {
                found.keys.extend(before.cloned());
                found.mistakes.push(error);
            }
        }
    }
    match folder.folder(REVOKED).and_then(|revoked| names(&revoked)) {
        Ok(names) => {
            let selectors = names.iter().filter_map(|name| selector_of(name, ""));
            found.revoked = selectors.filter_map(|(selector, _)| selector.parse().ok()).collect();
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // A key that others have must not seal because we cannot look.
        Err(error) => return Err(at(&path.join(REVOKED))(error)),
    }
    Ok(found)
}

fn read_one(
    file: File,
    path: &Path,
    place: &Place,
    (selector, is_token): (Selector, bool),
    before: Option<&FolderKey>,
) -> Result<FolderKey, KeyFileError> {
    let stamp = Stamp::of(&file).map_err(at(path))?;
    if let Some(before) = before.filter(|before| before.stamp == stamp) {
        return Ok(before.clone());
    }
    if is_token {
        // To open a token is to load a program: root does so for nobody else.
        let owner = file.metadata().map_err(at(path))?.uid();
        if ![0, geteuid().as_raw()].contains(&owner) {
            return Err(at(path)(io::Error::other("it names a token's module, so it must belong to root")));
        }
        let text = read_pem(file, path)?;
        let (times, uri) = split(&text);
        let uri = Path::new(uri.trim());
        if token(uri).is_none() {
            let reason = "it must hold the pkcs11: URI of a key".to_owned();
            return Err(KeyFileError::Name { path: path.to_owned(), reason });
        }
        return Ok(FolderKey { selector, key: read_sealing_key(uri)?, times, stamp });
    }
    check_hidden(&file, path, place.forbidden)?;
    let text = read_pem(file, path)?;
    let (times, pem) = split(&text);
    Ok(FolderKey { selector, key: parse_pem(pem, path)?, times, stamp })
}

/// The lines before the key, and the key.
fn split(text: &str) -> (Times, &str) {
    let (mut times, mut rest) = (Times::default(), text);
    let time = |text: &str| {
        let moment: Option<Timestamp> = text.trim().parse().ok();
        moment.and_then(|moment| u64::try_from(moment.as_second()).ok())
    };
    while let Some((line, more)) = rest.split_once('\n') {
        if let Some(made) = line.strip_prefix(MADE) {
            times.made = time(made);
        } else if let Some(not_before) = line.strip_prefix(NOT_BEFORE) {
            // One that cannot be read is not over.
            times.not_before = Some(time(not_before).unwrap_or(u64::MAX));
        } else {
            break;
        }
        rest = more;
    }
    (times, rest)
}

fn joined(times: Times, key: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_PEM));
    for (name, time) in [(MADE, times.made), (NOT_BEFORE, times.not_before)] {
        if let Some(time) = time {
            text.push_str(&format!("{name}{}\n", second(moment(time))));
        }
    }
    text.push_str(key);
    text
}

/// The selector that a file's name has, and whether its key is in a token.
fn selector_of<'a>(name: &'a str, prefix: &str) -> Option<(&'a str, bool)> {
    let name = name.strip_prefix(prefix).filter(|name| !name.starts_with('.'))?;
    let in_file = name.strip_suffix(PEM).map(|selector| (selector, false));
    in_file.or_else(|| name.strip_suffix(IN_TOKEN).map(|selector| (selector, true)))
}

fn names(folder: &Folder) -> io::Result<Vec<String>> {
    let names = folder.names()?.into_iter().filter_map(|name| name.into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

/// Which state the folder is in: another one once a key was put there or taken away.
pub fn folder_stamp(path: &Path) -> Option<[(i64, i64); 2]> {
    let place = Place::of(path).ok()?;
    let changed = |path: &Path| {
        let about = fs::metadata(path);
        about.map_or((0, 0), |about| (about.mtime(), about.mtime_nsec()))
    };
    Some([changed(&place.folder), changed(&place.folder.join(REVOKED))])
}

/// Makes a new key in a folder, or has it made in a token (`pkcs11:…`) and names it there. The file gets mode 0600 and the owner
/// of the folder's other keys; one that names a token stays root's, and everybody may read it. A missing folder is made, with
/// the owner of `state`. Gives the file's path.
pub fn add_key(
    path: &Path,
    selector: &Selector,
    times: Times,
    in_token: Option<&Path>,
    state: &Path,
) -> Result<(PathBuf, SealingKey), KeyFileError> {
    if path.to_str().is_some_and(|path| path.starts_with(CREDENTIAL)) {
        let reason = "systemd hands these keys over: name the file with --out, and put it where LoadCredential= takes them from";
        return Err(KeyFileError::Name { path: path.to_owned(), reason: reason.to_owned() });
    }
    let folder = match Folder::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_folder(path, state),
        folder => folder,
    };
    let folder = folder.map_err(at(path))?;
    let ending = if in_token.is_some() { IN_TOKEN } else { PEM };
    let name = format!("{selector}{ending}");
    let file = path.join(&name);
    if is_taken(&folder, selector).map_err(at(path))? {
        return Err(KeyFileError::Exists(file));
    }
    let key;
    let written = match in_token {
        Some(uri) => {
            key = make_sealing_key(uri)?;
            let text = joined(times, &format!("{}\n", uri.display()));
            folder.add_file(&name, text.as_bytes(), 0o644, None)
        }
        None => {
            key = new_key(path)?;
            let pem = key.to_pem().unwrap_or_default();
            let like = neighbour(&folder).map_err(at(path))?;
            let like = like.as_ref().unwrap_or(folder.as_file());
            folder.add_file(&name, joined(times, &pem).as_bytes(), 0o600, Some(like))
        }
    };
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(file.clone()),
        _ => at(&file)(error),
    })?;
    Ok((file, key))
}

/// Whether a selector has a key in the folder, or had one that is out of use.
pub fn is_selector_taken(path: &Path, selector: &Selector) -> Result<bool, KeyFileError> {
    match Folder::open(path).and_then(|folder| is_taken(&folder, selector)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        taken => taken.map_err(at(path)),
    }
}

/// A selector for a new key in the folder, which need not be there: the day's date, with a number behind it where that is taken.
pub fn free_selector(path: &Path) -> Result<Selector, KeyFileError> {
    let day = Timestamp::now().strftime("%Y%m%d").to_string();
    for number in 1..=MAX_OF_A_DAY {
        let name = if number == 1 { day.clone() } else { format!("{day}-{number}") };
        let named = |error| KeyFileError::Name { path: path.to_owned(), reason: format!("{error}") };
        let selector: Selector = name.parse().map_err(named)?;
        if !is_selector_taken(path, &selector)? {
            return Ok(selector);
        }
    }
    let reason = format!("{MAX_OF_A_DAY} keys of today are there already: name the --selector");
    Err(KeyFileError::Name { path: path.to_owned(), reason })
}

fn is_taken(folder: &Folder, selector: &Selector) -> io::Result<bool> {
    let revoked = match folder.folder(REVOKED) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        revoked => Some(revoked?),
    };
    for folder in [Some(folder), revoked.as_ref()].into_iter().flatten() {
        for ending in [PEM, IN_TOKEN] {
            match folder.look(&format!("{selector}{ending}")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => return found.map(|_| true),
            }
        }
    }
    Ok(false)
}

/// A key that is in the folder already.
fn neighbour(folder: &Folder) -> io::Result<Option<File>> {
    let keys = names(folder)?.into_iter().filter(|name| name.ends_with(PEM));
    Ok(keys.into_iter().find_map(|name| folder.open_file(&name, OFlags::RDONLY).ok()))
}

fn make_folder(path: &Path, state: &Path) -> io::Result<Folder> {
    DirBuilder::new().mode(0o700).create(path)?;
    if let Ok(like) = fs::metadata(state) {
        chown(path, Some(like.uid()), Some(like.gid()))?;
    }
    Folder::open(path)
}

/// Takes a key of a folder out of use, at once and to stay. Whether it was in use; `None` where there is no such key.
pub fn revoke_key(path: &Path, selector: &Selector) -> Result<Option<bool>, KeyFileError> {
    if path.to_str().is_some_and(|path| path.starts_with(CREDENTIAL)) {
        let reason = "systemd hands these keys over: take the file away from where LoadCredential= has it, and restart the \
                      gateway (systemctl restart waxseal)";
        return Err(KeyFileError::Name { path: path.to_owned(), reason: reason.to_owned() });
    }
    let folder = Folder::open(path).map_err(at(path))?;
    let mut was_in_use = None;
    for ending in [PEM, IN_TOKEN] {
        let name = format!("{selector}{ending}");
        match folder.open_file(&name, OFlags::RDONLY) {
            Ok(key) => {
                let revoked = folder.folder_or_make_like(REVOKED, &key).map_err(at(&path.join(REVOKED)))?;
                let moved = folder.move_to(&name, &revoked).and_then(|()| revoked.sync());
                moved.and_then(|()| folder.sync()).map_err(at(&path.join(&name)))?;
                was_in_use = Some(true);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_there = folder.folder(REVOKED).and_then(|revoked| revoked.look(&name)).is_ok();
                was_in_use = was_in_use.or(is_there.then_some(false));
            }
            Err(error) => return Err(at(&path.join(&name))(error)),
        }
    }
    Ok(was_in_use)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> KeyFileError + use<> {
    let path = path.to_owned();
    move |error| KeyFileError::Io { path, error }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn selectors(found: &KeyFolder) -> Vec<&str> {
        found.keys.iter().map(|key| key.selector.as_str()).collect()
    }

    #[test]
    fn keys_are_put_there_read_and_taken_out_of_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("example.org");
        let (one, two): (Selector, Selector) = ("gate1".parse().unwrap(), "gate2".parse().unwrap());
        let times = Times { made: Some(1_800_000_000), not_before: Some(1_800_086_400) };
        let (file, key) = add_key(&path, &one, Times::default(), None, folder.path()).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_sealing_key(&file).unwrap().public(), key.public());
        add_key(&path, &two, times, None, folder.path()).unwrap();
        assert!(matches!(add_key(&path, &two, times, None, folder.path()), Err(KeyFileError::Exists(_))));
        let found = read_key_folder(&path, &[]).unwrap();
        assert_eq!((selectors(&found), found.mistakes.len()), (vec!["gate1", "gate2"], 0));
        assert_eq!((found.keys[0].times, found.keys[1].times), (Times::default(), times));

        let before = folder_stamp(&path);
        assert_eq!(revoke_key(&path, &one).unwrap(), Some(true));
        assert_eq!(revoke_key(&path, &one).unwrap(), Some(false));
        assert_eq!(revoke_key(&path, &"gate3".parse().unwrap()).unwrap(), None);
        assert_ne!(folder_stamp(&path), before);
        let found = read_key_folder(&path, &found.keys).unwrap();
        assert_eq!((selectors(&found), &found.revoked), (vec!["gate2"], &vec![one.clone()]));
        assert!(is_selector_taken(&path, &one).unwrap());
        assert!(matches!(add_key(&path, &one, times, None, &path), Err(KeyFileError::Exists(_))));
        // No half of a key is left behind.
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
    }

    /// A key that seals goes on though its file cannot be read for a while.
    #[test]
    fn what_cannot_be_read_is_said_and_what_was_read_stays() {
        let folder = tempfile::tempdir().unwrap();
        let add = |name: &str| {
            add_key(folder.path(), &name.parse().unwrap(), Times::default(), None, folder.path())
        };
        let (file, _) = add("gate1").unwrap();
        let known = read_key_folder(folder.path(), &[]).unwrap().keys;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let found = read_key_folder(folder.path(), &known).unwrap();
        assert!(matches!(found.mistakes.as_slice(), [KeyFileError::Exposed { .. }]), "{found:?}");
        assert_eq!(selectors(&found), ["gate1"]);
        assert_eq!(selectors(&read_key_folder(folder.path(), &[]).unwrap()), [""; 0]);

        let elsewhere = tempfile::tempdir().unwrap();
        let (key, _) =
            add_key(elsewhere.path(), &"x".parse().unwrap(), Times::default(), None, folder.path()).unwrap();
        symlink(key, folder.path().join("gate2.pem")).unwrap();
        fs::write(folder.path().join("gate3.pkcs11"), "/bin/true\n").unwrap();
        let found = read_key_folder(folder.path(), &[]).unwrap();
        assert_eq!((selectors(&found), found.mistakes.len()), (vec![], 3), "{found:?}");
        symlink(elsewhere.path(), folder.path().join("revoked")).unwrap();
        assert!(revoke_key(folder.path(), &"gate1".parse().unwrap()).is_err() && file.exists());
        assert!(read_key_folder(folder.path(), &known).is_err());
    }

    #[test]
    fn a_time_that_cannot_be_read_is_not_over() {
        let text = "Made: 2026-11-28T06:30:00Z\nNot-Before: soon\nkey";
        let times = Times { made: Some(1_795_847_400), not_before: Some(u64::MAX) };
        assert_eq!(split(text), (times, "key"));
        assert_eq!(split("key\n"), (Times::default(), "key\n"));
    }
}
