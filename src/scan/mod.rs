//! Mail stores, read for an investigation: which files are mail, how a message is taken out of them, what it says of
//! itself, and the report. Judging is the caller's.
//!
//! Two things hold throughout. Nothing is passed over in silence: what cannot be read is an [`Unread`] with a place. And
//! nothing in a store can take more memory than a few of the largest messages.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attachment_seal::verdict::{Verdict, Verification};
use bytesize::ByteSize;
use thiserror::Error;

pub mod compression;
pub mod crew;
pub mod csv;
pub mod dbox;
pub mod files;
pub mod html;
pub mod inspect;
pub mod letter;
pub mod mbox;
pub mod source;
pub mod tally;
pub mod wanted;

use self::compression::Compression;
use self::letter::Letter;

/// Where a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<PathBuf>,
    /// The message's number in a file of several, from 1, and the offset of its first octet there. In a compressed mbox
    /// file, the offset in what it unpacks to.
    pub part: Option<(u64, u64)>,
}

impl Place {
    /// A file.
    pub fn file(path: &Path) -> Self {
        Self { file: Arc::new(path.to_owned()), part: None }
    }

    /// The offset in a file of several messages.
    pub fn offset(&self) -> Option<u64> {
        self.part.map(|(_, offset)| offset)
    }
}

/// `file`, or `file#3` for the third message of a file.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.part {
            Some((number, _)) => write!(f, "#{number}"),
            None => Ok(()),
        }
    }
}

/// One message of a file that may hold several.
#[derive(Debug)]
pub struct Part {
    /// Where it begins in the file, with the line or record that separates it from the one before.
    pub offset: u64,
    /// What it takes of the file, in octets.
    pub size: u64,
    /// Its octets as stored, if they can be read.
    pub message: Result<Vec<u8>, Unread>,
}

/// Why something of a mail store was not read.
#[derive(Debug, Error)]
pub enum Unread {
    /// The system could not read it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A FIFO, a device or a socket: reading one may never end.
    #[error("neither a file nor a folder")]
    NoFile,
    /// It has no header section as a message has.
    #[error("this is no mail")]
    NoMail,
    /// It has no octets at all.
    #[error("empty, so this is no mail")]
    Empty,
    /// A folder, or a file for several messages, that holds none.
    #[error("no mail in it")]
    NoneInside,
    /// It takes more memory than a message may.
    #[error("a message of more than {}, the most that is read (message_size in [limits])", ByteSize(*max).display().iec())]
    TooLarge {
        /// The most octets that are read of one message.
        max: u64,
    },
    /// It unpacks to so much more than its own size that no mail does.
    #[error("unpacks to more than {ratio} times its size, as no mail does; the rest was not read")]
    Bomb {
        /// The most times.
        ratio: u64,
    },
    /// Compressed, and damaged or cut off.
    #[error("cannot be unpacked ({compression}): {reason}")]
    Packed {
        /// How.
        compression: Compression,
        /// What its reader says.
        reason: io::Error,
    },
    /// A dbox file that is damaged or cut off; what follows in the file is not read either.
    #[error("the dbox file is damaged at offset {offset}: {reason}; the rest of it was not read")]
    Dbox {
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Dovecot keeps the attachments of this message in files of their own.
    #[error("its attachments are stored apart from it (mail_attachment_dir), which is not supported")]
    AttachmentsApart,
    /// Encrypted by Dovecot.
    #[error("encrypted by Dovecot (mail_crypt); export it with doveadm first")]
    Encrypted,
    /// What a verdict needs could not be had.
    #[error("cannot be judged: {0}")]
    NotJudged(String),
    /// A fault of this program.
    #[error("this program failed on it, which is a fault in waxseal; please report it")]
    Fault,
}

/// A message that somebody should look at.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'a> {
    /// Where it is.
    pub place: &'a Place,
    /// What it says of itself.
    pub letter: &'a Letter,
    /// What became of it.
    pub verification: &'a Verification,
}

/// Whether a message with this verdict was altered, or may have been. Stored mail is old, so `expired` is no finding.
pub fn is_alteration(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Fail(_) | Verdict::Ambiguous | Verdict::Missing | Verdict::KeyChanged => true,
        Verdict::Pass
        | Verdict::None
        | Verdict::Unaligned
        | Verdict::Expired
        | Verdict::UnknownKey
        | Verdict::Temperror => false,
    }
}
