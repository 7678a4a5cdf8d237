//! Accounts of the console and their sessions, in PostgreSQL.

use deadpool_postgres::{GenericClient, Transaction};
use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::quarantine::make_durable;
use super::{Postgres, execute, number, query};
use crate::store::accounts::{
    Account, AccountError, AccountName, Accounts, MAX_ACCOUNTS, MAX_SESSIONS, MAX_SESSIONS_OF_ONE,
    NewSession, Preferences, Role, Session, TokenHash, check_password,
};
use crate::store::error::DatabaseError;
use crate::store::index::{seconds, time};

const COLUMNS: &str =
    "account.name, account.password, account.role, account.language, account.time_zone, account.created";

/// An account from its row; `None` where a later version wrote it otherwise.
fn account(row: &Row) -> Result<Option<Account>, Error> {
    let (name, role): (&str, &str) = (row.try_get(0)?, row.try_get(2)?);
    let (Ok(name), Ok(role)) = (name.parse(), role.parse()) else { return Ok(None) };
    let preferences = Preferences { language: row.try_get(3)?, time_zone: row.try_get(4)? };
    let created = time(row.try_get(5)?);
    Ok(Some(Account { name, password: row.try_get(1)?, role, preferences, created }))
}

async fn end_sessions<C: GenericClient>(client: &C, name: &AccountName) -> Result<(), Error> {
    execute(client, "DELETE FROM session WHERE account = $1", &[&name.as_str()]).await.map(drop)
}

impl Postgres {
    /// Changes accounts in one transaction, one gateway or command at a time.
    fn change_accounts<T, E: From<DatabaseError>>(
        &self,
        change: impl AsyncFnOnce(&Transaction<'_>) -> Result<Result<T, E>, Error>,
    ) -> Result<T, E> {
        self.run(async |client| {
            let transaction = client.transaction().await?;
            make_durable(&transaction).await?;
            execute(&transaction, "SELECT pg_advisory_xact_lock(hashtext('waxseal accounts'))", &[]).await?;
            let done = change(&transaction).await?;
            if done.is_ok() {
                transaction.commit().await?;
            }
            Ok(done)
        })?
    }

    /// Changes the row of an account that must be there.
    fn change_account(
        &self,
        name: &AccountName,
        set: &str,
        values: &[&(dyn ToSql + Sync)],
        ends_sessions: bool,
    ) -> Result<(), AccountError> {
        self.change_accounts(async |client| {
            let sql = format!("UPDATE account SET {set} WHERE name = $1");
            if execute(client, &sql, values).await? == 0 {
                return Ok(Err(AccountError::Unknown(name.clone())));
            }
            if ends_sessions {
                end_sessions(client, name).await?;
            }
            Ok(Ok(()))
        })
    }
}

impl Accounts for Postgres {
    fn list(&self) -> Result<Vec<Account>, DatabaseError> {
        self.run(async |client| {
            let sql = format!("SELECT {COLUMNS} FROM account ORDER BY name");
            let rows = query(client, &sql, &[]).await?;
            let accounts = rows.iter().map(account).collect::<Result<Vec<_>, _>>()?;
            Ok(accounts.into_iter().flatten().collect())
        })
    }

    fn find(&self, name: &AccountName) -> Result<Option<Account>, DatabaseError> {
        self.run(async |client| {
            let sql = format!("SELECT {COLUMNS} FROM account WHERE name = $1");
            let rows = query(client, &sql, &[&name.as_str()]).await?;
            Ok(rows.first().map(account).transpose()?.flatten())
        })
    }

