//! What became of the sealed leaves (SPEC.md §8 step 10): attachments matched and judged, texts told from what was added, and
//! the doubts that only the comparison raises.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash as KeyHash;

use super::{Entry, Found, Manifest};
use crate::doubt::{Doubt, Doubts};
use crate::mime::Kind;

/// What happened to one attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Byte for byte as sealed, under its name and type.
    Intact,
    /// Other bytes under a sealed name.
    Altered,
    /// Not sealed.
    Added,
    /// Sealed, and gone.
    Removed,
    /// The sealed bytes under another name or type.
    Renamed,
}

impl Status {
    /// The word that results use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Altered => "altered",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Renamed => "renamed",
        }
    }
}

/// One attachment, sealed, found or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What happened to it.
    pub status: Status,
    /// What the seal says of it.
    pub sealed: Option<Entry>,
    /// What the message holds.
    pub found: Option<Entry>,
}

/// What became of the sealed leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Every attachment: the sealed ones in their order, then the added ones in theirs.
    pub attachments: Vec<Outcome>,
    /// Whether every text is as sealed.
    pub text_is_intact: bool,
    /// Doubts that only the comparison raises.
    pub doubts: Doubts,
}

impl Comparison {
    /// Every attachment of an untouched message, found as sealed.
    pub fn intact(sealed: &Manifest) -> Self {
        let outcome = |entry: &Entry| Outcome {
            status: Status::Intact,
            sealed: Some(entry.clone()),
            found: Some(entry.clone()),
        };
        Self {
            attachments: sealed.attachments().map(outcome).collect(),
            text_is_intact: true,
            doubts: Doubts::NONE,
        }
    }

    /// Compares what was sealed with what is found (SPEC.md §8 step 10).
    pub fn of(sealed: &Manifest, found: &[Found]) -> Self {
        let texts = Texts::of(sealed, found);
        let (sealed_leaves, found_leaves) = (&sealed.entries, found);
        let pairs = pair_attachments(sealed_leaves, found_leaves, &texts);
        let mut attachments: Vec<Outcome> = Vec::new();
        for (at, entry) in
            sealed_leaves.iter().enumerate().filter(|(_, entry)| entry.kind == Kind::Attachment)
        {
            let partner = pairs.found_for[at].map(|at| found_leaves[at].entry.clone());
            attachments.push(Outcome {
                status: status(entry, partner.as_ref()),
                sealed: Some(entry.clone()),
                found: partner,
            });
        }
        for (at, leaf) in found_leaves.iter().enumerate() {
            if texts.counts_as_attachment(at, leaf) && pairs.sealed_for[at].is_none() {
                attachments.push(Outcome {
                    status: Status::Added,
                    sealed: None,
                    found: Some(leaf.entry.clone()),
                });
            }
        }
        Self {
            attachments,
            text_is_intact: texts.are_intact,
            doubts: doubts(sealed_leaves, found_leaves, &pairs, &texts),
        }
    }

    /// Whether every attachment is as it was sealed.
    pub fn is_intact(&self) -> bool {
        self.attachments.iter().all(|outcome| outcome.status == Status::Intact)
    }
}

fn status(sealed: &Entry, found: Option<&Entry>) -> Status {
    match found {
        None => Status::Removed,
        Some(found) if found.hash != sealed.hash => Status::Altered,
        Some(found) if found.name != sealed.name || found.media_type != sealed.media_type => Status::Renamed,
        Some(_) => Status::Intact,
    }
}

/// The text leaves: which are as sealed, and which are none that a relay may add.
struct Texts {
    are_intact: bool,
    /// Found texts that are sealed ones.
    known: Vec<bool>,
    /// Found texts that count as added attachments.
    as_attachments: Vec<bool>,
}

impl Texts {
    fn of(sealed: &Manifest, found: &[Found]) -> Self {
        let is_text = |entry: &Entry| entry.kind == Kind::Text;
        let content = |entry: &Entry| (entry.hash, entry.media_type.clone());
        let sealed_texts: Vec<_> =
            sealed.entries.iter().filter(|entry| is_text(entry)).map(content).collect();
        let found_texts = found.iter().map(|leaf| &leaf.entry).filter(|entry| is_text(entry)).map(content);
        let are_intact = found_texts.eq(sealed_texts.iter().cloned());
        // A sealed text is known as often as it was sealed; one copy more was added.
        let mut left = sealed_texts.clone();
        let mut take = |leaf: &Found| {
            let at = left.iter().position(|text| is_text(&leaf.entry) && *text == content(&leaf.entry));
            at.map(|at| left.swap_remove(at)).is_some()
        };
        let known: Vec<bool> = found.iter().map(&mut take).collect();
        let mut texts = Self { are_intact, as_attachments: vec![false; found.len()], known };
        texts.find_added(&sealed_texts, found);
        texts
    }

