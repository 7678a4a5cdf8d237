//! Real Postfix around the gateway: wired as deploy/README.md has it, and in each way that leads mail past it. Every remedy is
//! carried out as it is printed, and must be one. What is done to a message, a probe shows.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::postfix_server::{Postfix, smtpd};
use crate::program::run::Run;
use crate::program::smtp::free_port;
use crate::program::{Config, Gateway, folder, keygen, word};
use crate::{Findings, run};

/// Postfix before and behind a sealing gateway.
struct Site {
    folder: TempDir,
    submission: SocketAddr,
    listen: SocketAddr,
    sealed: SocketAddr,
}

impl Site {
    /// `None` where something is missing.
    fn new() -> Option<Self> {
        if !Postfix::is_there_with(&[]) {
            return None;
        }
        let folder = folder();
        fs::create_dir(folder.path().join("state")).unwrap();
        keygen(&folder.path().join("gate1.pem"));
        Some(Self { folder, submission: free_port(), listen: free_port(), sealed: free_port() })
    }

    fn gateway(&self) -> Gateway {
        Config::new(self.folder.path(), "gate.example.org")
            .listener_at("outbound", "seal", &self.listen.to_string(), self.sealed, "")
            .sealing_with(&self.folder.path().join("gate1.pem"))
            .start()
    }

    /// The services of deploy/postfix/submission/master.cf.
    fn services(&self) -> [String; 2] {
        let filter = format!("smtpd_proxy_filter={}", self.listen);
        let behind = [
            "smtpd_proxy_filter=",
            "receive_override_options=no_unknown_recipient_checks,no_header_body_checks",
            "local_header_rewrite_clients=",
        ];
        [
            smtpd(self.submission, &[&filter, "smtpd_sasl_auth_enable=yes", "smtpd_sasl_type=cyrus"]),
            smtpd(self.sealed, &behind),
        ]
    }

    /// A configuration of Postfix that is never started.
    fn written(&self, master: &str, main: &str) -> PathBuf {
        let config = self.folder.path().join("postfix");
        let _ = fs::remove_dir_all(&config);
        fs::create_dir(&config).unwrap();
        let common = "compatibility_level = 3.6\nmyhostname = mail.example.org\nsmtpd_milters =\n";
        fs::write(config.join("main.cf"), format!("{common}{main}")).unwrap();
        let rest = "cleanup unix n - n - 0 cleanup\nsmtp unix - - n - - smtp\nrelay unix - - n - - smtp\n";
        fs::write(config.join("master.cf"), format!("{master}{rest}")).unwrap();
        config
    }
}

fn examine(gateway: &Gateway, postfix: &Path) -> Findings {
    run(&gateway.config, &["--postfix", word(postfix)])
}

/// Carries out the commands that a remedy is, but for the reload of a Postfix that does not run.
fn carry_out(remedy: &str) {
    let commands = remedy.split(" (").next().unwrap();
    for command in commands.split(" && ").filter(|command| !command.ends_with(" reload")) {
        let done = Command::new("sh").args(["-c", command]).run();
        assert!(done.status.success(), "{command}: {done:?}");
    }
}

