//! Connections to PostgreSQL, and the form of the tables.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use refinery::embed_migrations;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::info;

use super::{Server, judged, query, rows};
use crate::store::error::{DatabaseError, Fault};

embed_migrations!("src/store/postgres/migrations");

/// How long a new connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// A connection that is idle for so long is tried.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The pool; it connects when it is used.
pub(super) fn pool(server: &Server, connections: usize, read_only: bool) -> Result<Pool, String> {
    let mut config = server.config.clone();
    config.application_name("waxseal").connect_timeout(CONNECT).tcp_user_timeout(CONNECT);
    config.keepalives_idle(KEEPALIVE);
    if read_only {
        let options = config.get_options().unwrap_or_default();
        let options = format!("{options} -c default_transaction_read_only=on");
        config.options(&options);
    }
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = if server.tls {
        Manager::from_config(config, MakeRustlsConnect::new(tls(server)?), recycling)
    } else {
        Manager::from_config(config, NoTls, recycling)
    };
    let pool = Pool::builder(manager).max_size(connections).runtime(Runtime::Tokio1);
    let pool = pool.wait_timeout(Some(CONNECT)).create_timeout(Some(CONNECT)).recycle_timeout(Some(CONNECT));
    pool.build().map_err(|error| error.to_string())
}

/// The server must show a certificate with its name that leads to one of the roots.
fn tls(server: &Server) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &server.root_certificates {
        Some(file) => {
            let unfit = |error: &dyn std::error::Error| format!("{}: {error}", file.display());
            let pem = CertificateDer::pem_file_iter(file).map_err(|error| unfit(&error))?;
            for certificate in pem {
                let certificate = certificate.map_err(|error| unfit(&error))?;
                roots.add(certificate).map_err(|error| unfit(&error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Why there is no connection.
pub(super) fn no_connection(error: PoolError) -> DatabaseError {
    match error {
        PoolError::Backend(error) => match DatabaseError::from(error) {
            // Whatever it is, there is no connection.
            DatabaseError::Failed { fault: Fault::Other, source } => {
                DatabaseError::Failed { fault: Fault::Away, source }
            }
            error => error,
        },
        error => DatabaseError::failed(Fault::Away, error),
    }
}

/// Makes the tables, or brings them forward; of several gateways that start at once, one does it and the others wait.
pub(super) async fn migrate(client: &mut Object) -> Result<(), DatabaseError> {
    let encoding: String = client.query_one("SHOW server_encoding", &[]).await?.try_get(0)?;
    if encoding != "UTF8" {
        return Err(DatabaseError::Unfit(format!(
            "its encoding is {encoding}; make one with ENCODING 'UTF8'"
        )));
    }
    client.execute("SELECT pg_advisory_lock(hashtext('waxseal tables'))", &[]).await?;
    let done = migrate_alone(client).await;
    client.execute("SELECT pg_advisory_unlock(hashtext('waxseal tables'))", &[]).await?;
    done
}

async fn migrate_alone(client: &mut Object) -> Result<(), DatabaseError> {
    if form(client).await? != Some(known()) {
        let runner = migrations::runner().set_grouped(true);
        let plain: &mut tokio_postgres::Client = client;
        let done = runner.run_async(plain).await;
        done.map_err(|error| DatabaseError::failed(Fault::Other, error))?;
    }
    check_not_moved(client).await?;
    let transaction = client.transaction().await?;
    rows::complete(&transaction).await?;
    let completed = judged::complete(&transaction).await?;
    if completed > 0 {
        info!(
            messages = completed,
            "judged messages of an earlier version, or of a copy, can be searched now"
        );
    }
    Ok(transaction.commit().await?)
}

/// Sees that the state is not somewhere else by now.
pub(super) async fn check_not_moved(client: &Object) -> Result<(), DatabaseError> {
    match query(client, "SELECT destination FROM moved LIMIT 1", &[]).await?.first() {
        Some(row) => Err(DatabaseError::Moved(row.try_get(0)?)),
        None => Ok(()),
    }
}

/// Sees that the tables are there, in the form that this version works with.
pub(super) async fn check_form(client: &mut Object) -> Result<(), DatabaseError> {
    let none = |why: &str| Err(DatabaseError::None(why.to_owned()));
    match form(client).await? {
        None => none("a gateway makes the tables in the database when it starts"),
        Some(form) if form < known() => none(
            "the tables in the database are of an earlier version; a gateway of this version brings them forward when it starts",
        ),
        Some(_) => Ok(()),
    }
}

/// The form of the tables: the number of the last migration. `None` where there are none.
pub(super) async fn form(client: &Object) -> Result<Option<i64>, DatabaseError> {
    let sql = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";
    if !client.query_one(sql, &[]).await?.try_get(0)? {
        return Ok(None);
    }
    let sql = "SELECT max(version)::BIGINT FROM refinery_schema_history";
    let found: Option<i64> = client.query_one(sql, &[]).await?.try_get(0)?;
    let (found, known) = (found.unwrap_or_default(), known());
    if found > known {
        return Err(DatabaseError::Later { database: "the PostgreSQL database".to_owned(), found, known });
    }
    Ok(Some(found))
}

/// The last form that this version knows.
pub(super) fn known() -> i64 {
    let runner = migrations::runner();
    let numbers = runner.get_migrations().iter().map(|migration| i64::from(migration.version()));
    numbers.max().unwrap_or_default()
}
