//! The service's user, and what it may do with files that it does not own. Access lists beyond the file's mode are not
//! looked at.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A user of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Its number.
    pub(crate) uid: u32,
    /// Its name, or its number where /etc/passwd has no name for it.
    pub(crate) name: String,
    groups: Vec<u32>,
}

/// What a user wants to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Read it.
    Read,
    /// Change it, or what a folder holds.
    Write,
}

impl User {
    /// The owner of a folder.
    pub(crate) fn owner_of(folder: &Path) -> Option<Self> {
        let folder = fs::metadata(folder).ok()?;
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        Some(Self::new(folder.uid(), folder.gid(), &text("/etc/passwd"), &text("/etc/group")))
    }

    /// From the texts of /etc/passwd and /etc/group.
    fn new(uid: u32, gid: u32, passwd: &str, group: &str) -> Self {
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let entry = passwd.lines().map(fields).find(|entry| entry.get(2) == Some(&uid.to_string()));
        let (name, own) = match &entry {
            Some(entry) => (entry[0].clone(), entry.get(3).and_then(|gid| gid.parse::<u32>().ok())),
            None => (uid.to_string(), None),
        };
        let is_member =
            |entry: &Vec<String>| entry.get(3).is_some_and(|all| all.split(',').any(|one| one == name));
        let mut groups: Vec<u32> = group
            .lines()
            .map(fields)
            .filter(is_member)
            .filter_map(|entry| entry.get(2).and_then(|gid| gid.parse().ok()))
            .collect();
        groups.extend(own);
        if entry.is_none() {
            groups.push(gid);
        }
        Self { uid, name, groups }
    }

    /// Whether this process is that user's.
    pub(super) fn is_us(&self) -> bool {
        rustix::process::geteuid().as_raw() == self.uid
    }

    /// Whether this process is root's.
    pub(crate) fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    /// The first file or folder on the way to `path` that keeps this user from it; `None` if nothing does. Something
    /// that is not there keeps nobody.
    pub(super) fn barred_at(&self, path: &Path, access: Access) -> Option<PathBuf> {
        let path = path.canonicalize().ok()?;
        let folders: Vec<&Path> = path.ancestors().skip(1).collect();
        let closed = folders
            .into_iter()
            .rev()
            .find(|folder| fs::metadata(folder).is_ok_and(|folder| !self.may(&folder, 0o1)));
        let wanted = match access {
            Access::Read => 0o4,
            Access::Write => 0o2,
        };
        let metadata = fs::metadata(&path).ok()?;
        closed.map(Path::to_owned).or_else(|| (!self.may(&metadata, wanted)).then_some(path))
    }

    fn may(&self, file: &Metadata, wanted: u32) -> bool {
        self.may_with(file.uid(), file.gid(), file.permissions().mode(), wanted)
    }

    /// The owner's permissions count for the owner, the group's for the group, and only then everybody's.
    fn may_with(&self, uid: u32, gid: u32, mode: u32, wanted: u32) -> bool {
        if self.uid == 0 {
            return true;
        }
        let granted = if uid == self.uid {
            mode >> 6
        } else if self.groups.contains(&gid) {
            mode >> 3
        } else {
            mode
        };
        granted & wanted == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwaxseal:x:990:980::/nonexistent:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\nmail:x:8:postfix,waxseal\nwaxseal:x:980:\nother:x:7:waxseals\n";

    #[test]
    fn knows_a_user_by_its_number() {
        let user = User::new(990, 980, PASSWD, GROUP);
        assert_eq!(user, User { uid: 990, name: "waxseal".to_owned(), groups: vec![8, 980] });
        assert_eq!(User::new(5, 6, PASSWD, GROUP), User { uid: 5, name: "5".to_owned(), groups: vec![6] });
    }

    #[test]
    fn the_owner_may_less_than_others_may() {
        let user = User::new(990, 980, PASSWD, GROUP);
        for (uid, gid, mode, may) in [
            (990, 0, 0o600, true),
            (0, 0, 0o600, false),
            (0, 980, 0o640, true),
            (0, 8, 0o640, true),
            (0, 7, 0o640, false),
            (0, 7, 0o644, true),
            (990, 0, 0o044, false),
            (0, 8, 0o604, false),
        ] {
            assert_eq!(user.may_with(uid, gid, mode, 0o4), may, "{uid}:{gid} {mode:o}");
        }
        assert!(User::new(0, 0, PASSWD, GROUP).may_with(5, 5, 0, 0o6));
    }
}
