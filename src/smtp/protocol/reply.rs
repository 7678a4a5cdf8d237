//! Replies (RFC 5321 §4.2): the next hop's, kept to the letter because they go back to the client as they were
//! said, and our own, which are one line of printable ASCII.

use std::fmt;

use thiserror::Error;

use crate::smtp::protocol::command::ParseCommandError;
use crate::smtp::protocol::data::DataError;
use crate::smtp::protocol::identity::ParseXclientError;
use crate::smtp::protocol::parameters::ParameterError;

/// Most lines of one reply.
pub const MAX_LINES: usize = 128;
/// Most octets of one reply.
pub const MAX_OCTETS: usize = 64 << 10;
/// Most octets of a reply of our own, CR LF included (RFC 5321 §4.5.3.1.5).
pub const MAX_OWN_OCTETS: usize = 512;

/// A complete reply: a code and one or more lines, each ending in CR LF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    octets: Vec<u8>,
}

impl Reply {
    /// A reply of our own. Characters of `text` outside printable ASCII become `?`; what is too long is cut.
    pub fn new(code: u16, text: &str) -> Self {
        debug_assert!((200..600).contains(&code), "{code} is no reply code");
        let mut octets = format!("{code} ").into_bytes();
        octets.extend(text.chars().map(|c| if matches!(c, ' '..='~') { c as u8 } else { b'?' }));
        octets.truncate(MAX_OWN_OCTETS - 2);
        octets.extend_from_slice(b"\r\n");
        Self { code, octets }
    }

    /// A 250 of our own with several lines, as EHLO wants it. The lines must be printable ASCII.
    pub(crate) fn list(lines: &[String]) -> Self {
        let mut octets = Vec::with_capacity(256);
        for (i, line) in lines.iter().enumerate() {
            let separator = if i + 1 == lines.len() { ' ' } else { '-' };
            octets.extend_from_slice(format!("250{separator}{line}\r\n").as_bytes());
        }
        Self { code: 250, octets }
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The reply as it goes over the wire, its last CR LF included.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The text of each line, behind code and separator, without CR LF.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let body = self.octets.strip_suffix(b"\r\n").unwrap_or(&self.octets);
        body.split(|&octet| octet == b'\n').map(|line| line.get(4..).unwrap_or_default().trim_ascii_end())
    }

    /// The name that the next hop has given a message in its queue, if this reply tells one: the word behind `queued as`
    /// (Postfix), behind `id=` (Exim), or before `Message accepted` (Sendmail).
    pub fn queue_id(&self) -> Option<String> {
        if !self.is_positive() {
            return None;
        }
        let text = String::from_utf8_lossy(&self.octets);
        let behind = |mark: &str| text.find(mark).map(|at| &text[at + mark.len()..]);
        let before = |mark: &str| {
            text.find(mark).map(|at| text[..at].trim_end().rsplit(' ').next().unwrap_or_default())
        };
        let word = behind("queued as ").or_else(|| behind(" id=")).or_else(|| before(" Message accepted"))?;
        let id: String =
            word.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
        let id = id.trim_end_matches('.');
        (1..=64).contains(&id.len()).then(|| id.to_owned())
    }

    /// 2yz: done.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4yz: not now.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: not ever.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// A reply that ends a command: 2yz, 4yz or 5yz.
    pub fn is_final(&self) -> bool {
        self.is_positive() || self.is_transient() || self.is_permanent()
    }
}

impl fmt::Display for Reply {
    /// For logs: on one line, printable ASCII only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        write!(f, "{}", self.code)?;
        for line in self.lines().filter(|line| !line.is_empty()) {
            f.write_char(' ')?;
            for &octet in line {
                f.write_char(if matches!(octet, b' '..=b'~') { octet.into() } else { '?' })?;
            }
        }
        Ok(())
    }
}

