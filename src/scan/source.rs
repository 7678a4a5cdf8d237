//! One file of a mail store, read message by message.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::compression::{AtMost, Compression, MAX_RATIO};
use super::dbox::Dbox;
use super::files::{Kind, Source, kind, open, start};
use super::mbox::Mbox;
use super::{Part, Place, Unread};

/// Octets that are read at once: as many as the file has, within these bounds.
const BUFFER: usize = 128 << 10;
const MIN_BUFFER: usize = 1 << 10;

/// What a mail encrypted by Dovecot begins with.
const ENCRYPTED: &[u8] = b"CRYPTED\x03\x07";

/// A message as it was found.
#[derive(Debug)]
pub struct Item {
    /// Where.
    pub place: Place,
    /// How much of the file was read for it, in octets.
    pub read: u64,
    /// The message.
    pub content: Result<Stored, Unread>,
}

/// A message's octets as they are stored.
#[derive(Debug)]
pub struct Stored {
    octets: Vec<u8>,
    /// Whether lines that begin with `From ` may have been quoted.
    pub in_mbox: bool,
}

impl Stored {
    /// How much memory it takes, in octets.
    pub fn size(&self) -> u64 {
        self.octets.len() as u64
    }

    /// The message, unpacked, of at most `max` octets.
    pub fn unpack(self, max: u64) -> Result<Vec<u8>, Unread> {
        let message = match Compression::of(&self.octets) {
            Some(compression) => compression.unpack(&self.octets, max)?,
            None => self.octets,
        };
        if message.starts_with(ENCRYPTED) {
            return Err(Unread::Encrypted);
        }
        if message.is_empty() { Err(Unread::Empty) } else { Ok(message) }
    }
}

/// Reads a file, and gives what is in it, message by message. Messages of more than `max` octets are named and not read.
pub fn read(source: &Source, max: u64, mut give: impl FnMut(Item)) {
    let file = Arc::new(source.path.clone());
    let consumed = Rc::new(Cell::new(0));
    let mut before = 0;
    let parts = Cell::new(0_u64);
    let mut hand_on = |part: Option<(u64, u64)>, content: Result<Stored, Unread>| {
        let read = consumed.get() - before;
        before = consumed.get();
        parts.set(parts.get() + 1);
        give(Item { place: Place { file: Arc::clone(&file), part }, read, content });
    };
    let ended = read_parts(source, max, &consumed, &mut hand_on);
    match ended {
        Ok(()) if parts.get() == 0 => hand_on(None, Err(Unread::NoneInside)),
        Ok(()) => {}
        Err(fault) => {
            // No more of it will be read.
            consumed.set(consumed.get().max(source.size));
            hand_on(None, Err(fault));
        }
    }
}

type HandOn<'a> = &'a mut dyn FnMut(Option<(u64, u64)>, Result<Stored, Unread>);

fn read_parts(
    source: &Source,
    max: u64,
    consumed: &Rc<Cell<u64>>,
    hand_on: HandOn<'_>,
) -> Result<(), Unread> {
    let mut file = open_wherever(source)?;
    // In a Maildir nothing hangs on the beginning, and unpacking it is for the workers.
    let (kind, compression) = if source.in_maildir {
        (Kind::Message, None)
    } else {
        let (start, compression) = start(&mut file)?;
        (kind(&start), compression)
    };
    // Reading fills the whole buffer with zeros first, which for small files would be most of the work.
    let size = usize::try_from(source.size).unwrap_or(BUFFER).clamp(MIN_BUFFER, BUFFER);
    let counted = |file| BufReader::with_capacity(size, Counted { file, consumed: Rc::clone(consumed) });
    match (kind, compression) {
        (Kind::Message, _) => {
            let octets = read_whole(file, source.size, max)?;
            consumed.set(octets.len() as u64);
            hand_on(None, Ok(Stored { octets, in_mbox: false }));
            Ok(())
        }
        (Kind::Mbox, None) => give_mbox(Mbox::new(counted(file), max), hand_on),
        (Kind::Mbox, Some(compression)) => {
            let most = source.size.saturating_mul(MAX_RATIO);
            let plain = AtMost::new(compression.reader(counted(file)), most);
            give_mbox(Mbox::new(BufReader::with_capacity(BUFFER, plain), max), hand_on)
                .map_err(|fault| as_packed(fault, compression))
        }
        (Kind::Dbox, None) => {
            for (number, part) in (1..).zip(Dbox::open(counted(file), max)?) {
                give_part(number, part?, false, hand_on);
            }
            Ok(())
        }
        // Dovecot compresses each message, and never the file.
        (Kind::Dbox, Some(_)) => Err(Unread::NoMail),
    }
}

fn give_mbox<R: io::BufRead>(mbox: Mbox<R>, hand_on: HandOn<'_>) -> Result<(), Unread> {
    for (number, part) in (1..).zip(mbox) {
        give_part(number, part?, true, hand_on);
    }
    Ok(())
}

fn give_part(number: u64, part: Part, in_mbox: bool, hand_on: HandOn<'_>) {
    let content = part.message.map(|octets| Stored { octets, in_mbox });
    hand_on(Some((number, part.offset)), content);
}

/// What went wrong while a compressed file was read is its compression's fault, unless the file itself says otherwise.
fn as_packed(fault: Unread, compression: Compression) -> Unread {
    match fault {
        Unread::Io(reason) => match reason.downcast::<Unread>() {
            Ok(fault) => fault,
            Err(reason) => Unread::Packed { compression, reason },
        },
        fault => fault,
    }
}

/// Reads a file of about `size` octets.
fn read_whole(file: File, size: u64, max: u64) -> Result<Vec<u8>, Unread> {
    let most = max.saturating_add(1);
    let mut octets = Vec::with_capacity(usize::try_from(size.min(most)).unwrap_or_default() + 1);
    file.take(most).read_to_end(&mut octets)?;
    if octets.len() as u64 > max { Err(Unread::TooLarge { max }) } else { Ok(octets) }
}

/// Opens the file. Mail programs rename a message of a Maildir when it is read or flagged, and that is no reason to miss it.
fn open_wherever(source: &Source) -> Result<File, Unread> {
    match open(&source.path) {
        Err(Unread::Io(error)) if error.kind() == io::ErrorKind::NotFound && source.in_maildir => {
            match renamed(&source.path) {
                Some(path) => open(&path),
                None => Err(error.into()),
            }
        }
        result => result,
    }
}

/// Where a message of a Maildir is now: in `cur`, its name up to the flags as it was.
fn renamed(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let unique = name.split(':').next()?;
    let cur = path.parent()?.parent()?.join("cur");
    let is_it = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split(':').next())
            == Some(unique)
    };
    fs::read_dir(cur).ok()?.filter_map(Result::ok).map(|entry| entry.path()).find(is_it)
}

/// A file that counts what is read of it.
struct Counted {
    file: File,
    consumed: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.consumed.set(self.consumed.get() + read as u64);
        Ok(read)
    }
}
