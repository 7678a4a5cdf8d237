//! `waxseal keys pin`: a correspondent's key or root, from a file, as text, or by its fingerprint told over the telephone.

use std::path::Path;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::fingerprint::Told;
use attachment_seal::seal::key::{self, PublicKey};
use attachment_seal::seal::published::Published;

use super::super::ConfigArg;
use crate::config::Config;
use crate::keys::read_text;
use crate::store::{DatabaseError, Said, SaidKey, SaidPin, State};

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
    for told in &args.fingerprint {
        match remembered(told, domain, config)? {
            Some(key) => {
                let record = key::KeyRecord { key: Some(key), trial: false };
                fingerprints.push(key.fingerprint());
                pin.keys.push(SaidKey { selector: None, record: record.to_string() });
            }
            None => {
                say!("{domain}: no key with this fingerprint was seen yet; it is believed when it comes");
            }
        }
        // Be it known as a key or not, it may be meant as a root, which vouches for others.
        pin.fingerprints.push(told.to_string());
    }
    let pinned = State::open(&config.state).pins.change(&mut |said| add(said, pin.clone()));
    pinned.map_err(|error| error.to_string())?;
    say!("{domain}: pinned");
    for fingerprint in fingerprints {
        say!("  {}\n  {}", fingerprint.digits(), fingerprint.words());
    }
    Ok(())
}

/// Adds to what is pinned for the domain already.
fn add(said: &mut Said, pin: SaidPin) {
    match said.pins.iter_mut().find(|known| known.domain == pin.domain) {
        Some(known) => {
            merge(&mut known.keys, pin.keys);
            merge(&mut known.roots, pin.roots);
            merge(&mut known.fingerprints, pin.fingerprints);
            known.subdomains = pin.subdomains;
        }
        None => said.pins.push(pin),
    }
}

fn merge<T: PartialEq>(known: &mut Vec<T>, new: Vec<T>) {
    for item in new {
        if !known.contains(&item) {
            known.push(item);
        }
    }
}

/// What an option holds: the text itself, or that of the file it names.
fn content(text: &str, is_text: impl Fn(&str) -> bool) -> Result<(String, String), String> {
    if is_text(text) {
        return Ok(("the key".to_owned(), text.to_owned()));
    }
    let content = read_text(Path::new(text)).map_err(|error| error.to_string())?;
    Ok((text.to_owned(), content))
}

fn keys(args: &Args, text: &str) -> Result<Vec<(Option<String>, key::KeyRecord)>, String> {
    let (name, text) = content(text, |text| text.trim_start().starts_with("v="))?;
    let mut keys = Vec::new();
    for published in Published::read(&text).map_err(|error| format!("{name}: {error}"))? {
        let Published::Key { owner, record } = published else {
            return Err(format!("{name}: not only key records; pin a root with --root"));
        };
        let (owner, own) = owner.unzip();
        if let Some(owner) = owner.filter(|owner| *owner != args.domain) {
            return Err(format!("{name}: the record is {owner}'s, not {}'s", args.domain));
        }
        let selector = args.selector.clone().or(own);
        if record.key.is_none() && selector.is_none() {
            return Err(format!(
                "{name}: a revoked key (empty `p`) needs a selector: name it with --selector"
            ));
        }
        keys.push((selector.map(|selector| selector.to_string()), record));
    }
    Ok(keys)
}

fn roots(domain: &DomainName, text: &str) -> Result<Vec<PublicKey>, String> {
    let (name, text) = content(text, |text| PublicKey::from_base64url(text.trim()).is_ok())?;
    let root = |published| match published {
        Published::Root { owner: Some(owner), .. } if owner != *domain => {
            Err(format!("{name}: the root is {owner}'s, not {domain}'s"))
        }
        Published::Root { key, .. } => Ok(key),
        Published::Key { .. } | Published::Delegated { .. } => Err(format!("{name}: not only root keys")),
    };
    let found = Published::read(&text).map_err(|error| format!("{name}: {error}"))?;
    found.into_iter().map(root).collect()
}

/// The key with this fingerprint, if it was seen already.
fn remembered(told_as: &Told, domain: &DomainName, config: &Config) -> Result<Option<PublicKey>, String> {
    match State::open(&config.state).memories.keys(domain) {
        Ok(keys) => Ok(keys.iter().map(|known| known.key).find(|key| told_as.is(&key.fingerprint()))),
        Err(DatabaseError::None(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
