//! The `waxseal` command.

use std::process::ExitCode;

use clap::Parser;
use waxseal::commands::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
