//! The name servers that we ask: whether they answer, and whether DNSSEC can be proved through them.

use std::net::SocketAddr;

use attachment_seal::seal::knowledge::{Answer, Failure};
use futures_util::future::join_all;

use super::finding::{Finding, Subject};
use super::{Site, State};
use crate::dns::{self, Dns, Dnssec, Settings};
use crate::gateway::setup::Setup;

/// The name servers to ask, and how far they can be trusted.
#[derive(Debug)]
pub(super) struct Resolvers {
    /// Asks with every proof that can be had; `None` where nobody can be asked.
    pub(super) proving: Option<Dns>,
    /// Asks without proofs.
    pub(super) plain: Option<Dns>,
    /// Whether proofs come through at all.
    pub(super) can_prove: bool,
}

/// How one name server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// No answer.
    Silent,
    /// It answers with this error.
    Failing(&'static str),
    /// It answers, and proofs come through.
    Proving,
    /// It answers, and its answers about a signed zone have no proof, or a wrong one.
    Unproved,
    /// It answers, and says that the zone all proofs begin with is not signed.
    Unsigned,
}

impl Server {
    fn is_useless(&self) -> bool {
        matches!(self, Self::Silent | Self::Failing(_))
    }
}

pub(super) async fn check(site: &Site, findings: &mut Vec<Finding>) -> Resolvers {
    let mut resolvers = Resolvers { proving: None, plain: None, can_prove: false };
    let mut subject = Subject::new(findings, "resolvers", "name servers");
    let settings = match Setup::read_for_verifying(&site.config) {
        Ok((_, settings)) => settings,
        Err(_) => {
            subject.not_checked("[dns] or a pin has a mistake, see above");
            return resolvers;
        }
    };
    let Ok(servers) = dns::resolvers(&settings) else {
        subject.problem(
            "the system's name servers cannot be found out",
            "name some: [dns] servers = [\"127.0.0.1:53\"]",
        );
        return resolvers;
    };
    if servers.is_empty() {
        subject
            .not_checked("there are none ([dns] servers = []): nothing is looked up, only pins are trusted");
        return resolvers;
    }
    let zone = first_zone(&settings);
    let outcomes = join_all(servers.iter().map(|server| ask(&settings, *server, &zone))).await;
    let all_silent = outcomes.iter().all(Server::is_useless);
    for (server, outcome) in servers.iter().zip(&outcomes) {
        let mut subject = Subject::new(findings, "resolvers", format!("name server {server}"));
        judge(&mut subject, *outcome, site.config.dns.dnssec, all_silent, settings.trust_anchors.is_some());
    }
    // A resolver of which one in two gives no proofs is one that gives none every other time.
    let heard: Vec<&Server> = outcomes.iter().filter(|outcome| !outcome.is_useless()).collect();
    resolvers.can_prove = !heard.is_empty() && heard.iter().all(|outcome| **outcome == Server::Proving);
    if !heard.is_empty() {
        resolvers.proving = Some(Dns::new(Settings { dnssec: Dnssec::Prefer, ..settings.clone() }));
        resolvers.plain = Some(Dns::new(Settings { dnssec: Dnssec::Off, ..settings }));
    }
    resolvers
}

/// The zone that proofs begin with: the root, or that of our own trust anchors.
fn first_zone(settings: &Settings) -> String {
    let zones = settings.trust_anchors.as_deref().and_then(|text| dns::trust_anchor_zones(text).ok());
    zones.and_then(|zones| zones.into_iter().next()).unwrap_or_else(|| ".".to_owned())
}

async fn ask(settings: &Settings, server: SocketAddr, zone: &str) -> Server {
    let only = Settings { servers: Some(vec![server]), ..settings.clone() };
    let plain = Dns::new(Settings { dnssec: Dnssec::Off, ..only.clone() });
    if matches!(plain.texts(zone).await, Answer::Failed(_)) {
        return plain.error_about(zone).await.map_or(Server::Silent, Server::Failing);
    }
    let proving = Dns::new(Settings { dnssec: Dnssec::Prefer, ..only });
    // That there is no such record is proved by the zone itself, so no other server need be reached.
    let name = if zone == "." { "_attachment-seal.".to_owned() } else { format!("_attachment-seal.{zone}") };
    match proving.texts(&name).await {
        Answer::Found { secure: true, .. } | Answer::NotFound { secure: true } => Server::Proving,
        Answer::Failed(Failure::Bogus | Failure::Unanswered) => Server::Unproved,
        Answer::Found { .. } | Answer::NotFound { .. } => Server::Unsigned,
    }
}

fn judge(subject: &mut Subject<'_>, outcome: Server, dnssec: Dnssec, all_silent: bool, has_anchors: bool) {
    let is_needed = dnssec != Dnssec::Off;
    match outcome {
        Server::Silent => {
            let detail = "no answer from it";
            let remedy = "check that it runs and can be reached, or name others: [dns] servers = […]";
            let state = if all_silent { State::Problem } else { State::Warning };
            subject.add(state, detail.to_owned(), Some(remedy.to_owned()));
        }
        Server::Failing(error) => {
            let detail = format!("it answers, but with {error}: it cannot look names up itself");
            let remedy = "its log has the reason: it cannot reach the servers that it asks, or its own DNSSEC check fails \
                          (its clock, its trust anchor); or name others: [dns] servers = […]";
            let state = if all_silent { State::Problem } else { State::Warning };
            subject.add(state, detail, Some(remedy.to_owned()));
        }
        Server::Proving => subject.ok("answers, and DNSSEC can be proved through it"),
        Server::Unproved | Server::Unsigned if is_needed => subject.problem(
            "DNSSEC cannot be proved through it: every lookup fails, and mail is deferred (451)",
            if has_anchors {
                "check whether trust_anchors are the zone's present keys (dig DNSKEY), whether the clock is \
                 right, then whether it strips signatures"
            } else {
                "use a resolver that passes signatures on (unbound on this machine: [dns] servers = \
                 [\"127.0.0.1:53\"]), or [dns] dnssec = \"off\" meanwhile"
            },
        ),
        Server::Unproved | Server::Unsigned => subject.warning(
            "answers, but strips or breaks DNSSEC's signatures: nothing can be proved through it",
            "leave dnssec = \"off\" as it is, or use a resolver that passes signatures on, such as unbound",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_begin_where_the_anchors_are() {
        let settings = |text: &str| Settings { trust_anchors: Some(text.to_owned()), ..Settings::default() };
        assert_eq!(first_zone(&Settings::default()), ".");
        assert_eq!(first_zone(&settings("; old DNSKEY\n. IN DNSKEY 257 3 13 AAAA")), ".");
        assert_eq!(first_zone(&settings("corp.example. IN DNSKEY 257 3 13 AAAA")), "corp.example.");
    }
}
