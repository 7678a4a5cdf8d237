//! HTML as a browser's tokeniser reads it (WHATWG HTML §13.2.5), without the tree: tags, their attributes, styles, and the
//! comments that Outlook reads as markup.
//!
//! Without the tree nobody can tell whether `<style>` in a drawing or in a list of choices begins raw text. So where raw
//! text holds what would be markup elsewhere, all that follows counts as hidden: both readings end at the same place in
//! everything else.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::ops::Range;

use html5gum::emitters::Emitter;
use html5gum::{Error, Reader, State, Tokenizer};
use memchr::{memchr, memchr_iter, memchr2};

use super::charset;
use super::links::{Links, MAX_LINK};
use super::place::{Finds, Place, Unit};
use super::url::{self, Position, active_kind, active_kind_within};

/// Where markup is hidden from one reader or another.
const HIDDEN: &str = "hidden-markup";

/// Looks through the markup of one text. Of the text it keeps the tag or comment that has not ended yet.
#[derive(Debug, Default)]
pub(super) struct HtmlScan {
    pending: Vec<u8>,
    start: u64,
    unit: Unit,
    /// Length of `pending` that makes a closer look due: twice that of the last in vain, for a time linear in the text.
    wanted: usize,
    page: Page,
}

/// What is known of the document between two tags.
#[derive(Debug, Default)]
struct Page {
    /// The element whose text is not markup.
    raw: Option<Raw>,
    in_noscript: bool,
    /// Where what follows may be hidden: nobody looks further.
    hidden_from: Option<u64>,
    names_hiding_charset: bool,
}

/// An element whose text is not markup: `style`, `title`, `script` and the like.
#[derive(Debug)]
struct Raw {
    name: Vec<u8>,
    start: u64,
    kind: Option<&'static str>,
    check: RawCheck,
    /// The end of a style that has been looked through, and what came since.
    style: Vec<u8>,
}

impl HtmlScan {
    /// Takes the next octets.
    pub(super) fn take(&mut self, text: &[u8], unit: Unit, finds: &mut Finds, links: &mut Links) {
        if self.page.hidden_from.is_some() {
            return;
        }
        self.unit = unit;
        self.pending.extend_from_slice(text);
        if self.pending.len() >= self.wanted {
            self.look(false, finds, links);
        }
    }

    /// The text of `size` octets is over. Returns whether it names a charset that hides text.
    pub(super) fn finish(mut self, size: u64, finds: &mut Finds, links: &mut Links) -> bool {
        if self.page.hidden_from.is_none() {
            self.look(true, finds, links);
        }
        let unclosed = self.page.raw.as_ref().map(|raw| raw.start);
        if let Some(start) = self.page.hidden_from.or(unclosed) {
            finds.note(HIDDEN, start..size);
            links.may_hide_some = true;
        }
        self.page.names_hiding_charset
    }

    fn look(&mut self, is_last: bool, finds: &mut Finds, links: &mut Links) {
        let place = Place::new(&self.pending, self.unit, self.start);
        let done = read(&self.pending, is_last, &place, None, &mut self.page, finds, links);
        self.start = place.at(done);
        self.pending.drain(..done);
        self.wanted = 2 * self.pending.len();
    }
}

/// Reads markup as far as tags and comments are whole; returns how far that is. All that is in a `comment` is where it is.
fn read(
    text: &[u8],
    is_last: bool,
    place: &Place<'_>,
    comment: Option<&Range<u64>>,
    page: &mut Page,
    finds: &mut Finds,
    links: &mut Links,
) -> usize {
    let reached = Reached::default();
    let state = page.raw.as_ref().and_then(|raw| state_within(&raw.name));
    let mut watch = Watch {
        text,
        reached: &reached,
        place,
        comment,
        page,
        finds,
        links,
        raw_from: 0,
        open: None,
        tag: Tag::default(),
        spare: Attribute::default(),
    };
    let mut tokenizer = Tokenizer::new_with_emitter(Source { text, reached: &reached, is_last }, &mut watch);
    if let Some(state) = state {
        tokenizer.set_state(state);
    }
    // Its only item is the want of more.
    tokenizer.next();
    drop(tokenizer);
    watch.end(is_last)
}

