//! A PostgreSQL database that is copied, or filled with a copy, in one transaction.

use std::io::{self, Read};

use deadpool_postgres::{GenericClient, Object};
use tokio_postgres::Row as Found;
use tokio_postgres::types::ToSql;

use super::server::Server;
use super::{Access, Postgres, connect, judged, quarantine, query};
use crate::store::error::DatabaseError;
use crate::store::exchange::{
    Cell, Departure, Destination, Digest, ExchangeError, Kind, Row, Sink, Source, TABLES, Table, name,
};
use crate::store::held::{HeldId, StoreError};
use crate::store::location::Location;
use crate::store::pins::Said;

/// Rows that are read at once.
const ROWS: i64 = 500;

/// A connection with a transaction of its own.
struct Session {
    postgres: Postgres,
    client: Object,
    place: String,
}

impl Session {
    fn open(server: &Server, place: &Location, begin: &str) -> Result<Self, ExchangeError> {
        let postgres = Postgres::new(server, place, Access::Change);
        let pool = postgres.0.watching.clone().map_err(DatabaseError::Unfit)?;
        let client = postgres.wait(async {
            let mut client = pool.get().await.map_err(connect::no_connection)?;
            if begin.contains("READ ONLY") {
                connect::check_form(&mut client).await?;
            } else {
                connect::migrate(&mut client).await?;
            }
            client.batch_execute(begin).await?;
            Ok::<_, DatabaseError>(client)
        })?;
        Ok(Self { postgres, client, place: name(place) })
    }

    fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, ExchangeError> {
        Ok(self.postgres.wait(work).map_err(DatabaseError::from)?)
    }

    fn batch(&self, sql: &str) -> Result<(), ExchangeError> {
        self.wait(self.client.batch_execute(sql))
    }

    /// Sees that no gateway uses the database.
    fn check_unused(&self) -> Result<(), ExchangeError> {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE application_name = 'waxseal' AND datname = current_database() AND pid <> pg_backend_pid()";
        let others: i64 = self.wait(async { self.client.query_one(sql, &[]).await?.try_get(0) })?;
        if others > 0 { Err(ExchangeError::InUse(self.place.clone())) } else { Ok(()) }
    }

    /// Gives what a query finds, in pieces.
    fn each(
        &self,
        sql: &str,
        mut give: impl FnMut(&Found) -> Result<(), ExchangeError>,
    ) -> Result<(), ExchangeError> {
        self.batch(&format!("DECLARE copy NO SCROLL CURSOR FOR {sql}"))?;
        loop {
            let rows = self.wait(self.client.query(&format!("FETCH {ROWS} FROM copy"), &[]))?;
            if rows.is_empty() {
                return self.batch("CLOSE copy");
            }
            rows.iter().try_for_each(&mut give)?;
        }
    }

    fn give(&self, to: &mut dyn Sink) -> Result<(), ExchangeError> {
        let mut held: Vec<(HeldId, i64)> = Vec::new();
        self.each("SELECT id, size FROM held ORDER BY id", |row| {
            let id: &str = row.try_get(0).map_err(DatabaseError::from)?;
            held.push((id.parse()?, row.try_get(1).map_err(DatabaseError::from)?));
            Ok(())
        })?;
        for (id, size) in &held {
            let size = u64::try_from(*size).unwrap_or_default();
            let mut pieces = Pieces { session: self, id, next: 0, piece: io::Cursor::default(), left: size };
            to.message(id, size, &mut pieces)?;
        }
        for table in TABLES {
            let columns = table.columns.iter().map(|(name, kind)| match kind {
                Kind::Flag => format!("{name}::INT::BIGINT"),
                Kind::Whole => format!("{name}::BIGINT"),
                Kind::Text | Kind::Octets => (*name).to_owned(),
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            self.each(&format!("SELECT {columns} FROM {} ORDER BY {}", table.name, table.order), |row| {
                let cells = table.columns.iter().enumerate().map(|(at, (_, kind))| cell(row, at, *kind));
                let cells: Row = cells.collect::<Result<_, _>>().map_err(DatabaseError::from)?;
                to.row(table, &cells)
            })?;
        }
        let said =
            self.wait(async { self.client.query_one("SELECT content FROM said", &[]).await?.try_get(0) });
        let said: String = said?;
        let said: Said = serde_json::from_str(&said)
            .map_err(|error| DatabaseError::Unfit(format!("the pins make no sense: {error}")))?;
        to.pins(&serde_json::to_string(&said).expect("what was said is strings"))
    }
}

fn cell(row: &Found, at: usize, kind: Kind) -> Result<Cell, tokio_postgres::Error> {
    let cell = match kind {
        Kind::Text => row.try_get::<_, Option<String>>(at)?.map(Cell::Text),
        Kind::Whole | Kind::Flag => row.try_get::<_, Option<i64>>(at)?.map(Cell::Whole),
        Kind::Octets => row.try_get::<_, Option<Vec<u8>>>(at)?.map(Cell::Octets),
    };
    Ok(cell.unwrap_or(Cell::Nothing))
}

/// A held message, read piece by piece in the transaction.
struct Pieces<'a> {
    session: &'a Session,
    id: &'a HeldId,
    next: i32,
    piece: io::Cursor<Vec<u8>>,
    left: u64,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.piece.read(buffer)?;
        if read > 0 || buffer.is_empty() || self.left == 0 {
            self.left = self.left.saturating_sub(read as u64);
            return Ok(read);
        }
        let sql = "SELECT octets FROM held_piece WHERE held = $1 AND number = $2";
        let found = self.session.wait(query(&self.session.client, sql, &[&self.id.as_str(), &self.next]));
        let found = found.map_err(io::Error::other)?;
        let piece: Option<Vec<u8>> =
            found.first().map(|row| row.try_get(0)).transpose().map_err(io::Error::other)?;
        let piece = piece.filter(|piece| !piece.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.piece = io::Cursor::new(piece);
        self.next += 1;
        self.read(buffer)
    }
}

/// A database, as it was when it was opened.
pub(in crate::store) struct ServerSource(Session);

impl ServerSource {
    pub(in crate::store) fn open(server: &Server, place: &Location) -> Result<Self, ExchangeError> {
        Session::open(server, place, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map(Self)
    }
}

impl Source for ServerSource {
    fn give(&mut self, to: &mut dyn Sink) -> Result<(), ExchangeError> {
        self.0.give(to)
    }
}

/// A database that is being filled. Without the end of its transaction, nothing is in it.
pub(in crate::store) struct NewServer(Session);

impl NewServer {
    pub(in crate::store) fn make(server: &Server, place: &Location) -> Result<Self, ExchangeError> {
        let session = Session::open(server, place, "BEGIN")?;
        session.check_unused()?;
        for table in [
            "held",
            "domain",
            "judged",
            "delivered",
            "finding",
            "daily",
            "letter",
            "deed",
            "account",
            "moved",
        ] {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {table})");
            if session.wait(async { session.client.query_one(&sql, &[]).await?.try_get(0) })? {
                let why = format!("its table {table} has rows; make a new database");
                return Err(ExchangeError::NotEmpty(session.place, why));
            }
        }
        Ok(Self(session))
    }
}

impl Sink for NewServer {
    fn message(&mut self, id: &HeldId, _size: u64, octets: &mut dyn Read) -> Result<(), ExchangeError> {
        let client = &self.0.client;
        let written = self.0.wait(async {
            // What is known of it comes later.
            let sql = "INSERT INTO held (id, gateway, verified, size, facts) VALUES ($1, '', FALSE, 0, '')";
            super::execute(client, sql, &[&id.as_str()]).await?;
            quarantine::write(client, id, octets).await
        })?;
        written.map(drop).map_err(|error: StoreError| error.into())
    }

