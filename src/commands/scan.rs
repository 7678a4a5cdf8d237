//! `waxseal scan`: every message of a mail store checked, for an investigation after a break-in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use attachment_seal::message::stored::Mbox;
use attachment_seal::verdict::report::Report;
use attachment_seal::verdict::{Verdict, Verification};
use indicatif::{ProgressBar, ProgressStyle};

use super::judge::{Judge, KeyArgs};
use super::{FAILED, complain, fail, table};

/// Arguments of `scan`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 nothing was altered; 1 some message is `fail`, `ambiguous`, `missing` or \
                        `key-changed`; 2 something could not be read, and stderr names it."
)]
pub(super) struct Args {
    #[command(flatten)]
    keys: KeyArgs,
    /// One JSON object a line, one line for every message
    #[arg(long)]
    json: bool,
    /// Maildirs, mbox files, folders with .eml files, single messages
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let judge = match Judge::new(&args.keys) {
        Ok(judge) => judge,
        Err(error) => return fail(error),
    };
    let mut files = Files::default();
    for path in &args.paths {
        files.gather(path);
    }
    let bar = ProgressBar::new(files.found.len() as u64).with_style(style());
    let mut scan = Scan { judge, json: args.json, bar, counts: BTreeMap::new(), found_alteration: false };
    let mut all_read = files.all_read;
    for path in &files.found {
        if let Err(error) = scan.file(path) {
            scan.bar.suspend(|| complain(format!("{}: {error}", path.display())));
            all_read = false;
        }
        scan.bar.inc(1);
    }
    scan.bar.finish_and_clear();
    if !args.json {
        say!("{}", scan.totals());
    }
    match (all_read, scan.found_alteration) {
        (false, _) => ExitCode::from(FAILED),
        (true, true) => ExitCode::from(1),
        (true, false) => ExitCode::SUCCESS,
    }
}

fn style() -> ProgressStyle {
    let template = "{bar:40} {pos}/{len} files, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The files to be read.
#[derive(Debug)]
struct Files {
    found: Vec<PathBuf>,
    all_read: bool,
}

impl Default for Files {
    fn default() -> Self {
        Self { found: Vec::new(), all_read: true }
    }
}

impl Files {
    fn gather(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.gather_folder(path, false),
            Ok(_) => self.found.push(path.to_owned()),
            Err(error) => self.complain(path, &error),
        }
    }

    /// In a Maildir's `cur` and `new` every file is a message; elsewhere those that look like mail.
    fn gather_folder(&mut self, folder: &Path, all: bool) {
        let entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => return self.complain(folder, &error),
        };
        let mut entries: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
        entries.sort();
        let is_maildir = folder.join("cur").is_dir() && folder.join("new").is_dir();
        for path in entries {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if metadata.is_dir() {
                match (is_maildir, name.as_ref()) {
                    (true, "tmp") => {}
                    (true, "cur" | "new") => self.gather_folder(&path, true),
                    _ => self.gather_folder(&path, false),
                }
            } else if all || metadata.is_file() && looks_like_mail(&path) {
                self.found.push(path);
            }
        }
    }

    fn complain(&mut self, path: &Path, error: &io::Error) {
        complain(format!("{}: {error}", path.display()));
        self.all_read = false;
    }
}

fn looks_like_mail(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("eml"))
        || is_mbox(path).unwrap_or(false)
}

fn is_mbox(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(5).read_to_end(&mut start)?;
    Ok(start == b"From ")
}

struct Scan {
    judge: Judge,
    json: bool,
    bar: ProgressBar,
    counts: BTreeMap<&'static str, u64>,
    found_alteration: bool,
}

impl Scan {
    fn file(&mut self, path: &Path) -> io::Result<()> {
        if is_mbox(path)? {
            for (number, message) in Mbox::new(BufReader::new(File::open(path)?)).enumerate() {
                let verification = self.judge.judge_from_mbox(message?).map_err(io::Error::other)?;
                self.report(&format!("{}#{}", path.display(), number + 1), &verification)?;
            }
            return Ok(());
        }
        let verification = self.judge.judge(fs::read(path)?).map_err(io::Error::other)?;
        self.report(&path.display().to_string(), &verification)
    }

    fn report(&mut self, name: &str, verification: &Verification) -> io::Result<()> {
        *self.counts.entry(verification.verdict().as_str()).or_default() += 1;
        let is_finding = is_finding(verification.verdict());
        self.found_alteration |= is_finding;
        let text = match (self.json, is_finding) {
            (true, _) => Report::new(Some(name), verification).to_line(),
            (false, true) => table::for_people(name, verification),
            (false, false) => return Ok(()),
        };
        self.bar.suspend(|| writeln!(io::stdout().lock(), "{text}"))
    }

    fn totals(&self) -> String {
        let total: u64 = self.counts.values().sum();
        let counts: Vec<String> =
            self.counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        let messages = if total == 1 { "message" } else { "messages" };
        match counts.as_slice() {
            [] => "no message found".to_owned(),
            counts => format!("{total} {messages}: {}", counts.join(", ")),
        }
    }
}

/// Stored mail is old, so `expired` is no finding here.
fn is_finding(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Fail(_) | Verdict::Ambiguous | Verdict::Missing | Verdict::KeyChanged)
}
