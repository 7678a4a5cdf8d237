//! One buffered stream of octets, with a time-out on every read and write and a limit on every line.
//! Between commands it holds no memory of its own: octets are read into a buffer on the stack.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use memchr::{memchr, memchr2};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use crate::smtp::spool::{Blocks, SendError};
use crate::smtp::stream::{Socket, Stream};

/// Most octets of a command line, CR LF included. RFC 5321 §4.5.3.1.4 wants 512; extensions need more.
pub const MAX_COMMAND_LINE: usize = 2048;
/// Most octets of a line in an AUTH exchange, CR LF included (RFC 4954 §4).
pub const MAX_AUTH_LINE: usize = 12288;
/// Most octets taken at once of a message.
pub const DATA_CHUNK: usize = 64 << 10;

/// Most octets taken at once of commands or replies.
const LINE_CHUNK: usize = 4 << 10;
/// Octets that may wait to be written while more commands are at hand.
const MAX_QUEUED: usize = 8 << 10;
/// Buffers larger than this are given back when they are empty.
const IDLE_CAPACITY: usize = 1 << 10;
/// Most slices handed to the kernel at once.
const MAX_SLICES: usize = 64;
/// How long a peer may take to hang up after our last words.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a connection is of no use any more.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The peer hung up.
    #[error("connection closed")]
    Closed,
    /// The peer was silent, or did not take what we wrote, for too long.
    #[error("timed out")]
    Timeout,
    /// The connection broke.
    #[error("connection broken")]
    Io(#[source] io::Error),
}

/// Why a file was not sent.
#[derive(Debug, Error)]
pub(super) enum SendFileError {
    /// The connection is of no use any more.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The file cannot be read.
    #[error("cannot read the file")]
    File(#[source] io::Error),
}

impl From<SendError> for SendFileError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::File(error) => Self::File(error),
            SendError::Socket(error) => ConnectionError::Io(error).into(),
        }
    }
}

/// A line that is not taken as a command, but whose end was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadLine {
    /// It holds a NUL, or a CR or LF that is not part of CR LF. Taking that for a line end would make two
    /// commands of one (RFC 5321 §2.3.8).
    #[error("bare CR, bare LF or NUL")]
    ControlCharacter,
    /// It is longer than allowed.
    #[error("line too long")]
    TooLong,
}

