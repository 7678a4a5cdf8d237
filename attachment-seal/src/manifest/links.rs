//! The link targets of a message's texts as a seal lists them (SPEC.md §6.2), tag `l`, and what became of them.

use std::collections::BTreeSet;

use encodify::base64::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::mime::decode::{Decoder, EIGHT_BIT};
use crate::mime::scan::{
    LinkHash, Links, MAX_COUNTED_LINKS, MAX_LINKS, Scanned, TextScan, canonical_link, link_hash, link_host,
};
use crate::mime::{Digest, Leaf};

/// The links of a sealed message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealedLinks {
    /// Their hashes, at most [`MAX_LINKS`].
    hashes: BTreeSet<LinkHash>,
    /// Where those are not all: how many more were counted.
    more: Option<usize>,
}

/// A list of links that is not of its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a list of links that is not of its form")]
pub struct ParseLinksError;

impl SealedLinks {
    /// The list that a seal made now would hold.
    pub fn of(links: &Links) -> Self {
        let hashes = links.targets.iter().map(|target| link_hash(target)).collect();
        Self { hashes, more: (!links.is_complete()).then_some(links.more.len()) }
    }

    /// Reads the text form: the hashes in ascending order, and `+` with a number where there are more.
    pub fn parse(text: &str) -> Result<Self, ParseLinksError> {
        let mut links = Self::default();
        for item in text.split(',').filter(|_| !text.is_empty()) {
            if links.more.is_some() {
                return Err(ParseLinksError);
            }
            if let Some(digits) = item.strip_prefix('+') {
                let number = digits.parse().ok().filter(|number: &usize| *number <= MAX_COUNTED_LINKS);
                links.more = Some(number.filter(|n| n.to_string() == digits).ok_or(ParseLinksError)?);
                continue;
            }
            let hash = URL_SAFE_NO_PAD.decode(item).ok().and_then(|octets| octets.try_into().ok());
            let hash: LinkHash = hash.ok_or(ParseLinksError)?;
            if links.hashes.last().is_some_and(|last| *last >= hash) || links.hashes.len() == MAX_LINKS {
                return Err(ParseLinksError);
            }
            links.hashes.insert(hash);
        }
        Ok(links)
    }

    /// One text for each item of the list.
    pub fn to_texts(&self) -> Vec<String> {
        let hashes = self.hashes.iter().map(|hash| URL_SAFE_NO_PAD.encode(hash));
        hashes.chain(self.more.map(|number| format!("+{number}"))).collect()
    }
}

/// The links of these texts of a message, as one set.
pub fn links<'a>(message: &[u8], texts: impl Iterator<Item = (&'a Leaf, &'a Digest)>) -> Links {
    let mut links = Links::default();
    let mut decoder = Decoder::default();
    for (leaf, digest) in texts {
        take(&mut links, scan(message, leaf, &mut decoder), digest);
    }
    links
}

/// Looks through a text of a message, its transfer encoding removed.
pub(super) fn scan(message: &[u8], leaf: &Leaf, decoder: &mut Decoder) -> Scanned {
    let mut scan = TextScan::new(&leaf.media_type, leaf.charset.as_deref());
    decoder.decode(&message[leaf.body.clone()], leaf.encoding, &mut |window| scan.update(window));
    scan.finish()
}

/// Takes the links of one more text.
pub(super) fn take(links: &mut Links, scanned: Scanned, digest: &Digest) {
    links.extend(scanned.links);
    // Another reader may see other octets, or other characters.
    let is_damaged = digest.damage.what().is_some_and(|what| what != EIGHT_BIT);
    links.may_hide_some |= scanned.hides_text || is_damaged;
}

/// What became of the links of a text that is not as it was sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkChanges {
    /// The targets that are found, and that the seal does not list; in canonical form, sorted, at most [`MAX_LINKS`].
    pub added: Vec<String>,
    /// How many more there are of these.
    pub more_added: usize,
    /// The targets that the queries of those `added` hold, and that the seal does not list either.
    pub held: Vec<String>,
    /// The links that the seal lists, and that are not found.
    pub removed: Vec<RemovedLink>,
    /// Whether the seal lists all links that were sealed. If not, those `added` may be some of them.
    pub sealed_all: bool,
    /// Whether all links were found. If not, further ones may have been added, and those `removed` may be there.
    pub found_all: bool,
}

