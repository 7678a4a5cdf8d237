//! Whether alerts would reach anybody: held mail that nobody learns of is lost mail.

use jiff::Timestamp;

use super::Site;
use super::finding::{Finding, Subject, chain};
use super::listeners::PATIENCE;
use crate::blocking::blocking;
use crate::clock::second;
use crate::config::{Notices, Server};
use crate::smtp::next_hop::RelayError;
use crate::smtp::next_hop::visit::Visit;
use crate::smtp::{self, Address, Introduction, Reply};
use crate::store::State;

pub(super) async fn check(site: &Site, findings: &mut Vec<Finding>) {
    if let Some(notices) = &site.config.notices {
        let Notices { from, next_hop, .. } = notices;
        let mut subject = Subject::new(findings, "alerts", "notices to recipients");
        // No recipient is known before mail is held, so the question is asked for the administrator.
        let to = site.config.alerts.as_ref().map_or(from, |alerts| &alerts.to);
        judge(&mut subject, site, from, to, next_hop, "[notices]").await;
    }
    waiting(site, findings).await;
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
    judge(&mut subject, site, &alerts.from, &alerts.to, &alerts.next_hop, "[alerts]").await;
}

/// Whether the server would take mail.
async fn judge(subject: &mut Subject<'_>, site: &Site, from: &str, to: &str, hop: &Server, section: &str) {
    let Some(settings) = settings(site, hop) else { return };
    match heard(&settings, from, to).await {
        Ok(reply) if reply.is_positive() => subject.ok(format!("{hop} would take them")),
        Ok(reply) => subject.problem(
            format!("{hop} would not take them: {reply}"),
            format!("swaks --server {hop} --from {from} --to {to}, and mend what it reports"),
        ),
        Err(error) => {
            subject.problem(
                format!("{hop}: {}", chain(&error)),
                format!("name a server that runs: {section} next_hop"),
            );
        }
    }
}

/// Whether something waits that should have been sent long ago.
async fn waiting(site: &Site, findings: &mut Vec<Finding>) {
    if !site.verifies() {
        return;
    }
    let place = site.config.state.clone();
    // Where the database cannot be read, another check says so.
    let waiting = blocking(move || State::open_to_look(&place).outbox.waiting()).await;
    let Some((letters, oldest)) = waiting.ok().and_then(|waiting| Some((waiting.letters, waiting.oldest?)))
    else {
        return;
    };
    let seconds = Timestamp::now().duration_since(oldest).as_secs();
    if seconds > LATE {
        Subject::new(findings, "alerts", "outbox").warning(
            format!("{letters} alerts or notices wait to be sent, the oldest since {}", second(oldest)),
            "see why in the log of the gateway: `mail not sent` names the server and its reply",
        );
    }
}

/// What waits for longer is not only gathered, in seconds.
const LATE: i64 = 7_200;

async fn heard(settings: &smtp::Settings, from: &str, to: &str) -> Result<Reply, RelayError> {
    let mut visit = Visit::pay(settings, std::net::Ipv4Addr::LOCALHOST.into()).await?;
    if !visit.offer.is_positive() {
        return Ok(visit.offer);
    }
    let reply = visit.try_envelope(from, to).await?;
    visit.leave().await;
    Ok(reply)
}

/// In clear, as this mail is sent.
fn settings(site: &Site, hop: &Server) -> Option<smtp::Settings> {
    let mut listener = site.config.listeners.first()?.clone();
    listener.next_hop_tls.value = crate::config::NextHopTls::Off;
    let mut settings = crate::gateway::setup::next_hop_settings(&site.config, &listener).ok()?;
    settings.next_hop = Address::Tcp(hop.to_string());
    settings.introduction = Introduction::Nothing;
    settings.limits.next_hop_timeout = settings.limits.next_hop_timeout.min(PATIENCE);
    Some(settings)
}
