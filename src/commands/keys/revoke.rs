//! `waxseal keys revoke`: takes one of our own keys out of use, at once and for good.

use attachment_seal::domain::{DomainName, Selector};

use super::super::ConfigArg;
use crate::clock::unix_time;
use crate::config::{Config, SealingDomain, SealingKeys};
use crate::dns::key_record_name;
use crate::gateway::keyring::{Keyrings, OwnDomain};
use crate::keys::{is_selector_taken, revoke_key};
use crate::store::Announcement;

/// Arguments of `keys revoke`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The key's file goes to the folder `revoked` beneath that of the keys, and must stay there until `keys status` shows \
                        it as revoked. The running gateway notices within seconds: it seals with the key no more, and has it vouch for no \
                        other. Make the next key before (`waxseal keygen --domain DOMAIN`), or mail is put off (451) until there is one."
)]
pub(in super::super) struct Args {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The sealing domain, where several have a key of this selector
    #[arg(long)]
    domain: Option<DomainName>,
    /// The key's selector
    selector: Selector,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<(), String> {
    let selector = &args.selector;
    let (domain, folder) = find(args, config)?;
    let was_in_use = revoke_key(folder, selector).map_err(|error| error.to_string())?;
    let name = &domain.name;
    match was_in_use {
        Some(true) => {
            say!("{name}: {selector} is out of use; it seals nothing more, and vouches for no other key");
        }
        Some(false) => say!("{name}: {selector} was out of use already"),
        None => return Err(format!("{}: holds no key {selector}", folder.display())),
    }
    say!("publish this now in the place of its record, and leave it there for good:");
    say!("{}. IN TXT \"v=SEAL1; k=ed25519; p=\"", key_record_name(name, selector));
    match Announcement::of(&config.state.folder) {
        Ok(Some(_)) => say!("the running gateway notices within seconds"),
        Ok(None) => say!("no gateway runs with the state folder {}", config.state.folder.display()),
        Err(error) => say!("whether a gateway runs cannot be told: {error}"),
    }
    say!("on each other gateway that seals for {name}, run the same command");
    say!("{}", what_seals(domain, config));
    let or_root = if domain.delegation.is_some() { " or your root" } else { "" };
    say!(
        "WARNING: nothing that {selector} states counts now, so ALL your mail is held as `key-changed` by everybody who remembers \
         {selector} and has no proof of your other key by DNSSEC{or_root}, until they approve that; and by everybody who pinned \
         {selector} itself, until they pin another"
    );
    say!(
        "telephone them: read them the fingerprint of the key that seals (`waxseal keys status --json`); once its first message is \
         held they run `waxseal keys approve {name} --fingerprint 'WHAT YOU READ'`, then `waxseal quarantine release` for what is held"
    );
    Ok(())
}

/// The domain, and the folder of its keys.
fn find<'a>(args: &Args, config: &'a Config) -> Result<(&'a SealingDomain, &'a std::path::Path), String> {
    let selector = &args.selector;
    let mut found = Vec::new();
    for domain in
        config.domains.iter().filter(|own| args.domain.as_ref().is_none_or(|only| *only == own.name))
    {
        match &domain.keys {
            SealingKeys::Folder(folder) => {
                let is_its = args.domain.is_some()
                    || is_selector_taken(&folder.value, selector).map_err(|error| error.to_string())?;
                if is_its {
                    found.push((domain, folder.value.as_path()));
                }
            }
            SealingKeys::Fixed { selector: own, .. } if own == selector => {
                return Err(format!(
                    "the configuration names this key of {0}: make another (waxseal keygen), name that as `key` and `selector`, \
                     or name a folder as `keys`, reload, and publish at {1}: v=SEAL1; k=ed25519; p=",
                    domain.name,
                    key_record_name(&domain.name, selector)
                ));
            }
            SealingKeys::Fixed { .. } => {}
        }
    }
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err(format!("no folder of keys that the configuration names holds {selector}")),
        several => {
            let names: Vec<String> = several.iter().map(|(domain, _)| domain.name.to_string()).collect();
            Err(format!("{} have a key {selector}: say which by --domain", names.join(" and ")))
        }
    }
}

/// What seals instead.
fn what_seals(domain: &SealingDomain, config: &Config) -> String {
    let (name, now) = (&domain.name, unix_time().unwrap_or_default());
    let own = OwnDomain::unread(domain);
    let mut ring = Keyrings::read(&config.state.folder).map(|all| all.of(&own)).unwrap_or_default();
    if own.read_folder().is_empty() {
        ring.take_stock(&own.held(now), now);
    }
    if let Some(sealing) = ring.sealing() {
        return format!("{} seals", sealing.selector);
    }
    match ring.keys().iter().rev().find(|key| key.held && !key.revoked) {
        Some(next) => format!(
            "{} seals once all name servers and resolvers give its record; until then mail of {name} is put off (451)",
            next.selector
        ),
        None => format!(
            "there is no other key, so mail of {name} is put off (451): make one now with waxseal keygen --domain {name}"
        ),
    }
}