    fn add(&self, account: &Account) -> Result<(), AccountError> {
        account.check()?;
        let Account { name, password, role, preferences, created } = account;
        self.change_accounts(async |client| {
            let sql = "SELECT count(*), count(*) FILTER (WHERE name = $1) FROM account";
            let counts = client.query_one(sql, &[&name.as_str()]).await?;
            if counts.try_get::<_, i64>(1)? > 0 {
                return Ok(Err(AccountError::Exists(name.clone())));
            }
            if counts.try_get::<_, i64>(0)? >= number(MAX_ACCOUNTS) {
                return Ok(Err(AccountError::TooMany));
            }
            let sql = "INSERT INTO account (name, password, role, language, time_zone, created)
                       VALUES ($1, $2, $3, $4, $5, $6)";
            let Preferences { language, time_zone } = preferences;
            let (name, role, created) = (name.as_str(), role.as_str(), seconds(*created));
            execute(client, sql, &[&name, password, &role, language, time_zone, &created]).await?;
            Ok(Ok(()))
        })
    }

    fn remove(&self, name: &AccountName) -> Result<bool, DatabaseError> {
        self.change_accounts(async |client| {
            end_sessions(client, name).await?;
            let sql = "DELETE FROM account WHERE name = $1";
            Ok(Ok(execute(client, sql, &[&name.as_str()]).await? > 0))
        })
    }

    fn set_password(&self, name: &AccountName, password: &str) -> Result<(), AccountError> {
        check_password(password)?;
        self.change_account(name, "password = $2", &[&name.as_str(), &password], true)
    }

    fn set_role(&self, name: &AccountName, role: Role) -> Result<(), AccountError> {
        self.change_account(name, "role = $2", &[&name.as_str(), &role.as_str()], false)
    }

    fn prefer(&self, name: &AccountName, preferences: &Preferences) -> Result<(), AccountError> {
        preferences.check()?;
        let Preferences { language, time_zone } = preferences;
        let set = "language = $2, time_zone = $3";
        self.change_account(name, set, &[&name.as_str(), language, time_zone], false)
    }

    fn open_session(&self, name: &AccountName, session: &NewSession) -> Result<(), AccountError> {
        session.check()?;
        let NewSession { token, csrf, created, expires } = session;
        let (token, created, expires) = (token.as_octets(), seconds(*created), seconds(*expires));
        self.change_accounts(async |client| {
            let sql = "INSERT INTO session (token, account, csrf, created, expires)
                       SELECT $2, name, $3, $4, $5 FROM account WHERE name = $1";
            let values: [&(dyn ToSql + Sync); 5] = [&name.as_str(), &token, csrf, &created, &expires];
            if execute(client, sql, &values).await? == 0 {
                return Ok(Err(AccountError::Unknown(name.clone())));
            }
            execute(client, "DELETE FROM session WHERE expires <= $1", &[&created]).await?;
            let sql = "DELETE FROM session WHERE token IN
                       (SELECT token FROM session WHERE account = $1 AND token <> $2 ORDER BY created DESC
                        OFFSET $3)";
            execute(client, sql, &[&name.as_str(), &token, &number(MAX_SESSIONS_OF_ONE - 1)]).await?;
            let sql = "DELETE FROM session WHERE token IN
                       (SELECT token FROM session WHERE token <> $1 ORDER BY created DESC OFFSET $2)";
            execute(client, sql, &[&token, &number(MAX_SESSIONS - 1)]).await?;
            Ok(Ok(()))
        })
    }

    fn session(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, DatabaseError> {
        self.run(async |client| {
            let sql = format!(
                "SELECT {COLUMNS}, session.csrf, session.created, session.expires
                 FROM session JOIN account ON account.name = session.account
                 WHERE session.token = $1 AND session.expires > $2"
            );
            let rows = query(client, &sql, &[&token.as_octets(), &seconds(now)]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let (created, expires) = (time(row.try_get(7)?), time(row.try_get(8)?));
            let opened = NewSession { token: *token, csrf: row.try_get(6)?, created, expires };
            Ok(account(row)?.map(|account| Session { account, opened }))
        })
    }

    fn close_session(&self, token: &TokenHash) -> Result<bool, DatabaseError> {
        self.change_accounts(async |client| {
            let sql = "DELETE FROM session WHERE token = $1";
            Ok(Ok(execute(client, sql, &[&token.as_octets()]).await? > 0))
        })
    }
}
