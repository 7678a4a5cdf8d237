//! The report for people: one page that needs nothing else, with no script in it, in which nothing of a message is HTML.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};

use attachment_seal::manifest::{Entry, Outcome, Status};
use attachment_seal::verdict::Verdict;
use attachment_seal::verdict::links;
use attachment_seal::verdict::report::{is_plain, reason, sentence};
use bytesize::ByteSize;

use super::tally::Tally;
use super::{Finding, Place};
use crate::phrase::counted;

/// Collects what the page will list, in files without a name: a store may hold any number of findings.
#[derive(Debug)]
pub struct Html {
    findings: BufWriter<File>,
    unread: BufWriter<File>,
}

/// What the page says besides.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The paths that were scanned, what was asked for, when, and how fast, each with its name.
    pub of_the_scan: &'a [(&'a str, String)],
    /// What was counted.
    pub tally: &'a Tally,
    /// What else a reader should know.
    pub remarks: &'a [String],
}

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#1b1b1b;background:#fff}\
h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.2em;margin-top:2em}\
.box{border-left:.4em solid;padding:.6em 1em;margin:1em 0}\
.bad{border-color:#b3261e;background:#fdeceb}.doubt{border-color:#b26a00;background:#fff4e0}\
.good{border-color:#1b7f3b;background:#e9f6ec}\
.finding{border:1px solid #ccc;border-radius:.3em;padding:.8em 1em;margin:1em 0;break-inside:avoid}\
.finding h3{font-size:1em;margin:0 0 .4em;overflow-wrap:anywhere}\
.word{color:#b3261e}table{border-collapse:collapse;margin:.6em 0}\
th,td{text-align:left;vertical-align:top;padding:.15em 1em .15em 0;overflow-wrap:anywhere;unicode-bidi:isolate}\
th{font-weight:600;white-space:nowrap}td.hash{font-family:monospace}li{overflow-wrap:anywhere}\
@media(max-width:40em){td,th{display:block}}";

impl Html {
    /// Begins.
    pub fn new() -> io::Result<Self> {
        let file = || tempfile::tempfile().map(BufWriter::new);
        Ok(Self { findings: file()?, unread: file()? })
    }

    /// Lists a message.
    pub fn finding(&mut self, Finding { place, letter, verification }: Finding<'_>) -> io::Result<()> {
        let out = &mut self.findings;
        let verdict = verification.verdict();
        let word = escaped(verdict.as_str());
        write!(
            out,
            "<div class=\"finding\"><h3><span class=\"word\">{word}</span> — {}</h3>\n<table>\n",
            escaped(&sentence(verification))
        )?;
        let mut fields: Vec<(&str, String)> =
            letter.fields().map(|(name, value)| (name, value.to_owned())).collect();
        fields.push(("File", place.file.display().to_string()));
        if let Some((number, offset)) = place.part {
            fields.push(("In it", format!("message {number}, at offset {offset}")));
        }
        if let (Some(domain), Some(selector)) = (verification.domain(), verification.selector()) {
            fields.push(("Sealed by", format!("{domain} ({selector})")));
        }
        let on_ground = verification.known().filter(|_| verdict == Verdict::Missing);
        fields.extend(on_ground.map(|ground| ("Known to seal by", ground.as_str().to_owned())));
        fields.extend(reason(verification).map(|reason| ("Reason", reason.to_owned())));
        fields.extend(links::in_words(verification).map(|links| ("Links", links)));
        fields.extend(verification.remarks().iter().map(|remark| ("Doubt", remark.to_string())));
        for (name, value) in &fields {
            row(out, name, value)?;
        }
        out.write_all(b"</table>\n")?;
        attachments(out, verification.attachments())?;
        out.write_all(b"</div>\n")
    }

    /// Lists what could not be read.
    pub fn unread(&mut self, place: &Place, why: &str) -> io::Result<()> {
        let at = place.offset().map(|offset| format!(" (offset {offset})")).unwrap_or_default();
        writeln!(self.unread, "<li>{}{at}: {}</li>", escaped(&place.to_string()), escaped(why))
    }

    /// Writes the page.
    pub fn finish(self, out: &mut impl Write, facts: &Facts<'_>) -> io::Result<()> {
        let tally = facts.tally;
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
             <title>waxseal scan</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Scan of stored mail</h1>\n"
        )?;
        conclusion(out, tally)?;
        for remark in facts.remarks {
            writeln!(out, "<p>{}.</p>", escaped(remark))?;
        }
        out.write_all(b"<table>\n")?;
        for (name, value) in facts.of_the_scan {
            row(out, name, value)?;
        }
        let verdicts: Vec<String> =
            tally.verdicts().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        row(out, "Messages", &format!("{} ({})", tally.messages(), verdicts.join(", ")))?;
        out.write_all(b"</table>\n")?;
        section(out, "Findings", "div", self.findings)?;
        section(out, "Not read", "ul", self.unread)?;
        out.write_all(b"</body>\n</html>\n")
    }
}

/// The first thing to know.
fn conclusion(out: &mut impl Write, tally: &Tally) -> io::Result<()> {
    if tally.altered > 0 {
        let messages = counted(tally.altered, "message");
        writeln!(
            out,
            "<div class=\"box bad\"><b>{messages} altered, or possibly altered.</b> See below.</div>"
        )?;
    }
    if tally.unread > 0 {
        let (count, be) = (tally.unread, if tally.unread == 1 { "thing" } else { "things" });
        writeln!(
            out,
            "<div class=\"box doubt\"><b>{count} {be} could not be read.</b> This report knows nothing of their \
             content.</div>"
        )?;
    }
    if tally.undecided > 0 {
        let messages = counted(tally.undecided, "message");
        writeln!(out, "<div class=\"box doubt\"><b>{messages} could not be decided.</b></div>")?;
    }
    if tally.altered == 0 && !tally.is_incomplete() {
        writeln!(out, "<div class=\"box good\"><b>No message was found altered.</b></div>")?;
    }
    Ok(())
}

/// A list that was collected, under its heading; nothing if it is empty.
fn section(out: &mut impl Write, heading: &str, element: &str, list: BufWriter<File>) -> io::Result<()> {
    let mut list = list.into_inner().map_err(io::IntoInnerError::into_error)?;
    if list.stream_position()? == 0 {
        return Ok(());
    }
    list.rewind()?;
    writeln!(out, "<h2>{heading}</h2>\n<{element}>")?;
    io::copy(&mut BufReader::new(list), out)?;
    writeln!(out, "</{element}>")
}

fn row(out: &mut impl Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", escaped(name), escaped(value))
}

fn attachments(out: &mut impl Write, outcomes: &[Outcome]) -> io::Result<()> {
    if outcomes.is_empty() {
        return Ok(());
    }
    out.write_all(
        b"<table>\n<tr><th>Attachment</th><th>Fate</th><th>As sealed</th><th>As found</th></tr>\n",
    )?;
    for outcome in outcomes {
        let (sealed, found) = (outcome.sealed.as_ref(), outcome.found.as_ref());
        let name = match (sealed, found) {
            (Some(sealed), Some(found)) if outcome.status == Status::Renamed => {
                format!("{} → {}", named(sealed), named(found))
            }
            _ => sealed.or(found).map(named).unwrap_or_default(),
        };
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"hash\">{}</td><td class=\"hash\">{}</td></tr>",
            escaped(&name),
            escaped(outcome.status.as_str()),
            escaped(&sealed.map(content).unwrap_or_default()),
            escaped(&found.map(content).unwrap_or_default()),
        )?;
    }
    out.write_all(b"</table>\n")
}

fn named(entry: &Entry) -> String {
    let name = if entry.name.is_empty() { "(no name)" } else { &entry.name };
    format!("{name} [{}]", entry.media_type)
}

fn content(entry: &Entry) -> String {
    format!("{}, BLAKE3 {}", ByteSize(entry.size).display().iec(), &entry.hash.to_hex()[..12])
}

/// Text as HTML shows it, in an element or a quoted attribute; what is invisible or turns the direction of text becomes `?`.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c if is_plain(c) => html.push(c),
            _ => html.push('?'),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_of_a_message_is_html() {
        for (text, html) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\"' onerror=x", "&quot;&#39; onerror=x"),
            ("a & b &lt;", "a &amp; b &amp;lt;"),
            ("fdp\u{202e}exe.\u{0}\u{200b}", "fdp?exe.??"),
            ("Büro — 1", "Büro — 1"),
        ] {
            assert_eq!(escaped(text), html);
        }
    }

    proptest! {
        #[test]
        fn whatever_it_holds(text in any::<String>()) {
            let html = escaped(&text);
            prop_assert!(!html.contains(['<', '>', '"', '\'']));
            prop_assert!(html.chars().all(is_plain));
        }
    }
}
