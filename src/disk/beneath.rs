//! What lies beneath the state folder and the folders of keys, reached step by step from a folder held open, so that no link is
//! followed: root runs commands where the gateway's user can put a link, a FIFO or another name of root's own files at any
//! moment. The folder itself is the administrator's, who may have made a link of it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, mkdirat, openat, renameat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;

/// Who may look into our folders.
const FOLDER_MODE: u32 = 0o700;
/// Largest file that is read, in octets; ours have some kilobytes.
const MAX_FILE: u64 = 64 << 20;
/// Deepest folder that is removed; ours have no folders in them.
const MAX_DEPTH: usize = 8;

/// A folder, held open.
#[derive(Debug)]
pub(crate) struct Folder(File);

impl Folder {
    /// The state folder.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?.into()))
    }

    /// The state folder, made if it is missing: for us alone, whatever the umask is.
    pub(crate) fn open_or_make(path: &Path) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
                fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))?;
                Self::open(path)
            }
            result => result,
        }
    }

    /// A folder in it.
    pub(crate) fn folder(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.0, name, flags, Mode::empty()) {
            Ok(folder) => Ok(Self(folder.into())),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                Err(io::Error::other(format!("`{name}` is a link, or no folder")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A folder in it, made if it is missing, with the owner of this one: for that owner alone, whatever the umask is.
    pub(crate) fn folder_or_make(&self, name: &str) -> io::Result<Self> {
        self.folder_or_make_like(name, &self.0)
    }

    /// The same with the owner of `like`.
    pub(crate) fn folder_or_make_like(&self, name: &str, like: &File) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::from_raw_mode(FOLDER_MODE)) {
            Ok(()) => {
                let made = self.folder(name)?;
                made.0.set_permissions(Permissions::from_mode(FOLDER_MODE))?;
                own_like(like, &made.0)?;
                Ok(made)
            }
            Err(Errno::EXIST) => self.folder(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file in it, which must be one, without waiting for whoever writes to a FIFO. Another name of a file elsewhere
    /// is refused where it is to be written.
    pub(crate) fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file: File = match openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file.into(),
            Err(Errno::LOOP) => return Err(io::Error::other("it is a link, and none is followed here")),
            Err(error) => return Err(error.into()),
        };
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if flags.intersects(OFlags::WRONLY | OFlags::RDWR) && found.nlink() > 1 {
            return Err(io::Error::other("it is a file of another name, too"));
        }
        Ok(file)
    }

    /// Opens a file in it to write, and makes it, with the folder's owner, if it is missing. Says whether it was made.
    pub(crate) fn open_or_make_file(&self, name: &str) -> io::Result<(File, bool)> {
        match self.open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL) {
            Ok(file) => {
                own_like(&self.0, &file)?;
                Ok((file, true))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok((self.open_file(name, OFlags::RDWR)?, false))
            }
            Err(error) => Err(error),
        }
    }

    /// What a file in it holds.
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = self.open_file(name, OFlags::RDONLY)?;
        if file.metadata()?.len() > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut content = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Whether it has something of this name, and if so whether a file, and its number and length.
    pub(crate) fn look(&self, name: &str) -> io::Result<Found> {
        let found = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        Ok(Found { kind, number: found.st_ino, length: u64::try_from(found.st_size).unwrap_or_default() })
    }

    /// The names of what is in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// Moves something out of it, under the same name.
    pub(crate) fn move_to(&self, name: &str, folder: &Self) -> io::Result<()> {
        Ok(renameat(&self.0, name, &folder.0, name)?)
    }

    /// Puts a new file into it, whole and to stay, or not at all. What has that name already stays as it is. The file gets the
    /// owner of `like`; else it is ours.
    pub(crate) fn add_file(
        &self,
        name: &str,
        content: &[u8],
        mode: u32,
        like: Option<&File>,
    ) -> io::Result<()> {
        // Under a name that nobody knows beforehand.
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::from)?;
        let unfinished = format!(".waxseal-{:016x}", u64::from_ne_bytes(random));
        let mut file = self.open_file(&unfinished, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        let written = file
            .write_all(content)
            .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
            .and_then(|()| like.map_or(Ok(()), |like| own_like(like, &file)))
            .and_then(|()| file.sync_all())
            .and_then(|()| Ok(renameat_with(&self.0, &unfinished, &self.0, name, RenameFlags::NOREPLACE)?));
        if written.is_err() {
            let _ = unlinkat(&self.0, &unfinished, AtFlags::empty());
        }
        written?;
        self.sync()
    }

    /// Removes a folder in it with all that it holds.
    pub(crate) fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.remove_folder_to(name, MAX_DEPTH)
    }

    fn remove_folder_to(&self, name: &str, depth: usize) -> io::Result<()> {
        if depth == 0 {
            return Err(io::Error::other("folders within folders, too many of them"));
        }
        let folder = self.folder(name)?;
        for entry in folder.names()? {
            match unlinkat(&folder.0, &entry, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    let name = entry.to_str().ok_or(Errno::ISDIR)?;
                    folder.remove_folder_to(name, depth - 1)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Makes its entries durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// The folder as an open file.
    pub(crate) fn as_file(&self) -> &File {
        &self.0
    }
}

/// Something in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: FileType,
    /// The inode.
    pub(crate) number: u64,
    /// Octets.
    pub(crate) length: u64,
}

/// Gives an open file that root made, be it called as it may, to whom the folder belongs, the gateway's user: it must be able
/// to read and replace it. A file with a second name may be one of root's own, which it shall not get.
pub(crate) fn own_like(folder: &File, file: &File) -> io::Result<()> {
    let (folder, file_now) = (folder.metadata()?, file.metadata()?);
    if (folder.uid(), folder.gid()) == (file_now.uid(), file_now.gid()) {
        return Ok(());
    }
    if file_now.is_file() && file_now.nlink() > 1 {
        return Err(io::Error::other("it is a file of another name, too"));
    }
    match fchown(file, Some(folder.uid()), Some(folder.gid())) {
        // The gateway's own user may not give its files to another group, and need not.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && file_now.uid() == folder.uid() => {
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn no_link_is_followed_and_no_fifo_waited_for() {
        let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("secret"), "kept").unwrap();
        symlink(elsewhere.path(), state.path().join("folder")).unwrap();
        symlink(elsewhere.path().join("secret"), state.path().join("file")).unwrap();
        fs::hard_link(elsewhere.path().join("secret"), state.path().join("second-name")).unwrap();
        assert!(Command::new("mkfifo").arg(state.path().join("fifo")).status().unwrap().success());
        let folder = Folder::open(state.path()).unwrap();
        assert!(folder.folder("folder").is_err());
        assert!(folder.folder_or_make("folder").is_err());
        assert!(folder.remove_folder("folder").is_err());
        for name in ["file", "fifo", "folder"] {
            assert!(folder.read(name).is_err(), "{name}");
            assert!(folder.open_or_make_file(name).is_err(), "{name}");
        }
        assert!(folder.open_or_make_file("second-name").is_err());
        assert_eq!(fs::read_to_string(elsewhere.path().join("secret")).unwrap(), "kept");
    }

    #[test]
    fn a_folder_is_removed_with_what_is_in_it_and_links_alone() {
        let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("kept"), "kept").unwrap();
        let folder = Folder::open(state.path()).unwrap();
        let inner = folder.folder_or_make("a").unwrap().folder_or_make("b").unwrap();
        inner.open_or_make_file("c").unwrap();
        symlink(elsewhere.path(), state.path().join("a/link")).unwrap();
        folder.remove_folder("a").unwrap();
        assert_eq!(folder.names().unwrap(), Vec::<OsString>::new());
        assert!(elsewhere.path().join("kept").exists());
    }
}
