//! Whether alerts would reach anybody: held mail that nobody learns of is lost mail.

use super::Site;
use super::finding::{Finding, Subject, chain};
use super::listeners::PATIENCE;
use crate::config::Alerts;
use crate::smtp::next_hop::RelayError;
use crate::smtp::next_hop::visit::Visit;
use crate::smtp::{self, Address, Introduction, Reply};

pub(super) async fn check(site: &Site, findings: &mut Vec<Finding>) {
    let Some(alerts) = &site.config.alerts else {
        if site.verifies() {
            Subject::new(findings, "alerts", "[alerts]").warning(
                "there is none: nobody learns when mail is held",
                "[alerts] to = \"postmaster@example.org\", an address that somebody reads",
            );
        }
        return;
    };
    let mut subject = Subject::new(findings, "alerts", format!("alerts to {}", alerts.to));
    let Some(settings) = settings(site, alerts) else { return };
    let hop = alerts.next_hop.to_string();
    match heard(&settings, alerts).await {
        Ok(reply) if reply.is_positive() => subject.ok(format!("{hop} would take them")),
        Ok(reply) => subject.problem(
            format!("{hop} would not take them: {reply}"),
            format!(
                "swaks --server {hop} --from {} --to {}, and mend what it reports",
                alerts.from, alerts.to
            ),
        ),
        Err(error) => {
            subject
                .problem(format!("{hop}: {}", chain(&error)), "name a server that runs: [alerts] next_hop");
        }
    }
}

async fn heard(settings: &smtp::Settings, alerts: &Alerts) -> Result<Reply, RelayError> {
    let mut visit = Visit::pay(settings, std::net::Ipv4Addr::LOCALHOST.into()).await?;
    if !visit.offer.is_positive() {
        return Ok(visit.offer);
    }
    let reply = visit.try_envelope(&alerts.from, &alerts.to).await?;
    visit.leave().await;
    Ok(reply)
}

/// In clear, as alerts are sent.
fn settings(site: &Site, alerts: &Alerts) -> Option<smtp::Settings> {
    let mut listener = site.config.listeners.first()?.clone();
    listener.next_hop_tls.value = crate::config::NextHopTls::Off;
    let mut settings = crate::gateway::setup::next_hop_settings(&site.config, &listener).ok()?;
    settings.next_hop = Address::Tcp(alerts.next_hop.to_string());
    settings.introduction = Introduction::Nothing;
    settings.limits.next_hop_timeout = settings.limits.next_hop_timeout.min(PATIENCE);
    Some(settings)
}
