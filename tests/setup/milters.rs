//! Postfix with milters: none is lost, and none sees a message twice. OpenDKIM signs what this site sends, and notes in each
//! message from elsewhere that it saw it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::program::run::{self, Run, works};
use crate::program::smtp::{Client, free_port};
use crate::program::{folder, letter, wait_for, word};
use crate::site::{DESK, Site, stock};

/// Runs until it is dropped.
struct OpenDkim {
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

impl OpenDkim {
    fn start() -> Self {
        let folder = folder();
        let (key, address) = (folder.path().join("dkim.pem"), free_port());
        let made = Command::new("openssl").args(["genrsa", "-out", word(&key), "2048"]).run();
        assert!(made.status.success(), "{made:?}");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let config = folder.path().join("opendkim.conf");
        let text = format!(
            "Socket inet:{}@127.0.0.1\nDomain example.org\nSelector dkim\nKeyFile {}\nMode sv\nBackground no\nSyslog no\n\
             Canonicalization relaxed/simple\nAlwaysAddARHeader yes\nAuthservID dkim.example.org\nUserID root\n\
             InternalHosts 127.0.0.1\nRequireSafeKeys no\n",
            address.port(),
            word(&key)
        );
        fs::write(&config, text).unwrap();
        let stderr = fs::File::create(folder.path().join("stderr")).unwrap();
        let mut command = Command::new("opendkim");
        command.args(["-f", "-x", word(&config)]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().unwrap();
        let opendkim = Self { folder, address, child };
        let connects = || TcpStream::connect(address).ok();
        assert!(wait_for(connects).is_some(), "OpenDKIM does not listen: {}", opendkim.log());
        opendkim
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for OpenDkim {
    fn drop(&mut self) {
        run::kill(&mut self.child);
    }
}

/// How often OpenDKIM looked at a message from elsewhere.
fn looks(message: &str) -> usize {
    message.matches("Authentication-Results: dkim.example.org").count()
}

fn signatures(message: &str) -> usize {
    message.matches("\nDKIM-Signature: ").count()
}

#[test]
fn opendkim_signs_after_the_seal_and_looks_at_port_25_once() {
    if !crate::program::skip::are_there(&[("OpenDKIM", works("opendkim", &["-V"]))]) {
        return;
    }
    let opendkim = OpenDkim::start();
    let main = format!(
        "smtpd_milters = inet:127.0.0.1:{}\nnon_smtpd_milters = $smtpd_milters\n",
        opendkim.address.port()
    );
    // Users are those of this machine, without a password.
    let master = stock(true).replace("permit_sasl_authenticated,reject", "permit_mynetworks,reject");
    let Some(site) = Site::new(&master, &main) else { return };
    site.postfix.await_listening(site.at(587));
    let outside = |subject: &str| {
        let answer = Client::hello(site.at(25)).deliver(
            "someone@example.net",
            DESK,
            &letter::plain("someone@example.net", subject),
        );
        assert!(answer.starts_with("250"), "{answer}");
        site.arrived(subject)
    };
    assert_eq!(looks(&outside("before")), 1, "this is what it does by itself");

    let before = site.master_text();
    let (ended, _gateway) = site.set_up(&["--domain", "example.org", "--selector", "gate1"]);
    assert!(ended.text().contains("stay at port 25"), "{}", ended.text());
    assert!(
        ended.text().contains("The gateway's verdict: unknown-key"),
        "{}\n{}",
        ended.text(),
        ended.stderr
    );
    let arrived = outside("after");
    assert_eq!(looks(&arrived), 1, "{arrived}");
    assert!(arrived.contains("x-attachment-seal=none"), "{arrived}");

    let answer = Client::hello(site.at(587)).deliver(
        "office@example.org",
        DESK,
        &letter::with_attachments("submitted"),
    );
    assert!(answer.starts_with("250"), "{answer}");
    site.sendmail(&letter::with_attachments("from a program"));
    for subject in ["submitted", "from a program"] {
        let arrived = site.arrived(subject);
        assert_eq!(signatures(&arrived), 1, "{arrived}");
        assert_eq!(arrived.matches("\nAttachment-Seal: ").count(), 1, "{arrived}");
        let (signature, seal) = (arrived.find("DKIM-Signature: "), arrived.find("Attachment-Seal: "));
        assert!(signature < seal, "the signature is the later of the two: {arrived}");
    }
    assert!(site.postfix.is_idle());

    let again = site.run(&["--yes"]);
    assert!(again.text().contains("nothing to change"), "{}", again.text());
    assert_eq!(site.run(&["--undo"]).status, 0);
    assert_eq!(site.master_text(), before);
    let arrived = outside("undone");
    assert_eq!((looks(&arrived), arrived.contains("x-attachment-seal")), (1, false), "{arrived}");
}
