//! The next hop of each listener: whether it answers, what it can do, TLS with it, and whether it would pass on a
//! stranger's mail to anywhere.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use attachment_seal::verdict::verify::MAX_CLOCK_SKEW;
use bytesize::ByteSize;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::finding::{Finding, Subject, chain, spoken};
use super::listeners::PATIENCE;
use super::{Site, State, certificates, is_open};
use crate::config::{self, Auth, Listener, Mode, NextHopTls};
use crate::gateway::setup::next_hop_settings;
use crate::smtp::next_hop::visit::Visit;
use crate::smtp::next_hop::{NextHop, RelayError};
use crate::smtp::tls::{ClientTls, HandshakeError, Trust};
use crate::smtp::{Address, Introduction, Reply, Settings};

/// A client that is nobody's friend (RFC 5737).
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Somebody for whom no next hop of a verifying gateway should take mail (RFC 2606).
const ELSEWHERE: &str = "waxseal-doctor@example.com";

pub(super) async fn check(site: &Site, findings: &mut Vec<Finding>) {
    for listener in &site.config.listeners {
        let name = format!("next hop of {} {}", listener.name, listener.next_hop);
        look(site, listener, &name, findings).await;
    }
}

async fn look(site: &Site, listener: &Listener, name: &str, findings: &mut Vec<Finding>) {
    let mut settings = match next_hop_settings(&site.config, listener) {
        Ok(settings) => settings,
        Err(_) => {
            let why = "what TLS with it needs cannot be read, see above";
            return Subject::new(findings, "next-hop", name).not_checked(why);
        }
    };
    settings.limits.next_hop_timeout = settings.limits.next_hop_timeout.min(PATIENCE);
    let visit = match Visit::pay(&settings, Ipv4Addr::LOCALHOST.into()).await {
        Ok(visit) => visit,
        Err(error) => {
            let begins_with_tls =
                matches!(error, RelayError::NoGreeting(_)) && greets_under_tls(&settings).await;
            return failed(listener, name, &error, begins_with_tls, findings);
        }
    };
    addresses(&settings, name, findings).await;
    let mut subject = Subject::new(findings, "next-hop", name);
    if !visit.greeting.is_positive() || !visit.offer.is_positive() {
        subject.problem(
            format!("it refuses us: {}", visit.offer),
            "its log has the reason; in Postfix the smtpd there needs \
             smtpd_client_restrictions=permit_mynetworks,reject and mynetworks with this machine's address",
        );
        return visit.leave().await;
    }
    extensions(site, listener, &visit, &mut subject);
    clock(&visit.greeting, super::now(), &mut Subject::new(findings, "clock", name));
    tls(site, listener, &visit, &mut Subject::new(findings, "next-hop-tls", name));
    if listener.introduction == Introduction::Xclient && !visit.offers("XCLIENT") {
        Subject::new(findings, "next-hop", name).problem(
            "xclient = true, but it offers no XCLIENT: it gets no mail at all (421)",
            "in Postfix's master.cf, for that smtpd: -o smtpd_authorized_xclient_hosts=127.0.0.0/8 (this machine's address)",
        );
        return visit.leave().await;
    }
    if listener.mode == Mode::Verify && is_open(listener) && takes_strangers(listener) {
        let heard = match listener.introduction {
            Introduction::Nothing => relay_as_us(visit).await,
            Introduction::Xclient => relay_announced(visit).await,
            Introduction::ProxyHeader => {
                visit.leave().await;
                match Visit::pay(&settings, STRANGER).await {
                    Ok(visit) => relay_as_us(visit).await,
                    Err(error) => Err(error),
                }
            }
        };
        relay(listener, heard, &mut Subject::new(findings, "open-relay", name));
    } else {
        visit.leave().await;
    }
}

fn takes_strangers(listener: &Listener) -> bool {
    listener.clients.networks().iter().any(|network| network.contains(&STRANGER))
}

async fn relay_as_us(mut visit: Visit) -> Result<Reply, RelayError> {
    let heard = visit.try_envelope("", ELSEWHERE).await;
    visit.leave().await;
    heard
}

