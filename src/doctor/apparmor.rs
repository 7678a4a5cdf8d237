//! AppArmor: a profile in force for the gateway, or for Postfix where it reaches the gateway by a UNIX socket, may forbid
//! what permissions allow. Only the profile's author knows what it is to allow, so its presence is what is reported.

use std::fs;
use std::io::ErrorKind;

use super::Site;
use super::finding::{Finding, Subject};
use crate::config::ListenAddress;

/// The profiles that the kernel has, one a line: `/usr/bin/man (enforce)`. Only root can read it.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

pub(super) fn check(site: &Site, findings: &mut Vec<Finding>) {
    let mut subject = Subject::new(findings, "apparmor", "AppArmor");
    let loaded = match fs::read_to_string(PROFILES) {
        Ok(loaded) => loaded,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return subject
                .unknown("whether a profile confines the gateway: only root can see", "sudo waxseal doctor");
        }
        // The kernel has none.
        Err(_) => return,
    };
    let has_socket = site
        .config
        .listeners
        .iter()
        .any(|listener| listener.listen.iter().any(|address| matches!(address, ListenAddress::Unix(_))));
    judge(&mut subject, &loaded, has_socket);
}

fn judge(subject: &mut Subject<'_>, loaded: &str, has_socket: bool) {
    let enforced = || loaded.lines().filter_map(|line| line.strip_suffix(" (enforce)"));
    let program = |profile: &&str| profile.rsplit('/').next() == Some("waxseal");
    let remedy = "journalctl -k --grep 'apparmor=\"DENIED\"' shows what it forbids; allow that in the profile below \
                  /etc/apparmor.d, then apparmor_parser -r on that file";
    let mut is_free = true;
    for profile in enforced().filter(program) {
        is_free = false;
        subject.warning(
            format!(
                "the profile `{profile}` is enforced for the gateway: it must allow the configuration, the keys, the state \
                 folder and every socket"
            ),
            remedy,
        );
    }
    let is_postfix = |profile: &&str| profile.contains("postfix");
    for profile in enforced().filter(is_postfix).filter(|_| has_socket) {
        is_free = false;
        subject.warning(
            format!(
                "the profile `{profile}` is enforced for Postfix: it must allow the gateway's UNIX socket"
            ),
            remedy,
        );
    }
    if is_free {
        subject.ok("no profile that is enforced confines the gateway, or Postfix on its way to it");
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn reports_profiles_in_force_and_no_others() {
        for (loaded, has_socket, state, says) in [
            (
                "/usr/local/bin/waxseal (enforce)\n/usr/bin/man (enforce)\n",
                false,
                State::Warning,
                "for the gateway",
            ),
            ("waxseal (complain)\n", false, State::Ok, "no profile"),
            ("/usr/lib/postfix/sbin/smtpd (enforce)\n", false, State::Ok, "no profile"),
            ("postfix-smtpd (enforce)\n", true, State::Warning, "UNIX socket"),
            ("", true, State::Ok, "no profile"),
        ] {
            let mut findings = Vec::new();
            judge(&mut Subject::new(&mut findings, "", ""), loaded, has_socket);
            assert_eq!(findings.len(), 1, "{loaded}: {findings:?}");
            assert!(
                findings[0].state == state && findings[0].detail.contains(says),
                "{loaded}: {findings:?}"
            );
        }
    }
}