    /// A relay may add plain text that is shown in line; more HTML than was sealed is offered as a file.
    fn find_added(&mut self, sealed: &[(blake3::Hash, String)], found: &[Found]) {
        let is_html = |leaf: &Found| leaf.entry.kind == Kind::Text && leaf.entry.media_type == "text/html";
        let sealed_html = sealed.iter().filter(|(_, media_type)| media_type == "text/html").count();
        let mut surplus = found.iter().filter(|leaf| is_html(leaf)).count().saturating_sub(sealed_html);
        for (at, leaf) in found.iter().enumerate().rev() {
            if is_html(leaf) && surplus > 0 && !self.known[at] {
                self.as_attachments[at] = true;
                surplus -= 1;
            }
            if leaf.entry.kind == Kind::Text && !leaf.is_inline && !self.known[at] {
                self.as_attachments[at] = true;
            }
        }
    }

    fn counts_as_attachment(&self, at: usize, leaf: &Found) -> bool {
        leaf.entry.kind == Kind::Attachment || self.as_attachments[at]
    }
}

/// Which sealed attachment became which found one, by index into all leaves.
struct Pairs {
    found_for: Vec<Option<usize>>,
    sealed_for: Vec<Option<usize>>,
}

/// Matches attachments where hash, type and name are equal, then by hash, then by name (nameless ones by type).
fn pair_attachments(sealed: &[Entry], found: &[Found], texts: &Texts) -> Pairs {
    let mut pairs = Pairs { found_for: vec![None; sealed.len()], sealed_for: vec![None; found.len()] };
    pairs.match_by(sealed, found, texts, |entry| (entry.hash, entry.media_type.clone(), entry.name.clone()));
    pairs.match_by(sealed, found, texts, |entry| entry.hash);
    pairs.match_by(sealed, found, texts, |entry| {
        if entry.name.is_empty() { (true, entry.media_type.clone()) } else { (false, entry.name.clone()) }
    });
    pairs
}

impl Pairs {
    fn match_by<K: KeyHash + Eq>(
        &mut self,
        sealed: &[Entry],
        found: &[Found],
        texts: &Texts,
        key: impl Fn(&Entry) -> K,
    ) {
        let mut free: HashMap<K, VecDeque<usize>> = HashMap::new();
        for (at, leaf) in found.iter().enumerate() {
            let is_text_made_attachment = texts.as_attachments[at];
            if leaf.entry.kind == Kind::Attachment
                && !is_text_made_attachment
                && self.sealed_for[at].is_none()
            {
                free.entry(key(&leaf.entry)).or_default().push_back(at);
            }
        }
        for (at, entry) in sealed.iter().enumerate() {
            if entry.kind == Kind::Attachment
                && self.found_for[at].is_none()
                && let Some(partner) = free.get_mut(&key(entry)).and_then(VecDeque::pop_front)
            {
                self.found_for[at] = Some(partner);
                self.sealed_for[partner] = Some(at);
            }
        }
    }
}

fn doubts(sealed: &[Entry], found: &[Found], pairs: &Pairs, texts: &Texts) -> Doubts {
    let mut doubts = Doubts::NONE;
    for (at, leaf) in found.iter().enumerate() {
        let is_sealed =
            texts.known[at] || pairs.sealed_for[at].is_some_and(|at| sealed[at].hash == leaf.entry.hash);
        for doubt in leaf.doubts.iter() {
            // Undeclared 8-bit is a habit of honest programs; where the hash is a sealed one it did no harm.
            doubts.insert_if(doubt != Doubt::EightBit || !is_sealed, doubt);
        }
        doubts.insert_if(leaf.embeds_file && !texts.known[at], Doubt::EmbeddedFile);
    }
    let moved = |(at, entry): (usize, &Entry)| {
        pairs.found_for[at].is_some_and(|at| !is_wrapped(&entry.path, &found[at].entry.path))
    };
    let alternative_changed = || changed_alternative(sealed, found, pairs);
    let changed = sealed.iter().enumerate().any(moved) || alternative_changed() || moved_html(sealed, found);
    doubts.insert_if(changed, Doubt::ContainerChanged);
    doubts
}