/// As the gateway announces a stranger.
async fn relay_announced(mut visit: Visit) -> Result<Reply, RelayError> {
    let greeting = visit.introduce(STRANGER).await?;
    if greeting.is_positive() { relay_as_us(visit).await } else { Ok(greeting) }
}

fn relay(listener: &Listener, heard: Result<Reply, RelayError>, subject: &mut Subject<'_>) {
    let hop = &listener.next_hop;
    match heard {
        Ok(reply) if reply.is_positive() => subject.problem(
            format!("an open relay: a stranger's mail for {ELSEWHERE} is taken ({reply})"),
            format!(
                "set xclient = true here and smtpd_authorized_xclient_hosts at {hop}; in Postfix also: -o mynetworks= -o \
                 smtpd_relay_restrictions=reject_unauth_destination"
            ),
        ),
        Ok(reply) if reply.is_permanent() => subject.ok(format!("it passes no stranger's mail on ({reply})")),
        Ok(reply) => subject.not_checked(format!("whether it is an open relay: it answers {reply}")),
        Err(error) => subject.not_checked(format!("whether it is an open relay: {}", chain(&error))),
    }
}

/// Exim, Sendmail and Exchange have the time in their greeting; Postfix does not.
fn clock(greeting: &Reply, now: u64, subject: &mut Subject<'_>) {
    let Some(theirs) = greeting.lines().next().and_then(time_in) else { return };
    let (apart, way) = if theirs > now { (theirs - now, "behind") } else { (now - theirs, "ahead of") };
    if apart > MAX_CLOCK_SKEW {
        subject.problem(
            format!(
                "our clock is {} {way} its clock: one of them is wrong, and seals need ours right",
                spoken(apart)
            ),
            "timedatectl set-ntp true, on the machine whose `date -u` is wrong",
        );
    } else {
        subject.ok(format!("its clock agrees with ours to {}", spoken(apart)));
    }
}

/// A date and time at the end of a greeting's text, in Unix seconds.
fn time_in(text: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(text);
    let parse = |at: usize| jiff::fmt::rfc2822::parse(text[at..].trim()).ok();
    let starts = text.match_indices(' ').map(|(at, _)| at);
    let time = starts.filter_map(parse).next()?;
    time.timestamp().as_second().try_into().ok()
}

/// What the gateway does where passwords would go in clear.
const NO_AUTH: &str =
    "; it offers AUTH, but clients are not offered it, because passwords would go in clear as well";

/// What it can do, and what of that is missed.
fn extensions(site: &Site, listener: &Listener, visit: &Visit, subject: &mut Subject<'_>) {
    let protocol = if visit.is_lmtp { "LMTP" } else { "SMTP" };
    let known = ["8BITMIME", "SMTPUTF8", "PIPELINING", "CHUNKING", "DSN", "XCLIENT", "XFORWARD"];
    let offered: Vec<&str> = known.into_iter().filter(|keyword| visit.offers(keyword)).collect();
    subject.ok(format!(
        "speaks {protocol}, offers {}",
        if offered.is_empty() { "nothing".into() } else { offered.join(" ") }
    ));
    if !visit.offers("8BITMIME") {
        subject.warning(
            "no 8BITMIME: clients must convert their mail to 7bit first, and some bounce it instead",
            "in Postfix: look for 8bitmime in smtpd_discard_ehlo_keywords",
        );
    }
    if !visit.offers("SMTPUTF8") {
        subject.warning(
            "no SMTPUTF8: mail to and from addresses outside ASCII is refused",
            "in Postfix: postconf -e smtputf8_enable=yes (it must be built with EAI)",
        );
    }
    let ours = site.config.limits.message_size;
    if let Some(size) = visit.size().filter(|size| *size < ours) {
        subject.warning(
            format!(
                "it takes messages of {} ({size} octets), we up to {}: it refuses the larger ones",
                ByteSize(size).display().iec(),
                ByteSize(ours).display().iec()
            ),
            format!(
                "in Postfix: postconf -e message_size_limit={ours}; or here: [limits] message_size = {size}"
            ),
        );
    }
    if listener.auth == Auth::Required && !visit.offers_auth() {
        subject.problem(
            "auth = \"required\", but it offers no AUTH that works through this gateway: nobody can send",
            "name its submission port, mostly 587, and set next_hop_tls = \"verify\": many offer AUTH under TLS only",
        );
    }
    if !listener.xforward_from.networks().is_empty() && !visit.offers("XFORWARD") {
        subject.warning(
            "xforward = true, but it offers no XFORWARD: its log has our address for every client",
            "in Postfix's master.cf, for that smtpd: -o smtpd_authorized_xforward_hosts=127.0.0.0/8 (this machine's address)",
        );
    }
}

