//! `waxseal keygen`: a new sealing key, its DNS record and its fingerprint.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use attachment_seal::domain::{DomainName, Selector};

use super::{dns_record, fail};
use crate::keys::{make_sealing_key, shown, token};

/// Arguments of `keygen`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The key file gets mode 0600, and an existing file is never overwritten. Keep the key on the \
                        sealing gateway alone, not on the mail server. With --out 'pkcs11:token=…;object=…?module-path=…&pin-source=…' \
                        a PKCS#11 token makes the key and never gives it out."
)]
pub(super) struct Args {
    /// The sealing domain: the one in your users' From
    #[arg(long)]
    domain: DomainName,
    /// A name for this key, unique within the domain: a-z 0-9 - _ and dots between
    #[arg(long)]
    selector: Selector,
    /// Where to write the private key [default: <SELECTOR>.pem]
    #[arg(long, value_name = "FILE OR URI")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let out = args.out.clone().unwrap_or_else(|| format!("{}.pem", args.selector).into());
    let key = match make_sealing_key(&out) {
        Ok(key) => key,
        Err(error) => return fail(error),
    };
    say!("; private key: {}", place(&out));
    say!("; fingerprint: {}", key.public().fingerprint().digits());
    say!("; in words: {}", key.public().fingerprint().words());
    dns_record::print(&args.domain, &args.selector, &key);
    ExitCode::SUCCESS
}

/// Where a new private key is, for people.
pub(super) fn place(out: &Path) -> String {
    let how = if token(out).is_some() { "in its token, which never gives it out" } else { "mode 0600" };
    format!("{} ({how})", shown(out))
}
