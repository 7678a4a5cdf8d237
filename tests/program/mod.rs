//! The real program, run as people, scripts and init systems run it, and the peers it talks to.
//!
//! Everything blocks, and nothing waits longer than [`PATIENCE`] for what must come.

#![allow(dead_code, reason = "each test file uses a part of this")]

pub(crate) mod desk;
pub(crate) mod letter;
pub(crate) mod run;
pub(crate) mod site;
pub(crate) mod skip;
pub(crate) mod smtp;
pub(crate) mod tls;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use run::Run;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything that must come may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer; `None` once patience is at its end.
pub(crate) fn wait_for<T>(ask: impl FnMut() -> Option<T>) -> Option<T> {
    wait_within(PATIENCE, ask)
}

/// As [`wait_for`], with this patience.
fn wait_within<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        match ask() {
            Some(answer) => return Some(answer),
            None if Instant::now() > deadline => return None,
            None => thread::sleep(pause),
        }
        pause = (2 * pause).min(Duration::from_millis(20));
    }
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A folder that others may look into, as daemons with users of their own must.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("waxseal-test-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status.
    pub(crate) status: i32,
    /// What it wrote to stdout.
    pub(crate) stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
}

impl Ended {
    /// What it wrote to stdout, as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// What it wrote to stdout, a JSON object a line.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asserts that the command failed as commands should: status 2, no output, one line that says `why`.
    pub(crate) fn assert_failed(&self, why: &str) {
        assert_eq!(self.status, 2, "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.contains(why), "{self:?} does not say `{why}`");
    }
}

/// `waxseal`, with none of our environment, so that no `WAXSEAL_…` gets in the way.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// A word of a command line.
pub(crate) fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `waxseal` with these arguments and nothing on stdin.
pub(crate) fn waxseal(arguments: &[&str]) -> Ended {
    ended(command().args(arguments))
}

/// Runs `waxseal` with these environment variables.
pub(crate) fn waxseal_with(variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    ended(command().envs(variables.iter().copied()).args(arguments))
}

/// Runs `waxseal` in `folder`.
pub(crate) fn waxseal_in(folder: &Path, arguments: &[&str]) -> Ended {
    ended(command().args(arguments).current_dir(folder))
}

/// Runs `waxseal` with `input` on stdin.
pub(crate) fn waxseal_reading(input: &[u8], arguments: &[&str]) -> Ended {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    ended(command().args(arguments).stdin(file))
}

fn ended(command: &mut Command) -> Ended {
    let output = command.to_end();
    Ended {
        status: output.status.code().unwrap(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Makes a sealing key for example.org, selector gate1, and gives its key record.
pub(crate) fn keygen(file: &Path) -> String {
    let ended = waxseal(&["keygen", "--domain", "example.org", "--selector", "gate1", "--out", word(file)]);
    assert_eq!(ended.status, 0, "{ended:?}");
    let record = ended
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("gate1._attachment-seal.example.org. IN TXT "));
    record.unwrap().trim_matches('"').to_owned()
}

/// A gateway's configuration file, written down piece by piece.
#[derive(Debug)]
pub(crate) struct Config {
    folder: PathBuf,
    text: String,
}

impl Config {
    /// In `folder`, its state beside it.
    pub(crate) fn new(folder: &Path, hostname: &str) -> Self {
        Self::of(folder, hostname, "state = \"state\"\n")
    }

    /// In `folder`, with these lines for where its state is.
    pub(crate) fn of(folder: &Path, hostname: &str, state: &str) -> Self {
        Self { folder: folder.to_owned(), text: format!("hostname = \"{hostname}\"\n{state}") }
    }

    /// A listener on a free port; `more` is for its other keys.
    pub(crate) fn listener(self, name: &str, mode: &str, next_hop: SocketAddr, more: &str) -> Self {
        self.listener_at(name, mode, "127.0.0.1:0", next_hop, more)
    }

    /// A listener on an address of its own.
    pub(crate) fn listener_at(
        self,
        name: &str,
        mode: &str,
        address: &str,
        next_hop: SocketAddr,
        more: &str,
    ) -> Self {
        self.and(&format!(
            "[[listener]]\nname = \"{name}\"\nmode = \"{mode}\"\nlisten = [\"{address}\"]\n\
             next_hop = \"{next_hop}\"\n{more}\n"
        ))
    }

    /// Seals for example.org with the key in `file`.
    pub(crate) fn sealing_with(self, file: &Path) -> Self {
        let file = file.display();
        self.and(&format!("[[domain]]\nname = \"example.org\"\nselector = \"gate1\"\nkey = \"{file}\"\n"))
    }

    /// Pins example.org to a key record.
    pub(crate) fn pinning(self, record: &str) -> Self {
        self.and(&format!("[[correspondent]]\ndomain = \"example.org\"\nkeys = [\"{record}\"]\n"))
    }

    /// Any other lines.
    pub(crate) fn and(mut self, lines: &str) -> Self {
        self.text.push_str(lines);
        self.text.push('\n');
        self
    }

    /// Writes the file, in place of an earlier one.
    pub(crate) fn write(&self) -> PathBuf {
        let path = self.folder.join("waxseal.toml");
        // Nobody's name servers are asked unless the test brings some.
        let dns = if self.text.contains("[dns]") { "" } else { "[dns]\nservers = []\n" };
        fs::write(&path, self.text.clone() + dns).unwrap();
        path
    }

    /// Writes the file and starts the gateway.
    pub(crate) fn start(&self) -> Gateway {
        Gateway::start(command(), &self.write())
    }

    /// Writes the file and starts the gateway with these variables in its environment.
    pub(crate) fn start_with(&self, environment: &[(&str, &str)]) -> Gateway {
        let mut command = command();
        command.envs(environment.iter().copied());
        Gateway::start(command, &self.write())
    }

    /// Writes the file and starts the gateway so that no file of its may grow over `blocks` of 512 octets.
    pub(crate) fn start_with_file_limit(&self, blocks: u32) -> Gateway {
        // The signal ignored, writing too much is an error like that of a full disk.
        self.start_from_shell(&format!("trap '' XFSZ; ulimit -f {blocks}"), Stdio::null())
    }

    /// Writes the file and starts the gateway in the place of a shell that has run `script`.
    pub(crate) fn start_from_shell(&self, script: &str, stdin: impl Into<Stdio>) -> Gateway {
        Gateway::start(shell(script, stdin), &self.write())
    }

    /// As [`Config::start_from_shell`], for a gateway that ends by itself.
    pub(crate) fn run_from_shell(&self, script: &str, stdin: impl Into<Stdio>) -> Ended {
        ended(shell(script, stdin).args(["run", "--config", word(&self.write())]))
    }
}

/// `waxseal` in the place, and so with the process id, of a shell that has run `script`.
fn shell(script: &str, stdin: impl Into<Stdio>) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("{script}; exec \"$0\" \"$@\"");
    shell.env_clear().stdin(stdin).args(["-c", &script, env!("CARGO_BIN_EXE_waxseal")]);
    shell
}

/// `waxseal run`, killed when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Its configuration file.
    pub(crate) config: PathBuf,
}

impl Gateway {
    fn start(mut command: Command, config: &Path) -> Self {
        command.args(["run", "--config", word(config)]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, written) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                written.lock().unwrap().push(line);
            }
        });
        let gateway = Self { child, log, config: config.to_owned() };
        let listeners = fs::read_to_string(config).unwrap().matches("[[listener]]").count();
        let is_listening = |line: &&String| line.contains(" listening ") || line.contains("\"listening\"");
        let is_ready = || gateway.log().iter().filter(is_listening).count() >= listeners;
        assert!(wait_for(|| is_ready().then_some(())).is_some(), "not listening: {:#?}", gateway.log());
        gateway
    }

    /// Of a configuration that is written already.
    pub(crate) fn at(config: &Path) -> Self {
        Self::at_with(config, &[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn at_with(config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = command();
        command.envs(environment.iter().copied());
        Self::start(command, config)
    }

    /// Where the listener of this name listens.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let wanted = format!(" listening listener=\"{listener}\" address=");
        let log = self.log();
        log.iter().find_map(|line| line.split_once(&wanted)).unwrap().1.parse().unwrap()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a line of the log that holds `text`.
    pub(crate) fn await_log(&self, text: &str) -> String {
        let line = wait_for(|| self.log().into_iter().find(|line| line.contains(text)));
        line.unwrap_or_else(|| panic!("`{text}` was not logged: {:#?}", self.log()))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        run::signal(&self.child, signal);
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for(|| self.child.try_wait().unwrap())
            .unwrap_or_else(|| panic!("does not end: {:#?}", self.log()))
    }

    /// `waxseal quarantine …` with the gateway's configuration.
    pub(crate) fn quarantine(&self, arguments: &[&str]) -> Ended {
        waxseal(&[&["quarantine"], arguments, &["--config", word(&self.config)]].concat())
    }

    /// All that is held, as `quarantine list --json` says it.
    pub(crate) fn held(&self) -> Vec<Value> {
        let listed = self.quarantine(&["list", "--json"]);
        assert_eq!((listed.status, listed.stderr.as_str()), (0, ""));
        listed.json()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        run::kill(&mut self.child);
        if thread::panicking() {
            eprintln!("{}:\n{}", self.config.display(), self.log().join("\n"));
        }
    }
}
