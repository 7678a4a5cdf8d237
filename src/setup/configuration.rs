//! The gateway's configuration, as setup writes it, and what one that is there already says of the ways of mail. Text in, text
//! out: no file is looked at here.

use std::path::Path;

use attachment_seal::domain::DomainName;

use super::wiring::{NotUnderstood, Wanted, Way};
use crate::config::{Config, Host, ListenAddress, Listener, Mode, NextHop, Server};

/// Where the gateway keeps its state unless the configuration says otherwise.
pub const STATE: &str = "/var/lib/waxseal";

/// The greatest message where Postfix sets no limit, in octets.
const UNLIMITED: u64 = 1000 << 20;

/// What the configuration is written from.
#[derive(Clone, Debug)]
pub(super) struct Site<'a> {
    /// Our name; `None` for the system's own.
    pub(super) hostname: Option<DomainName>,
    pub(super) state: &'a Path,
    pub(super) wanted: Wanted,
    /// The sealing domain and the folder of its keys.
    pub(super) domain: Option<(&'a DomainName, &'a Path)>,
    /// Whom to tell about held mail.
    pub(super) alert: Option<&'a str>,
    /// Postfix's `message_size_limit`, in octets; 0 for none.
    pub(super) message_size: u64,
}

/// The whole file.
pub(super) fn text(site: &Site<'_>) -> String {
    let mut text = String::from(
        "# Written by `waxseal setup`. Change it as you like: setup then leaves it alone. `waxseal check-config` finds mistakes,\n\
         # and `systemctl reload waxseal` puts a change in force. config/waxseal.toml of the source explains every setting.\n",
    );
    if let Some(hostname) = &site.hostname {
        text += &format!("hostname = {}\n", quoted(hostname.as_str()));
    }
    if site.state != Path::new(STATE) {
        text += &format!("state = {}\n", quoted(&site.state.display().to_string()));
    }
    if let Some(way) = site.wanted.seal {
        text += "\n# Mail of your users, on its way out.\n";
        text += &listener("outbound", "seal", way);
    }
    if let Some(way) = site.wanted.verify {
        text += "\n# Mail that arrives. To try things out without holding any mail, set mode = \"observe\" in a section [policy].\n";
        text += &listener("inbound", "verify", way);
        text += "# Only Postfix may connect.\nclients = [\"127.0.0.0/8\", \"::1/128\"]\n";
    }
    if let Some((name, keys)) = site.domain {
        let (name, keys) = (quoted(name.as_str()), quoted(&keys.display().to_string()));
        text += &format!("\n[[domain]]\nname = {name}\nkeys = {keys}\n");
    }
    let size = if site.message_size == 0 { UNLIMITED } else { site.message_size };
    text += &format!(
        "\n[limits]\n# All sessions come from one address, Postfix's.\nconnections_per_client = 500\n\
         # The same as Postfix's message_size_limit.\nmessage_size = {size}\n"
    );
    if let Some(to) = site.alert
        && let Some(way) = site.wanted.seal.or(site.wanted.verify)
    {
        let to = quoted(to);
        text += &format!(
            "\n[alerts]\nto = {to}\n# Where Postfix takes mail back: alerts do not pass the gateway again.\n\
             next_hop = \"127.0.0.1:{}\"\n",
            way.back
        );
    }
    text
}

fn listener(name: &str, mode: &str, way: Way) -> String {
    format!(
        "[[listener]]\nname = \"{name}\"\nmode = \"{mode}\"\nlisten = [\"127.0.0.1:{}\"]\nnext_hop = \"127.0.0.1:{}\"\n\
         # Postfix logs the true client there, too.\nxforward = true\n",
        way.gateway, way.back
    )
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Whether a configuration sets nothing: every line is empty or a comment.
pub(super) fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

/// The way through the first listener of a mode; `None` where there is none.
pub(super) fn way(config: &Config, mode: Mode) -> Result<Option<Way>, NotUnderstood> {
    let Some(listener) = config.listeners.iter().find(|listener| listener.mode == mode) else {
        return Ok(None);
    };
    let (Some(gateway), Some(back)) = (listens_at(listener), back(listener)) else {
        return Err(NotUnderstood(format!(
            "the listener `{}` of the configuration does not lead from one port of 127.0.0.1 to another",
            listener.name
        )));
    };
    Ok(Some(Way { gateway, back }))
}

fn listens_at(listener: &Listener) -> Option<u16> {
    listener.listen.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) if address.ip().is_loopback() || address.ip().is_unspecified() => {
            Some(address.port()).filter(|port| *port != 0)
        }
        _ => None,
    })
}

fn back(listener: &Listener) -> Option<u16> {
    let NextHop::Server(Server { host, port }) = &listener.next_hop else { return None };
    let is_here = match host {
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => name.as_str() == "localhost",
    };
    is_here.then_some(*port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_says_the_same() {
        let domain: DomainName = "example.org".parse().unwrap();
        let (seal, verify) = (Way { gateway: 10025, back: 10026 }, Way { gateway: 10028, back: 10027 });
        for wanted in [
            Wanted { seal: Some(seal), verify: Some(verify), sendmail: true },
            Wanted { seal: Some(seal), ..Wanted::default() },
            Wanted { verify: Some(verify), ..Wanted::default() },
        ] {
            let keys = Path::new("/etc/waxseal/keys/\"odd\"/example.org");
            let site = Site {
                hostname: "mail.example.org".parse().ok(),
                state: Path::new("/srv/state"),
                wanted,
                domain: wanted.seal.map(|_| (&domain, keys)),
                alert: Some("postmaster@example.org"),
                message_size: 0,
            };
            let text = text(&site);
            assert!(!is_blank(&text));
            let config =
                crate::config::parse(&text, Path::new("/x/waxseal.toml"), std::iter::empty()).unwrap();
            assert!(config.warnings.is_empty(), "{:?}", config.warnings);
            assert_eq!(way(&config, Mode::Seal), Ok(wanted.seal));
            assert_eq!(way(&config, Mode::Verify), Ok(wanted.verify));
            assert_eq!(config.state.folder, Path::new("/srv/state"));
            assert_eq!(config.alerts.unwrap().to, "postmaster@example.org");
            assert_eq!(config.domains.len(), usize::from(wanted.seal.is_some()));
        }
    }

    #[test]
    fn a_file_of_comments_sets_nothing() {
        assert!(is_blank("") && is_blank("# hostname = \"a\"\n\n  # [[listener]]\n"));
        assert!(!is_blank("# a\nhostname = \"a.example\"\n"));
    }

    #[test]
    fn a_way_that_leaves_this_machine_is_not_ours() {
        let config = |listen: &str, hop: &str| {
            let text = format!(
                "hostname = \"a.example\"\n[[listener]]\nname = \"in\"\nmode = \"verify\"\nlisten = [\"{listen}\"]\nnext_hop = \"{hop}\"\n"
            );
            crate::config::parse(&text, Path::new("/x/waxseal.toml"), std::iter::empty()).unwrap()
        };
        for (listen, hop) in [
            ("127.0.0.1:10028", "mail.example.org:25"),
            ("unix:/run/in.sock", "127.0.0.1:10027"),
            ("192.0.2.1:25", "127.0.0.1:10027"),
        ] {
            assert!(way(&config(listen, hop), Mode::Verify).is_err(), "{listen} {hop}");
        }
    }
}
