//! A log line's message and fields as text: `message key=value key="other value"`. A value from outside can look like
//! neither: what is not one plain word is quoted, and a message is quoted where it could be read as fields.
//!
//! In quotes, `\"` and `\\` are those characters, `\n`, `\r` and `\t` line ends and tabs, and `\u{202e}` any other
//! character that people cannot see or that turns text around.

use std::fmt::{self, Debug, Write};

use attachment_seal::verdict::report::is_plain;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes message and fields.
#[derive(Debug)]
pub(super) struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_empty: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    is_empty: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn add(&mut self, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_err() {
            return;
        }
        let separator = if std::mem::take(&mut self.is_empty) { "" } else { " " };
        self.result = self.writer.write_str(separator).and_then(|()| write(&mut self.writer));
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            return self.record_debug(field, &format_args!("{value}"));
        }
        self.add(|writer| {
            write!(writer, "{}=", field.name())?;
            quote(writer, value)
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        let name = field.name();
        self.add(|writer| match name {
            "message" if is_message(&text) => writer.write_str(&text),
            "message" => quote(writer, &text),
            _ => {
                write!(writer, "{name}=")?;
                if is_word(&text) { writer.write_str(&text) } else { quote(writer, &text) }
            }
        });
    }
}

/// Whether a text can be the message as it is: nothing in it looks like a field, ends the line or opens a quotation.
fn is_message(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| is_plain(c) && !matches!(c, '=' | '"' | '\\'))
}

/// Whether a text can be a value without quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && !b"=\"\\".contains(&octet))
}

fn quote(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if is_plain(c) => out.write_char(c)?,
            c => write!(out, "\\u{{{:x}}}", u32::from(c))?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_could_be_taken_for_more_than_it_is() {
        for (text, quoted) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            (r#"x" verdict="pass"#, r#""x\" verdict=\"pass""#),
            ("\\\n\r\t\u{1b}[2K\u{202e}\u{85}é", r#""\\\n\r\t\u{1b}[2K\u{202e}\u{85}é""#),
        ] {
            let mut out = String::new();
            quote(&mut out, text).unwrap();
            assert_eq!(out, quoted);
        }
        for text in ["127.0.0.1:25", "[2001:db8::1]:25", "a@b.example", "20261123T061112-7f3a9c"] {
            assert!(is_word(text), "{text}");
        }
        for text in ["", "a b", "a=b", "a\"", "a\\", "é", "a\u{7f}"] {
            assert!(!is_word(text), "{text}");
        }
        assert!(is_message("session ends: client gone"));
        for text in ["", "changed: x verdict=pass", "\"", "a\nb", "a\u{2028}b", "a\u{202e}b"] {
            assert!(!is_message(text), "{text}");
        }
    }
}