    fn row(&mut self, table: &Table, row: &[Cell]) -> Result<(), ExchangeError> {
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let values: Vec<Box<dyn ToSql + Sync>> =
            row.iter().zip(table.columns).map(|(cell, (_, kind))| value(cell, *kind)).collect();
        let marks: Vec<String> = (1..=columns.len()).map(|at| format!("${at}")).collect();
        let mut sql =
            format!("INSERT INTO {} ({}) VALUES ({})", table.name, columns.join(", "), marks.join(", "));
        if table.name == "release" {
            "INSERT INTO release (held, gateway, step) SELECT $1, gateway, $2 FROM held WHERE id = $1"
                .clone_into(&mut sql);
        }
        if table.name == "held" {
            let set: Vec<String> = columns.iter().map(|name| format!("{name} = excluded.{name}")).collect();
            sql.push_str(&format!(" ON CONFLICT (id) DO UPDATE SET {}", set.join(", ")));
        }
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value).collect();
        self.0.wait(super::execute(&self.0.client, &sql, &values)).map(drop)
    }

    fn pins(&mut self, said: &str) -> Result<(), ExchangeError> {
        let sql = "UPDATE said SET content = $1, version = version + 1";
        self.0.wait(super::execute(&self.0.client, sql, &[&said])).map(drop)
    }
}

fn value(cell: &Cell, kind: Kind) -> Box<dyn ToSql + Sync> {
    match (cell, kind) {
        (Cell::Text(text), _) => Box::new(text.replace('\0', "\u{fffd}")),
        (Cell::Whole(number), Kind::Flag) => Box::new(*number != 0),
        (Cell::Whole(number), _) => Box::new(*number),
        (Cell::Octets(octets), _) => Box::new(octets.clone()),
        (Cell::Nothing, Kind::Text) => Box::new(None::<String>),
        (Cell::Nothing, Kind::Whole) => Box::new(None::<i64>),
        (Cell::Nothing, Kind::Flag) => Box::new(None::<bool>),
        (Cell::Nothing, Kind::Octets) => Box::new(None::<Vec<u8>>),
    }
}

impl Destination for NewServer {
    fn as_sink(&mut self) -> &mut dyn Sink {
        self
    }

    fn place(&self) -> String {
        self.0.place.clone()
    }

    fn read_back(&mut self, _read: &Digest, to: &mut dyn Sink) -> Result<(), ExchangeError> {
        self.0.wait(judged::complete(&self.0.client))?;
        self.0.give(to)
    }

    fn finish(self: Box<Self>) -> Result<(), ExchangeError> {
        self.0.wait(quarantine::make_durable(&self.0.client))?;
        self.0.batch("COMMIT")
    }
}

/// A database that no gateway uses.
pub(in crate::store) struct Leaving(Session);

impl Leaving {
    pub(in crate::store) fn of(server: &Server, place: &Location) -> Result<Self, ExchangeError> {
        let session = Session::open(server, place, "SELECT 1")?;
        session.check_unused()?;
        Ok(Self(session))
    }
}

impl Departure for Leaving {
    fn mark(&self, destination: &str) -> Result<(), ExchangeError> {
        let at = jiff::Timestamp::now().as_second();
        let sql = "INSERT INTO moved (at, destination) VALUES ($1, $2)";
        self.0.wait(super::execute(&self.0.client, sql, &[&at, &destination])).map(drop)
    }
}
