//! A path as MAIL and RCPT give it, in the forms that a default Postfix takes as well (RFC 5322's, mostly): without
//! brackets, with blanks, comments, a name before the bracket. What comes out is one mailbox, or nothing: a path that
//! could mean two is refused, and a next hop gets every odd form in RFC 5321's, so that it reads no other one.

/// Blanks as Postfix knows them.
pub(crate) fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | 0x0b | 0x0c)
}

/// Where the first word of `text` ends: at a blank that no bracket or quoted string encloses. `None` if one of those has no
/// end.
pub(crate) fn word_end(text: &str) -> Option<usize> {
    let (mut closers, mut escaped) = (Vec::new(), false);
    for (at, octet) in text.bytes().enumerate() {
        match (octet, closers.last()) {
            _ if escaped => escaped = false,
            (b'\\', _) => escaped = true,
            (octet, Some(closer)) if octet == *closer => _ = closers.pop(),
            (b'"', _) => closers.push(b'"'),
            (b'<', None | Some(b'>')) => closers.push(b'>'),
            (octet, None) if is_blank(octet) => return Some(at),
            _ => {}
        }
    }
    (closers.is_empty() && !escaped).then_some(text.len())
}

/// What a path is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// `<`, `>`, `@`, `.`, `,`, `:` or `;`.
    Special(u8),
    /// A quoted string or an address literal, to the letter.
    Enclosed(&'a str),
    /// Anything else, escapes included.
    Atom(&'a str),
    Blank,
}

impl Piece<'_> {
    fn is_special(&self) -> bool {
        matches!(self, Piece::Special(_))
    }

    fn is_enclosed(&self) -> bool {
        matches!(self, Piece::Enclosed(_))
    }

    /// Whether a backslash stands in it, outside quotes.
    fn is_escaped(&self) -> bool {
        matches!(self, Piece::Atom(text) if text.contains('\\'))
    }

    /// Whether it may stand in a name before a bracket.
    fn is_of_name(&self) -> bool {
        match self {
            Piece::Special(octet) => matches!(octet, b'<' | b'.'),
            Piece::Enclosed(text) => text.starts_with('"'),
            Piece::Atom(_) | Piece::Blank => true,
        }
    }

    /// Whether it makes two of a mailbox.
    fn is_divider(&self) -> bool {
        matches!(self, Piece::Special(b'<' | b'>' | b',' | b';'))
    }
}

/// The mailbox of a path, which stands between brackets or without: empty for the null reverse-path. `None` if it is none,
/// or more than one.
pub(crate) fn mailbox(path: &str) -> Option<String> {
    let mut pieces = unwrapped(&pieces(path)?)?;
    if has_gap(&pieces) {
        return None;
    }
    pieces.retain(|piece| *piece != Piece::Blank);
    let (route, mailbox) = split_route(&pieces);
    if route.windows(2).any(|pair| pair[0] == Piece::Special(b'@') && pair[1].is_special()) {
        return None;
    }
    // A comma or a bracket within makes two of it; only those that a source route needs are let through.
    if mailbox.iter().any(Piece::is_divider) {
        return None;
    }
    let has_at = mailbox.contains(&Piece::Special(b'@'));
    let mailbox = match mailbox {
        // The root of all domains has a name, which nobody writes.
        [host @ .., Piece::Atom(_), Piece::Special(b'.')] if has_at => &mailbox[..host.len() + 1],
        [Piece::Enclosed("\"\"")] => &[],
        _ => mailbox,
    };
    Some(written(route) + &with_quotes(mailbox))
}

/// Takes text apart, comments left out (RFC 5322 §3.2.2).
fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'"' => quoted_string(rest)?,
            b'[' => address_literal(rest)?,
            b'(' => comment(rest)?,
            b'<' | b'>' | b'@' | b'.' | b',' | b':' | b';' => 1,
            blank if is_blank(blank) => 1,
            _ => atom(rest)?,
        };
        let (piece, behind) = rest.split_at_checked(length)?;
        pieces.push(match first {
            b'"' | b'[' => Piece::Enclosed(piece),
            b'(' => Piece::Blank,
            b'<' | b'>' | b'@' | b'.' | b',' | b':' | b';' => Piece::Special(first),
            blank if is_blank(blank) => Piece::Blank,
            _ => Piece::Atom(piece),
        });
        rest = behind;
    }
    Some(pieces)
}

