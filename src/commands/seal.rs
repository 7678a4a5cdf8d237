//! `waxseal seal`: one message sealed on stdout, with the line ends that it had.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use attachment_seal::message::author::Author;
use attachment_seal::message::header::HeaderSection;
use attachment_seal::message::stored::{from_wire, to_wire};
use attachment_seal::seal::delegation::Delegations;
use attachment_seal::seal::message::Message;
use attachment_seal::seal::sign::{DEFAULT_LIFETIME, Moment, SealError, Sealer, Unsigned, prepare};

use super::judge::read_input;
use super::{SealingKeyArgs, complain, fail};
use crate::clock::unix_time;
use crate::keys::read_sealing_key;

/// Arguments of `seal`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    key: SealingKeyArgs,
    /// The message; standard input if none is named
    file: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match sealed(args) {
        Ok(message) => match io::stdout().lock().write_all(&message) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(format!("cannot write the sealed message: {error}")),
        },
        Err(reason) => fail(reason),
    }
}

fn sealed(args: &Args) -> Result<Vec<u8>, String> {
    let SealingKeyArgs { key, domain, selector } = &args.key;
    let key = read_sealing_key(key).map_err(|error| error.to_string())?;
    let name = args.file.as_ref().map_or("standard input".to_owned(), |path| path.display().to_string());
    let stored = read_input(args.file.as_deref()).map_err(|error| format!("{name}: {error}"))?;
    let (wire, line_ends) = to_wire(stored);
    let author = Author::of(&HeaderSection::parse(&wire));
    match &author {
        Author::One(author) if author.self_and_parents().any(|above| above == *domain) => {}
        Author::One(author) => {
            return Err(format!("{name}: From is in {author}, which {domain} cannot seal for"));
        }
        Author::Unclear(_) => {
            return Err(format!("{name}: From is not one field with one address in one domain"));
        }
    }
    let sealer = Sealer {
        domain: domain.clone(),
        selector: selector.clone(),
        key,
        lifetime: DEFAULT_LIFETIME,
        delegations: Delegations::default(),
    };
    let now = unix_time().ok_or("the system clock is set before 1970")?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| format!("the system gave no random numbers: {error}"))?;
    let unsigned = prepare_on_two_cores(&Message::new(&wire), &sealer, Moment { now, random })
        .map_err(|error| format!("{name}: {error}"))?;
    if let Some(beyond) = unsigned.beyond_readers() {
        complain(format_args!("{name}: sealed, but {beyond}"));
    }
    let edits = unsigned.sign(&sealer.key).map_err(|error| format!("{name}: {error}"))?;
    Ok(from_wire(edits.apply(&wire), line_ends))
}

/// Octets of a message for which a second thread costs less than it saves.
const LARGE: usize = 1 << 20;

/// Hashes the body on one core, and what it holds on another.
fn prepare_on_two_cores(
    message: &Message<'_>,
    sealer: &Sealer,
    moment: Moment,
) -> Result<Unsigned, SealError> {
    thread::scope(|scope| {
        if message.raw().len() >= LARGE {
            scope.spawn(|| message.body_hash());
        }
        prepare(message, sealer, moment)
    })
}
