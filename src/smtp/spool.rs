//! Unnamed files for messages that are too large for memory. They are gone as soon as they are closed, whatever
//! happens to us, and nobody else can open them. How much they may take is counted, in all and for each client, and they
//! leave room on the disk for what must be held.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use rustix::fs::sendfile;
use rustix::io::Errno;
use thiserror::Error;
use tokio::sync::Mutex;

use crate::blocking::blocking;
use crate::disk::room;
use crate::smtp::admission::counted_as;
use crate::smtp::limits::Limits;

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

/// Why a message cannot go to a file, or not all of it.
#[derive(Debug, Error)]
pub(super) enum SpoolError {
    /// The file cannot be made or written.
    #[error("cannot write a large message to a file in the state folder")]
    Io(#[from] io::Error),
    /// All messages in files have their limit.
    #[error("messages in files take all they may (limits.spool)")]
    Full,
    /// So have those of one client.
    #[error("the client's messages in files take all they may (limits.spool_per_client)")]
    FullForClient,
    /// What is left of the disk is for what must be held.
    #[error("the disk has no more to spare (limits.spool_reserve)")]
    Reserve,
}

/// Where such files are made, and the one place in memory where they are examined.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    /// One message at a time is looked at as a whole: two large messages never take twice of it. The memory is used
    /// again, for fresh memory costs more than what is done there, until there is no spooled message left.
    workspace: Arc<Mutex<Vec<u8>>>,
    taken: std::sync::Mutex<Taken>,
}

/// What files take.
#[derive(Debug, Default)]
struct Taken {
    files: usize,
    octets: u64,
    per_client: HashMap<IpAddr, u64>,
}

/// One spooled message.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: Arc<File>,
    size: u64,
    client: IpAddr,
    spool: Arc<Spool>,
}

impl Spool {
    /// Files are made in this folder's file system.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, workspace: Arc::default(), taken: std::sync::Mutex::default() }
    }

    /// How many messages are in files now.
    pub(super) fn files(&self) -> usize {
        self.taken().files
    }

    /// Octets of messages that are in files now.
    pub(super) fn octets(&self) -> u64 {
        self.taken().octets
    }

    /// Makes an empty file, for a message from this client.
    pub(super) async fn create(self: &Arc<Self>, client: IpAddr) -> io::Result<SpoolFile> {
        let folder = self.folder.clone();
        let file = blocking(move || tempfile::tempfile_in(folder)).await?;
        self.taken().files += 1;
        Ok(SpoolFile { file: Arc::new(file), size: 0, client: counted_as(client), spool: Arc::clone(self) })
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn take(&mut self, client: IpAddr, octets: u64, limits: &Limits) -> Result<(), SpoolError> {
        let of_client = self.per_client.get(&client).copied().unwrap_or(0) + octets;
        if of_client > limits.spool_per_client {
            return Err(SpoolError::FullForClient);
        }
        if self.octets + octets > limits.spool {
            return Err(SpoolError::Full);
        }
        self.octets += octets;
        self.per_client.insert(client, of_client);
        Ok(())
    }

    fn give_back(&mut self, client: IpAddr, octets: u64) {
        self.files -= 1;
        self.octets -= octets;
        if let Some(of_client) = self.per_client.get_mut(&client) {
            *of_client -= octets;
            if *of_client == 0 {
                self.per_client.remove(&client);
            }
        }
    }
}

impl SpoolFile {
    /// Octets written so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Writes `octets` at the end and gives the buffer back, empty.
    pub(super) async fn append(&mut self, octets: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, SpoolError> {
        let (file, at, more) = (Arc::clone(&self.file), self.size, octets.len() as u64);
        self.spool.taken().take(self.client, more, limits)?;
        self.size += more;
        let (spool, reserve) = (Arc::clone(&self.spool), limits.spool_reserve);
        blocking(move || {
            let mut octets = octets;
            if reserve > 0 && room(&spool.folder)?.free < reserve.saturating_add(more) {
                return Err(SpoolError::Reserve);
            }
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
        let mut taken = self.spool.taken();
        taken.give_back(self.client, self.size);
        if taken.files == 0
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

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[tokio::test]
    async fn counts_in_all_and_for_each_client() {
        let spool = Arc::new(Spool::new(std::env::temp_dir()));
        let limits = Limits { spool: 250, spool_per_client: 100, spool_reserve: 0, ..Limits::default() };
        let other = |last| IpAddr::from([192, 0, 2, last]);
        let mut first = spool.create(CLIENT).await.unwrap();
        first.append(vec![0; 60], &limits).await.unwrap();
        let mut second = spool.create(CLIENT).await.unwrap();
        let too_much = second.append(vec![0; 60], &limits).await;
        assert!(matches!(too_much, Err(SpoolError::FullForClient)), "{too_much:?}");
        let (mut third, mut fourth) =
            (spool.create(other(2)).await.unwrap(), spool.create(other(3)).await.unwrap());
        third.append(vec![0; 100], &limits).await.unwrap();
        let too_much = fourth.append(vec![0; 100], &limits).await;
        assert!(matches!(too_much, Err(SpoolError::Full)), "{too_much:?}");
        drop(first);
        second.append(vec![0; 60], &limits).await.unwrap();
        assert_eq!((spool.files(), spool.octets()), (3, 160));
        drop((second, third, fourth));
        let taken = spool.taken();
        assert!(taken.files == 0 && taken.octets == 0 && taken.per_client.is_empty());
    }

    #[tokio::test]
    async fn leaves_room_on_the_disk() {
        let spool = Arc::new(Spool::new(std::env::temp_dir()));
        let limits = Limits { spool_reserve: u64::MAX / 2, ..Limits::default() };
        let mut file = spool.create(CLIENT).await.unwrap();
        let too_much = file.append(vec![0; 1], &limits).await;
        assert!(matches!(too_much, Err(SpoolError::Reserve)), "{too_much:?}");
    }

    #[tokio::test]
    async fn gives_back_what_was_written() {
        let spool = Arc::new(Spool::new(std::env::temp_dir()));
        let limits = Limits { spool_reserve: 0, ..Limits::default() };
        let mut file = spool.create(CLIENT).await.unwrap();
        let message: Vec<u8> = (0..3 * BLOCK + 7).map(|n| (n % 251) as u8).collect();
        for piece in message.chunks(100_000) {
            assert!(file.append(piece.to_vec(), &limits).await.unwrap().is_empty());
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
