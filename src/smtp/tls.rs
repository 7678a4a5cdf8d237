//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446): our certificate for clients, our trust in the next hop's, and handshakes.
//! When there is one at all is decided elsewhere.

use std::io;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::Acceptor;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, Error, InconsistentKeys,
    PeerIncompatible, RootCertStore, ServerConfig, SignatureScheme,
};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, TlsConnector, TlsStream};
use zeroize::Zeroizing;

use crate::smtp::certificate::{self, Certificate};
use crate::smtp::connection::Connection;
use crate::smtp::stream::{Socket, Stream};

/// How long a handshake may take, and each reply on the way to it. `command_timeout` or `next_hop_timeout` may
/// make it shorter.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The one provider of cryptography; naming it keeps rustls from looking for others.
pub(super) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(ring::default_provider()));

/// PEM that cannot be used.
#[derive(Debug, Error)]
pub enum CertificateFileError {
    /// Not PEM, or cut off.
    #[error("not PEM: {0}")]
    Malformed(pem::Error),
    /// There is no certificate in it.
    #[error("holds no certificate (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// The key is not PEM, or none, or encrypted.
    #[error("holds no private key that can be used: {0}")]
    Key(pem::Error),
    /// The key is not the certificate's.
    #[error("the private key does not belong to the first certificate")]
    Mismatch,
    /// One of the certificates cannot be read, or a key is of a kind that nobody uses.
    #[error("cannot be used: {0}")]
    Unusable(#[from] Error),
}

/// Our certificate and its key, for clients.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    begins: Option<u64>,
    ends: Option<u64>,
}

impl ServerTls {
    /// From PEM: the certificate, behind it those that lead to its root, and the key.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, CertificateFileError> {
        let chain = read_certificates(certificates)?;
        let ends = Certificate::of(&chain).iter().filter_map(Certificate::not_after).min();
        let begins = Certificate::of(&chain).iter().filter_map(Certificate::not_before).max();
        let certified = CertifiedKey::new(chain, signing_key(key)?);
        match certified.keys_match() {
            // So it is where a key cannot tell its public half.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => return Err(CertificateFileError::Mismatch),
            Err(error) => return Err(error.into()),
        }
        let config = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        Ok(Self { config: Arc::new(config), begins, ends })
    }

    /// What secures connections of another protocol with it.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// From when on all of the certificates are valid, in Unix seconds.
    pub fn begins(&self) -> Option<u64> {
        self.begins
    }

    /// When the first of the certificates ends, in Unix seconds; `None` if none of them says so plainly.
    pub fn ends(&self) -> Option<u64> {
        self.ends
    }

    /// The handshake with a client, of whom nothing may have been read that belongs to it.
    pub(super) async fn secure(
        &self,
        client: &mut Connection<Stream>,
        patience: Duration,
    ) -> Result<(), HandshakeError> {
        let deadline = Instant::now() + patience;
        client.secure(async |socket: Socket| self.accept(socket, deadline).await).await
    }

    async fn accept(&self, socket: Socket, deadline: Instant) -> Result<Stream, HandshakeError> {
        let handshake = async {
            let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
            let suites = shown(start.client_hello().cipher_suites());
            let accepted = start.into_stream(Arc::clone(&self.config)).await;
            accepted.map_err(|error| HandshakeError::from(error).with_suites(suites))
        };
        let stream = timeout_at(deadline, handshake).await.map_err(|_| HandshakeError::Timeout)??;
        Ok(Stream::Tls(Box::new(TlsStream::Server(stream))))
    }
}

/// The key in a PEM file. A reload that finds the same file gets the same key: there is one copy of it, and what it was read
/// from is wiped.
fn signing_key(pem: &[u8]) -> Result<Arc<dyn SigningKey>, CertificateFileError> {
    static LAST: Mutex<Option<(blake3::Hash, Weak<dyn SigningKey>)>> = Mutex::new(None);
    let hash = blake3::hash(pem);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, key)) = &*last
        && *known == hash
        && let Some(key) = key.upgrade()
    {
        return Ok(key);
    }
    let key = ring::sign::any_supported_type(&*private_key(pem).map_err(CertificateFileError::Key)?)?;
    *last = Some((hash, Arc::downgrade(&key)));
    Ok(key)
}

