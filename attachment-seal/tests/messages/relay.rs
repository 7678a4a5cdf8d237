//! What honest relays and lists do to a message on its way. `None` where there is nothing for them to do.
#![allow(dead_code, reason = "each test crate uses a part of it")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::borrow::Cow;

use attachment_seal::message::body;
use attachment_seal::message::header::HeaderSection;
use attachment_seal::mime::decode::Decoder;
use attachment_seal::mime::{self, Encoding, Kind, Leaf};
use encodify::base64;
use memchr::memmem;

/// A change by a relay: its name, how it is made, and whether it changes texts.
pub(crate) type Change = (&'static str, fn(&[u8]) -> Option<Vec<u8>>, bool);

pub(crate) const CHANGES: &[Change] = &[
    ("base64 re-wrapped", rewrap_base64, false),
    ("base64 made quoted-printable", base64_to_quoted_printable, false),
    ("plain made quoted-printable", plain_to_quoted_printable, false),
    ("plain made base64", plain_to_base64, false),
    ("quoted-printable undone", quoted_printable_to_8bit, false),
    ("fields refolded", refold, false),
    ("boundaries renamed", rename_boundaries, false),
    ("fields added", add_fields, false),
    ("subject tagged", tag_subject, false),
    ("blank lines at the end", add_blank_lines, false),
    ("footer in the text", footer_in_text, true),
    ("footer as a part", footer_as_part, true),
    ("wrapped with a footer", wrap, true),
    ("wrapped twice", |message| wrap(&wrap(message)?), true),
    ("all at once", all_at_once, true),
];

fn leaves(message: &[u8]) -> Vec<Leaf> {
    mime::walk(message, &HeaderSection::parse(message)).leaves
}

fn content(message: &[u8], leaf: &Leaf) -> Vec<u8> {
    let mut raw = Cow::Borrowed(&message[leaf.body.clone()]);
    if leaf.is_top_level() && leaf.kind == Kind::Attachment && leaf.encoding != Encoding::Base64 {
        raw = Cow::Owned(body::canonical(&raw).into_owned());
    }
    let mut content = Vec::new();
    Decoder::default().decode(&raw, leaf.encoding, &mut |window| content.extend_from_slice(window));
    content
}

/// Gives every leaf that `choose` wants changed another encoding and content.
fn recode(
    message: &[u8],
    choose: impl Fn(&Leaf, Vec<u8>) -> Option<(&'static str, Vec<u8>)>,
) -> Option<Vec<u8>> {
    let mut out = message.to_vec();
    for leaf in leaves(message).iter().rev().filter(|leaf| !leaf.is_message()) {
        let Some((encoding, encoded)) = choose(leaf, content(message, leaf)) else { continue };
        out.splice(leaf.body.clone(), encoded);
        let start = if leaf.is_top_level() {
            0
        } else {
            let delimiter = memmem::rfind(&message[..leaf.body.start], b"\r\n--").unwrap() + 2;
            delimiter + memmem::find(&message[delimiter..], b"\r\n").unwrap() + 2
        };
        let header = HeaderSection::parse(&message[start..leaf.body.start]);
        let field = header.all("Content-Transfer-Encoding").next();
        let place =
            field.map_or(leaf.body.start - 2..leaf.body.start - 2, |f| start + f.start..start + f.end);
        out.splice(place, format!("Content-Transfer-Encoding: {encoding}\r\n").into_bytes());
    }
    (out != message).then_some(out)
}

pub(crate) fn base64_lines(content: &[u8], columns: usize) -> Vec<u8> {
    base64::STANDARD.encode(content).as_bytes().chunks(columns).collect::<Vec<_>>().join(&b"\r\n"[..])
}

/// Quoted-printable; line ends stay line ends in texts, and are escaped in all else.
pub(crate) fn quoted_printable(content: &[u8], is_text: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut column = 0;
    let mut rest = content;
    while let Some((&octet, after)) = rest.split_first() {
        if is_text && rest.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            column = 0;
            rest = &rest[2..];
            continue;
        }
        if column > 70 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        let ends_line = after.is_empty() || after.starts_with(b"\r\n");
        if matches!(octet, b'!'..=b'<' | b'>'..=b'~') || octet == b' ' && !ends_line {
            out.push(octet);
            column += 1;
        } else {
            out.extend_from_slice(format!("={octet:02X}").as_bytes());
            column += 3;
        }
        rest = after;
    }
    out
}

fn rewrap_base64(message: &[u8]) -> Option<Vec<u8>> {
    recode(message, |leaf, content| {
        (leaf.encoding == Encoding::Base64).then(|| ("BASE64", base64_lines(&content, 60)))
    })
}

fn base64_to_quoted_printable(message: &[u8]) -> Option<Vec<u8>> {
    recode(message, |leaf, content| {
        let mut encoded = quoted_printable(&content, leaf.kind == Kind::Text);
        // No delimiter takes the last line end away there.
        if leaf.is_top_level() && !content.ends_with(b"\r\n") {
            encoded.extend_from_slice(b"=\r\n");
        }
        (leaf.encoding == Encoding::Base64).then_some(("quoted-printable", encoded))
    })
}

fn is_plain(leaf: &Leaf) -> bool {
    matches!(leaf.encoding, Encoding::SevenBit | Encoding::EightBit)
}

fn plain_to_quoted_printable(message: &[u8]) -> Option<Vec<u8>> {
    recode(message, |leaf, content| {
        is_plain(leaf).then(|| ("quoted-printable", quoted_printable(&content, leaf.is_text_type())))
    })
}

fn plain_to_base64(message: &[u8]) -> Option<Vec<u8>> {
    recode(message, |leaf, content| is_plain(leaf).then(|| ("base64", base64_lines(&content, 76))))
}

fn quoted_printable_to_8bit(message: &[u8]) -> Option<Vec<u8>> {
    recode(message, |leaf, content| {
        // Other types could hold bare line ends, which 8bit must not (RFC 2045 §2.8).
        let fits = leaf.encoding == Encoding::QuotedPrintable && leaf.is_text_type();
        fits.then_some(("8bit", content))
    })
}

/// Changes what is not a leaf's body and not the first field, which is the seal.
fn change_outside(message: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut at = HeaderSection::parse(message).fields.first().map_or(0, |field| field.end);
    let mut out = message[..at].to_vec();
    for leaf in leaves(message) {
        out.extend(change(&message[at..leaf.body.start]));
        out.extend_from_slice(&message[leaf.body.clone()]);
        at = leaf.body.end;
    }
    out.extend(change(&message[at..]));
    out
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    for found in memmem::find_iter(text, from) {
        out.extend_from_slice(&text[at..found]);
        out.extend_from_slice(to);
        at = found + from.len();
    }
    out.extend_from_slice(&text[at..]);
    out
}

fn refold(message: &[u8]) -> Option<Vec<u8>> {
    let out = change_outside(message, fold_outside_quotes);
    (out != message).then_some(out)
}

/// Folds at each blank behind a semicolon, in quoted strings aside.
fn fold_outside_quotes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut quoted = false;
    for (at, &octet) in text.iter().enumerate() {
        quoted = octet != b'\n' && (quoted ^ (octet == b'"'));
        if octet == b' ' && !quoted && out.ends_with(b";") && text.get(at + 1) != Some(&b'\r') {
            out.extend_from_slice(b"\r\n");
        }
        out.push(octet);
    }
    out
}