/// How far the tokeniser has come.
#[derive(Debug, Default)]
struct Reached {
    at: Cell<usize>,
    end: Cell<bool>,
}

/// Feeds the tokeniser.
struct Source<'a> {
    text: &'a [u8],
    reached: &'a Reached,
    is_last: bool,
}

/// The tokeniser needs octets that have not come yet.
#[derive(Debug)]
struct NeedsMore;

impl fmt::Display for NeedsMore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the markup goes on")
    }
}

impl std::error::Error for NeedsMore {}

impl<'a> Source<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text[self.reached.at.get()..]
    }

    fn pass(&self, length: usize) {
        self.reached.at.set(self.reached.at.get() + length);
    }

    fn end<T>(&self) -> Result<Option<T>, NeedsMore> {
        self.reached.end.set(true);
        if self.is_last { Ok(None) } else { Err(NeedsMore) }
    }
}

impl Reader for Source<'_> {
    type Error = NeedsMore;

    fn read_byte(&mut self) -> Result<Option<u8>, NeedsMore> {
        let Some(&octet) = self.rest().first() else { return self.end() };
        self.pass(1);
        Ok(Some(octet))
    }

    fn try_read_string(&mut self, word: &[u8], case_sensitive: bool) -> Result<bool, NeedsMore> {
        let rest = self.rest();
        let (head, begun) = (&rest[..rest.len().min(word.len())], &word[..rest.len().min(word.len())]);
        let matches = head == begun || !case_sensitive && head.eq_ignore_ascii_case(begun);
        if matches && head.len() < word.len() && !self.is_last {
            return Err(NeedsMore);
        }
        let found = matches && head.len() == word.len();
        self.pass(if found { word.len() } else { 0 });
        Ok(found)
    }

    fn read_until<'b>(
        &'b mut self,
        needle: &[u8],
        _: &'b mut [u8; 4],
    ) -> Result<Option<&'b [u8]>, NeedsMore> {
        let rest = self.rest();
        if rest.is_empty() {
            return self.end();
        }
        // Where blanks end nothing, a line end or a NUL is like any other octet to us.
        let found = match needle {
            // All that ends anything in a tag: a piece may be shorter than it need be.
            _ if needle.contains(&b'\n') => rest.iter().position(|&octet| {
                octet <= b' ' || matches!(octet, b'"' | b'&' | b'\'' | b'/' | b'<' | b'=' | b'>' | b'`')
            }),
            // In text, a character reference is like any other text, too.
            [b'&', b'<', ..] => memchr(b'<', rest),
            [one, b'\0' | b'\r', ..] => memchr(*one, rest),
            [one, other, b'\0' | b'\r', ..] => memchr2(*one, *other, rest),
            needle => rest.iter().position(|octet| needle.contains(octet)),
        };
        let length = found.unwrap_or(rest.len()).max(1);
        self.pass(length);
        Ok(Some(&rest[..length]))
    }
}

/// What the tokeniser tells.
struct Watch<'a> {
    text: &'a [u8],
    reached: &'a Reached,
    place: &'a Place<'a>,
    comment: Option<&'a Range<u64>>,
    page: &'a mut Page,
    finds: &'a mut Finds,
    links: &'a mut Links,
    /// Where the raw text that has not been looked at starts.
    raw_from: usize,
    /// Where the tag or comment that is being read starts.
    open: Option<usize>,
    tag: Tag,
    /// The last attribute, for the room that it has.
    spare: Attribute,
}

#[derive(Debug, Default)]
struct Tag {
    name: Vec<u8>,
    is_end: bool,
    kind: Option<&'static str>,
    refreshes: bool,
    content: Vec<u8>,
    attribute: Option<Attribute>,
}

#[derive(Debug, Default)]
struct Attribute {
    name: Vec<u8>,
    /// Known from when the name is whole.
    role: Option<Role>,
    value: Vec<u8>,
    /// Whether the value's end is not there.
    is_cut: bool,
}

/// What an attribute is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Handler,
    Download,
    /// A URL, and whether a reader can go there.
    Url(Position, bool),
    /// Some URLs, with commas or semicolons between them.
    Urls(Position),
    Style,
    /// The meta element's: what it stands for, what it says, and the document's charset.
    Equivalent,
    Content,
    CharsetName,
    /// Nothing to us.
    Other,
}

