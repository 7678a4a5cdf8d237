//! Postfix around the gateway: what it would change after the seal, read from its own `postconf`. Other mail
//! servers, and what lies beyond this machine, only a probe can tell.

mod behind;
pub(crate) mod settings;
mod tables;

use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use self::behind::Look;
use self::settings::{Service, Settings};
use self::tables::Tables;
use super::finding::{Finding, Subject};
use super::{Site, is_open, programs, quoted};
use crate::config::{Host, ListenAddress, Listener, Mode, NextHop};

/// What a probe finds out as well.
const BY_PROBE: &str = "waxseal doctor --probe ADDRESS, an address outside that you can read";

pub(super) fn check(site: &Site, folder: Option<&Path>, findings: &mut Vec<Finding>) {
    let programs = Programs { folder };
    let settings = match programs.settings() {
        Ok(settings) => settings,
        Err(why) => {
            if site.listeners(Mode::Seal).next().is_some() {
                let mut subject = Subject::new(findings, "postfix", "Postfix");
                subject.unknown(format!("whether mail is changed after sealing: {why}"), BY_PROBE);
            }
            return;
        }
    };
    let postconf = match folder {
        Some(folder) => format!("postconf -c {}", quoted(folder)),
        None => "postconf".to_owned(),
    };
    let ports = ports(site);
    let look = Look {
        settings: &settings,
        tables: &programs,
        postconf: &postconf,
        domains: &site.config.domains,
        ports: &ports,
    };
    for listener in &site.config.listeners {
        let name = format!("Postfix behind {}", listener.name);
        let before = findings.len();
        let mut subject = Subject::new(findings, "postfix", name);
        if let Some(port) = port(listener) {
            look.transports(port, &mut subject);
        }
        match (smtpd_of(&settings, listener), listener.mode) {
            (Some(smtpd), Mode::Seal) => {
                look.behind_the_seal(smtpd, &mut subject);
                if let Some(port) = port(listener).filter(|_| !is_open(listener)) {
                    look.beside_the_seal(port, smtpd, &mut subject);
                }
            }
            (Some(smtpd), Mode::Verify) => look.filters(&smtpd.id(), &mut subject),
            (None, Mode::Seal) => {
                let hop = &listener.next_hop;
                let why = format!(
                    "whether mail is changed after sealing: no smtpd of this Postfix listens on {hop}"
                );
                subject.unknown(why, BY_PROBE);
            }
            (None, Mode::Verify) => continue,
        }
        if findings.len() == before {
            let mut subject = Subject::new(findings, "postfix", format!("Postfix behind {}", listener.name));
            subject.ok("none of its settings changes mail after the gateway");
        }
    }
}

/// The settings of the Postfix whose configuration is in this folder.
pub(crate) fn settings_in(folder: &Path) -> Result<Settings, String> {
    Programs { folder: Some(folder) }.settings()
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

fn port(listener: &Listener) -> Option<u16> {
    listener.listen.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(address.port()).filter(|port| *port != 0),
        ListenAddress::Unix(_) => None,
    })
}

fn ports(site: &Site) -> Vec<u16> {
    site.config.listeners.iter().filter_map(port).collect()
}

/// `postconf` and `postmap`.
struct Programs<'a> {
    folder: Option<&'a Path>,
}

impl Programs<'_> {
    fn settings(&self) -> Result<Settings, String> {
        let ask = |arguments: &[&str]| self.run("postconf", arguments, "");
        let services = ask(&["-M"])?;
        Ok(Settings::parse(&services, &ask(&["-Px"])?, &ask(&["-x"])?, &ask(&[])?))
    }

    /// What a program writes to stdout; an error in words where it is not there, or fails.
    fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
        let folder = self.folder.map(|folder| folder.display().to_string());
        let place: Vec<&str> = folder.iter().flat_map(|folder| ["-c", folder]).collect();
        let ended = programs::run(program, &[&place, arguments].concat(), input)?;
        // postmap's 1 without a message means that nothing was found.
        if ended.status.success() || (ended.status.code() == Some(1) && ended.stderr.is_empty()) {
            return Ok(ended.stdout);
        }
        Err(ended.stderr.lines().last().unwrap_or("it fails without a message").to_owned())
    }
}

