//! A result for people: the verdict in a sentence, and a table of what became of each attachment; in colour on a terminal.

use std::io::IsTerminal;

use attachment_seal::manifest::{Entry, LinkChanges, Outcome, Status, TextState};
use attachment_seal::verdict::links::{added_word, defanged, removed_name, removed_word};
use attachment_seal::verdict::report::{is_plain, reason, sentence};
use attachment_seal::verdict::{State, Verdict, Verification};
use bytesize::ByteSize;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use crate::phrase::counted;

/// The result on one message.
pub(super) fn for_people(name: &str, verification: &Verification) -> String {
    with_facts(name, &[], verification)
}

/// The same with what the message says of itself, each fact with its name.
pub(super) fn with_facts(name: &str, told: &[(&str, String)], verification: &Verification) -> String {
    let verdict = verification.verdict().as_str();
    let mut text = format!(
        "{}: {} — {}",
        shown(name),
        paint(verdict, verification.verdict()),
        shown(&sentence(verification))
    );
    for (name, value) in told {
        text.push_str(&format!("\n  {name}: {}", shown(value)));
    }
    let mut facts = Vec::new();
    if let (Some(domain), Some(selector)) = (verification.domain(), verification.selector()) {
        facts.push(format!("sealed by {domain} ({selector})"));
    }
    facts.extend(verification.trust().map(|trust| format!("key {}", trust.as_str())));
    let on_ground = verification.known().filter(|_| verification.verdict() == Verdict::Missing);
    facts.extend(on_ground.map(|ground| format!("known to seal by {}", ground.as_str())));
    facts.extend(reason(verification).filter(|reason| reason.contains("lookup")).map(str::to_owned));
    facts.extend(verification.text().and_then(text_change).map(str::to_owned));
    let retitled = verification.headers().filter(|state| *state == State::Changed);
    facts.extend(retitled.map(|_| "addresses and subject changed".to_owned()));
    if !facts.is_empty() {
        text.push_str(&format!("\n  {}", facts.join(", ")));
    }
    for remark in verification.remarks().iter() {
        text.push_str(&format!("\n  {}", shown(&remark.to_string())));
    }
    for line in verification.links().into_iter().flat_map(links) {
        text.push_str(&format!("\n  {line}"));
    }
    if !verification.attachments().is_empty() {
        text.push('\n');
        text.push_str(&attachments(verification.attachments()));
    }
    text
}

/// Links of each kind that are shown, and characters of a target.
const MAX_LINKS: usize = 20;
const MAX_LINK: usize = 200;

/// What became of the links, a line each.
fn links(links: &LinkChanges) -> Vec<String> {
    let (added, removed) = (added_word(links), removed_word(links));
    let mut lines: Vec<String> = Vec::new();
    let first = links.added.iter().take(MAX_LINKS);
    lines.extend(first.map(|target| format!("link {added}: {}", defanged(target, MAX_LINK))));
    if let more @ 1.. = links.added.len().saturating_sub(MAX_LINKS) + links.more_added {
        lines.push(format!("and {} {added}", counted(more, "more link")));
    }
    let first = links.removed.iter().take(MAX_LINKS);
    lines.extend(first.map(|link| format!("link {removed}: {}", removed_name(link, MAX_LINK))));
    if let more @ 1.. = links.removed.len().saturating_sub(MAX_LINKS) {
        lines.push(format!("and {} {removed}", counted(more, "more link")));
    }
    if !links.sealed_all {
        lines.push("the seal does not list all links that were sent".to_owned());
    }
    if !links.found_all {
        lines.push("the text may hide more links".to_owned());
    }
    lines
}

/// What became of the text, in words; nothing where it is as sealed.
fn text_change(state: TextState) -> Option<&'static str> {
    match state {
        TextState::Intact => None,
        TextState::Appended => Some("text appended to"),
        TextState::Prepended => Some("text put above"),
        TextState::Changed => Some("text changed"),
    }
}

fn attachments(outcomes: &[Outcome]) -> String {
    let mut table = new();
    if table.width().is_some_and(|width| width < MIN_WIDTH) {
        let lines: Vec<String> = outcomes.iter().map(attachment).collect();
        return lines.join("\n");
    }
    table.set_header(["attachment", "fate", "sealed size", "found size", "sealed hash", "found hash"]);
    for outcome in outcomes {
        let (sealed, found) = (outcome.sealed.as_ref(), outcome.found.as_ref());
        table.add_row([
            Cell::new(names(outcome)),
            Cell::new(outcome.status.as_str()).fg(colour(outcome.status)).add_attribute(Attribute::Bold),
            Cell::new(sealed.map(size).unwrap_or_default()),
            Cell::new(found.map(size).unwrap_or_default()),
            Cell::new(sealed.map(short_hash).unwrap_or_default()),
            Cell::new(found.map(short_hash).unwrap_or_default()),
        ]);
    }
    table.to_string()
}

/// An attachment in words, for a terminal that is too narrow for the table.
fn attachment(outcome: &Outcome) -> String {
    let mut text = format!("  {} {}", outcome.status.as_str(), names(outcome));
    let entries = [("sealed", outcome.sealed.as_ref()), ("found", outcome.found.as_ref())];
    for (word, entry) in entries.iter().filter_map(|(word, entry)| Some((word, (*entry)?))) {
        text.push_str(&format!("\n    {word}: {}, {}", size(entry), short_hash(entry)));
    }
    text
}

/// Columns of a table that goes to a file or a pipe.
const WIDTH: u16 = 120;
/// Columns that the table of attachments needs to be readable.
const MIN_WIDTH: u16 = 80;

/// An empty table in the house's dress.
pub(super) fn new() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none_or(|width| width == 0) {
        // Not on a terminal, or on a serial line that tells no width.
        table.set_width(WIDTH);
    }
    table
}

fn names(outcome: &Outcome) -> String {
    let name = |entry: &Entry| {
        let name = if entry.name.is_empty() { "(no name)" } else { &entry.name };
        format!("{} [{}]", shown(name), shown(&entry.media_type))
    };
    match (&outcome.sealed, &outcome.found) {
        (Some(sealed), Some(found)) if outcome.status == Status::Renamed => {
            format!("{} → {}", name(sealed), name(found))
        }
        (Some(entry), _) | (None, Some(entry)) => name(entry),
        (None, None) => String::new(),
    }
}

fn size(entry: &Entry) -> String {
    ByteSize(entry.size).display().iec().to_string()
}

fn short_hash(entry: &Entry) -> String {
    entry.hash.to_hex()[..12].to_owned()
}

fn colour(status: Status) -> Color {
    match status {
        Status::Intact => Color::Green,
        Status::Altered | Status::Added | Status::Removed | Status::Renamed => Color::Red,
    }
}

/// Text from a message, safe for a terminal: a control character could move the cursor over our own words.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { '?' }).collect()
}

/// The verdict's word in the colour of its weight, on a terminal.
pub(super) fn paint(word: &str, verdict: Verdict) -> String {
    let code = match verdict {
        Verdict::Pass => "32",
        Verdict::None | Verdict::Unaligned | Verdict::UnknownKey | Verdict::Expired | Verdict::Temperror => {
            "33"
        }
        Verdict::Fail(_) | Verdict::Ambiguous | Verdict::Missing | Verdict::KeyChanged => "31",
    };
    let in_colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if in_colour { format!("\x1b[1;{code}m{word}\x1b[0m") } else { word.to_owned() }
}
