//! The gateway's own word about itself, where `[admin]` has it tell one: `/ready`, and of `/metrics` what became of
//! the last reload.

use std::io::ErrorKind;

use tokio::time::timeout;

use super::finding::{Finding, Subject};
use super::listeners::PATIENCE;
use super::{Site, gateway};
use crate::config::{Config, ListenAddress};
use crate::monitoring::ask::{Answer, page};

pub(super) async fn check(site: &Site, findings: &mut Vec<Finding>) {
    for address in &site.config.admin.listen {
        let mut subject = Subject::new(findings, "admin", format!("[admin] {address}"));
        if matches!(address, ListenAddress::Tcp(address) if address.port() == 0) {
            subject.not_checked("port 0: the system chooses the port at each start");
            continue;
        }
        match timeout(PATIENCE, page(address, "/ready")).await {
            Ok(Ok(answer)) => judge(&mut subject, &answer),
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
                subject.problem(format!("no answer: {error}"), "systemctl start waxseal");
            }
            Ok(Err(error)) => subject.unknown(format!("no answer: {error}"), "sudo waxseal doctor"),
            Err(_) => {
                subject.problem("no answer in time", "systemctl status waxseal, and journalctl -u waxseal");
            }
        }
        if let Ok(Ok(metrics)) = timeout(PATIENCE, page(address, "/metrics")).await {
            gateway::check_metrics(&metrics, findings);
        }
    }
}

/// How many messages a listener has judged; `None` where nobody tells.
pub(super) async fn judged(config: &Config, listener: &str) -> Option<u64> {
    let metrics = timeout(PATIENCE, page(config.admin.listen.first()?, "/metrics")).await.ok()?.ok()?;
    let named = format!("listener=\"{listener}\"");
    let of_listener = |line: &&str| line.starts_with("waxseal_messages_total{") && line.contains(&named);
    let count = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
    metrics
        .contains("waxseal_build_info")
        .then(|| metrics.lines().filter(of_listener).filter_map(count).sum())
}

/// What the gateway reports of itself.
fn judge(subject: &mut Subject<'_>, answer: &str) {
    match Answer::read(answer) {
        Answer::Good => subject.ok("the gateway reports that every listener can do its work"),
        Answer::Bad(why) => subject.problem(
            format!("the gateway reports that it is not ready: {why}"),
            "docs/MONITORING.md explains each reason",
        ),
        Answer::NoPage | Answer::Foreign => subject.problem(
            "another program answers there, not the gateway",
            "ss -ltnp names it; choose another address for [admin]",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn believes_the_gateway_about_itself() {
        for (answer, state) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n", State::Ok),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nlistener `in`: quarantine\n", State::Problem),
            ("HTTP/1.1 404 Not Found\r\n\r\n", State::Problem),
            ("220 mail.example.org", State::Problem),
            ("", State::Problem),
        ] {
            let mut findings = Vec::new();
            judge(&mut Subject::new(&mut findings, "", ""), answer);
            assert_eq!(findings[0].state, state, "{answer}: {findings:?}");
        }
    }
}
