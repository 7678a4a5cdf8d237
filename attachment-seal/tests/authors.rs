//! Simple mail readers of several kinds, each of which finds the author's address in its own way. Where two of them find
//! addresses in different domains, or one finds another domain than we do, nobody may be the author.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "messages/support.rs"]
mod support;

use attachment_seal::domain::DomainName;
use attachment_seal::message::author::Author;
use attachment_seal::message::header::HeaderSection;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use support::{check, crlf, describe};

/// A piece of what a tokenising reader takes apart.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Text(String),
    Quoted(String),
    Bracketed(String),
    Break,
}

/// How one tokenising reader differs from another.
#[derive(Clone, Copy, Debug)]
struct Tokenizer {
    escapes: bool,
    escapes_outside: bool,
    nests: bool,
    comments: bool,
    literals: bool,
}

impl Tokenizer {
    fn tokens(self, text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().peekable();
        let flush = |plain: &mut String, tokens: &mut Vec<Token>| {
            if !plain.trim().is_empty() {
                tokens.push(Token::Text(plain.trim().to_owned()));
            }
            plain.clear();
        };
        while let Some(c) = chars.next() {
            match c {
                '\\' if self.escapes_outside => plain.extend(chars.next()),
                '"' => {
                    let quoted = self.until(&mut chars, '"', None);
                    if chars.peek() == Some(&'@') {
                        plain.push_str(&quoted);
                    } else {
                        flush(&mut plain, &mut tokens);
                        tokens.push(Token::Quoted(quoted));
                    }
                }
                '(' if self.comments => {
                    flush(&mut plain, &mut tokens);
                    self.until(&mut chars, ')', self.nests.then_some('('));
                }
                '[' if self.literals => {
                    plain.push('[');
                    plain.push_str(&self.until(&mut chars, ']', None));
                    plain.push(']');
                }
                '<' => {
                    flush(&mut plain, &mut tokens);
                    let inside = self.until(&mut chars, '>', None);
                    tokens.push(Token::Bracketed(inside));
                }
                ',' | ';' => {
                    flush(&mut plain, &mut tokens);
                    tokens.push(Token::Break);
                }
                ':' => flush(&mut plain, &mut tokens),
                c => plain.push(c),
            }
        }
        flush(&mut plain, &mut tokens);
        tokens
    }

    fn until(
        self,
        chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
        end: char,
        open: Option<char>,
    ) -> String {
        let (mut text, mut depth) = (String::new(), 0);
        while let Some(c) = chars.next() {
            match c {
                '\\' if self.escapes => text.extend(chars.next()),
                c if Some(c) == open => depth += 1,
                c if c == end && depth == 0 => break,
                c if c == end => depth -= 1,
                c => text.push(c),
            }
        }
        text
    }

    /// The addresses of a list, each mailbox's: what is in brackets, or else a word with an `@`.
    fn addresses(self, text: &str) -> Vec<String> {
        let tokens = self.tokens(text);
        let mailboxes = tokens.split(|token| *token == Token::Break);
        mailboxes
            .filter_map(|mailbox| {
                let bracketed = mailbox.iter().find_map(|token| match token {
                    Token::Bracketed(address) => Some(address.clone()),
                    _ => None,
                });
                let word = || {
                    mailbox.iter().find_map(|token| match token {
                        Token::Text(text) => {
                            text.split_whitespace().find(|word| word.contains('@')).map(str::to_owned)
                        }
                        _ => None,
                    })
                };
                let quoted = || match mailbox {
                    [Token::Quoted(text)] if text.contains('@') => Some(text.clone()),
                    _ => None,
                };
                bracketed.filter(|address| address.contains('@')).or_else(word).or_else(quoted)
            })
            .collect()
    }
}

/// What is in the first, or the last, pair of angle brackets with an `@`, whatever is around it.
fn brackets(text: &str) -> Vec<String> {
    let pieces = text.split('<').skip(1).filter_map(|piece| piece.split('>').next());
    let found: Vec<String> = pieces.filter(|piece| piece.contains('@')).map(str::to_owned).collect();
    found.first().into_iter().chain(found.last()).cloned().collect()
}

/// Encoded-words decoded before anything else is looked at.
fn decoded(text: &str) -> String {
    encodify::rfc2047::decode_text(text.as_bytes(), |_, octets, out| {
        out.push_str(&String::from_utf8_lossy(octets));
    })
    .into_owned()
}

/// The domains of the address that each reader shows, of the first mailbox and of the others.
fn shown(value: &str) -> Vec<DomainName> {
    let flags = |bits: u8| Tokenizer {
        escapes: bits & 1 != 0,
        escapes_outside: bits & 2 != 0,
        nests: bits & 4 != 0,
        comments: bits & 8 != 0,
        literals: bits & 16 != 0,
    };
    let mut addresses: Vec<String> = Vec::new();
    for text in [value.to_owned(), decoded(value), value.split('\0').next().unwrap().to_owned()] {
        addresses.extend(brackets(&text));
        for bits in 0..32 {
            addresses.extend(flags(bits).addresses(&text));
        }
    }
    // Nobody's address: a reader that knows no comments took a piece of one, or of what it is in.
    addresses.retain(|address| !address.contains(['(', ')']));
    let domains = addresses.iter().flat_map(|address| {
        let address = address.trim_matches(['\'', '"', ' ', '<', '>', '\\']);
        let last = address.rsplit('@').next();
        let first = address.split('@').nth(1);
        [last, first].into_iter().flatten().map(str::trim).map(str::to_owned).collect::<Vec<_>>()
    });
    let domains = domains.filter_map(|domain| domain.trim_matches('.').parse::<DomainName>().ok());
    // One label is no domain of anybody's: a reader shows a scrap.
    domains.filter(|domain| domain.label_count() > 1).collect()
}

