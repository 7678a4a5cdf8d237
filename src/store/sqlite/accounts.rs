//! Accounts of the console and their sessions, in SQLite.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, TransactionBehavior, params};

use super::database::{Database, version};
use crate::store::accounts::{
    Account, AccountError, AccountName, Accounts, MAX_ACCOUNTS, MAX_SESSIONS, MAX_SESSIONS_OF_ONE,
    NewSession, Preferences, Role, Session, TokenHash, check_password,
};
use crate::store::error::DatabaseError;
use crate::store::index::{seconds, time};

/// The first form that has accounts.
const FIRST: i64 = 5;

const COLUMNS: &str =
    "account.name, account.password, account.role, account.language, account.time_zone, account.created";

/// An account from its row; `None` where a later version wrote it otherwise.
fn account(row: &Row<'_>) -> rusqlite::Result<Option<Account>> {
    let (name, role): (String, String) = (row.get(0)?, row.get(2)?);
    let (Ok(name), Ok(role)) = (name.parse(), role.parse()) else { return Ok(None) };
    let preferences = Preferences { language: row.get(3)?, time_zone: row.get(4)? };
    Ok(Some(Account { name, password: row.get(1)?, role, preferences, created: time(row.get(5)?) }))
}

fn end_sessions(connection: &Connection, name: &AccountName) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM session WHERE account = ?1", [name.as_str()]).map(drop)
}

impl Database {
    /// Reads; a database of an earlier form has nothing yet.
    fn read_accounts<T: Default>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DatabaseError> {
        self.read(
            |connection| {
                if version(connection)? < FIRST { Ok(T::default()) } else { Ok(query(connection)?) }
            },
        )
    }

    /// Changes accounts in one transaction.
    fn change_accounts<T, E: From<DatabaseError>>(
        &self,
        change: impl FnOnce(&Connection) -> Result<Result<T, E>, DatabaseError>,
    ) -> Result<T, E> {
        self.write(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if version(&transaction)? < FIRST {
                let why = "the database is of an earlier version; start the gateway of this version once";
                return Err(DatabaseError::None(why.to_owned()));
            }
            let done = change(&transaction)?;
            if done.is_ok() {
                transaction.commit()?;
            }
            Ok(done)
        })?
    }

    /// Changes the row of an account that must be there.
    fn change_account(
        &self,
        name: &AccountName,
        set: &str,
        values: &[&dyn ToSql],
        ends_sessions: bool,
    ) -> Result<(), AccountError> {
        self.change_accounts(|connection| {
            let sql = format!("UPDATE account SET {set} WHERE name = ?1");
            if connection.execute(&sql, values)? == 0 {
                return Ok(Err(AccountError::Unknown(name.clone())));
            }
            if ends_sessions {
                end_sessions(connection, name)?;
            }
            Ok(Ok(()))
        })
    }
}

impl Accounts for Database {
    fn list(&self) -> Result<Vec<Account>, DatabaseError> {
        self.read_accounts(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM account ORDER BY name");
            let mut statement = connection.prepare_cached(&sql)?;
            let accounts = statement.query_map([], account)?;
            Ok(accounts.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
        })
    }

    fn find(&self, name: &AccountName) -> Result<Option<Account>, DatabaseError> {
        self.read_accounts(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM account WHERE name = ?1");
            let found = connection.prepare_cached(&sql)?.query_row([name.as_str()], account).optional()?;
            Ok(found.flatten())
        })
    }

    fn add(&self, account: &Account) -> Result<(), AccountError> {
        account.check()?;
        let Account { name, password, role, preferences, created } = account;
        self.change_accounts(|connection| {
            let sql = "SELECT count(*), count(*) FILTER (WHERE name = ?1) FROM account";
            let (all, same): (u64, u64) =
                connection.query_row(sql, [name.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if same > 0 {
                return Ok(Err(AccountError::Exists(name.clone())));
            }
            if all >= MAX_ACCOUNTS {
                return Ok(Err(AccountError::TooMany));
            }
            let sql = "INSERT INTO account (name, password, role, language, time_zone, created)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let Preferences { language, time_zone } = preferences;
            let created = seconds(*created);
            connection.execute(
                sql,
                params![name.as_str(), password, role.as_str(), language, time_zone, created],
            )?;
            Ok(Ok(()))
        })
    }

    fn remove(&self, name: &AccountName) -> Result<bool, DatabaseError> {
        self.change_accounts(|connection| {
            end_sessions(connection, name)?;
            Ok(Ok(connection.execute("DELETE FROM account WHERE name = ?1", [name.as_str()])? > 0))
        })
    }

    fn set_password(&self, name: &AccountName, password: &str) -> Result<(), AccountError> {
        check_password(password)?;
        self.change_account(name, "password = ?2", params![name.as_str(), password], true)
    }

    fn set_role(&self, name: &AccountName, role: Role) -> Result<(), AccountError> {
        self.change_account(name, "role = ?2", params![name.as_str(), role.as_str()], false)
    }

    fn prefer(&self, name: &AccountName, preferences: &Preferences) -> Result<(), AccountError> {
        preferences.check()?;
        let values = params![name.as_str(), preferences.language, preferences.time_zone];
        self.change_account(name, "language = ?2, time_zone = ?3", values, false)
    }

    fn open_session(&self, name: &AccountName, session: &NewSession) -> Result<(), AccountError> {
        session.check()?;
        let NewSession { token, csrf, created, expires } = session;
        let (token, created, expires) = (token.as_octets(), seconds(*created), seconds(*expires));
        self.change_accounts(|connection| {
            let sql = "INSERT INTO session (token, account, csrf, created, expires)
                       SELECT ?2, name, ?3, ?4, ?5 FROM account WHERE name = ?1";
            if connection.execute(sql, params![name.as_str(), token, csrf, created, expires])? == 0 {
                return Ok(Err(AccountError::Unknown(name.clone())));
            }
            connection.execute("DELETE FROM session WHERE expires <= ?1", [created])?;
            let sql = "DELETE FROM session WHERE token IN
                       (SELECT token FROM session WHERE account = ?1 AND token <> ?2 ORDER BY created DESC
                        LIMIT -1 OFFSET ?3)";
            connection.execute(sql, params![name.as_str(), token, MAX_SESSIONS_OF_ONE - 1])?;
            let sql = "DELETE FROM session WHERE token IN
                       (SELECT token FROM session WHERE token <> ?1 ORDER BY created DESC LIMIT -1 OFFSET ?2)";
            connection.execute(sql, params![token, MAX_SESSIONS - 1])?;
            Ok(Ok(()))
        })
    }

    fn session(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, DatabaseError> {
        self.read_accounts(|connection| {
            let sql = format!(
                "SELECT {COLUMNS}, session.csrf, session.created, session.expires
                 FROM session JOIN account ON account.name = session.account
                 WHERE session.token = ?1 AND session.expires > ?2"
            );
            let session = |row: &Row<'_>| {
                let (created, expires) = (time(row.get(7)?), time(row.get(8)?));
                let opened = NewSession { token: *token, csrf: row.get(6)?, created, expires };
                Ok(account(row)?.map(|account| Session { account, opened }))
            };
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_row(params![token.as_octets(), seconds(now)], session).optional()?.flatten())
        })
    }

    fn close_session(&self, token: &TokenHash) -> Result<bool, DatabaseError> {
        self.change_accounts(|connection| {
            let sql = "DELETE FROM session WHERE token = ?1";
            Ok(Ok(connection.execute(sql, [token.as_octets()])? > 0))
        })
    }
}
