//! `waxseal keys rotate` as it runs, read line by line.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::Signal;

use crate::program::{Ended, run, wait_for};

/// The command, killed when dropped.
pub(crate) struct Rotate {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Rotate {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(&[], arguments)
    }

    pub(crate) fn start_with(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal"));
        command.env_clear().envs(variables.iter().copied()).args(["keys", "rotate"]).args(arguments);
        let streams = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, written) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&lines));
        let reader = thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                written.lock().unwrap().push(line);
            }
        });
        Self { child, lines, reader: Some(reader) }
    }

    /// Waits for a line that holds `text`.
    pub(crate) fn await_line(&self, text: &str) -> String {
        let has_text = |line: &String| line.contains(text);
        wait_for(|| self.lines.lock().unwrap().iter().find(|line| has_text(line)).cloned())
            .unwrap_or_else(|| panic!("`{text}` was not said: {:#?}", self.lines.lock().unwrap()))
    }

    /// The record that is to be published for this selector.
    pub(crate) fn record(&self, selector: &str) -> String {
        let line = self.await_line(&format!("{selector}._attachment-seal.example.org. IN TXT "));
        line.split('"').nth(1).unwrap().to_owned()
    }

    /// Sends it a signal, and waits for its end.
    pub(crate) fn kill(mut self, signal: Signal) {
        // It may have ended by itself, which is no error as long as nobody has waited for it.
        run::signal(&self.child, signal);
        run::ended(&mut self.child).unwrap_or_else(|| panic!("does not end: {:#?}", self.lines));
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(mut self) -> Ended {
        let status = wait_for(|| self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("does not end: {:#?}", self.lines.lock().unwrap()));
        self.reader.take().unwrap().join().unwrap();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let stdout = self.lines.lock().unwrap().join("\n").into_bytes();
        Ended { status: status.code().unwrap(), stdout, stderr }
    }
}

impl Drop for Rotate {
    fn drop(&mut self) {
        run::kill(&mut self.child);
    }
}
