//! The ways that mail takes through Postfix to the gateway and past it. What Postfix does to a message further on is not
//! guessed from its settings: a probe goes that way, and shows it.

use std::net::SocketAddr;

use super::super::finding::Subject;
use super::super::is_open;
use super::by_probe;
use super::settings::{Service, Settings};
use crate::config::{Config, ListenAddress, Listener, Mode};
use crate::monitoring::ask::connectable;

/// Parameters that have a message filtered.
const FILTERS: [&str; 2] = ["smtpd_proxy_filter", "content_filter"];

/// Parameters that lead mail to another server: filters, relays, and the ways that mail is delivered.
const WAYS: [&str; 8] = [
    "smtpd_proxy_filter",
    "content_filter",
    "relayhost",
    "default_transport",
    "relay_transport",
    "virtual_transport",
    "local_transport",
    "mailbox_transport",
];

/// The transport of deploy/postfix/submission/master-content-filter.cf.
const TRANSPORT: &str = "waxseal";

/// One look at Postfix.
pub(super) struct Look<'a> {
    pub(super) settings: &'a Settings,
    /// `postconf`, with its `-c` where it needs one.
    pub(super) postconf: &'a str,
    pub(super) config: &'a Config,
}

impl Look<'_> {
    /// Whether those services that hand mail to a listener can do so: by a transport that is there, and by a socket that
    /// they see from their chroot.
    pub(super) fn reach(&self, listener: &Listener, subject: &mut Subject<'_>) {
        let mut said = Vec::new();
        for service in self.settings.services.iter().filter(|service| takes_mail(service)) {
            for parameter in WAYS {
                let value = self.settings.of(&service.id(), parameter);
                let client = match transport(parameter, value) {
                    _ if !self.settings.leads(value, listener) => continue,
                    None => Some(service),
                    Some(name) => self.transport(name),
                };
                let way = (value, client.map(Service::id));
                if said.contains(&way) {
                    continue;
                }
                said.push(way);
                match (client, transport(parameter, value)) {
                    (None, Some(name)) => subject.problem(
                        format!(
                            "{parameter} = {value}, but master.cf has no transport `{name}`: that mail stays in the \
                             queue (\"mail transport unavailable\")"
                        ),
                        format!("{} && {} reload", self.make_transport(name), self.postfix()),
                    ),
                    (Some(client), _) if !self.settings.can_reach(client, value, listener) => subject.problem(
                        format!(
                            "{parameter} = {value}, but `{}` runs in a chroot (fifth column of master.cf) and cannot see \
                             that socket: such mail is deferred",
                            client.id()
                        ),
                        format!(
                            "{} -F '{}/chroot=n' && {} reload",
                            self.postconf,
                            client.id(),
                            self.postfix()
                        ),
                    ),
                    _ => {}
                }
            }
        }
    }

    /// Whether the smtpd that takes mail back from the gateway hands it to the gateway again.
    pub(super) fn circles(&self, back: &Service, subject: &mut Subject<'_>) {
        for parameter in FILTERS {
            let value = self.settings.of(&back.id(), parameter);
            if self.config.listeners.iter().any(|listener| self.settings.leads(value, listener)) {
                subject.problem(
                    format!("{parameter} = {value} at `{}`: mail goes round in circles", back.name),
                    self.set(back, parameter, ""),
                );
            }
        }
    }

    /// Ways for users' mail to leave without passing a sealing listener.
    pub(super) fn beside_sealing(
        &self,
        listener: &Listener,
        back: Option<&Service>,
        subject: &mut Subject<'_>,
    ) {
        if is_open(listener) {
            return subject.ok("users' mail programs connect to this listener themselves");
        }
        let way = |service: &Service| self.settings.way(service, &WAYS, listener);
        let leading = self.settings.services.iter().find_map(way);
        let Some(leading) = leading else {
            return subject.not_checked(
                "whether users' mail passes this listener: nothing in main.cf or master.cf leads there; \
                 perhaps programs submit it themselves",
            );
        };
        let is_submission = |service: &&Service| {
            service.program == "smtpd"
                && back.is_none_or(|back| back.id() != service.id())
                && self.settings.of(&service.id(), "smtpd_sasl_auth_enable") == "yes"
        };
        let is_unsealed = |service: &&Service| way(service).is_none();
        let submissions = self.settings.services.iter().filter(is_submission);
        for service in submissions.filter(is_unsealed) {
            let (parameter, value) = leading;
            subject.warning(
                format!("users who log in at `{}` send mail that is not sealed", service.name),
                self.set(service, parameter, value),
            );
        }
        let pickup = self.settings.services.iter().find(|service| service.program == "pickup");
        if let Some(pickup) = pickup.filter(is_unsealed)
            && let Some(address) = tcp(listener).next()
        {
            let filter = format!("{TRANSPORT}:[{}]:{}", address.ip(), address.port());
            let set = self.set(pickup, "content_filter", &filter);
            subject.warning(
                "mail that programs on this machine hand in by `sendmail` is not sealed",
                // Without its transport that mail would not leave at all.
                if self.transport(TRANSPORT).is_some() {
                    set
                } else {
                    format!("{} && {set}", self.make_transport(TRANSPORT))
                },
            );
        }
    }

    /// Ways for mail from the Internet to arrive without passing a verifying listener.
    pub(super) fn beside_verifying(&self, listener: &Listener, subject: &mut Subject<'_>) {
        if has_port_25(listener) {
            return subject.ok("mail from the Internet comes to this listener first");
        }
        let public = self.settings.public();
        if public.is_empty() {
            return by_probe(listener, "no smtpd of this Postfix takes mail at port 25", subject);
        }
        let verifying = || self.config.listeners.iter().filter(|listener| listener.mode == Mode::Verify);
        let is_verified = |service: &&Service| {
            verifying().any(|listener| self.settings.way(service, &WAYS, listener).is_some())
        };
        for service in public.into_iter().filter(|service| !is_verified(service)) {
            let maps = self.settings.of(&service.id(), "transport_maps");
            if !maps.is_empty() {
                return by_probe(listener, &format!("transport_maps = {maps} may lead there"), subject);
            }
            let address = address(listener);
            subject.problem(
                format!(
                    "mail that arrives at `{}` (port 25) bypasses the gateway: neither smtpd_proxy_filter nor \
                     content_filter nor a transport leads to {address}",
                    service.id()
                ),
                format!(
                    "{} (deploy/postfix/proxy-filter/master.cf has the whole wiring)",
                    self.set(service, "smtpd_proxy_filter", &address)
                ),
            );
        }
    }

    /// Whether Postfix's other filters write their results under the gateway's name. Many mail programs believe the topmost
    /// name alone.
    pub(super) fn names(&self, subject: &mut Subject<'_>) {
        let (ours, theirs) = (self.config.hostname.as_str(), self.settings.main("myhostname"));
        let milters = |service: &Service| self.settings.of(&service.id(), "smtpd_milters");
        let filtering = self
            .settings
            .services
            .iter()
            .find(|service| service.program == "smtpd" && !milters(service).is_empty());
        if let Some(service) = filtering.filter(|_| !ours.eq_ignore_ascii_case(theirs)) {
            subject.warning(
                format!(
                    "smtpd_milters = {}: Postfix's filters write Authentication-Results as {theirs}, the gateway as {ours}. Mail \
                     programs that trust only the topmost name (Thunderbird's DKIM Verifier) ignore the others' results",
                    milters(service)
                ),
                format!("hostname = \"{theirs}\" in waxseal.toml, then systemctl reload waxseal"),
            );
        }
    }

    fn transport(&self, name: &str) -> Option<&Service> {
        self.settings.services.iter().find(|service| service.name == name && service.kind == "unix")
    }

    /// As deploy/postfix/submission/master-content-filter.cf has it.
    fn make_transport(&self, name: &str) -> String {
        let program = if name == "lmtp" { "lmtp" } else { "smtp" };
        format!(
            "{} -M '{name}/unix={name} unix - - n - 20 {program} -o syslog_name=postfix/{name} -o smtp_tls_security_level=none \
             -o smtp_send_xforward_command=yes -o smtp_data_done_timeout=600s'",
            self.postconf
        )
    }

    fn set(&self, service: &Service, parameter: &str, value: &str) -> String {
        format!("{} -P '{}/{parameter}={value}' && {} reload", self.postconf, service.id(), self.postfix())
    }

    fn postfix(&self) -> String {
        self.postconf.replacen("postconf", "postfix", 1)
    }
}

