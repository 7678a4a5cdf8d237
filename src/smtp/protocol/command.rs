//! One command line of a client (RFC 5321 §4.1.1), taken apart as far as a proxy must know it. This parser is as lenient
//! as a default Postfix where a line can mean one thing only. A line in RFC 5321's form goes to the next hop to the letter,
//! any other is put into that form first, so that both read the same.

use std::borrow::Cow;

use thiserror::Error;

use crate::smtp::envelope::{ForwardPath, Parameter, ReversePath};
use crate::smtp::protocol::path::{self, is_blank};

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
    /// NOOP or HELP, with any argument: changes nothing.
    Query,
    /// VRFY or EXPN, with any argument: asks who has a mailbox.
    Lookup,
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
    /// DATA, RSET or STARTTLS with something behind it.
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
    let (verb, argument) = verb_and_argument(line);
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
        b"QUIT" => Ok(Command::Quit),
        b"STARTTLS" => alone(Command::StartTls),
        b"NOOP" | b"HELP" => Ok(Command::Query),
        b"VRFY" | b"EXPN" => Ok(Command::Lookup),
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

/// The line that the next hop gets of a command that was written like this: the same, unless it has odd blanks, an argument
/// that means nothing, or a path in another form than RFC 5321's.
pub fn for_next_hop<'a>(command: &Command, written: &'a [u8]) -> Cow<'a, [u8]> {
    let plain = match command {
        Command::Mail(path, parameters) => {
            with_parameters(format!("MAIL FROM:<{}>", path.as_str()), parameters)
        }
        Command::Rcpt(path, parameters) => {
            with_parameters(format!("RCPT TO:<{}>", path.as_str()), parameters)
        }
        Command::Quit => "QUIT".to_owned(),
        Command::Rset => "RSET".to_owned(),
        _ => {
            let (verb, argument) = verb_and_argument(written);
            let trimmed = trim_blanks(written);
            return match trimmed.get(verb.len()) {
                None | Some(b' ') => trimmed.into(),
                Some(_) => [verb, b" ", argument].concat().into(),
            };
        }
    };
    if written.eq_ignore_ascii_case(plain.as_bytes()) { written.into() } else { plain.into_bytes().into() }
}

fn with_parameters(mut line: String, parameters: &[Parameter]) -> String {
    for parameter in parameters {
        line.push(' ');
        line.push_str(&parameter.to_string());
    }
    line
}

/// The first word of a line, and what stands behind it, without blanks around either.
fn verb_and_argument(line: &[u8]) -> (&[u8], &[u8]) {
    let line = trim_blanks(line);
    let (verb, rest) = line.split_at(line.iter().position(|&octet| is_blank(octet)).unwrap_or(line.len()));
    (verb, trim_blanks(rest))
}

