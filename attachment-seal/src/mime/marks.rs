//! Marks (SPEC.md §6.1): two hashes a part, by which it is found again as it was sent, however oddly it was written.

use super::digest::Digest;
use super::walk::{Entity, Structure};
use crate::message::header::{HeaderSection, first_line, is_blank, trim_blanks, trim_blanks_end};
use crate::message::line_ends;

/// What tells that a part is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of its fields, Content-Transfer-Encoding aside; of the message, of its `Content-*` fields.
    pub fields: blake3::Hash,
    /// Of its Content-Transfer-Encoding and of its body, octet for octet.
    pub body: blake3::Hash,
}

/// The marks of all parts of a message whose leaves have these digests.
pub fn marks(
    message: &[u8],
    header: &HeaderSection<'_>,
    structure: &Structure,
    digests: &[Digest],
) -> Vec<Mark> {
    let entities = &structure.entities;
    let forms: Vec<(usize, blake3::Hash)> =
        structure.leaves.iter().zip(digests).map(|(leaf, digest)| (leaf.entity, digest.form)).collect();
    let mut leaf = forms.iter().rev().peekable();
    let mut marks = vec![Mark { fields: blake3::hash(b""), body: blake3::hash(b"") }; entities.len()];
    // From the last to the first: what a container holds comes before it.
    for (at, entity) in entities.iter().enumerate().rev() {
        let form = match &entity.container {
            None => {
                leaf.next_if(|(owner, _)| *owner == at).map_or_else(|| blake3::hash(b""), |(_, form)| *form)
            }
            Some(container) => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(b"parts\n");
                for (number, gap) in container.gaps.iter().enumerate() {
                    let is_last = number == container.parts.len();
                    let gap = &message[gap.clone()];
                    hasher.update(
                        blake3::hash(if is_last { without_empty_lines_at_end(gap) } else { gap }).as_bytes(),
                    );
                    if let Some(&part) = container.parts.get(number) {
                        hasher.update(marks[part].fields.as_bytes()).update(marks[part].body.as_bytes());
                    }
                }
                hasher.finalize()
            }
        };
        let section = &message[entity.header.clone()];
        let fields = if at == 0 { header.content_hash() } else { part_fields(section, entity) };
        marks[at] = Mark { fields, body: body(section, &form) };
    }
    marks
}

/// The mark of a body in this form, in the encoding that its header section names.
pub(crate) fn body(section: &[u8], form: &blake3::Hash) -> blake3::Hash {
    encoded(&encoding(section), form)
}

/// The same in the encoding of this word, or in none.
pub(crate) fn body_encoded(word: &str, form: &blake3::Hash) -> blake3::Hash {
    encoded(word.as_bytes(), form)
}

fn encoded(encoding: &[u8], form: &blake3::Hash) -> blake3::Hash {
    blake3::Hasher::new().update(encoding).update(b"\n").update(form.as_bytes()).finalize()
}

fn without_empty_lines_at_end(text: &[u8]) -> &[u8] {
    &text[..text.len() - line_ends::trailing(text)]
}

/// The lines of a header section with those that continue them, without the CR LF at the end.
pub(crate) fn groups(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = section;
    std::iter::from_fn(move || {
        let mut length = first_line(rest).len();
        if matches!(&rest[..length], b"" | b"\r\n") {
            return None;
        }
        while rest.get(length).copied().is_some_and(is_blank) {
            length += first_line(&rest[length..]).len();
        }
        let (group, after) = rest.split_at(length);
        rest = after;
        Some(group.strip_suffix(b"\r\n").unwrap_or(group))
    })
}

/// A group of lines as name and value; `None` for a line that is no field.
pub(crate) fn field(group: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', group)?;
    Some((&group[..colon], &group[colon + 1..]))
}

/// Whether a field has this name for any reader, those that allow blanks before the colon included.
pub(crate) fn is_named(group: &[u8], name: &[u8]) -> bool {
    field(group).is_some_and(|(own, _)| trim_blanks(own).eq_ignore_ascii_case(name))
}

const ENCODING: &[u8] = b"content-transfer-encoding";

/// All fields of a part in their order, Content-Transfer-Encoding aside, and lines that are none; the type that counts where
/// no field names one; whether an empty line ends them.
pub(crate) fn part_fields(section: &[u8], entity: &Entity) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut is_typed = false;
    for group in groups(section) {
        match field(group) {
            Some((name, value)) => {
                let lower = name.to_ascii_lowercase();
                match trim_blanks_end(&lower) {
                    ENCODING => continue,
                    b"content-type" => is_typed = true,
                    _ => {}
                }
                let refolded = crate::message::header::Field { name, value, start: 0, end: 0 }.refolded();
                hasher.update(&lower).update(b":").update(&refolded);
            }
            None => _ = hasher.update(group),
        }
        hasher.update(b"\r\n");
    }
    if !is_typed {
        hasher.update(entity.default_type.as_bytes());
    }
    hasher.update(if entity.has_blank_line { b"\r\n" } else { b"" }).finalize()
}

/// The transfer encoding as a mark has it: the word in lower case if it is alone after `: `, none for 7bit,
/// which is what a part without the field has; and else the fields as they are, since readers mind every
/// octet there.
pub(crate) fn encoding(section: &[u8]) -> Vec<u8> {
    let fields: Vec<&[u8]> = groups(section).filter(|group| is_named(group, ENCODING)).collect();
    match fields.as_slice() {
        [] => Vec::new(),
        [only] => match plain_encoding(only) {
            Some(word) if word == "7bit" => Vec::new(),
            Some(word) => word.into_bytes(),
            None => only.to_vec(),
        },
        several => several.join(&b"\r\n"[..]),
    }
}

/// The word of an encoding field that is plain: `Content-Transfer-Encoding: base64`, and nothing else.
pub(crate) fn plain_encoding(group: &[u8]) -> Option<String> {
    let (name, value) = field(group)?;
    let word = value.strip_prefix(b" ")?.to_ascii_lowercase();
    let is_word = matches!(&*word, b"7bit" | b"8bit" | b"binary" | b"base64" | b"quoted-printable");
    (is_word && name.eq_ignore_ascii_case(ENCODING)).then(|| String::from_utf8(word).ok()).flatten()
}
