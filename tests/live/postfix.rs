//! A Postfix of the test's own: configuration, queue, log and mailboxes in a temporary folder, on loopback ports.
//! No file or process of the system's Postfix is touched.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::program::run::{self, Run, works};
use crate::program::skip::are_there;
use crate::program::{folder, is_root, wait_for};

/// The user of all mailboxes. It need not exist.
const MAIL_UID: u32 = 29_801;

/// A Postfix that runs until it is dropped, or until this process ends, however that happens.
pub(crate) struct Postfix {
    folder: TempDir,
    name: &'static str,
    keeper: Child,
}

/// What Postfix needs to run at all. `smtp` and `lmtp` deliver to other servers, `virtual` to the mailboxes; `old` delivers as
/// an old server would, which makes quoted-printable of 8bit.
const SERVICES: &str = "\
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
old unix - - n - - smtp -o smtp_discard_ehlo_keywords=8bitmime,smtputf8
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
";

/// A server of this Postfix for master.cf; each option must hold no blank.
pub(crate) fn smtpd(address: SocketAddr, options: &[&str]) -> String {
    let options: String = options.iter().map(|option| format!("  -o {option}\n")).collect();
    format!("{address} inet n - n - - smtpd\n{options}")
}

impl Postfix {
    /// Whether a test may start one, and has these programs as well. If not, the test is skipped.
    pub(crate) fn is_there_with(programs: &[(&str, bool)]) -> bool {
        // The system's Postfix need not be configured.
        let postfix = works("postconf", &["-d", "mail_version"]);
        are_there(&[&[("root's rights", is_root()), ("Postfix", postfix)], programs].concat())
    }

    /// Starts a Postfix with a mailbox for each address, these servers for master.cf and this for main.cf.
    pub(crate) fn start(name: &'static str, mailboxes: &[String], servers: &[String], main: &str) -> Self {
        let postfix = Self::with_master(name, mailboxes, &format!("{}{SERVICES}", servers.concat()), main);
        for server in servers {
            let address: SocketAddr = server.split_once(' ').unwrap().0.parse().unwrap();
            postfix.await_listening(address);
        }
        postfix
    }

    /// Starts a Postfix with this master.cf.
    pub(crate) fn with_master(name: &'static str, mailboxes: &[String], master: &str, main: &str) -> Self {
        let folder = folder();
        let path = |part: &str| folder.path().join(part);
        for part in ["config", "queue", "data", "mail"] {
            fs::create_dir(path(part)).unwrap();
        }
        std::os::unix::fs::chown(path("mail"), Some(MAIL_UID), Some(MAIL_UID)).unwrap();
        own_by_postfix(&path("data"));
        fs::write(path("config/master.cf"), master).unwrap();
        let maps: Vec<String> =
            mailboxes.iter().map(|address| format!("{{{address} = {address}/}}")).collect();
        let common = format!(
            "compatibility_level = 3.6\nmyhostname = {name}\nqueue_directory = {queue}\ndata_directory = {data}\n\
             inet_protocols = ipv4\ninet_interfaces = 127.0.0.1\nmynetworks = 127.0.0.0/8\nmydestination =\n\
             smtpd_peername_lookup = no\nsmtpd_recipient_restrictions = permit_mynetworks, reject\n\
             virtual_mailbox_domains = {domain}\nvirtual_mailbox_base = {mail}\n\
             virtual_mailbox_maps = inline:{{ {maps} }}\nvirtual_uid_maps = static:{MAIL_UID}\n\
             virtual_gid_maps = static:{MAIL_UID}\nalias_maps =\n\
             maillog_file = {folder}/log\nmaillog_file_prefixes = {folder}\n",
            queue = path("queue").display(),
            data = path("data").display(),
            mail = path("mail").display(),
            folder = folder.path().display(),
            domain = mailboxes[0].split_once('@').unwrap().1,
            maps = maps.join(", "),
        );
        fs::write(path("config/main.cf"), common + main).unwrap();
        let keeper = keep(&path("config"));
        Self { folder, name, keeper }
    }

    /// Waits until it listens on this address.
    pub(crate) fn await_listening(&self, address: SocketAddr) {
        let connects = || TcpStream::connect(address).ok();
        assert!(wait_for(connects).is_some(), "{} does not listen on {address}:\n{}", self.name, self.log());
    }

    /// Where its configuration is.
    #[allow(dead_code, reason = "only the tests of `waxseal setup` change it")]
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// The messages in a mailbox, as they lie on disk.
    pub(crate) fn mailbox(&self, address: &str) -> Vec<String> {
        files(&self.folder.path().join("mail").join(address).join("new"))
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect()
    }

    /// Waits for a message in a mailbox in which `text` stands.
    pub(crate) fn await_mail(&self, address: &str, text: &str) -> Option<String> {
        wait_for(|| self.mailbox(address).into_iter().find(|message| message.contains(text)))
    }

    /// Waits until the queue is empty; false if it does not come to that.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = |name: &str| self.folder.path().join("queue").join(name);
        let is_empty =
            || ["incoming", "active", "deferred"].iter().all(|name| files(&queue(name)).is_empty());
        wait_for(|| is_empty().then_some(())).is_some()
    }

    /// Waits for a line of the log that holds `text`.
    pub(crate) fn await_log(&self, text: &str) -> String {
        let line = wait_for(|| self.log().lines().find(|line| line.contains(text)).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{} did not log `{text}`", self.name))
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn own_by_postfix(folder: &Path) {
    let chown = Command::new("chown").arg("postfix").arg(folder).run();
    assert!(chown.status.success(), "{chown:?}");
}

/// A shell that starts Postfix, and stops it when our end of its stdin is closed. The system does that even where
/// this process is killed, so no Postfix outlives its test.
fn keep(config: &Path) -> Child {
    // All daemons are of their master's process group, and the last of them must be gone before the folder goes.
    let script = "postfix -c \"$0\" start; read -r never; read -r master <\"$0\"/../queue/pid/master.pid; \
                  postfix -c \"$0\" abort; \
                  for n in $(seq 100); do kill -s 0 -- \"-$master\" || exit; sleep 0.1; done; \
                  kill -s KILL -- \"-$master\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(config).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // An interrupt from the terminal is for the test alone.
    shell.process_group(0).spawn().unwrap()
}

impl Drop for Postfix {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = run::ended(&mut self.keeper);
        if thread::panicking() {
            eprintln!("log of {}:\n{}", self.name, self.log());
        }
    }
}