/// Ways around the gateway.
#[test]
fn mail_that_goes_beside_the_gateway_is_noticed() {
    let Some(site) = Site::new() else { return };
    let gateway = site.gateway();
    let subject = "Postfix around outbound";
    let [submission, sealed] = site.services();
    let unsealed = smtpd(free_port(), &["smtpd_sasl_auth_enable=yes"]);
    let pickup = "pickup unix n - n 60 1 pickup\n";
    let postfix = site.written(&format!("{submission}{sealed}{unsealed}{pickup}"), "");
    let findings = examine(&gateway, &postfix);
    let found = findings.assert("postfix", subject, "warning", "`sendmail` is not sealed");
    carry_out(found["remedy"].as_str().unwrap());
    let healed = examine(&gateway, &postfix);
    assert!(!healed.shown().contains("`sendmail` is not sealed"), "{}", healed.shown());
    assert!(!healed.shown().contains("no transport"), "{}", healed.shown());
    let found = findings.assert("postfix", subject, "warning", "send mail that is not sealed");
    carry_out(found["remedy"].as_str().unwrap());
    let findings = examine(&gateway, &postfix);
    assert!(!findings.shown().contains("send mail that is not sealed"), "{}", findings.shown());
    // A filter without its transport, which mail waits for.
    let filtered = format!(
        "pickup unix n - n 60 1 pickup -o content_filter=waxseal:[127.0.0.1]:{}\n",
        site.listen.port()
    );
    let postfix = site.written(&format!("{submission}{sealed}{filtered}"), "");
    let findings = examine(&gateway, &postfix);
    let found = findings.assert("postfix", subject, "problem", "no transport `waxseal`");
    carry_out(found["remedy"].as_str().unwrap());
    examine(&gateway, &postfix).assert("postfix", subject, "ok", "lead mail through");
    let nobody = examine(&gateway, &site.written(&sealed, ""));
    nobody.assert("postfix", subject, "not-checked", "nothing in main.cf or master.cf leads there");
    let findings = examine(&gateway, &site.written(&(submission + &sealed), ""));
    let probe = findings.assert("postfix", subject, "not-checked", "whether mail is changed after sealing");
    assert!(probe["remedy"].as_str().unwrap().contains("--listener outbound --probe"), "{probe}");
}

/// The smtpd that takes mail back from the gateway has forgotten to switch the filter off.
#[test]
fn circles_are_noticed() {
    let Some(site) = Site::new() else { return };
    let gateway = site.gateway();
    let [submission, _] = site.services();
    let postfix = site.written(
        &(submission + &smtpd(site.sealed, &[])),
        &format!("content_filter = relay:[127.0.0.1]:{}\n", site.listen.port()),
    );
    let findings = examine(&gateway, &postfix);
    let found = findings.assert("postfix", "Postfix around outbound", "problem", "in circles");
    carry_out(found["remedy"].as_str().unwrap());
    let healed = examine(&gateway, &postfix);
    assert!(!healed.shown().contains("in circles"), "{}", healed.shown());
}

const INBOUND: &str = "Postfix around inbound";

impl Site {
    /// A verifying gateway at an address, with an address for its metrics.
    fn verifying(&self, listen: &str, next_hop: SocketAddr, admin: SocketAddr) -> Gateway {
        Config::new(self.folder.path(), "mx.example.net")
            .listener_at("inbound", "verify", listen, next_hop, "xforward = true")
            .and(&format!("[admin]\nlisten = [\"{admin}\"]"))
            .start()
    }
}

