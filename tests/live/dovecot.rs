//! A Dovecot of the test's own that only knows who a user is, for a Postfix that asks it (SASL).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::program::run::{ended, signal};
use crate::program::{folder, wait_for, word};

/// Runs until it is dropped.
pub(crate) struct Dovecot {
    folder: TempDir,
    child: Child,
}

/// For Dovecot 2.3, and in other words for 2.4.
const OLD: &str = "passdb {\n driver = passwd-file\n args = @users\n}\n";
const NEW: &str = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n\
                   passdb passwd-file {\n passwd_file_path = @users\n}\n";

impl Dovecot {
    /// Its version, if it is installed.
    pub(crate) fn version() -> Option<String> {
        let output = Command::new("dovecot").arg("--version").output().ok()?;
        String::from_utf8(output.stdout).ok()
    }

    /// Starts one that knows these users and their passwords, and these mechanisms.
    pub(crate) fn start(users: &[(&str, &str)], mechanisms: &str) -> Self {
        let folder = folder();
        let users: String =
            users.iter().map(|(name, password)| format!("{name}:{{PLAIN}}{password}\n")).collect();
        fs::write(folder.path().join("users"), users).unwrap();
        fs::set_permissions(folder.path().join("users"), fs::Permissions::from_mode(0o644)).unwrap();
        let is_old = Self::version().is_some_and(|version| version.starts_with("2.3"));
        let text = format!(
            "{}base_dir = @run\nlog_path = @log\nprotocols =\nssl = no\nauth_mechanisms = {mechanisms}\n\
             service auth {{\n unix_listener @auth {{\n mode = 0666\n }}\n}}\n",
            if is_old { OLD } else { NEW },
        );
        let config = folder.path().join("dovecot.conf");
        fs::write(&config, text.replace('@', &format!("{}/", word(folder.path())))).unwrap();
        let mut command = Command::new("dovecot");
        command.args(["-F", "-c", word(&config)]).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(fs::File::create(folder.path().join("stderr")).unwrap()).spawn().unwrap();
        let dovecot = Self { folder, child };
        let listens = || dovecot.socket().exists().then_some(());
        assert!(wait_for(listens).is_some(), "Dovecot does not listen: {}", dovecot.log());
        dovecot
    }

    /// Where it tells who a user is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("auth")
    }

    fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("stderr") + &read("log")
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its master ends the other processes.
        signal(&self.child, Signal::TERM);
        let _ = ended(&mut self.child);
        if std::thread::panicking() {
            eprintln!("log of Dovecot:\n{}", self.log());
        }
    }
}