fn author(value: &str) -> Author {
    let text = format!("From: {value}\r\nDate: x\r\n\r\n");
    Author::of(&HeaderSection::parse(text.as_bytes()))
}

fn value() -> impl Strategy<Value = String> {
    let pieces = select(
        &[
            "a@one.example",
            "b@two.example",
            "<a@one.example>",
            "<b@two.example>",
            "\"a@one.example\"",
            "(b@two.example)",
            "\"",
            "\"",
            "\\",
            "(",
            ")",
            "(",
            ")",
            "<",
            ">",
            ",",
            ";",
            ":",
            "[",
            "]",
            " ",
            " ",
            "@",
            ".",
            "'",
            "one.example",
            "two.example",
            "x",
            "\0",
            "\u{a0}",
            "\u{feff}",
            "=?utf-8?q?a=40one.example?=",
            "=?utf-8?q?=22?=",
            "=?utf-8?b?PGJAdHdvLmV4YW1wbGU+?=",
            "=?utf-8?q?b=40two=2Eexample=2C?=",
            "=?utf-8?q?\"?=",
            "=?utf-8?q?(?=",
        ][..],
    );
    vec(pieces, 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_reader_shows_another_domain_than_the_authors(value in value(), last in select(&["", " <a@one.example>", "@one.example"][..])) {
        let value = value + last;
        if let Author::One(domain) = author(&value) {
            for shown in shown(&value) {
                prop_assert_eq!(&shown, &domain, "{:?}", value);
            }
        }
    }

    /// Nor does one hide among those whose seal is missed.
    #[test]
    fn whom_a_reader_shows_is_looked_up(value in value()) {
        let author = author(&value);
        for shown in shown(&value) {
            prop_assert!(author.is_crowd() || author.domains().contains(&shown), "{:?}: {} {:?}", value, shown, author);
        }
    }
}

/// The simulated readers find what real ones find, so that the properties above mean something.
#[test]
fn the_readers_read() {
    for (value, found) in [
        ("Office <a@one.example>", "one.example"),
        ("a@one.example (Office)", "one.example"),
        ("\"Office, the\" <a@one.example>", "one.example"),
        ("b@two.example, <a@one.example>", "two.example"),
        ("=?utf-8?q?b=40two.example?=, <a@one.example>", "two.example"),
        ("\"a\\\" b@two.example, \" <a@one.example>", "two.example"),
    ] {
        assert!(shown(value).contains(&found.parse().unwrap()), "{value}");
    }
}

/// No verdict that asks nothing of the header section lets a message through whose header section is in doubt.
#[test]
fn unsealed_mail_with_a_strange_header_section() {
    let long = "X: y\n".repeat(300_000);
    let foreign = "From: a@other.example\nDate: x\n\nHello.\n";
    let ours = "From: a@example.org\n\nHello.\n";
    let seal = "Attachment-Seal: v=1; d=third.example\n";
    for (text, expected) in [
        (foreign.to_owned(), "none"),
        (format!(" continues\n{foreign}"), "ambiguous junk-header-line"),
        (format!("\u{feff}{foreign}"), "ambiguous junk-header-line"),
        (format!("␀{foreign}"), "ambiguous junk-header-line"),
        (format!("{long}{foreign}"), "ambiguous header-too-long"),
        (format!("{foreign}{long}").replacen("\n\n", "\n", 1), "ambiguous header-too-long"),
        (format!("From: a@other.example\n{seal}{long}{foreign}"), "ambiguous header-too-long"),
        (format!(" continues\n{ours}"), "missing"),
        (format!("{ours}{long}").replacen("\n\n", "\n", 1), "missing"),
        ("From: \nSender: a@example.org\n\n".to_owned(), "missing"),
        ("Sender: a@example.org\n\n".to_owned(), "missing"),
        ("From: =?iso-2022-jp?b?YUBleGFtGyhCcGxlLm9yZw==?=\n\n".to_owned(), "missing"),
        ("From: =?utf-7?q?a+AEA-example.org?=\n\n".to_owned(), "missing"),
        ("From: =?utf-16be?b?AGEAQABlAHgAYQBtAHAAbABlAC4AbwByAGc=?=\n\n".to_owned(), "missing"),
        ("From: =?cp037?b?gXyF?=\n\n".to_owned(), "ambiguous bad-from"),
        ("From: a@other.example (<a@example.org>)\n\n".to_owned(), "missing"),
        ("\n".to_owned(), "none"),
    ] {
        let found = describe(&check(crlf(&text).as_bytes()));
        assert_eq!(found, expected, "{}", text.chars().take(80).collect::<String>());
    }
}