/// Mail that arrives at port 25, and each way that it may take to the gateway or not.
#[test]
fn mail_that_arrives_past_the_verifying_gateway_is_a_problem() {
    let Some(site) = Site::new() else { return };
    let gateway = site.verifying(&site.listen.to_string(), site.sealed, free_port());
    let port_25 = "smtp inet n - n - - smtpd\n";
    let back = smtpd(site.sealed, &["smtpd_proxy_filter="]);
    let filter = format!("smtpd_proxy_filter = {}\n", site.listen);
    let assert_passes = |master: &str, main: &str| {
        let findings = examine(&gateway, &site.written(&format!("{master}{back}"), main));
        findings.assert("postfix", INBOUND, "ok", "lead mail through");
        assert_eq!(findings.of("postfix", INBOUND).len(), 1, "{}", findings.shown());
    };
    let assert_bypasses = |master: &str| {
        let postfix = site.written(&format!("{master}{back}"), "");
        let findings = examine(&gateway, &postfix);
        assert_eq!(findings.status, 1, "{}", findings.shown());
        let found = findings.assert("postfix", INBOUND, "problem", "bypasses the gateway");
        carry_out(found["remedy"].as_str().unwrap());
        examine(&gateway, &postfix).assert("postfix", INBOUND, "ok", "lead mail through");
    };
    assert_passes(port_25, &filter);
    assert_passes(port_25, &format!("virtual_transport = smtp:[127.0.0.1]:{}\n", site.listen.port()));
    assert_bypasses(port_25);
    let postscreen = "smtp inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n";
    assert_passes(postscreen, &filter);
    assert_bypasses(postscreen);

    // Where nobody can tell, nobody says that it is well, and the probe is named.
    let maps = format!("{port_25}{back}");
    let maps = examine(&gateway, &site.written(&maps, "transport_maps = hash:/etc/postfix/transport\n"));
    let elsewhere = examine(&gateway, &site.written(&back, &filter));
    for findings in [maps, elsewhere] {
        let found =
            findings.assert("postfix", INBOUND, "not-checked", "whether mail that arrives here passes");
        assert!(found["remedy"].as_str().unwrap().contains("--listener inbound --probe"), "{found}");
        findings.assert_not_well("postfix", INBOUND);
    }

    // Results of other filters under another name, which some readers then ignore.
    let main = format!("{filter}smtpd_milters = inet:127.0.0.1:8891\n");
    let findings = examine(&gateway, &site.written(&format!("{port_25}{back}"), &main));
    let found =
        findings.assert("postfix", INBOUND, "warning", "as mail.example.org, the gateway as mx.example.net");
    assert!(found["remedy"].as_str().unwrap().contains("hostname = \"mail.example.org\""), "{found}");
}

/// From within a chroot Postfix does not see the gateway's socket.
#[test]
fn a_socket_outside_the_chroot_is_a_problem() {
    let Some(site) = Site::new() else { return };
    let socket = format!("unix:{}", word(&site.folder.path().join("in.sock")));
    let gateway = site.verifying(&socket, site.sealed, free_port());
    let back = smtpd(site.sealed, &["smtpd_proxy_filter="]);
    let master = |chroot| format!("smtp inet n - {chroot} - - smtpd -o smtpd_proxy_filter={socket}\n{back}");
    examine(&gateway, &site.written(&master("n"), "")).assert("postfix", INBOUND, "ok", "lead mail through");
    let postfix = site.written(&master("y"), "");
    let findings = examine(&gateway, &postfix);
    let found = findings.assert("postfix", INBOUND, "problem", "runs in a chroot");
    carry_out(found["remedy"].as_str().unwrap());
    examine(&gateway, &postfix).assert("postfix", INBOUND, "ok", "lead mail through");
    // Another service that can reach it excuses nobody.
    let both = format!("submission inet n - n - - smtpd -o smtpd_proxy_filter={socket}\n{}", master("y"));
    examine(&gateway, &site.written(&both, "")).assert(
        "postfix",
        INBOUND,
        "problem",
        "`smtp/inet` runs in a chroot",
    );
    // As Postfix names it from the queue folder, it is the same socket.
    let queue = format!("queue_directory = {}\n", word(site.folder.path()));
    let inside = format!("smtp inet n - y - - smtpd -o smtpd_proxy_filter=unix:/in.sock\n{back}");
    examine(&gateway, &site.written(&inside, &queue)).assert("postfix", INBOUND, "ok", "lead mail through");
}

/// A probe from outside, through a running Postfix: with the filter, and with the filter removed.
#[test]
fn a_probe_shows_whether_mail_passes_the_verifying_gateway() {
    let Some(site) = Site::new() else { return };
    let (front, back) = (site.submission, site.sealed);
    let gateway = site.verifying(&site.listen.to_string(), back, free_port());
    let filter = format!("smtpd_proxy_filter={}", site.listen);
    for (options, state, status) in
        [(&[filter.as_str(), "smtpd_proxy_options=speed_adjust"][..], "ok", 0), (&[], "problem", 1)]
    {
        let servers = [smtpd(front, options), smtpd(back, &[])];
        let postfix = Postfix::start("mx.example.net", &[MAILBOX.to_owned()], &servers, "");
        let sent = run(&gateway.config, &["--probe", MAILBOX, "--server", &front.to_string()]);
        sent.assert("probe", MAILBOX, "ok", &format!("the server {front} took it"));
        sent.assert("probe", MAILBOX, state, "since then");
        assert_eq!(sent.status, status, "{}", sent.shown());
        let file = site.folder.path().join("arrived");
        fs::write(&file, postfix.await_mail(MAILBOX, "waxseal probe").unwrap()).unwrap();
        let findings = run(&gateway.config, &["--arrived", word(&file)]);
        let says = if status == 0 {
            "passed the gateway: x-attachment-seal=none"
        } else {
            "bypasses the verifying gateway"
        };
        findings.assert("probe", "", state, says);
        assert_eq!(findings.status, status, "{}", findings.shown());
    }
}

