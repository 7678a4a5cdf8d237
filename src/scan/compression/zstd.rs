//! zstd (RFC 8878): frame after frame, each held to the size and the checksum that it claims, which the decoder leaves to
//! its caller.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::invalid;

/// Largest window, in octets: what a frame may refer back to, and so what must be kept in memory. `zstd -19` takes 8 MiB.
const MAX_WINDOW: u64 = 64 << 20;

/// Unpacks.
pub(super) struct Zstd<R> {
    packed: R,
    decoder: FrameDecoder,
    /// Octets of the current frame that were handed out; `None` between two frames.
    given: Option<u64>,
}

impl<R: BufRead> Zstd<R> {
    pub(super) fn new(packed: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { packed, decoder, given: None }
    }

    /// Begins the next frame. Says whether there is one.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.packed.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.packed) {
                Ok(()) => {
                    self.given = Some(0);
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = io::copy(&mut self.packed.by_ref().take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error)),
            }
        }
    }

    /// Whether the frame that has ended is as large as it claims, and has the checksum that it claims.
    fn is_as_claimed(&self, given: u64) -> bool {
        let (size, checksum) = (self.decoder.content_size(), self.decoder.get_checksum_from_data());
        // A frame that does not tell its size seems to be of none.
        (size == 0 || size == given)
            && (checksum.is_none() || checksum == self.decoder.get_calculated_checksum())
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.given.is_none() && !self.next_frame()? {
                return Ok(0);
            }
            let given = self.given.unwrap_or_default();
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.packed, one).map_err(invalid)?;
            }
            let size = self.decoder.read(buffer)?;
            if size > 0 {
                self.given = Some(given + size as u64);
                return Ok(size);
            }
            if !self.is_as_claimed(given) {
                return Err(invalid("size or checksum is wrong"));
            }
            self.given = None;
        }
    }
}
