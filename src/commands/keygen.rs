//! `waxseal keygen`: a new sealing key, its DNS record and its fingerprint.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::key::SealingKey;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{dns_record, fail};
use crate::clock::{moment, second, unix_time};
use crate::config::{self, Config, SealingKeys};
use crate::keys::{Times, add_key, free_selector, make_sealing_key, shown, token};

/// Arguments of `keygen`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Where the configuration names a folder of keys for the domain (`keys` in [[domain]]), the key goes there, as the next: \
                        publish the record, and the gateway seals with it once all find it. Else it goes to <SELECTOR>.pem, or where \
                        --out says.\n\n\
                        The key file gets mode 0600, and an existing file is never overwritten. Keep the key on the \
                        sealing gateway alone, not on the mail server. With --out 'pkcs11:token=…;object=…?module-path=…&pin-source=…' \
                        a PKCS#11 token makes the key and never gives it out; the domain's folder then holds its name."
)]
pub(super) struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The sealing domain: the one in your users' From
    #[arg(long)]
    domain: DomainName,
    /// A name for this key, unique within the domain: a-z 0-9 - _ and dots between [default: today's date, in the domain's folder]
    #[arg(long)]
    selector: Option<Selector>,
    /// The gateway seals with the key from this day on, UTC, at the earliest; in the domain's folder only
    #[arg(long, value_name = "YYYY-MM-DD")]
    not_before: Option<Date>,
    /// Where to write the private key [default: the domain's folder, else <SELECTOR>.pem]
    #[arg(long, value_name = "FILE OR URI")]
    out: Option<PathBuf>,
}

/// Where the configuration file is, unless that is said.
const CONFIG: &str = "/etc/waxseal/waxseal.toml";

pub(super) fn run(args: &Args) -> ExitCode {
    make(args).map_or_else(fail, |()| ExitCode::SUCCESS)
}

fn make(args: &Args) -> Result<(), String> {
    let in_token = args.out.as_deref().filter(|out| token(out).is_some());
    // A file that is named has nothing to do with the configuration.
    let config = if args.out.is_some() && in_token.is_none() { None } else { read(args)? };
    let folder = config.as_ref().and_then(|config| Some((config, folder_of(config, &args.domain)?)));
    let Some((config, folder)) = folder else { return make_alone(args) };
    let selector = match &args.selector {
        Some(selector) => selector.clone(),
        None => free_selector(folder).map_err(|error| error.to_string())?,
    };
    if in_token.is_some_and(|uri| uri.to_string_lossy().contains("pin-value=")) {
        return Err("everybody may read the file that names this token: put the PIN into a file of its own (mode 0600), and write \
                    pin-source=file:/… for pin-value"
            .to_owned());
    }
    let times = Times { made: unix_time(), not_before: not_before(args)? };
    let (file, key) = add_key(folder, &selector, times, in_token, &config.state.folder)
        .map_err(|error| error.to_string())?;
    print(args, &selector, &key, &place(in_token.unwrap_or(&file)));
    if let Some(from) = times.not_before {
        say!("; the gateway seals with it from {} on, at the earliest", second(moment(from)));
    }
    say!("; the gateway seals with it once all find this record: waxseal keys status {}", args.domain);
    say!(
        "; correspondents who pinned an earlier key itself must be told this fingerprint before, by telephone"
    );
    Ok(())
}

/// The configuration, if one was named or is needed.
fn read(args: &Args) -> Result<Option<Config>, String> {
    let path = args.config.as_deref().unwrap_or(Path::new(CONFIG));
    match config::load(path) {
        Ok(config) => Ok(Some(config)),
        // A key can be made without one.
        Err(_) if args.config.is_none() && args.selector.is_some() && args.not_before.is_none() => Ok(None),
        Err(mistakes) => {
            let reason = mistakes.first().map(ToString::to_string).unwrap_or_default();
            Err(format!("{reason}; or say --selector and --out, for a key that no configuration names yet"))
        }
    }
}

fn folder_of<'a>(config: &'a Config, domain: &DomainName) -> Option<&'a Path> {
    let own = config.domains.iter().find(|own| own.name == *domain)?;
    match &own.keys {
        SealingKeys::Folder(folder) => Some(&folder.value),
        SealingKeys::Fixed { .. } => None,
    }
}

/// A key that no folder of the configuration holds.
fn make_alone(args: &Args) -> Result<(), String> {
    let Some(selector) = args.selector.as_ref().filter(|_| args.not_before.is_none()) else {
        let what = if args.selector.is_none() { "--selector" } else { "`keys` there, for --not-before" };
        let (domain, path) = (&args.domain, args.config.as_deref().unwrap_or(Path::new(CONFIG)));
        return Err(format!("{} names no folder of keys for {domain}: it takes {what}", path.display()));
    };
    let out = args.out.clone().unwrap_or_else(|| format!("{selector}.pem").into());
    let key = make_sealing_key(&out).map_err(|error| error.to_string())?;
    print(args, selector, &key, &place(&out));
    Ok(())
}

fn print(args: &Args, selector: &Selector, key: &SealingKey, place: &str) {
    say!("; private key: {place}");
    say!("; fingerprint: {}", key.public().fingerprint().digits());
    say!("; in words: {}", key.public().fingerprint().words());
    dns_record::print(&args.domain, selector, key.public());
}

fn not_before(args: &Args) -> Result<Option<u64>, String> {
    let Some(day) = args.not_before else { return Ok(None) };
    let start = day.to_zoned(TimeZone::UTC).map_err(|error| format!("no such day: {error}"))?;
    Ok(u64::try_from(start.timestamp().as_second()).ok())
}

/// Where a new private key is, for people.
pub(super) fn place(out: &Path) -> String {
    let how = if token(out).is_some() { "in its token, which never gives it out" } else { "mode 0600" };
    format!("{} ({how})", shown(out))
}
