//! Unnamed files for messages that are too large for memory. They are gone as soon as they are closed, whatever
//! happens to us, and nobody else can open them.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::sendfile;
use rustix::io::Errno;
use thiserror::Error;
use tokio::sync::Mutex;

use crate::blocking::blocking;

/// Octets read or written at once. A thread is asked for each, and with it goes a turn of the processor or two.
pub(super) const BLOCK: usize = 512 << 10;

/// Why a socket got nothing of a file.
#[derive(Debug, Error)]
pub(super) enum SendError {
    /// The file cannot be read.
    #[error("cannot read the file")]
    File(#[source] io::Error),
    /// The socket is of no use any more.
    #[error("cannot write to the socket")]
    Socket(#[source] io::Error),
}

/// Where such files are made, and the one place in memory where they are examined.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    /// One message at a time is looked at as a whole: two large messages never take twice of it. The memory is used
    /// again, for fresh memory costs more than what is done there, until there is no spooled message left.
    workspace: Arc<Mutex<Vec<u8>>>,
    files: AtomicUsize,
}

/// One spooled message.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: Arc<File>,
    size: u64,
    spool: Arc<Spool>,
}

impl Spool {
    /// Files are made in this folder's file system.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, workspace: Arc::default(), files: AtomicUsize::new(0) }
    }

    /// How many messages are in files now.
    pub(super) fn files(&self) -> usize {
        self.files.load(Ordering::Relaxed)
    }

    /// Makes an empty file.
    pub(super) async fn create(self: &Arc<Self>) -> io::Result<SpoolFile> {
        let folder = self.folder.clone();
        let file = blocking(move || tempfile::tempfile_in(folder)).await?;
        self.files.fetch_add(1, Ordering::Relaxed);
        Ok(SpoolFile { file: Arc::new(file), size: 0, spool: Arc::clone(self) })
    }
}

impl SpoolFile {
    /// Octets written so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Writes `octets` at the end and gives the buffer back, empty.
    pub(super) async fn append(&mut self, octets: Vec<u8>) -> io::Result<Vec<u8>> {
        let (file, at) = (Arc::clone(&self.file), self.size);
        self.size += octets.len() as u64;
        blocking(move || {
            let mut octets = octets;
            file.write_all_at(&octets, at)?;
            octets.clear();
            Ok(octets)
        })
        .await
    }

    /// Reads the whole into memory, once it is its turn, and has `job` look at it.
    pub(super) async fn examine<T: Send + 'static>(
        &self,
        job: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> io::Result<T> {
        let mut workspace = Arc::clone(&self.spool.workspace).lock_owned().await;
        let file = Arc::clone(&self.file);
        let size = usize::try_from(self.size).map_err(io::Error::other)?;
        if workspace.len() < size {
            // Not by the thread that reads: allocators keep what was freed for each thread that asked for it.
            *workspace = Vec::new();
            *workspace = vec![0; size];
        }
        blocking(move || {
            let message = &mut workspace[..size];
            file.read_exact_at(message, 0).map(|()| job(message))
        })
        .await
    }

    /// What the file holds from `at` on, block by block.
    pub(super) fn blocks(&self, at: u64) -> Blocks {
        Blocks { file: Arc::clone(&self.file), at, end: self.size, block: Vec::new() }
    }

    /// What the file holds, for one who reads it on a thread of its own.
    pub(super) fn reader(&self) -> impl io::Read + Send + 'static {
        Reader { file: Arc::clone(&self.file), at: 0 }
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if self.spool.files.fetch_sub(1, Ordering::Relaxed) == 1
            && let Ok(mut workspace) = self.spool.workspace.try_lock()
        {
            *workspace = Vec::new();
        }
    }
}

/// Reads a spooled message block by block.
#[derive(Debug)]
pub(super) struct Blocks {
    file: Arc<File>,
    at: u64,
    end: u64,
    block: Vec<u8>,
}

impl Blocks {
    /// The next block; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(BLOCK);
        if left == 0 {
            return Ok(None);
        }
        let (file, at, mut block) = (Arc::clone(&self.file), self.at, std::mem::take(&mut self.block));
        self.block = blocking(move || {
            block.resize(left, 0);
            file.read_exact_at(&mut block, at).map(|()| block)
        })
        .await?;
        self.at += left as u64;
        Ok(Some(&self.block))
    }

    /// Has the kernel send as much of what is left as a socket takes at once: pages of the file go over as they are.
    pub(super) async fn send(&mut self, socket: &Arc<OwnedFd>) -> Result<(), SendError> {
        let (file, socket, mut at) = (Arc::clone(&self.file), Arc::clone(socket), self.at);
        let left = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        self.at = blocking(move || match sendfile(&*socket, &*file, Some(&mut at), left) {
            Ok(0) => Err(SendError::File(ErrorKind::UnexpectedEof.into())),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(at),
            Err(error @ Errno::IO) => Err(SendError::File(error.into())),
            Err(error) => Err(SendError::Socket(error.into())),
        })
        .await?;
        Ok(())
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.end
    }
}

struct Reader {
    file: Arc<File>,
    at: u64,
}

impl io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn gives_back_what_was_written() {
        let spool = Arc::new(Spool::new(std::env::temp_dir()));
        let mut file = spool.create().await.unwrap();
        let message: Vec<u8> = (0..3 * BLOCK + 7).map(|n| (n % 251) as u8).collect();
        for piece in message.chunks(100_000) {
            assert!(file.append(piece.to_vec()).await.unwrap().is_empty());
        }
        assert_eq!(file.size(), message.len() as u64);
        assert_eq!(file.examine(<[u8]>::to_vec).await.unwrap(), message);

        let (mut blocks, mut read) = (file.blocks(7), Vec::new());
        while let Some(block) = blocks.next().await.unwrap() {
            read.extend_from_slice(block);
        }
        assert_eq!(read, &message[7..]);

        let mut whole = Vec::new();
        file.reader().read_to_end(&mut whole).unwrap();
        assert_eq!(whole, message);
    }
}