impl From<&ParseCommandError> for Reply {
    fn from(error: &ParseCommandError) -> Self {
        match error {
            ParseCommandError::MissingArgument
            | ParseCommandError::UnexpectedArgument
            | ParseCommandError::MalformedPath
            | ParseCommandError::MalformedParameter
            | ParseCommandError::MalformedChunk
            | ParseCommandError::NotUtf8 => Self::new(501, &format!("5.5.4 syntax: {error}")),
        }
    }
}

impl From<&ParameterError> for Reply {
    fn from(error: &ParameterError) -> Self {
        match error {
            ParameterError::NotOffered(_) => Self::new(555, &format!("5.5.4 {error}")),
            ParameterError::Misplaced(_) | ParameterError::Repeated(_) => {
                Self::new(501, &format!("5.5.4 {error}"))
            }
        }
    }
}

impl From<ParseXclientError> for Reply {
    fn from(error: ParseXclientError) -> Self {
        match error {
            ParseXclientError::Missing
            | ParseXclientError::NoValue
            | ParseXclientError::UnknownAttribute
            | ParseXclientError::Repeated
            | ParseXclientError::MalformedValue => Self::new(501, &format!("5.5.4 syntax: {error}")),
        }
    }
}

impl From<DataError> for Reply {
    fn from(error: DataError) -> Self {
        match error {
            DataError::BareLineEnd => Self::new(550, "5.5.2 bare CR or LF in message"),
            DataError::MessageTooLarge => Self::new(552, "5.3.4 message size exceeds limit"),
            DataError::HeaderTooLarge => Self::new(552, "5.3.4 header section of message exceeds limit"),
            DataError::OutOfMemory => Self::new(451, "4.3.1 not enough memory now, try again later"),
            DataError::OutOfSpace => Self::new(451, "4.3.1 no room for the message now, try again later"),
            DataError::SpoolFull => {
                Self::new(452, "4.3.1 too many octets of messages on their way, try again later")
            }
        }
    }
}

/// Why a next hop's octets are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseReplyError {
    /// No three digits, the first from 2 to 5, and then a blank, a hyphen or the end of the line.
    #[error("a line does not begin with a reply code")]
    Code,
    /// Two lines of one reply have different codes.
    #[error("the lines of one reply have different codes")]
    CodesDiffer,
    /// A CR, LF or NUL inside a line.
    #[error("a line holds a bare CR, a bare LF or a NUL")]
    ControlCharacter,
    /// More than [`MAX_LINES`] or [`MAX_OCTETS`].
    #[error("the reply is too long")]
    TooLong,
}

/// Puts a reply together from octets as they come.
#[derive(Debug, Default)]
pub struct ReplyParser {
    octets: Vec<u8>,
    line_start: usize,
    code: Option<u16>,
    lines: usize,
}

impl ReplyParser {
    /// Takes octets off the front of `input`, until the reply is complete; what follows it stays there.
    pub fn push(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ParseReplyError> {
        while let Some(line_feed) = memchr::memchr(b'\n', input) {
            let (line, rest) = input.split_at(line_feed + 1);
            *input = rest;
            self.octets.extend_from_slice(line);
            if self.end_line()? {
                let parser = std::mem::take(self);
                return Ok(parser.code.map(|code| Reply { code, octets: parser.octets }));
            }
        }
        self.octets.extend_from_slice(std::mem::take(input));
        self.check_size()?;
        Ok(None)
    }

    /// Checks the line just completed and says whether it is the last one.
    fn end_line(&mut self) -> Result<bool, ParseReplyError> {
        self.lines += 1;
        self.check_size()?;
        let line = &self.octets[self.line_start..];
        self.line_start = self.octets.len();
        let text = line.strip_suffix(b"\r\n").ok_or(ParseReplyError::ControlCharacter)?;
        if memchr::memchr2(b'\r', 0, text).is_some() {
            return Err(ParseReplyError::ControlCharacter);
        }
        let code = match text {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
                [a, b, c].into_iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'))
            }
            _ => return Err(ParseReplyError::Code),
        };
        if *self.code.get_or_insert(code) != code {
            return Err(ParseReplyError::CodesDiffer);
        }
        match text.get(3) {
            Some(b'-') => Ok(false),
            Some(b' ') | None => Ok(true),
            Some(_) => Err(ParseReplyError::Code),
        }
    }

