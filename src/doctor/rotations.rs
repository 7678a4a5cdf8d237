//! Rotations of our sealing keys: what is under way, and which old keys are in DNS though they should not be. An old key that
//! others have signs in our name for as long as its record is not revoked.

use jiff::Timestamp;

use super::Site;
use super::finding::{Finding, Subject, chain};
use super::resolvers::Resolvers;
use super::user::User;
use crate::clock::moment;
use crate::rotation::reminder::{self, Remains};
use crate::store::{Retired, RotationFile, UnderWay};

/// A rotation that has not got on for so many days is forgotten rather than waited for.
const LONG: i64 = 7;

pub(super) async fn check(site: &Site, resolvers: &Resolvers, findings: &mut Vec<Finding>) {
    let file = RotationFile::new(&site.config.state);
    let rotations = match file.read() {
        Ok(rotations) => rotations,
        Err(error) => {
            let mut subject = Subject::new(findings, "rotation", file.path().display().to_string());
            if site.user.as_ref().is_some_and(|user| !user.is_us() && !User::is_root()) {
                subject.unknown(
                    "rotations under way, and old keys: we are somebody else",
                    "sudo waxseal doctor",
                );
            } else {
                subject.problem(
                    format!("{}: nobody is reminded of old keys in DNS", chain(&error)),
                    "restore it from a copy; waxseal keys rotate --status reads it",
                );
            }
            return;
        }
    };
    let now = moment(site.now);
    for rotation in &rotations.under_way {
        let subject = format!("rotation of {} from {} to {}", rotation.domain, rotation.from, rotation.to);
        let seals_new = site
            .config
            .domains
            .iter()
            .any(|own| own.name.as_str() == rotation.domain && own.selector.as_str() == rotation.to);
        judge_under_way(&mut Subject::new(findings, "rotation", subject), rotation, seals_new, now);
    }
    for old in &rotations.retired {
        let remains = match &resolvers.plain {
            Some(dns) => reminder::remains_at(dns, old).await,
            None => Remains::Unknown,
        };
        let subject = format!("{}.", reminder::record_name(old));
        judge_retired(&mut Subject::new(findings, "old-key", subject), old, remains, now);
    }
}

fn judge_under_way(subject: &mut Subject<'_>, rotation: &UnderWay, seals_new: bool, now: Timestamp) {
    let UnderWay { domain, from, began, .. } = rotation;
    let began_on = reminder::day(*began);
    let go_on = format!(
        "waxseal keys rotate {}{domain} goes on where it stopped, --status says what it waits for",
        if rotation.compromised { "--compromised " } else { "" }
    );
    if rotation.compromised && !seals_new {
        subject.problem(
            format!("begun {began_on} because others have the key {from}, which still seals"),
            go_on,
        );
    } else if rotation.compromised {
        subject.problem(
            format!("begun {began_on} because others have the key {from}, and not ended: it is valid still"),
            go_on,
        );
    } else if now.duration_since(*began).as_hours() >= LONG * 24 {
        subject.warning(format!("begun {began_on}, and not ended"), go_on);
    } else {
        subject
            .ok(format!("under way since {began_on}; waxseal keys rotate --status says what it waits for"));
    }
}

fn judge_retired(subject: &mut Subject<'_>, old: &Retired, remains: Remains, now: Timestamp) {
    let name = reminder::record_name(old);
    let (since, until) = (reminder::day(old.since), reminder::day(old.remove_after));
    let revoke = format!("publish: {name}. IN TXT \"v=SEAL1; k=ed25519; p=\" and leave it there for good");
    match (remains, old.compromised) {
        (Remains::Nothing, true) => {
            subject.ok(format!("the old key, which others have, is revoked (since {since} another seals)"));
        }
        (Remains::Nothing, false) => {
            subject.ok(format!("the old key's record is gone (since {since} another seals)"));
        }
        (Remains::Record, true) => subject.problem(
            "others have this old key, and it is not revoked: what they seal with it passes as yours",
            revoke,
        ),
        (Remains::Record, false) if reminder::is_due(old, now) => subject.warning(
            format!("the old key is in DNS still, and since {until} no mail needs it"),
            format!("remove {name}. from DNS"),
        ),
        (Remains::Record, false) => {
            subject.ok(format!("the old key stays in DNS until {until} for mail under way"));
        }
        // As long as nobody knows, a stolen key is one that is valid.
        (Remains::Unknown, true) => subject.problem(
            "others have this old key, and whether it is revoked nobody can say: no answer about its record",
            format!(
                "{revoke}; where it is there, and cannot be seen from here: waxseal keys rotate --gone {} {}",
                old.selector, old.domain
            ),
        ),
        (Remains::Unknown, false) => {
            subject.not_checked("whether the old key's record is gone: no answer about it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    fn retired(compromised: bool) -> Retired {
        Retired {
            domain: "example.org".to_owned(),
            selector: "gate1".to_owned(),
            public: String::new(),
            since: at(10),
            remove_after: at(20),
            compromised,
        }
    }

    #[test]
    fn an_old_key_is_a_problem_where_others_have_it() {
        use Remains::{Nothing, Record, Unknown};
        for (compromised, remains, day, state) in [
            (true, Record, 10, State::Problem),
            (true, Unknown, 10, State::Problem),
            (true, Nothing, 10, State::Ok),
            (false, Record, 19, State::Ok),
            (false, Record, 20, State::Warning),
            (false, Nothing, 20, State::Ok),
            (false, Unknown, 20, State::NotChecked),
        ] {
            let mut findings = Vec::new();
            judge_retired(&mut Subject::new(&mut findings, "", ""), &retired(compromised), remains, at(day));
            assert_eq!(findings[0].state, state, "{compromised} {remains:?} {day}: {findings:?}");
            let remedy = findings[0].remedy.clone().unwrap_or_default();
            assert_eq!(remedy.contains("p=\""), state == State::Problem, "{findings:?}");
        }
    }

    #[test]
    fn a_rotation_is_waited_for_and_not_forgotten() {
        for (compromised, seals_new, day, state) in [
            (false, false, 11, State::Ok),
            (false, false, 17, State::Warning),
            (true, false, 10, State::Problem),
            (true, true, 10, State::Problem),
        ] {
            let rotation = UnderWay {
                domain: "example.org".to_owned(),
                from: "gate1".to_owned(),
                to: "gate2".to_owned(),
                key: "gate2.pem".into(),
                file: None,
                public: None,
                old_public: String::new(),
                compromised,
                began: at(10),
                published: None,
                settled: None,
                succession: None,
            };
            let mut findings = Vec::new();
            judge_under_way(&mut Subject::new(&mut findings, "", ""), &rotation, seals_new, at(day));
            assert_eq!(findings[0].state, state, "{compromised} {seals_new} {day}: {findings:?}");
        }
    }
}