/// A link that is not found any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedLink {
    /// Its hash, by which the seal lists it.
    pub hash: LinkHash,
    /// Its target, where an added link holds it, as those of a service do that rewrites links.
    pub target: Option<String>,
}

impl LinkChanges {
    /// Compares the links that were sealed with those that are found.
    pub fn of(sealed: &SealedLinks, found: &Links) -> Self {
        let is_sealed = |hash: &LinkHash| sealed.hashes.contains(hash);
        let hashes: BTreeSet<LinkHash> = found.targets.iter().map(|target| link_hash(target)).collect();
        let is_found = |hash: &LinkHash| hashes.contains(hash) || found.more.contains(hash);
        let added: Vec<String> =
            found.targets.iter().filter(|target| !is_sealed(&link_hash(target))).cloned().collect();
        let mut held: Vec<String> = added.iter().flat_map(|target| held_by(target)).collect();
        held.sort();
        held.dedup();
        let target = |hash| held.iter().find(|target| link_hash(target) == hash).cloned();
        let removed = sealed.hashes.iter().filter(|hash| !is_found(hash));
        let removed: Vec<RemovedLink> =
            removed.map(|&hash| RemovedLink { hash, target: target(hash) }).collect();
        held.retain(|target| !is_sealed(&link_hash(target)));
        Self {
            more_added: found.more.iter().filter(|hash| !is_sealed(hash)).count(),
            sealed_all: sealed.more.is_none(),
            found_all: !found.may_hide_some && found.more.len() < MAX_COUNTED_LINKS,
            added,
            held,
            removed,
        }
    }

    /// Whether there is nothing to tell of.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.more_added == 0 && self.removed.is_empty() && self.found_all
    }

    /// Whether a link was added, or may have been, to any host but those that `is_excepted`. A link to one of those counts
    /// where it holds another one that counts: it may be a redirect.
    pub fn has_added(&self, is_excepted: impl Fn(&str) -> bool) -> bool {
        let counts = |target: &String| !link_host(target).is_some_and(&is_excepted);
        self.more_added > 0 || !self.found_all || self.added.iter().chain(&self.held).any(counts)
    }
}

/// Links in the query of a link, in the query of which there may be links again.
const MAX_LEVELS: usize = 3;

/// The links that a link's query holds as a whole, `?url=https%3A%2F%2Fexample.org%2F`, and those that they hold.
fn held_by(target: &str) -> Vec<String> {
    let mut held = vec![target.to_owned()];
    let mut level = 0..1;
    for _ in 0..MAX_LEVELS {
        let next: Vec<String> = held[level.clone()].iter().flat_map(|target| in_query(target)).collect();
        level = held.len()..held.len() + next.len();
        held.extend(next);
    }
    held.split_off(1)
}

