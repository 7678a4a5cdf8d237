//! What a judged message is found by. A term is something that people ask for, such as one recipient; a message has several, and a
//! question wants all of its own. The database has hashes of them, so what it finds is compared with the message once more.

use attachment_seal::domain::DomainName;

use super::index::{bare_message_id, plain};
use super::judged::{Judged, JudgedId, Particulars, Question};

/// Messages that are written one after the other and share a number.
pub(super) const STRETCH: i64 = 4_096;
/// Bits of a term's hash; the stretch's number is before it.
const HASH_BITS: u32 = 40;
/// Domains above one by which a message is found; those next below the top.
const MAX_PARENTS: usize = 8;
/// Characters of a Message-ID that count: fewer than are kept, so that one that was cut is found.
const MAX_MESSAGE_ID: usize = 240;

/// A message as it is written down, with what it was read from.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: JudgedId,
    pub(super) judged: Judged,
    pub(super) particulars: Particulars,
}

impl Record {
    /// What is written in a row; `None` where another version wrote it otherwise. It is counted, and that has to do.
    pub(super) fn read(text: &str) -> Option<Self> {
        let judged: Judged = serde_json::from_str(text).ok()?;
        let particulars = serde_json::from_str(text).ok()?;
        Some(Self { id: JudgedId::of(judged.at, text), judged, particulars })
    }

    pub(super) fn terms(&self) -> Vec<String> {
        terms(&self.judged, &self.particulars, &self.id)
    }
}

/// The terms of a message.
pub(super) fn terms(judged: &Judged, particulars: &Particulars, id: &JudgedId) -> Vec<String> {
    let mut terms =
        Terms(vec![format!("#{id}"), format!("v{}", judged.verdict), format!("a{}", judged.done)]);
    if let Some(message_id) = &judged.message_id {
        terms.0.push(message_id_term(message_id));
    }
    let ids =
        [Some(&judged.session), judged.queue_id.as_ref(), judged.arrived_as.as_ref(), judged.held.as_ref()];
    terms.0.extend(ids.into_iter().flatten().map(|id| format!("i{id}")));
    for domain in [&judged.from_domain, &judged.domain].into_iter().flatten() {
        terms.domain('d', domain);
    }
    if let Some(domain) = &judged.from_domain {
        terms.domain('S', domain);
    }
    for sender in particulars.author.iter().chain([&judged.reverse_path]) {
        terms.address('s', 'S', sender);
    }
    for recipient in &particulars.to {
        terms.address('r', 'R', recipient);
    }
    terms.0.sort_unstable();
    terms.0.dedup();
    terms.0
}

/// The terms that a question wants.
fn wanted(question: &Question) -> Vec<String> {
    let mut terms = Vec::new();
    terms.extend(question.message_id.as_deref().map(message_id_term));
    terms.extend(question.queue_id.as_ref().map(|id| format!("i{id}")));
    terms.extend(question.domain.as_deref().map(|domain| format!("d{}", asked_domain(domain))));
    terms.extend(question.verdict.as_ref().map(|verdict| format!("v{verdict}")));
    terms.extend(question.done.as_ref().map(|done| format!("a{done}")));
    let mut address = |text: &Option<String>, whole, domain| {
        terms.extend(text.as_deref().map(str::trim).map(|text| match text.contains('@') {
            true => format!("{whole}{}", text.to_lowercase()),
            false => format!("{domain}{}", asked_domain(text)),
        }));
    };
    address(&question.sender, 's', 'S');
    address(&question.recipient, 'r', 'R');
    terms
}

/// A domain in the form in which messages have it: without a dot at either end, and in ASCII.
fn asked_domain(text: &str) -> String {
    let text = text.trim().trim_matches('.');
    text.parse::<DomainName>().map_or_else(|_| text.to_lowercase(), |domain| domain.to_string())
}

fn message_id_term(text: &str) -> String {
    let bare = bare_message_id(text);
    // One that was cut has no bracket at its end.
    let bare = bare.trim_start_matches('<').trim_end_matches('>');
    format!("m{}", bare.chars().take(MAX_MESSAGE_ID).collect::<String>())
}

struct Terms(Vec<String>);

impl Terms {
    fn address(&mut self, whole: char, domain: char, address: &str) {
        if let Some((_, of)) = address.rsplit_once('@') {
            self.0.push(format!("{whole}{}", address.to_lowercase()));
            self.domain(domain, of);
        }
    }

    /// A domain and those above it.
    fn domain(&mut self, kind: char, domain: &str) {
        let domain = asked_domain(domain);
        let places = domain.char_indices().rev().filter(|(_, c)| *c == '.');
        let above = places.take(MAX_PARENTS).map(|(at, _)| format!("{kind}{}", &domain[at + 1..]));
        self.0.extend(above);
        self.0.push(format!("{kind}{domain}"));
    }
}

/// The part of a term's number that is the same in each stretch.
pub(super) fn hash(term: &str) -> i64 {
    let hash = blake3::hash(plain(term).as_bytes());
    let octets = hash.as_bytes().iter().take((HASH_BITS / 8) as usize);
    octets.fold(0, |number, octet| number << 8 | i64::from(*octet))
}

/// The number of a term in a stretch.
pub(super) fn number(stretch: i64, hash: i64) -> i64 {
    stretch << HASH_BITS | hash
}

/// Which messages are looked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    terms: Vec<String>,
    pub(super) hashes: Vec<i64>,
    pub(super) from: i64,
    /// Judged before.
    pub(super) until: i64,
}

impl Wanted {
    pub(super) fn by(question: &Question) -> Self {
        let whole = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        Self::of(wanted(question), whole(question.from), question.until.map_or(i64::MAX, whole))
    }

    /// One message.
    pub(super) fn one(id: &JudgedId) -> Self {
        Self::of(vec![format!("#{id}")], 0, i64::MAX)
    }

    fn of(terms: Vec<String>, from: i64, until: i64) -> Self {
        let hashes = terms.iter().map(|term| hash(term)).collect();
        Self { terms, hashes, from, until }
    }

    /// Whether a message that was found by hashes is one that is wanted.
    pub(super) fn is(&self, record: &Record) -> bool {
        let terms = if self.terms.is_empty() { Vec::new() } else { record.terms() };
        self.terms.iter().all(|wanted| terms.contains(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_found_by_those_above_it() {
        let mut terms = Terms(Vec::new());
        terms.address('s', 'S', "A@Mail.Example.ORG");
        assert_eq!(terms.0, ["sa@mail.example.org", "Sorg", "Sexample.org", "Smail.example.org"]);
        let mut terms = Terms(Vec::new());
        terms.domain('d', &"a.".repeat(100));
        assert_eq!(terms.0.len(), MAX_PARENTS + 1);
    }

    #[test]
    fn a_message_id_is_found_with_brackets_and_without_and_where_it_was_cut() {
        let long = "x".repeat(400);
        let cut: String = format!("<{long}>").chars().take(super::super::MAX_TEXT).collect();
        for (kept, asked) in [("<1@a>", "1@a"), ("1@a", " <1@a> "), (cut.as_str(), long.as_str())] {
            assert_eq!(message_id_term(kept), message_id_term(asked), "{asked}");
        }
        assert_ne!(message_id_term("<1@a>"), message_id_term("<1@A>"));
    }

    #[test]
    fn terms_of_two_stretches_differ_and_are_in_order() {
        let hash = hash("vpass");
        assert!(hash < 1 << HASH_BITS);
        assert!(number(1, 0) <= number(1, hash) && number(1, hash) < number(2, 0));
    }
}