/// Octets of a value that are kept. A longer one is a long link, or an image whose type is known by then.
const MAX_VALUE: usize = 2 * MAX_LINK;

/// Octets of a style that are looked at together.
const STYLE_PIECE: usize = 64 << 10;

impl Role {
    fn of(tag: &[u8], attribute: &[u8]) -> Self {
        // `xlink:href` is `href`.
        let name = attribute.rsplit(|&octet| octet == b':').next().unwrap_or_default();
        let tag = tag.rsplit(|&octet| octet == b':').next().unwrap_or_default();
        let holds_page = matches!(tag, b"iframe" | b"frame" | b"embed" | b"object");
        match name {
            [b'o', b'n', event @ ..] if !event.is_empty() && event.iter().all(u8::is_ascii_alphabetic) => {
                Self::Handler
            }
            b"download" => Self::Download,
            b"style" | b"fill" | b"stroke" | b"mask" | b"filter" | b"clip-path" | b"cursor" | b"marker"
            | b"marker-start" | b"marker-mid" | b"marker-end" => Self::Style,
            b"srcset" | b"imagesrcset" => Self::Urls(Position::Image),
            b"to" | b"from" | b"by" | b"values" => Self::Urls(Position::Link),
            b"src" if holds_page => Self::Url(Position::Link, true),
            b"data" => Self::Url(Position::Link, holds_page),
            b"src" | b"background" | b"poster" | b"lowsrc" | b"dynsrc" => Self::Url(Position::Image, false),
            b"href" => match tag {
                b"image" | b"feimage" => Self::Url(Position::Image, false),
                b"link" | b"base" | b"use" | b"mpath" | b"textpath" | b"pattern" | b"lineargradient"
                | b"radialgradient" | b"script" => Self::Url(Position::Link, false),
                _ => Self::Url(Position::Link, true),
            },
            b"action" | b"formaction" => Self::Url(Position::Link, true),
            b"codebase" | b"code" | b"archive" | b"classid" | b"cite" | b"longdesc" | b"usemap"
            | b"profile" | b"manifest" | b"icon" | b"ping" => Self::Url(Position::Link, false),
            b"http-equiv" if tag == b"meta" => Self::Equivalent,
            b"content" if tag == b"meta" => Self::Content,
            b"charset" if tag == b"meta" => Self::CharsetName,
            _ => Self::Other,
        }
    }
}

/// The kind of an element that is active by itself.
fn element_kind(tag: &[u8]) -> Option<&'static str> {
    match tag.rsplit(|&octet| octet == b':').next().unwrap_or_default() {
        b"script" => Some("script"),
        b"object" | b"embed" | b"applet" => Some("object"),
        b"iframe" | b"frame" | b"portal" | b"fencedframe" => Some("frame"),
        b"form" => Some("form"),
        _ => None,
    }
}

/// How the text of an element is read, if not as markup.
fn state_within(tag: &[u8]) -> Option<State> {
    match tag {
        b"title" | b"textarea" => Some(State::RcData),
        b"style" | b"xmp" | b"iframe" | b"noembed" | b"noframes" => Some(State::RawText),
        b"script" => Some(State::ScriptData),
        b"plaintext" => Some(State::PlainText),
        _ => None,
    }
}

