//! What Postfix does to a message after the sealing gateway, from the smtpd that takes it back up to the
//! wire. Only what a seal does not survive (SPEC.md sections 4 and 8) is reported: transfer encodings,
//! refolding, added fields and recipients are none of it.

use super::super::finding::Subject;
use super::settings::{Service, Settings, ends_in_port, words};
use super::tables::{Harm, Tables, address_harm, body_harm, header_harm};
use crate::config::SealingDomain;

/// A seal of a thousand attachments is about that long, in octets; Postfix's own default for a field.
const LONGEST_FIELD: u64 = 102_400;
/// The longest line that SMTP allows (RFC 5321 §4.5.3.1.6), in octets, without its CR LF.
const LONGEST_LINE: u64 = 998;

/// The transport of deploy/postfix/submission/master-content-filter.cf.
const TRANSPORT: &str = "waxseal";

/// One look at Postfix.
pub(super) struct Look<'a> {
    pub(super) settings: &'a Settings,
    pub(super) tables: &'a dyn Tables,
    /// `postconf`, with its `-c` where it needs one.
    pub(super) postconf: &'a str,
    pub(super) domains: &'a [SealingDomain],
    /// The ports that our listeners listen on.
    pub(super) ports: &'a [u16],
}

impl Look<'_> {
    /// Everything after the smtpd that takes sealed mail.
    pub(super) fn behind_the_seal(&self, smtpd: &Service, subject: &mut Subject<'_>) {
        let id = smtpd.id();
        let overrides = words(self.settings.of(&id, "receive_override_options"));
        let is_off = |option: &str| overrides.iter().any(|own| own == option);
        let name = Some(self.settings.of(&id, "cleanup_service_name")).filter(|name| !name.is_empty());
        let cleanup = format!("{}/unix", name.unwrap_or("cleanup"));
        self.filters(&id, subject);
        if !is_off("no_header_body_checks") {
            let more = [overrides.clone(), vec!["no_header_body_checks".to_owned()]].concat().join(",");
            let remedy = self.set(&id, "receive_override_options", &more);
            self.checks(&cleanup, "", &remedy, subject);
        }
        if !is_off("no_address_mappings") && self.rewrites_headers(&id) {
            self.addresses(&id, &cleanup, subject);
        }
        if !is_off("no_milters") {
            self.milters(&id, subject);
        }
        self.cleanup(&cleanup, subject);
        for client in self.clients() {
            self.delivery(&client.id(), subject);
        }
    }

    /// Filters of the smtpd itself, which are most often forgotten defaults of main.cf.
    pub(super) fn filters(&self, id: &str, subject: &mut Subject<'_>) {
        for parameter in ["smtpd_proxy_filter", "content_filter"] {
            let value = self.settings.of(id, parameter);
            if value.is_empty() {
                continue;
            }
            let what = if self.ports.iter().any(|port| ends_in_port(value, *port)) {
                "mail goes round in circles"
            } else {
                "after the gateway mail goes through another filter, which may change it"
            };
            subject.problem(format!("{parameter} = {value}: {what}"), self.set(id, parameter, ""));
        }
    }

    fn checks(&self, service: &str, prefix: &str, remedy: &str, subject: &mut Subject<'_>) {
        let mut seen = Vec::new();
        for parameter in ["header_checks", "mime_header_checks", "nested_header_checks"] {
            let parameter = format!("{prefix}{parameter}");
            let list = self.settings.of(service, &parameter);
            // By default the others are what the first is.
            if seen.contains(&list) {
                continue;
            }
            seen.push(list);
            let harms = self.domains.iter().map(|domain| header_harm(list, &domain.name, self.tables));
            say(&parameter, "changes fields that the seal is about", worst(harms), remedy, subject);
        }
        let parameter = format!("{prefix}body_checks");
        let harm = body_harm(self.settings.of(service, &parameter), self.tables);
        say(&parameter, "changes texts and attachments", harm, remedy, subject);
    }

    /// Whether addresses in header fields of this smtpd's clients are rewritten at all.
    fn rewrites_headers(&self, id: &str) -> bool {
        !self.settings.of(id, "local_header_rewrite_clients").is_empty()
            || !self.settings.of(id, "remote_header_rewrite_domain").is_empty()
    }

    fn addresses(&self, id: &str, cleanup: &str, subject: &mut Subject<'_>) {
        let remedy = format!(
            "{} (From is then rewritten before the seal only if \
             deploy/postfix/submission/master-content-filter.cf is in use)",
            self.set(id, "local_header_rewrite_clients", "")
        );
        for (parameter, classes) in
            [("canonical_maps", "canonical_classes"), ("sender_canonical_maps", "sender_canonical_classes")]
        {
            if self.has_header_sender(cleanup, classes) {
                self.maps(cleanup, parameter, &remedy, subject);
            }
        }
        let masked = words(self.settings.of(cleanup, "masquerade_domains"));
        if self.has_header_sender(cleanup, "masquerade_classes") {
            let is_masked = |domain: &&SealingDomain| {
                masked.iter().filter_map(|mask| mask.parse().ok()).any(|mask| {
                    domain.name.is_at_or_below(&mask) && (domain.name != mask || domain.subdomains)
                })
            };
            if let Some(domain) = self.domains.iter().find(is_masked) {
                let value = masked.join(" ");
                let detail = format!(
                    "masquerade_domains = {value}: it shortens authors' addresses of {} after the seal, \
                     which then belongs to another message",
                    domain.name
                );
                subject.problem(detail, &remedy);
            }
        }
    }

    fn has_header_sender(&self, cleanup: &str, classes: &str) -> bool {
        words(self.settings.of(cleanup, classes)).iter().any(|class| class == "header_sender")
    }

    fn maps(&self, service: &str, parameter: &str, remedy: &str, subject: &mut Subject<'_>) {
        let list = self.settings.of(service, parameter);
        let harms = self.domains.iter().map(|domain| address_harm(list, &domain.name, self.tables));
        let what = "rewrites From after the seal, which then belongs to another message";
        say(parameter, what, worst(harms), remedy, subject);
    }

    /// What a milter does, nobody can see from here. A DKIM signer belongs just there.
    fn milters(&self, id: &str, subject: &mut Subject<'_>) {
        let milters = self.settings.of(id, "smtpd_milters");
        if !milters.is_empty() {
            subject.unknown(
                format!(
                    "whether smtpd_milters = {milters} change mail: one that only signs (DKIM) is right here"
                ),
                "waxseal doctor --probe ADDRESS shows what they do",
            );
        }
    }

    fn cleanup(&self, cleanup: &str, subject: &mut Subject<'_>) {
        let dropped = words(self.settings.of(cleanup, "message_drop_headers"));
        let is_sealed = |name: &&String| {
            let name = name.to_ascii_lowercase();
            ["from", "date", "message-id", "mime-version", "attachment-seal"].contains(&name.as_str())
                || (name.starts_with("content-") && name != "content-length")
        };
        if let Some(name) = dropped.iter().find(is_sealed) {
            let rest: Vec<&str> =
                dropped.iter().filter(|name| !is_sealed(name)).map(String::as_str).collect();
            subject.problem(
                format!("message_drop_headers removes the field {name}, without which no seal is valid"),
                self.set_main("message_drop_headers", &rest.join(", ")),
            );
        }
        let stripped = self.settings.of(cleanup, "message_strip_characters");
        if !stripped.is_empty() {
            subject.problem(
                format!(
                    "message_strip_characters = {stripped}: it removes octets from texts and attachments"
                ),
                self.set_main("message_strip_characters", ""),
            );
        }
        let limit = self.settings.of(cleanup, "header_size_limit");
        if limit.parse::<u64>().is_ok_and(|limit| limit < LONGEST_FIELD) {
            subject.warning(
                format!(
                    "header_size_limit = {limit}: the seal of a message with many attachments is cut off"
                ),
                self.set_main("header_size_limit", &LONGEST_FIELD.to_string()),
            );
        }
    }

    /// The programs that send mail out, those excepted that bring it to us.
    fn clients(&self) -> impl Iterator<Item = &Service> {
        let feeds = |service: &Service| {
            self.settings.services.iter().any(|other| {
                let filter = self.settings.of(&other.id(), "content_filter");
                let is_ours = self.ports.iter().any(|port| ends_in_port(filter, *port));
                is_ours && filter.split(':').next() == Some(service.name.as_str())
            })
        };
        let sends = |service: &&Service| ["smtp", "lmtp"].contains(&service.program.as_str());
        self.settings.services.iter().filter(sends).filter(move |service| !feeds(service))
    }

    fn delivery(&self, id: &str, subject: &mut Subject<'_>) {
        let remedy = |parameter: &str| {
            if self.settings.overrides(id, parameter) {
                self.set(id, parameter, "")
            } else {
                self.set_main(parameter, "")
            }
        };
        // main.cf is the same for all of them: one finding is enough.
        let is_new = |parameter: &str| {
            let is_first = || self.clients().next().is_some_and(|first| first.id() == id);
            self.settings.overrides(id, parameter) || is_first()
        };
        if is_new("smtp_generic_maps") {
            self.maps(id, "smtp_generic_maps", &remedy("smtp_generic_maps"), subject);
        }
        let checks = [
            "smtp_header_checks",
            "smtp_mime_header_checks",
            "smtp_nested_header_checks",
            "smtp_body_checks",
        ];
        if let Some(set) = checks.iter().find(|set| is_new(set) && !self.settings.of(id, set).is_empty()) {
            self.checks(id, "smtp_", &remedy(set), subject);
        }
        let limit = self.settings.of(id, "smtp_line_length_limit");
        if is_new("smtp_line_length_limit")
            && limit.parse::<u64>().is_ok_and(|limit| (1..LONGEST_LINE).contains(&limit))
        {
            subject.problem(
                format!("smtp_line_length_limit = {limit}: it breaks long lines of texts and attachments"),
                if self.settings.overrides(id, "smtp_line_length_limit") {
                    self.set(id, "smtp_line_length_limit", &LONGEST_LINE.to_string())
                } else {
                    self.set_main("smtp_line_length_limit", &LONGEST_LINE.to_string())
                },
            );
        }
    }

    /// Ways for users' mail to leave without coming by a sealing listener on this port.
    pub(super) fn beside_the_seal(&self, port: u16, smtpd: &Service, subject: &mut Subject<'_>) {
        let leading = self.settings.leading_to(port);
        if leading.is_empty() {
            return subject.not_checked(
                "whether users' mail passes this listener: nothing in main.cf or master.cf leads there; \
                 perhaps programs submit it themselves",
            );
        }
        let is_submission = |service: &&Service| {
            service.program == "smtpd"
                && service.id() != smtpd.id()
                && self.settings.of(&service.id(), "smtpd_sasl_auth_enable") == "yes"
        };
        let is_sealed = |service: &Service| leading.iter().any(|other| other.id() == service.id());
        for service in
            self.settings.services.iter().filter(is_submission).filter(|service| !is_sealed(service))
        {
            let how = leading[0];
            let (parameter, value) = ["smtpd_proxy_filter", "content_filter"]
                .map(|parameter| (parameter, self.settings.of(&how.id(), parameter)))
                .into_iter()
                .find(|(_, value)| ends_in_port(value, port))
                .unwrap_or(("smtpd_proxy_filter", ""));
            subject.warning(
                format!("users who log in at `{}` send mail that is not sealed", service.name),
                self.set(&service.id(), parameter, value),
            );
        }
        let pickup = self.settings.services.iter().find(|service| service.program == "pickup");
        if let Some(pickup) = pickup.filter(|pickup| !is_sealed(pickup)) {
            let set = self.set(&pickup.id(), "content_filter", &format!("{TRANSPORT}:[127.0.0.1]:{port}"));
            subject.warning(
                "mail that programs on this machine hand in by `sendmail` is not sealed",
                // Without its transport that mail would not leave at all.
                if self.has_transport(TRANSPORT) {
                    set
                } else {
                    format!("{} && {set}", self.make_transport(TRANSPORT))
                },
            );
        }
    }

    /// Transports that lead mail to a listener on this port, and that master.cf has not: such mail stays in the queue.
    pub(super) fn transports(&self, port: u16, subject: &mut Subject<'_>) {
        let takes = |service: &&Service| ["smtpd", "pickup", "qmqpd"].contains(&service.program.as_str());
        let services = self.settings.services.iter().filter(takes);
        let filters =
            services.map(|service| ("content_filter", self.settings.of(&service.id(), "content_filter")));
        let default = ("default_transport", self.settings.main("default_transport"));
        let mut said = Vec::new();
        for (parameter, value) in filters.chain([default]).filter(|(_, value)| ends_in_port(value, port)) {
            let Some((transport, _)) = value.split_once(':') else { continue };
            if self.has_transport(transport) || said.contains(&transport) {
                continue;
            }
            said.push(transport);
            subject.problem(
                format!(
                    "{parameter} = {value}, but master.cf has no transport `{transport}`: that mail stays in the queue \
                     (\"mail transport unavailable\")"
                ),
                format!("{} && {} reload", self.make_transport(transport), self.postfix()),
            );
        }
    }

    fn has_transport(&self, name: &str) -> bool {
        self.settings.services.iter().any(|service| service.name == name && service.kind == "unix")
    }

    /// As deploy/postfix/submission/master-content-filter.cf has it.
    fn make_transport(&self, name: &str) -> String {
        format!(
            "{} -M '{name}/unix={name} unix - - n - 20 smtp -o syslog_name=postfix/{name} -o smtp_tls_security_level=none \
             -o smtp_send_xforward_command=yes -o smtp_data_done_timeout=600s'",
            self.postconf
        )
    }

    fn set(&self, service: &str, parameter: &str, value: &str) -> String {
        format!("{} -P '{service}/{parameter}={value}' && {} reload", self.postconf, self.postfix())
    }

    fn set_main(&self, parameter: &str, value: &str) -> String {
        format!("{} -e '{parameter}={value}' && {} reload", self.postconf, self.postfix())
    }

    fn postfix(&self) -> String {
        self.postconf.replacen("postconf", "postfix", 1)
    }
}

/// The worst of several outcomes.
fn worst(harms: impl Iterator<Item = Harm>) -> Harm {
    harms.fold(Harm::None, |worst, harm| match (&worst, &harm) {
        (Harm::Certain(_), _) | (Harm::Possible(_), Harm::None) => worst,
        _ => harm,
    })
}

fn say(parameter: &str, what: &str, harm: Harm, remedy: &str, subject: &mut Subject<'_>) {
    match harm {
        Harm::None => {}
        Harm::Certain(how) => subject.problem(format!("{parameter} {what}: {how}"), remedy),
        Harm::Possible(how) => subject.warning(format!("{parameter} perhaps {what}: {how}"), remedy),
    }
}
