//! URLs that are a file or a script themselves (RFC 2397, and what browsers run), wherever HTML and CSS have URLs.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

/// Where a URL is, which decides what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// A reader can go there.
    Link,
    /// Shown as an image.
    Image,
    /// In a style: an image or a font.
    Style,
}

/// Octets of a `data:` URL that are enough to know its type by.
const MAX_HEAD: usize = 256;

/// Octets of a list or style that tell all of a URL that is not whole at its end: escapes make one octet seven.
pub(super) const OVERLAP: usize = 4096;

/// What kind of content the URL is itself, as the WHATWG's URL parser would read it.
pub(super) fn active_kind(url: &[u8], position: Position) -> Option<&'static str> {
    // It drops controls and blanks at the start, and tabs and line ends everywhere.
    let start = url.iter().position(|&octet| octet > b' ')?;
    let mut octets = url[start..].iter().copied().filter(|octet| !matches!(octet, b'\t' | b'\r' | b'\n'));
    let scheme: Vec<u8> = octets
        .by_ref()
        .take_while(|&octet| octet != b':')
        .take(12)
        .map(|octet| octet.to_ascii_lowercase())
        .collect();
    match kind_of_scheme(&scheme)? {
        DATA => (!is_plain_data(octets.take(MAX_HEAD), position)).then_some(DATA),
        kind => memchr(b':', url).map(|_| kind),
    }
}

/// The first such URL in a list of them, as in `srcset` and animations, or in a style; `is_whole` where nothing follows that
/// is looked at with the last [`OVERLAP`] octets of this.
pub(super) fn active_kind_within(text: &[u8], position: Position, is_whole: bool) -> Option<&'static str> {
    let text = if position == Position::Style { unescape(text) } else { Cow::Borrowed(text) };
    memchr_iter(b':', &text).find_map(|colon| {
        let length =
            text[..colon].iter().rev().take(11).take_while(|octet| octet.is_ascii_alphanumeric()).count();
        let scheme = text[colon - length..colon].to_ascii_lowercase();
        let kind = kind_of_scheme(&scheme)?;
        let before = text[..colon - length].iter().rev().find(|&&octet| octet > b' ');
        let begins_url = match before {
            None => true,
            Some(before) if position == Position::Style => matches!(before, b'(' | b'"' | b'\''),
            Some(before) => matches!(before, b',' | b';'),
        };
        if !begins_url {
            return None;
        }
        let head = &text[colon + 1..text.len().min(colon + 1 + MAX_HEAD)];
        let is_cut = !is_whole && head.len() < MAX_HEAD && memchr(b',', head).is_none();
        (!is_cut && (kind != DATA || !is_plain_data(head.iter().copied(), position))).then_some(kind)
    })
}

const DATA: &str = "data-url";

fn kind_of_scheme(scheme: &[u8]) -> Option<&'static str> {
    match scheme {
        b"data" => Some(DATA),
        b"blob" | b"filesystem" => Some("blob-url"),
        b"javascript" | b"vbscript" | b"livescript" | b"mocha" => Some("script-url"),
        _ => None,
    }
}

/// Image types that are pixels and nothing else: no SVG.
const IMAGES: &[&[u8]] = &[
    b"apng",
    b"avif",
    b"bmp",
    b"gif",
    b"heic",
    b"heif",
    b"jpe",
    b"jpeg",
    b"jpg",
    b"jxl",
    b"pjpeg",
    b"png",
    b"tiff",
    b"vnd.microsoft.icon",
    b"webp",
    b"x-bmp",
    b"x-icon",
    b"x-ms-bmp",
    b"x-png",
];

/// Font types outside of font/*.
const FONTS: &[&[u8]] = &[
    b"font-sfnt",
    b"font-woff",
    b"font-woff2",
    b"vnd.ms-fontobject",
    b"x-font-opentype",
    b"x-font-otf",
    b"x-font-truetype",
    b"x-font-ttf",
    b"x-font-woff",
    b"x-font-woff2",
];

/// Whether what follows `data:` is an image of pixels or a font, in a place for one.
fn is_plain_data(head: impl Iterator<Item = u8>, position: Position) -> bool {
    if position == Position::Link {
        return false;
    }
    let mut has_comma = false;
    let head: Vec<u8> = head
        .take_while(|&octet| {
            has_comma = octet == b',';
            !has_comma
        })
        .map(|octet| octet.to_ascii_lowercase())
        .collect();
    let media_type = head.split(|&octet| octet == b';').next().unwrap_or_default().trim_ascii();
    let (top, subtype) = media_type.split_at(memchr(b'/', media_type).unwrap_or(media_type.len()));
    let subtype = subtype.get(1..).unwrap_or_default();
    let is_image = top == b"image" && IMAGES.contains(&subtype);
    let is_font = top == b"font" || top == b"application" && FONTS.contains(&subtype);
    has_comma && (is_image || position == Position::Style && is_font)
}

