//! The best place for a sealing gateway: between users anywhere and a provider that demands AUTH, with the configuration in
//! `deploy/provider`. The provider is a Postfix that asks Dovecot who a user is.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use super::dovecot::Dovecot;
use super::postfix::{Postfix, smtpd};
use super::program::skip::are_there;
use super::program::smtp::{Client, free_port};
use super::program::tls::Authority;
use super::program::{Gateway, letter, word};
use super::{Ground, SENDER};

const DESK: &str = "desk@partner.example";
const USER: &str = "dolma";
const PASSWORD: &str = "long and secret";

struct Site {
    ground: Ground,
    provider: Postfix,
    gateway: Gateway,
    authority: Authority,
    _dovecot: Dovecot,
}

impl Site {
    fn new() -> Option<Self> {
        let ground = Ground::new()?;
        if !are_there(&[("Dovecot", Dovecot::version().is_some())]) {
            return None;
        }
        let dovecot = Dovecot::start(&[(USER, PASSWORD)], "plain login scram-sha-256");
        let folder = ground.folder.path().join("sealing");
        let authority = Authority::new("a trusted authority");
        authority.write(&folder);
        authority.issue(&["127.0.0.1", "mail.example.org"]).write(&folder);
        let port = free_port();
        let options = [
            "smtpd_tls_security_level=encrypt".to_owned(),
            format!("smtpd_tls_cert_file={}", word(&folder.join("tls.pem"))),
            format!("smtpd_tls_key_file={}", word(&folder.join("tls.key"))),
            "smtpd_sasl_auth_enable=yes".to_owned(),
            "smtpd_sasl_type=dovecot".to_owned(),
            format!("smtpd_sasl_path={}", word(&dovecot.socket())),
            "smtpd_tls_auth_only=yes".to_owned(),
            // Nobody is its friend for the address alone.
            "mynetworks=192.0.2.0/24".to_owned(),
            "smtpd_recipient_restrictions=permit_sasl_authenticated,reject".to_owned(),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let provider = Postfix::start("smtp.provider.example", &[DESK.into()], &[smtpd(port, &options)], "");
        let gateway = Gateway::at(&write_config(&folder, port));
        Some(Self { ground, provider, gateway, authority, _dovecot: dovecot })
    }

    /// Sends a letter by swaks.
    fn send(&self, name: &str, listener: &str, options: &[&str]) -> Output {
        let file = self.ground.folder.path().join(name);
        fs::write(&file, letter::with_attachments(name)).unwrap();
        Command::new("swaks")
            .args(["--server", &self.gateway.address(listener).to_string(), "--ehlo", "laptop.example.net"])
            .args(["--from", SENDER, "--to", DESK, "--data", &format!("@{}", word(&file))])
            .args(options)
            .output()
            .unwrap()
    }
}

/// The configuration as it is shipped, but for ports and files.
fn write_config(folder: &Path, provider: SocketAddr) -> std::path::PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/provider/waxseal.toml");
    let mut text = fs::read_to_string(shipped).unwrap();
    for (shipped, ours) in [
        ("listen = [\"0.0.0.0:587\", \"[::]:587\"]", "listen = [\"127.0.0.1:0\"]".to_owned()),
        ("listen = [\"0.0.0.0:465\", \"[::]:465\"]", "listen = [\"127.0.0.1:0\"]".to_owned()),
        ("\"smtp.provider.example:587\"", format!("\"{provider}\"\nnext_hop_ca = \"ca.pem\"")),
        ("/etc/waxseal/", String::new()),
        ("hostname = ", "state = \"state\"\nhostname = ".to_owned()),
    ] {
        assert!(text.contains(shipped), "{shipped}");
        text = text.replace(shipped, &ours);
    }
    let keys = folder.join("keys/example.org");
    fs::create_dir_all(&keys).unwrap();
    fs::copy(folder.join("gate1.pem"), keys.join("gate1.pem")).unwrap();
    let config = folder.join("waxseal.toml");
    fs::write(&config, text + "\n[dns]\nservers = []\n").unwrap();
    config
}

#[test]
fn roaming_users_send_by_a_provider_that_demands_auth() {
    let Some(site) = Site::new() else { return };
    let credentials = ["--auth-user", USER, "--auth-password", PASSWORD];
    for (name, listener, options) in [
        ("starttls", "submission", &["--tls", "--auth", "PLAIN"][..]),
        ("implicit", "submissions", &["--tls-on-connect", "--auth", "LOGIN"]),
    ] {
        let sent = site.send(name, listener, &[options, &credentials].concat());
        assert!(sent.status.success(), "{name}: {}", String::from_utf8_lossy(&sent.stdout));
        let arrived = site.provider.await_mail(DESK, &format!("<{name}@example.org>")).unwrap();
        assert_eq!(arrived.matches("\nAttachment-Seal: ").count(), 1, "{arrived}");
    }
    site.provider.await_log(&format!("sasl_method=PLAIN, sasl_username={USER}"));
    site.provider.await_log(&format!("sasl_method=LOGIN, sasl_username={USER}"));
}

#[test]
fn strangers_send_nothing() {
    let Some(site) = Site::new() else { return };
    let address = site.gateway.address("submission");
    let mut clear = Client::hello(address);
    let reply = clear.open(SENDER, DESK);
    assert!(reply.starts_with("530 5.7.0 "), "{reply}");

    let mut client = site.authority.starttls("mail.example.org", Client::hello(address));
    let offer = client.say("EHLO stranger.example");
    assert!(offer.contains("AUTH PLAIN LOGIN SCRAM-SHA-256"), "{offer}");
    assert!(!offer.contains("-PLUS"), "{offer}");
    let reply = client.open(SENDER, DESK);
    assert!(reply.starts_with("530 5.7.0"), "{reply}");
    // `dolma` with another password.
    let reply = client.say("AUTH PLAIN AGRvbG1hAHdyb25n");
    assert!(reply.starts_with("535"), "{reply}");
    let reply = client.open(SENDER, DESK);
    assert!(reply.starts_with("530 5.7.0"), "{reply}");
    site.gateway.await_log("AUTH refused by the next hop");

    let guessed = site.send("guessed", "submission", &["--tls", "--auth-user", USER, "--auth-password", "x"]);
    assert!(!guessed.status.success());
    assert!(site.provider.is_idle() && site.provider.mailbox(DESK).is_empty());
    let log = site.gateway.log().join("\n");
    assert!(!log.contains("AGRvbG1hAHdyb25n") && !log.contains(PASSWORD), "{log}");
}
