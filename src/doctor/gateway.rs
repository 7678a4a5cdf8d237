//! What the running gateway has in force: whether it took the configuration in that lies on disk, and whether that has it do
//! anything about what it finds.

use super::finding::{Finding, Subject, chain, moment};
use super::{Site, State};
use crate::policy::Mode;
use crate::store::Announcement;

/// The check whether the last reload was refused.
const RELOAD: &str = "reload";

/// The content of `<state>/gateway.json`; a gateway that only seals, and has no state folder, reports it at
/// `[admin]`.
pub(super) fn check(site: &Site, findings: &mut Vec<Finding>) {
    let mut subject = Subject::new(findings, RELOAD, "the running gateway");
    match Announcement::of(&site.config.state.folder) {
        Ok(Some(announcement)) if announcement.refused => {
            let at = u64::try_from(announcement.at.as_second()).unwrap_or_default();
            refused(&mut subject, &format!(" at {}", moment(at)));
        }
        Ok(Some(_)) => subject.ok("it uses its present configuration"),
        Ok(None) => {}
        Err(error) => {
            subject.not_checked(format!("whether it uses its present configuration: {}", chain(&error)));
        }
    }
    if site.verifies() {
        policy(site, &mut Subject::new(findings, "policy", "[policy]"));
    }
}

/// The same from its metrics, unless it was reported already.
pub(super) fn check_metrics(metrics: &str, findings: &mut Vec<Finding>) {
    let is_refused = metrics.lines().any(|line| line == "waxseal_config_last_reload_successful 0");
    let is_said = findings.iter().any(|found| found.check == RELOAD && found.state == State::Problem);
    if is_refused && !is_said {
        refused(&mut Subject::new(findings, RELOAD, "the running gateway"), "");
    }
}

fn refused(subject: &mut Subject<'_>, when: &str) {
    subject.problem(
        format!("it refused the last configuration{when}, and uses the one before"),
        "journalctl -u waxseal has the reason; mend that, then systemctl reload waxseal",
    );
}

/// Observing is for a while; who forgets it is not protected.
fn policy(site: &Site, subject: &mut Subject<'_>) {
    let policy = &site.config.policy;
    let observes = policy.exceptions.iter().filter(|case| case.choices.mode == Mode::Observe).count();
    if policy.choices.mode == Mode::Observe {
        subject.warning(
            "mode = \"observe\": the gateway only reports, and holds nothing, not even forged mail",
            "once the reports are as they should be: [policy] mode = \"enforce\", systemctl reload waxseal",
        );
    } else if observes > 0 {
        subject.warning(
            format!(
                "mode = \"observe\" in {observes} of [[policy.for]]: for that mail the gateway only \
                     reports, and holds nothing"
            ),
            "once the reports are as they should be: mode = \"enforce\" there, systemctl reload waxseal",
        );
    }
}
