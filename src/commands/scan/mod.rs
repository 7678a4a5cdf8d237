//! `waxseal scan`: every message of a mail store checked, for an investigation after a break-in.

use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use attachment_seal::domain::DomainName;
use attachment_seal::seal::message::Message;
use attachment_seal::verdict::Verdict;
use attachment_seal::verdict::report::Report;
use jiff::Timestamp;
use serde::Serialize;
use tempfile::NamedTempFile;

use self::progress::Progress;
use super::judge::{Judge, KeyArgs};
use super::table::{self, shown};
use super::{FAILED, complain, fail};
use crate::clock::second;
use crate::phrase::counted;
use crate::scan::crew::{Feed, in_order};
use crate::scan::csv::Csv;
use crate::scan::files::{Files, Source};
use crate::scan::html::{Facts, Html};
use crate::scan::inspect::{Judged, Outcome, Told, inspect};
use crate::scan::letter::Letter;
use crate::scan::source::{self, Item};
use crate::scan::tally::Tally;
use crate::scan::wanted::{Wanted, parse_since};
use crate::scan::{Finding, Place, Unread, is_alteration};

mod progress;

/// Threads for each core where messages wait for DNS.
const WAITING: usize = 4;

/// Arguments of `scan`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Mail that Dovecot compressed is unpacked (gzip, zstd, bzip2, lz4, xz). In Maildirs and dbox folders every \
                  file must be mail; in other folders a file counts as mail if its name or its beginning tells so. The other \
                  files are counted. An mdbox keeps deleted mail until Dovecot purges it (`doveadm purge`), and that mail is \
                  checked as well.\n\n\
                  Exit status: 0 nothing was altered; 1 some message is `fail`, `ambiguous`, `missing` or `key-changed`; \
                  2 something could not be read, is no mail, or is `temperror`, and stderr names it."
)]
pub(super) struct Args {
    #[command(flatten)]
    keys: KeyArgs,
    /// One JSON object a line, one line for every message
    #[arg(long)]
    json: bool,
    /// Leave out messages from before this day or moment (2026-11-23, 2026-11-23T09:00:00Z). The date counts at which the
    /// last server received a message, or the message's own, whichever is later. A message without either is checked
    #[arg(long, value_name = "DATE", value_parser = parse_since)]
    since: Option<Timestamp>,
    /// Leave out messages of other domains: From and the seal are neither of DOMAIN nor of a domain below it. May be given
    /// several times
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<DomainName>,
    /// Write the findings as a page for people, which needs nothing else. It replaces FILE
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write the findings as a table for spreadsheets (RFC 4180, UTF-8). It replaces FILE
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// Maildirs, mbox files, dbox and mdbox folders, folders with .eml files, single messages
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let judge = match Judge::new(&args.keys) {
        Ok(judge) => judge,
        Err(error) => return fail(error),
    };
    let outputs = match Outputs::open(args) {
        Ok(outputs) => outputs,
        Err(error) => return fail(error),
    };
    let mut files = Files::default();
    for path in &args.paths {
        files.gather(path);
    }
    let progress = Progress::new(files.sources.iter().map(|source| source.size).sum());
    let mut scan =
        Scan { json: args.json, progress, tally: Tally::default(), outputs, started: Instant::now() };
    for (path, why) in &files.unread {
        scan.unread(&Place::file(path), why);
    }
    let wanted = Wanted { since: args.since, domains: args.domain.clone() };
    let max = judge.max_message();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if judge.asks_dns() { WAITING * cores } else { cores };
    in_order(
        threads,
        2 * max,
        |feed| files.sources.iter().for_each(|source| hand_out(source, max, feed)),
        |Item { place, read, content }| {
            let judge = |message: &Message<'_>| {
                judge.judge(message).map_err(|error| Unread::NotJudged(error.to_string()))
            };
            let outcome = match content {
                Ok(stored) => inspect(stored, max, &wanted, judge),
                Err(fault) => Outcome::Unread(fault),
            };
            Told { place, read, outcome }
        },
        |told| scan.take(told),
    );
    scan.finish(args, &files)
}

