//! What became of the sealed leaves (SPEC.md §8 step 10): attachments and texts matched, texts told from what was added to
//! them, and whether a reader shows another branch of a container than was meant.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash as KeyHash;

use super::{Entry, Manifest};
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
    /// Its entry in the seal.
    pub sealed: Option<Entry>,
    /// What the message holds.
    pub found: Option<Entry>,
}

/// What became of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextState {
    /// As sealed.
    Intact,
    /// As sealed, with something below, such as a list's footer.
    Appended,
    /// As sealed, with something above, such as a warning.
    Prepended,
    /// Anything else.
    Changed,
}

impl TextState {
    /// The word that results use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Appended => "appended",
            Self::Prepended => "prepended",
            Self::Changed => "changed",
        }
    }

    /// What is true of two pieces of text together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Intact, state) | (state, Self::Intact) => state,
            (state, other) if state == other => state,
            _ => Self::Changed,
        }
    }
}

/// A leaf of the message at hand.
#[derive(Clone, Debug)]
pub struct Found {
    /// The entry that a seal made now would hold.
    pub entry: Entry,
    /// Whether it is inline or has no disposition.
    pub is_inline: bool,
    /// Of HTML that is offered as a file: its entry as a text, which it may have been at the sender's.
    pub as_text: Option<Entry>,
    /// The sealed leaf of which it is an untouched copy, as an index into the manifest.
    pub untouched: Option<usize>,
}

/// A changed text and what it has of a sealed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Whether the sealed text is its beginning or its end.
    pub state: TextState,
    /// Octets of the canonical text where the sealed one ends, or begins.
    pub at: u64,
}

/// What became of the sealed leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Every attachment: the sealed ones in their order, then the added ones in theirs.
    pub attachments: Vec<Outcome>,
    /// What became of the texts.
    pub text: TextState,
    /// For each found leaf the sealed one that it is, was, or came of.
    pub sealed_for: Vec<Option<usize>>,
    /// For each found text, how it came of its sealed one: intact, grown, or (`None`) not of any.
    pub growth: Vec<Option<Growth>>,
    /// What of the containers makes a reader show something else.
    pub container_changed: Option<&'static str>,
}

impl Comparison {
    /// Every leaf of an untouched message, found as sealed.
    pub fn intact(sealed: &Manifest) -> Self {
        let outcome = |entry: &Entry| Outcome {
            status: Status::Intact,
            sealed: Some(entry.clone()),
            found: Some(entry.clone()),
        };
        Self {
            attachments: sealed.attachments().map(outcome).collect(),
            text: TextState::Intact,
            sealed_for: Vec::new(),
            growth: Vec::new(),
            container_changed: None,
        }
    }

    /// Nothing compared: the message goes beyond a limit.
    pub fn none() -> Self {
        Self { text: TextState::Changed, ..Self::intact(&Manifest::default()) }
    }

    /// Compares what was sealed with what is found. `grown` tells of which of some sealed texts the text found at an index
    /// came, and how.
    pub fn of(
        sealed: &Manifest,
        found: &[Found],
        grown: impl Fn(usize, &[&Entry]) -> Option<(usize, Growth)>,
    ) -> Self {
        let mut pairs = Pairs::of(&sealed.entries, found);
        let growth = pairs.match_texts(grown);
        let (sealed, found) = (pairs.sealed, pairs.found);
        let mut attachments = Vec::new();
        for (at, entry) in sealed.iter().enumerate().filter(|(_, entry)| entry.kind == Kind::Attachment) {
            let partner = pairs.found_for[at].map(|at| &found[at]);
            let status = match partner {
                Some(leaf) if leaf.untouched.is_some() => Status::Intact,
                partner => status(entry, partner.map(|leaf| &leaf.entry)),
            };
            let found = partner.map(|leaf| leaf.entry.clone());
            attachments.push(Outcome { status, sealed: Some(entry.clone()), found });
        }
        let surplus = pairs.surplus_html();
        for (at, leaf) in found.iter().enumerate() {
            let is_shown = leaf.entry.kind == Kind::Text && leaf.is_inline && !surplus.contains(&at);
            if pairs.sealed_for[at].is_none() && !is_shown {
                let found = Some(leaf.entry.clone());
                attachments.push(Outcome { status: Status::Added, sealed: None, found });
            }
        }
        Self {
            text: pairs.text_state(&growth),
            container_changed: pairs.container_changed(),
            attachments,
            sealed_for: pairs.sealed_for,
            growth,
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
        Some(found) if called(found) != called(sealed) => Status::Renamed,
        Some(_) => Status::Intact,
    }
}

/// What a leaf is called, besides its octets.
fn called(entry: &Entry) -> (&str, &str, &str) {
    (&entry.media_type, &entry.parameters, &entry.name)
}

/// Which sealed leaf became which found one, by index into all leaves.
struct Pairs<'a> {
    sealed: &'a [Entry],
    found: &'a [Found],
    found_for: Vec<Option<usize>>,
    sealed_for: Vec<Option<usize>>,
}