impl Tables for Programs<'_> {
    fn query(&self, table: &str, keys: &[String]) -> Option<Vec<(String, String)>> {
        let answers = self.run("postmap", &["-q", "-", table], &(keys.join("\n") + "\n")).ok()?;
        let pair = |line: &str| line.split_once('\t').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Some(answers.lines().filter_map(pair).collect())
    }

    fn text(&self, table: &str) -> Option<String> {
        match table.split_once(':')? {
            ("inline", _) => Some(table.to_owned()),
            ("hash" | "btree" | "lmdb" | "cdb" | "dbm" | "texthash" | "regexp" | "pcre" | "cidr", path) => {
                std::fs::read_to_string(path).ok()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::settings::tests::SERVICES;
    use super::tables::tests::Canned;
    use super::*;
    use crate::config::SealingDomain;

    const DEFAULTS: &str = "\
canonical_classes = envelope_sender, envelope_recipient, header_sender, header_recipient
sender_canonical_classes = envelope_sender, header_sender
masquerade_classes = envelope_sender, header_sender, header_recipient
local_header_rewrite_clients = permit_inet_interfaces
message_drop_headers = bcc, content-length, resent-bcc, return-path
header_size_limit = 102400
smtp_line_length_limit = 998
";

    fn findings(main: &str, overrides: &str) -> Vec<Finding> {
        let config = crate::config::parse(
            "hostname = \"a.example\"\n[[listener]]\nname = \"out\"\nmode = \"seal\"\nlisten = [\"127.0.0.1:10025\"]\n\
             next_hop = \"127.0.0.1:10026\"\n[[domain]]\nname = \"mail.example.org\"\nselector = \"s\"\nkey = \"k\"\n",
            Path::new("/x/waxseal.toml"),
            std::iter::empty(),
        )
        .unwrap();
        let domains: Vec<SealingDomain> = config.domains;
        let settings = Settings::parse(SERVICES, overrides, &format!("{DEFAULTS}{main}"), main);
        let tables = Canned(vec![
            ("pcre:/from", "/^From:/ REPLACE From: x", vec![("From:", "REPLACE From: x")]),
            ("pcre:/received", "/^Received:/ IGNORE", vec![]),
            ("hash:/c", "office@mail.example.org a@b", vec![]),
        ]);
        let look = Look {
            settings: &settings,
            tables: &tables,
            postconf: "postconf",
            domains: &domains,
            ports: &[10025],
        };
        let mut findings = Vec::new();
        let smtpd = smtpd_of(&settings, &config.listeners[0]).unwrap();
        look.behind_the_seal(smtpd, &mut Subject::new(&mut findings, "postfix", ""));
        findings
    }

    #[test]
    fn says_what_no_seal_survives_and_nothing_else() {
        const SMTPD: &str = "127.0.0.1:10026/inet/";
        let off = |option: &str| format!("{SMTPD}receive_override_options = {option}");
        for (main, overrides, state, says) in [
            ("", String::new(), None, ""),
            ("header_checks = pcre:/received\n", String::new(), None, ""),
            ("header_checks = pcre:/from\n", String::new(), Some(State::Problem), "header_checks changes"),
            ("header_checks = pcre:/from\n", off("no_header_body_checks"), None, ""),
            ("header_checks = pcre:/from\n", "cleanup/unix/header_checks =\n".into(), None, ""),
            ("mime_header_checks = pcre:/unknown\n", String::new(), Some(State::Warning), "cannot be asked"),
            ("body_checks = pcre:/unknown\n", String::new(), Some(State::Warning), "body_checks"),
            ("canonical_maps = hash:/c\n", String::new(), Some(State::Problem), "canonical_maps rewrites"),
            (
                "sender_canonical_maps = hash:/c\n",
                String::new(),
                Some(State::Problem),
                "sender_canonical_maps",
            ),
            ("canonical_maps = hash:/c\n", off("no_address_mappings"), None, ""),
            ("canonical_maps = hash:/c\n", format!("{SMTPD}local_header_rewrite_clients ="), None, ""),
            ("recipient_canonical_maps = hash:/c\n", String::new(), None, ""),
            ("masquerade_domains = example.org\n", String::new(), Some(State::Problem), "masquerade_domains"),
            ("masquerade_domains = mail.example.org\n", String::new(), None, ""),
            ("smtp_generic_maps = hash:/c\n", String::new(), Some(State::Problem), "smtp_generic_maps"),
            (
                "",
                "relay/unix/smtp_generic_maps = hash:/c\n".into(),
                Some(State::Problem),
                "smtp_generic_maps",
            ),
            ("smtp_header_checks = pcre:/from\n", String::new(), Some(State::Problem), "smtp_header_checks"),
            (
                "content_filter = scan:[127.0.0.1]:10024\n",
                String::new(),
                Some(State::Problem),
                "another filter",
            ),
            ("smtpd_proxy_filter = 127.0.0.1:10025\n", String::new(), Some(State::Problem), "in circles"),
            (
                "smtpd_milters = inet:127.0.0.1:8891\n",
                String::new(),
                Some(State::NotChecked),
                "smtpd_milters",
            ),
            ("smtpd_milters = inet:127.0.0.1:8891\n", off("no_milters"), None, ""),
            ("message_drop_headers = date\n", String::new(), Some(State::Problem), "message_drop_headers"),
            ("message_strip_characters = \\0\n", String::new(), Some(State::Problem), "removes octets"),
            ("header_size_limit = 2000\n", String::new(), Some(State::Warning), "cut off"),
            ("smtp_line_length_limit = 80\n", String::new(), Some(State::Problem), "breaks long lines"),
            ("smtp_line_length_limit = 0\n", String::new(), None, ""),
        ] {
            let found = findings(main, &overrides);
            let got: Vec<State> = found.iter().map(|finding| finding.state).collect();
            assert_eq!(got, state.into_iter().collect::<Vec<_>>(), "{main} {overrides}: {found:#?}");
            assert!(found.iter().all(|finding| finding.detail.contains(says)), "{main}: {found:#?}");
        }
    }
}
