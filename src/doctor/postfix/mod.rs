//! Postfix around the gateway, read from its own `postconf`: whether mail is handed to the gateway at all, and can reach it.
//! What happens to a message further on, its settings show in part only; the probe goes that way.

pub(crate) mod settings;
mod ways;

use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use self::settings::{Service, Settings};
use self::ways::Look;
use super::finding::{Finding, Subject};
use super::{Site, programs, quoted};
use crate::config::{Auth, Host, Listener, Mode, NextHop};

pub(super) fn check(site: &Site, folder: Option<&Path>, findings: &mut Vec<Finding>) {
    let settings = match settings(folder) {
        Ok(settings) => settings,
        Err(why) => {
            for listener in &site.config.listeners {
                let name = format!("mail through {}", listener.name);
                by_probe(listener, &why, &mut Subject::new(findings, "postfix", name));
            }
            return;
        }
    };
    let postconf = match folder {
        Some(folder) => format!("postconf -c {}", quoted(folder)),
        None => "postconf".to_owned(),
    };
    let look = Look { settings: &settings, postconf: &postconf, config: &site.config };
    for listener in &site.config.listeners {
        let name = format!("Postfix around {}", listener.name);
        let before = findings.len();
        let mut subject = Subject::new(findings, "postfix", &name);
        let back = smtpd_of(&settings, listener);
        look.reach(listener, &mut subject);
        if let Some(back) = back {
            look.circles(back, &mut subject);
        }
        match listener.mode {
            Mode::Seal => look.beside_sealing(listener, back, &mut subject),
            Mode::Verify => look.beside_verifying(listener, &mut subject),
        }
        if findings.len() == before {
            Subject::new(findings, "postfix", &name).ok("its settings lead mail through the gateway");
        }
        let mut subject = Subject::new(findings, "postfix", &name);
        match listener.mode {
            Mode::Seal => by_probe(listener, "its settings cannot tell", &mut subject),
            Mode::Verify => look.names(&mut subject),
        }
    }
}

/// What no settings show.
fn by_probe(listener: &Listener, why: &str, subject: &mut Subject<'_>) {
    let what = match listener.mode {
        Mode::Seal => "whether mail is changed after sealing",
        Mode::Verify => "whether mail that arrives here passes the gateway",
    };
    let remedy = if listener.auth == Auth::Required {
        "send a message with an attachment from a mail program to an address outside, and run waxseal verify on it as it arrives"
            .to_owned()
    } else {
        format!(
            "waxseal doctor --listener {} --probe ADDRESS, an address whose mail you can read",
            listener.name
        )
    };
    subject.unknown(format!("{what}: {why}"), remedy);
}

/// The settings of the Postfix whose configuration is in this folder.
pub(crate) fn settings_in(folder: &Path) -> Result<Settings, String> {
    settings(Some(folder))
}

/// The smtpd that a listener's next hop is.
fn smtpd_of<'a>(settings: &'a Settings, listener: &Listener) -> Option<&'a Service> {
    let NextHop::Server(server) = &listener.next_hop else { return None };
    let is_here = match &server.host {
        Host::Ip(ip) => is_ours(*ip),
        Host::Name(name) => name.as_str() == "localhost",
    };
    let host = server.host.to_string();
    // One that names another address of this machine is another server.
    let fit =
        |service: &&Service| match service.name.rsplit_once(':').map(|(own, _)| own.trim_matches(['[', ']']))
        {
            Some(own) if own == host => Some(0),
            None => Some(1),
            Some("localhost" | "127.0.0.1" | "::1" | "0.0.0.0" | "::") => Some(2),
            Some(_) => None,
        };
    let is_it = |service: &&Service| service.program == "smtpd" && service.port() == Some(server.port);
    let fitting = settings.services.iter().filter(is_it).filter(|service| is_here && fit(service).is_some());
    fitting.min_by_key(fit)
}

/// Whether an address is this machine's: nobody else can listen on another's.
fn is_ours(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

fn settings(folder: Option<&Path>) -> Result<Settings, String> {
    let folder = folder.map(|folder| folder.display().to_string());
    let place: Vec<&str> = folder.iter().flat_map(|folder| ["-c", folder]).collect();
    let ask = |arguments: &[&str]| {
        let ended = programs::run("postconf", &[&place, arguments].concat())?;
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        Err(ended.stderr.lines().last().unwrap_or("postconf fails without a message").to_owned())
    };
    Ok(Settings::parse(&ask(&["-M"])?, &ask(&["-Px"])?, &ask(&["-x"])?, &ask(&[])?))
}
