//! From what a Postfix is to the lines of master.cf that lead its mail through the gateway, as `deploy/postfix` has them. Nothing
//! is looked at or changed here: settings in, edits out, or the reason why this Postfix is not understood.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::doctor::postfix::settings::{Service, Settings, ends_in_port, words};

/// The transport that takes mail from the queue to the gateway.
pub(super) const TRANSPORT: &str = "waxseal";

/// The way through one listener of the gateway: both ports are on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Where the gateway listens.
    pub(super) gateway: u16,
    /// Where Postfix takes the mail back.
    pub(super) back: u16,
}

/// What the gateway is wanted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Mail that users submit is sealed on this way.
    pub(super) seal: Option<Way>,
    /// Mail that arrives at port 25 is checked on this way.
    pub(super) verify: Option<Way>,
    /// Mail that programs of this machine hand in by `sendmail` is sealed, too.
    pub(super) sendmail: bool,
}

/// One change of master.cf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Edit {
    /// A new entry.
    Entry {
        /// Its first seven fields and its program, as `postconf -M` takes them.
        fields: String,
        /// Its `-o` lines.
        options: Vec<(String, String)>,
    },
    /// An `-o` line of an entry that is there.
    Option {
        /// The entry: `smtp/inet`.
        entry: String,
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// What the entry set it to before, if it did.
        before: Option<String>,
    },
}

impl Edit {
    /// The entry, as `postconf -P` calls it.
    pub(super) fn entry(&self) -> String {
        match self {
            Self::Entry { fields, .. } => {
                let mut fields = fields.split_whitespace();
                format!("{}/{}", fields.next().unwrap_or_default(), fields.next().unwrap_or_default())
            }
            Self::Option { entry, .. } => entry.clone(),
        }
    }
}

/// What is to be done, and what the administrator should know about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wiring {
    /// The changes; none where all is as it should be.
    pub(super) edits: Vec<Edit>,
    /// Sentences for the administrator: mail that bypasses the gateway, filters that moved.
    pub(super) notes: Vec<String>,
}

/// Why setup does not touch a Postfix.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotUnderstood(pub String);

/// The changes that lead mail through the gateway.
pub(super) fn wire(settings: &Settings, wanted: Wanted) -> Result<Wiring, NotUnderstood> {
    let mut plan = Plan { settings, wiring: Wiring::default() };
    plan.check_whole()?;
    if let Some(way) = wanted.verify {
        plan.verify(way)?;
    }
    if let Some(way) = wanted.seal {
        plan.seal(way, wanted.sendmail)?;
    }
    if wanted.seal.is_some() && wanted.verify.is_some() {
        plan.note(
            "Mail that other machines hand to port 25 to be sent on is checked, and not sealed. Let them use port 587 before you \
             publish the policy record: afterwards the gateway would hold what they send in your domain's name.",
        );
    }
    Ok(plan.wiring)
}

/// The usual changes, for an administrator who makes them by hand.
pub(super) fn by_hand(wanted: Wanted) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut lead = |way, entry: &str, is_front, options| {
        edits.extend(
            before_queue(way, is_front).into_iter().map(|(name, value)| option(entry, name, &value, None)),
        );
        edits.push(Edit::Entry { fields: fields(way.back, "y"), options });
    };
    if let Some(way) = wanted.verify {
        lead(way, "smtp/inet", true, verified(false));
    }
    if let Some(way) = wanted.seal {
        lead(way, "submission/inet", false, sealed(false));
    }
    edits
}

/// Edits as lines for people, entry by entry.
pub(super) fn shown(edits: &[Edit]) -> String {
    let mut text = String::new();
    let mut last = None;
    for edit in edits {
        match edit {
            Edit::Entry { fields, options } => {
                let _ = writeln!(text, "a new entry:\n    {fields}");
                for (name, value) in options {
                    let _ = writeln!(text, "        -o {name}={value}");
                }
                last = None;
            }
            Edit::Option { entry, name, value, .. } => {
                if last != Some(entry) {
                    let _ = writeln!(text, "in the entry `{}`:", entry.replace('/', " "));
                }
                last = Some(entry);
                let _ = writeln!(text, "        -o {name}={value}");
            }
        }
    }
    text
}

/// How to take edits back by hand.
pub(super) fn shown_undone(edits: &[Edit]) -> String {
    let mut text = String::new();
    for edit in edits {
        let entry = edit.entry().replace('/', " ");
        let _ = match edit {
            Edit::Entry { .. } => writeln!(text, "    remove the entry `{entry}` with all its -o lines"),
            Edit::Option { name, before: Some(before), .. } => {
                writeln!(text, "    in the entry `{entry}` set -o {name}={before}")
            }
            Edit::Option { name, value, before: None, .. } => {
                writeln!(text, "    in the entry `{entry}` remove -o {name}={value}")
            }
        };
    }
    text
}