impl Watch<'_> {
    /// Ends one run of the tokeniser; returns how much of the text is done with.
    fn end(mut self, is_last: bool) -> usize {
        let done = if is_last { self.text.len() } else { self.open.unwrap_or(self.reached.at.get()) };
        if self.page.raw.is_some() {
            self.read_raw(done, false);
        }
        if let Some(open) = self.open.filter(|_| is_last && self.comment.is_none()) {
            self.hide(self.place.at(open));
        }
        done
    }

    fn at(&self) -> usize {
        self.reached.at.get()
    }

    fn range(&self, start: usize, end: usize) -> Range<u64> {
        self.comment.cloned().unwrap_or_else(|| self.place.at(start)..self.place.at(end))
    }

    /// Whether what follows counts as hidden, whatever it is.
    fn is_over(&self) -> bool {
        self.page.hidden_from.is_some()
    }

    /// Readers can see different markup from `start` on.
    fn hide(&mut self, start: u64) {
        match self.comment {
            Some(comment) => {
                self.finds.note(HIDDEN, comment.clone());
                self.links.may_hide_some = true;
            }
            None => _ = self.page.hidden_from.get_or_insert(start),
        }
    }

    /// Looks at raw text up to `end`.
    fn read_raw(&mut self, end: usize, is_whole: bool) {
        let Some(raw) = &mut self.page.raw else { return };
        let text = &self.text[self.raw_from..end];
        self.raw_from = end;
        let is_hidden = raw.check.read(text, raw.name == b"script") || is_whole && raw.check.is_within();
        if raw.name == b"style" {
            raw.style.extend_from_slice(text);
            if is_whole || raw.style.len() > STYLE_PIECE {
                raw.kind = raw.kind.or(active_kind_within(&raw.style, Position::Style, is_whole));
                raw.style.drain(..raw.style.len().saturating_sub(url::OVERLAP));
            }
        }
        if is_hidden {
            let start = raw.start;
            self.hide(start);
        }
    }

    fn end_attribute(&mut self) {
        let Some(attribute) = self.tag.attribute.take() else { return };
        if !self.tag.is_end && !self.is_over() {
            self.read_attribute(&attribute);
        }
        self.spare = attribute;
    }

    fn read_attribute(&mut self, attribute: &Attribute) {
        let role = attribute.role.unwrap_or_else(|| Role::of(&self.tag.name, &attribute.name));
        let value = &attribute.value;
        let kind = match role {
            Role::Handler => Some("event-handler"),
            Role::Download => Some("download"),
            Role::Url(position, is_target) => {
                if is_target {
                    self.links.may_hide_some |= attribute.is_cut;
                    self.links.note(&String::from_utf8_lossy(value));
                }
                match self.tag.name.as_slice() {
                    b"base" => Some("base"),
                    _ => active_kind(value, position),
                }
            }
            Role::Urls(position) => active_kind_within(value, position, true),
            Role::Style => active_kind_within(value, Position::Style, true),
            Role::Equivalent => {
                self.tag.refreshes |= value.trim_ascii().eq_ignore_ascii_case(b"refresh");
                None
            }
            Role::Content => {
                self.tag.content.clone_from(value);
                None
            }
            Role::CharsetName => {
                self.page.names_hiding_charset |= charset::hides_by_name(&String::from_utf8_lossy(value));
                None
            }
            Role::Other => None,
        };
        let srcdoc = (attribute.name == b"srcdoc").then_some("frame");
        let formaction = (attribute.name == b"formaction").then_some("form");
        self.tag.kind = self.tag.kind.or(kind).or(srcdoc).or(formaction);
    }

    fn end_start_tag(&mut self, start: usize) -> Option<State> {
        let tag = std::mem::take(&mut self.tag);
        let mut kind = element_kind(&tag.name).or(tag.kind);
        if tag.name == b"meta" {
            let content = String::from_utf8_lossy(&tag.content).into_owned();
            if tag.refreshes {
                kind = kind.or(Some("refresh"));
                self.links.note(refresh_target(&content));
            }
            let lower = content.to_ascii_lowercase();
            let name = lower.split_once("charset=").map(|(_, name)| name.trim_matches([' ', '"', '\'', ';']));
            self.page.names_hiding_charset |= name.is_some_and(charset::hides_by_name);
        }
        if let Some(kind) = kind {
            let range = self.range(start, self.at());
            self.finds.note(kind, range);
        }
        self.page.in_noscript |= tag.name == b"noscript";
        let state = state_within(&tag.name)?;
        let start = self.place.at(start);
        if tag.name == b"plaintext" {
            self.hide(start);
        }
        self.raw_from = self.at();
        self.page.raw =
            Some(Raw { name: tag.name, start, kind, check: RawCheck::default(), style: Vec::new() });
        Some(state)
    }

    fn end_end_tag(&mut self, start: usize) {
        self.page.in_noscript &= self.tag.name != b"noscript";
        self.read_raw(start, true);
        if let Some(raw) = self.page.raw.take().filter(|_| !self.is_over())
            && let Some(kind) = raw.kind
        {
            let range = self.comment.cloned().unwrap_or_else(|| raw.start..self.place.at(self.at()));
            self.finds.note(kind, range);
        }
    }

    /// Readers that run scripts take what is in `noscript` for raw text, and an end tag in a comment or value for one.
    fn check_noscript(&mut self, start: usize) {
        if self.page.in_noscript && contains(&self.text[start + 1..self.at()], b"</noscript") {
            self.hide(self.place.at(start));
        }
    }

    fn end_comment(&mut self, start: usize) {
        let comment = &self.text[start..self.at()];
        if self.reached.end.get() {
            // Browsers take the rest of the text for a comment; others do not.
            if self.comment.is_none() {
                self.hide(self.place.at(start));
            }
            return;
        }
        self.check_noscript(start);
        // In a drawing it ends at `]]>`, elsewhere at the first `>`.
        if comment.starts_with(b"<![CDATA[") && !comment.ends_with(b"]]>") {
            self.hide(self.place.at(start));
        }
        // Outlook reads it as markup.
        if self.comment.is_none() && comment.starts_with(b"<!--[if") {
            let content = comment.strip_prefix(b"<!--").unwrap_or(comment);
            let content = content.strip_suffix(b"-->").unwrap_or(content);
            let range = self.range(start, self.at());
            let place = Place::new(content, Unit::Unknown, 0);
            let mut page = Page::default();
            read(content, true, &place, Some(&range), &mut page, self.finds, self.links);
            self.page.names_hiding_charset |= page.names_hiding_charset;
        }
    }
}

