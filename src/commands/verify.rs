//! `waxseal verify`: stored messages checked, as tables for people or JSON for programs.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use attachment_seal::message::stored::to_wire;
use attachment_seal::seal::message::Message;
use attachment_seal::verdict::Verdict;
use attachment_seal::verdict::report::Report;

use super::judge::{Judge, KeyArgs, read_input};
use super::{FAILED, complain, fail, table};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 every message is `pass`; 1 some other verdict; 2 the command could not do \
                        its work, and stderr has the reason."
)]
pub(super) struct Args {
    #[command(flatten)]
    keys: KeyArgs,
    /// One JSON object a line, one line a message
    #[arg(long)]
    json: bool,
    /// The messages, as .eml or Maildir files; standard input if none is named
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let judge = match Judge::new(&args.keys) {
        Ok(judge) => judge,
        Err(error) => return fail(error),
    };
    let inputs: Vec<Option<PathBuf>> =
        if args.files.is_empty() { vec![None] } else { args.files.iter().cloned().map(Some).collect() };
    let (mut all_pass, mut all_read) = (true, true);
    for input in inputs {
        let name = input.as_ref().map_or("-".to_owned(), |path| path.display().to_string());
        let stored = match read_input(input.as_deref()) {
            Ok(stored) => stored,
            Err(error) => {
                complain(format!("{name}: {error}"));
                all_read = false;
                continue;
            }
        };
        let verification = match judge.judge(&Message::new(&to_wire(stored).0)) {
            Ok(verification) => verification,
            Err(error) => return fail(error),
        };
        all_pass &= verification.verdict() == Verdict::Pass;
        let text = if args.json {
            Report::new(Some(&name), &verification).to_line()
        } else {
            table::for_people(&name, &verification)
        };
        if let Err(error) = writeln!(io::stdout().lock(), "{text}") {
            return fail(format!("cannot write: {error}"));
        }
    }
    match (all_read, all_pass) {
        (false, _) => ExitCode::from(FAILED),
        (true, false) => ExitCode::from(1),
        (true, true) => ExitCode::SUCCESS,
    }
}