impl<'a> Pairs<'a> {
    /// Untouched leaves first; then leaves that are equal in hash, type and name; then attachments by hash, and by name
    /// (nameless ones by type).
    fn of(sealed: &'a [Entry], found: &'a [Found]) -> Self {
        let mut pairs =
            Pairs { sealed, found, found_for: vec![None; sealed.len()], sealed_for: vec![None; found.len()] };
        for (at, leaf) in found.iter().enumerate() {
            if let Some(partner) = leaf.untouched {
                pairs.pair(partner, at);
            }
        }
        pairs.match_by(|leaf| Some(&leaf.entry), |entry| (entry.kind, entry.hash, own(called(entry))));
        pairs.match_by(|leaf| leaf.as_text.as_ref(), |entry| (entry.kind, entry.hash, own(called(entry))));
        let attachment = |leaf: &'a Found| Some(&leaf.entry).filter(|entry| entry.kind == Kind::Attachment);
        pairs.match_by(attachment, |entry| (entry.kind, entry.hash));
        pairs.match_by(attachment, |entry| {
            let is_named = !entry.name.is_empty();
            (entry.kind, is_named, if is_named { entry.name.clone() } else { entry.media_type.clone() })
        });
        pairs
    }

    fn pair(&mut self, sealed: usize, found: usize) {
        self.found_for[sealed] = Some(found);
        self.sealed_for[found] = Some(sealed);
    }

    fn match_by<K: KeyHash + Eq>(
        &mut self,
        entry_of: impl Fn(&'a Found) -> Option<&'a Entry>,
        key: impl Fn(&Entry) -> K,
    ) {
        let mut free: HashMap<K, VecDeque<usize>> = HashMap::new();
        for (at, leaf) in self.found.iter().enumerate() {
            if let (None, Some(entry)) = (self.sealed_for[at], entry_of(leaf)) {
                free.entry(key(entry)).or_default().push_back(at);
            }
        }
        for (at, entry) in self.sealed.iter().enumerate() {
            if self.found_for[at].is_none()
                && let Some(partner) = free.get_mut(&key(entry)).and_then(VecDeque::pop_front)
            {
                self.pair(at, partner);
            }
        }
    }

    /// Finds sealed texts at the beginning or the end of those that are left; what is left after that is paired in order.
    fn match_texts(
        &mut self,
        grown: impl Fn(usize, &[&Entry]) -> Option<(usize, Growth)>,
    ) -> Vec<Option<Growth>> {
        /// Sealed texts that one found text is compared with.
        const CANDIDATES: usize = 4;
        let (sealed, found) = (self.sealed, self.found);
        let whole = |entry: &Entry| Growth { state: TextState::Intact, at: entry.size };
        let is_text = |at: &usize| found[*at].entry.kind == Kind::Text || found[*at].as_text.is_some();
        let mut growth: Vec<Option<Growth>> = (0..found.len())
            .map(|at| self.sealed_for[at].filter(|_| is_text(&at)).map(|sealed_at| whole(&sealed[sealed_at])))
            .collect();
        let left: Vec<usize> = (0..found.len())
            .filter(|&at| self.sealed_for[at].is_none() && found[at].entry.kind == Kind::Text)
            .collect();
        for &at in &left {
            let is_free = |candidate: &usize| {
                let entry = &sealed[*candidate];
                self.found_for[*candidate].is_none()
                    && entry.kind == Kind::Text
                    && entry.size > 0
                    && entry.media_type == found[at].entry.media_type
            };
            let candidates: Vec<usize> = (0..sealed.len()).filter(is_free).take(CANDIDATES).collect();
            let entries: Vec<&Entry> = candidates.iter().map(|&candidate| &sealed[candidate]).collect();
            if let Some((chosen, grown)) = grown(at, &entries) {
                self.pair(candidates[chosen], at);
                growth[at] = Some(grown);
            }
        }
        growth
    }

    /// HTML beyond what was sealed: no relay adds any, and readers show it before all else. The last ones are the added.
    fn surplus_html(&self) -> BTreeSet<usize> {
        let is_html = |entry: &Entry| entry.kind == Kind::Text && entry.media_type == "text/html";
        let is_left = |(at, entry): &(usize, &Entry)| self.found_for[*at].is_none() && is_html(entry);
        let missing = self.sealed.iter().enumerate().filter(is_left).count();
        let is_new = |at: &usize| self.sealed_for[*at].is_none() && is_html(&self.found[*at].entry);
        (0..self.found.len()).filter(is_new).skip(missing).collect()
    }

    /// The state of all texts together: those that are matched, in their order, and those around them.
    fn text_state(&self, growth: &[Option<Growth>]) -> TextState {
        let sealed_texts = self.sealed.iter().enumerate().filter(|(_, entry)| entry.kind == Kind::Text);
        let places: Vec<Option<usize>> = sealed_texts.map(|(at, _)| self.found_for[at]).collect();
        if places.iter().any(Option::is_none) || !places.is_sorted() {
            return TextState::Changed;
        }
        let (first, last) = (places.first().copied().flatten(), places.last().copied().flatten());
        let mut state = TextState::Intact;
        for (at, leaf) in self.found.iter().enumerate() {
            let own = match (growth[at], self.sealed_for[at]) {
                (Some(growth), _) => growth.state,
                (None, Some(_)) => continue,
                (None, None) if leaf.entry.kind != Kind::Text => continue,
                (None, None) if last.is_none_or(|last| at > last) => TextState::Appended,
                (None, None) if first.is_some_and(|first| at < first) => TextState::Prepended,
                (None, None) => TextState::Changed,
            };
            state = state.and(own);
        }
        state
    }

    /// What of the containers makes a reader show something else.
    fn container_changed(&self) -> Option<&'static str> {
        let (sealed, found) = (self.sealed, self.found);
        let moved = |(at, entry): (usize, &Entry)| {
            let partner = self.found_for[at].map(|at| &found[at]);
            // A text may be anywhere, unless it is HTML and offered as a file there.
            partner.is_some_and(|leaf| {
                (entry.kind == Kind::Attachment || leaf.as_text.is_some())
                    && !is_wrapped(&entry.path, &leaf.entry.path)
            })
        };
        if sealed.iter().enumerate().any(moved) {
            return Some("is under other multiparts than when it was sealed");
        }
        changed_alternative(sealed, found, self)
            .then_some("is one of an alternative whose parts were added, removed or moved")
    }
}