/// The URL in a refresh: what follows the time, and perhaps `url=`.
fn refresh_target(content: &str) -> &str {
    let rest =
        content.trim_start_matches(|octet: char| octet.is_ascii_digit() || octet == '.' || octet <= ' ');
    let rest = rest.trim_start_matches([';', ',', ' ', '\t', '\r', '\n']);
    let named = rest.get(..3).filter(|name| name.eq_ignore_ascii_case("url"));
    let value =
        named.and_then(|name| rest[name.len()..].trim_start().strip_prefix('=')).unwrap_or(rest).trim();
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    match quote {
        Some(quote) => value[1..].split(quote).next().unwrap_or_default(),
        None => value,
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    memchr_iter(word[0], text)
        .any(|at| text[at..].get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
}

impl Emitter for &mut Watch<'_> {
    type Token = Infallible;

    fn set_last_start_tag(&mut self, _: Option<&[u8]>) {}

    fn emit_eof(&mut self) {}

    fn emit_error(&mut self, _: Error) {}

    #[inline]
    fn should_emit_errors(&mut self) -> bool {
        false
    }

    #[inline]
    fn pop_token(&mut self) -> Option<Infallible> {
        None
    }

    #[inline]
    fn emit_string(&mut self, _: &[u8]) {
        // What began with `<` was no tag.
        self.open = None;
    }

    #[inline]
    fn start_open_tag(&mut self) {
        self.open = Some(self.at() - 1);
    }

    fn init_start_tag(&mut self) {
        self.tag = Tag::default();
    }

    fn init_end_tag(&mut self) {
        self.tag = Tag { is_end: true, ..Tag::default() };
    }

    fn init_comment(&mut self) {}

    fn emit_current_tag(&mut self) -> Option<State> {
        self.end_attribute();
        let start = self.open.take().filter(|_| !self.is_over())?;
        if self.tag.is_end {
            self.end_end_tag(start);
            return None;
        }
        self.check_noscript(start);
        self.end_start_tag(start)
    }

    fn emit_current_comment(&mut self) {
        if let Some(start) = self.open.take().filter(|_| !self.is_over()) {
            self.end_comment(start);
        }
    }

    fn emit_current_doctype(&mut self) {
        self.open = None;
    }

    fn set_self_closing(&mut self) {}

    fn set_force_quirks(&mut self) {}

    fn push_tag_name(&mut self, name: &[u8]) {
        // No element that matters has a longer name.
        if self.tag.name.len() < 64 {
            self.tag.name.extend_from_slice(name);
        }
    }

    fn push_comment(&mut self, _: &[u8]) {}

    fn push_doctype_name(&mut self, _: &[u8]) {}

    fn init_doctype(&mut self) {}

    fn init_attribute(&mut self) {
        self.end_attribute();
        let mut attribute = std::mem::take(&mut self.spare);
        attribute.name.clear();
        attribute.value.clear();
        self.tag.attribute = Some(Attribute { role: None, is_cut: false, ..attribute });
    }

    fn push_attribute_name(&mut self, name: &[u8]) {
        if let Some(attribute) = self.tag.attribute.as_mut().filter(|attribute| attribute.name.len() < 64) {
            attribute.name.extend_from_slice(name);
        }
    }

    fn push_attribute_value(&mut self, text: &[u8]) {
        let Some(attribute) = &mut self.tag.attribute else { return };
        let role = *attribute.role.get_or_insert_with(|| Role::of(&self.tag.name, &attribute.name));
        let value = &mut attribute.value;
        match role {
            Role::Style | Role::Urls(_) => {
                value.extend_from_slice(text);
                if value.len() > STYLE_PIECE {
                    let position = if let Role::Urls(position) = role { position } else { Position::Style };
                    self.tag.kind = self.tag.kind.or(active_kind_within(value, position, false));
                    value.drain(..value.len() - url::OVERLAP);
                }
            }
            Role::Url(..) | Role::Equivalent | Role::Content | Role::CharsetName => {
                // What URLs lose anyway does not count, or a URL could begin after the limit.
                let is_url = matches!(role, Role::Url(..));
                value.reserve(text.len().min(MAX_VALUE - value.len()));
                for &octet in text {
                    if is_url && (matches!(octet, b'\t' | b'\r' | b'\n') || octet <= b' ' && value.is_empty())
                    {
                        continue;
                    }
                    if value.len() == MAX_VALUE {
                        attribute.is_cut = true;
                        break;
                    }
                    value.push(octet);
                }
            }
            Role::Handler | Role::Download | Role::Other => {}
        }
    }

    fn set_doctype_public_identifier(&mut self, _: &[u8]) {}

    fn set_doctype_system_identifier(&mut self, _: &[u8]) {}

    fn push_doctype_public_identifier(&mut self, _: &[u8]) {}

    fn push_doctype_system_identifier(&mut self, _: &[u8]) {}

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.tag.is_end && self.page.raw.as_ref().is_some_and(|raw| raw.name == self.tag.name)
    }
}

