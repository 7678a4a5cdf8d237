//! LZ4 blocks in Dovecot's own frame: a mark, the largest size of a block unpacked, then each block after its size; both
//! sizes are of 4 octets, big-endian. No checksum, and no mark at the end.

use std::io::{self, BufRead, Read};

use super::invalid;

/// What such a file begins with.
pub(super) const MAGIC: &[u8] = b"Dovecot-LZ4\x0d\x2a\x9b\xc5";

/// Largest block, packed or unpacked, in octets. Dovecot reads no larger one, and writes them of 64 KiB.
const MAX_BLOCK: usize = 1 << 20;

/// Unpacks.
pub(super) struct Lz4<R> {
    packed: R,
    /// Largest size of a block unpacked; known once the start was read.
    max_block: Option<usize>,
    block: Vec<u8>,
    /// What of the block was handed out.
    given: usize,
}

impl<R: BufRead> Lz4<R> {
    pub(super) fn new(packed: R) -> Self {
        Self { packed, max_block: None, block: Vec::new(), given: 0 }
    }

    fn read_start(&mut self) -> io::Result<usize> {
        let mut magic = [0; MAGIC.len()];
        self.packed.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(invalid("does not begin as Dovecot's lz4 files do"));
        }
        self.read_size()
    }

    fn read_size(&mut self) -> io::Result<usize> {
        let mut size = [0; 4];
        self.packed.read_exact(&mut size)?;
        match usize::try_from(u32::from_be_bytes(size)) {
            Ok(size @ 1..=MAX_BLOCK) => Ok(size),
            _ => Err(invalid("a block has a size that none can have")),
        }
    }

    /// Unpacks the next block. Says whether there is one.
    fn next_block(&mut self) -> io::Result<bool> {
        let max_block = match self.max_block {
            Some(max_block) => max_block,
            None => {
                let max_block = self.read_start()?;
                *self.max_block.insert(max_block)
            }
        };
        if self.packed.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut packed = vec![0; self.read_size()?];
        self.packed.read_exact(&mut packed)?;
        self.block.resize(max_block, 0);
        let size = lz4_flex::block::decompress_into(&packed, &mut self.block).map_err(invalid)?;
        self.block.truncate(size);
        self.given = 0;
        Ok(true)
    }
}

impl<R: BufRead> Read for Lz4<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let size = buffer.len().min(self.block.len() - self.given);
        buffer[..size].copy_from_slice(&self.block[self.given..self.given + size]);
        self.given += size;
        Ok(size)
    }
}
