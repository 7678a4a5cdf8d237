//! `waxseal check-config`: every mistake and danger of the configuration, with file, key and reason.

use std::process::ExitCode;

use super::ConfigArg;
use crate::config::{self, Mistake};
use crate::gateway::setup::Setup;

/// Arguments of `check-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 the configuration is good, keys included; 1 it is not. Warnings, on \
                        stderr, do not count.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match config::load(&args.config.config).and_then(Setup::read) {
        Ok(setup) => {
            for warning in &setup.config.warnings {
                super::say_on_stderr(format_args!("warning: {warning}"));
            }
            say!("{}: good", args.config.config.display());
            for own in &setup.domains {
                let selectors: Vec<String> =
                    own.keys().iter().map(|(selector, _)| selector.to_string()).collect();
                say!("  seals for {} ({})", own.name(), selectors.join(", "));
            }
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            print(&mistakes);
            ExitCode::from(1)
        }
    }
}

/// One line a mistake, on stderr.
pub(super) fn print(mistakes: &[Mistake]) {
    for mistake in mistakes {
        super::say_error(format_args!("{mistake}"));
    }
}
