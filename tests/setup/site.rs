//! A machine for `waxseal setup`: a Postfix of the test's own at port 25 of a loopback address of its own, and a gateway that
//! the test starts once its configuration is written, as an administrator does where there is no systemd.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::postfix_server::Postfix;
use crate::program::run::Run;
use crate::program::skip::are_there;
use crate::program::{Ended, Gateway, folder, waxseal_with, word};

/// The mailbox of this machine.
pub(crate) const DESK: &str = "desk@example.org";

/// The service's user. It need not exist.
pub(crate) const SERVICE: u32 = 29_802;

/// What Debian installs.
const STOCK: &str = "/usr/share/postfix/master.cf.dist";

/// Nobody's name servers are asked.
pub(crate) const ENVIRONMENT: &[(&str, &str)] = &[("WAXSEAL_DNS__SERVERS", "")];

/// master.cf as Debian installs it, with the submission service on or off.
pub(crate) fn stock(submission: bool) -> String {
    let text = fs::read_to_string(STOCK).unwrap();
    if !submission {
        return text;
    }
    let (before, after) = text.split_once("#submission inet ").unwrap();
    format!("{before}{SUBMISSION}#submission inet {after}")
}

/// As the comments of that file have it, but for TLS.
const SUBMISSION: &str = "\
submission inet n       -       y       -       -       smtpd
  -o syslog_name=postfix/submission
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
  -o milter_macro_daemon_name=ORIGINATING
";

/// A Postfix, and where the gateway's files are.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) postfix: Postfix,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

impl Site {
    /// `None` where something is missing.
    pub(crate) fn new(master: &str, main: &str) -> Option<Self> {
        let ip = address();
        // Postfix knows this address where master.cf names it.
        let master = master
            .replace("\nsmtp      inet", &format!("\n{ip}:smtp inet"))
            .replace("\nsubmission inet", &format!("\n{ip}:submission inet"));
        can_have(ip).then(|| Self::at_address(ip, &master, main))
    }

    /// With master.cf to the letter, at 127.0.0.1. One test may have it.
    pub(crate) fn to_the_letter() -> Option<Self> {
        let ip = Ipv4Addr::LOCALHOST.into();
        can_have(ip).then(|| Self::at_address(ip, &stock(false), ""))
    }

    fn at_address(ip: IpAddr, master: &str, main: &str) -> Self {
        let folder = folder();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        std::os::unix::fs::chown(&state, Some(SERVICE), Some(SERVICE)).unwrap();
        let main = format!("mydomain = example.org\nmyhostname = mail.example.org\n{main}");
        let postfix = Postfix::with_master("mail.example.org", &[DESK.to_owned()], master, &main);
        let site = Self { folder, postfix, ip, port: ports() };
        site.postfix.await_listening(site.at(25));
        site
    }

    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("waxseal.toml")
    }

    pub(crate) fn master(&self) -> PathBuf {
        self.postfix.config().join("master.cf")
    }

    pub(crate) fn master_text(&self) -> String {
        fs::read_to_string(self.master()).unwrap()
    }

    /// Where things are, as options.
    fn places(&self) -> Vec<String> {
        let state = self.folder.path().join("state");
        let places =
            [("--config", self.config()), ("--state", state), ("--postfix-config", self.postfix.config())];
        places.iter().flat_map(|(name, path)| [(*name).to_owned(), word(path).to_owned()]).collect()
    }

    pub(crate) fn arguments(&self, more: &[&str]) -> Vec<String> {
        let more = more.iter().map(|word| (*word).to_owned());
        ["setup".to_owned()].into_iter().chain(self.places()).chain(more).collect()
    }

    /// Runs `waxseal setup`.
    pub(crate) fn run(&self, more: &[&str]) -> Ended {
        let arguments = self.arguments(more);
        waxseal_with(ENVIRONMENT, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same, not asking anything.
    pub(crate) fn run_yes(&self, more: &[&str]) -> Ended {
        let port = self.port.to_string();
        self.run(&[&["--yes", "--alert", DESK, "--port", &port], more].concat())
    }

    /// Starts `waxseal setup`, with nothing on its stdin.
    pub(crate) fn start(&self, more: &[&str]) -> Child {
        let port = self.port.to_string();
        self.spawn(&[&["--yes", "--alert", DESK, "--port", &port], more].concat())
    }

    /// Starts `waxseal setup --undo`.
    pub(crate) fn start_undo(&self) -> Child {
        self.spawn(&["--undo"])
    }

    fn spawn(&self, more: &[&str]) -> Child {
        let arguments = self.arguments(more);
        Command::new(env!("CARGO_BIN_EXE_waxseal"))
            .args(arguments)
            .env_clear()
            .envs(ENVIRONMENT.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Starts the gateway with the configuration as soon as it is there.
    pub(crate) fn gateway(&self) -> Gateway {
        let is_written = || self.config_sets_something().then_some(());
        assert!(crate::program::wait_for(is_written).is_some(), "no configuration");
        Gateway::at_with(&self.config(), ENVIRONMENT)
    }

    pub(crate) fn config_sets_something(&self) -> bool {
        fs::read_to_string(self.config()).is_ok_and(|text| text.contains("\n[[listener]]"))
    }

    /// Sets everything up, and starts the gateway meanwhile.
    pub(crate) fn set_up(&self, more: &[&str]) -> (Ended, Gateway) {
        thread::scope(|scope| {
            let setup = scope.spawn(|| self.run_yes(more));
            let gateway = self.gateway();
            let ended = setup.join().unwrap();
            assert_eq!(ended.status, 0, "{ended:?}");
            (ended, gateway)
        })
    }

    /// Hands a message to `sendmail`.
    pub(crate) fn sendmail(&self, message: &[u8]) {
        let file = self.folder.path().join("letter");
        fs::write(&file, String::from_utf8(message.to_vec()).unwrap().replace("\r\n", "\n")).unwrap();
        let sent = Command::new("sendmail")
            .args(["-C", word(&self.postfix.config()), "-i", "-f", "office@example.org", DESK])
            .stdin(fs::File::open(&file).unwrap())
            .to_end();
        assert!(sent.status.success(), "{sent:?}");
    }

    /// The message with this subject, once it is in the mailbox.
    pub(crate) fn arrived(&self, subject: &str) -> String {
        let arrived = self.postfix.await_mail(DESK, &format!("\nSubject: {subject}\n"));
        arrived.unwrap_or_else(|| panic!("`{subject}` did not arrive"))
    }
}

/// Whether a Postfix may be there; if not, the test is skipped.
fn can_have(ip: IpAddr) -> bool {
    let port_25 = TcpListener::bind((ip, 25)).is_ok();
    Postfix::is_there_with(&[])
        && are_there(&[("Debian's master.cf", Path::new(STOCK).exists()), ("port 25 of loopback", port_25)])
}

/// A loopback address that no other test uses.
fn address() -> IpAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let next = NEXT.fetch_add(1, Ordering::Relaxed) as u8;
    Ipv4Addr::new(127, 100 + next, high, low.max(1)).into()
}

/// The first of four ports that nobody uses now, below those that the system gives to clients.
fn ports() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 11_000 + (std::process::id() % 100) as u16 * 80;
    loop {
        let base = first + 4 * TAKEN.fetch_add(1, Ordering::Relaxed);
        if (base..base + 4).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return base;
        }
    }
}
