//! `waxseal dns-record`: what to publish, in zone-file form.

use std::process::ExitCode;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::key::{KeyRecord, PublicKey};

use super::{SealingKeyArgs, fail};
use crate::keys::read_sealing_key;

/// Arguments of `dns-record`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    key: SealingKeyArgs,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let SealingKeyArgs { key, domain, selector } = &args.key;
    match read_sealing_key(key) {
        Ok(key) => {
            print(domain, selector, key.public());
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

/// Prints the key's record, and the policy record to go with it once all mail is sealed.
pub(super) fn print(domain: &DomainName, selector: &Selector, key: PublicKey) {
    let record = KeyRecord { key: Some(key), trial: false };
    say!("{selector}._attachment-seal.{domain}. IN TXT \"{record}\"");
    say!("; once all mail of {domain} is sealed, publish also:");
    say!("; _attachment-seal.{domain}. IN TXT \"v=SEAL1; p=quarantine\"");
}