/// The boundaries that the message declares outside its leaves.
fn boundaries(message: &[u8]) -> Vec<Vec<u8>> {
    let outside = std::cell::RefCell::new(Vec::new());
    change_outside(message, |text| {
        outside.borrow_mut().extend_from_slice(text);
        Vec::new()
    });
    let outside = outside.into_inner();
    let lower = outside.to_ascii_lowercase();
    let value = |at: usize| {
        let rest = &outside[at + 9..];
        match rest.strip_prefix(b"\"") {
            Some(quoted) => quoted.split(|&octet| octet == b'"').next(),
            None => rest.split(|octet| b";\r ".contains(octet)).next(),
        }
    };
    memmem::find_iter(&lower, b"boundary=").filter_map(value).map(<[u8]>::to_vec).collect()
}

fn rename_boundaries(message: &[u8]) -> Option<Vec<u8>> {
    let mut names = boundaries(message);
    // Longer ones first, so that none is taken for the beginning of another.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let rename = |text: &[u8]| {
        names.iter().enumerate().fold(text.to_vec(), |text, (number, name)| {
            replace(&text, name, format!("renamed-by-a-relay.{number}").as_bytes())
        })
    };
    let renamed = change_outside(message, rename);
    (renamed != message).then_some(renamed)
}

fn add_fields(message: &[u8]) -> Option<Vec<u8>> {
    let top = b"Received: from a.example (a.example [192.0.2.1])\r\n\tby b.example with ESMTPS id 1; Mon, 23 Nov 2026 09:00:01 +0100\r\n\
        X-Spam-Status: No\r\nAuthentication-Results: b.example; dkim=none\r\n";
    let at = HeaderSection::parse(message).fields.last()?.end;
    let bottom = b"List-Id: Visits <visits.example.net>\r\nList-Post: <mailto:visits@example.net>\r\nContent-Length: 17\r\n";
    Some([top, &message[..at], bottom, &message[at..]].concat())
}

