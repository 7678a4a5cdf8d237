//! `waxseal keys fingerprint`: what two people read to each other by telephone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use attachment_seal::manifest::judge::plainness;
use attachment_seal::manifest::{Manifest, digests};
use attachment_seal::message::header::HeaderSection;
use attachment_seal::message::stored::to_wire;
use attachment_seal::mime;
use attachment_seal::seal::fingerprint::Fingerprint;
use attachment_seal::seal::published::Published;
use zeroize::Zeroizing;

use super::super::judge::read_input;
use super::super::table::shown;
use super::super::{complain, fail};
use crate::keys::{read_sealing_key_by_hand, read_text, shown as shown_key, token};
use crate::phrase::counted;

/// Arguments of `keys fingerprint`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A key file may be a private key (also in a token: 'pkcs11:…'), a key record, what `keygen` or `root new` printed, a root.txt, or \
                        a delegation. With --message, what both sides must find equal is the fingerprint of the \
                        attachments; that of attachments and text differs as soon as a mailing list adds its footer.\n\n\
                        Exit status: 0 all were read; 1 a message was read, but mail programs could disagree about what \
                        it holds; 2 something could not be read."
)]
pub(in super::super) struct Args {
    /// The files are messages: compare their attachments
    #[arg(long)]
    message: bool,
    /// Keys, or with --message messages
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let mut is_plain = true;
    for file in &args.files {
        let printed = if args.message { message(file).map(|plain| is_plain &= plain) } else { keys(file) };
        if let Err(reason) = printed {
            return fail(reason);
        }
    }
    if is_plain { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn keys(file: &Path) -> Result<(), String> {
    if token(file).is_some() {
        return private_key(file);
    }
    // It may be a private key's.
    let text = Zeroizing::new(read_text(file).map_err(|error| error.to_string())?);
    if text.contains("PRIVATE KEY-----") {
        return private_key(file);
    }
    for published in Published::read(&text).map_err(|error| format!("{}: {error}", file.display()))? {
        let what = match &published {
            Published::Key { owner: Some((domain, selector)), .. } => format!("{selector} of {domain}"),
            Published::Key { owner: None, .. } => "sealing key".to_owned(),
            Published::Root { owner: Some(domain), .. } => format!("root of {domain}"),
            Published::Root { owner: None, .. } => "root".to_owned(),
            Published::Delegated { .. } => "root, then the sealing key it vouches for".to_owned(),
        };
        for key in published.keys() {
            print(&format!("{}: {what}", file.display()), &key.fingerprint());
        }
    }
    Ok(())
}

fn private_key(name: &Path) -> Result<(), String> {
    let key = read_sealing_key_by_hand(name).map_err(|error| error.to_string())?;
    print(&format!("{}: public half", shown_key(name)), &key.public().fingerprint());
    Ok(())
}

/// Prints a message's fingerprints, and says whether every mail program sees the same attachments.
fn message(file: &Path) -> Result<bool, String> {
    let stored = read_input(Some(file)).map_err(|error| format!("{}: {error}", file.display()))?;
    let (wire, _) = to_wire(stored);
    let header = HeaderSection::parse(&wire);
    let structure = mime::walk(&wire, &header);
    let manifest = Manifest::of(&structure.leaves, &digests(&wire, &structure.leaves));
    let mut doubts = plainness(&wire, &header).doubts();
    doubts.extend(header.doubts());
    for entry in manifest.attachments() {
        say!(
            "{}: {} [{}], {}",
            file.display(),
            shown(&entry.name),
            shown(&entry.media_type),
            counted(entry.size, "octet")
        );
    }
    let count = manifest.attachments().count();
    print(
        &format!("{}: {}", file.display(), counted(count, "attachment")),
        &Fingerprint::of_attachments(&manifest),
    );
    print(&format!("{}: attachments and text", file.display()), &Fingerprint::of_manifest(&manifest));
    for doubt in doubts.iter() {
        complain(format!(
            "{}: mail programs could disagree about what it holds: {}",
            file.display(),
            doubt.code()
        ));
    }
    Ok(doubts.is_empty())
}

fn print(what: &str, fingerprint: &Fingerprint) {
    say!("{what}\n  {}\n  {}", fingerprint.digits(), fingerprint.words());
}
