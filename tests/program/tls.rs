//! Certificates made for one test, and peers that speak TLS.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::PATIENCE;
use super::run::{self, works};
use super::skip::are_there;
use super::smtp::Client;

/// Whoever signs certificates. They are as RFC 5280 §4.2.1 has them, for clients that check that strictly.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// One of its own.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Writes its own certificate into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("ca.pem");
        fs::write(&path, self.pem()).unwrap();
        path
    }

    /// A certificate for these names and IP addresses.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_until(names, 2100)
    }

    /// A certificate that was good until the year 2020.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Identity {
        self.issue_until(names, 2020)
    }

    /// A certificate that is good from the year `from` on.
    pub(crate) fn issue_from(&self, names: &[&str], from: i32) -> Identity {
        self.issue_between(names, (from, 2100))
    }

    fn issue_until(&self, names: &[&str], year: i32) -> Identity {
        self.issue_between(names, (2010, year))
    }

    fn issue_between(&self, names: &[&str], (from, until): (i32, i32)) -> Identity {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A TLS connection to the server of this name, whose certificate this authority must have signed.
    pub(crate) fn connect<S: Read + Write>(&self, name: &str, socket: S) -> Tls<S> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
    }

    /// The session under TLS, by STARTTLS.
    pub(crate) fn starttls(&self, name: &str, mut client: Client) -> Client<Tls<TcpStream>> {
        assert_eq!(client.say("STARTTLS"), "220 2.0.0 ready to start TLS");
        Client::over(self.connect(name, client.into_stream()))
    }
}

/// A client's end of a TLS connection.
pub(crate) type Tls<S> = StreamOwned<ClientConnection, S>;

impl Identity {
    /// Writes `tls.pem` and `tls.key` into `folder`, in place of earlier ones.
    pub(crate) fn write(&self, folder: &Path) {
        fs::write(folder.join("tls.pem"), &self.certificate).unwrap();
        fs::write(folder.join("tls.key"), &self.key).unwrap();
    }

    fn server_config(&self) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }
}

/// What clients use that are not ours: `openssl s_client`.
#[derive(Debug)]
pub(crate) struct OpenSsl {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl OpenSsl {
    /// Whether there is such a program here. If not, the test is skipped.
    pub(crate) fn is_there() -> bool {
        are_there(&[("openssl", works("openssl", &["version"]))])
    }

    /// Connects; the certificate must lead to the root in `ca`.
    pub(crate) fn connect(server: SocketAddr, ca: &Path, options: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-verify_return_error", "-connect", &server.to_string()]);
        command.arg("-CAfile").arg(ca).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output }
    }
}

impl Read for OpenSsl {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let patience = Timespec::try_from(PATIENCE).unwrap();
        if poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&patience))? == 0 {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.output.read(buffer)
    }
}

impl Write for OpenSsl {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.input.write(octets)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.input.flush()
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        run::kill(&mut self.child);
    }
}

/// How a server deals with STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should.
    Able,
    /// It does not offer it.
    Unable,
    /// It offers it and answers with this, in one segment.
    Answering(&'static str),
    /// It says 220 and then no TLS.
    Babbling,
    /// It says 220 and hangs up.
    Leaving,
    /// It hangs up at once.
    Missing,
    /// TLS begins with the connection.
    Implicit,
}

/// A mail server that knows STARTTLS. It ends with the test's process.
#[derive(Debug)]
pub(crate) struct TlsServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl TlsServer {
    /// On loopback.
    pub(crate) fn start(identity: &Identity, manner: Manner) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), identity, manner)
    }

    /// On this machine's address in some network.
    pub(crate) fn start_on(address: IpAddr, identity: &Identity, manner: Manner) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let server = Self { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let (heard, config) = (Arc::clone(&server.heard), identity.server_config());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (heard, config) = (Arc::clone(&heard), Arc::clone(&config));
                // A client that hangs up ends its session, and nothing else.
                thread::spawn(move || serve(client, config, manner, &heard));
            }
        });
        server
    }

    /// Every line that it heard, `TLS: ` before those under TLS.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn serve(
    client: TcpStream,
    config: Arc<ServerConfig>,
    manner: Manner,
    heard: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    const GREETING: &[u8] = b"220 mail.partner.example ESMTP\r\n";
    client.set_read_timeout(Some(PATIENCE))?;
    if manner == Manner::Implicit {
        let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), client);
        tls.write_all(GREETING)?;
        return converse(&mut BufReader::new(tls), "250-AUTH PLAIN\r\n250-DSN\r\n", "TLS: ", heard).map(drop);
    }
    let mut client = BufReader::new(client);
    client.get_mut().write_all(GREETING)?;
    let extensions = if manner == Manner::Unable { "" } else { "250-STARTTLS\r\n" };
    if !converse(&mut client, &format!("{extensions}250-AUTH PLAIN\r\n250-SMTPUTF8\r\n"), "", heard)? {
        return Ok(());
    }
    let mut socket = client.into_inner();
    match manner {
        Manner::Able | Manner::Implicit => {}
        Manner::Unable | Manner::Missing => return Ok(()),
        Manner::Answering(reply) => {
            socket.write_all(reply.as_bytes())?;
            return converse(&mut BufReader::new(socket), "", "", heard).map(drop);
        }
        Manner::Babbling => {
            socket.write_all(b"220 go ahead\r\n")?;
            // Behind the reply, not with it.
            socket.read_exact(&mut [0; 5])?;
            socket.write_all(b"250 this is no handshake\r\n")?;
            return socket.read_to_end(&mut Vec::new()).map(drop);
        }
        Manner::Leaving => return socket.write_all(b"220 go ahead\r\n"),
    }
    socket.write_all(b"220 go ahead\r\n")?;
    let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    converse(&mut BufReader::new(tls), "250-AUTH PLAIN\r\n250-DSN\r\n", "TLS: ", heard).map(drop)
}

/// Until the client hangs up, or true when it says STARTTLS. One greeting is enough for it, as for some servers.
fn converse<S: Read + Write>(
    client: &mut BufReader<S>,
    extensions: &str,
    mark: &str,
    heard: &Mutex<Vec<String>>,
) -> std::io::Result<bool> {
    let mut is_greeted = false;
    loop {
        let mut line = String::new();
        if client.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        heard.lock().unwrap().push(format!("{mark}{}", line.trim_end()));
        let reply = match line.to_ascii_uppercase().split([' ', '\r']).next() {
            Some("EHLO") if is_greeted => "503 5.5.1 duplicate EHLO".to_owned(),
            Some("EHLO") => {
                is_greeted = true;
                format!("250-mail.partner.example\r\n{extensions}250 XCLIENT ADDR PROTO HELO")
            }
            Some("STARTTLS") => return Ok(true),
            Some("XCLIENT") => {
                is_greeted = false;
                "220 mail.partner.example ESMTP".to_owned()
            }
            Some("AUTH") => "235 2.7.0 welcome".to_owned(),
            Some("DATA") => {
                client.get_mut().write_all(b"354 go ahead\r\n")?;
                client.get_mut().flush()?;
                while line != ".\r\n" {
                    line.clear();
                    client.read_line(&mut line)?;
                }
                "250 2.0.0 taken".to_owned()
            }
            Some("QUIT") => "221 2.0.0 bye".to_owned(),
            _ => "250 2.0.0 ok".to_owned(),
        };
        client.get_mut().write_all(format!("{reply}\r\n").as_bytes())?;
        client.get_mut().flush()?;
    }
}
