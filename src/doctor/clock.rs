//! The clock. A seal dated over 5 minutes ahead is put off, and over a day ahead refused (SPEC.md §8 step 5); one dated too far
//! back expires early, and DNSSEC's signatures have hours of grace at most.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use attachment_seal::verdict::verify::MAX_CLOCK_SKEW;

use super::finding::{Finding, Subject, moment, spoken};
use super::{Site, programs, time_server};

/// This version was written after that, in Unix seconds (2026-11-01): no clock can rightly be before.
const WRITTEN: u64 = 1_793_491_200;

/// A clock that is further off than this is wrong: two sites that are both off so much come near to [`MAX_CLOCK_SKEW`].
const MAX_OFFSET: u64 = 60;

pub(super) async fn check(site: &Site, time_server: Option<&str>, findings: &mut Vec<Finding>) {
    let mut subject = Subject::new(findings, "clock", "system clock");
    judge_now(&mut subject, site.now, newest(&site.config.state.folder));
    if let Some(server) = time_server.map(str::to_owned).or_else(known_server) {
        match time_server::offset(&server).await {
            Ok(ahead) => compare(&mut subject, &server, ahead),
            Err(error) => subject.unknown(
                format!("whether it agrees with the time server {server}: {error}"),
                "waxseal doctor --time-server HOST, another one",
            ),
        }
    }
    match Synchronized::ask() {
        Synchronized::Yes(by) => subject.ok(format!("{}; synchronised, according to {by}", moment(site.now))),
        Synchronized::No(by) => subject.warning(
            format!("{by} reports that nothing synchronises the clock: seals need it right within 5 minutes"),
            "timedatectl set-ntp true",
        ),
        Synchronized::Unknown => subject.unknown(
            "whether something synchronises the clock: neither timedatectl nor chronyc knows",
            "waxseal doctor --time-server HOST compares it; on a virtual machine the host may synchronise it",
        ),
    }
}

/// Our clock and a time server's, which is so many seconds ahead of it.
fn compare(subject: &mut Subject<'_>, server: &str, ahead: i64) {
    let apart = ahead.unsigned_abs();
    if apart <= MAX_OFFSET {
        return subject.ok(format!("it agrees with the time server {server} to {}", spoken(apart)));
    }
    let (way, harm) = if ahead > 0 {
        ("behind", "this gateway then defers honest mail")
    } else {
        ("ahead of", "other sites then defer your sealed mail")
    };
    subject.problem(
        format!(
            "it is {} {way} the time server {server}: two sites' clocks may be 5 minutes apart, {harm} (`future-seal`)",
            spoken(apart)
        ),
        "timedatectl set-ntp true; with chrony: chronyc makestep",
    );
}

/// The time server that this machine is synchronised with.
fn known_server() -> Option<String> {
    let timesyncd = said("timedatectl", &["show-timesync", "--property=ServerAddress", "--value"]);
    let timesyncd = timesyncd.map(|text| text.trim().to_owned()).filter(|server| !server.is_empty());
    timesyncd.or_else(|| server_of_chronyc(&said("chronyc", &["-n", "tracking"])?))
}

/// `Reference ID    : C0A80101 (192.168.1.1)`; a clock in place of a server has no address there.
fn server_of_chronyc(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("Reference ID"))?;
    let (_, named) = line.split_once('(')?;
    let server = named.trim_end_matches(')');
    server.parse::<IpAddr>().is_ok().then(|| server.to_owned())
}

/// The time itself: a clock is wrong if it is before something that has already happened.
fn judge_now(subject: &mut Subject<'_>, now: u64, newest: Option<(PathBuf, u64)>) {
    if now < WRITTEN {
        let detail = format!("it is {}, before this program was written", moment(now));
        return subject.problem(detail, "timedatectl set-ntp true");
    }
    if let Some((path, written)) = newest.filter(|(_, written)| *written > now + MAX_CLOCK_SKEW) {
        let ahead = spoken(written - now);
        subject.problem(
            format!("{} was written {ahead} from now: the clock was or is wrong", path.display()),
            "timedatectl set-ntp true",
        );
    }
}