/// Reads one file. Of a panic no more than the rest of this file is lost.
fn hand_out(source: &Source, max: u64, feed: &Feed<'_, Item, Told>) {
    let give = |item: Item| {
        let weight = item.content.as_ref().map_or(0, source::Stored::size);
        feed.put(item, weight);
    };
    if catch_unwind(AssertUnwindSafe(|| source::read(source, max, give))).is_err() {
        feed.put(Item { place: Place::file(&source.path), read: 0, content: Err(Unread::Fault) }, 0);
    }
}

/// One line of `--json`: what `verify` prints, and what a message says of itself.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    report: Report<'a>,
    #[serde(flatten)]
    letter: &'a Letter,
    /// Where the message begins in a file of several.
    offset: Option<u64>,
}

struct Scan {
    json: bool,
    progress: Progress,
    tally: Tally,
    outputs: Outputs,
    started: Instant,
}

impl Scan {
    fn take(&mut self, Told { place, read, outcome }: Told) {
        match outcome {
            Outcome::Judged(judged) => self.judged(&place, &judged),
            Outcome::LeftOut => self.tally.left_out += 1,
            Outcome::Unread(why) => self.unread(&place, &why),
        }
        self.progress.advance(read, &self.tally);
    }

    fn judged(&mut self, place: &Place, Judged { letter, verification, size }: &Judged) {
        self.tally.count(verification, *size);
        let verdict = verification.verdict();
        let is_told = is_alteration(verdict) || verdict == Verdict::Temperror;
        let name = place.to_string();
        if self.json {
            let report = Report::new(Some(&name), verification);
            match serde_json::to_string(&Line { report, letter, offset: place.offset() }) {
                Ok(line) => self.progress.aside(|| say!("{line}")),
                Err(error) => self.outputs.broken(error),
            }
        } else if is_told {
            let mut facts: Vec<(&str, String)> =
                letter.fields().map(|(name, value)| (name, value.to_owned())).collect();
            facts.extend(place.offset().map(|offset| ("Offset", offset.to_string())));
            self.progress.aside(|| say!("{}", table::with_facts(&name, &facts, verification)));
        }
        if is_told {
            self.outputs.finding(Finding { place, letter, verification });
        }
    }

    fn unread(&mut self, place: &Place, why: &Unread) {
        self.tally.unread += 1;
        let at = place.offset().map(|offset| format!(" (offset {offset})")).unwrap_or_default();
        self.progress.aside(|| complain(format!("{}{at}: {why}", shown(&place.to_string()))));
        self.outputs.unread(place, &why.to_string());
    }

    fn finish(self, args: &Args, files: &Files) -> ExitCode {
        let Self { progress, tally, outputs, started, .. } = self;
        progress.finish();
        let elapsed = started.elapsed();
        let mut remarks = tally.remarks();
        remarks.extend(others(files));
        let rate = tally.rate(elapsed);
        if args.json {
            remarks.iter().for_each(complain);
        } else {
            say!("{rate}");
            remarks.iter().for_each(|remark| say!("{}", shown(remark)));
            say!("{}", tally.line());
        }
        let are_written = outputs.finish(args, &tally, &remarks, rate);
        match (are_written && !tally.is_incomplete(), tally.altered > 0) {
            (false, _) => ExitCode::from(FAILED),
            (true, true) => ExitCode::from(1),
            (true, false) => ExitCode::SUCCESS,
        }
    }
}

/// What is said of files that are no mail.
fn others(files: &Files) -> Option<String> {
    let others = &files.others;
    let names: Vec<String> = others.names.iter().map(|path| path.display().to_string()).collect();
    let more = if others.count > names.len() as u64 { ", …" } else { "" };
    let count = counted(others.count, "other file");
    (others.count > 0)
        .then(|| format!("{count} in the folders not read, for they are no mail: {}{more}", names.join(", ")))
}

