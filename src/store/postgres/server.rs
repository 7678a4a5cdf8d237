//! Which server, and how it is reached: a URL as PostgreSQL's own programs read it. Across a network it is reached under TLS alone.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use tokio_postgres::config::{Host, SslMode};

/// A database server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub(super) config: tokio_postgres::Config,
    /// Whether it is reached under TLS, and must show a certificate with its name.
    pub(super) tls: bool,
    /// The roots by which its certificate is checked. Default: the system's.
    pub(super) root_certificates: Option<PathBuf>,
}

impl Server {
    /// Where the database is, without the password.
    pub(in crate::store) fn name(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        format!("the PostgreSQL database {} at {hosts}", self.config.get_dbname().unwrap_or_default())
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root_certificates, mut rest) = (None, None, Vec::new());
        for setting in query.split('&').filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", file)) => root_certificates = Some(PathBuf::from(file)),
                _ => rest.push(setting),
            }
        }
        let mut config: tokio_postgres::Config = format!("{address}?{}", rest.join("&"))
            .parse()
            .map_err(|error: tokio_postgres::Error| source_of(&error))?;
        if config.get_hosts().is_empty() {
            return Err("names no server; write postgres://USER@HOST/DATABASE".to_owned());
        }
        let is_here = config.get_hosts().iter().all(is_here);
        let tls = match mode {
            None => !is_here,
            Some("disable") => false,
            Some("require" | "verify-full") => true,
            Some(other) => return Err(format!("sslmode={other}: choose verify-full or disable")),
        };
        config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
        Ok(Self { config, tls, root_certificates })
    }
}

/// Whether a server is on this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// What an error of the driver is about; its own text is no more than "db error".
pub(super) fn source_of(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_for_the_network() {
        for (url, tls) in [
            ("postgres://waxseal@db.example.org/waxseal", true),
            ("postgres://waxseal@db.example.org/waxseal?sslmode=disable", false),
            ("postgres://waxseal@[::1]/waxseal", false),
            ("postgresql://waxseal@127.0.0.1:5433/waxseal?sslmode=verify-full&sslrootcert=/etc/ca.pem", true),
            ("postgres://waxseal@%2Frun%2Fpostgresql/waxseal", false),
            ("postgres:///waxseal?host=/run/postgresql&user=waxseal", false),
            ("postgres://a@one.example,two.example/waxseal?target_session_attrs=read-write", true),
        ] {
            assert_eq!(url.parse::<Server>().unwrap().tls, tls, "{url}");
        }
        for (url, why) in [
            ("postgres:///waxseal", "names no server"),
            ("postgres://a@b/c?sslmode=prefer", "verify-full"),
            ("postgres://a@b/c?colour=red", "colour"),
        ] {
            let error = url.parse::<Server>().unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let server: Server = "postgres://waxseal:secret@db.example.org/waxseal".parse().unwrap();
        assert!(!format!("{server:?}").contains("secret"));
    }
}