/// The file of the state folder that was last written.
fn newest(state: &Path) -> Option<(PathBuf, u64)> {
    let written = |path: PathBuf| {
        let modified = fs::metadata(&path).ok()?.modified().ok()?;
        Some((path, modified.duration_since(UNIX_EPOCH).ok()?.as_secs()))
    };
    let entries = fs::read_dir(state).ok()?.flatten();
    entries.filter_map(|entry| written(entry.path())).max_by_key(|(_, written)| *written)
}

/// Whether something synchronises the clock, and which program reports that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Synchronized {
    Yes(&'static str),
    No(&'static str),
    Unknown,
}

impl Synchronized {
    /// The kernel's word, as timedatectl hands it on; chrony's, where there is no systemd.
    fn ask() -> Self {
        let timedatectl = said("timedatectl", &["show", "--property=NTPSynchronized", "--value"]);
        if let Some(known) = timedatectl.as_deref().and_then(Self::of_timedatectl) {
            return known;
        }
        said("chronyc", &["-n", "tracking"]).as_deref().and_then(Self::of_chronyc).unwrap_or(Self::Unknown)
    }

    fn of_timedatectl(text: &str) -> Option<Self> {
        match text.trim() {
            "yes" => Some(Self::Yes("timedatectl")),
            "no" => Some(Self::No("timedatectl")),
            _ => None,
        }
    }

    fn of_chronyc(text: &str) -> Option<Self> {
        let status = text.lines().find_map(|line| line.strip_prefix("Leap status"))?;
        match status.trim_start_matches([' ', ':']) {
            "Not synchronised" => Some(Self::No("chrony")),
            _ => Some(Self::Yes("chrony")),
        }
    }
}

/// What a program writes, if it is there and succeeds.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let ended = programs::run(program, arguments).ok()?;
    ended.status.success().then_some(ended.stdout)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn hears_what_others_say_of_the_clock() {
        assert_eq!(Synchronized::of_timedatectl("yes\n"), Some(Synchronized::Yes("timedatectl")));
        assert_eq!(Synchronized::of_timedatectl("no\n"), Some(Synchronized::No("timedatectl")));
        assert_eq!(Synchronized::of_timedatectl(""), None);
        let tracking = |status: &str| format!("Stratum         : 3\nLeap status     : {status}\n");
        assert_eq!(Synchronized::of_chronyc(&tracking("Normal")), Some(Synchronized::Yes("chrony")));
        assert_eq!(Synchronized::of_chronyc(&tracking("Not synchronised")), Some(Synchronized::No("chrony")));
        assert_eq!(Synchronized::of_chronyc("506 Cannot talk to daemon"), None);
    }

    #[test]
    fn minutes_matter_and_seconds_do_not() {
        for (ahead, state, says) in [
            (0, State::Ok, "agrees"),
            (60, State::Ok, "agrees"),
            (-61, State::Problem, "ahead of"),
            (420, State::Problem, "7 minutes behind"),
        ] {
            let mut findings = Vec::new();
            compare(&mut Subject::new(&mut findings, "clock", ""), "ntp", ahead);
            assert!(findings[0].state == state && findings[0].detail.contains(says), "{ahead}: {findings:?}");
        }
        let tracking = "Reference ID    : C0A80101 (192.168.1.1)\nStratum         : 3\n";
        assert_eq!(server_of_chronyc(tracking).as_deref(), Some("192.168.1.1"));
        assert_eq!(server_of_chronyc("Reference ID    : 50505300 (PPS)\n"), None);
    }

    #[test]
    fn no_clock_is_right_that_is_before_the_past() {
        for (now, written, problems) in [
            (WRITTEN - 1, None, 1),
            (WRITTEN, None, 0),
            (WRITTEN, Some(WRITTEN + MAX_CLOCK_SKEW), 0),
            (WRITTEN, Some(WRITTEN + MAX_CLOCK_SKEW + 1), 1),
        ] {
            let mut findings = Vec::new();
            let newest = written.map(|written| (PathBuf::from("x"), written));
            judge_now(&mut Subject::new(&mut findings, "clock", ""), now, newest);
            let count = findings.iter().filter(|finding| finding.state == State::Problem).count();
            assert_eq!(count, problems, "{now} {written:?}");
        }
    }
}