/// Whether raw text holds what would be markup if it were none: anything but comments that end in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RawCheck {
    #[default]
    Text,
    LessThan,
    Declaration,
    Dash,
    /// In a comment, after so many dashes; at its start.
    Comment(u8, bool),
}

impl RawCheck {
    /// Goes on with `text`; returns whether it holds markup.
    fn read(&mut self, text: &[u8], is_script: bool) -> bool {
        let mut rest = text;
        while let [octet, after @ ..] = rest {
            rest = after;
            *self = match (*self, octet) {
                (Self::Text, _) => {
                    let Some(at) = memchr(b'<', &text[text.len() - rest.len() - 1..]) else { return false };
                    rest = &rest[at..];
                    Self::LessThan
                }
                (Self::LessThan, b'<') => Self::LessThan,
                (Self::LessThan, b'!') if !is_script => Self::Declaration,
                (Self::LessThan, b'/' | b'!' | b'?' | b'a'..=b'z' | b'A'..=b'Z') => return true,
                (Self::LessThan, _) => Self::Text,
                (Self::Declaration, b'-') => Self::Dash,
                (Self::Dash, b'-') => Self::Comment(0, true),
                (Self::Declaration | Self::Dash, _) => return true,
                // Too short for a comment, and yet one to browsers.
                (Self::Comment(_, true), b'>') => return true,
                (Self::Comment(dashes, is_start), b'-') => Self::Comment((dashes + 1).min(2), is_start),
                (Self::Comment(2, false), b'>') => Self::Text,
                (Self::Comment(2, _), b'!') => return true,
                (Self::Comment(..), _) => {
                    let at = memchr(b'-', rest).unwrap_or(rest.len());
                    rest = &rest[at..];
                    Self::Comment(0, false)
                }
            };
        }
        false
    }

    /// Whether the text ends within a comment or tag.
    fn is_within(self) -> bool {
        matches!(self, Self::Declaration | Self::Dash | Self::Comment(..))
    }
}
