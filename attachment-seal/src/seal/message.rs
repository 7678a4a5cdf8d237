//! A message to be sealed or checked: its octets, its header section, its body hash.

use std::sync::OnceLock;

use super::format::{FIELD, Seal};
use crate::domain::{DomainName, Selector};
use crate::message::author::Author;
use crate::message::body::{self, ArrivingBody};
use crate::message::header::HeaderSection;

/// Most seals of one message (SPEC.md §8 step 1).
pub const MAX_SEALS: usize = 8;

/// Most policies looked up for one author: of the domain itself, and of the parents nearest to the organisational
/// domain, so that no number of labels hides that one.
const MAX_POLICIES_OF_AUTHOR: usize = 8;

/// Most policies looked up for one message.
const MAX_POLICIES: usize = 32;

/// A message whose header section has been split. Its lines end in CR LF.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    raw: &'a [u8],
    header: HeaderSection<'a>,
    body_hash: OnceLock<blake3::Hash>,
    /// Read when somebody asks, and once: most of what a check needs to know beforehand follows from these two.
    author: OnceLock<Author>,
    seals: OnceLock<Vec<Seal>>,
}

impl<'a> Message<'a> {
    /// Splits the header section off.
    pub fn new(raw: &'a [u8]) -> Self {
        Self {
            raw,
            header: HeaderSection::parse(raw),
            body_hash: OnceLock::new(),
            author: OnceLock::new(),
            seals: OnceLock::new(),
        }
    }

    /// The same, where the body was hashed while it came in.
    pub fn arrived(raw: &'a [u8], body: ArrivingBody) -> Self {
        let message = Self::new(raw);
        let body_hash = body.finish(message.header.body_start).map(OnceLock::from).unwrap_or_default();
        Self { body_hash, ..message }
    }

    /// The same, of which nothing but the header section is here, where the body was hashed while it came in. Checking it
    /// tells whether its body has changed, but if it has, not what became of it. `None` where the body may begin elsewhere
    /// than behind `head`, as it does to us where a bare line end stands before an empty line.
    pub fn without_body(head: &'a [u8], body: ArrivingBody) -> Option<Self> {
        let message = Self::arrived(head, body);
        let ends_here = message.header.has_blank_line && message.header.body_start == head.len();
        (ends_here && message.body_hash.get().is_some()).then_some(message)
    }

    /// All of its octets.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The header section.
    pub fn header(&self) -> &HeaderSection<'a> {
        &self.header
    }

    /// Whose it is, by its From fields.
    pub fn author(&self) -> &Author {
        self.author.get_or_init(|| Author::of(&self.header))
    }

    /// The seals that a check may look at and that are well-formed.
    pub fn seals(&self) -> &[Seal] {
        self.seals.get_or_init(|| {
            let fields = self.header.all(FIELD).take(MAX_SEALS);
            fields.filter_map(|field| Seal::parse(field.value).ok()).collect()
        })
    }

    /// The body hash (SPEC.md §5). Of a long body it takes a while, so that one thread may ask for it while another one
    /// seals the message: it is made once.
    pub fn body_hash(&self) -> blake3::Hash {
        *self.body_hash.get_or_init(|| body::hash(&self.raw[self.header.body_start..]))
    }

    /// The keys whose lookup a check may need: at most one for each of 8 seals.
    pub fn wanted_keys(&self) -> Vec<(DomainName, Selector)> {
        let statements = self.seals().iter().map(|seal| &seal.statement);
        let mut wanted: Vec<(DomainName, Selector)> =
            statements.map(|statement| (statement.domain.clone(), statement.selector.clone())).collect();
        wanted.sort();
        wanted.dedup();
        wanted
    }

    /// The domains whose policy a check may need, at most 32: the author's and its parents, or those of all who might be
    /// the author, and the sealing domains whose root may have delegated.
    pub fn wanted_policies(&self) -> Vec<DomainName> {
        let mut ranked: Vec<(usize, DomainName)> =
            self.author().domains().iter().flat_map(policies_of_author).collect();
        // The organisational domains of all authors before any that is below one.
        ranked.sort();
        ranked.dedup();
        ranked.truncate(MAX_POLICIES - MAX_SEALS);
        let mut wanted: Vec<DomainName> = ranked.into_iter().map(|(_, domain)| domain).collect();
        for statement in self.seals().iter().map(|seal| &seal.statement) {
            if statement.delegation.is_some() && !wanted.contains(&statement.domain) {
                wanted.push(statement.domain.clone());
            }
        }
        wanted
    }

    /// Whom the message names: the author, or all who might be, and whoever sealed it.
    pub fn named(&self) -> impl Iterator<Item = &DomainName> {
        self.author().domains().iter().chain(self.seals().iter().map(|seal| &seal.statement.domain))
    }

    /// The domains of which a check wants to know what is remembered: the author's and the seals', each with its parents.
    pub fn wanted_memories(&self) -> Vec<DomainName> {
        let mut wanted: Vec<DomainName> = self.named().flat_map(|domain| domain.self_and_parents()).collect();
        wanted.sort();
        wanted.dedup();
        wanted
    }
}

