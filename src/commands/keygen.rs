//! `waxseal keygen`: a new sealing key, its DNS record and its fingerprint.

use std::path::PathBuf;
use std::process::ExitCode;

use zeroize::Zeroizing;

use super::{dns_record, fail};
use crate::domain::{DomainName, Selector};
use crate::keyfile::write_sealing_key;
use crate::seal::key::SealingKey;

/// Arguments of `keygen`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The key file gets mode 0600, and an existing file is never overwritten. Keep the key on the \
                        sealing gateway alone, not on the mail server."
)]
pub(super) struct Args {
    /// The sealing domain: the one in your users' From
    #[arg(long)]
    domain: DomainName,
    /// A name for this key, unique within the domain: a-z 0-9 - _ and dots between
    #[arg(long)]
    selector: Selector,
    /// Where to write the private key [default: <SELECTOR>.pem]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let key = match new_key() {
        Ok(key) => key,
        Err(error) => return fail(error),
    };
    let out = args.out.clone().unwrap_or_else(|| format!("{}.pem", args.selector).into());
    if let Err(error) = write_sealing_key(&out, &key) {
        return fail(error);
    }
    println!("; private key: {} (mode 0600)", out.display());
    println!("; fingerprint: {}", key.public().fingerprint().digits());
    println!("; in words: {}", key.public().fingerprint().words());
    dns_record::print(&args.domain, &args.selector, &key);
    ExitCode::SUCCESS
}

/// A key that nobody else has.
pub(super) fn new_key() -> Result<SealingKey, String> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice())
        .map_err(|error| format!("the system gave no random numbers: {error}"))?;
    Ok(SealingKey::from_seed(&seed))
}
