//! The adapter `postgres`: a database that several gateways share. Any of them may die at any moment; none decides alone.
//!
//! The driver is asynchronous and has a small runtime of its own, so that callers of the traits need none: they wait on their own
//! thread, as they wait for SQLite.

mod accounts;
mod block_on;
mod claim;
mod connect;
mod deeds;
pub(super) mod exchange;
mod judged;
mod memories;
mod memory;
mod outbox;
mod pins;
mod probes;
mod quarantine;
mod rows;
mod server;
mod watch;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::{GenericClient, Object, Pool};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use self::block_on::block_on;
use super::error::{DatabaseError, Fault};
use super::filling::Told;
use super::location::{Label, Location};
use super::state::State;

pub use self::server::Server;

/// How long a question may take that a message waits for.
const ASKING: Duration = Duration::from_secs(5);
/// Connections at once; more callers wait.
const CONNECTIONS: usize = 16;
/// How long writing may take, or reading a lot.
pub(super) const WRITING: Duration = Duration::from_secs(60);

/// What somebody may do with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// A gateway brings it forward, and watches it.
    Serve,
    /// Commands change what is there.
    Change,
    /// Nothing is changed.
    Look,
}

/// The database.
#[derive(Clone, Debug)]
pub(super) struct Postgres(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runtime: Background,
    /// Or why there can be none.
    pool: Result<Pool, String>,
    /// A connection to look at the database with, however busy the others are.
    watching: Result<Pool, String>,
    /// What must be on disk.
    folder: PathBuf,
    label: Label,
    access: Access,
    health: Health,
    told: Mutex<Told>,
}

/// What was found when the database was looked at last.
#[derive(Debug)]
struct Health {
    /// Whether it answers, and has tables that this version knows.
    answers: AtomicBool,
    /// The version of the pins; -1 as long as that is unknown.
    pins: AtomicI64,
}

impl Health {
    /// It answered; tells whether it did before.
    fn note(&self, pins: i64) -> bool {
        self.pins.store(pins, Ordering::Relaxed);
        self.answers.swap(true, Ordering::Relaxed)
    }
}

/// A runtime that ends in the background, wherever it is dropped.
#[derive(Debug)]
struct Background(Option<Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// For the gateway: the tables are made, or brought forward. A database that is away is looked for again every second.
pub(super) fn open_to_serve(server: &Server, place: &Location) -> Result<State, DatabaseError> {
    let postgres = Postgres::new(server, place, Access::Serve);
    match postgres.wait(watch::look(&postgres)) {
        Ok(version) => {
            postgres.0.health.note(version);
        }
        Err(error @ (DatabaseError::Later { .. } | DatabaseError::Moved(_) | DatabaseError::Unfit(_))) => {
            return Err(error);
        }
        Err(error) => tracing::error!(%error, "the database cannot be used; it is tried again every second"),
    }
    postgres.spawn(watch::watch(Arc::downgrade(&postgres.0)));
    Ok(postgres.state())
}

/// For commands.
pub(super) fn open(server: &Server, place: &Location) -> State {
    Postgres::new(server, place, Access::Change).state()
}

/// For those who only look.
pub(super) fn open_to_look(server: &Server, place: &Location) -> State {
    Postgres::new(server, place, Access::Look).state()
}

impl Postgres {
    fn new(server: &Server, place: &Location, access: Access) -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("postgres").enable_all().build();
        let pool = |connections| match &runtime {
            Ok(_) => connect::pool(server, connections, access == Access::Look),
            Err(error) => Err(format!("the system gives no more threads or files: {error}")),
        };
        let (pool, watching) = (pool(CONNECTIONS), pool(1));
        Self(Arc::new(Shared {
            runtime: Background(runtime.ok()),
            pool,
            watching,
            folder: place.folder.clone(),
            label: place.label.clone(),
            access,
            health: Health { answers: AtomicBool::new(false), pins: AtomicI64::new(-1) },
            told: Mutex::default(),
        }))
    }

    fn state(&self) -> State {
        let all = Arc::new(self.clone());
        State {
            memories: Arc::clone(&all) as _,
            judgements: Arc::clone(&all) as _,
            messages: Arc::clone(&all) as _,
            outbox: Arc::clone(&all) as _,
            audit: Arc::clone(&all) as _,
            accounts: Arc::clone(&all) as _,
            quarantine: Arc::clone(&all) as _,
            pins: Arc::clone(&all) as _,
            probes: all,
        }
    }

    /// Which gateway this is.
    fn label(&self) -> &str {
        self.0.label.as_str()
    }

    /// Whether the database answered when it was looked at last.
    fn answers(&self) -> bool {
        self.0.health.answers.load(Ordering::Relaxed)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with a connection, on this thread, for as long as a message may wait.
    fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut Object) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.run_for(ASKING, work)
    }

    /// The same for so long.
    fn run_for<T>(
        &self,
        patience: Duration,
        work: impl AsyncFnOnce(&mut Object) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        if !self.answers() {
            // Nobody waits for a database that is known to be away.
            if self.0.access == Access::Serve {
                return Err(DatabaseError::failed(Fault::Away, "it does not answer"));
            }
            self.wait(self.with(ASKING, connect::check_form))?;
            self.0.health.answers.store(true, Ordering::Relaxed);
        }
        self.wait(self.with(patience, work))
    }

    /// Does something with a connection. One that did not answer in time is not used again.
    async fn with<T>(
        &self,
        patience: Duration,
        work: impl AsyncFnOnce(&mut Object) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        Self::with_one_of(&self.0.pool, patience, work).await
    }

    async fn with_one_of<T>(
        pool: &Result<Pool, String>,
        patience: Duration,
        work: impl AsyncFnOnce(&mut Object) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let pool = pool.as_ref().map_err(|why| DatabaseError::Unfit(why.clone()))?;
        let mut client = pool.get().await.map_err(connect::no_connection)?;
        match timeout(patience, work(&mut client)).await {
            Ok(done) => done,
            Err(_) => {
                drop(Object::take(client));
                let why = format!("no answer within {} s", patience.as_secs());
                Err(DatabaseError::failed(Fault::Away, why))
            }
        }
    }

    /// Waits for a future whose sockets and timers are the runtime's.
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let _entered = self.0.runtime.0.as_ref().map(Runtime::enter);
        block_on(work)
    }

    /// Has the runtime do something beside.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let _entered = self.0.runtime.0.as_ref().map(Runtime::enter);
        tokio::spawn(work)
    }
}

/// What was asked for; the statement is prepared once for each connection.
async fn query<C: GenericClient>(
    client: &C,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    let statement = client.prepare_cached(sql).await?;
    client.query(&statement, values).await
}

/// How many rows were changed, likewise.
async fn execute<C: GenericClient>(
    client: &C,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<u64, Error> {
    let statement = client.prepare_cached(sql).await?;
    client.execute(&statement, values).await
}

/// A number as the database has it.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that was written by [`number`].
fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

impl From<Error> for DatabaseError {
    fn from(error: Error) -> Self {
        if error.code() == Some(&SqlState::UNDEFINED_TABLE) {
            return Self::None("a gateway makes the tables in the database when it starts".to_owned());
        }
        let fault = match error.code() {
            Some(code) if *code == SqlState::DISK_FULL => Fault::Full,
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => Fault::ReadOnly,
            Some(code) if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
                Fault::Damaged
            }
            // The server goes down or comes up, or ended the connection.
            Some(code) if code.code().starts_with("57P") || code.code().starts_with("08") => Fault::Away,
            Some(_) => Fault::Other,
            None => Fault::Away,
        };
        Self::failed(fault, server::source_of(&error))
    }
}
