//! Findings as a table for spreadsheets (RFC 4180), in UTF-8.

use std::io::{self, Write};

use attachment_seal::verdict::report::{is_plain, reason, summary};

use super::{Finding, Place};

/// The columns. More may be added at the end.
const COLUMNS: [&str; 12] = [
    "verdict",
    "reason",
    "file",
    "number",
    "offset",
    "message_id",
    "date",
    "from",
    "subject",
    "domain",
    "selector",
    "details",
];

/// The verdict's word in a row for what could not be read.
const UNREAD: &str = "unread";

/// Writes the table, row by row.
#[derive(Debug)]
pub struct Csv<W>(W);

impl<W: Write> Csv<W> {
    /// Begins with the names of the columns.
    pub fn new(writer: W) -> io::Result<Self> {
        let mut csv = Self(writer);
        csv.row(COLUMNS)?;
        Ok(csv)
    }

    /// A row for a message.
    pub fn finding(&mut self, Finding { place, letter, verification }: Finding<'_>) -> io::Result<()> {
        let details = summary(verification);
        self.row([
            verification.verdict().as_str(),
            reason(verification).unwrap_or_default(),
            &place.file.display().to_string(),
            &place.part.map(|(number, _)| number.to_string()).unwrap_or_default(),
            &place.offset().map(|offset| offset.to_string()).unwrap_or_default(),
            letter.message_id.as_deref().unwrap_or_default(),
            letter.date.as_deref().unwrap_or_default(),
            letter.from.as_deref().unwrap_or_default(),
            letter.subject.as_deref().unwrap_or_default(),
            verification.domain().map(|domain| domain.as_str()).unwrap_or_default(),
            verification.selector().map(|selector| selector.as_str()).unwrap_or_default(),
            &details,
        ])
    }

    /// A row for what could not be read.
    pub fn unread(&mut self, place: &Place, why: &str) -> io::Result<()> {
        let number = place.part.map(|(number, _)| number.to_string()).unwrap_or_default();
        let offset = place.offset().map(|offset| offset.to_string()).unwrap_or_default();
        let file = place.file.display().to_string();
        self.row([UNREAD, "", &file, &number, &offset, "", "", "", "", "", "", why])
    }

    fn row(&mut self, cells: [&str; COLUMNS.len()]) -> io::Result<()> {
        let cells: Vec<String> = cells.iter().map(|cell| written(cell)).collect();
        write!(self.0, "{}\r\n", cells.join(","))
    }

    /// Ends the table.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0)
    }
}

/// A cell: in quotes where it must be, and never a formula. What begins like one gets an apostrophe, which spreadsheets
/// take for the mark of a text.
fn written(text: &str) -> String {
    let mut cell: String = text.chars().map(|c| if is_plain(c) { c } else { '?' }).collect();
    if cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) {
        cell.insert(0, '\'');
    }
    if cell.contains([',', '"', ';'])
        || cell.starts_with(char::is_whitespace)
        || cell.ends_with(char::is_whitespace)
    {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_two_rows() {
        for (text, cell) in [
            ("plain", "plain"),
            ("Büro 12", "Büro 12"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"a\"", "\"say \"\"a\"\"\""),
            ("=1+1", "'=1+1"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("-1", "'-1"),
            ("+1", "'+1"),
            (" =1", "' =1"),
            ("\t=1", "?=1"),
            ("＝1", "'＝1"),
            ("a\r\nb\u{202e}c\0", "a??b?c?"),
            ("a;b", "\"a;b\""),
        ] {
            assert_eq!(written(text), cell, "{text:?}");
        }
    }

    #[test]
    fn what_was_not_read_has_a_row() {
        let mut csv = Csv::new(Vec::new()).unwrap();
        let place = Place { part: Some((3, 1200)), ..Place::file(Path::new("=a,b.eml")) };
        csv.unread(&place, "this is no mail").unwrap();
        let text = String::from_utf8(csv.finish().unwrap()).unwrap();
        let rows: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(rows[1], "unread,,\"'=a,b.eml\",3,1200,,,,,,,this is no mail");
        assert_eq!(rows[0].split(',').count(), COLUMNS.len());
    }
}
