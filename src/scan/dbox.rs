//! Dovecot's dbox files, version 2: `u.1` of sdbox with one message, `m.1` of mdbox with several.
//!
//! A file begins with a line like `2 M1e C6b0aa3ac`: the version, and the size of each message's header in hexadecimal.
//! Then come the messages: a header (`\1\2`, a type, the message's size in hexadecimal, padding, LF), the message, the
//! mark `\n\1\3\n`, and lines of metadata up to an empty one. A message may be compressed.

use std::io::{self, BufRead, Read};

use super::{Part, Unread};

/// Longest first line that is read, in octets.
const MAX_FIRST_LINE: usize = 256;
/// Where a message's header has the size, in 16 hexadecimal digits.
const SIZE: std::ops::Range<usize> = 13..29;
/// Sizes of a message's header that are read: today's, with room for a later one's.
const HEADER_SIZES: std::ops::RangeInclusive<usize> = 30..=1024;
/// What a message's header begins with.
const HEADER_MARK: &[u8] = b"\x01\x02";
/// What metadata begins with.
const METADATA_MARK: &[u8] = b"\n\x01\x03\n";
/// The metadata line that says that attachments are elsewhere.
const ATTACHMENTS_APART: u8 = b'X';

/// Whether a file that begins like this is a dbox file, of whatever version.
pub fn begins(start: &[u8]) -> bool {
    let line = start.split(|&octet| octet == b'\n').next().unwrap_or_default();
    let has_version = matches!(line, [b'0'..=b'9', b' ', ..]);
    has_version && line.len() < MAX_FIRST_LINE && fields(line).any(|field| number(b'M', field).is_some())
}

/// The fields of the first line.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|octet| octet.is_ascii_whitespace()).skip(1)
}