fn tls(site: &Site, listener: &Listener, visit: &Visit, subject: &mut Subject<'_>) {
    let is_checked = listener.next_hop_tls.value.checks_certificate();
    match (&listener.next_hop_tls.value, visit.is_tls()) {
        (NextHopTls::Off, _) if listener.next_hop.is_far() => subject.warning(
            format!(
                "mail goes to it in clear, across a network where it can be read and changed{}",
                if visit.offers("AUTH") { NO_AUTH } else { "" }
            ),
            "next_hop_tls = \"verify\", with next_hop_ca if its certificate is by an authority of your own",
        ),
        (NextHopTls::Off, _) => {}
        (_, false) => subject.warning(
            format!(
                "next_hop_tls = \"may\", and there is no TLS with it: mail goes in clear{}",
                if visit.offers("AUTH") && listener.next_hop.is_far() { NO_AUTH } else { "" }
            ),
            "switch TLS on there (in Postfix smtpd_tls_security_level=may and a certificate), then next_hop_tls = \"verify\"",
        ),
        (_, true) => {
            let proof = if is_checked {
                "under TLS, its certificate checked"
            } else {
                "under TLS, but its certificate is not checked"
            };
            subject.ok(proof);
            if is_checked {
                certificates::dates(subject, &visit.certificates(), site.now);
            }
        }
    }
}

/// Whether it greets where TLS begins with the connection.
async fn greets_under_tls(settings: &Settings) -> bool {
    let Ok(tls) = ClientTls::new("localhost", &Trust::Anybody) else { return false };
    let patience = settings.limits.next_hop_timeout;
    NextHop::connect(&settings.next_hop, None, Some(&tls), patience).await.is_ok()
}