fn own((media_type, parameters, name): (&str, &str, &str)) -> (String, String, String) {
    (media_type.to_owned(), parameters.to_owned(), name.to_owned())
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
fn changed_alternative(sealed: &[Entry], found: &[Found], pairs: &Pairs<'_>) -> bool {
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
            let kind = pairs.sealed_for[at].map_or(leaf.entry.kind, |at| sealed[at].kind);
            let who = match kind {
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
        Entry { kind, path, size: content.len() as u64, hash, media_type, parameters: String::new(), name }
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
            .map(|entry| Found { entry: entry.clone(), is_inline: true, as_text: None, untouched: None })
            .collect();
        Comparison::of(&Manifest { entries: sealed.to_vec() }, &found, |_, _| None)
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
        assert!(
            comparison.is_intact()
                && comparison.text == TextState::Appended
                && comparison.container_changed.is_none()
        );
        let html = text("mixed", "<b>", "text/html");
        assert_eq!(fates(&compare(&[body], &[wrapped, html])), ["added"]);
    }

    #[test]
    fn forgives_mixed_levels_around_everything_only() {
        let moved = |from: &str, to: &str| {
            let comparison = compare(&[attachment(from, "one", "a.pdf")], &[attachment(to, "one", "a.pdf")]);
            comparison.container_changed.is_some()
        };
        assert!(!moved("", "mixed") && !moved("mixed", "mixed.mixed") && !moved("related", "mixed.related"));
        assert!(moved("mixed", "alternative") && moved("mixed", "mixed.related") && moved("mixed", ""));
    }

    #[test]
    fn html_stays_where_it_was() {
        let (plain, html) =
            (|path| text(path, "hello", "text/plain"), |path| text(path, "<b>hello", "text/html"));
        let sealed = [plain("alternative"), html("alternative")];
        // What the walk takes for a file, since readers offer it as one, and what is sealed as a text.
        let offered = |entry: Entry| Found {
            as_text: Some(entry.clone()),
            entry: Entry { kind: Kind::Attachment, hash: blake3::hash(b"decoded"), ..entry },
            is_inline: true,
            untouched: None,
        };
        let moved = |found: &[Entry]| {
            let found: Vec<Found> = found
                .iter()
                .enumerate()
                .map(|(at, entry)| {
                    let is_html =
                        at > 0 && entry.media_type == "text/html" && !entry.path.contains("alternative");
                    let plain =
                        Found { entry: entry.clone(), is_inline: true, as_text: None, untouched: None };
                    if is_html { offered(entry.clone()) } else { plain }
                })
                .collect();
            Comparison::of(&Manifest { entries: sealed.to_vec() }, &found, |_, _| None)
                .container_changed
                .is_some()
        };
        assert!(moved(&[plain("mixed"), html("mixed")]) && moved(&[plain("related"), html("related")]));
        assert!(!moved(&[plain("mixed.alternative"), html("mixed.alternative"), plain("mixed")]));
        assert!(!moved(&[plain("")]));
    }

    #[test]
    fn watches_the_branches_of_an_alternative() {
        let path = "mixed.alternative";
        let (plain, card) = (text(path, "come", "text/plain"), attachment(path, "BEGIN:VCALENDAR", ""));
        let sealed = [plain.clone(), card.clone()];
        let changed = |found: &[Entry]| compare(&sealed, found).container_changed.is_some();
        assert!(!changed(&[text(path, "come soon", "text/plain"), card.clone()]));
        assert!(changed(&[card.clone(), plain.clone()]));
        assert!(changed(&[plain.clone(), card.clone(), text(path, "more", "text/plain")]));
        assert!(changed(&[card]));
    }
}
