//! `waxseal root`: a domain's root key, kept on a machine without a network, and the delegations that it signs there. File
//! in, file out; no configuration, no gateway.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use attachment_seal::domain::{DomainName, Selector};
use attachment_seal::seal::delegation::Delegation;
use attachment_seal::seal::key::PublicKey;
use attachment_seal::seal::published::Published;
use clap::Subcommand;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::keygen::place;
use super::{fail, write_new};
use crate::keys::{make_sealing_key, read_sealing_key, read_text};

/// Arguments of `root`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new root key
    #[command(after_help = NEW_HELP)]
    New {
        /// The domain whose sealing keys it will vouch for
        #[arg(long)]
        domain: DomainName,
        /// Where to write the private key [default: <DOMAIN>.root.pem]
        #[arg(long, value_name = "FILE OR URI")]
        out: Option<PathBuf>,
    },
    /// Vouch for a sealing key for a while
    #[command(after_help = DELEGATE_HELP)]
    Delegate(Delegate),
}

const NEW_HELP: &str = "Run it on a machine without a network. The root's public key, its fingerprint and what to publish \
                        go to stdout: `waxseal root new --domain example.org > root.txt`. The private key gets mode 0600, \
                        and an existing file is never overwritten.";

const DELEGATE_HELP: &str = "FILE is what `waxseal keygen` or `waxseal dns-record` printed on the gateway. \
                             Carry the delegation to the gateway, put it where `delegation` of its \
                             [[domain]] points, and reload. If that is a folder, the gateway takes the \
                             newest valid delegation in it.";

#[derive(Debug, clap::Args)]
struct Delegate {
    /// The root's private key
    #[arg(long, value_name = "FILE OR URI")]
    key: PathBuf,
    /// For how many days
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
    /// From which day on, UTC [default: now, less an hour for clocks that differ]
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<Date>,
    /// The sealing domain, if the file does not name it
    #[arg(long)]
    domain: Option<DomainName>,
    /// The sealing key's selector, if the file does not name it
    #[arg(long)]
    selector: Option<Selector>,
    /// Where to write the delegation [default: <SELECTOR>-<LAST DAY>.delegation]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The sealing key's record, as `keygen` printed it
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let done = match &args.command {
        Command::New { domain, out } => new(domain, out.as_deref()),
        Command::Delegate(args) => delegate(args),
    };
    done.map_or_else(fail, |()| ExitCode::SUCCESS)
}

fn new(domain: &DomainName, out: Option<&Path>) -> Result<(), String> {
    let out = out.map_or_else(|| format!("{domain}.root.pem").into(), Path::to_owned);
    let key = make_sealing_key(&out).map_err(|error| error.to_string())?;
    let public = key.public();
    say!("; root key of {domain}; private half: {}; keep it offline", place(&out));
    say!("; fingerprint: {}", public.fingerprint().digits());
    say!("; in words: {}", public.fingerprint().words());
    say!("{}", public.to_base64url());
    say!("; to publish it, name it in the policy record:");
    say!("; _attachment-seal.{domain}. IN TXT \"v=SEAL1; p=none; root={}\"", public.to_base64url());
    Ok(())
}

fn delegate(args: &Delegate) -> Result<(), String> {
    let root = read_sealing_key(&args.key).map_err(|error| error.to_string())?;
    let request = Request::read(args)?;
    if request.key == root.public() {
        return Err(format!("{}: this is the root key itself", args.file.display()));
    }
    let (not_before, not_after) = period(args).map_err(|error| format!("no such time: {error}"))?;
    let seconds =
        |time: Timestamp| u64::try_from(time.as_second()).map_err(|_| "the clock stands before 1970");
    let Request { domain, selector, key } = request;
    let period = (seconds(not_before)?, seconds(not_after)?);
    let delegation = Delegation::new(&root, &domain, &selector, key, period);
    let delegation = delegation.map_err(|error| error.to_string())?;
    let last_day = not_after.to_zoned(TimeZone::UTC).date();
    let out = args.out.clone().unwrap_or_else(|| format!("{selector}-{last_day}.delegation").into());
    let text = format!(
        "# {selector} may seal for {domain} from {not_before} to {not_after}.\n\
         # sealing key: {}\n# root key: {}\n{}\n",
        key.fingerprint().digits(),
        root.public().fingerprint().digits(),
        delegation.as_str()
    );
    write_new(&out, text.as_bytes())?;
    say!("{}: {selector} may seal for {domain} until {not_after}", out.display());
    say!("sealing key: {}", key.fingerprint().digits());
    say!("root key:    {}", root.public().fingerprint().digits());
    Ok(())
}

/// In whole seconds, as a delegation has them.
fn period(args: &Delegate) -> Result<(Timestamp, Timestamp), jiff::Error> {
    let days = i64::from(args.days) * 24;
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    match args.from {
        Some(day) => {
            let start = day.to_zoned(TimeZone::UTC)?.timestamp();
            Ok((start, start.checked_add(days.hours())?))
        }
        None => Ok((now.checked_sub(1.hours())?, now.checked_add(days.hours())?)),
    }
}

/// The key to vouch for, and its domain and selector.
struct Request {
    domain: DomainName,
    selector: Selector,
    key: PublicKey,
}

impl Request {
    fn read(args: &Delegate) -> Result<Self, String> {
        let wrong = |reason: String| format!("{}: {reason}", args.file.display());
        let text = read_text(&args.file).map_err(|error| error.to_string())?;
        let published = Published::read(&text).map_err(|error| wrong(error.to_string()))?;
        let [Published::Key { owner, record }] = published.as_slice() else {
            return Err(wrong("it must hold one key record, as keygen prints it".to_owned()));
        };
        let key = record.key.ok_or_else(|| wrong("the key is revoked".to_owned()))?;
        let (domain, selector) = owner.clone().unzip();
        let domain = agreed(args.domain.as_ref(), domain, "--domain").map_err(wrong)?;
        let selector = agreed(args.selector.as_ref(), selector, "--selector").map_err(wrong)?;
        Ok(Self { domain, selector, key })
    }
}

/// The value that option and file give together.
fn agreed<T: Clone + Eq + std::fmt::Display>(
    option: Option<&T>,
    file: Option<T>,
    name: &str,
) -> Result<T, String> {
    match (option, file) {
        (Some(option), Some(file)) if *option != file => {
            Err(format!("it is for {file}, and {name} is {option}"))
        }
        (_, Some(value)) => Ok(value),
        (Some(value), None) => Ok(value.clone()),
        (None, None) => Err(format!("it is a record without a name: {name} is needed")),
    }
}