/// Parameters by which mail is changed or looked at by the cleanup of the smtpd that took it. A before-queue filter would
/// leave them out, or have them act after the seal.
const REWRITING: [&str; 8] = [
    "header_checks",
    "mime_header_checks",
    "nested_header_checks",
    "body_checks",
    "canonical_maps",
    "sender_canonical_maps",
    "masquerade_domains",
    "remote_header_rewrite_domain",
];

/// What main.cf may set for clients from elsewhere, and what the smtpd that takes mail back needs instead.
const NEUTRAL: [(&str, &str); 7] = [
    ("smtpd_upstream_proxy_protocol", ""),
    ("smtpd_tls_wrappermode", "no"),
    ("smtpd_command_filter", ""),
    ("smtpd_reject_unlisted_sender", "no"),
    ("smtpd_client_message_rate_limit", "0"),
    ("smtpd_client_recipient_rate_limit", "0"),
    ("smtpd_client_new_tls_session_rate_limit", "0"),
];

/// What goes from a submission service to the smtpd that takes its mail back.
#[derive(Clone)]
struct Filters {
    milters: String,
    /// `milter_…` of that service.
    options: Vec<(String, String)>,
    chroot: String,
}

struct Plan<'a> {
    settings: &'a Settings,
    wiring: Wiring,
}

