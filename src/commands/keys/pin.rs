//! `waxseal keys pin`: a correspondent's key or root, from a file, as text, or by its fingerprint told over the telephone.

use std::path::Path;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::fingerprint::Told;
use attachment_seal::seal::key::{KeyRecord, PublicKey};

use super::super::ConfigArg;
use super::by_login;
use crate::config::Config;
use crate::gateway::correspondents;
use crate::keys::read_text;
use crate::store::{SaidKey, SaidPin, State};

/// Arguments of `keys pin`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Best pin a root (--root), whose sealing keys may change without you, or a fingerprint that you were told by \
                        telephone. Of a pinned sealing key, the next one is `key-changed` until you pin that, too.\n\n\
                        The gateway trusts the pin from the next message on. More pins for a domain add to those it has; \
                        `keys forget --pin` undoes them all. A pin by fingerprint takes the key from DNS or from the seal, \
                        and trusts it only if it has that fingerprint."
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// A key record, `v=SEAL1; …`, or a file that holds some, as `keygen` printed it
    #[arg(long, value_name = "RECORD OR FILE", required_unless_present_any = ["root", "fingerprint"])]
    key: Vec<String>,
    /// A root's public key in base64url, or a file that holds some, as `root new` printed it
    #[arg(long, value_name = "KEY OR FILE")]
    root: Vec<String>,
    /// The fingerprint of a key or a root, as digits or as words
    #[arg(long, value_name = "DIGITS OR WORDS")]
    fingerprint: Vec<Told>,
    /// The selector that --key is for [default: the file's, else any]
    #[arg(long)]
    selector: Option<Selector>,
    /// Pin this domain alone, not those below it
    #[arg(long)]
    no_subdomains: bool,
    /// The correspondent's domain
    domain: DomainName,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<(), String> {
    let domain = &args.domain;
    let mut pin =
        SaidPin { domain: domain.to_string(), subdomains: !args.no_subdomains, ..SaidPin::default() };
    let mut fingerprints = Vec::new();
    for text in &args.key {
        for (selector, record) in keys(args, text)? {
            fingerprints.extend(record.key.map(|key| key.fingerprint()));
            pin.keys.push(SaidKey { selector, record: record.to_string() });
        }
    }
    for text in &args.root {
        for root in roots(domain, text)? {
            fingerprints.push(root.fingerprint());
            pin.roots.push(root.to_base64url());
        }
    }
    let state = State::open(&config.state);
    for told in &args.fingerprint {
        match correspondents::add_fingerprint(&state, domain, told, &mut pin)
            .map_err(|error| error.to_string())?
        {
            Some(key) => fingerprints.push(key.fingerprint()),
            None => say!("{domain}: no key with this fingerprint was seen yet; it is believed when it comes"),
        }
    }
    correspondents::pin(&state, &pin, &by_login()).map_err(|error| error.to_string())?;
    say!("{domain}: pinned");
    for fingerprint in fingerprints {
        say!("  {}\n  {}", fingerprint.digits(), fingerprint.words());
    }
    Ok(())
}

/// What an option holds: the text itself, or that of the file it names.
fn content(text: &str, is_text: impl Fn(&str) -> bool) -> Result<(String, String), String> {
    if is_text(text) {
        return Ok(("the key".to_owned(), text.to_owned()));
    }
    let content = read_text(Path::new(text)).map_err(|error| error.to_string())?;
    Ok((text.to_owned(), content))
}

fn keys(args: &Args, text: &str) -> Result<Vec<(Option<String>, KeyRecord)>, String> {
    let (name, text) = content(text, |text| text.trim_start().starts_with("v="))?;
    correspondents::keys_to_pin(&name, &text, &args.domain, args.selector.as_ref())
}

fn roots(domain: &DomainName, text: &str) -> Result<Vec<PublicKey>, String> {
    let (name, text) = content(text, |text| PublicKey::from_base64url(text.trim()).is_ok())?;
    correspondents::roots_to_pin(&name, &text, domain)
}