/// A stream with what was read ahead and what is still to be written.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    input: Vec<u8>,
    /// Octets of `input` that were taken already.
    taken: usize,
    output: Vec<u8>,
    /// The line being read is too long: what comes is thrown away up to its end.
    discards_line: bool,
    /// The line before ended in a bare LF: what stands behind that is no command of its own.
    after_bare_lf: bool,
    /// A bare LF ends a line as CR LF does.
    takes_bare_lf: bool,
    write_timeout: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes a stream; no write may take longer than `write_timeout`.
    pub fn new(stream: S, write_timeout: Duration) -> Self {
        let (input, taken, output) = (Vec::new(), 0, Vec::new());
        let (discards_line, after_bare_lf, takes_bare_lf) = (false, false, false);
        Self { stream, input, taken, output, discards_line, after_bare_lf, takes_bare_lf, write_timeout }
    }

    /// From here on a bare LF ends a line, too.
    pub fn take_bare_lf(&mut self) {
        self.takes_bare_lf = true;
    }

    /// What the octets travel through.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// What was read and not taken yet.
    pub fn buffered(&self) -> &[u8] {
        &self.input[self.taken..]
    }

    /// Takes octets off the front of what was read.
    pub fn take(&mut self, octets: usize) {
        self.taken += octets;
        debug_assert!(self.taken <= self.input.len());
        if self.taken == self.input.len() {
            self.taken = 0;
            empty(&mut self.input);
        }
    }

    /// Whether a whole line is there already.
    pub fn has_line(&self) -> bool {
        memchr(b'\n', self.buffered()).is_some()
    }

    /// Reads a line, CR LF taken off. The deadline is for the whole of it: one octet at a time gains no time.
    /// Nothing is lost if the future is dropped.
    pub async fn read_line(
        &mut self,
        max: usize,
        deadline: Instant,
    ) -> Result<Result<Vec<u8>, BadLine>, ConnectionError> {
        loop {
            if let Some(lf) = memchr(b'\n', self.buffered()) {
                let line = self.buffered()[..lf].to_vec();
                self.take(lf + 1);
                return Ok(self.check_line(line, max));
            }
            if self.buffered().len() >= max {
                self.discards_line = true;
                let cr = usize::from(self.buffered().ends_with(b"\r"));
                self.take(self.buffered().len() - cr);
            }
            timeout_at(deadline, self.fill()).await.map_err(|_| ConnectionError::Timeout)??;
        }
    }

    /// Takes a line without its LF. One that ends in a bare LF is answered, or an old client would wait for ever; but
    /// neither it nor what follows up to the next CR LF is a command, or one line would make two (RFC 5321 §2.3.8); unless
    /// it is this client's way to end lines.
    fn check_line(&mut self, mut line: Vec<u8>, max: usize) -> Result<Vec<u8>, BadLine> {
        let too_long = std::mem::take(&mut self.discards_line) || line.len() + 1 > max;
        let ends_in_crlf = line.pop_if(|octet| *octet == b'\r').is_some() || self.takes_bare_lf;
        let follows_bare_lf = std::mem::replace(&mut self.after_bare_lf, !ends_in_crlf);
        if too_long {
            Err(BadLine::TooLong)
        } else if !ends_in_crlf || follows_bare_lf || memchr2(b'\r', 0, &line).is_some() {
            Err(BadLine::ControlCharacter)
        } else {
            Ok(line)
        }
    }

    /// Waits for at least one octet more. Nothing is lost if the future is dropped.
    pub async fn fill(&mut self) -> Result<(), ConnectionError> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Waits for exactly one octet more, where what comes behind it may be another's to read.
    pub async fn fill_one(&mut self) -> Result<(), ConnectionError> {
        let Self { stream, input, .. } = self;
        poll_fn(|cx| poll_read::<_, 1, _>(stream, cx, 1, |octets| input.extend_from_slice(octets))).await
    }

    /// Whether there is anything to take, without waiting for it.
    pub async fn has_input(&mut self) -> Result<bool, ConnectionError> {
        if !self.buffered().is_empty() {
            return Ok(true);
        }
        poll_fn(|cx| match self.poll_fill(cx) {
            Poll::Ready(filled) => Poll::Ready(filled.map(|()| true)),
            Poll::Pending => Poll::Ready(Ok(false)),
        })
        .await
    }

    /// Hands octets of a message to `push`, what was read ahead first, else at most so many, and says whether they
    /// complete it. What `push` leaves stays to be read.
    pub async fn receive(
        &mut self,
        most: usize,
        push: impl FnOnce(&mut &[u8]) -> bool,
        deadline: Instant,
    ) -> Result<bool, ConnectionError> {
        if !self.buffered().is_empty() {
            let mut rest = self.buffered();
            let complete = push(&mut rest);
            let taken = self.buffered().len() - rest.len();
            self.take(taken);
            return Ok(complete);
        }
        let Self { stream, input, .. } = self;
        let mut push = Some(push);
        let read = poll_fn(|cx| {
            poll_read::<_, DATA_CHUNK, _>(stream, cx, most, |mut octets| {
                let complete = push.take().is_some_and(|push| push(&mut octets));
                input.extend_from_slice(octets);
                complete
            })
        });
        timeout_at(deadline, read).await.map_err(|_| ConnectionError::Timeout)?
    }

    /// Adds octets to what goes out with the next flush.
    pub fn queue(&mut self, octets: &[u8]) {
        self.output.extend_from_slice(octets);
    }

    /// Whether something waits for a flush.
    pub fn has_queued(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether so much waits for a flush that nothing should be added.
    pub fn is_queue_full(&self) -> bool {
        self.output.len() >= MAX_QUEUED
    }

    /// Writes what is queued.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        if self.output.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&self.output).await?;
            // TLS keeps octets back that did not go out at once.
            self.stream.flush().await
        };
        let written = timeout(self.write_timeout, write).await;
        empty(&mut self.output);
        written.map_err(|_| ConnectionError::Timeout)?.map_err(ConnectionError::Io)
    }

    /// Writes slices as they are, without copying them, many at once.
    pub async fn write_slices<'a>(
        &mut self,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), ConnectionError> {
        self.flush().await?;
        let mut batch = Vec::with_capacity(MAX_SLICES);
        for slice in slices.filter(|slice| !slice.is_empty()) {
            if batch.len() == MAX_SLICES {
                self.write_batch(&mut batch).await?;
                batch.clear();
            }
            batch.push(IoSlice::new(slice));
        }
        self.write_batch(&mut batch).await?;
        let flushed = timeout(self.write_timeout, self.stream.flush()).await;
        flushed.map_err(|_| ConnectionError::Timeout)?.map_err(ConnectionError::Io)
    }

    async fn write_batch(&mut self, mut batch: &mut [IoSlice<'_>]) -> Result<(), ConnectionError> {
        while !batch.is_empty() {
            let write = poll_fn(|cx| Pin::new(&mut self.stream).poll_write_vectored(cx, batch));
            let written = timeout(self.write_timeout, write).await.map_err(|_| ConnectionError::Timeout)?;
            match written.map_err(ConnectionError::Io)? {
                0 => return Err(ConnectionError::Closed),
                octets => IoSlice::advance_slices(&mut batch, octets),
            }
        }
        Ok(())
    }

    /// Hangs up at once; nothing more can be written.
    pub async fn hang_up(&mut self) {
        // One that is gone already need not be told.
        let _ = timeout(CLOSE_TIMEOUT, self.stream.shutdown()).await;
    }

    /// Writes what is queued and hangs up. The peer gets a moment to do so as well: closing with octets of it
    /// unread would reset the connection, and our last reply might never be seen.
    pub async fn close(mut self) {
        if self.flush().await.is_err() {
            return;
        }
        let hang_up = async {
            self.stream.shutdown().await.map_err(ConnectionError::Io)?;
            loop {
                self.fill().await?;
                self.take(self.buffered().len());
            }
        };
        let _: Result<Result<(), ConnectionError>, _> = timeout(CLOSE_TIMEOUT, hang_up).await;
    }

    /// Lets go of what was taken. Else a peer whose octets always end within a line would have us keep all that it sends.
    fn compact(&mut self) {
        if self.taken > 0 {
            self.input.drain(..self.taken);
            self.taken = 0;
            self.input.shrink_to(self.input.len().max(LINE_CHUNK));
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.compact();
        let Self { stream, input, .. } = self;
        poll_read::<_, LINE_CHUNK, _>(stream, cx, LINE_CHUNK, |octets| input.extend_from_slice(octets))
    }
}

impl Connection<Stream> {
    /// Has the kernel send what is in a file, octet for octet, which saves two copies. Not under TLS: then nothing is sent.
    pub(super) async fn send_file(&mut self, rest: &mut Blocks) -> Result<(), SendFileError> {
        let Some(socket) = self.stream.clear() else { return Ok(()) };
        // The thread that sends must be able to outlive us.
        let sink = Arc::new(socket.as_fd().try_clone_to_owned().map_err(ConnectionError::Io)?);
        while !rest.is_empty() {
            let room = timeout(self.write_timeout, socket.wait_for_room()).await;
            room.map_err(|_| ConnectionError::Timeout)?.map_err(ConnectionError::Io)?;
            rest.send(&sink).await?;
        }
        Ok(())
    }

    /// Puts the socket through a TLS handshake. If that fails the connection is at its end. Whatever was read before
    /// it counts no more; whoever calls this has made sure that there is nothing.
    pub(super) async fn secure<E>(
        &mut self,
        handshake: impl AsyncFnOnce(Socket) -> Result<Stream, E>,
    ) -> Result<(), E> {
        self.take(self.buffered().len());
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Clear(socket) => self.stream = handshake(socket).await?,
            other => self.stream = other,
        }
        Ok(())
    }
}

