//! Our own listeners: whether the gateway runs, and whether it is the gateway that answers.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::Site;
use super::finding::{Finding, Subject, chain};
use crate::config::{Config, ListenAddress, Listener, NextHopTls};
use crate::gateway::setup::next_hop_settings;
use crate::keys;
use crate::monitoring::ask::connectable;
use crate::smtp::certificate::Certificate;
use crate::smtp::next_hop::RelayError;
use crate::smtp::next_hop::visit::Visit;
use crate::smtp::tls::{ClientTls, Trust};
use crate::smtp::{self, Address, Introduction, Reply};

/// Longest wait for each answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What is found where no gateway runs.
pub const NOT_RUNNING: &str = "nothing answers: the gateway does not run";

pub(super) async fn check(site: &Site, findings: &mut Vec<Finding>) {
    for listener in &site.config.listeners {
        for address in &listener.listen {
            let name = format!("listener {} {address}", listener.name);
            let mut subject = Subject::new(findings, "listener", name);
            look(site, listener, address, &mut subject).await;
        }
    }
}

async fn look(site: &Site, listener: &Listener, address: &ListenAddress, subject: &mut Subject<'_>) {
    let Some(settings) = as_client(&site.config, listener, address) else {
        return subject.not_checked("port 0: the system chooses the port at each start");
    };
    let anybody = ClientTls::new("localhost", &Trust::Anybody).ok();
    let visit = match &anybody {
        Some(tls) if listener.implicit_tls => Visit::pay_under_tls(&settings, tls).await,
        _ => Visit::pay(&settings, Ipv4Addr::LOCALHOST.into()).await,
    };
    let mut visit = match visit {
        Ok(visit) => visit,
        Err(error) => return failed(&error, subject),
    };
    let hostname = site.config.hostname.as_str();
    if is_ours(&visit.greeting, hostname) {
        if visit.greeting.code() == 554 {
            subject.ok("the gateway answers; this machine is not among its `clients`");
        } else if visit.greeting.is_positive() {
            subject.ok("the gateway answers");
            if visit.offers("STARTTLS")
                && let Some(tls) = &anybody
            {
                let secured = visit.starttls(tls, &settings).await;
                certificate_in_force(site, secured, &visit, subject);
            }
        } else {
            let detail = format!("the gateway answers, but takes no mail now: {}", visit.greeting);
            subject.problem(detail, "journalctl -u waxseal has the reason");
        }
    } else if visit.greeting.is_positive() {
        subject.problem(
            format!("another program answers there: {}", visit.greeting),
            "ss -ltnp names it; stop it, or choose another address for `listen`",
        );
    } else {
        subject.warning(
            format!("the gateway there, or its next hop, takes no mail: {}", visit.greeting),
            "journalctl -u waxseal has more",
        );
    }
    visit.leave().await;
}

/// The certificate that clients see is read at start and reload.
fn certificate_in_force(
    site: &Site,
    secured: Result<(), RelayError>,
    visit: &Visit,
    subject: &mut Subject<'_>,
) {
    if let Err(error) = secured {
        return subject.problem(
            format!("it offers STARTTLS, but: {}", chain(&error)),
            "journalctl -u waxseal has more",
        );
    }
    let on_disk =
        site.config.tls.as_ref().and_then(|tls| keys::read_certificates(&tls.certificate.value).ok());
    let on_disk = on_disk.and_then(|pem| Certificate::read(&pem).ok());
    if on_disk.is_some_and(|on_disk| on_disk.first() != visit.certificates().first()) {
        subject.warning("clients see another certificate than the one on disk", "systemctl reload waxseal");
    }
}

fn failed(error: &RelayError, subject: &mut Subject<'_>) {
    let kind = match error {
        RelayError::Connect(error) => Some(error.kind()),
        _ => None,
    };
    match kind {
        Some(ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
            subject.problem(NOT_RUNNING, "systemctl start waxseal");
        }
        Some(ErrorKind::PermissionDenied) => {
            subject.unknown("this user may not connect", "sudo waxseal doctor");
        }
        _ => subject.problem(
            format!("something is there, but no gateway that answers: {}", chain(error)),
            "systemctl status waxseal, and ss -ltnp",
        ),
    }
}

/// Our greeting begins with our name.
fn is_ours(greeting: &Reply, hostname: &str) -> bool {
    greeting.lines().next().is_some_and(|line| {
        let text = String::from_utf8_lossy(line);
        text.split_whitespace().any(|word| word.eq_ignore_ascii_case(hostname))
    })
}

/// How a client on this machine speaks to one of our listeners; `None` where nobody knows its port.
pub(super) fn as_client(
    config: &Config,
    listener: &Listener,
    address: &ListenAddress,
) -> Option<smtp::Settings> {
    let address = match address {
        ListenAddress::Tcp(address) if address.port() == 0 => return None,
        ListenAddress::Tcp(address) => Address::from(connectable(*address)),
        ListenAddress::Unix(path) => Address::Unix(path.clone()),
    };
    let mut listener = listener.clone();
    listener.next_hop_tls.value = NextHopTls::Off;
    let mut settings = next_hop_settings(config, &listener).ok()?;
    let announces = listener
        .proxy_protocol_from
        .networks()
        .iter()
        .any(|net| net.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    settings.next_hop = address;
    settings.introduction = if announces { Introduction::ProxyHeader } else { Introduction::Nothing };
    settings.limits.next_hop_timeout = settings.limits.next_hop_timeout.min(PATIENCE);
    Some(settings)
}
