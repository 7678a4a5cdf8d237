//! What became of the links of a text, in words. Strangers chose the targets: what is shown is short, on one line, and nothing that
//! a program makes clickable.

use super::Verification;
use super::report::is_plain;
use crate::manifest::{LinkChanges, RemovedLink};

/// Targets named in a sentence.
const MAX_NAMED: usize = 3;

/// Characters of a target named in a sentence.
const MAX_TARGET: usize = 60;

/// What became of the links, as one phrase: `1 link added (hxxps[:]//evil[.]example/), 2 links removed`. The added ones come
/// first. `None` where none was added or removed, or nothing is known of them.
pub fn in_words(verification: &Verification) -> Option<String> {
    let links = verification.links.as_ref()?;
    let mut phrases = Vec::new();
    let removed = links.removed.iter().filter_map(|link| link.target.as_deref());
    phrases.extend(counted(links.added.len() + links.more_added, added_word(links), links.added.iter()));
    phrases.extend(counted(links.removed.len(), removed_word(links), removed));
    if !links.sealed_all {
        phrases.push("the seal does not list all links that were sent".to_owned());
    }
    if !links.found_all {
        phrases.push("the text may hide more links".to_owned());
    }
    Some(phrases.join(", "))
}

/// `added`, where that can be told.
pub fn added_word(links: &LinkChanges) -> &'static str {
    if links.sealed_all { "added" } else { "perhaps added" }
}

/// `removed`, where that can be told.
pub fn removed_word(links: &LinkChanges) -> &'static str {
    if links.found_all { "removed" } else { "perhaps removed" }
}

/// How a removed link is called: by its target, or else by its hash, as seals write it.
pub fn removed_name(link: &RemovedLink, max: usize) -> String {
    let hash = || format!("with the hash {}", hex(link));
    link.target.as_ref().map_or_else(hash, |target| defanged(target, max))
}

/// A removed link's hash.
pub fn hex(link: &RemovedLink) -> String {
    link.hash.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn counted(count: usize, what: &str, targets: impl Iterator<Item = impl AsRef<str>>) -> Option<String> {
    let noun = if count == 1 { "link" } else { "links" };
    let named: Vec<String> =
        targets.take(MAX_NAMED).map(|target| defanged(target.as_ref(), MAX_TARGET)).collect();
    let names = if named.is_empty() { String::new() } else { format!(" ({})", named.join(" ")) };
    (count > 0).then(|| format!("{count} {noun} {what}{names}"))
}

/// A target as people may be shown it, of at most `max` characters and three dots: no program makes a link of it, and nothing in
/// it is invisible or turns the direction of text.
pub fn defanged(target: &str, max: usize) -> String {
    let target = target.strip_prefix("http").map_or_else(|| target.to_owned(), |rest| format!("hxxp{rest}"));
    let mut shown = String::new();
    let mut length = 0;
    for character in target.chars() {
        let piece = match character {
            '.' => "[.]".to_owned(),
            ':' => "[:]".to_owned(),
            ' ' => "%20".to_owned(),
            character if is_plain(character) => character.to_string(),
            _ => "?".to_owned(),
        };
        length += piece.chars().count();
        if length > max {
            shown.push_str("...");
            break;
        }
        shown.push_str(&piece);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_that_is_clickable() {
        for (target, max, expected) in [
            ("https://evil.example/a?b", 60, "hxxps[:]//evil[.]example/a?b"),
            ("https://evil.example/", 12, "hxxps[:]//ev..."),
            ("ftp://a.example/x y\u{202e}\r\n", 60, "ftp[:]//a[.]example/x%20y???"),
            ("ms-word:ofe|u|https://a.example", 60, "ms-word[:]ofe|u|https[:]//a[.]example"),
        ] {
            assert_eq!(defanged(target, max), expected);
        }
    }
}
