//! Who runs a command, and why: what the audit trail notes of a release or a deletion.

use std::fs;
use std::io::{self, IsTerminal, Write};

use crate::store::By;

/// The most characters of a reason that are kept.
const MAX_REASON: usize = 500;

/// The variables by which programs tell who became another user, the likeliest first.
const LOGINS: [&str; 3] = ["SUDO_USER", "DOAS_USER", "RUN0_USER"];

/// What the kernel has in the place of a login that it does not know.
const NO_LOGIN: u32 = u32::MAX;

/// Who does it, and why. At a terminal a reason is asked for; a script gets along without.
pub(super) fn by(reason: Option<&str>) -> By {
    let reason = reason.map(str::to_owned).or_else(ask).unwrap_or_default();
    let reason: String = reason.trim().chars().take(MAX_REASON).collect();
    By { who: login(), reason: Some(reason).filter(|reason| !reason.is_empty()) }
}

fn ask() -> Option<String> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let mut answer = String::new();
    write!(io::stderr(), "Reason, for the record: ").ok()?;
    io::stdin().read_line(&mut answer).ok()?;
    Some(answer)
}

/// The user who logged in, though they may have become root or the gateway's user since. This names people who work together; it
/// keeps nobody out who may write the state.
pub(in crate::commands) fn login() -> String {
    let mut named = LOGINS.iter().filter_map(|name| std::env::var(name).ok());
    // Of somebody who became root first and then another user, only the session knows the login.
    if let Some(name) = named.find(|name| is_name(name) && name != "root") {
        return name;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let session = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    let uid = session.filter(|uid| *uid != NO_LOGIN).unwrap_or_else(|| rustix::process::getuid().as_raw());
    name_of(uid, &passwd)
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_alphanumeric() || "-_.@\\".contains(c))
}

/// The name of a user by the text of /etc/passwd; its number, where that has no name for it.
fn name_of(uid: u32, passwd: &str) -> String {
    let uid = uid.to_string();
    let entry = passwd.lines().map(|line| line.split(':')).find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)? == uid && is_name(name)).then(|| name.to_owned())
    });
    entry.unwrap_or(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_or_else_a_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(name_of(0, passwd), "root");
        assert_eq!(name_of(1000, passwd), "anna");
        assert_eq!(name_of(1001, passwd), "1001");
        assert!(
            is_name("DOMAIN\\anna.b@example.org") && !is_name("") && !is_name("a b") && !is_name("\u{1b}")
        );
    }
}