/// Whether HTML behind the first leaf stands where none was sealed: taken out of its alternative, it is offered as a
/// file. Surplus HTML is not counted again.
fn moved_html(sealed: &[Entry], found: &[Found]) -> bool {
    let is_html = |entry: &Entry| entry.kind == Kind::Text && entry.media_type == "text/html";
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut surplus = found.iter().filter(|leaf| is_html(&leaf.entry)).count();
    for entry in sealed.iter().filter(|entry| is_html(entry)) {
        *places.entry(&entry.path).or_default() += 1;
        surplus = surplus.saturating_sub(1);
    }
    let mut is_placed = |entry: &Entry| {
        unwrapped(&entry.path).any(|path| match places.get_mut(path) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        })
    };
    let html = found.iter().map(|leaf| &leaf.entry).enumerate().filter(|(_, entry)| is_html(entry));
    surplus == 0 && html.filter(|(at, entry)| !is_placed(entry) && *at > 0).count() > 0
}

/// Whether `found` is `sealed` with nothing but `mixed` levels around it, as lists put there.
fn is_wrapped(sealed: &str, found: &str) -> bool {
    unwrapped(found).any(|path| path == sealed)
}

/// `path`, and what is left of it as outer `mixed` levels are taken away.
fn unwrapped(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match *path {
        "mixed" => Some(""),
        path => path.strip_prefix("mixed."),
    })
}

/// Whether, below an alternative that holds a sealed attachment, a leaf was added, removed or moved: a reader shows one
/// branch only.
fn changed_alternative(sealed: &[Entry], found: &[Found], pairs: &Pairs) -> bool {
    let prefixes: BTreeSet<&str> = sealed
        .iter()
        .filter(|entry| entry.kind == Kind::Attachment)
        .filter_map(|entry| alternative_prefix(&entry.path))
        .collect();
    prefixes.into_iter().any(|prefix| {
        let below = |path: &str| {
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('.')).then(|| rest.to_owned())
        };
        // The `mixed` levels put around all are those put around one of its attachments.
        let anchor = sealed.iter().enumerate().find_map(|(at, entry)| {
            let is_below = entry.kind == Kind::Attachment && below(&entry.path).is_some();
            is_below.then(|| found[pairs.found_for[at]?].entry.path.strip_suffix(entry.path.as_str()))
        });
        let Some(Some(wrapper)) = anchor else { return true };
        let sealed_below = sealed.iter().enumerate().filter_map(|(at, entry)| {
            let who = if entry.kind == Kind::Attachment {
                Below::Attachment(Some(at))
            } else {
                Below::Text(&entry.media_type)
            };
            Some((below(&entry.path)?, who))
        });
        let found_below = found.iter().enumerate().filter_map(|(at, leaf)| {
            let who = match leaf.entry.kind {
                Kind::Attachment => Below::Attachment(pairs.sealed_for[at]),
                Kind::Text => Below::Text(&leaf.entry.media_type),
            };
            Some((below(leaf.entry.path.strip_prefix(wrapper)?)?, who))
        });
        !sealed_below.eq(found_below)
    })
}

/// A leaf below an alternative: a text by its type (its words may change), an attachment by which sealed one it is.
#[derive(PartialEq, Eq)]
enum Below<'a> {
    Text(&'a str),
    Attachment(Option<usize>),
}