impl Plan<'_> {
    fn note(&mut self, note: impl Into<String>) {
        self.wiring.notes.push(note.into());
    }

    fn main(&self, parameter: &str) -> &str {
        self.settings.main(parameter)
    }

    /// What concerns every service.
    fn check_whole(&self) -> Result<(), NotUnderstood> {
        for parameter in ["content_filter", "smtpd_proxy_filter", "receive_override_options"] {
            let value = self.main(parameter);
            if !value.is_empty() {
                let why =
                    "mail already passes another filter, and setup cannot tell where the gateway belongs";
                return Err(NotUnderstood(format!("main.cf has {parameter} = {value}: {why}")));
            }
        }
        let protocols = words(self.main("inet_protocols"));
        if !protocols.iter().any(|name| name == "all" || name == "ipv4") {
            let why = "the gateway and Postfix would not reach each other at 127.0.0.1";
            return Err(NotUnderstood(format!("inet_protocols = {}: {why}", protocols.join(", "))));
        }
        let disabled = words(self.main("master_service_disable"));
        if disabled.iter().any(|name| name == "inet" || name.ends_with(".inet") || name.ends_with("/inet")) {
            let value = disabled.join(", ");
            return Err(NotUnderstood(format!(
                "master_service_disable = {value}: this Postfix takes no mail by SMTP"
            )));
        }
        Ok(())
    }

    /// The services that take mail at port 25; after postscreen it is the one that it passes clients to.
    fn front(&self) -> Vec<Service> {
        let at_25 = |service: &&Service| service.port() == Some(25);
        let services = &self.settings.services;
        let is_screened = services.iter().filter(at_25).any(|service| service.program == "postscreen");
        let takes = |service: &&Service| {
            service.program == "smtpd" && (at_25(service) || (is_screened && service.kind == "pass"))
        };
        services.iter().filter(takes).cloned().collect()
    }

    /// The services that take mail from users: ports 587 and 465, and others at which users log in.
    fn submissions(&self) -> Vec<Service> {
        let takes = |service: &&Service| {
            let logs_in = || self.settings.overrides(&service.id(), "smtpd_sasl_auth_enable");
            let is_on = || self.settings.of(&service.id(), "smtpd_sasl_auth_enable") == "yes";
            service.program == "smtpd"
                && match service.port() {
                    Some(465 | 587) => true,
                    Some(25) | None => false,
                    Some(_) => logs_in() && is_on(),
                }
        };
        self.settings.services.iter().filter(takes).cloned().collect()
    }

    /// How a service leads to the gateway already, if it does: by this parameter.
    fn led(&self, id: &str, way: Way) -> Option<&'static str> {
        let leads = |parameter: &&'static str| ends_in_port(self.settings.of(id, parameter), way.gateway);
        ["smtpd_proxy_filter", "content_filter"].into_iter().find(|parameter| leads(parameter))
    }

    /// No other filter may be in the place where ours belongs.
    fn check_free(&self, id: &str) -> Result<(), NotUnderstood> {
        let entry = id.replace('/', " ");
        for parameter in ["smtpd_proxy_filter", "content_filter"] {
            let value = self.settings.of(id, parameter);
            if !value.is_empty() {
                let why =
                    "mail already passes another filter, and setup cannot tell where the gateway belongs";
                return Err(NotUnderstood(format!("`{entry}` has {parameter} = {value}: {why}")));
            }
        }
        let overrides = words(self.settings.of(id, "receive_override_options"));
        if let Some(other) = overrides.iter().find(|option| *option != "no_unknown_recipient_checks") {
            let why = "setup cannot tell which service does that work instead";
            return Err(NotUnderstood(format!("`{entry}` has receive_override_options = {other}: {why}")));
        }
        Ok(())
    }

    /// Why mail must be in the queue before the gateway gets it, if it must.
    fn rewriting(&self, id: &str) -> Option<String> {
        let cleanup = self.settings.of(id, "cleanup_service_name");
        if !["", "cleanup"].contains(&cleanup) {
            return Some(format!("cleanup_service_name = {cleanup}"));
        }
        let set = REWRITING.into_iter().find(|name| !self.settings.of("cleanup/unix", name).is_empty());
        if let Some(name) = set {
            return Some(name.to_owned());
        }
        let clients = self.settings.of(id, "local_header_rewrite_clients");
        if !["", "permit_inet_interfaces"].contains(&clients) {
            return Some("local_header_rewrite_clients".to_owned());
        }
        (self.main("always_add_missing_headers") == "yes").then(|| "always_add_missing_headers".to_owned())
    }

    fn option(&mut self, entry: &str, name: &str, value: &str) {
        let own = self.settings.overrides(entry, name).then(|| self.settings.of(entry, name).to_owned());
        if own.as_deref() != Some(value) {
            self.wiring.edits.push(option(entry, name, value, own));
        }
    }

    /// The smtpd that takes mail back, unless something has that port already: then it was set up before.
    fn take_back(
        &mut self,
        way: Way,
        chroot: &str,
        mut options: Vec<(String, String)>,
    ) -> Result<(), NotUnderstood> {
        let there = self.settings.services.iter().find(|service| service.port() == Some(way.back));
        if let Some(service) = there {
            if service.program == "smtpd" && self.led(&service.id(), way).is_none() {
                return Ok(());
            }
            return Err(NotUnderstood(format!(
                "`{}` of master.cf has port {}, at which Postfix must take mail back from the gateway",
                service.id().replace('/', " "),
                way.back
            )));
        }
        for (name, value) in NEUTRAL {
            let found = self.main(name);
            if !found.is_empty() && found != value {
                options.push((name.to_owned(), value.to_owned()));
            }
        }
        self.wiring.edits.push(Edit::Entry { fields: fields(way.back, chroot), options });
        Ok(())
    }

    fn transport(&mut self) {
        let is_there = |service: &Service| service.name == TRANSPORT && service.kind == "unix";
        let is_planned = |edit: &Edit| edit.entry() == format!("{TRANSPORT}/unix");
        if self.settings.services.iter().any(is_there) || self.wiring.edits.iter().any(is_planned) {
            return;
        }
        let options = pairs(&[
            ("syslog_name", "postfix/waxseal"),
            ("smtp_tls_security_level", "none"),
            ("smtp_tls_wrappermode", "no"),
            ("smtp_sasl_auth_enable", "no"),
            ("smtp_bind_address", ""),
            // Mail must not leave unsealed where the gateway is down.
            ("smtp_fallback_relay", ""),
            ("smtp_send_xforward_command", "yes"),
            // Longer than the gateway's next_hop_timeout.
            ("smtp_data_done_timeout", "600s"),
        ]);
        self.wiring.edits.push(Edit::Entry { fields: format!("{TRANSPORT} unix - - n - 20 smtp"), options });
    }

    /// Leads a service's mail to the gateway, before the queue or after it.
    fn lead(&mut self, id: &str, way: Way, after_queue: bool, is_front: bool) {
        if after_queue {
            self.transport();
            self.option(id, "content_filter", &filter(way));
        } else {
            for (name, value) in before_queue(way, is_front) {
                self.option(id, name, &value);
            }
        }
    }

    /// Mail that arrives. Milters keep seeing its clients at port 25 and its content, which a before-queue filter would keep
    /// from them: with milters the gateway gets it from the queue.
    fn verify(&mut self, way: Way) -> Result<(), NotUnderstood> {
        let front = self.front();
        let Some(first) = front.first() else {
            return Err(NotUnderstood("master.cf has no smtpd at port 25".to_owned()));
        };
        let chroot = first.chroot.clone();
        let mut after_queue = false;
        for service in &front {
            let id = service.id();
            match self.led(&id, way) {
                Some(parameter) => after_queue |= parameter == "content_filter",
                None => {
                    self.check_free(&id)?;
                    let cleanup = self.settings.of(&id, "cleanup_service_name");
                    let has_milters = !self.settings.of(&id, "smtpd_milters").is_empty();
                    after_queue |= has_milters || !["", "cleanup"].contains(&cleanup);
                }
            }
        }
        for service in &front {
            let id = service.id();
            if self.led(&id, way).is_some() {
                continue;
            }
            self.lead(&id, way, after_queue, true);
            let milters = self.settings.of(&id, "smtpd_milters").to_owned();
            if !milters.is_empty() {
                self.note(format!(
                    "The milters ({milters}) stay at port 25 and see each message first. The gateway then gets it from the \
                     queue (content_filter), so set no verdict to \"reject\": that would be a bounce to an address that may be forged."
                ));
            }
        }
        self.take_back(way, &chroot, verified(after_queue))
    }

    /// Mail of our users. Milters move to where Postfix takes sealed mail back, so that a DKIM signature covers the seal, and
    /// no milter sees a message twice.
    fn seal(&mut self, way: Way, sendmail: bool) -> Result<(), NotUnderstood> {
        let submissions = self.submissions();
        let (led, new): (Vec<Service>, Vec<Service>) =
            submissions.iter().cloned().partition(|service| self.led(&service.id(), way).is_some());
        for service in &new {
            self.check_free(&service.id())?;
        }
        let rewriting = new.iter().find_map(|service| self.rewriting(&service.id()));
        let by_proxy = |service: &Service| self.led(&service.id(), way) == Some("smtpd_proxy_filter");
        // Without a service before the queue, all is done to a message before its seal.
        let after_queue = match led.first() {
            Some(before) => !by_proxy(before),
            None => rewriting.is_some() || submissions.is_empty(),
        };
        let non_smtpd = self.settings.of("cleanup/unix", "non_smtpd_milters").to_owned();
        let filters = self.filters_of(&submissions, way, &non_smtpd)?;
        if submissions.is_empty() {
            self.note(
                "This Postfix has no submission service (ports 587 and 465 are off in master.cf), so the mail of your users' mail \
                 programs is not sealed. Setup makes no such service. Enable it, and run `waxseal setup` again.",
            );
        }
        for service in &new {
            let id = service.id();
            self.lead(&id, way, after_queue, false);
            if !self.settings.of(&id, "smtpd_milters").is_empty() {
                self.option(&id, "smtpd_milters", "");
            }
        }
        if let Some(reason) = rewriting.filter(|_| after_queue) {
            self.note(format!(
                "This Postfix changes messages of its users ({reason}), which must be done before the seal. So the gateway gets mail \
                 from the queue (content_filter). A message that it refuses comes back to its author as a bounce."
            ));
        }
        let is_sealed = self.seal_sendmail(way, sendmail, after_queue, (&filters.milters, &non_smtpd))?;
        if submissions.is_empty() && !is_sealed {
            let why = "there is no mail to seal: no submission service, and nothing from `sendmail`";
            return Err(NotUnderstood(why.to_owned()));
        }
        let mut options = sealed(after_queue);
        options.extend(filters.options);
        if filters.milters != self.main("smtpd_milters") {
            options.push(("smtpd_milters".to_owned(), one_word(&filters.milters)?));
        }
        let entries = self.wiring.edits.len();
        self.take_back(way, &filters.chroot, options)?;
        if self.wiring.edits.len() > entries && !filters.milters.is_empty() {
            self.note(format!(
                "The milters ({}) see mail to be sealed after the seal, as coming from 127.0.0.1: a DKIM signature then covers the \
                 seal.",
                filters.milters
            ));
        }
        Ok(())
    }

    /// What the smtpd that takes sealed mail back must have from the services that mail enters by.
    fn filters_of(
        &self,
        submissions: &[Service],
        way: Way,
        non_smtpd: &str,
    ) -> Result<Filters, NotUnderstood> {
        let mut filters: Option<Filters> = None;
        for service in submissions.iter().filter(|service| self.led(&service.id(), way).is_none()) {
            let id = service.id();
            let own = Filters {
                milters: self.settings.of(&id, "smtpd_milters").to_owned(),
                options: self.milter_options(&id)?,
                chroot: service.chroot.clone(),
            };
            let before = filters.get_or_insert_with(|| own.clone());
            if (&before.milters, &before.options) != (&own.milters, &own.options) {
                return Err(NotUnderstood(format!(
                    "`{}` and another submission service have different milters, and sealed mail is taken back at one place",
                    id.replace('/', " ")
                )));
            }
            if before.chroot != own.chroot && own.milters.contains("unix:") {
                let why = "the submission services have milters at UNIX sockets, and only some of them are in a chroot";
                return Err(NotUnderstood(why.to_owned()));
            }
        }
        Ok(filters.unwrap_or_else(|| Filters {
            milters: non_smtpd.to_owned(),
            options: Vec::new(),
            chroot: self.front().first().map_or_else(|| "y".to_owned(), |front| front.chroot.clone()),
        }))
    }

    /// Mail that programs of this machine hand in: only a filter after the queue gets it. Whether it is sealed.
    fn seal_sendmail(
        &mut self,
        way: Way,
        wanted: bool,
        after_queue: bool,
        (milters, non_smtpd): (&str, &str),
    ) -> Result<bool, NotUnderstood> {
        let pickup =
            self.settings.services.iter().find(|service| service.program == "pickup").map(Service::id);
        let Some(id) = pickup.filter(|_| wanted) else {
            self.note("Mail that programs of this machine hand in by `sendmail` is not sealed.");
            return Ok(false);
        };
        if self.led(&id, way).is_some() {
            return Ok(true);
        }
        self.check_free(&id)?;
        if !non_smtpd.is_empty() && non_smtpd != milters {
            self.note(
                "Mail that programs of this machine hand in by `sendmail` is not sealed: its milters (non_smtpd_milters) are not \
                 those of users' mail (smtpd_milters), and some would see it twice.",
            );
            return Ok(false);
        }
        let mut off = Vec::new();
        if !after_queue {
            // Done once the mail is taken back: a second time it would double copies.
            off.push("no_address_mappings");
        }
        if !non_smtpd.is_empty() {
            off.push("no_milters");
        }
        self.transport();
        self.option(&id, "content_filter", &filter(way));
        if !off.is_empty() {
            self.option(&id, "receive_override_options", &off.join(","));
        }
        Ok(true)
    }

    /// What a service sets for its milters besides their places, which goes where they go.
    fn milter_options(&self, id: &str) -> Result<Vec<(String, String)>, NotUnderstood> {
        let own = self.settings.overrides_of(id).into_iter().filter(|(name, _)| name.starts_with("milter_"));
        own.map(|(name, value)| Ok((name.to_owned(), one_word(value)?))).collect()
    }
}

