//! The second view: mail-parser's opinion on the leaves (their number, place, type, encoding and name).
//! It sees only messages that the strict walk found nothing wrong with, and of long bodies only what could hold
//! structure, so that what mishandles it (deep nesting, unbounded allocation) never reaches it.

use std::ops::Range;

use mail_parser::{MessageParser, MessagePart, MimeHeaders, PartType};
use memchr::{memmem, memrchr};
use unicode_normalization::UnicodeNormalization;

use super::leaf::{Encoding, Leaf};
use crate::message::header::is_blank;

/// Bodies up to this long are shown whole.
const SHOWN_WHOLE: usize = 4096;

/// Longest skeleton that is shown, in octets. A message with more than that in headers and lines of dashes is none that
/// programs write, and what cannot be asked is a doubt.
const MAX_SKELETON: usize = 8 << 20;

/// Whether mail-parser finds the leaves that the walk found. Of those that are `covered`, because they are as they were
/// sealed, only the place must be the same.
pub(crate) fn agrees(message: &[u8], leaves: &[Leaf], covered: impl Fn(&Leaf) -> bool) -> bool {
    let Some((skeleton, bodies)) = skeleton(message, leaves) else { return false };
    let Some(parsed) = MessageParser::new().parse(&skeleton) else { return false };
    let parts: Vec<&MessagePart<'_>> =
        parsed.parts.iter().filter(|part| !matches!(part.body, PartType::Multipart(_))).collect();
    parts.len() == leaves.len()
        && parts
            .iter()
            .zip(leaves)
            .zip(&bodies)
            .all(|((part, leaf), body)| is_same(part, leaf, body, &skeleton, covered(leaf)))
}

fn is_same(
    part: &MessagePart<'_>,
    leaf: &Leaf,
    body: &Range<usize>,
    skeleton: &[u8],
    is_covered: bool,
) -> bool {
    let ours = &skeleton[body.clone()];
    let theirs = skeleton.get(part.offset_body as usize..part.offset_end as usize).unwrap_or_default();
    // At the end of a part mail-parser may leave the CR LF in or out.
    let same_place = part.offset_body as usize == body.start && trim_line_end(theirs) == trim_line_end(ours);
    same_place
        && (is_covered
            || is_same_type(part, leaf) && is_same_encoding(part, leaf) && is_same_name(part, leaf))
}

fn is_same_type(part: &MessagePart<'_>, leaf: &Leaf) -> bool {
    match part.content_type() {
        Some(seen) => {
            let seen = format!("{}/{}", seen.ctype(), seen.subtype().unwrap_or_default());
            seen.eq_ignore_ascii_case(&leaf.media_type)
        }
        None => matches!(leaf.media_type.as_str(), "text/plain" | "message/rfc822"),
    }
}

fn is_same_encoding(part: &MessagePart<'_>, leaf: &Leaf) -> bool {
    let ours = match leaf.encoding {
        Encoding::Base64 => mail_parser::Encoding::Base64,
        Encoding::QuotedPrintable => mail_parser::Encoding::QuotedPrintable,
        _ => mail_parser::Encoding::None,
    };
    part.encoding == ours
}

fn is_same_name(part: &MessagePart<'_>, leaf: &Leaf) -> bool {
    let seen: String = part.attachment_name().unwrap_or_default().replace('\t', " ").nfc().collect();
    // A charset that mail-parser does not know, or a character cut in two by RFC 2231 sections, it cannot decode; the
    // walk could, or there would be a doubt already.
    seen == leaf.name || seen.contains(['\u{fffd}', '\u{1b}'])
}

fn trim_line_end(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r\n").unwrap_or(text)
}

/// The message with long bodies cut down, and where each leaf's body stands in it.
fn skeleton(message: &[u8], leaves: &[Leaf]) -> Option<(Vec<u8>, Vec<Range<usize>>)> {
    let mut skeleton = Vec::new();
    let mut bodies = Vec::with_capacity(leaves.len());
    let mut at = 0;
    for leaf in leaves {
        show(&message[at..leaf.body.start], &mut skeleton)?;
        let start = skeleton.len();
        show_body(&message[leaf.body.clone()], leaf, &mut skeleton);
        bodies.push(start..skeleton.len());
        if skeleton.len() > MAX_SKELETON {
            return None;
        }
        at = leaf.body.end;
    }
    show(&message[at..], &mut skeleton)?;
    Some((skeleton, bodies))
}

/// Shows all of `text`, if there is room, without the folds that mail-parser reads no name across: those between
/// `name=` and the quotes, as Exchange writes them.
fn show(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if out.len() + text.len() > MAX_SKELETON {
        return None;
    }
    let mut shown = 0;
    for at in memmem::find_iter(text, b"=\r\n") {
        let (before, behind) = (&text[shown..=at], &text[at + 3..]);
        let blanks = behind.iter().take_while(|&&octet| is_blank(octet)).count();
        let of_a_name = at >= 4 && text[at - 4..at].eq_ignore_ascii_case(b"name");
        if of_a_name && blanks > 0 && behind.get(blanks) == Some(&b'"') {
            out.extend_from_slice(before);
            shown = at + 3 + blanks;
        }
    }
    out.extend_from_slice(&text[shown..]);
    Some(())
}

/// Shows of a body what a reader could find structure in.
fn show_body(body: &[u8], leaf: &Leaf, out: &mut Vec<u8>) {
    if leaf.is_message() {
        // One sealed object; and nested messages are what mail-parser recurses into without a limit.
        return;
    }
    if body.len() <= SHOWN_WHOLE {
        return out.extend_from_slice(body);
    }
    if leaf.encoding == Encoding::Base64 {
        // It decoded without a doubt, so no octet of it can be part of a delimiter. Four symbols are a whole quantum.
        return out.extend(body.iter().filter(|octet| octet.is_ascii_alphanumeric()).take(4));
    }
    // Lines that follow on each other are copied together.
    let mut lines = 0..0;
    for dashes in memmem::find_iter(body, b"--") {
        if dashes < lines.end {
            continue;
        }
        let start = match dashes.checked_sub(1) {
            Some(before) if body[before] != b'\n' => {
                memrchr(b'\n', &body[lines.end..dashes]).map_or(lines.end, |at| lines.end + at + 1)
            }
            _ => dashes,
        };
        if start > lines.end {
            out.extend_from_slice(&body[lines]);
            lines = start..start;
        }
        lines.end = memchr::memchr(b'\n', &body[dashes..]).map_or(body.len(), |at| dashes + at + 1);
        if out.len() + lines.len() > MAX_SKELETON {
            break;
        }
    }
    out.extend_from_slice(&body[lines]);
}
