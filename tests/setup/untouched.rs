//! What setup leaves as it is: a Postfix that it does not understand, files that somebody edited, and everything where it cannot
//! go on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::program::run::Run;
use crate::program::{Ended, waxseal_reading, waxseal_with, word};
use crate::site::{DESK, ENVIRONMENT, Site, stock};

const DOMAIN: &[&str] = &["--domain", "example.org", "--selector", "gate1"];

/// Every file of a folder and its folders, with its content.
fn all(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // The lock is always there, and empty.
        if path.is_dir() && !path.ends_with("state") {
            files.extend(all(&path));
        } else if path.is_file() && !path.ends_with("lock") {
            files.push((word(&path).to_owned(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

/// Asserts that setup refuses, prints lines to put in by hand, and changes nothing.
fn assert_refused(site: &Site, why: &str) {
    let before = (all(&site.postfix.config()), all(site.folder.path()));
    for more in [&[][..], &["--dry-run"]] {
        let refused = site.run_yes(&[&["--mode", "both"], DOMAIN, more].concat());
        assert_eq!(refused.status, 1, "{why}: {refused:?}");
        assert!(refused.stderr.contains(why), "{why}: {}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        for line in ["[[listener]]", "-o smtpd_proxy_filter=127.0.0.1:", "-o syslog_name=postfix/verified"] {
            assert!(refused.text().contains(line), "no `{line}`: {}", refused.text());
        }
    }
    assert_eq!((all(&site.postfix.config()), all(site.folder.path())), before, "{why}");
}

#[test]
fn a_postfix_that_is_not_understood_is_left_as_it_is() {
    let Some(site) = Site::new(&stock(false), "") else { return };
    let main = site.postfix.config().join("main.cf");
    let (usual_main, usual_master) = (fs::read_to_string(&main).unwrap(), site.master_text());
    let smtp = format!("{}:smtp inet  n       -       y       -       -       smtpd\n", site.ip);
    let smtp = smtp.as_str();
    assert!(usual_master.contains(smtp));
    for (more, instead, why) in [
        ("content_filter = scan:[127.0.0.1]:10024\n", smtp, "content_filter"),
        ("smtpd_proxy_filter = 127.0.0.1:10024\n", smtp, "smtpd_proxy_filter"),
        ("receive_override_options = no_address_mappings\n", smtp, "receive_override_options"),
        ("", "smtp inet n - y - - smtpd\n  -o content_filter=scan:[127.0.0.1]:10024\n", "another filter"),
        ("", "smtp inet n - y - - smtpd\n  -o smtpd_proxy_filter=unix:/run/filter\n", "another filter"),
        ("", "smtp inet n - n - - spawn user=nobody argv=/bin/cat\n", "no smtpd at port 25"),
        ("", "# nothing at port 25\n", "no smtpd at port 25"),
        ("inet_protocols = ipv6\n", smtp, "inet_protocols"),
    ] {
        fs::write(&main, usual_main.clone() + more).unwrap();
        fs::write(site.master(), usual_master.replace(smtp, instead)).unwrap();
        assert_refused(&site, why);
    }
}

#[test]
fn a_configuration_of_the_administrators_is_left_as_it_is() {
    let Some(site) = Site::new(&stock(false), "") else { return };
    let (gateway, back) = (site.port, site.port + 1);
    let state = site.folder.path().join("state");
    let own = format!(
        "hostname = \"mail.example.org\"\nstate = \"{}\"\n[[listener]]\nname = \"mine\"\nmode = \"verify\"\n\
         listen = [\"127.0.0.1:{gateway}\"]\nnext_hop = \"127.0.0.1:{back}\"\nclients = [\"127.0.0.1\"]\n",
        word(&state)
    );
    fs::write(site.config(), &own).unwrap();
    assert_refused(&site, "has no sealing listener");
    // What it has is taken as it is, with its own ports.
    let (_, _gateway) = site.set_up(&["--mode", "verify"]);
    assert_eq!(fs::read_to_string(site.config()).unwrap(), own);
    assert!(site.master_text().contains(&format!("smtpd_proxy_filter=127.0.0.1:{gateway}")));
    assert_eq!(site.run(&["--undo"]).status, 0);
    assert_eq!(fs::read_to_string(site.config()).unwrap(), own);
    // With mistakes in it, nothing can be known of it.
    fs::write(site.config(), own.replace("verify", "verfy")).unwrap();
    let refused = site.run_yes(&["--mode", "verify"]);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.stderr.contains("verfy"), "{}", refused.stderr);
}

#[test]
fn a_configuration_of_comments_alone_is_replaced_and_comes_back() {
    let Some(site) = Site::new(&stock(false), "") else { return };
    let sample = fs::read_to_string("config/waxseal.toml").unwrap();
    let lines =
        sample.lines().map(|line| if line.starts_with('#') { line.to_owned() } else { format!("#{line}") });
    let packaged = lines.collect::<Vec<_>>().join("\n") + "\n";
    fs::write(site.config(), &packaged).unwrap();
    fs::set_permissions(site.config(), fs::Permissions::from_mode(0o604)).unwrap();
    let (_, _gateway) = site.set_up(DOMAIN);
    assert!(site.config_sets_something());
    assert_eq!(fs::metadata(site.config()).unwrap().permissions().mode() & 0o777, 0o604);
    assert_eq!(site.run(&["--undo"]).status, 0);
    assert_eq!(fs::read_to_string(site.config()).unwrap(), packaged);
}

#[test]
fn what_was_edited_since_is_not_put_back() {
    let Some(site) = Site::new(&stock(false), "") else { return };
    let (_, _gateway) = site.set_up(DOMAIN);
    let edited = site.master_text() + "# mine\n";
    fs::write(site.master(), &edited).unwrap();
    let config = fs::read_to_string(site.config()).unwrap();
    let refused = site.run(&["--undo"]);
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stderr.contains("was edited after setup"), "{}", refused.stderr);
    for line in [
        ":smtp inet` remove -o smtpd_proxy_filter=127.0.0.1:",
        "inet` with all its -o lines",
        "remove the entry `waxseal unix` with all its -o lines",
    ] {
        assert!(refused.text().contains(line), "no `{line}`: {}", refused.text());
    }
    assert_eq!(site.master_text(), edited);
    assert_eq!(fs::read_to_string(site.config()).unwrap(), config);
    // Without that line it goes back; the gateway's own configuration stays where it was edited.
    fs::write(site.master(), edited.replace("# mine\n", "")).unwrap();
    fs::write(site.config(), config.clone() + "# mine\n").unwrap();
    let undone = site.run(&["--undo"]);
    assert_eq!(undone.status, 0, "{undone:?}");
    assert!(undone.text().contains("was edited since, and stays"), "{}", undone.text());
    assert!(!site.master_text().contains("waxseal"));
    assert_eq!(fs::read_to_string(site.config()).unwrap(), config + "# mine\n");
}

#[test]
fn without_a_gateway_postfix_stays_as_it_is() {
    let Some(site) = Site::new(&stock(false), "") else { return };
    let before = site.master_text();
    let waiting = site.run_yes(&[DOMAIN, &["--wait", "1"]].concat());
    assert_eq!(waiting.status, 3, "{waiting:?}");
    assert!(waiting.text().contains("waxseal run --config "), "{}", waiting.text());
    assert_eq!(site.master_text(), before);
    // The configuration is there to start the gateway with; then setup goes on.
    let _gateway = site.gateway();
    let done = site.run_yes(DOMAIN);
    assert_eq!(done.status, 0, "{done:?}");
    assert_ne!(site.master_text(), before);
    assert_eq!(site.run(&["--undo"]).status, 0);
    assert_eq!(site.master_text(), before);
}

#[test]
fn what_postfix_refuses_is_taken_back() {
    let Some(site) = Site::new(&stock(false), "") else { return };
    let before = site.master_text();
    let programs = site.folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    // A Postfix that finds fault with what setup wrote.
    let script = "#!/bin/sh\nif [ \"$3\" = check ] && grep -q postfix/verified \"$2/master.cf\"; then\n\
                  echo 'postfix: fatal: no such thing' >&2; exit 1; fi\nexec /usr/sbin/postfix \"$@\"\n";
    fs::write(programs.join("postfix"), script).unwrap();
    fs::set_permissions(programs.join("postfix"), fs::Permissions::from_mode(0o755)).unwrap();
    let (_, _gateway) = site.set_up(DOMAIN);
    assert_eq!(site.run(&["--undo"]).status, 0);
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", word(&programs));
    let environment = [ENVIRONMENT, &[("PATH", path.as_str())]].concat();
    let arguments =
        site.arguments(&[&["--yes", "--alert", DESK, "--port", &site.port.to_string()], DOMAIN].concat());
    let refused = waxseal_with(&environment, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("no such thing") && refused.stderr.contains("as it was"),
        "{}",
        refused.stderr
    );
    assert_eq!(site.master_text(), before);
    assert!(!site.config().exists());
    assert!(site.run(&["--undo"]).text().contains("nothing to undo"));
}

/// Asks, and gives these answers.
fn answered(site: &Site, answers: &str, more: &[&str]) -> Ended {
    let arguments = site.arguments(more);
    waxseal_reading(answers.as_bytes(), &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn questions_have_defaults_and_answers_are_checked() {
    let Some(site) = Site::new(&stock(false), "") else { return };
    let before = site.master_text();
    let port = site.port.to_string();
    let options = ["--port", &port, "--dry-run"];
    let asked = answered(&site, "perhaps\n\n\nmaybe\nno\n\n", &options);
    // `sendmail` left out there is nothing to seal.
    assert_eq!(asked.status, 1, "{asked:?}");
    for said in [
        "(seal, verify, both) [both]: ",
        "answer seal, verify or both",
        "The domain in your users' addresses [example.org]: ",
        "(yes, no) [yes]: ",
        "answer yes or no",
        "(an address, or none) [postmaster@example.org]: ",
    ] {
        assert!(asked.text().contains(said), "no `{said}`: {}", asked.text());
    }
    let asked = answered(&site, "verify\nnone\n", &options);
    assert_eq!(asked.status, 0, "{asked:?}");
    assert!(
        asked.text().contains("+mode = \"verify\"") && !asked.text().contains("[alerts]"),
        "{}",
        asked.text()
    );
    assert!(!asked.text().contains("mode = \"seal\""), "{}", asked.text());
    let refused = answered(&site, "\n\n\n\nno\n", &["--port", &port]);
    assert_eq!(refused.status, 0, "{refused:?}");
    assert!(refused.text().contains("Make these changes (yes, no) [yes]: "), "{}", refused.text());
    assert!(refused.text().trim_end().ends_with("Nothing was changed."), "{}", refused.text());
    assert_eq!(answered(&site, "", &options).status, 2);
    assert_eq!(site.master_text(), before);
    assert!(!site.config().exists());
    // Only root may.
    let program = env!("CARGO_BIN_EXE_waxseal");
    let run = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", program, "setup", "--yes"])
        .run();
    assert_ne!(run.status.code(), Some(0), "{run:?}");
}