fn option(entry: &str, name: &str, value: &str, before: Option<String>) -> Edit {
    Edit::Option { entry: entry.to_owned(), name: name.to_owned(), value: value.to_owned(), before }
}

/// A list without blanks, as master.cf takes it.
fn one_word(list: &str) -> Result<String, NotUnderstood> {
    let words = words(list);
    match words.iter().find(|word| word.contains(char::is_whitespace)) {
        Some(word) => Err(NotUnderstood(format!(
            "`{word}` has blanks in it, and must move to another entry of master.cf"
        ))),
        None => Ok(words.join(",")),
    }
}

fn filter(way: Way) -> String {
    format!("{TRANSPORT}:[127.0.0.1]:{}", way.gateway)
}

fn before_queue(way: Way, is_front: bool) -> Vec<(&'static str, String)> {
    // Longer than the gateway's next_hop_timeout: if Postfix gave up first, mail would arrive twice.
    let mut options = vec![
        ("smtpd_proxy_filter", format!("127.0.0.1:{}", way.gateway)),
        ("smtpd_proxy_timeout", "360s".to_owned()),
    ];
    if is_front {
        // The gateway is called once the whole message is there, so that slow clients cost it nothing.
        options.push(("smtpd_proxy_options", "speed_adjust".to_owned()));
    }
    options
}

