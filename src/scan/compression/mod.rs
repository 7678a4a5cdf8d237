//! How Dovecot compresses mail: as whole files in a Maildir, message by message in dbox. Told by the first octets, as
//! Dovecot does it. The only folder that names the decompressors.

use std::fmt;
use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use self::lz4::Lz4;
use self::zstd::Zstd;
use super::Unread;

mod lz4;
mod zstd;

/// Memory that one xz file may ask for, in KiB; `xz -9` asks for 65 MiB.
const XZ_MEMORY: u32 = 96 << 10;

/// A compressed file of several messages unpacks to at most so many times its size: mail shrinks to a twentieth at best.
pub const MAX_RATIO: u64 = 1_000;

/// A compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// bzip2.
    Bzip2,
    /// LZ4 in Dovecot's own frame.
    Lz4,
    /// xz, which Dovecot wrote before 2.4.
    Xz,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
        })
    }
}

impl Compression {
    /// How a file that begins like this is compressed.
    pub fn of(start: &[u8]) -> Option<Self> {
        if start.starts_with(b"\x1f\x8b") {
            Some(Self::Gzip)
        } else if start.starts_with(b"\x28\xb5\x2f\xfd") {
            Some(Self::Zstd)
        } else if is_bzip2(start) {
            Some(Self::Bzip2)
        } else if start.starts_with(lz4::MAGIC) {
            Some(Self::Lz4)
        } else if start.starts_with(b"\xfd7zXZ\0") {
            Some(Self::Xz)
        } else {
            None
        }
    }

    /// What `packed` unpacks to, piece by piece.
    pub fn reader<'a>(self, packed: impl BufRead + 'a) -> Box<dyn Read + 'a> {
        match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Zstd => Box::new(Zstd::new(packed)),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(packed)),
            Self::Lz4 => Box::new(Lz4::new(packed)),
            Self::Xz => Box::new(XzReader::new_mem_limit(packed, true, XZ_MEMORY)),
        }
    }

    /// What `packed` unpacks to, at most `max` octets.
    pub fn unpack(self, packed: &[u8], max: u64) -> Result<Vec<u8>, Unread> {
        let mut octets = Vec::new();
        let mut reader = self.reader(packed).take(max.saturating_add(1));
        reader.read_to_end(&mut octets).map_err(|reason| Unread::Packed { compression: self, reason })?;
        if octets.len() as u64 > max { Err(Unread::TooLarge { max }) } else { Ok(octets) }
    }
}

/// `BZh`, a level, and the mark of a block or, in an empty file, of the end: more than any mail begins with.
fn is_bzip2(start: &[u8]) -> bool {
    match start {
        [b'B', b'Z', b'h', b'1'..=b'9', mark @ ..] => {
            mark.starts_with(b"\x31\x41\x59\x26\x53\x59") || mark.starts_with(b"\x17\x72\x45\x38\x50\x90")
        }
        _ => false,
    }
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Reads on until there is more than so many octets, which is then an error. Tells a bomb from a large file.
pub(super) struct AtMost<R> {
    reader: R,
    left: u64,
}

impl<R> AtMost<R> {
    pub(super) fn new(reader: R, most: u64) -> Self {
        Self { reader, left: most }
    }
}

impl<R: Read> Read for AtMost<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(Unread::Bomb { ratio: MAX_RATIO }))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = b"From: a@example.org\nSubject: packed\n\nbody body body body body body body body\n";

    fn gzip(octets: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(octets).unwrap();
        writer.finish().unwrap()
    }

    fn bzip2(octets: &[u8]) -> Vec<u8> {
        let mut writer = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::default());
        writer.write_all(octets).unwrap();
        writer.finish().unwrap()
    }

    /// As the programs gzip, zstd, bzip2 and xz of Debian 12 write [`TEXT`], and Dovecot 2.3 with lz4.
    const SAMPLES: [(Compression, &[u8]); 5] = [
        (Compression::Gzip, include_bytes!("samples/text.gz")),
        (Compression::Zstd, include_bytes!("samples/text.zst")),
        (Compression::Bzip2, include_bytes!("samples/text.bz2")),
        (Compression::Lz4, include_bytes!("samples/text.lz4")),
        (Compression::Xz, include_bytes!("samples/text.xz")),
    ];

    #[test]
    fn reads_what_other_programs_write() {
        for (compression, packed) in SAMPLES {
            assert_eq!(Compression::of(packed), Some(compression));
            assert_eq!(compression.unpack(packed, 1000).unwrap(), TEXT, "{compression}");
            let twice = [packed, packed].concat();
            if compression != Compression::Lz4 {
                assert_eq!(compression.unpack(&twice, 1000).unwrap(), [TEXT, TEXT].concat(), "{compression}");
            }
        }
        assert_eq!(Compression::of(TEXT), None);
        assert_eq!(Compression::of(b"BZh9: is a field\n"), None);
    }

    /// A message that is cut off must not pass for a shorter one, nor a damaged one for another.
    #[test]
    fn refuses_what_is_cut_off_or_damaged() {
        for (compression, packed) in SAMPLES {
            for end in compression.magic_size()..packed.len() {
                let unpacked = compression.unpack(&packed[..end], 1000);
                // LZ4 in Dovecot's frame has no end mark: only a cut between two chunks goes unseen.
                let is_whole = compression == Compression::Lz4 && end == 19;
                assert_eq!(unpacked.is_ok(), is_whole, "{compression} cut at {end}: {unpacked:?}");
            }
            for at in compression.magic_size()..packed.len() {
                let mut damaged = packed.to_vec();
                damaged[at] ^= 0x55;
                if let Ok(unpacked) = compression.unpack(&damaged, 1000)
                    && !matches!(compression, Compression::Lz4)
                {
                    assert_eq!(unpacked, TEXT, "{compression} damaged at {at}");
                }
            }
        }
    }

    #[test]
    fn a_bomb_takes_no_more_than_a_message() {
        let zeros = vec![0; 8 << 20];
        for (compression, packed) in [(Compression::Gzip, gzip(&zeros)), (Compression::Bzip2, bzip2(&zeros))]
        {
            assert!(packed.len() < 20_000);
            assert!(matches!(compression.unpack(&packed, 1000), Err(Unread::TooLarge { max: 1000 })));
            assert_eq!(compression.unpack(&packed, 8 << 20).unwrap().len(), 8 << 20);
            let mut reader = AtMost::new(compression.reader(&packed[..]), 1 << 20);
            let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
            assert!(error.to_string().contains("1000 times"), "{error}");
        }
    }

    impl Compression {
        fn magic_size(self) -> usize {
            match self {
                Self::Gzip => 2,
                Self::Zstd | Self::Bzip2 => 4,
                Self::Lz4 => lz4::MAGIC.len(),
                Self::Xz => 6,
            }
        }
    }
}