/// Whether a service lets mail into Postfix.
fn takes_mail(service: &Service) -> bool {
    ["smtpd", "pickup", "qmqpd"].contains(&service.program.as_str())
}

/// The transport of a value such as `waxseal:[127.0.0.1]:10025`; `None` where the service itself connects, or the usual one.
fn transport<'a>(parameter: &str, value: &'a str) -> Option<&'a str> {
    if ["smtpd_proxy_filter", "relayhost"].contains(&parameter) {
        return None;
    }
    value.split_once(':').map(|(name, _)| name)
}

/// Whether a listener takes mail from the Internet itself.
fn has_port_25(listener: &Listener) -> bool {
    tcp(listener).any(|address| address.port() == 25)
}

fn tcp(listener: &Listener) -> impl Iterator<Item = SocketAddr> {
    listener.listen.iter().filter_map(|address| match address {
        ListenAddress::Tcp(address) => Some(connectable(*address)),
        ListenAddress::Unix(_) => None,
    })
}

/// A listener's first address as a proxy filter names it.
fn address(listener: &Listener) -> String {
    match (tcp(listener).next(), listener.listen.first()) {
        (Some(address), _) => address.to_string(),
        (None, Some(socket)) => socket.to_string(),
        (None, None) => String::new(),
    }
}
