//! The author's domain: what From (RFC 5322 §3.6.2) shows in all mail readers. A seal is aligned with one
//! author or with none.

use super::readers::{Named, readings, sole_domain};
use crate::domain::DomainName;
use crate::message::header::{Field, HeaderSection};

/// Whose message it is, by its From fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// Exactly one From field with exactly one address, in this domain to all readers.
    One(DomainName),
    /// Anything else.
    Unclear(Candidates),
}

/// The domains that some reader might take for the author's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    domains: Vec<DomainName>,
    /// Whether there are others: more than can be looked up, or in a charset that we do not know.
    more: bool,
    /// Places that were looked at.
    places: usize,
}

/// The fields that readers show in From's place where it names nobody, the likeliest first.
const SUBSTITUTES: [&str; 5] = ["Sender", "Resent-From", "Resent-Sender", "Return-Path", "Reply-To"];

/// Different domains of an unclear author that are looked up.
const MAX_DOMAINS: usize = 16;

/// Places at which a domain is looked for in one reading of one From field.
const MAX_PLACES: usize = 4_096;

/// Places in all readings of all of them: however many there are, they are looked through in no time.
const MAX_PLACES_IN_ALL: usize = 4 * MAX_PLACES;

impl Author {
    /// Reads the author off a message's header section, as any reader may.
    pub fn of(header: &HeaderSection<'_>) -> Self {
        if header.disguised_froms.is_empty() {
            return Self::as_written(header);
        }
        Self::unclear(header)
    }

    /// Reads the author off the From fields alone, as a sealing gateway does: it refuses a header section
    /// that is not clean.
    pub fn as_written(header: &HeaderSection<'_>) -> Self {
        let mut froms = header.all("From");
        if let (Some(from), None) = (froms.next(), froms.next())
            && let Some(domain) = sole_domain(&from.unfolded())
        {
            return Author::One(domain);
        }
        Self::unclear(header)
    }

    fn unclear(header: &HeaderSection<'_>) -> Self {
        let mut candidates = Candidates::default();
        let froms = header.all("From").map(Field::unfolded);
        let disguised = header.disguised_froms.iter().map(|value| value.to_vec());
        let substitutes = SUBSTITUTES.iter().flat_map(|name| header.all(name)).map(Field::unfolded);
        for value in froms.chain(disguised).chain(substitutes) {
            let (readings, is_hidden) = readings(&value);
            readings.iter().for_each(|reading| candidates.add(reading));
            candidates.more |= is_hidden;
            if candidates.more {
                break;
            }
        }
        Author::Unclear(candidates)
    }

    /// The domains to look up what is known of: the author's, or all that might be.
    pub fn domains(&self) -> &[DomainName] {
        match self {
            Author::One(domain) => std::slice::from_ref(domain),
            Author::Unclear(candidates) => &candidates.domains,
        }
    }

    /// Whether more domains may be named than can be looked up, which no honest author does.
    pub fn is_crowd(&self) -> bool {
        matches!(self, Author::Unclear(Candidates { more: true, .. }))
    }
}

