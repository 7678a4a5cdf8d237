//! An Exim of the test's own: configuration, queue, log and mailbox in a temporary folder, on a loopback port.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::program::run::{self, Run, works};
use crate::program::{folder, wait_for};

/// The user that Debian's Exim runs as.
const USER: &str = "Debian-exim";

/// Whom an Exim takes mail for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Takes {
    Everybody,
    /// All but those who are called `nobody`.
    AllButNobody,
}

/// An Exim that runs until it is dropped, or until this process ends, however that happens.
#[derive(Debug)]
pub(crate) struct Exim {
    folder: TempDir,
    name: &'static str,
    keeper: Child,
}

impl Exim {
    /// Whether there is one to start.
    pub(crate) fn is_there() -> bool {
        works("exim4", &["-C", "/dev/null", "-bV"])
    }

    /// Starts an Exim on `address` that has a mailbox for all of the domain `local`, and sends all other mail to
    /// `next_hop`. `takes` says who may be a recipient.
    pub(crate) fn start(
        name: &'static str,
        address: SocketAddr,
        local: &str,
        next_hop: SocketAddr,
        takes: Takes,
    ) -> Self {
        let folder = folder();
        for part in ["spool", "log", "mail"] {
            fs::create_dir(folder.path().join(part)).unwrap();
            let chown = Command::new("chown").arg(USER).arg(folder.path().join(part)).run();
            assert!(chown.status.success(), "{chown:?}");
        }
        // Where Exim was unpacked, its user may not look.
        let installed = Command::new("sh").args(["-c", "command -v exim4"]).run();
        let program = folder.path().join("exim4");
        fs::copy(String::from_utf8_lossy(&installed.stdout).trim(), &program).unwrap();
        let configuration = format!(
            "exim_path = {program}\n\
             primary_hostname = {name}\n\
             spool_directory = {folder}/spool\n\
             log_file_path = {folder}/log/%slog\n\
             pid_file_path = {folder}/spool/pid\n\
             local_interfaces = {ip}\ndaemon_smtp_ports = {port}\n\
             deliver_drop_privilege\n\
             keep_environment =\nhost_lookup =\ntls_advertise_hosts =\n\
             acl_smtp_rcpt = {takes}\nacl_smtp_data = accept\n\
             begin acl\n\
             everybody:\n  accept\n\
             all_but_nobody:\n  deny local_parts = nobody\n       message = no such user\n  accept\n\
             begin routers\n\
             here:\n  driver = accept\n  domains = {local}\n  transport = mailbox\n\
             elsewhere:\n  driver = manualroute\n  route_list = * {hop_ip}::{hop_port} byname\n  self = send\n\
             \x20 transport = smtp\n\
             begin transports\n\
             mailbox:\n  driver = appendfile\n  directory = {folder}/mail\n  maildir_format\n  user = {USER}\n\
             smtp:\n  driver = smtp\n",
            program = program.display(),
            folder = folder.path().display(),
            ip = address.ip(),
            port = address.port(),
            takes = match takes {
                Takes::Everybody => "everybody",
                Takes::AllButNobody => "all_but_nobody",
            },
            hop_ip = next_hop.ip(),
            hop_port = next_hop.port(),
        );
        let file = folder.path().join("exim.conf");
        fs::write(&file, configuration).unwrap();
        let exim = Self { keeper: keep(&program, &file), folder, name };
        let connects = || TcpStream::connect(address).ok();
        assert!(wait_for(connects).is_some(), "{name} does not listen on {address}:\n{}", exim.log());
        exim
    }

    /// The messages in the mailbox, as they lie on disk.
    pub(crate) fn mailbox(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder.path().join("mail/new")).into_iter().flatten().flatten();
        files.map(|file| fs::read_to_string(file.path()).unwrap()).collect()
    }

    /// Waits for a line of the log that holds `text`.
    pub(crate) fn await_log(&self, text: &str) -> String {
        let line = wait_for(|| self.log().lines().find(|line| line.contains(text)).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{} did not log `{text}`", self.name))
    }

    /// What it has logged.
    fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join("log").join(name));
        ["mainlog", "paniclog"].into_iter().flat_map(read).collect()
    }
}

/// A shell that starts Exim, and stops it when our end of its stdin is closed.
fn keep(program: &Path, configuration: &Path) -> Child {
    let script = "\"$0\" -C \"$1\" -bdf & read -r never; kill $!; wait";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(program).arg(configuration).stdin(Stdio::piped());
    shell.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap()
}

impl Drop for Exim {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = run::ended(&mut self.keeper);
        if thread::panicking() {
            eprintln!("log of {}:\n{}", self.name, self.log());
        }
    }
}
