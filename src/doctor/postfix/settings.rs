//! Postfix's settings as `postconf` prints them, and what each service makes of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::{ListenAddress, Listener};

/// One line of master.cf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// As it is written, such as `127.0.0.1:10026`.
    pub(crate) name: String,
    /// `inet`, `unix`, …
    pub(crate) kind: String,
    /// Whether it sees the queue folder as `/`: `y`, `n`, or `-` for the default.
    pub(crate) chroot: String,
    /// The program, such as `smtpd`.
    pub(crate) program: String,
}

impl Service {
    /// What `postconf -P` calls it.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.name, self.kind)
    }

    /// Whether only this machine can connect to it.
    pub(super) fn is_local(&self) -> bool {
        let host = self.name.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The port of a TCP service.
    pub(crate) fn port(&self) -> Option<u16> {
        if self.kind != "inet" {
            return None;
        }
        match self.name.rsplit(':').next()? {
            "smtp" => Some(25),
            "submission" => Some(587),
            "smtps" | "submissions" => Some(465),
            port => port.parse().ok(),
        }
    }
}

/// The settings in main.cf and master.cf.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The services.
    pub(crate) services: Vec<Service>,
    /// main.cf and defaults, `$names` resolved.
    resolved: HashMap<String, String>,
    /// Overrides, by service and parameter.
    overrides: HashMap<(String, String), String>,
    /// main.cf and defaults as they are written.
    written: HashMap<String, String>,
}

impl Settings {
    /// From what `postconf -M`, `postconf -Px`, `postconf -x` and `postconf` print.
    pub(crate) fn parse(services: &str, overrides: &str, resolved: &str, written: &str) -> Self {
        Self {
            services: services.lines().filter_map(service).collect(),
            overrides: lines(overrides)
                .filter_map(|(path, value)| {
                    let (service, parameter) = path.rsplit_once('/')?;
                    Some(((service.to_owned(), parameter.to_owned()), value))
                })
                .collect(),
            resolved: lines(resolved).collect(),
            written: lines(written).collect(),
        }
    }

    /// What a parameter is to a service; empty where Postfix does not know it.
    pub(crate) fn of(&self, service: &str, parameter: &str) -> &str {
        if let Some(value) = self.overrides.get(&(service.to_owned(), parameter.to_owned())) {
            return value;
        }
        // `mime_header_checks = $header_checks`: an override of the one is one of the other.
        if let Some(other) = self.written.get(parameter).and_then(|value| value.strip_prefix('$'))
            && self.overrides.contains_key(&(service.to_owned(), other.to_owned()))
        {
            return self.of(service, other);
        }
        self.main(parameter)
    }

    /// What a parameter is where no service overrides it.
    pub(crate) fn main(&self, parameter: &str) -> &str {
        self.resolved.get(parameter).map_or("", String::as_str)
    }

    /// Whether a service sets a parameter itself.
    pub(crate) fn overrides(&self, service: &str, parameter: &str) -> bool {
        self.overrides.contains_key(&(service.to_owned(), parameter.to_owned()))
    }

    /// What a service sets itself, by parameter.
    pub(crate) fn overrides_of(&self, service: &str) -> Vec<(&str, &str)> {
        let own = self.overrides.iter().filter(|((of, _), _)| of == service);
        let mut own: Vec<_> = own.map(|((_, name), value)| (name.as_str(), value.as_str())).collect();
        own.sort_unstable();
        own
    }

    /// Those services to which a parameter leads mail to this port of this machine.
    pub(crate) fn leading_to(&self, port: u16) -> Vec<&Service> {
        let leads = |service: &&Service| {
            ["smtpd_proxy_filter", "content_filter", "relayhost", "default_transport"]
                .iter()
                .any(|parameter| ends_in_port(self.of(&service.id(), parameter), port))
        };
        self.services.iter().filter(leads).collect()
    }

    /// The first of these parameters that has a service hand its mail to this listener, and its value.
    pub(super) fn way<'a>(
        &'a self,
        service: &Service,
        parameters: &[&'static str],
        listener: &Listener,
    ) -> Option<(&'static str, &'a str)> {
        let values = parameters.iter().map(|parameter| (*parameter, self.of(&service.id(), parameter)));
        values.into_iter().find(|(_, value)| self.leads(value, listener))
    }

    /// Whether a destination such as `waxseal:[127.0.0.1]:10025` or `unix:/run/waxseal/in.sock` is this listener.
    pub(super) fn leads(&self, destination: &str, listener: &Listener) -> bool {
        listener.listen.iter().any(|address| match address {
            ListenAddress::Tcp(address) => address.port() != 0 && ends_in_port(destination, address.port()),
            ListenAddress::Unix(path) => {
                socket(destination).is_some_and(|named| named == path || self.in_queue(named) == *path)
            }
        })
    }

    /// Whether a service can reach a socket that a destination of its names.
    pub(super) fn can_reach(&self, service: &Service, destination: &str, listener: &Listener) -> bool {
        let Some(named) = socket(destination) else { return true };
        let is_there = |path: &Path| {
            listener.listen.iter().any(|address| matches!(address, ListenAddress::Unix(own) if own == path))
        };
        // Postfix 3 leaves the chroot out by default, unless it is to behave like an older one.
        let is_old = self.main("compatibility_level").split('.').next() == Some("0");
        let is_inside = (service.chroot == "y" || service.chroot == "-" && is_old) || named.is_relative();
        if is_inside { is_there(&self.in_queue(named)) } else { is_there(named) }
    }

