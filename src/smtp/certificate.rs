//! Certificates looked at rather than used: until when they are valid, what names they bear, where they lead.

use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

use crate::smtp::tls::{self, CertificateFileError, Trust};

/// A certificate from a file, or as a server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate(CertificateDer<'static>);

/// Later than any certificate can say, in Unix seconds: the year 10000.
const AFTER_ALL: u64 = 253_402_300_800;

impl Certificate {
    /// Those of a PEM file, in its order.
    pub fn read(pem: &[u8]) -> Result<Vec<Self>, CertificateFileError> {
        Ok(tls::read_certificates(pem)?.into_iter().map(Self).collect())
    }

    pub(super) fn of(shown: &[CertificateDer<'_>]) -> Vec<Self> {
        shown.iter().map(|certificate| Self(certificate.clone().into_owned())).collect()
    }

    /// Until when it is valid, in Unix seconds; `None` for ever, or where it cannot be read. Found by asking whether it
    /// would be valid at the end of time: a validator names the date then.
    pub fn not_after(&self) -> Option<u64> {
        match self.objection_at(AFTER_ALL)? {
            CertificateError::ExpiredContext { not_after, .. } => Some(not_after.as_secs()),
            _ => None,
        }
    }

    /// From when on it is valid, in Unix seconds.
    pub fn not_before(&self) -> Option<u64> {
        match self.objection_at(0)? {
            CertificateError::NotValidYetContext { not_before, .. } => Some(not_before.as_secs()),
            _ => None,
        }
    }

    /// The dates are looked at before anything else of a certificate, so no root is needed for that.
    fn objection_at(&self, seconds: u64) -> Option<CertificateError> {
        match verify(std::slice::from_ref(self), &RootCertStore::empty(), seconds) {
            Err(Error::InvalidCertificate(objection)) => Some(objection),
            _ => None,
        }
    }

    /// Whether it is for this host name or IP address.
    pub fn bears(&self, name: &str) -> bool {
        let parsed = ParsedCertificate::try_from(&self.0);
        let name = ServerName::try_from(name);
        matches!((parsed, name), (Ok(parsed), Ok(name)) if verify_server_name(&parsed, &name).is_ok())
    }
}

/// Whether a certificate, with those behind it, leads to a root that is trusted, and all of them are valid at a time in
/// Unix seconds.
pub fn leads_to_root(chain: &[Certificate], trust: &Trust, seconds: u64) -> bool {
    trust.roots().is_none_or(|roots| verify(chain, roots, seconds).is_ok())
}

/// Whether a certificate is valid at this time, whoever signed it.
pub(super) fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let certificate = Certificate(certificate.clone().into_owned());
    let (begin, end) = (certificate.not_before(), certificate.not_after());
    if end.is_some_and(|end| now.as_secs() > end) {
        return Err(CertificateError::Expired.into());
    }
    if begin.is_some_and(|begin| now.as_secs() < begin) {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

/// Whether a certificate that was named itself is for this server. One without any name, as `openssl req -x509` makes it
/// unless asked for one, is for the server that it was named for.
pub(super) fn check_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    match verify_server_name(&ParsedCertificate::try_from(certificate)?, name) {
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))
            if presented.is_empty() =>
        {
            Ok(())
        }
        checked => checked,
    }
}

fn verify(chain: &[Certificate], roots: &RootCertStore, seconds: u64) -> Result<(), Error> {
    let Some((first, behind)) = chain.split_first() else { return Ok(()) };
    let behind: Vec<CertificateDer<'_>> = behind.iter().map(|certificate| certificate.0.clone()).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let algorithms = tls::PROVIDER.signature_verification_algorithms.all;
    let parsed = ParsedCertificate::try_from(&first.0)?;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, &behind, time, algorithms)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn reads_dates_and_names() {
        let mut params = CertificateParams::new(vec!["mx.example.org".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        let certificates = Certificate::read(pem.as_bytes()).unwrap();
        assert_eq!(certificates[0].not_before(), Some(1_577_836_800));
        assert_eq!(certificates[0].not_after(), Some(1_893_456_000));
        assert!(certificates[0].bears("mx.example.org") && !certificates[0].bears("mail.example.org"));
        let itself = Trust::from_pem(pem.as_bytes()).unwrap();
        assert!(leads_to_root(&certificates, &itself, 1_800_000_000));
        assert!(!leads_to_root(&certificates, &itself, 1_900_000_000));
        let none = Trust::Roots(std::sync::Arc::new(RootCertStore::empty()));
        assert!(!leads_to_root(&certificates, &none, 1_800_000_000));
    }
}
