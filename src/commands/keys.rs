//! `waxseal keys`: what is known of correspondents' keys, and what the administrator says of them.

mod fingerprint;

use std::process::ExitCode;

use clap::Subcommand;

/// Arguments of `keys`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print fingerprints of keys, or of a message's attachments, as digits and as words
    Fingerprint(fingerprint::Args),
}

pub(super) fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Fingerprint(args) => fingerprint::run(args),
    }
}