    fn check_size(&self) -> Result<(), ParseReplyError> {
        let fits = self.lines <= MAX_LINES && self.octets.len() <= MAX_OCTETS;
        fits.then_some(()).ok_or(ParseReplyError::TooLong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(mut input: &[u8]) -> Result<Option<Reply>, ParseReplyError> {
        ReplyParser::default().push(&mut input)
    }

    #[test]
    fn keeps_a_reply_to_the_letter_in_any_split() {
        let reply = b"550-5.1.1 no such user\r\n550-\r\n550 5.1.1 gr\xfc\xdfe, bye\r\n";
        let whole = parse(reply).unwrap().unwrap();
        assert_eq!((whole.code(), whole.octets()), (550, &reply[..]));
        assert_eq!(whole.to_string(), "550 5.1.1 no such user 5.1.1 gr??e, bye");
        for at in 0..reply.len() {
            let mut parser = ReplyParser::default();
            assert_eq!(parser.push(&mut &reply[..at]), Ok(None));
            assert_eq!(parser.push(&mut &reply[at..]), Ok(Some(whole.clone())));
        }
    }

    #[test]
    fn finds_the_queue_id() {
        for (reply, id) in [
            ("250 2.0.0 Ok: queued as 4XyZ12abcdz3\r\n", Some("4XyZ12abcdz3")),
            ("250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 7D1.\r\n", Some("7D1")),
            ("250 OK id=1tEXPl-000000003Jq-2Wk6\r\n", Some("1tEXPl-000000003Jq-2Wk6")),
            ("250 2.0.0 4AN6bJ3i012345 Message accepted for delivery\r\n", Some("4AN6bJ3i012345")),
            ("250 2.0.0 Ok\r\n", None),
            ("250 2.0.0 Ok: queued as \r\n", None),
            ("451 4.3.0 not queued as 123\r\n", None),
        ] {
            let reply = parse(reply.as_bytes()).unwrap().unwrap();
            assert_eq!(reply.queue_id().as_deref(), id, "{reply}");
        }
    }

    #[test]
    fn leaves_what_follows() {
        let mut input = &b"250\r\n421 bye\r\n"[..];
        let reply = ReplyParser::default().push(&mut input).unwrap().unwrap();
        assert_eq!((reply.octets(), input), (&b"250\r\n"[..], &b"421 bye\r\n"[..]));
    }

    #[test]
    fn refuses_what_is_no_reply() {
        use ParseReplyError::*;
        for (input, error) in [
            (&b"hello\r\n"[..], Code),
            (b"25 ok\r\n", Code),
            (b"150 ok\r\n", Code),
            (b"999 ok\r\n", Code),
            (b"250_ok\r\n", Code),
            (b"\r\n", Code),
            (b"250-a\r\n550 b\r\n", CodesDiffer),
            (b"250 a\n", ControlCharacter),
            (b"250 a\rb\r\n", ControlCharacter),
            (b"250 a\0b\r\n", ControlCharacter),
        ] {
            assert_eq!(parse(input), Err(error), "{}", String::from_utf8_lossy(input));
        }
        assert_eq!(parse(&b"250-a\r\n".repeat(MAX_LINES + 1)), Err(TooLong));
        assert_eq!(parse(&[b'2'; MAX_OCTETS + 1]), Err(TooLong));
    }

    #[test]
    fn own_replies_are_one_line_of_printable_ascii() {
        let reply = Reply::new(550, "5.7.1 altered: \u{201e}Agenda\r\n.pdf\u{201c}");
        assert_eq!(reply.octets(), b"550 5.7.1 altered: ?Agenda??.pdf?\r\n");
        let long = Reply::new(250, &"x".repeat(2000));
        assert_eq!(long.octets().len(), MAX_OWN_OCTETS);
        assert!(long.octets().ends_with(b"x\r\n"));
    }
}
