//! One command line of a client (RFC 5321 §4.1.1), taken apart as far as a proxy must know it.
//! The line itself goes to the next hop verbatim, so this parser is lenient where Postfix is.

use thiserror::Error;

use crate::envelope::{ForwardPath, Parameter, ReversePath};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// EHLO with its argument.
    Ehlo(String),
    /// HELO with its argument.
    Helo(String),
    /// LHLO with its argument: the session is LMTP (RFC 2033 §4.1).
    Lhlo(String),
    /// MAIL FROM with its parameters.
    Mail(ReversePath, Vec<Parameter>),
    /// RCPT TO; its parameters are for the next hop only.
    Rcpt(ForwardPath, Vec<Parameter>),
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
    /// NOOP, VRFY, EXPN or HELP, with any argument: changes nothing.
    Query,
    /// STARTTLS.
    StartTls,
    /// AUTH, with whatever follows: it holds credentials.
    Auth,
    /// BDAT (RFC 3030 §2): so many octets follow, and perhaps they are the message's last.
    Bdat {
        /// Octets of the chunk.
        size: u64,
        /// Whether `LAST` stands behind it.
        is_last: bool,
    },
    /// XCLIENT with its arguments.
    Xclient(String),
    /// XFORWARD, with any argument.
    Xforward,
    /// The first line of an HTTP request: somebody has a browser talk to us.
    Http,
    /// No command that we know.
    Unknown,
}

/// A line that is a known command but not in its form.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseCommandError {
    /// EHLO or HELO without a name, MAIL or RCPT without a path …
    #[error("an argument is missing")]
    MissingArgument,
    /// DATA, RSET, QUIT or STARTTLS with something behind it.
    #[error("no argument is allowed")]
    UnexpectedArgument,
    /// The path is no path.
    #[error("the address is malformed")]
    MalformedPath,
    /// A parameter of MAIL or RCPT is malformed, or SIZE is no number.
    #[error("a parameter is malformed")]
    MalformedParameter,
    /// BDAT without a number of octets, or with something but LAST behind it. What follows on the wire is anybody's
    /// guess.
    #[error("the size of the chunk is malformed")]
    MalformedChunk,
    /// Neither ASCII nor UTF-8 (RFC 6531 §3.3).
    #[error("the line is not UTF-8")]
    NotUtf8,
}

/// Parses a command line, given without its CR LF.
pub fn parse(line: &[u8]) -> Result<Command, ParseCommandError> {
    let verb_len = line.iter().position(|&octet| is_blank(octet)).unwrap_or(line.len());
    let (verb, rest) = line.split_at(verb_len);
    let argument = rest.trim_ascii();
    let alone = |command| match argument {
        [] => Ok(command),
        _ => Err(ParseCommandError::UnexpectedArgument),
    };
    match verb.to_ascii_uppercase().as_slice() {
        b"EHLO" => Ok(Command::Ehlo(name(argument)?)),
        b"HELO" => Ok(Command::Helo(name(argument)?)),
        b"LHLO" => Ok(Command::Lhlo(name(argument)?)),
        b"MAIL" => mail(argument),
        b"RCPT" => rcpt(argument),
        b"DATA" => alone(Command::Data),
        b"RSET" => alone(Command::Rset),
        b"QUIT" => alone(Command::Quit),
        b"STARTTLS" => alone(Command::StartTls),
        b"NOOP" | b"VRFY" | b"EXPN" | b"HELP" => Ok(Command::Query),
        b"AUTH" => Ok(Command::Auth),
        b"BDAT" => bdat(argument),
        b"XCLIENT" => Ok(Command::Xclient(utf8(argument)?.to_owned())),
        b"XFORWARD" => Ok(Command::Xforward),
        b"GET" | b"POST" | b"PUT" | b"HEAD" | b"DELETE" | b"CONNECT" | b"OPTIONS" | b"PATCH" | b"TRACE" => {
            Ok(Command::Http)
        }
        _ => Ok(Command::Unknown),
    }
}

/// The value of SIZE, the client's estimate in octets (RFC 1870 §3).
pub fn declared_size(parameters: &[Parameter]) -> Option<u64> {
    let size = parameters.iter().find(|parameter| parameter.is("SIZE"))?;
    // A number too long for us is still a number, and certainly too large.
    size.value.as_ref().map(|digits| digits.parse().unwrap_or(u64::MAX))
}

