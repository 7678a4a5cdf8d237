//! What can still be read of a damaged database goes into the one that takes its place: letters that wait must be sent, and what was
//! done stays on record.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

/// Copies all rows that can be read, and tells how many there are.
pub(super) fn salvage(damaged: &Path, whole: &mut Connection) -> rusqlite::Result<u64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let damaged = Connection::open_with_flags(damaged, flags)?;
    let tables: Vec<(String, String)> = {
        // Parents first, by the order in which they were made.
        let mut statement = whole.prepare(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'refinery%'
               -- These are made anew.
               AND name NOT IN ('term', 'stretch')
             ORDER BY rowid",
        )?;
        let tables = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        tables.collect::<Result<_, _>>()?
    };
    let transaction = whole.transaction()?;
    let mut salvaged = 0;
    for (table, sql) in tables {
        let (columns, key) = {
            let mut statement =
                transaction.prepare("SELECT name, pk FROM pragma_table_info(?1) ORDER BY cid")?;
            let columns = statement.query_map([&table], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let columns = columns.collect::<Result<Vec<(String, i64)>, _>>()?;
            let mut key: Vec<_> = columns.iter().filter(|(_, place)| *place > 0).cloned().collect();
            key.sort_by_key(|(_, place)| *place);
            (columns.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), key)
        };
        let backwards = if sql.contains("WITHOUT ROWID") {
            key.iter().map(|(name, _)| format!("{name} DESC")).collect::<Vec<_>>().join(", ")
        } else {
            "rowid DESC".to_owned()
        };
        let (list, marks) = (columns.join(", "), vec!["?"; columns.len()].join(", "));
        let mut insert =
            transaction.prepare(&format!("INSERT OR IGNORE INTO {table} ({list}) VALUES ({marks})"))?;
        // From either end to the damage.
        for order in ["", &format!(" ORDER BY {backwards}")] {
            let select = format!("SELECT {list} FROM {table} NOT INDEXED{order}");
            let Ok(mut statement) = damaged.prepare(&select) else { break };
            let Ok(mut rows) = statement.query([]) else { continue };
            let is_read = loop {
                match rows.next() {
                    Ok(Some(row)) => {
                        let values = (0..columns.len()).map(|at| row.get(at));
                        let Ok(values) = values.collect::<Result<Vec<Value>, _>>() else { continue };
                        // One that contradicts another one is the damage's.
                        salvaged += insert.execute(params_from_iter(values)).unwrap_or(0) as u64;
                    }
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            if is_read {
                break;
            }
        }
    }
    transaction.commit()?;
    Ok(salvaged)
}