/// How long an address literal is.
fn address_literal(text: &str) -> Option<usize> {
    let end = text.find(']')?;
    let is_strange = |octet: u8| is_blank(octet) || b"<>[\"\\".contains(&octet);
    (!text.bytes().take(end).skip(1).any(is_strange)).then_some(end + 1)
}

/// How long a quoted string is.
fn quoted_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|octet| {
        let is_end = !escaped && octet == b'"';
        escaped = !escaped && octet == b'\\';
        is_end
    })?;
    Some(end + 2)
}

/// How long a comment is, with those that it holds.
fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    let end = text.bytes().position(|octet| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    Some(end + 1)
}

/// How long an atom is; a backslash needs something to stand before.
fn atom(text: &str) -> Option<usize> {
    let mut escaped = false;
    let ends = |octet: u8| is_blank(octet) || b"\"[(<>@.,:;".contains(&octet);
    let end = text.bytes().position(|octet| {
        let is_end = !escaped && ends(octet);
        escaped = !escaped && octet == b'\\';
        is_end
    });
    (end.is_some() || !escaped).then_some(end.unwrap_or(text.len()))
}

/// What the brackets enclose, without a name that stands before them. A bracket too many at the end does no harm.
fn unwrapped<'p, 'a>(pieces: &'p [Piece<'a>]) -> Option<Vec<Piece<'a>>> {
    let mut inner: &'p [Piece<'a>] = trimmed(pieces);
    let opened = inner.iter().filter(|piece| **piece == Piece::Special(b'<')).count();
    let (mut closed, mut is_apart) = (0, false);
    while let Some(rest) = inner.strip_suffix(&[Piece::Special(b'>')]) {
        is_apart |= rest.last() == Some(&Piece::Blank);
        inner = trimmed(rest);
        closed += 1;
        if closed > opened && (closed > opened + 1 || is_apart || inner.is_empty()) {
            return None;
        }
    }
    if let Some(open) = inner.iter().rposition(|piece| *piece == Piece::Special(b'<')) {
        if !inner[..open].iter().all(Piece::is_of_name) {
            return None;
        }
        inner = trimmed(&inner[open + 1..]);
    }
    // A group's name and colon (RFC 5322 §3.4) would need another reading.
    if let Some(rest) = inner.strip_suffix(&[Piece::Special(b';')])
        && rest.contains(&Piece::Special(b'@'))
        && !rest.contains(&Piece::Special(b':'))
    {
        inner = trimmed(rest);
    }
    Some(inner.to_vec())
}

fn trimmed<'p, 'a>(mut pieces: &'p [Piece<'a>]) -> &'p [Piece<'a>] {
    while let [Piece::Blank, rest @ ..] | [rest @ .., Piece::Blank] = pieces {
        pieces = rest;
    }
    pieces
}

/// A source route with its colon (RFC 5321 appendix C), and the mailbox behind it.
fn split_route<'p, 'a>(pieces: &'p [Piece<'a>]) -> (&'p [Piece<'a>], &'p [Piece<'a>]) {
    let colon = pieces.iter().position(|piece| *piece == Piece::Special(b':'));
    match (pieces.first(), colon) {
        (Some(Piece::Special(b'@')), Some(colon)) => pieces.split_at(colon + 1),
        _ => pieces.split_at(0),
    }
}

/// Whether a blank stands between two words, which are no one word then.
fn has_gap(pieces: &[Piece<'_>]) -> bool {
    let runs = pieces.split(|piece| *piece == Piece::Blank).filter(|run| !run.is_empty());
    let ends: Vec<_> = runs.map(|run| (run[0], run[run.len() - 1])).collect();
    ends.windows(2).any(|pair| !pair[0].1.is_special() && !pair[1].0.is_special())
}

fn written(pieces: &[Piece<'_>]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Special(octet) => char::from(*octet).to_string(),
            Piece::Enclosed(text) | Piece::Atom(text) => (*text).to_owned(),
            Piece::Blank => " ".to_owned(),
        })
        .collect()
}