/// The hexadecimal number of the field `key`.
fn number(key: u8, field: &[u8]) -> Option<u64> {
    let (first, digits) = field.split_first()?;
    if *first == key { hexadecimal(digits) } else { None }
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The messages of a dbox file in their order. After a fault there are no more: what a message holds may look like a
/// header, so none is looked for.
#[derive(Debug)]
pub struct Dbox<R> {
    reader: R,
    max: u64,
    offset: u64,
    header_size: usize,
    is_at_end: bool,
}

impl<R: BufRead> Dbox<R> {
    /// Reads the first line; messages of more than `max` octets are passed over, and say so.
    pub fn open(reader: R, max: u64) -> Result<Self, Unread> {
        let mut dbox = Self { reader, max, offset: 0, header_size: 0, is_at_end: false };
        let mut line = Vec::new();
        dbox.reader.by_ref().take(MAX_FIRST_LINE as u64).read_until(b'\n', &mut line)?;
        let sizes = fields(&line).filter_map(|field| number(b'M', field));
        let size = sizes.last().and_then(|size| usize::try_from(size).ok()).unwrap_or_default();
        if !line.starts_with(b"2 ") {
            return Err(dbox.fault("its version is not 2"));
        }
        if !line.ends_with(b"\n") || !HEADER_SIZES.contains(&size) {
            return Err(dbox.fault("its first line is wrong"));
        }
        dbox.offset = line.len() as u64;
        dbox.header_size = size;
        Ok(dbox)
    }

    fn fault(&self, reason: &'static str) -> Unread {
        Unread::Dbox { offset: self.offset, reason }
    }

    fn read_part(&mut self) -> Result<Option<Part>, Unread> {
        if self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        let size = self.read_header()?;
        let mut message = self.read_message(size)?;
        if self.read_metadata()? && message.is_ok() {
            message = Err(Unread::AttachmentsApart);
        }
        Ok(Some(Part { offset, size: self.offset - offset, message }))
    }

    /// Reads a message's header. Gives the size of the message.
    fn read_header(&mut self) -> Result<u64, Unread> {
        let header = self.read_exactly(self.header_size)?.ok_or_else(|| self.fault("a header is cut off"))?;
        let size = hexadecimal(&header[SIZE]);
        match size {
            Some(size) if header.starts_with(HEADER_MARK) && header.ends_with(b"\n") => {
                self.offset += header.len() as u64;
                Ok(size)
            }
            _ => Err(self.fault("no header where a message should begin")),
        }
    }

    fn read_message(&mut self, size: u64) -> Result<Result<Vec<u8>, Unread>, Unread> {
        let mut octets = Vec::new();
        let mut rest = self.reader.by_ref().take(size);
        let read = if size > self.max {
            io::copy(&mut rest, &mut io::sink())?
        } else {
            rest.read_to_end(&mut octets)? as u64
        };
        if read < size {
            return Err(self.fault("a message is cut off"));
        }
        self.offset += size;
        Ok(if size > self.max { Err(Unread::TooLarge { max: self.max }) } else { Ok(octets) })
    }

    /// Reads over the metadata. Says whether attachments are stored apart.
    fn read_metadata(&mut self) -> Result<bool, Unread> {
        match self.read_exactly(METADATA_MARK.len())? {
            Some(mark) if mark == METADATA_MARK => self.offset += mark.len() as u64,
            _ => return Err(self.fault("a message does not end where its header says")),
        }
        let mut are_apart = false;
        loop {
            match self.skip_line()? {
                Some(b'\n' | b' ') => return Ok(are_apart),
                Some(key) => are_apart |= key == ATTACHMENTS_APART,
                None => return Err(self.fault("metadata is cut off")),
            }
        }
    }

    /// Reads over a line, however long. Gives its first octet; `None` where its end is missing.
    fn skip_line(&mut self) -> io::Result<Option<u8>> {
        let mut first = None;
        loop {
            let buffer = self.reader.fill_buf()?;
            let Some(&octet) = buffer.first() else { return Ok(None) };
            first = first.or(Some(octet));
            let end = memchr::memchr(b'\n', buffer);
            let taken = end.map_or(buffer.len(), |at| at + 1);
            self.reader.consume(taken);
            self.offset += taken as u64;
            if end.is_some() {
                return Ok(first);
            }
        }
    }

    /// Reads so many octets, and no fewer.
    fn read_exactly(&mut self, size: usize) -> io::Result<Option<Vec<u8>>> {
        let mut octets = Vec::with_capacity(size);
        self.reader.by_ref().take(size as u64).read_to_end(&mut octets)?;
        Ok((octets.len() == size).then_some(octets))
    }
}

impl<R: BufRead> Iterator for Dbox<R> {
    type Item = Result<Part, Unread>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_at_end {
            return None;
        }
        let part = self.read_part().transpose();
        self.is_at_end = !matches!(part, Some(Ok(_)));
        part
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    const START: &str = "2 M1e C6b0aa3ac\n";

    fn record(message: &[u8], metadata: &str) -> Vec<u8> {
        let header = format!("\x01\x02N          {:016x}\n", message.len());
        [header.as_bytes(), message, METADATA_MARK, metadata.as_bytes()].concat()
    }

    fn file(messages: &[&[u8]]) -> Vec<u8> {
        let records = messages.iter().flat_map(|message| record(message, "R6b0aa3ac\nBINBOX\n\n"));
        START.bytes().chain(records).collect()
    }

    fn read(file: &[u8], max: u64) -> Vec<Result<Part, Unread>> {
        Dbox::open(file, max).unwrap().collect()
    }

    fn fault(file: &[u8]) -> String {
        let parts = match Dbox::open(file, 1000) {
            Ok(dbox) => dbox.collect::<Vec<_>>(),
            Err(fault) => return fault.to_string(),
        };
        parts.into_iter().last().unwrap().unwrap_err().to_string()
    }

    #[test]
    fn reads_each_message_once() {
        let file = file(&[b"A: 1\n\n\x01\x02N\n", b"", b"A: 3\n"]);
        assert!(begins(&file));
        let parts: Vec<Part> = read(&file, 1000).into_iter().map(Result::unwrap).collect();
        let messages: Vec<&[u8]> = parts.iter().map(|part| part.message.as_deref().unwrap()).collect();
        assert_eq!(messages, [&b"A: 1\n\n\x01\x02N\n"[..], b"", b"A: 3\n"]);
        assert_eq!(parts[0].offset, START.len() as u64);
        assert!(file[usize::try_from(parts[2].offset).unwrap()..].starts_with(HEADER_MARK));
    }

    #[test]
    fn names_what_it_does_not_read() {
        let large = file(&[b"A: 1\n", &b"x".repeat(200), b"A: 3\n"]);
        let parts: Vec<Part> = read(&large, 100).into_iter().map(Result::unwrap).collect();
        assert!(matches!(parts[1].message, Err(Unread::TooLarge { max: 100 })));
        assert_eq!(parts[2].message.as_deref().unwrap(), b"A: 3\n");

        let apart = [START.as_bytes(), &record(b"A: 1\n", "X34 1000 B76 1f/2c/1f2c-1\n\n")].concat();
        assert!(matches!(read(&apart, 100)[0].as_ref().unwrap().message, Err(Unread::AttachmentsApart)));
    }

    #[test]
    fn stops_at_damage_and_says_where() {
        let sound = file(&[b"A: 1\n", b"A: 2\n"]);
        for (from, to, why) in [
            (&b"2 M1e"[..], &b"1 M1e"[..], "offset 0: its version is not 2"),
            (b"2 M1e", b"2 M1d", "offset 0: its first line is wrong"),
            (b"2 M1e", b"2 N1e", "offset 0: its first line is wrong"),
            (b"\x01\x02N", b"\x01\x03N", "offset 16: no header where a message should begin"),
            (b"0005\n", b"000g\n", "offset 16: no header where a message should begin"),
            (b"0005\n", b"0004\n", "offset 50: a message does not end where its header says"),
            (b"0005\n", b"ffff\n", "offset 46: a message is cut off"),
        ] {
            let at = memchr::memmem::find(&sound, from).unwrap();
            let damaged = [&sound[..at], to, &sound[at + from.len()..]].concat();
            assert!(fault(&damaged).contains(why), "{}", fault(&damaged));
        }
        assert!(fault(&sound[..sound.len() - 1]).contains("metadata is cut off"));
        assert!(fault(&sound[..70]).contains("metadata is cut off"));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            let parts = read(&file(&messages), 60);
            let read: Vec<&[u8]> = parts.iter().map(|part| part.as_ref().unwrap().message.as_deref().unwrap()).collect();
            prop_assert_eq!(read, messages);
        }

        /// However a file is damaged, whatever is read lies in it, in order, and the end is an end or a fault.
        #[test]
        fn damage_makes_no_other_messages(at in 0_usize..200, octet: u8, cut in 0_usize..200, buffer in 1_usize..40) {
            let mut file = file(&[b"A: 1\n\nfirst", b"A: 2\n\nsecond"]);
            let cut = cut.min(file.len());
            file.truncate(cut);
            if let Some(place) = file.get_mut(at) {
                *place = octet;
            }
            let Ok(dbox) = Dbox::open(BufReader::with_capacity(buffer, &file[..]), 50) else { return Ok(()) };
            let mut end = 0;
            for part in dbox.flatten() {
                prop_assert!(part.offset >= end);
                end = part.offset + part.size;
                prop_assert!(end <= file.len() as u64);
                if let Ok(message) = part.message {
                    prop_assert!(message.len() as u64 <= part.size && memchr::memmem::find(&file, &message).is_some());
                }
            }
        }
    }
}