/// Takes the first private key out of PEM (RFC 7468). The crate that reads certificates would leave copies of it behind.
fn private_key(pem: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, pem::Error> {
    let (mut label, mut text) = (None, Zeroizing::new(Vec::with_capacity(pem.len())));
    for line in pem.split(|octet| matches!(octet, b'\n' | b'\r')).map(<[u8]>::trim_ascii) {
        match (label, line.strip_prefix(b"-----BEGIN ")) {
            (_, Some(begun)) => {
                text.clear();
                label = match begun {
                    b"PRIVATE KEY-----" => Some(SectionKind::PrivateKey),
                    b"RSA PRIVATE KEY-----" => Some(SectionKind::RsaPrivateKey),
                    b"EC PRIVATE KEY-----" => Some(SectionKind::EcPrivateKey),
                    _ => None,
                };
            }
            (Some(kind), None) if line.starts_with(b"-----END ") => {
                let mut der = Zeroizing::new(Vec::with_capacity(text.len()));
                encodify::base64::STANDARD
                    .decode_append(&*text, &mut der)
                    .map_err(|error| pem::Error::Base64Decode(error.to_string()))?;
                let key = PrivateKeyDer::from_pem(kind, std::mem::take(&mut *der));
                return key.map(Zeroizing::new).ok_or(pem::Error::NoItemsFound);
            }
            (Some(_), None) => text.extend_from_slice(line),
            (None, None) => {}
        }
    }
    match label {
        Some(_) => Err(pem::Error::MissingSectionEnd { end_marker: b"PRIVATE KEY".to_vec() }),
        None => Err(pem::Error::NoItemsFound),
    }
}

/// Most cipher suites that a log line names.
const MAX_SUITES: usize = 12;

/// Cipher suites for the log.
fn shown(suites: &[CipherSuite]) -> String {
    let is_real = |suite: &&CipherSuite| !matches!(suite, CipherSuite::Unknown(_));
    let name = |suite: &CipherSuite| suite.as_str().map_or_else(|| format!("{suite:?}"), str::to_owned);
    let names: Vec<_> = suites.iter().filter(is_real).map(name).take(MAX_SUITES).collect();
    names.join(" ")
}

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Everybody's: it keeps those out who only listen.
    Anybody,
    /// Those that lead to one of these roots, are valid now and bear the server's name.
    Roots(Arc<RootCertStore>),
    /// The same, or one of these very certificates: a server can be its own authority.
    Named(Arc<RootCertStore>, Arc<[CertificateDer<'static>]>),
}

impl Trust {
    /// The roots in a PEM file.
    pub fn from_pem(roots: &[u8]) -> Result<Self, CertificateFileError> {
        let mut store = RootCertStore::empty();
        let certificates = read_certificates(roots)?;
        for root in &certificates {
            store.add(root.clone())?;
        }
        Ok(Self::Named(Arc::new(store), certificates.into()))
    }

    /// The roots; `None` where everybody is believed.
    pub(super) fn roots(&self) -> Option<&Arc<RootCertStore>> {
        match self {
            Self::Anybody => None,
            Self::Roots(roots) | Self::Named(roots, _) => Some(roots),
        }
    }

    /// The system's roots; `None` if it has none.
    pub fn of_system() -> Option<Self> {
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        (added > 0).then(|| Self::Roots(Arc::new(store)))
    }
}

/// How we speak TLS to one server.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A text that is neither a host name nor an IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a name that a certificate can have")]
pub struct ServerNameError;

impl ClientTls {
    /// To the server of this name or IP address.
    pub fn new(server: &str, trust: &Trust) -> Result<Self, ServerNameError> {
        let name = ServerName::try_from(server.to_owned()).map_err(|_| ServerNameError)?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3");
        let builder = match trust {
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Credulous)),
            Trust::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)),
            Trust::Named(roots, named) => {
                let verifier = Named::new(Arc::clone(roots), Arc::clone(named));
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        Ok(Self { config: Arc::new(builder.with_no_client_auth()), name })
    }

    /// The handshake with the server, of which nothing may have been read that belongs to it.
    pub(super) async fn secure(
        &self,
        server: &mut Connection<Stream>,
        deadline: Instant,
    ) -> Result<(), HandshakeError> {
        server.secure(async |socket: Socket| self.connect(socket, deadline).await).await
    }

    async fn connect(&self, socket: Socket, deadline: Instant) -> Result<Stream, HandshakeError> {
        let handshake = TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), socket);
        let stream = timeout_at(deadline, handshake).await.map_err(|_| HandshakeError::Timeout)??;
        Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
    }
}

