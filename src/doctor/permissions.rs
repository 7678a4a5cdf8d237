//! Who may read and change our files: nobody but the service what is secret, and the service what it needs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::finding::{Finding, Subject, chain};
use super::user::{Access, User};
use super::{Site, quoted};
use crate::config::{SealingDomain, SealingKeys};
use crate::gateway::keyring::OwnDomain;
use crate::keys::{self, CREDENTIAL};

pub(super) fn check(site: &Site, findings: &mut Vec<Finding>) {
    let state = &site.config.state.folder;
    let Some(user) = &site.user else {
        Subject::new(findings, "permissions", state.display().to_string()).problem(
            "the state folder is not there, or cannot be looked at",
            format!("install -d -o waxseal -g waxseal -m 700 {}", quoted(state)),
        );
        return;
    };
    state_folder(state, user, findings);
    if !(user.is_us() || User::is_root()) {
        Subject::new(findings, "permissions", state.display().to_string()).unknown(
            format!("whether `{}`, the service's user, can read its keys: this is another user", user.name),
            "sudo waxseal doctor",
        );
        return;
    }
    for domain in &site.config.domains {
        if let Some(delegation) = &domain.delegation {
            readable(&delegation.value, user, findings);
        }
        let key = match &domain.keys {
            SealingKeys::Fixed { key, .. } => &key.value,
            SealingKeys::Folder(folder) => {
                for key in pem_files(&folder.value) {
                    private(&key, "sealing key", 0o077, user, findings);
                }
                continue;
            }
        };
        if key.to_str().is_some_and(|key| key.starts_with(CREDENTIAL)) {
            let text = "systemd hands this key over, and decides who can read it";
            Subject::new(findings, "permissions", key.display().to_string()).not_checked(text);
            continue;
        }
        if keys::token(key).is_some() {
            token(site, domain, key, findings);
            continue;
        }
        private(key, "sealing key", 0o077, user, findings);
    }
    if let Some(tls) = &site.config.tls {
        private(&tls.key.value, "certificate's key", 0o007, user, findings);
        readable(&tls.certificate.value, user, findings);
    }
    for listener in &site.config.listeners {
        if let Some(roots) = &listener.next_hop_ca {
            readable(&roots.value, user, findings);
        }
    }
}

/// The files of keys in a folder.
fn pem_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "pem")).collect();
    files.sort();
    files
}

/// A key in a token is read by nobody; whether it signs can be tried.
fn token(site: &Site, domain: &SealingDomain, key: &Path, findings: &mut Vec<Finding>) {
    let mut subject = Subject::new(findings, "token", keys::shown(key));
    let own = site.setup.as_ref().and_then(|setup| setup.own_domain(&domain.name));
    let sealer = own.and_then(OwnDomain::sealer);
    match sealer.map(|sealer| sealer.key.sign(b"waxseal doctor")) {
        Some(Ok(_)) => subject.ok("the token signs, for the user who asked now"),
        Some(Err(error)) => {
            let detail = format!("{}: mail of {} is deferred (451)", chain(&error), domain.name);
            subject.problem(detail, "see docs/KEYS.md; check systemctl status pcscd, and the token itself");
        }
        None => {
            subject.not_checked("whether the token signs: a key or certificate could not be read, see above");
        }
    }
}

/// The state folder and what lies in it: the service's own, and nobody else's to read.
fn state_folder(state: &Path, user: &User, findings: &mut Vec<Finding>) {
    let mut subject = Subject::new(findings, "permissions", state.display().to_string());
    let Ok(folder) = fs::metadata(state) else { return };
    let mode = folder.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        subject.warning(
            format!("others can look into the state folder (mode {mode:04o}), where held mail is"),
            format!("chmod o-rwx {}", quoted(state)),
        );
    } else if user.uid == 0 {
        subject.warning(
            "it belongs to root: the service needs no such rights",
            format!("chown -R waxseal: {}, and User=waxseal in the unit", quoted(state)),
        );
    } else {
        subject.ok(format!("belongs to `{}`, and others cannot look into it", user.name));
    }
    let strangers: Vec<PathBuf> = ours(state).into_iter().filter(|path| is_strange(path, user)).collect();
    if let Some(first) = strangers.first() {
        subject.problem(
            format!(
                "{} of its files are not `{}`'s, such as {}",
                strangers.len(),
                user.name,
                first.display()
            ),
            format!("chown -R {}: {}", user.name, quoted(state)),
        );
    }
}

/// The files that the gateway must be able to change.
fn ours(state: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut paths = entries(state);
    paths.extend(entries(&state.join("quarantine")));
    paths
}

fn is_strange(path: &Path, user: &User) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.uid() != user.uid)
}

/// A key that nobody else may read. One that others can read is refused at the start, which the check of the
/// configuration reports.
fn private(path: &Path, what: &str, forbidden: u32, user: &User, findings: &mut Vec<Finding>) {
    let mut subject = Subject::new(findings, "permissions", path.display().to_string());
    let Ok(file) = fs::metadata(path) else {
        return subject
            .problem(format!("this {what} is not there"), "name the right file in the configuration");
    };
    let mode = file.permissions().mode() & 0o777;
    if let Some(bar) = user.barred_at(path, Access::Read) {
        return subject.problem(unreadable(user, &bar), remedy(path, &bar, user, true));
    }
    if mode & forbidden != 0 {
        return subject.problem(
            format!("others than its owner may read this {what} (mode {mode:04o})"),
            format!("chmod 600 {}, and make another key if the machine has other users", quoted(path)),
        );
    }
    if mode & 0o022 != 0 {
        return subject.problem(
            format!("others than its owner can replace this {what} (mode {mode:04o})"),
            format!("chmod go-w {}", quoted(path)),
        );
    }
    subject.ok(format!("`{}` can read this {what}, and others cannot (mode {mode:04o})", user.name));
}

/// A file or folder that need not be secret.
fn readable(path: &Path, user: &User, findings: &mut Vec<Finding>) {
    let mut subject = Subject::new(findings, "permissions", path.display().to_string());
    match user.barred_at(path, Access::Read) {
        Some(bar) => subject.problem(unreadable(user, &bar), remedy(path, &bar, user, false)),
        None => subject.ok(format!("`{}` can read it", user.name)),
    }
}

fn unreadable(user: &User, bar: &Path) -> String {
    format!("`{}`, the service's user, cannot read it, because of {}", user.name, bar.display())
}

fn remedy(path: &Path, bar: &Path, user: &User, is_private: bool) -> String {
    let is_above = path.canonicalize().is_ok_and(|path| path != bar);
    if is_above {
        format!("chmod o+x {}", quoted(bar))
    } else if is_private {
        format!("chown {}: {}", user.name, quoted(path))
    } else {
        format!("chmod o+r {}", quoted(path))
    }
}