fn fields(port: u16, chroot: &str) -> String {
    format!("127.0.0.1:{port} inet n - {chroot} - - smtpd")
}

fn pairs(options: &[(&str, &str)]) -> Vec<(String, String)> {
    options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// As deploy/postfix has them, for the smtpd that takes mail back.
fn taking_back(syslog_name: &str, client: &str, relay: &str, overrides: &str) -> Vec<(String, String)> {
    pairs(&[
        ("syslog_name", syslog_name),
        ("smtpd_proxy_filter", ""),
        ("content_filter", ""),
        ("smtpd_client_restrictions", client),
        ("smtpd_helo_restrictions", ""),
        ("smtpd_sender_restrictions", ""),
        ("smtpd_relay_restrictions", relay),
        ("smtpd_recipient_restrictions", "permit_mynetworks,reject"),
        ("smtpd_data_restrictions", ""),
        ("smtpd_end_of_data_restrictions", ""),
        ("mynetworks", "127.0.0.0/8,[::1]/128"),
        ("smtpd_authorized_xforward_hosts", "127.0.0.0/8,[::1]/128"),
        ("receive_override_options", overrides),
        ("local_header_rewrite_clients", ""),
        ("smtpd_client_connection_count_limit", "0"),
        ("smtpd_client_connection_rate_limit", "0"),
        ("smtpd_tls_security_level", "none"),
        ("smtpd_sasl_auth_enable", "no"),
    ])
}

fn verified(after_queue: bool) -> Vec<(String, String)> {
    let overrides = if after_queue {
        "no_unknown_recipient_checks,no_header_body_checks,no_address_mappings,no_milters"
    } else {
        "no_unknown_recipient_checks"
    };
    taking_back("postfix/verified", "", "", overrides)
}

fn sealed(after_queue: bool) -> Vec<(String, String)> {
    let overrides = if after_queue {
        "no_unknown_recipient_checks,no_header_body_checks,no_address_mappings"
    } else {
        "no_unknown_recipient_checks,no_header_body_checks"
    };
    let ours = "permit_mynetworks,reject";
    taking_back("postfix/sealed", ours, ours, overrides)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "inet_protocols = all\nmaster_service_disable =\nlocal_header_rewrite_clients = permit_inet_interfaces\n";
    const STOCK: &str =
        "smtp inet n - y - - smtpd\npickup unix n - y 60 1 pickup\ncleanup unix n - y - 0 cleanup\n";
    const SUBMISSION: &str = "submission inet n - y - - smtpd\n";
    const SEAL: Way = Way { gateway: 10025, back: 10026 };
    const VERIFY: Way = Way { gateway: 10028, back: 10027 };
    const BOTH: Wanted = Wanted { seal: Some(SEAL), verify: Some(VERIFY), sendmail: true };

    fn settings(services: &str, overrides: &str, main: &str) -> Settings {
        Settings::parse(services, overrides, &format!("{MAIN}{main}"), "")
    }

    fn wired(services: &str, overrides: &str, main: &str) -> Wiring {
        wire(&settings(services, overrides, main), BOTH).unwrap()
    }

    /// What an entry sets after the edits, if they set it.
    fn set<'a>(wiring: &'a Wiring, entry: &str, parameter: &str) -> Option<&'a str> {
        wiring.edits.iter().filter(|edit| edit.entry() == entry).find_map(|edit| match edit {
            Edit::Entry { options, .. } => {
                options.iter().rev().find(|(name, _)| name == parameter).map(|(_, value)| value.as_str())
            }
            Edit::Option { name, value, .. } => (name == parameter).then_some(value.as_str()),
        })
    }

    const SEALED: &str = "127.0.0.1:10026/inet";
    const VERIFIED: &str = "127.0.0.1:10027/inet";

    #[test]
    fn a_stock_postfix_has_its_arriving_mail_checked_and_that_of_sendmail_sealed() {
        let wiring = wired(STOCK, "", "");
        assert_eq!(set(&wiring, "smtp/inet", "smtpd_proxy_filter"), Some("127.0.0.1:10028"));
        assert_eq!(set(&wiring, "pickup/unix", "content_filter"), Some("waxseal:[127.0.0.1]:10025"));
        assert_eq!(
            set(&wiring, "pickup/unix", "receive_override_options"),
            None,
            "all mappings are before the seal"
        );
        assert!(set(&wiring, SEALED, "receive_override_options").unwrap().contains("no_address_mappings"));
        assert!(wiring.edits.iter().any(|edit| edit.entry() == "waxseal/unix"));
        assert!(wiring.notes.iter().any(|note| note.contains("no submission service")), "{:?}", wiring.notes);
    }

    #[test]
    fn submitted_mail_is_sealed_before_the_queue() {
        let wiring = wired(&format!("{STOCK}{SUBMISSION}"), "", "");
        assert_eq!(set(&wiring, "submission/inet", "smtpd_proxy_filter"), Some("127.0.0.1:10025"));
        assert_eq!(set(&wiring, "submission/inet", "smtpd_milters"), None);
        assert_eq!(set(&wiring, SEALED, "smtpd_milters"), None);
        assert_eq!(set(&wiring, "pickup/unix", "receive_override_options"), Some("no_address_mappings"));
    }

    #[test]
    fn no_milter_is_lost_and_none_sees_a_message_twice() {
        let milter = "smtpd_milters = inet:localhost:11332\nnon_smtpd_milters = inet:localhost:11332\n";
        let wiring = wired(&format!("{STOCK}{SUBMISSION}"), "", milter);
        assert_eq!(
            set(&wiring, "smtp/inet", "smtpd_proxy_filter"),
            None,
            "it would hide content from milters"
        );
        assert_eq!(set(&wiring, "smtp/inet", "content_filter"), Some("waxseal:[127.0.0.1]:10028"));
        assert_eq!(set(&wiring, "smtp/inet", "smtpd_milters"), None, "they stay");
        assert!(set(&wiring, VERIFIED, "receive_override_options").unwrap().ends_with("no_milters"));
        assert_eq!(set(&wiring, "submission/inet", "smtpd_milters"), Some(""), "they move");
        assert_eq!(set(&wiring, SEALED, "smtpd_milters"), None, "as in main.cf");
        assert!(set(&wiring, "pickup/unix", "receive_override_options").unwrap().contains("no_milters"));
        // Of the service alone.
        let own = "submission/inet/smtpd_milters = inet:127.0.0.1:8891, unix:/x\nsubmission/inet/milter_macro_daemon_name = ORIGINATING\n";
        let wiring = wired(&format!("{STOCK}{SUBMISSION}"), own, "");
        assert_eq!(set(&wiring, SEALED, "smtpd_milters"), Some("inet:127.0.0.1:8891,unix:/x"));
        assert_eq!(set(&wiring, SEALED, "milter_macro_daemon_name"), Some("ORIGINATING"));
        assert_eq!(set(&wiring, "smtp/inet", "smtpd_proxy_filter"), Some("127.0.0.1:10028"));
        // None here, though main.cf has some.
        let wiring = wired(
            &format!("{STOCK}{SUBMISSION}"),
            "submission/inet/smtpd_milters =\n",
            "smtpd_milters = inet:h:1\n",
        );
        assert_eq!(set(&wiring, SEALED, "smtpd_milters"), Some(""));
        // Other milters for `sendmail`.
        let main = "smtpd_milters = inet:h:1\nnon_smtpd_milters = inet:h:2\n";
        let wiring = wired(&format!("{STOCK}{SUBMISSION}"), "", main);
        assert_eq!(set(&wiring, "pickup/unix", "content_filter"), None);
        assert!(wiring.notes.iter().any(|note| note.contains("twice")), "{:?}", wiring.notes);
    }

    #[test]
    fn what_rewrites_messages_does_so_before_the_seal() {
        for main in [
            "header_checks = regexp:/x\n",
            "canonical_maps = hash:/c\n",
            "always_add_missing_headers = yes\n",
        ] {
            let wiring = wired(&format!("{STOCK}{SUBMISSION}"), "", main);
            assert_eq!(
                set(&wiring, "submission/inet", "content_filter"),
                Some("waxseal:[127.0.0.1]:10025"),
                "{main}"
            );
            assert_eq!(set(&wiring, "submission/inet", "smtpd_proxy_filter"), None, "{main}");
            assert!(
                set(&wiring, SEALED, "receive_override_options").unwrap().contains("no_address_mappings")
            );
        }
        let own = "submission/inet/cleanup_service_name = subcleanup\n";
        let wiring = wired(&format!("{STOCK}{SUBMISSION}"), own, "");
        assert!(set(&wiring, "submission/inet", "content_filter").is_some());
    }

    #[test]
    fn a_chroot_stays_what_it_is() {
        let open = STOCK.replace(" y ", " n ");
        let wiring = wired(&format!("{open}{SUBMISSION}"), "", "");
        let fields = |port: &str| {
            wiring.edits.iter().find_map(|edit| match edit {
                Edit::Entry { fields, .. } if fields.starts_with(&format!("127.0.0.1:{port}")) => {
                    Some(fields.clone())
                }
                _ => None,
            })
        };
        assert_eq!(fields("10027").unwrap(), "127.0.0.1:10027 inet n - n - - smtpd");
        assert_eq!(fields("10026").unwrap(), "127.0.0.1:10026 inet n - y - - smtpd");
    }

    #[test]
    fn postscreen_keeps_port_25() {
        let services = "smtp inet n - y - 1 postscreen\nsmtpd pass - - y - - smtpd\n";
        let wanted = Wanted { verify: Some(VERIFY), ..Wanted::default() };
        let wiring = wire(&settings(services, "", ""), wanted).unwrap();
        assert_eq!(set(&wiring, "smtpd/pass", "smtpd_proxy_filter"), Some("127.0.0.1:10028"));
        assert_eq!(set(&wiring, "smtp/inet", "smtpd_proxy_filter"), None);
    }

    #[test]
    fn what_main_cf_wants_of_strangers_is_not_wanted_of_the_gateway() {
        let wiring = wired(
            STOCK,
            "",
            "smtpd_upstream_proxy_protocol = haproxy\nsmtpd_client_message_rate_limit = 9\n",
        );
        for entry in [SEALED, VERIFIED] {
            assert_eq!(set(&wiring, entry, "smtpd_upstream_proxy_protocol"), Some(""));
            assert_eq!(set(&wiring, entry, "smtpd_client_message_rate_limit"), Some("0"));
            assert_eq!(set(&wiring, entry, "smtpd_tls_wrappermode"), None);
        }
    }

    #[test]
    fn a_postfix_with_other_filters_is_not_understood() {
        for (services, overrides, main, why) in [
            (STOCK, "", "content_filter = scan:[127.0.0.1]:10024\n", "content_filter"),
            (STOCK, "smtp/inet/smtpd_proxy_filter = 127.0.0.1:10024\n", "", "another filter"),
            (
                STOCK,
                "smtp/inet/receive_override_options = no_address_mappings\n",
                "",
                "receive_override_options",
            ),
            (STOCK, "", "receive_override_options = no_address_mappings\n", "receive_override_options"),
            (STOCK, "pickup/unix/content_filter = scan:\n", "", "another filter"),
            (STOCK, "", "inet_protocols = ipv6\n", "inet_protocols"),
            (STOCK, "", "master_service_disable = inet\n", "takes no mail"),
            ("smtp inet n - y - - proxy\n", "", "", "no smtpd at port 25"),
            ("pickup unix n - y 60 1 pickup\n", "", "", "no smtpd at port 25"),
            ("smtp inet n - y - - smtpd\n127.0.0.1:10027 inet n - n - - spawn\n", "", "", "has port 10027"),
            (
                "smtp inet n - y - - smtpd\nsubmission inet n - y - - smtpd\nsmtps inet n - y - - smtpd\n",
                "smtps/inet/smtpd_milters = inet:h:1\n",
                "",
                "different milters",
            ),
            ("smtp inet n - y - - smtpd\n", "", "", "no mail to seal"),
        ] {
            let main =
                if main.contains("inet_protocols") { main.to_owned() } else { format!("{MAIN}{main}") };
            let settings = Settings::parse(services, overrides, &main, "");
            let error = wire(&settings, BOTH).unwrap_err().to_string();
            assert!(error.contains(why), "{services}{overrides}{main}: {error}");
        }
    }

    /// The settings after the edits, as postconf would print them.
    fn after(services: &str, overrides: &str, main: &str, wiring: &Wiring) -> Settings {
        let (mut services, mut overrides) = (services.to_owned(), overrides.to_owned());
        for edit in &wiring.edits {
            let entry = edit.entry();
            let mut add = |name: &str, value: &str| overrides += &format!("{entry}/{name} = {value}\n");
            match edit {
                Edit::Entry { fields, options } => {
                    services += &format!("{fields}\n");
                    options.iter().for_each(|(name, value)| add(name, value));
                }
                Edit::Option { name, value, .. } => add(name, value),
            }
        }
        settings(&services, &overrides, main)
    }

    #[test]
    fn a_second_time_there_is_nothing_to_do() {
        let milter = "smtpd_milters = inet:localhost:11332\nnon_smtpd_milters = inet:localhost:11332\n";
        for (services, main) in [
            (STOCK.to_owned(), ""),
            (format!("{STOCK}{SUBMISSION}"), ""),
            (format!("{STOCK}{SUBMISSION}"), milter),
            (format!("{STOCK}{SUBMISSION}"), "header_checks = regexp:/x\n"),
        ] {
            let wiring = wired(&services, "", main);
            let again = wire(&after(&services, "", main, &wiring), BOTH).unwrap();
            assert_eq!(again.edits, [], "{services}{main}");
        }
        // What came since is led as well, in the same way.
        let wiring = wired(&format!("{STOCK}{SUBMISSION}"), "", "");
        let more = after(&format!("{STOCK}{SUBMISSION}"), "", "", &wiring);
        let mut services = more.clone();
        services.services.push(Service {
            name: "submissions".into(),
            kind: "inet".into(),
            chroot: "y".into(),
            program: "smtpd".into(),
        });
        let again = wire(&services, BOTH).unwrap();
        assert!(again.edits.iter().all(|edit| edit.entry() == "submissions/inet"), "{:?}", again.edits);
        assert_eq!(set(&again, "submissions/inet", "smtpd_proxy_filter"), Some("127.0.0.1:10025"));
    }

    #[test]
    fn edits_are_shown_so_that_people_can_make_them_and_take_them_back() {
        let text = shown(&by_hand(BOTH));
        for line in [
            "in the entry `smtp inet`:\n        -o smtpd_proxy_filter=127.0.0.1:10028\n",
            "a new entry:\n    127.0.0.1:10026 inet n - y - - smtpd\n        -o syslog_name=postfix/sealed\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let edits = [option("a/inet", "x", "1", None), option("a/inet", "y", "", Some("old".into()))];
        assert_eq!(
            shown_undone(&edits),
            "    in the entry `a inet` remove -o x=1\n    in the entry `a inet` set -o y=old\n"
        );
    }
}