fn tag_subject(message: &[u8]) -> Option<Vec<u8>> {
    let header = HeaderSection::parse(message);
    let subject = header.all("Subject").next()?.start;
    let tag = b"Reply-To: visits@example.net\r\nSubject: [visits] ";
    Some([&message[..subject], tag, &message[subject + 9..]].concat())
}

fn add_blank_lines(message: &[u8]) -> Option<Vec<u8>> {
    Some([message, b"\r\n\r\n"].concat())
}

const FOOTER: &str = "-- \r\nvisits mailing list\r\nhttps://lists.example.net/visits";

fn footer_in_text(message: &[u8]) -> Option<Vec<u8>> {
    let first = leaves(message)
        .into_iter()
        .find(|leaf| leaf.kind == Kind::Text && leaf.media_type == "text/plain")?;
    recode(message, |leaf, content| {
        (leaf.body == first.body).then(|| {
            let text = [content.as_slice(), b"\r\n", FOOTER.as_bytes()].concat();
            match leaf.encoding {
                Encoding::Base64 => ("base64", base64_lines(&text, 76)),
                Encoding::QuotedPrintable => ("quoted-printable", quoted_printable(&text, true)),
                Encoding::SevenBit => ("7bit", text),
                _ => ("8bit", text),
            }
        })
    })
}

fn footer_part(boundary: &str) -> String {
    format!(
        "--{boundary}\r\nContent-Type: text/plain; charset=\"us-ascii\"\r\nMIME-Version: 1.0\r\n\
         Content-Transfer-Encoding: 7bit\r\nContent-Disposition: inline\r\n\r\n{FOOTER}\r\n--{boundary}--"
    )
}

/// As Mailman does where there is a mixed multipart already.
fn footer_as_part(message: &[u8]) -> Option<Vec<u8>> {
    let header = HeaderSection::parse(message);
    let value = header.all("Content-Type").next()?.unfolded().to_ascii_lowercase();
    let boundary = value
        .starts_with(b"multipart/mixed")
        .then(|| boundaries(message))
        .and_then(|all| all.into_iter().next())?;
    let boundary = String::from_utf8(boundary).unwrap();
    let end = memmem::rfind(message, format!("\r\n--{boundary}--").as_bytes())?;
    let behind = end + 6 + boundary.len();
    Some([&message[..end], b"\r\n", footer_part(&boundary).as_bytes(), &message[behind..]].concat())
}

/// As Mailman does elsewhere: a mixed multipart around all there was.
pub(crate) fn wrap(message: &[u8]) -> Option<Vec<u8>> {
    // The known limit of SPEC.md §6.
    let is_limit = |leaf: &Leaf| {
        leaf.is_top_level() && leaf.kind == Kind::Attachment && leaf.encoding != Encoding::Base64
    };
    if leaves(message).iter().any(is_limit) {
        return None;
    }
    let header = HeaderSection::parse(message);
    let boundary = format!("==============={}==", message.len());
    let (mut outer, mut inner) = (Vec::new(), Vec::new());
    for field in &header.fields {
        let name = field.name.to_ascii_lowercase();
        let is_content = name.starts_with(b"content-") && name != b"content-length";
        let place = if is_content { &mut inner } else { &mut outer };
        place.extend_from_slice(&message[field.start..field.end]);
    }
    if header.all("MIME-Version").next().is_none() {
        outer.extend_from_slice(b"MIME-Version: 1.0\r\n");
    }
    outer.extend_from_slice(
        format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n").as_bytes(),
    );
    let body = &message[header.body_start..];
    let line_end: &[u8] = if body.is_empty() || body.ends_with(b"\r\n") { b"" } else { b"\r\n" };
    let footer = footer_part(&boundary);
    Some([&outer, &inner, &b"\r\n"[..], body, line_end, footer.as_bytes(), b"\r\n"].concat())
}

fn all_at_once(message: &[u8]) -> Option<Vec<u8>> {
    let mut changed = message.to_vec();
    for change in [
        rewrap_base64,
        plain_to_base64,
        refold,
        footer_in_text,
        wrap,
        tag_subject,
        add_fields,
        add_blank_lines,
    ] {
        changed = change(&changed).unwrap_or(changed);
    }
    Some(changed)
}
