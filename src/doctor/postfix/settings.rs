//! Postfix's settings as `postconf` prints them, and what each service makes of them.

use std::collections::HashMap;

/// One line of master.cf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// As it is written, such as `127.0.0.1:10026`.
    pub(crate) name: String,
    /// `inet`, `unix`, …
    pub(crate) kind: String,
    /// Whether it runs in the queue's folder: `y`, `n`, or `-` for the default.
    pub(crate) chroot: String,
    /// The program, such as `smtpd`.
    pub(crate) program: String,
}

impl Service {
    /// What `postconf -P` calls it.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.name, self.kind)
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
    /// The same as they are written.
    written: HashMap<String, String>,
    /// Overrides, by service and parameter.
    overrides: HashMap<(String, String), String>,
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
pub(super) mod tests {
    use super::*;

    /// As `postconf` prints a usual site.
    pub(in super::super) const SERVICES: &str = "\
submission inet  n       -       y       -       -       smtpd -o smtpd_proxy_filter=127.0.0.1:10025
127.0.0.1:10026 inet n   -       y       -       -       smtpd -o smtpd_proxy_filter=
pickup     unix  n       -       y       60      1       pickup
cleanup    unix  n       -       n       -       0       cleanup
smtp       unix  -       -       n       -       -       smtp
relay      unix  -       -       n       -       -       smtp
";

    #[test]
    fn reads_what_postconf_prints() {
        let overrides =
            "submission/inet/smtpd_proxy_filter = 127.0.0.1:10025\ncleanup/unix/header_checks =\n";
        let main = "header_checks = regexp:/x\nmime_header_checks = regexp:/x\nsmtpd_proxy_filter =\n";
        let written = "header_checks = regexp:/x\nmime_header_checks = $header_checks\n";
        let settings = Settings::parse(SERVICES, overrides, main, written);
        assert_eq!(settings.services.len(), 6);
        assert_eq!(settings.services[0].port(), Some(587));
        assert_eq!(settings.services[1].port(), Some(10026));
        assert_eq!((settings.services[2].chroot.as_str(), settings.services[3].chroot.as_str()), ("y", "n"));
        assert_eq!(settings.overrides_of("cleanup/unix"), [("header_checks", "")]);
        assert_eq!(settings.of("submission/inet", "smtpd_proxy_filter"), "127.0.0.1:10025");
        assert_eq!(settings.of("127.0.0.1:10026/inet", "smtpd_proxy_filter"), "");
        assert_eq!(settings.of("cleanup2/unix", "header_checks"), "regexp:/x");
        assert_eq!(settings.of("cleanup/unix", "mime_header_checks"), "", "it follows header_checks");
        let leading: Vec<&str> =
            settings.leading_to(10025).iter().map(|service| service.name.as_str()).collect();
        assert_eq!(leading, ["submission"]);
    }

    #[test]
    fn splits_lists_as_postfix_does() {
        assert_eq!(words("regexp:/a, pcre:/b"), ["regexp:/a", "pcre:/b"]);
        assert_eq!(words("inline:{ {a = b, c}, d } x"), ["inline:{ {a = b, c}, d }", "x"]);
        assert!(words(" , ").is_empty());
        assert!(ends_in_port("waxseal:[127.0.0.1]:10025", 10025) && !ends_in_port("x:110025", 10025));
    }
}
