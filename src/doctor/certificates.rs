//! Our certificate for clients: its names, its authority, and its end.

use super::finding::{Finding, Subject, moment, spoken};
use super::{Site, quoted};
use crate::keys;
use crate::smtp::certificate::{Certificate, leads_to_root};
use crate::smtp::tls::Trust;

/// When the end is near, in seconds: most authorities' clients renew 30 days before, so something has failed by then.
const SOON: u64 = 14 * 86_400;

pub(super) fn check(site: &Site, findings: &mut Vec<Finding>) {
    let Some(tls) = &site.config.tls else { return };
    let path = &tls.certificate.value;
    let mut subject = Subject::new(findings, "certificate", path.display().to_string());
    let pem = keys::read_certificates(path).map_err(|error| error.to_string());
    let chain = pem.and_then(|pem| Certificate::read(&pem).map_err(|error| error.to_string()));
    let chain = match chain {
        Ok(chain) => chain,
        Err(error) => return subject.not_checked(error),
    };
    if site.setup.is_none() {
        subject
            .not_checked("whether the key is this certificate's: the configuration has a mistake, see above");
    }
    dates(&mut subject, &chain, site.now);
    let hostname = site.config.hostname.as_str();
    if chain.first().is_some_and(|own| !own.bears(hostname)) {
        subject.warning(
            format!("it is not for {hostname}, the name in our greeting: clients that check names refuse it"),
            format!("have one issued for {hostname} and every name that MX records give this machine"),
        );
    }
    match Trust::of_system() {
        Some(trust) if !leads_to_root(&chain, &trust, site.now) => subject.warning(
            "it leads to no authority that this system trusts: clients that check certificates refuse it",
            format!(
                "put the certificate, followed by its chain (certbot's fullchain.pem), into {}",
                quoted(path)
            ),
        ),
        Some(_) => {}
        None => subject.not_checked("whether clients trust it: this system has no root certificates"),
    }
}

/// Until when certificates are valid: the first end of all of them counts.
pub(super) fn dates(subject: &mut Subject<'_>, chain: &[Certificate], now: u64) {
    let begins = chain.iter().filter_map(Certificate::not_before).max();
    let Some(ends) = chain.iter().filter_map(Certificate::not_after).min() else {
        return subject.not_checked("until when the certificate is valid: it has no such date");
    };
    let remedy = "have it renewed, and systemctl reload waxseal if it is ours";
    if ends <= now {
        return subject.problem(format!("the certificate has expired, {}", moment(ends)), remedy);
    }
    if let Some(begins) = begins.filter(|begins| *begins > now) {
        let detail = format!("the certificate is not valid before {}", moment(begins));
        return subject.problem(detail, "check that the clock is right");
    }
    if ends - now < SOON {
        let detail = format!("the certificate ends {}, in {}", moment(ends), spoken(ends - now));
        return subject.warning(detail, remedy);
    }
    subject.ok(format!("the certificate is valid until {}", moment(ends)));
}