/// Of several addresses, those that do not answer: the gateway goes round them, which takes its time.
async fn addresses(settings: &Settings, name: &str, findings: &mut Vec<Finding>) {
    let Address::Tcp(host) = &settings.next_hop else { return };
    let Ok(found) = lookup_host(host).await else { return };
    let found: Vec<SocketAddr> = found.collect();
    if found.len() < 2 {
        return;
    }
    for address in found {
        let why = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => continue,
            // `localhost`, by the family that the server does not listen on.
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused && address.ip().is_loopback() => {
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        Subject::new(findings, "next-hop", name).warning(
            format!("its address {address} cannot be reached: {why}"),
            "have the server listen there, or take the address out of DNS (or /etc/hosts)",
        );
    }
}

fn failed(
    listener: &Listener,
    name: &str,
    error: &RelayError,
    begins_with_tls: bool,
    findings: &mut Vec<Finding>,
) {
    let is_tls = matches!(
        error,
        RelayError::NoStartTls
            | RelayError::StartTlsRefused(_)
            | RelayError::ResponseInjection
            | RelayError::Handshake(_)
    ) || begins_with_tls;
    let check = if is_tls { "next-hop-tls" } else { "next-hop" };
    let hop = &listener.next_hop;
    let remedy = match error {
        RelayError::Handshake(HandshakeError::UntrustedCertificate) => {
            "next_hop_ca = \"/etc/waxseal/ca.pem\" with the authority's certificate, if it is one of your own"
                .to_owned()
        }
        RelayError::Handshake(HandshakeError::ExpiredCertificate) => {
            "have the next hop's certificate renewed".to_owned()
        }
        RelayError::Handshake(HandshakeError::EarlyCertificate) => {
            "check that both clocks are right".to_owned()
        }
        RelayError::Handshake(HandshakeError::WrongName(_)) => {
            "write the name in its certificate into next_hop, or have one issued for this name".to_owned()
        }
        RelayError::Handshake(_) if listener.next_hop_tls.value == NextHopTls::Implicit => format!(
            "if it greets in clear and offers STARTTLS, set next_hop_tls = \"verify\"; try: openssl s_client -connect {hop}"
        ),
        RelayError::NoStartTls | RelayError::StartTlsRefused(_) => {
            "switch TLS on there: in Postfix smtpd_tls_security_level=may and a certificate".to_owned()
        }
        RelayError::ResponseInjection => {
            "somebody on the way inserts replies: check the network between".to_owned()
        }
        RelayError::NoGreeting(_) if begins_with_tls => {
            "TLS begins with the connection there: set next_hop_tls = \"implicit\"".to_owned()
        }
        RelayError::NoGreeting(_) if listener.introduction == Introduction::Nothing => {
            "it took the connection: check whether it waits for a PROXY header (proxy_protocol = true), and \
             whether it is overloaded"
                .to_owned()
        }
        RelayError::NoGreeting(_) => {
            "it took the connection: check whether it is overloaded, and read its log".to_owned()
        }
        RelayError::NotGreeted(_) => {
            "it took the connection and hung up: its log has the reason; it may refuse this machine as a \
             client, or a PROXY header (proxy_protocol)"
                .to_owned()
        }
        RelayError::MalformedReply(_) => {
            format!("the program at {hop} is no mail server: mend next_hop")
        }
        RelayError::Connect(cause) => match cause.kind() {
            ErrorKind::ConnectionRefused => format!(
                "nothing listens at {hop}: start the mail server (in Postfix: is there such a line in master.cf?), or mend \
                 next_hop"
            ),
            ErrorKind::TimedOut => format!(
                "nothing answers at {hop}: check that the machine is up, and whether a firewall between \
                 drops packets"
            ),
            ErrorKind::NotFound => {
                format!("there is no such socket {hop}: start the mail server, or mend next_hop")
            }
            ErrorKind::PermissionDenied => format!(
                "this user may not connect to {hop}: look at the socket's owner, group and mode, and at the firewall"
            ),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                format!("there is no way to {hop}: look at this machine's routes, or mend next_hop")
            }
            _ => format!("check that the name in next_hop has an address: getent ahosts {}", host(listener)),
        },
        _ => format!("look at its log, or mend next_hop; try: swaks --server {hop} --quit-after EHLO"),
    };
    let text = format!("{}: clients get 421 or 451 and keep their mail", chain(error));
    Subject::new(findings, check, name).add(State::Problem, text, Some(remedy));
}

fn host(listener: &Listener) -> String {
    match &listener.next_hop {
        config::NextHop::Server(server) => server.host.to_string(),
        config::NextHop::Unix(path) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_clock_of_those_who_greet_with_it() {
        for (greeting, time) in [
            ("mail.example.org ESMTP Exim 4.96 Mon, 23 Nov 2026 09:00:00 +0000", Some(1_795_424_400)),
            (
                "mail.example.org Microsoft ESMTP MAIL Service ready at Mon, 23 Nov 2026 10:00:00 +0100",
                Some(1_795_424_400),
            ),
            ("mail.example.org ESMTP Postfix", None),
            ("", None),
        ] {
            assert_eq!(time_in(greeting.as_bytes()), time, "{greeting}");
        }
    }

    #[test]
    fn clocks_may_be_five_minutes_apart() {
        let greeting = Reply::new(220, "mail.example.org ESMTP Exim 4.96 Mon, 23 Nov 2026 09:00:00 +0000");
        for (now, state) in [
            (1_795_424_400, State::Ok),
            (1_795_424_700, State::Ok),
            (1_795_424_100, State::Ok),
            (1_795_424_701, State::Problem),
            (1_795_424_099, State::Problem),
        ] {
            let mut findings = Vec::new();
            clock(&greeting, now, &mut Subject::new(&mut findings, "", ""));
            assert_eq!(findings[0].state, state, "{now}: {findings:?}");
        }
    }
}