/// CSS Syntax §4.3.7: escapes undone.
fn unescape(style: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', style).is_none() {
        return Cow::Borrowed(style);
    }
    let mut plain = Vec::with_capacity(style.len());
    let mut rest = style;
    while let Some(at) = memchr(b'\\', rest) {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = rest.iter().take(6).take_while(|octet| octet.is_ascii_hexdigit()).count();
        if digits == 0 {
            // A line end goes, anything else is itself: even a backslash.
            let length = match rest {
                [b'\r', b'\n', ..] => 2,
                [b'\r' | b'\n' | 0x0c, ..] => 1,
                [octet, ..] => {
                    plain.push(*octet);
                    1
                }
                [] => 0,
            };
            rest = &rest[length..];
            continue;
        }
        let code = rest[..digits]
            .iter()
            .fold(0, |code, &octet| code << 4 | char::from(octet).to_digit(16).unwrap_or(0));
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[digits..];
        rest = rest.strip_prefix(b"\r\n").unwrap_or(match rest {
            [b' ' | b'\t' | b'\r' | b'\n' | 0x0c, after @ ..] => after,
            rest => rest,
        });
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_urls_that_are_content() {
        for (url, expected) in [
            ("data:application/pdf;base64,JVBE", Some("data-url")),
            (" \u{1}DATA:,x", Some("data-url")),
            ("d\na\tt\ra:text/html,x", Some("data-url")),
            ("data:image/png;base64,AAAA", Some("data-url")),
            ("JavaScript:alert(1)", Some("script-url")),
            ("\u{b}vbscript:x", Some("script-url")),
            ("blob:https://a.example/1", Some("blob-url")),
            ("filesystem:https://a.example/1", Some("blob-url")),
            ("javascript", None),
            ("https://a.example/data:text/html,x", None),
            ("/data:text/html,x", None),
            ("dat a:text/html,x", None),
            ("metadata:text/html,x", None),
            ("", None),
        ] {
            assert_eq!(active_kind(url.as_bytes(), Position::Link), expected, "{url}");
        }
    }

    #[test]
    fn allows_pixels_where_images_are() {
        for url in [
            "data:image/png;base64,AA",
            "data:IMAGE/JPEG,AA",
            "data:image/gif;x=y,AA",
            "data: image/webp ;base64,A",
        ] {
            assert_eq!(active_kind(url.as_bytes(), Position::Image), None, "{url}");
        }
        for url in [
            "data:image/svg+xml,<svg>",
            "data:image/x.exe,AA",
            "data:image/png",
            "data:,x",
            "data:font/woff2,AA",
        ] {
            assert_eq!(active_kind(url.as_bytes(), Position::Image), Some("data-url"), "{url}");
        }
    }

    #[test]
    fn finds_them_in_styles() {
        let within = |style: &str| active_kind_within(style.as_bytes(), Position::Style, true);
        for style in [
            "background: url(data:image/png;base64,AA)",
            "src: url('data:font/woff2;base64,AA'), url( data:application/font-woff,AA )",
            "src: url(data:application/vnd.ms-fontobject;base64,AA)",
            "/* the data: text/html, and so on */ color: red",
            "color: red; data:x",
        ] {
            assert_eq!(within(style), None, "{style}");
        }
        for style in [
            "background: url(data:image/svg+xml;base64,AA)",
            "background: url(  \"DATA:text/html,x\")",
            "@import 'd\\61 ta:text/css,x'",
            "background: url(d\\000061\r\nta:text/html,x)",
            "background: url(\"da\\\nta:text/html,x\")",
            "background: url(java\\script:x)",
        ] {
            assert!(within(style).is_some(), "{style}");
        }
    }

    #[test]
    fn finds_them_in_lists() {
        let within = |list: &str| active_kind_within(list.as_bytes(), Position::Image, true);
        assert_eq!(within("a.png 1x, data:image/png;base64,AA 2x"), None);
        assert_eq!(within("a.png 1x, data:image/svg+xml;base64,AA 2x"), Some("data-url"));
        assert_eq!(within("#a; javascript:x"), Some("script-url"));
    }

    proptest! {
        #[test]
        fn escaped_styles_are_the_same(style in "[a-z:(\" ]{0,30}", which in any::<u32>()) {
            let escaped: String = style
                .chars()
                .enumerate()
                .map(|(at, octet)| if which >> at & 1 == 1 { format!("\\{:x} ", u32::from(octet)) } else { octet.into() })
                .collect();
            prop_assert_eq!(unescape(escaped.as_bytes()).into_owned(), style.into_bytes());
        }
    }
}