const MAILBOX: &str = "admin@example.net";

/// The probe through a running Postfix, to its mailbox and back to the doctor.
fn probed(site: &Site, main: &str, says: (&str, &str), status: i32) {
    let gateway = site.gateway();
    let [_, sealed] = site.services();
    let sealed =
        sealed.replace("local_header_rewrite_clients=", "local_header_rewrite_clients=permit_mynetworks");
    let sealed = sealed.replace(",no_header_body_checks", "");
    let postfix = Postfix::start("mx.example.net", &[MAILBOX.to_owned()], &[sealed], main);
    run(&gateway.config, &["--probe", MAILBOX]).assert("probe", MAILBOX, "ok", "took it");
    let arrived = postfix.await_mail(MAILBOX, "waxseal probe").unwrap();
    let file = site.folder.path().join("arrived");
    fs::write(&file, arrived).unwrap();
    let findings = run(&gateway.config, &["--arrived", word(&file)]);
    findings.assert("probe", "", says.0, says.1);
    assert_eq!(findings.status, status, "{}", findings.shown());
    assert!(postfix.is_idle());
}

#[test]
fn a_probe_passes_a_healthy_postfix() {
    let Some(site) = Site::new() else { return };
    probed(&site, "", ("ok", "octet for octet"), 0);
}

#[test]
fn a_probe_survives_another_transfer_encoding() {
    let Some(site) = Site::new() else { return };
    // Once more through itself, by way of a transport to which the next server takes 7bit only.
    let again = free_port();
    let [_, sealed] = site.services();
    let gateway = site.gateway();
    let second = Postfix::start("mx.example.net", &[MAILBOX.to_owned()], &[smtpd(again, &[])], "");
    let main = format!(
        "default_transport = old:[{}]:{}\nrelay_domains = example.net\nrelay_transport = $default_transport\n",
        again.ip(),
        again.port()
    );
    let _first = Postfix::start("mail.example.org", &["x@example.org".to_owned()], &[sealed], &main);
    run(&gateway.config, &["--probe", MAILBOX]).assert("probe", MAILBOX, "ok", "took it");
    let arrived = second.await_mail(MAILBOX, "waxseal probe").unwrap();
    assert!(arrived.is_ascii(), "{arrived}");
    let file = site.folder.path().join("arrived");
    fs::write(&file, arrived).unwrap();
    let findings = run(&gateway.config, &["--arrived", word(&file)]);
    assert_eq!(findings.status, 0, "{}", findings.shown());
    findings.assert("probe", "", "ok", "another transfer encoding");
}

#[test]
fn a_probe_finds_a_postfix_that_rewrites_authors() {
    let Some(site) = Site::new() else { return };
    let main = "sender_canonical_maps = inline:{ {postmaster@example.org = director@example.org} }\n";
    probed(&site, main, ("problem", "field from arrived as"), 1);
}

#[test]
fn a_probe_finds_a_postfix_that_takes_fields_off() {
    let Some(site) = Site::new() else { return };
    let table = site.folder.path().join("checks");
    fs::write(&table, "/^Attachment-Seal:/ IGNORE\n").unwrap();
    probed(&site, &format!("header_checks = regexp:{}\n", word(&table)), ("problem", "without a seal"), 1);
}