/// Postfix takes more than one word after EHLO, so do we; the next hop sees it as it was written.
fn name(argument: &[u8]) -> Result<String, ParseCommandError> {
    match argument {
        [] => Err(ParseCommandError::MissingArgument),
        _ => Ok(String::from_utf8_lossy(argument).into_owned()),
    }
}

fn mail(argument: &[u8]) -> Result<Command, ParseCommandError> {
    let (path, parameters) = path_and_parameters(b"FROM:", argument)?;
    Ok(Command::Mail(ReversePath::new(path), parameters))
}

fn rcpt(argument: &[u8]) -> Result<Command, ParseCommandError> {
    let (path, parameters) = path_and_parameters(b"TO:", argument)?;
    let path = ForwardPath::new(path).ok_or(ParseCommandError::MalformedPath)?;
    Ok(Command::Rcpt(path, parameters))
}

fn bdat(argument: &[u8]) -> Result<Command, ParseCommandError> {
    let mut words = argument.split(|&octet| is_blank(octet)).filter(|word| !word.is_empty());
    let is_number = |word: &&[u8]| (1..=18).contains(&word.len()) && word.iter().all(u8::is_ascii_digit);
    let size = words.next().filter(is_number).ok_or(ParseCommandError::MalformedChunk)?;
    let size = size.iter().fold(0, |size, digit| size * 10 + u64::from(digit - b'0'));
    match (words.next(), words.next()) {
        (None, _) => Ok(Command::Bdat { size, is_last: false }),
        (Some(last), None) if last.eq_ignore_ascii_case(b"LAST") => Ok(Command::Bdat { size, is_last: true }),
        _ => Err(ParseCommandError::MalformedChunk),
    }
}

/// `FROM:<path> parameters`; a blank after the colon, and a path without its brackets, are let through.
fn path_and_parameters<'a>(
    keyword: &[u8],
    argument: &'a [u8],
) -> Result<(&'a str, Vec<Parameter>), ParseCommandError> {
    let text = utf8(argument)?;
    let rest = match argument.get(..keyword.len()) {
        Some(start) if start.eq_ignore_ascii_case(keyword) => &text[keyword.len()..],
        _ => return Err(ParseCommandError::MissingArgument),
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    let (path, rest) = match rest.strip_prefix('<') {
        Some(bracketed) => {
            let end = path_end(bracketed, |octet| octet == b'>').ok_or(ParseCommandError::MalformedPath)?;
            (&bracketed[..end], &bracketed[end + 1..])
        }
        None if rest.is_empty() => return Err(ParseCommandError::MalformedPath),
        None => rest.split_at(path_end(rest, is_blank).unwrap_or(rest.len())),
    };
    if path.contains(|c: char| c.is_ascii_control()) {
        return Err(ParseCommandError::MalformedPath);
    }
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return Err(ParseCommandError::MalformedPath);
    }
    Ok((path, parameters(rest)?))
}

/// Where the path ends: at the first such octet that is not in a quoted string (RFC 5321 §4.1.2).
fn path_end(text: &str, is_end: impl Fn(u8) -> bool) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|octet| {
        let at_end = !quoted && !escaped && is_end(octet);
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        at_end
    })
}

fn parameters(text: &str) -> Result<Vec<Parameter>, ParseCommandError> {
    text.split([' ', '\t']).filter(|word| !word.is_empty()).map(parameter).collect()
}

fn parameter(word: &str) -> Result<Parameter, ParseCommandError> {
    let (keyword, value) = match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    };
    let well_formed = !keyword.is_empty()
        && keyword.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
        && !word.contains(|c: char| c.is_ascii_control());
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let size_is_bad = keyword.eq_ignore_ascii_case("SIZE") && !value.is_some_and(is_number);
    if !well_formed || size_is_bad {
        return Err(ParseCommandError::MalformedParameter);
    }
    Ok(Parameter { keyword: keyword.to_owned(), value: value.map(str::to_owned) })
}

fn utf8(argument: &[u8]) -> Result<&str, ParseCommandError> {
    std::str::from_utf8(argument).map_err(|_| ParseCommandError::NotUtf8)
}

fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_verbs_in_any_case() {
        for (line, command) in [
            ("EHLO a.example", Command::Ehlo("a.example".into())),
            ("helo [127.0.0.1]", Command::Helo("[127.0.0.1]".into())),
            ("data", Command::Data),
            ("DATA ", Command::Data),
            ("NOOP whatever", Command::Query),
            ("vrfy <a@b>", Command::Query),
            ("AUTH PLAIN AGEAYg==", Command::Auth),
            ("BDAT 10", Command::Bdat { size: 10, is_last: false }),
            ("bdat  0  last ", Command::Bdat { size: 0, is_last: true }),
            ("LHLO desk.example", Command::Lhlo("desk.example".into())),
            ("XFORWARD NAME=a", Command::Xforward),
            ("xclient  ADDR=192.0.2.1 ", Command::Xclient("ADDR=192.0.2.1".into())),
            ("GET / HTTP/1.1", Command::Http),
            ("MAILFROM:<a@b>", Command::Unknown),
            (" NOOP", Command::Unknown),
            ("", Command::Unknown),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
        }
    }

    #[test]
    fn takes_every_form_of_path() {
        for (path, inner) in [
            ("<a@example.org>", "a@example.org"),
            ("<>", ""),
            (" <a@b>", "a@b"),
            ("a@b", "a@b"),
            ("<\"a >b\\\"\"@c>", "\"a >b\\\"\"@c"),
            ("<@r.example:a@b>", "@r.example:a@b"),
            ("<a@[IPv6:::1]>", "a@[IPv6:::1]"),
            ("<j\u{f6}rg@b\u{fc}cher.example>", "j\u{f6}rg@b\u{fc}cher.example"),
            ("<postmaster>", "postmaster"),
        ] {
            let parsed = parse(format!("MAIL FROM:{path}").as_bytes());
            assert_eq!(parsed, Ok(Command::Mail(ReversePath::new(inner), Vec::new())), "{path}");
        }
    }

    #[test]
    fn keeps_parameters_it_does_not_know() {
        let line = b"mail from:<a@b>  SIZE=1000 BODY=8BITMIME XFOO X-Y=a=b";
        let Ok(Command::Mail(_, parameters)) = parse(line) else { panic!("not MAIL") };
        let texts: Vec<_> = parameters.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["SIZE=1000", "BODY=8BITMIME", "XFOO", "X-Y=a=b"]);
        assert_eq!(declared_size(&parameters), Some(1000));
    }

    #[test]
    fn says_what_is_wrong() {
        use ParseCommandError::*;
        for (line, error) in [
            (&b"EHLO"[..], MissingArgument),
            (b"EHLO  ", MissingArgument),
            (b"MAIL", MissingArgument),
            (b"MAIL TO:<a@b>", MissingArgument),
            (b"MAIL FROM:", MalformedPath),
            (b"MAIL FROM:<a@b", MalformedPath),
            (b"MAIL FROM:<a@b>SIZE=1", MalformedPath),
            (b"MAIL FROM:<\"a@b>", MalformedPath),
            (b"MAIL FROM:<a\x01@b>", MalformedPath),
            (b"MAIL FROM:<a\xff@b>", NotUtf8),
            (b"XCLIENT HELO=\xff", NotUtf8),
            (b"RCPT TO:<>", MalformedPath),
            (b"RCPT TO:", MalformedPath),
            (b"MAIL FROM:<a@b> =1", MalformedParameter),
            (b"MAIL FROM:<a@b> SIZE", MalformedParameter),
            (b"MAIL FROM:<a@b> SIZE=-1", MalformedParameter),
            (b"DATA junk", UnexpectedArgument),
            (b"RSET junk", UnexpectedArgument),
            (b"QUIT junk", UnexpectedArgument),
        ] {
            assert_eq!(parse(line), Err(error), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_size_beyond_all_numbers_is_large() {
        let Ok(Command::Mail(_, parameters)) = parse(b"MAIL FROM:<> SIZE=99999999999999999999999") else {
            panic!("not MAIL")
        };
        assert_eq!(declared_size(&parameters), Some(u64::MAX));
    }
}