fn trim_blanks(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

/// The mechanism that a line with AUTH names, as far as it is ASCII.
pub fn mechanism(line: &[u8]) -> String {
    let (_, argument) = verb_and_argument(line);
    let (mechanism, _) = verb_and_argument(argument);
    String::from_utf8_lossy(mechanism).chars().filter(char::is_ascii_graphic).take(40).collect()
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
    let size = words.next().filter(|word| is_number(word) && word.len() <= 18);
    let size = size.ok_or(ParseCommandError::MalformedChunk)?;
    let size = size.iter().fold(0, |size, digit| size * 10 + u64::from(digit - b'0'));
    match (words.next(), words.next()) {
        (None, _) => Ok(Command::Bdat { size, is_last: false }),
        (Some(last), None) if last.eq_ignore_ascii_case(b"LAST") => Ok(Command::Bdat { size, is_last: true }),
        _ => Err(ParseCommandError::MalformedChunk),
    }
}

/// `FROM:<path> parameters`; blanks may stand around the path.
fn path_and_parameters(
    keyword: &[u8],
    argument: &[u8],
) -> Result<(String, Vec<Parameter>), ParseCommandError> {
    let text = utf8(argument)?;
    let rest = match argument.get(..keyword.len()) {
        Some(start) if start.eq_ignore_ascii_case(keyword) => &text[keyword.len()..],
        _ => return Err(ParseCommandError::MissingArgument),
    };
    let rest = rest.trim_start_matches(is_blank_char);
    if rest.is_empty() {
        return Err(ParseCommandError::MalformedPath);
    }
    let end = path::word_end(rest).ok_or(ParseCommandError::MalformedPath)?;
    let (word, rest) = rest.split_at(end);
    let path = path::mailbox(word).ok_or(ParseCommandError::MalformedPath)?;
    if path.contains(|c: char| c.is_ascii_control()) {
        return Err(ParseCommandError::MalformedPath);
    }
    Ok((path, parameters(rest)?))
}

fn parameters(text: &str) -> Result<Vec<Parameter>, ParseCommandError> {
    text.split(is_blank_char).filter(|word| !word.is_empty()).map(parameter).collect()
}

fn parameter(word: &str) -> Result<Parameter, ParseCommandError> {
    let (keyword, value) = match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    };
    let well_formed = !keyword.is_empty()
        && keyword.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
        && !word.contains(|c: char| c.is_ascii_control());
    let size_is_bad =
        keyword.eq_ignore_ascii_case("SIZE") && !value.is_some_and(|value| is_number(value.as_bytes()));
    if !well_formed || size_is_bad {
        return Err(ParseCommandError::MalformedParameter);
    }
    Ok(Parameter { keyword: keyword.to_owned(), value: value.map(str::to_owned) })
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn utf8(argument: &[u8]) -> Result<&str, ParseCommandError> {
    std::str::from_utf8(argument).map_err(|_| ParseCommandError::NotUtf8)
}

fn is_blank_char(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_blank)
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
            ("vrfy <a@b>", Command::Lookup),
            ("AUTH PLAIN AGEAYg==", Command::Auth),
            ("BDAT 10", Command::Bdat { size: 10, is_last: false }),
            ("bdat  0  last ", Command::Bdat { size: 0, is_last: true }),
            ("LHLO desk.example", Command::Lhlo("desk.example".into())),
            ("XFORWARD NAME=a", Command::Xforward),
            ("xclient  ADDR=192.0.2.1 ", Command::Xclient("ADDR=192.0.2.1".into())),
            ("GET / HTTP/1.1", Command::Http),
            ("MAILFROM:<a@b>", Command::Unknown),
            (" NOOP", Command::Query),
            ("\tquit\x0bnow ", Command::Quit),
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
            (b"MAIL FROM :<a@b>", MissingArgument),
            (b"MAIL FROM:<a@b><c@d>", MalformedPath),
            (b"MAIL FROM:<a@b> <c@d>", MalformedParameter),
            (b"RCPT TO:a@b,c@d", MalformedPath),
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
        ] {
            assert_eq!(parse(line), Err(error), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn the_next_hop_gets_one_form() {
        for (written, line) in [
            ("MAIL FROM:<a@b>", "MAIL FROM:<a@b>"),
            ("mail from:<a@b> size=1", "mail from:<a@b> size=1"),
            (" mail  from: a@b  SIZE=1\tSMTPUTF8 ", "MAIL FROM:<a@b> SIZE=1 SMTPUTF8"),
            ("RCPT TO: <<a@b.>>", "RCPT TO:<a@b>"),
            ("rset ", "RSET"),
            ("QUIT now", "QUIT"),
            (" noop  a  b ", "noop  a  b"),
            ("\tEHLO\ta b", "EHLO a b"),
            ("VRFY", "VRFY"),
        ] {
            let command = parse(written.as_bytes()).unwrap();
            assert_eq!(for_next_hop(&command, written.as_bytes()), line.as_bytes(), "{written}");
            assert_eq!(parse(line.as_bytes()), Ok(command), "{written}");
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