/// A local part with backslashes outside quotes, which RFC 5321 knows no more, becomes a quoted string.
fn with_quotes(pieces: &[Piece<'_>]) -> String {
    let local = pieces.iter().rposition(|piece| *piece == Piece::Special(b'@')).unwrap_or(pieces.len());
    let (local, host) = pieces.split_at(local);
    if !local.iter().any(Piece::is_escaped) || local.iter().any(Piece::is_enclosed) {
        return written(local) + &written(host);
    }
    format!("\"{}\"{}", written(local), written(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mailbox_in_every_form() {
        for (path, inner) in [
            ("<a@example.org>", "a@example.org"),
            ("<>", ""),
            ("< >", ""),
            ("\"\"", ""),
            ("a@example.org", "a@example.org"),
            ("< a@example.org\t>", "a@example.org"),
            ("<a @ example . org>", "a@example.org"),
            ("<<a@example.org>>", "a@example.org"),
            ("<a@example.org>>", "a@example.org"),
            ("a@example.org>", "a@example.org"),
            ("x<a@example.org>", "a@example.org"),
            ("\"A. B\"<a@example.org>", "a@example.org"),
            ("<A B <a@example.org>>", "a@example.org"),
            ("<(c)a@example.org>", "a@example.org"),
            ("<a@example.org (c (d)\\))>", "a@example.org"),
            ("(c)<a@example.org>(d)", "a@example.org"),
            ("<a@example.org;>", "a@example.org"),
            ("<a@example.org.>", "a@example.org"),
            ("<a.@example.org>", "a.@example.org"),
            ("<a..b@example.org>", "a..b@example.org"),
            ("<\"a >b\\\"\"@c>", "\"a >b\\\"\"@c"),
            ("<\"a\\\\\"@c>", "\"a\\\\\"@c"),
            ("<a\\ b@example.org>", "\"a\\ b\"@example.org"),
            ("<a\\>b@example.org>", "\"a\\>b\"@example.org"),
            ("<@r.example,@s.example:a@b>", "@r.example,@s.example:a@b"),
            ("<a@[IPv6:::1]>", "a@[IPv6:::1]"),
            ("<mailto:a@b>", "mailto:a@b"),
            ("<j\u{f6}rg@b\u{fc}cher.example>", "j\u{f6}rg@b\u{fc}cher.example"),
            ("<postmaster>", "postmaster"),
        ] {
            assert_eq!(word_end(path).map(|_| mailbox(path)), Some(Some(inner.to_owned())), "{path}");
        }
    }

    #[test]
    fn refuses_what_could_be_two() {
        for path in [
            "<a@b><c@d>",
            "<a@b>,<c@d>",
            "<a@b,c@d>",
            "a@b,c@d",
            "<a@b c@d>",
            "<a b@c>",
            "c@d<a@b>",
            "<a@b>SIZE=10",
            "<a@b>x",
            "<a(b@c>",
            "<a@[b>",
            "<a@[b>]>",
            "<a@[b c]>",
            "<a@b;c@d>",
            "x,y<a@b>",
            "<x:a@b;>",
            "<a;>",
            ">>",
            "a@b>>",
            "x<a@b>()>",
            "<@:a@b>",
        ] {
            assert_eq!(mailbox(path), None, "{path}");
        }
        for path in ["<a@b", "<\"a@b>", "\"a@b", "<a@b\\"] {
            assert_eq!(word_end(path), None, "{path}");
        }
    }

    #[test]
    fn a_word_ends_at_a_blank_in_the_open() {
        for (text, word) in [
            ("<a@b> SIZE=1", "<a@b>"),
            ("<a b> SIZE=1", "<a b>"),
            ("a@b SIZE=1", "a@b"),
            ("\"a b\"@c x", "\"a b\"@c"),
            ("<a \"> \" b> x", "<a \"> \" b>"),
            ("a\\ b c", "a\\ b"),
            ("", ""),
        ] {
            assert_eq!(word_end(text), Some(word.len()), "{text}");
        }
    }
}