fn in_query(target: &str) -> impl Iterator<Item = String> {
    let values = target.split(['?', '&', '#']).skip(1);
    values.filter_map(|value| {
        let value = value.split_once('=').map_or(value, |(_, value)| value);
        canonical_link(&percent_decode_str(value).decode_utf8().ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(targets: &[&str]) -> Links {
        Links { targets: targets.iter().map(|&target| target.to_owned()).collect(), ..Links::default() }
    }

    fn sealed(targets: &[&str]) -> SealedLinks {
        SealedLinks::of(&found(targets))
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let mut links = found(&["https://a.example/", "https://b.example/"]);
        let read = |links: &Links| SealedLinks::parse(&SealedLinks::of(links).to_texts().join(","));
        assert_eq!(read(&links), Ok(SealedLinks::of(&links)));
        assert_eq!(read(&Links::default()), Ok(SealedLinks::default()));
        links.may_hide_some = true;
        assert_eq!(read(&links), Ok(SealedLinks::of(&links)));
        links.more.insert([7; 16]);
        assert_eq!(read(&links), Ok(SealedLinks::of(&links)));
        let [one, two, more] = SealedLinks::of(&links).to_texts().try_into().unwrap();
        assert_eq!(more, "+1");
        for text in [
            format!("{two},{one}"),
            format!("{one},{one}"),
            format!("{one},"),
            format!(",{one}"),
            format!("{one}A"),
            format!("{one},+"),
            format!("{one},+01"),
            format!("{one},+-1"),
            format!("{one},+10000"),
            format!("+1,{one}"),
            "+1,+1".to_owned(),
            ",".to_owned(),
        ] {
            assert_eq!(SealedLinks::parse(&text), Err(ParseLinksError), "{text}");
        }
        let many: BTreeSet<LinkHash> = (0..=MAX_LINKS as u16)
            .map(|n| std::array::from_fn(|at| if at < 2 { n.to_be_bytes()[at] } else { 0 }))
            .collect();
        let text = SealedLinks { hashes: many, more: None }.to_texts().join(",");
        assert_eq!(SealedLinks::parse(&text), Err(ParseLinksError));
    }

    #[test]
    fn tells_added_from_removed() {
        let changes = LinkChanges::of(&sealed(&["https://a.example/"]), &found(&["https://b.example/"]));
        assert_eq!(changes.added, ["https://b.example/"]);
        let removed = RemovedLink { hash: link_hash("https://a.example/"), target: None };
        assert_eq!(changes.removed, [removed]);
        assert!(changes.sealed_all && changes.found_all && !changes.is_empty());
        assert!(
            LinkChanges::of(&sealed(&["https://a.example/"]), &found(&["https://a.example/"])).is_empty()
        );
    }

    #[test]
    fn names_what_a_rewriting_service_wraps() {
        let wrapped = "https://safe.example/?url=https%3A%2F%2Fbank.example%2Fx%3Fy%3D1&data=05";
        let changes = LinkChanges::of(&sealed(&["https://bank.example/x?y=1"]), &found(&[wrapped]));
        assert_eq!(changes.added, [wrapped]);
        assert_eq!(changes.removed[0].target.as_deref(), Some("https://bank.example/x?y=1"));
    }

    #[test]
    fn a_list_that_is_not_complete_leaves_doubt() {
        let some = SealedLinks { more: Some(3), ..sealed(&["https://a.example/"]) };
        let changes = LinkChanges::of(&some, &found(&["https://b.example/"]));
        assert!(!changes.sealed_all && changes.has_added(|_| false));
        let hiding = Links { may_hide_some: true, ..found(&["https://a.example/"]) };
        let changes = LinkChanges::of(&sealed(&["https://a.example/"]), &hiding);
        assert!(!changes.found_all && !changes.is_empty() && changes.has_added(|_| true));
        let counted = Links { more: [link_hash("https://z.example/")].into(), ..found(&[]) };
        let changes = LinkChanges::of(&sealed(&["https://z.example/"]), &counted);
        assert!(changes.is_empty(), "{changes:?}");
        assert_eq!(LinkChanges::of(&sealed(&[]), &counted).more_added, 1);
    }

    #[test]
    fn excepts_hosts() {
        let changes = LinkChanges::of(&sealed(&[]), &found(&["https://lists.example.org/u"]));
        assert!(changes.has_added(|_| false) && !changes.has_added(|host| host == "lists.example.org"));
        // A redirect on an excepted host is no way out, and a service that rewrites what was sent adds nothing.
        let is_service = |host: &str| host == "safe.example";
        let wraps = |target: &str| {
            let link = format!("https://safe.example/?url={target}&d=1");
            LinkChanges::of(&sealed(&["https://bank.example/"]), &found(&[&link])).has_added(is_service)
        };
        assert!(
            !wraps("https%3A%2F%2Fbank.example%2F") && !wraps("x") && wraps("https%3A%2F%2Fevil.example")
        );
        assert!(wraps("https%3A%2F%2Fsafe.example%2F%3Fu%3Dhttp%253A%252F%252Fevil.example"));
        assert!(!wraps("https%3A%2F%2Fsafe.example%2F%3Fu%3Dhttps%253A%252F%252Fbank.example"));
        let other = found(&["//lists.example.org/u"]);
        assert!(LinkChanges::of(&sealed(&[]), &other).has_added(|_| true));
    }
}
