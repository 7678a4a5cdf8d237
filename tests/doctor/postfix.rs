//! Real Postfix around the sealing gateway: wired as deploy/README.md has it, and with each setting that a seal does not
//! survive. Every remedy is carried out as it is printed, and must be one.

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

/// Each sick setting is found, no more than that, and its remedy heals it.
#[test]
fn each_harmful_setting_is_found_and_its_remedy_heals_it() {
    let Some(site) = Site::new() else { return };
    let gateway = site.gateway();
    let table = site.folder.path().join("checks");
    let subject = "Postfix behind outbound";
    let [submission, sealed] = site.services();
    let healthy = examine(&gateway, &site.written(&(submission.clone() + &sealed), ""));
    healthy.assert("postfix", subject, "ok", "none of its settings");

    // Behind the gateway all is as Postfix does it by itself.
    let bare = submission.clone() + &smtpd(site.sealed, &["smtpd_proxy_filter="]);
    examine(&gateway, &site.written(&bare, "")).assert("postfix", subject, "ok", "none of its settings");
    let checks = format!("regexp:{}", word(&table));
    let maps = "inline:{ {office@example.org = director@example.org} }";
    for (main, text, says) in [
        (format!("header_checks = {checks}"), "/^From:(.*)/ REPLACE From:$1 x", "header_checks changes"),
        (
            format!("header_checks = {checks}"),
            "/^Content-Type:.*application/ IGNORE",
            "header_checks changes",
        ),
        (format!("header_checks = {checks}"), "/^Attachment-Seal:/ IGNORE", "header_checks changes"),
        (
            format!("mime_header_checks = {checks}"),
            "/name=(.*)pdf/ REPLACE x$1",
            "mime_header_checks changes",
        ),
        (format!("body_checks = {checks}"), "/^(.*)$/ REPLACE $1", "body_checks changes"),
        (format!("sender_canonical_maps = {maps}"), "", "sender_canonical_maps rewrites"),
        (format!("smtp_generic_maps = {maps}"), "", "smtp_generic_maps rewrites"),
        (format!("smtp_header_checks = {checks}"), "/^Date:/ IGNORE", "smtp_header_checks changes"),
        ("content_filter = scan:[127.0.0.1]:10024".to_owned(), "", "another filter"),
        (format!("content_filter = relay:[127.0.0.1]:{}", site.listen.port()), "", "in circles"),
        ("message_drop_headers = date, bcc".to_owned(), "", "removes the field date"),
        ("message_strip_characters = \\0x".to_owned(), "", "removes octets from"),
        ("smtp_line_length_limit = 200".to_owned(), "", "breaks long lines"),
    ] {
        fs::write(&table, format!("{text}\n")).unwrap();
        let postfix = site.written(&bare, &format!("{main}\n"));
        let sick = examine(&gateway, &postfix);
        let found = sick.assert("postfix", subject, "problem", says);
        assert_eq!(sick.of("postfix", subject).len(), 1, "{main}: {}", sick.shown());
        carry_out(found["remedy"].as_str().unwrap());
        examine(&gateway, &postfix).assert("postfix", subject, "ok", "none of its settings");
    }

    // What a seal survives is nobody's trouble.
    fs::write(&table, "/^Received:/ IGNORE\n/^Subject: spam/ REJECT\n/^X-Spam/ PREPEND X-Seen: yes\n")
        .unwrap();
    let main = format!(
        "header_checks = {checks}\nrecipient_canonical_maps = {maps}\ndisable_mime_output_conversion = yes\n\
         always_add_missing_headers = yes\nsmtp_discard_ehlo_keywords = 8bitmime\n"
    );
    examine(&gateway, &site.written(&bare, &main)).assert("postfix", subject, "ok", "none of its settings");
    // What cannot be known is not well.
    let doubtful = examine(&gateway, &site.written(&bare, "smtpd_milters = inet:127.0.0.1:8891\n"));
    doubtful.assert("postfix", subject, "not-checked", "whether smtpd_milters");
    doubtful.assert_not_well("postfix", subject);
    fs::write(&table, "/secret/ REPLACE x\n").unwrap();
    let doubtful = examine(&gateway, &site.written(&bare, &format!("header_checks = {checks}\n")));
    doubtful.assert("postfix", subject, "warning", "perhaps");
}

/// Ways around the gateway.
#[test]
fn mail_that_goes_beside_the_gateway_is_noticed() {
    let Some(site) = Site::new() else { return };
    let gateway = site.gateway();
    let subject = "Postfix behind outbound";
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
    examine(&gateway, &postfix).assert("postfix", subject, "ok", "none of its settings");
    let nobody = examine(&gateway, &site.written(&sealed, ""));
    nobody.assert("postfix", subject, "not-checked", "nothing in main.cf or master.cf leads there");
    // A Postfix that has nothing to do with the gateway says nothing about it.
    examine(&gateway, &site.written(&submission, "")).assert("postfix", subject, "not-checked", "no smtpd");
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
