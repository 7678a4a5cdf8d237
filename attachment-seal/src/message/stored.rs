//! Messages as they lie on disk: LF line ends (Maildir), a leading mbox `From ` line, quoted lines of mbox files.

use memchr::memmem;

/// How the lines of a stored message end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnds {
    /// CR LF, as on the wire.
    CrLf,
    /// LF alone, which then counts as CR LF.
    Lf,
}

/// A stored message in its wire form, and how its lines ended. Works in place: a message may be most of memory.
pub fn to_wire(mut message: Vec<u8>) -> (Vec<u8>, LineEnds) {
    if message.starts_with(b"From ")
        && let Some(end) = memchr::memchr(b'\n', &message)
    {
        message.drain(..=end);
    }
    if memmem::find(&message, b"\r\n").is_some() || memchr::memchr(b'\n', &message).is_none() {
        return (message, LineEnds::CrLf);
    }
    put_cr_before_lf(&mut message);
    (message, LineEnds::Lf)
}

/// Moves the lines apart from the last one on, so that each finds room for its CR.
fn put_cr_before_lf(message: &mut Vec<u8>) {
    let mut from = message.len();
    let lines = memchr::memchr_iter(b'\n', message).count();
    message.resize(from + lines, 0);
    let mut to = message.len();
    while let Some(lf) = memchr::memrchr(b'\n', &message[..from]) {
        message.copy_within(lf..from, to - (from - lf));
        to -= from - lf + 1;
        message[to] = b'\r';
        from = lf;
    }
}

/// A wire form back in the stored one's line ends.
pub fn from_wire(wire: Vec<u8>, line_ends: LineEnds) -> Vec<u8> {
    match line_ends {
        LineEnds::CrLf => wire,
        LineEnds::Lf => {
            let mut stored = Vec::with_capacity(wire.len());
            for line in wire.split_inclusive(|&octet| octet == b'\n') {
                match line.strip_suffix(b"\r\n") {
                    Some(text) => {
                        stored.extend_from_slice(text);
                        stored.push(b'\n');
                    }
                    None => stored.extend_from_slice(line),
                }
            }
            stored
        }
    }
}

/// A message of an mbox file whose lines may have been quoted (`>From `): the same without one level of quotes, or
/// `None` where no line is.
pub fn unquoted(message: &[u8]) -> Option<Vec<u8>> {
    let is_quoted = |line: &[u8]| {
        let rest = &line[line.iter().take_while(|&&octet| octet == b'>').count()..];
        line.starts_with(b">") && rest.starts_with(b"From ")
    };
    let mut lines = message.split_inclusive(|&octet| octet == b'\n');
    lines.any(is_quoted).then(|| {
        let lines = message.split_inclusive(|&octet| octet == b'\n');
        lines.flat_map(|line| if is_quoted(line) { &line[1..] } else { line }).copied().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lf_as_cr_lf_where_there_is_no_other() {
        assert_eq!(to_wire(b"a: b\n\nc\n".to_vec()), (b"a: b\r\n\r\nc\r\n".to_vec(), LineEnds::Lf));
        assert_eq!(to_wire(b"a: b\r\n\r\nc\nd".to_vec()), (b"a: b\r\n\r\nc\nd".to_vec(), LineEnds::CrLf));
        assert_eq!(to_wire(b"From me 12:00\na: b\n".to_vec()), (b"a: b\r\n".to_vec(), LineEnds::Lf));
        assert_eq!(to_wire(b"\n\na\n\nb".to_vec()), (b"\r\n\r\na\r\n\r\nb".to_vec(), LineEnds::Lf));
        assert_eq!(from_wire(b"a: b\r\n\r\nc".to_vec(), LineEnds::Lf), b"a: b\n\nc");
    }

    #[test]
    fn takes_one_level_of_quotes_off() {
        assert_eq!(
            unquoted(b"A: 1\n\nFrom here on\n>From x\n>>From y\n\n").unwrap(),
            b"A: 1\n\nFrom here on\nFrom x\n>From y\n\n"
        );
        assert_eq!(unquoted(b"A: 2\n\n> From x\nend\n\n"), None);
    }
}