/// The files that were asked for. They appear when the scan has ended, so that half a report is none.
struct Outputs {
    csv: Option<Csv<BufWriter<NamedTempFile>>>,
    report: Option<(Html, NamedTempFile)>,
    /// Whether writing failed, which is said once.
    is_broken: bool,
}

impl Outputs {
    /// Before the scan, so that a wrong path costs no hour.
    fn open(args: &Args) -> Result<Self, String> {
        let csv = args.csv.as_deref().map(|path| {
            beside(path).and_then(|file| Csv::new(BufWriter::new(file))).map_err(|error| named(path, &error))
        });
        let report = args.report.as_deref().map(|path| {
            let files = || Ok((Html::new()?, beside(path)?));
            files().map_err(|error: io::Error| named(path, &error))
        });
        Ok(Self { csv: csv.transpose()?, report: report.transpose()?, is_broken: false })
    }

    fn finding(&mut self, finding: Finding<'_>) {
        self.write(|csv| csv.finding(finding), |html| html.finding(finding));
    }

    fn unread(&mut self, place: &Place, why: &str) {
        self.write(|csv| csv.unread(place, why), |html| html.unread(place, why));
    }

    fn write(
        &mut self,
        csv: impl FnOnce(&mut Csv<BufWriter<NamedTempFile>>) -> io::Result<()>,
        html: impl FnOnce(&mut Html) -> io::Result<()>,
    ) {
        let results = [self.csv.as_mut().map(csv), self.report.as_mut().map(|(page, _)| html(page))];
        if let Some(error) = results.into_iter().flatten().find_map(Result::err) {
            self.broken(error);
        }
    }

    fn broken(&mut self, error: impl std::fmt::Display) {
        if !self.is_broken {
            complain(format!("cannot write the findings: {error}"));
        }
        self.is_broken = true;
    }

    /// Puts the files in their places. Says whether all is written.
    fn finish(mut self, args: &Args, tally: &Tally, remarks: &[String], rate: String) -> bool {
        let csv = self.csv.take().map(|csv| {
            let file = csv.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            put(file, args.csv.as_deref())
        });
        let report = self.report.take().map(|(page, mut file)| {
            let of_the_scan = of_the_scan(args, rate);
            let mut out = BufWriter::new(&mut file);
            page.finish(&mut out, &Facts { of_the_scan: &of_the_scan, tally, remarks })?;
            out.flush()?;
            drop(out);
            put(file, args.report.as_deref())
        });
        if let Some(error) = [csv, report].into_iter().flatten().find_map(Result::err) {
            self.broken(error);
        }
        !self.is_broken
    }
}

fn named(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// A new file in the folder of `path`, for its owner alone: findings name people.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new().prefix(".waxseal-").tempfile_in(folder)
}

fn put(file: NamedTempFile, path: Option<&Path>) -> io::Result<()> {
    file.as_file().sync_all()?;
    match path {
        Some(path) => file.persist(path).map(drop).map_err(|error| error.error),
        None => Ok(()),
    }
}

/// What the report says of the scan itself.
fn of_the_scan(args: &Args, rate: String) -> Vec<(&'static str, String)> {
    let paths: Vec<String> = args.paths.iter().map(|path| path.display().to_string()).collect();
    let mut facts = vec![("Scanned", paths.join(", ")), ("At", second(Timestamp::now())), ("Speed", rate)];
    facts.extend(args.since.map(|since| ("Since", second(since))));
    let domains: Vec<&str> = args.domain.iter().map(DomainName::as_str).collect();
    facts.extend((!domains.is_empty()).then(|| ("Only of", domains.join(", "))));
    facts.push(("By", format!("waxseal {}", env!("CARGO_PKG_VERSION"))));
    facts
}
