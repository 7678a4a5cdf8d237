//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446): our certificate for clients, our trust in the next hop's, and handshakes.
//! When there is one at all is decided elsewhere.

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore,
    ServerConfig, SignatureScheme,
};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::smtp::certificate::Certificate;
use crate::smtp::stream::{Socket, Stream};

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
    ends: Option<u64>,
}

impl ServerTls {
    /// From PEM: the certificate, behind it those that lead to its root, and the key.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, CertificateFileError> {
        let chain = read_certificates(certificates)?;
        let ends = Certificate::of(&chain).iter().filter_map(Certificate::not_after).min();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateFileError::Key)?;
        let config = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateFileError::Mismatch,
                error => error.into(),
            })?;
        Ok(Self { config: Arc::new(config), ends })
    }

    /// When the first of the certificates ends, in Unix seconds; `None` if none of them says so plainly.
    pub fn ends(&self) -> Option<u64> {
        self.ends
    }

    /// The handshake with a client.
    pub(super) async fn accept(&self, socket: Socket, deadline: Instant) -> Result<Stream, HandshakeError> {
        let handshake = TlsAcceptor::from(Arc::clone(&self.config)).accept(socket);
        let stream = timeout_at(deadline, handshake).await.map_err(|_| HandshakeError::Timeout)??;
        Ok(Stream::Tls(Box::new(TlsStream::Server(stream))))
    }
}

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Everybody's: it keeps those out who only listen.
    Anybody,
    /// Those that lead to one of these roots, are valid now and bear the server's name.
    Roots(Arc<RootCertStore>),
}

impl Trust {
    /// The roots in a PEM file.
    pub fn from_pem(roots: &[u8]) -> Result<Self, CertificateFileError> {
        let mut store = RootCertStore::empty();
        for root in read_certificates(roots)? {
            store.add(root)?;
        }
        Ok(Self::Roots(Arc::new(store)))
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
#[error("not a name that a certificate can bear")]
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
        };
        Ok(Self { config: Arc::new(builder.with_no_client_auth()), name })
    }

    /// The handshake with the server.
    pub(super) async fn connect(&self, socket: Socket, deadline: Instant) -> Result<Stream, HandshakeError> {
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
    /// Whatever else a TLS library can object to, on either side.
    #[error("the TLS handshake failed: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        let Some(Error::InvalidCertificate(objection)) = cause else { return Self::Failed(error) };
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