    /// A path as a service in the queue folder sees it.
    fn in_queue(&self, path: &Path) -> PathBuf {
        Path::new(self.main("queue_directory")).join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The servers that take mail from the Internet: those at port 25, or that postscreen there hands clients to.
    pub(super) fn public(&self) -> Vec<&Service> {
        let is_loopback_only =
            ["loopback-only", "localhost", "127.0.0.1"].contains(&self.main("inet_interfaces"));
        let is_at_25 =
            |service: &&Service| service.port() == Some(25) && !service.is_local() && !is_loopback_only;
        let at_25: Vec<&Service> = self.services.iter().filter(is_at_25).collect();
        if at_25.iter().any(|service| service.program == "postscreen") {
            return self.services.iter().filter(|service| service.kind == "pass").collect();
        }
        at_25.into_iter().filter(|service| service.program == "smtpd").collect()
    }
}

/// The path of a socket that a destination names.
fn socket(destination: &str) -> Option<&Path> {
    let (before, path) = destination.rsplit_once(':')?;
    before.rsplit(':').next().filter(|word| *word == "unix").map(|_| Path::new(path))
}

/// Whether a destination such as `waxseal:[127.0.0.1]:10025` ends in this port.
pub(crate) fn ends_in_port(destination: &str, port: u16) -> bool {
    destination.rsplit(':').next().and_then(|last| last.trim().parse().ok()) == Some(port)
}

/// The words of a list; braces keep together.
pub(crate) fn words(list: &str) -> Vec<String> {
    let (mut words, mut word, mut depth) = (Vec::new(), String::new(), 0_u32);
    for c in list.chars().chain([' ']) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && (c == ',' || c.is_whitespace()) {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.push(c);
        }
    }
    words
}

fn service(line: &str) -> Option<Service> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, kind, _, _, chroot, _, _, program, ..] = words[..] else { return None };
    let [name, kind, chroot, program] = [name, kind, chroot, program].map(str::to_owned);
    Some(Service { name, kind, chroot, program })
}

fn lines(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// As `postconf` prints a usual site.
    const SERVICES: &str = "\
smtp       inet  n       -       y       -       1       postscreen
smtpd      pass  -       -       y       -       -       smtpd
submission inet  n       -       n       -       -       smtpd -o smtpd_proxy_filter=127.0.0.1:10025
127.0.0.1:10026 inet n   -       -       -       -       smtpd -o smtpd_proxy_filter=
smtp       unix  -       -       n       -       -       smtp
";

    #[test]
    fn reads_what_postconf_prints() {
        let overrides = "submission/inet/smtpd_proxy_filter = 127.0.0.1:10025\n127.0.0.1:10026/inet/smtpd_proxy_filter =\n";
        let main = "smtpd_proxy_filter = unix:/run/waxseal/in.sock\nqueue_directory = /q\ncompatibility_level = 3.6\n";
        let settings = Settings::parse(SERVICES, overrides, main, "");
        let [_, passed, submission, back, _] = &settings.services[..] else { panic!("{settings:?}") };
        assert_eq!((submission.port(), back.port()), (Some(587), Some(10026)));
        assert!(back.is_local() && !submission.is_local());
        assert_eq!(settings.public(), [passed]);
        assert_eq!(settings.of(&submission.id(), "smtpd_proxy_filter"), "127.0.0.1:10025");
        assert_eq!(settings.of(&back.id(), "smtpd_proxy_filter"), "");
        let listener = |address: &str| {
            let text = format!(
                "[[listener]]\nname = \"x\"\nmode = \"verify\"\nlisten = [\"{address}\"]\nnext_hop = \"127.0.0.1:1\"\n"
            );
            let text = format!("hostname = \"a.example\"\n{text}");
            config::parse(&text, Path::new("/x/waxseal.toml"), std::iter::empty())
                .unwrap()
                .listeners
                .remove(0)
        };
        const FILTER: &[&str] = &["smtpd_proxy_filter"];
        let way = |service, address| settings.way(service, FILTER, &listener(address));
        assert_eq!(way(submission, "127.0.0.1:10025"), Some(("smtpd_proxy_filter", "127.0.0.1:10025")));
        assert_eq!(way(submission, "127.0.0.1:10028"), None);
        for (destination, address, from_chroot, from_outside) in [
            ("unix:/run/waxseal/in.sock", "unix:/run/waxseal/in.sock", false, true),
            ("lmtp:unix:/run/in.sock", "unix:/q/run/in.sock", true, false),
            ("unix:run/in.sock", "unix:/q/run/in.sock", true, true),
        ] {
            let listener = listener(address);
            assert!(settings.leads(destination, &listener), "{destination}");
            let can = |service| settings.can_reach(service, destination, &listener);
            assert_eq!((can(passed), can(back)), (from_chroot, from_outside), "{destination}");
        }
    }

    #[test]
    fn splits_lists_as_postfix_does() {
        assert_eq!(words("regexp:/a, pcre:/b"), ["regexp:/a", "pcre:/b"]);
        assert_eq!(words("inline:{ {a = b, c}, d } x"), ["inline:{ {a = b, c}, d }", "x"]);
        assert!(words(" , ").is_empty());
        assert!(ends_in_port("waxseal:[127.0.0.1]:10025", 10025) && !ends_in_port("x:110025", 10025));
    }
}
