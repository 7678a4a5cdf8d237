//! `waxseal dns-record`: what to publish, in zone-file form.

use std::path::PathBuf;
use std::process::ExitCode;

use super::fail;
use crate::domain::{DomainName, Selector};
use crate::keyfile::read_sealing_key;
use crate::seal::key::{KeyRecord, SealingKey};

/// Arguments of `dns-record`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The private key, PKCS#8 PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The sealing domain
    #[arg(long)]
    domain: DomainName,
    /// The key's selector
    #[arg(long)]
    selector: Selector,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match read_sealing_key(&args.key) {
        Ok(key) => {
            print(&args.domain, &args.selector, &key);
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

/// Prints the key's record, and the policy record to go with it once all mail is sealed.
pub(super) fn print(domain: &DomainName, selector: &Selector, key: &SealingKey) {
    let record = KeyRecord { key: Some(key.public()), trial: false };
    println!("{selector}._attachment-seal.{domain}. IN TXT \"{record}\"");
    println!("; once all mail of {domain} is sealed, publish also:");
    println!("; _attachment-seal.{domain}. IN TXT \"v=SEAL1; p=quarantine\"");
}
