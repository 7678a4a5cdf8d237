//! A probe that comes from outside, as other people's mail does: whether it passes the verifying gateway, whatever the
//! settings say, and whether readers can find the gateway's result.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use attachment_seal::domain::DomainName;
use attachment_seal::message::header::HeaderSection;
use attachment_seal::verdict::authres::METHOD;
use tokio::time::{Instant, sleep};

use super::super::admin;
use super::super::finding::Subject;
use super::super::listeners::as_client;
use super::{Probe, ProbeError, Way, domain_of};
use crate::config::{Config, ListenAddress, Listener};
use crate::smtp::{Address, Introduction};

/// An author whom nobody pins, and whose domain publishes nothing (RFC 2606 §2).
const AUTHOR: &str = "postmaster@waxseal-probe.invalid";

/// How long a message may take from its server to the gateway, if it is queued in between.
const PASSAGE: Duration = Duration::from_secs(5);

/// Where mail from outside is wired to the gateway.
const WIRING: &str =
    "deploy/README.md sections 7 and 8 have the wirings; waxseal doctor shows what Postfix's settings are";

/// By the server at port 25, or the one that is named.
pub(super) fn way(config: &Config, listener: &Listener, probe: &Probe) -> Result<Way, ProbeError> {
    let from = probe.from.clone().unwrap_or_else(|| AUTHOR.to_owned());
    let domain = domain_of(&from).ok_or_else(|| ProbeError::Author(from.clone()))?;
    let is_at_25 =
        |address: &&ListenAddress| matches!(address, ListenAddress::Tcp(address) if address.port() == 25);
    let own = listener.listen.iter().find(is_at_25).filter(|_| probe.server.is_none());
    let port_25 = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 25).into());
    let settings = as_client(config, listener, own.unwrap_or(&port_25));
    let mut settings = settings.ok_or_else(|| ProbeError::Unreachable(listener.name.clone()))?;
    if own.is_none() {
        settings.introduction = Introduction::Nothing;
    }
    if let Some(server) = &probe.server {
        let with_port = match server.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, 25).to_string(),
            Err(_) if server.contains(':') => server.clone(),
            Err(_) => format!("{server}:25"),
        };
        settings.next_hop = Address::Tcp(with_port);
    }
    // Without a reverse-path nobody looks the author's domain up, and nothing bounces to it.
    let reverse_path = probe.from.clone().unwrap_or_default();
    Ok(Way { server: format!("the server {}", settings.next_hop), settings, from, domain, reverse_path })
}

/// Whether the gateway has judged a message since there were so many: other mail may have come in meanwhile, so only that none did
/// is certain.
pub(super) async fn passage(
    config: &Config,
    listener: &Listener,
    server: &str,
    before: u64,
    subject: &mut Subject<'_>,
) {
    let deadline = Instant::now() + PASSAGE;
    let name = &listener.name;
    loop {
        match admin::judged(config, name).await {
            None => {
                return subject.not_checked("whether it passed the gateway: its metrics cannot be read now");
            }
            Some(now) if now > before => {
                return subject.ok(format!("listener {name} has judged a message since then"));
            }
            Some(_) if Instant::now() > deadline => break,
            Some(_) => sleep(Duration::from_millis(200)).await,
        }
    }
    let what = format!(
        "listener {name} has judged no message since then: mail that {server} takes bypasses the gateway"
    );
    subject.problem(what, WIRING);
}

/// Whether a probe that has arrived has a result of this gateway, and whether readers find it.
pub(super) fn judge(arrived: &[u8], hostname: &DomainName, subject: &mut Subject<'_>) {
    let section = HeaderSection::parse(arrived);
    let fields =
        section.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"Authentication-Results"));
    let results: Vec<(String, String)> = fields
        .map(|field| {
            let value = String::from_utf8_lossy(&field.unfolded()).trim().to_owned();
            let name = value.split(|c: char| c == ';' || c.is_whitespace()).next().unwrap_or_default();
            (name.to_ascii_lowercase(), value)
        })
        .collect();
    let is_ours = |name: &str| name == hostname.as_str();
    let method = format!("{METHOD}=");
    let ours = results.iter().find(|(name, value)| is_ours(name) && value.contains(&method));
    let Some((_, value)) = ours else {
        return subject.problem(
            format!("arrived without a result of {hostname}: such mail bypasses the verifying gateway"),
            WIRING,
        );
    };
    let verdict =
        value[value.find(&method).unwrap_or_default()..].split([' ', ';']).next().unwrap_or_default();
    subject.ok(format!("passed the gateway: {verdict}"));
    if let Some((other, _)) = results.iter().find(|(name, _)| !is_ours(name)) {
        let top = &results[0].0;
        subject.warning(
            format!(
                "the topmost Authentication-Results is by {top}, and there are others by {}. Mail programs that trust only the \
                 topmost name (Thunderbird's DKIM Verifier) ignore those",
                if is_ours(top) { other } else { hostname.as_str() }
            ),
            format!(
                "hostname = \"{other}\" in waxseal.toml, then systemctl reload waxseal; or have that filter write {hostname}"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::State;
    use super::*;

    #[test]
    fn a_result_shows_that_mail_passed() {
        const OURS: &str = "Authentication-Results: mx.example.org; x-attachment-seal=none\r\n";
        let dkim =
            |name: &str| format!("Authentication-Results: {name};\r\n\tdkim=pass header.d=a.example\r\n");
        for (fields, found) in [
            (OURS.to_owned(), vec![(State::Ok, "x-attachment-seal=none")]),
            (dkim("MX.example.org") + OURS, vec![(State::Ok, "passed")]),
            (dkim("mx.example.org"), vec![(State::Problem, "bypasses")]),
            (String::new(), vec![(State::Problem, "bypasses")]),
            (
                OURS.to_owned() + &dkim("mail.example.org"),
                vec![
                    (State::Ok, ""),
                    (State::Warning, "is by mx.example.org, and there are others by mail."),
                ],
            ),
            (
                dkim("mail.example.org") + OURS,
                vec![
                    (State::Ok, ""),
                    (State::Warning, "is by mail.example.org, and there are others by mx."),
                ],
            ),
        ] {
            let mut findings = Vec::new();
            let message = format!("Received: x\r\n{fields}From: a@b.example\r\n\r\n");
            let hostname = "mx.example.org".parse().unwrap();
            judge(message.as_bytes(), &hostname, &mut Subject::new(&mut findings, "", ""));
            assert_eq!(findings.len(), found.len(), "{fields}: {findings:?}");
            for (finding, (state, says)) in findings.iter().zip(found) {
                assert!(finding.state == state && finding.detail.contains(says), "{fields}: {findings:?}");
            }
        }
    }
}