/// Why a handshake failed, in an administrator's words.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("the TLS handshake timed out")]
    Timeout,
    /// No root that we trust stands behind the certificate.
    #[error("no authority that is trusted has signed the certificate")]
    UntrustedCertificate,
    /// The certificate, or one that leads to its root, has expired.
    #[error("the certificate has expired")]
    ExpiredCertificate,
    /// The certificate, or one that leads to its root, is for later.
    #[error("the certificate is not valid yet")]
    EarlyCertificate,
    /// The certificate bears another name.
    #[error("the certificate is for another name: {0}")]
    WrongName(Box<CertificateError>),
    /// The other side offers no version that we speak.
    #[error("the other side supports neither TLS 1.2 nor 1.3, only older versions")]
    OldVersion,
    /// It speaks TLS 1.2, with cipher suites that we don't have: CBC, or without forward secrecy.
    #[error(
        "the other side has no cipher suite that we have: in TLS 1.2 one with ECDHE, AES-GCM or ChaCha20, and the kind of the \
         certificate's key; it has {0}"
    )]
    NoCommonSuite(String),
    /// Whatever else a TLS library can object to, on either side.
    #[error("the TLS handshake failed: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        let objection = match error.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(Error::InvalidCertificate(objection)) => objection,
            Some(Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // Every client that speaks TLS 1.2 names its own (RFC 5246 §7.4.1.4.1).
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            )) => return Self::OldVersion,
            Some(Error::PeerIncompatible(
                PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NamedGroupsExtensionRequired
                | PeerIncompatible::EcPointsExtensionRequired,
            )) => return Self::NoCommonSuite("others".to_owned()),
            _ => return Self::Failed(error),
        };
        match objection {
            CertificateError::UnknownIssuer => Self::UntrustedCertificate,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::ExpiredCertificate,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::EarlyCertificate
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName(Box::new(objection.clone()))
            }
            _ => Self::Failed(error),
        }
    }
}

impl HandshakeError {
    /// The same, with the cipher suites that a client has offered.
    fn with_suites(self, suites: String) -> Self {
        if let Self::NoCommonSuite(_) = self { Self::NoCommonSuite(suites) } else { self }
    }
}

/// Believes certificates that lead to a root, and those that were named themselves: `openssl req -x509` makes an authority
/// that is a server as well, which no chain of trust allows.
#[derive(Debug)]
struct Named {
    /// `None` where the roots are of no use as such.
    by_roots: Option<Arc<WebPkiServerVerifier>>,
    named: Arc<[CertificateDer<'static>]>,
}

impl Named {
    fn new(roots: Arc<RootCertStore>, named: Arc<[CertificateDer<'static>]>) -> Self {
        let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&PROVIDER));
        Self { by_roots: builder.build().ok(), named }
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.named.iter().any(|named| named == certificate) {
            certificate::check_dates(certificate, now)?;
            certificate::check_name(certificate, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let by_roots = self.by_roots.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        by_roots.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &PROVIDER.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &PROVIDER.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}

/// Believes every certificate. Whoever stands between us and the server can show one of its own, so checking its
/// signatures would prove nothing and only fail with old servers.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}

pub(super) fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateFileError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(CertificateFileError::Malformed)?;
    if certificates.is_empty() { Err(CertificateFileError::NoCertificate) } else { Ok(certificates) }
}