/// The path down to and with its outermost alternative.
fn alternative_prefix(path: &str) -> Option<&str> {
    let mut end = 0;
    for subtype in path.split('.') {
        end += subtype.len();
        if subtype == "alternative" {
            return Some(&path[..end]);
        }
        end += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, path: &str, content: &str, media_type: &str, name: &str) -> Entry {
        let hash = blake3::hash(content.as_bytes());
        let (path, media_type, name) = (path.to_owned(), media_type.to_owned(), name.to_owned());
        Entry { kind, path, size: content.len() as u64, hash, media_type, name }
    }

    fn attachment(path: &str, content: &str, name: &str) -> Entry {
        entry(Kind::Attachment, path, content, "application/pdf", name)
    }

    fn text(path: &str, content: &str, media_type: &str) -> Entry {
        entry(Kind::Text, path, content, media_type, "")
    }

    fn compare(sealed: &[Entry], found: &[Entry]) -> Comparison {
        let found: Vec<Found> = found
            .iter()
            .map(|entry| Found {
                entry: entry.clone(),
                is_inline: true,
                doubts: Doubts::NONE,
                embeds_file: false,
            })
            .collect();
        Comparison::of(&Manifest { entries: sealed.to_vec() }, &found)
    }

    fn fates(comparison: &Comparison) -> Vec<&'static str> {
        comparison.attachments.iter().map(|outcome| outcome.status.as_str()).collect()
    }

    #[test]
    fn matches_by_all_then_by_hash_then_by_name() {
        let (a, b) = (attachment("mixed", "one", "a.pdf"), attachment("mixed", "two", "b.pdf"));
        assert_eq!(fates(&compare(&[a.clone(), b.clone()], &[b.clone(), a.clone()])), ["intact", "intact"]);
        let renamed = attachment("mixed", "one", "a.exe");
        assert_eq!(fates(&compare(std::slice::from_ref(&a), &[renamed])), ["renamed"]);
        let altered = attachment("mixed", "other", "a.pdf");
        assert_eq!(fates(&compare(&[a.clone(), b.clone()], &[altered, b])), ["altered", "intact"]);
        assert_eq!(fates(&compare(std::slice::from_ref(&a), &[])), ["removed"]);
        assert_eq!(fates(&compare(&[], std::slice::from_ref(&a))), ["added"]);
        assert_eq!(fates(&compare(std::slice::from_ref(&a), &[a.clone(), a.clone()])), ["intact", "added"]);
    }

    #[test]
    fn a_relay_may_add_plain_text_and_no_html() {
        let body = text("", "hello", "text/plain");
        let footer = text("mixed", "footer", "text/plain");
        let wrapped = text("mixed", "hello", "text/plain");
        let comparison = compare(std::slice::from_ref(&body), &[wrapped.clone(), footer]);
        assert!(comparison.is_intact() && !comparison.text_is_intact && comparison.doubts.is_empty());
        let html = text("mixed", "<b>", "text/html");
        assert_eq!(fates(&compare(&[body], &[wrapped, html])), ["added"]);
    }

    #[test]
    fn forgives_mixed_levels_around_everything_only() {
        let moved = |from: &str, to: &str| {
            let comparison = compare(&[attachment(from, "one", "a.pdf")], &[attachment(to, "one", "a.pdf")]);
            comparison.doubts.contains(Doubt::ContainerChanged)
        };
        assert!(!moved("", "mixed") && !moved("mixed", "mixed.mixed") && !moved("related", "mixed.related"));
        assert!(moved("mixed", "alternative") && moved("mixed", "mixed.related") && moved("mixed", ""));
    }

    #[test]
    fn html_stays_where_it_was() {
        let (plain, html) =
            (|path| text(path, "hello", "text/plain"), |path| text(path, "<b>hello", "text/html"));
        let sealed = [plain("alternative"), html("alternative")];
        let moved = |found: &[Entry]| compare(&sealed, found).doubts.contains(Doubt::ContainerChanged);
        assert!(moved(&[plain("mixed"), html("mixed")]) && moved(&[plain("related"), html("related")]));
        assert!(moved(&[plain("alternative"), html("alternative.mixed")]));
        assert!(!moved(&[plain("mixed.alternative"), html("mixed.alternative"), plain("mixed")]));
        // A list may keep one branch: what comes first is shown, and offered by no reader.
        assert!(!moved(&[html("")]) && !moved(&[html("mixed"), plain("mixed")]));
        assert!(!moved(&[plain("")]));
    }

    #[test]
    fn watches_the_branches_of_an_alternative() {
        let path = "mixed.alternative";
        let (plain, card) = (text(path, "come", "text/plain"), attachment(path, "BEGIN:VCALENDAR", ""));
        let sealed = [plain.clone(), card.clone()];
        let changed = |found: &[Entry]| compare(&sealed, found).doubts.contains(Doubt::ContainerChanged);
        assert!(!changed(&[text(path, "come soon", "text/plain"), card.clone()]));
        assert!(changed(&[card.clone(), plain.clone()]));
        assert!(changed(&[plain.clone(), card.clone(), text(path, "more", "text/plain")]));
        assert!(changed(&[card]));
    }
}
