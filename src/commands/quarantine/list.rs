//! `waxseal quarantine list`: held mail, page by page, so that a hundred thousand messages take no more memory than one page.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use attachment_seal::verdict::Verdict;
use bytesize::ByteSize;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;
use serde::Serialize;

use super::super::table::shown;
use super::super::{FAILED, complain};
use super::moment::{ago, domain, moment};
use crate::phrase::with_causes;
use crate::store::{Filter, Held, HeldState, Listed, Quarantine, StoreError};

/// Messages that are read at once.
const PAGE: usize = 500;

/// Which held messages are listed.
#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    /// Only mail with this text in the author's address or the reverse-path
    #[arg(long, value_name = "TEXT")]
    from: Option<String>,
    /// Only mail with this text in a recipient's address
    #[arg(long, value_name = "TEXT")]
    to: Option<String>,
    /// Only mail of this domain and of those below it: the author's, the reverse-path's or the seal's
    #[arg(long, value_parser = domain)]
    domain: Option<String>,
    /// Only mail with this verdict
    #[arg(long, value_name = "WORD", value_parser = PossibleValuesParser::new(Verdict::EACH.map(Verdict::as_str)))]
    verdict: Option<String>,
    /// Only mail received then or later: a day (UTC), a moment, or how long ago (3d)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only mail that is held for longer than this, such as 7d
    #[arg(long, value_name = "AGE", value_parser = ago)]
    older_than: Option<Timestamp>,
    /// Only mail with this Message-ID, with or without its angle brackets
    #[arg(long, value_name = "MESSAGE-ID")]
    message_id: Option<String>,
    /// Only mail in this state: in-doubt (a release was cut short, so some recipients may have it), partly (some
    /// recipients have it), requested (one person asked for its release, and it takes two), kept (not removed by
    /// age), held (none of these)
    #[arg(long, value_parser = PossibleValuesParser::new(HeldState::ALL.map(HeldState::as_str)).try_map(|word| word.parse::<HeldState>()))]
    state: Option<HeldState>,
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        Filter {
            from: self.from.clone(),
            to: self.to.clone(),
            domain: self.domain.clone(),
            verdict: self.verdict.clone(),
            since: self.since,
            until: self.older_than,
            message_id: self.message_id.clone(),
            state: self.state,
            expires: None,
        }
    }
}

/// One line of `list --json`, and what `show --json` begins with.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    id: &'a str,
    #[serde(flatten)]
    pub(super) held: &'a Held,
    state: &'static str,
    /// Whether it is not removed by age.
    keep: bool,
    /// When it is removed by age, once that is announced.
    expires: Option<Timestamp>,
    /// Recipients to whom it was released.
    pub(super) delivered: Vec<&'a str>,
    /// Recipients to whom a release that was cut short may have delivered it or not.
    pub(super) in_doubt: Vec<&'a str>,
}

impl<'a> Line<'a> {
    pub(super) fn new(quarantine: &dyn Quarantine, listed: &'a Listed) -> Result<Self, StoreError> {
        let Listed { id, held, state, keep, expires } = listed;
        let (mut delivered, mut in_doubt) = (Vec::new(), Vec::new());
        // Of the others, nobody has it.
        if matches!(state, HeldState::InDoubt | HeldState::Partly) {
            let releases = quarantine.releases(id)?;
            let path = |at: &usize| held.recipients.get(*at).map(String::as_str);
            delivered.extend(releases.delivered.iter().filter_map(path));
            in_doubt.extend(releases.in_doubt.keys().filter_map(path));
        }
        let state = state.as_str();
        Ok(Self { id: id.as_str(), held, state, keep: *keep, expires: *expires, delivered, in_doubt })
    }
}

pub(super) fn list(
    quarantine: &dyn Quarantine,
    args: &FilterArgs,
    json: bool,
) -> Result<ExitCode, StoreError> {
    let filter = args.filter();
    let columns = Columns { for_people: !json && io::stdout().is_terminal() };
    let (mut after, mut is_whole, mut is_first) = (None, true, true);
    loop {
        let page = quarantine.list(&filter, after.as_ref(), PAGE)?;
        if is_first && columns.for_people && !page.held.is_empty() {
            say!("{}", columns.heading());
            is_first = false;
        }
        for listed in &page.held {
            if json {
                let line = Line::new(quarantine, listed)?;
                say!("{}", serde_json::to_string(&line).expect("facts are strings and numbers"));
            } else {
                say!("{}", columns.line(listed));
            }
        }
        for damaged in &page.damaged {
            complain(with_causes(damaged));
            is_whole = false;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// How a message is put on a line. A script gets every text whole.
struct Columns {
    for_people: bool,
}

impl Columns {
    fn heading(&self) -> String {
        self.join("ID", ["RECEIVED", "STATE", "VERDICT", "SIZE", "FROM", "TO", "SUBJECT"], "WHY")
    }

    fn line(&self, listed: &Listed) -> String {
        let Listed { id, held, state, .. } = listed;
        let reason = held.reason.as_deref().or_else(|| held.details.doubts.first().map(|doubt| &*doubt.code));
        let verdict = match reason {
            Some(reason) => format!("{} ({reason})", held.verdict),
            None => held.verdict.clone(),
        };
        let from = held.details.from.clone().unwrap_or_else(|| format!("<{}>", held.reverse_path));
        let texts = [
            held.received.strftime("%Y-%m-%d %H:%M").to_string(),
            state.as_str().to_owned(),
            shown(&verdict),
            ByteSize(held.size).display().iec().to_string(),
            self.cut(&from, 32),
            self.cut(&recipients(held), 32),
            self.cut(held.details.subject.as_deref().unwrap_or("-"), 32),
        ];
        self.join(id.as_str(), texts.each_ref().map(String::as_str), &self.cut(&held.summary, 60))
    }

    fn join(&self, id: &str, texts: [&str; 7], last: &str) -> String {
        /// How wide each column is at least.
        const WIDTHS: [usize; 7] = [16, 9, 20, 9, 32, 32, 32];
        let padded = texts.iter().zip(WIDTHS).map(|(text, width)| {
            let width = if self.for_people { width } else { 0 };
            format!("{text:width$}")
        });
        let between = if self.for_people { "  " } else { " " };
        let padded: Vec<String> = padded.collect();
        [id, &padded.join(between), last].join(between)
    }

    /// A stranger's text, on a terminal no longer than its column.
    fn cut(&self, text: &str, width: usize) -> String {
        let text = shown(text);
        if !self.for_people || text.chars().count() <= width {
            return text;
        }
        text.chars().take(width - 1).chain(['…']).collect()
    }
}

/// The forward-paths, each in its brackets.
pub(super) fn recipients(held: &Held) -> String {
    held.recipients.iter().map(|path| format!("<{path}>")).collect::<Vec<_>>().join(", ")
}
