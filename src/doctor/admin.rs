//! The gateway's own word about itself, where `[admin]` has it tell one: `/ready`, and of `/metrics` what became of
//! the last reload.

use std::io::ErrorKind;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::finding::{Finding, Subject};
use super::listeners::PATIENCE;
use super::{Site, connectable, gateway};
use crate::config::{Config, ListenAddress};

/// Most that is read of an answer, in octets.
const MAX_ANSWER: u64 = 1 << 20;

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

async fn page(address: &ListenAddress, path: &str) -> std::io::Result<String> {
    match address {
        ListenAddress::Tcp(address) => asked(TcpStream::connect(connectable(*address)).await?, path).await,
        ListenAddress::Unix(socket) => asked(UnixStream::connect(Path::new(socket)).await?, path).await,
    }
}

async fn asked(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status of an HTTP answer, and the first line of its body.
fn judge(subject: &mut Subject<'_>, answer: &str) {
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    let why = answer.split_once("\r\n\r\n").and_then(|(_, body)| body.lines().next()).unwrap_or_default();
    match status {
        Some("200") => subject.ok("the gateway reports that every listener can do its work"),
        Some("503") => {
            subject.problem(
                format!("the gateway reports that it is not ready: {why}"),
                "docs/MONITORING.md explains each reason",
            );
        }
        _ => subject.problem(
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
