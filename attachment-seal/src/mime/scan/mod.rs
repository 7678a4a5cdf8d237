//! Looks through a text as mail readers would: for files and active content in it, for links, and for charsets that hide
//! either. It builds no tree and never judges: it tells kinds and places, and the caller knows what was sealed.
//!
//! `embedded` knows uuencode and its kin, `html` reads markup, `url` knows the URLs that hold a file or a script,
//! `links` writes link targets in one form, `charset` turns octets into the UTF-8 that the others read.

mod charset;
mod embedded;
mod html;
mod lines;
mod links;
mod place;
mod url;

use std::ops::Range;

use charset::Charset;
use embedded::EmbeddedScan;
use html::HtmlScan;
use lines::Lines;
use place::Finds;

pub use links::{
    LINK_HASH, LinkHash, Links, MAX_COUNTED_LINKS, MAX_LINK, MAX_LINKS, canonical_link, link_hash, link_host,
};

/// Something in a text that a reader takes for a file or for active content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// What it is, in one word that never changes: `uuencode`, `data-url`, `script`, and so on.
    pub kind: &'static str,
    /// Where it is, in octets of the text without its transfer encoding.
    pub range: Range<u64>,
}

/// What a text holds.
#[derive(Clone, Debug, Default)]
pub struct Scanned {
    /// Of all that readers take for a file or for active content, the one that starts first.
    pub first: Option<Embedded>,
    /// The one that ends last.
    pub last: Option<Embedded>,
    /// Whether the text is in a charset whose octets can hide other text.
    pub hides_text: bool,
    /// The targets of its links.
    pub links: Links,
}

/// Looks through one text leaf, whose transfer encoding is removed. The result does not depend on how the text is cut
/// into updates.
#[derive(Debug)]
pub struct TextScan {
    charset: Charset,
    reading: Reading,
}

/// Octets looked at together.
const PIECE: usize = 64 << 10;

impl TextScan {
    /// For a text of the lower-case `media_type`, declared to be in `charset`.
    pub fn new(media_type: &str, charset: Option<&str>) -> Self {
        let is_html = matches!(media_type, "text/html" | "text/x-amp-html");
        Self { charset: Charset::new(charset, is_html), reading: Reading::new(is_html) }
    }

    /// Takes the next decoded octets.
    pub fn update(&mut self, decoded: &[u8]) {
        for piece in decoded.chunks(PIECE) {
            self.charset.convert(piece, false, &mut |text, unit| self.reading.take(text, unit));
        }
    }

    /// What the text holds.
    pub fn finish(mut self) -> Scanned {
        self.charset.convert(b"", true, &mut |text, unit| self.reading.take(text, unit));
        self.reading.finish(&self.charset)
    }
}

/// What kind of file readers would find in octets outside of leaves: a preamble or an epilogue.
pub fn holds_file(octets: &[u8]) -> Option<&'static str> {
    let mut reading = Reading::new(false);
    octets.chunks(PIECE).for_each(|piece| reading.take(piece, place::Unit::Octet));
    reading.finish_lines(octets.len() as u64);
    reading.finds.first.map(|first| first.kind)
}

/// The scanners of one text in UTF-8.
#[derive(Debug)]
struct Reading {
    lines: Lines,
    embedded: EmbeddedScan,
    html: Option<HtmlScan>,
    finds: Finds,
    links: Links,
}

impl Reading {
    fn new(is_html: bool) -> Self {
        Self {
            lines: Lines::default(),
            embedded: EmbeddedScan::new(is_html),
            html: is_html.then(HtmlScan::default),
            finds: Finds::default(),
            links: Links::default(),
        }
    }

    fn take(&mut self, text: &[u8], unit: place::Unit) {
        let Self { lines, embedded, html, finds, links } = self;
        lines.take(text, unit, &mut |piece| take_lines(piece, html.is_none(), embedded, finds, links));
        if let Some(html) = html {
            html.take(text, unit, finds, links);
        }
    }

    fn finish_lines(&mut self, size: u64) {
        let Self { lines, embedded, html, finds, links } = self;
        lines.finish(&mut |piece| take_lines(piece, html.is_none(), embedded, finds, links));
        embedded.finish(size, finds);
    }

    fn finish(mut self, charset: &Charset) -> Scanned {
        let size = charset.size();
        self.finish_lines(size);
        let Self { html, mut finds, mut links, .. } = self;
        let names_hiding_charset = html.is_some_and(|html| html.finish(size, &mut finds, &mut links));
        if !charset.keeps_places() {
            finds.span(size);
        }
        let hides_text = charset.hides_text() || names_hiding_charset;
        Scanned { first: finds.first, last: finds.last, hides_text, links }
    }
}

fn take_lines(
    piece: &lines::Piece<'_>,
    is_plain: bool,
    embedded: &mut EmbeddedScan,
    finds: &mut Finds,
    links: &mut Links,
) {
    embedded.scan(piece, finds);
    if is_plain {
        links.take_plain(piece);
    }
}

#[cfg(test)]
mod tests;
