//! Reads a password: at a terminal unseen and twice, otherwise as one line of stdin.

use std::io::{self, IsTerminal, Stdin, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::store::AccountName;

/// What the end of a line and a generous password take, in octets.
const MAX_LINE: u64 = 4_096;

pub(super) fn read(name: &AccountName) -> Result<Zeroizing<String>, String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(&stdin);
    }
    let first = asked(&stdin, &format!("Password for {name}: "))?;
    let second = asked(&stdin, "The same again: ")?;
    if *first == *second { Ok(first) } else { Err("the two passwords differ".to_owned()) }
}

fn asked(stdin: &Stdin, question: &str) -> Result<Zeroizing<String>, String> {
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
    let unseen = Unseen::begin(stdin)?;
    let read = line(stdin);
    drop(unseen);
    let _ = writeln!(stderr);
    read
}

fn line(stdin: &Stdin) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    let read = io::BufRead::read_line(&mut io::Read::take(stdin.lock(), MAX_LINE), &mut text);
    read.map_err(|error| format!("cannot read the password: {error}"))?;
    let length = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(length);
    if text.is_empty() { Err("no password was given".to_owned()) } else { Ok(text) }
}

/// What is typed is not shown, until this is dropped.
struct Unseen<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> Unseen<'a> {
    fn begin(terminal: &'a Stdin) -> Result<Self, String> {
        let failed = |error| format!("cannot hide what is typed: {error}");
        let before = tcgetattr(terminal).map_err(failed)?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &unseen).map_err(failed)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