/// Reads once, at most so many octets, into the stack. What `take` makes of them is the result.
fn poll_read<S: AsyncRead + Unpin, const CHUNK: usize, T>(
    stream: &mut S,
    cx: &mut Context<'_>,
    most: usize,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<Result<T, ConnectionError>> {
    let mut chunk = [const { MaybeUninit::uninit() }; CHUNK];
    let mut chunk = ReadBuf::uninit(&mut chunk[..most.min(CHUNK)]);
    match ready!(Pin::new(stream).poll_read(cx, &mut chunk)) {
        // Many hang up without TLS's own farewell. Nothing is lost by that: mail has an end of its own.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Poll::Ready(Err(ConnectionError::Closed)),
        Err(error) => Poll::Ready(Err(ConnectionError::Io(error))),
        Ok(()) if chunk.filled().is_empty() => Poll::Ready(Err(ConnectionError::Closed)),
        Ok(()) => Poll::Ready(Ok(take(chunk.filled()))),
    }
}

fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(IDLE_CAPACITY);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::limits::Limits;
    use crate::smtp::spool::{Spool, SpoolFile};

    async fn file_of(octets: Vec<u8>) -> SpoolFile {
        let spool = Arc::new(Spool::new(std::env::temp_dir()));
        let mut file = spool.create(std::net::Ipv4Addr::LOCALHOST.into()).await.unwrap();
        file.append(octets, &Limits { spool_reserve: 0, ..Limits::default() }).await.unwrap();
        file
    }

    async fn read_lines(input: &[u8], max: usize) -> Vec<Result<String, BadLine>> {
        let (mut peer, ours) = tokio::io::duplex(16);
        let input = input.to_vec();
        tokio::spawn(async move { peer.write_all(&input).await });
        let mut connection = Connection::new(ours, Duration::from_secs(5));
        let mut lines = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Ok(line) = connection.read_line(max, deadline).await {
            lines.push(line.map(|octets| String::from_utf8(octets).unwrap()));
        }
        lines
    }

    #[tokio::test]
    async fn only_cr_lf_ends_a_line() {
        let lines = read_lines(b"NOOP\nQUIT\r\nNOOP\rQUIT\r\nNO\0OP\r\nRSET\r\r\n\r\nQUIT\r\n", 100).await;
        let bad = || Err(BadLine::ControlCharacter);
        assert_eq!(lines, [bad(), bad(), bad(), bad(), bad(), Ok(String::new()), Ok("QUIT".into())]);
    }

    /// Whose octets always end within a line.
    #[tokio::test]
    async fn keeps_nothing_that_was_taken() {
        let (mut peer, ours) = tokio::io::duplex(16 << 10);
        let lines = 10_000;
        tokio::spawn(async move {
            let line = format!("NOOP {}\r\n", "x".repeat(1_000));
            peer.write_all(b"NO").await.unwrap();
            for _ in 0..lines {
                peer.write_all(&[&line.as_bytes()[2..], b"NO"].concat()).await.unwrap();
            }
        });
        let mut connection = Connection::new(ours, Duration::from_secs(5));
        let deadline = Instant::now() + Duration::from_secs(60);
        for _ in 0..lines {
            connection.read_line(MAX_COMMAND_LINE, deadline).await.unwrap().unwrap();
            let kept = connection.input.capacity();
            assert!(kept <= 4 * LINE_CHUNK, "{kept} octets");
        }
    }

    #[tokio::test]
    async fn throws_a_line_away_that_is_too_long() {
        let input = format!("{}\r\nNOOP\r\n{}\r\n{}\r\n", "x".repeat(100), "y".repeat(8), "z".repeat(9));
        let lines = read_lines(input.as_bytes(), 10).await;
        let long = || Err(BadLine::TooLong);
        assert_eq!(lines, [long(), Ok("NOOP".into()), Ok("yyyyyyyy".into()), long()]);
    }

    #[tokio::test]
    async fn the_deadline_is_for_the_whole_line() {
        let (mut peer, ours) = tokio::io::duplex(16);
        tokio::spawn(async move {
            while peer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let mut connection = Connection::new(ours, Duration::from_secs(5));
        let deadline = Instant::now() + Duration::from_millis(100);
        let line = connection.read_line(1000, deadline).await;
        assert!(matches!(line, Err(ConnectionError::Timeout)));
    }

    #[tokio::test]
    async fn writes_all_slices() {
        let (mut peer, ours) = tokio::io::duplex(50);
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut all).await.map(|_| all)
        });
        let mut connection = Connection::new(ours, Duration::from_secs(5));
        let slices: Vec<Vec<u8>> = (0..200u8).map(|n| vec![n; usize::from(n) % 7]).collect();
        connection.queue(b"first");
        connection.write_slices(slices.iter().map(Vec::as_slice)).await.unwrap();
        drop(connection);
        assert_eq!(reader.await.unwrap().unwrap(), [b"first".to_vec(), slices.concat()].concat());
    }

    #[tokio::test]
    async fn sends_a_file_however_slowly_it_is_taken() {
        let (mut peer, ours) = tokio::net::UnixStream::pair().unwrap();
        let message: Vec<u8> = (0..5 << 20).map(|n: u32| (n % 251) as u8).collect();
        let file = file_of(message.clone()).await;
        let mut rest = file.blocks(7);
        let mut connection = Connection::new(Stream::from(Socket::Unix(ours)), Duration::from_secs(5));
        let reader = tokio::spawn(async move {
            let (mut all, mut some) = (Vec::new(), vec![0; 100_000]);
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                match tokio::io::AsyncReadExt::read(&mut peer, &mut some).await.unwrap() {
                    0 => return all,
                    read => all.extend_from_slice(&some[..read]),
                }
            }
        });
        connection.send_file(&mut rest).await.unwrap();
        assert!(rest.is_empty());
        drop(connection);
        assert!(reader.await.unwrap() == message[7..]);
    }

    #[tokio::test]
    async fn sends_a_file_to_nobody_who_is_gone() {
        let (peer, ours) = tokio::net::UnixStream::pair().unwrap();
        let file = file_of(vec![0; 5 << 20]).await;
        let mut connection = Connection::new(Stream::from(Socket::Unix(ours)), Duration::from_secs(5));
        drop(peer);
        let sent = connection.send_file(&mut file.blocks(0)).await;
        assert!(matches!(sent, Err(SendFileError::Connection(ConnectionError::Io(_)))), "{sent:?}");
    }

    #[tokio::test]
    async fn waits_for_room_no_longer_than_for_any_write() {
        let (_peer, ours) = tokio::net::UnixStream::pair().unwrap();
        let file = file_of(vec![0; 5 << 20]).await;
        let mut connection = Connection::new(Stream::from(Socket::Unix(ours)), Duration::from_millis(50));
        let sent = connection.send_file(&mut file.blocks(0)).await;
        assert!(matches!(sent, Err(SendFileError::Connection(ConnectionError::Timeout))), "{sent:?}");
    }
}