/// The domains whose policy speaks for an author, each with how far it is below the organisational domain.
fn policies_of_author(domain: &DomainName) -> Vec<(usize, DomainName)> {
    let mut chain: Vec<DomainName> = domain.self_and_parents().collect();
    let surplus = chain.len().saturating_sub(MAX_POLICIES_OF_AUTHOR);
    chain.drain(1..1 + surplus);
    (0..).zip(chain.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(head: &str) -> Vec<String> {
        Message::new(head.as_bytes()).wanted_policies().iter().map(ToString::to_string).collect()
    }

    /// What is judged by the header section alone must be what the whole message's would be.
    #[test]
    fn is_no_outline_where_the_body_may_begin_elsewhere() {
        for (message, body_hash) in [
            ("From: a@a.example\r\n\r\nbody\r\n", Some("body\r\n")),
            ("From: a@a.example\r\n\r\n", Some("")),
            ("From: a@a.example\r\n", None),
            ("From: a@a.example\nX: y\n\r\nFrom: b@b.example\r\n\r\nbody\r\n", None),
            ("From: a@a.example\r\n\nFrom: b@b.example\r\n\r\nbody\r\n", Some("body\r\n")),
        ] {
            let mut body = ArrivingBody::default();
            body.see(message.as_bytes());
            let end = crate::message::header::EndSearch::default()
                .find(message.as_bytes())
                .unwrap_or(message.len());
            let outline = Message::without_body(&message.as_bytes()[..end], body);
            let body_hash = body_hash.map(|text| body::hash(text.as_bytes()));
            assert_eq!(outline.as_ref().map(Message::body_hash), body_hash, "{message:?}");
            if let Some(outline) = outline {
                let whole = Message::new(message.as_bytes());
                assert_eq!(whole.header().body_start, outline.header().body_start);
                assert_eq!(whole.body_hash(), outline.body_hash());
            }
        }
    }

    /// SPEC.md §10: a domain is known to seal when it, or a parent of it not above the organisational domain, has a
    /// policy that says so.
    #[test]
    fn asks_for_the_policies_up_to_the_organisational_domain() {
        assert_eq!(
            wanted("From: a@x.y.example.co.uk\r\n\r\n"),
            ["example.co.uk", "y.example.co.uk", "x.y.example.co.uk"]
        );
        assert_eq!(wanted("From: a@one.example, b@two.example\r\n\r\n"), ["one.example", "two.example"]);
        assert!(wanted("Subject: nobody\r\n\r\n").is_empty());
    }

    #[test]
    fn no_number_of_labels_or_authors_makes_the_lookups_many() {
        let deep = format!("From: a@{}example.org\r\n\r\n", "x.".repeat(100));
        let asked = wanted(&deep);
        assert_eq!(asked.len(), MAX_POLICIES_OF_AUTHOR);
        assert_eq!(asked[0], "example.org");
        let many: String = (0..40).map(|n| format!("a@a.b.c.d.e.f.g.h.n{n}.example,")).collect();
        let asked = wanted(&format!("From: {many}\r\n\r\n"));
        assert!(asked.len() <= MAX_POLICIES);
        // Each author's organisational domain is among them, however long its public suffix is.
        assert!((0..16).all(|n| asked.contains(&format!("n{n}.example"))), "{asked:?}");
        let hidden: String = (0..15).map(|n| format!("a@a.n{n}.example,")).collect();
        let asked = wanted(&format!("From: {hidden} a@example.co.uk\r\n\r\n"));
        assert!(asked.contains(&"example.co.uk".to_owned()), "{asked:?}");
    }
}