impl Candidates {
    /// Adds every domain that follows an `@` somewhere in `text`.
    fn add(&mut self, text: &[u8]) {
        for (place, named) in Named::all(text).enumerate() {
            self.places += 1;
            self.more |= place >= MAX_PLACES || self.places > MAX_PLACES_IN_ALL;
            for domain in named.domains {
                match domain {
                    domain if self.domains.contains(&domain) => {}
                    domain if self.domains.len() < MAX_DOMAINS => self.domains.push(domain),
                    _ => self.more = true,
                }
            }
            if self.more {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(froms: &[&str]) -> Author {
        let text: String = froms.iter().map(|from| format!("From: {from}\r\n")).collect();
        Author::of(&HeaderSection::parse(text.as_bytes()))
    }

    #[test]
    fn reads_one_address_as_programs_write_it() {
        for from in [
            "a@example.org",
            "  a@Example.ORG ",
            "Office <a@example.org>",
            "\"Office, the; x@evil.example\" <a@example.org>",
            "=?utf-8?q?B=C3=BCro?= <a@example.org>",
            "a@example.org (Office)",
            "(one) Office (two (three)) <a@example.org> (four)",
            "\"a b\"@example.org",
            "Office <\"a b\"@example.org>",
            "a@example.org <a@example.org>",
            "O. Ffice <a.b+c=d@example.org>",
            "Office\r\n <a@example.org>",
            // Blanks and comments in the brackets.
            "Office < a@example.org >",
            "Office <\ta@example.org>",
            "Office <a@ example.org>",
            "Office <a @ example.org>",
            "Office <(work) a@example.org>",
            "Office <a@example.org (work)>",
            "Office <a(work)@(work)example.org>",
            "a@(x)example.org",
            // Commas, colons, dots and the like without quotes.
            "Office, the <a@example.org>",
            "Office, Inc., the <a@example.org>",
            "Office: the <a@example.org>",
            "Team: a@example.org;",
            "Team: Office <a@example.org>;",
            "Office; the <a@example.org>",
            "Dr. O. Ffice, M.D. <a@example.org>",
            "Office [the] <a@example.org>",
            "Office's <a@example.org>",
            "Office @ home <a@example.org>",
            "Office <a@example.org>;",
            "Office <a@example.org>,",
            "a@example.org;",
            "a@example.org,",
            ", a@example.org",
            // Brackets and quotes in the wrong place.
            "<<a@example.org>>",
            "Office <a@example.org>>",
            "Office <<a@example.org>",
            "Office <a@example.org",
            "Office <'a@example.org'>",
            "Office <\"a@example.org\">",
            "'a@example.org' <a@example.org>",
            "\"a@example.org\" <a@example.org>",
            "\"open <a@example.org>",
            "Office\" <a@example.org>",
            "\\\"Office\\\" <a@example.org>",
            "\"Of\\\"fice\" <a@example.org>",
            "Office (open <a@example.org>",
            "Office a@example.org",
            "<mailto:a@example.org>",
            "<@example.org:a@example.org>",
            // Names in words and characters of any kind.
            "=?utf-8?q?M=C3=BCller=2C_J=C3=B6rg?= <a@example.org>",
            "\"=?utf-8?q?M=C3=BCller=2C_J=C3=B6rg?=\" <a@example.org>",
            "=?utf-8?q?Joerg_=28j=40list=2Eexample=29?= <a@example.org>",
            "=?utf-8?b?QSA8YUBleGFtcGxlLm9yZz4=?= <a@example.org>",
            "=?no-such?q?x?= <a@example.org>",
            "=?iso-2022-jp?B?GyRCQEBEQxsoQg==?= <a@example.org>",
            "\u{1b}$B@>ED\u{1b}(B <a@example.org>",
            "Müller, Jörg <a@example.org>",
            "'Office' via List (x@list.example) <a@example.org>",
        ] {
            assert_eq!(author(&[from]), Author::One("example.org".parse().unwrap()), "{from}");
        }
        for from in ["ü@bücher.example", "B <ü@mail.bücher.example>"] {
            assert!(matches!(author(&[from]), Author::One(_)), "{from}");
        }
        assert_eq!(author(&["root@localhost"]), Author::One("localhost".parse().unwrap()));
        let latin_1 = HeaderSection::parse(b"From: M\xfcller <a@example.org>\r\n");
        assert_eq!(Author::of(&latin_1), Author::One("example.org".parse().unwrap()));
    }

    #[test]
    fn what_readers_disagree_about_is_unclear() {
        for from in [
            "",
            "nobody",
            "<>",
            "a@example.org, b@example.org",
            "a@example.org, Office <a@example.org>",
            "Team: a@example.org, b@example.org;",
            "<a@example.org> <b@example.org>",
            "<@relay.example:a@example.org>",
            "a@evil.example <a@example.org>",
            "a@evil.example, <a@example.org>",
            "a@evil.example: <a@example.org>",
            "<a@example.org> a@evil.example",
            "Office <a@example.org> b@evil.example",
            "<a@example.org> <b@evil.example>",
            "<a@example.org>,<b@evil.example>",
            "<a@evil.example <a@example.org>>",
            "a@evil.example\u{a0}<a@example.org>",
            "a@evil.example\u{200b}.org <a@example.org>",
            "Sales @ evil.example <a@example.org>",
            "a@[192.0.2.1]",
            "a@example.org@evil.example",
            "\"a@evil.example\"@example.org",
            "<\"a@evil.example\"@example.org>",
            "\"a@evil.example\", <a@example.org>",
            "a@evil.example \"<a@example.org>\"",
            "\"<a@evil.example>\" <a@example.org>",
            "a@evil.example (<a@example.org>)",
            "<a@example.org (a@evil.example)>",
            "a@(evil.example)example.org",
            "(a (b) a@evil.example, ) <a@example.org>",
            "(a\\) a@evil.example,) <a@example.org>",
            "(\") \"a@evil.example, \" <a@example.org>",
            "\"a\\\" a@evil.example, \" <a@example.org>",
            "\\\"a@evil.example, \" <a@example.org>",
            "[\"] a@evil.example, [\"] <a@example.org>",
            "=?utf-8?q?\"?= \"a@evil.example, \" <a@example.org>",
            "=?utf-8?q?a=40evil.example=2C?= <a@example.org>",
            "=?utf-8?q?=3Ca=40evil.example=3E?= <a@example.org>",
            "\"=?utf-8?q?=3Ca=40evil.example=3E?=\" <a@example.org>",
            "=?utf-8?q?a=40evil.example?=, <a@example.org>",
            "=?utf-8?b?YUBldmlsLmV4YW1wbGU=?==?utf-8?q?=00?=@example.org",
            "=?utf-7?q?a+AEA-evil.example?=@example.org",
            "<=?utf-8?q?a=40evil.example?=@example.org>",
            "=?utf-8?q?a@evil.example?= <a@example.org>",
            "a@example.org .evil.example",
            "a@example.org. evil.example",
            "a@example(x).org",
            "a@exa mple.org",
            "a@exa\\mple.org",
            "a@\"example\".org",
            "a@example.org\0.evil.example",
            "a@evil.example\0 <a@example.org>",
            "a@example.org..",
            "a@.example.org",
            "ceo@corp <a@example.org>",
        ] {
            assert!(matches!(author(&[from]), Author::Unclear(_)), "{from}");
        }
        assert!(matches!(author(&["a@example.org", "a@example.org"]), Author::Unclear(_)));
        assert_eq!(author(&[]), Author::Unclear(Candidates::default()));
        let many = format!("{} <a@example.org>", "a@example.org ".repeat(100));
        assert!(matches!(author(&[&many]), Author::Unclear(_)));
    }

    /// Readers show Sender where From names nobody.
    #[test]
    fn stands_in_for_a_from_that_names_nobody() {
        for text in [
            "Sender: Office <a@example.org>",
            "From:\r\nSender: a@example.org",
            "From: <>\r\nSENDER : a@example.org",
            "From: nobody\r\nResent-From: a@example.org",
            "From: =?utf-16?b?/v8AaABp?=\r\nReturn-Path: <a@example.org>",
            "From: a@b.example, c@d.example\r\nSender: a@example.org",
        ] {
            let text = format!("{text}\r\n\r\n");
            let found = Author::of(&HeaderSection::parse(text.as_bytes()));
            assert!(matches!(found, Author::Unclear(_)), "{text}");
            assert!(found.domains().contains(&"example.org".parse().unwrap()), "{text}: {found:?}");
        }
        let clear = HeaderSection::parse(b"From: a@b.example\r\nSender: a@example.org\r\n\r\n");
        assert_eq!(Author::of(&clear), Author::One("b.example".parse().unwrap()));
    }

    /// In a charset that we do not know anybody may be hidden.
    #[test]
    fn an_unknown_charset_is_a_crowd() {
        assert!(author(&["=?cp037?q?=81=7C=85?="]).is_crowd());
        assert!(!author(&["=?utf-8?q?hello?="]).is_crowd());
        assert!(!author(&["=?cp037?q?=81=7C=85?= <a@example.org>"]).is_crowd());
    }

    #[test]
    fn an_unclear_author_names_every_candidate() {
        let found = author(&["a@one.example, b@two.example", "c@three.example"]);
        assert_eq!(found.domains().len(), 3);
    }

    /// An address that some reader puts together names its domain as well.
    #[test]
    fn no_disguise_hides_a_domain() {
        for from in [
            "a@example(x).org",
            "a@ example(x).org",
            "a @\r\n example . org",
            "a@\"example\".org",
            "a@exa\\mple.org",
            "a@exam\0ple.org",
            "a@example.org..",
            "a@.example.org",
            "a@EXAMPLE.org@evil.example",
            "<@relay.example:a@example.org>",
            "=?utf-8?q?a=40example.org?=",
            "=?utf-8?b?YUBleGFtcGxlLm9yZw==?=",
            "=?iso-2022-jp?b?YUBleGFtGyhCcGxlLm9yZw==?=",
            "=?iso-2022-jp?q?a=40exam=1B(Jple.org?=",
            "=?utf-16be?q?=00a=00@=00e=00x=00a=00m=00p=00l=00e=00.=00o=00r=00g?=",
            "=?utf-16?b?//5hAEAAZQB4AGEAbQBwAGwAZQAuAG8AcgBnAA==?=",
            "=?utf-7?q?a+AEA-example.org?=",
            "=?utf-8?q?a=EF=BC=A0example.org?=",
            "a@exam\u{1b}(Bple.org",
            "\"a@example.org\"",
            "(a@example.org)",
        ] {
            let found = author(&[from]);
            let example = "example.org".parse().unwrap();
            assert!(found.domains().contains(&example), "{from}: {found:?}");
            assert!(matches!(found, Author::Unclear(_)), "{from}");
        }
        let raw = b"From: a@b\xfccher.example\r\n";
        let found = Author::of(&HeaderSection::parse(raw));
        assert!(found.domains().contains(&"xn--bcher-kva.example".parse().unwrap()), "{found:?}");
    }

    /// A verifying gateway counts it. A sealing gateway reads the real From field only, and refuses such a
    /// header section.
    #[test]
    fn a_disguised_from_is_one_for_readers() {
        let header = HeaderSection::parse(b"From: a@example.org\r\nFr\0om: b@other.example\r\n\r\n");
        assert_eq!(Author::as_written(&header), Author::One("example.org".parse().unwrap()));
        let found = Author::of(&header);
        assert!(matches!(found, Author::Unclear(_)));
        assert_eq!(found.domains().len(), 2);
    }

    #[test]
    fn a_crowd_is_no_author() {
        let decoys = |count: usize| (0..count).map(|n| format!("a@d{n}.example, ")).collect::<String>();
        for (from, crowd) in [
            (decoys(15) + "a@example.org", false),
            (decoys(16) + "a@example.org", true),
            ("a@example.org, ".repeat(4_000), false),
            ("a@, ".repeat(5_000) + "a@example.org", true),
        ] {
            let found = author(&[&from]);
            assert_eq!(found.is_crowd(), crowd, "{} {:?}", from.len(), found.domains().len());
        }
        assert!(author(&[&decoys(12), &decoys(20)]).is_crowd());
        let one = "a@example.org, ".repeat(50);
        assert!(author(&vec![one.as_str(); 1_000]).is_crowd());
    }
}
