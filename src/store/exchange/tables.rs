//! What is copied of a state besides messages and pins: the tables that both databases have. What belongs to one moment, such as a
//! lease, and numbers that only give an order, are not.

use encodify::base64::URL_SAFE_NO_PAD;
use serde_json::Value;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Text,
    Whole,
    /// Yes or no; 1 or 0.
    Flag,
    Octets,
}

use Kind::{Flag, Octets, Text, Whole};

/// A table.
#[derive(Debug)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    pub(in crate::store) columns: &'static [(&'static str, Kind)],
    /// By which its rows are in order.
    pub(in crate::store) order: &'static str,
}

impl Table {
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name == name)
    }

    /// The names of the columns.
    pub(in crate::store) fn list(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// Each after those that it names. The table of steps is `release`; in a state folder, a file with each message has them.
pub(in crate::store) const TABLES: &[Table] = &[
    Table {
        name: "domain",
        columns: &[
            ("name", Text),
            ("organisation", Text),
            ("first_seen", Whole),
            ("last_seen", Whole),
            ("pass1", Whole),
            ("pass2", Whole),
            ("pass3", Whole),
            ("pinned", Flag),
        ],
        order: "name",
    },
    Table {
        name: "key",
        columns: &[
            ("domain", Text),
            ("key", Octets),
            ("selector", Text),
            ("state", Text),
            ("is_root", Flag),
            ("first_seen", Whole),
            ("last_seen", Whole),
        ],
        order: "domain, key",
    },
    Table {
        name: "tally",
        columns: &[("domain", Text), ("verdict", Text), ("count", Whole)],
        order: "domain, verdict",
    },
    // What judged messages are found by is made anew.
    Table { name: "judged", columns: &[("at", Whole), ("gateway", Text), ("record", Text)], order: "id" },
    Table { name: "delivered", columns: &[("at", Whole), ("gateway", Text), ("record", Text)], order: "id" },
    Table {
        name: "finding",
        columns: &[("judged", Text), ("at", Whole), ("delivered", Flag), ("findings", Text)],
        order: "number",
    },
    Table {
        name: "daily",
        columns: &[("day", Whole), ("verdict", Text), ("asked", Text), ("done", Text), ("count", Whole)],
        order: "day, verdict, asked, done",
    },
    Table {
        name: "held",
        columns: &[
            ("id", Text),
            ("gateway", Text),
            ("verified", Flag),
            ("size", Whole),
            ("received", Whole),
            ("senders", Text),
            ("recipients", Text),
            ("domains", Text),
            ("verdict", Text),
            ("message_id", Text),
            ("in_doubt", Whole),
            ("delivered", Whole),
            ("requested", Flag),
            ("keep", Flag),
            ("expires", Whole),
            ("facts", Text),
        ],
        order: "id",
    },
    Table { name: "release", columns: &[("held", Text), ("step", Text)], order: "held, number" },
    Table {
        name: "letter",
        columns: &[
            ("kind", Text),
            ("recipient", Text),
            ("about", Text),
            ("content", Text),
            ("octets", Whole),
            ("since", Whole),
            ("expires", Whole),
            ("due", Whole),
            ("attempts", Whole),
            ("done", Flag),
        ],
        order: "number",
    },
    Table { name: "letter_more", columns: &[("is_only", Flag), ("count", Whole)], order: "is_only" },
    Table {
        name: "deed",
        columns: &[("at", Whole), ("held", Text), ("message_id", Text), ("record", Text)],
        order: "number",
    },
    // Sessions end with a move: who has logged in does so again.
    Table {
        name: "account",
        columns: &[
            ("name", Text),
            ("password", Text),
            ("role", Text),
            ("language", Text),
            ("time_zone", Text),
            ("created", Whole),
        ],
        order: "name",
    },
];

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Cell {
    Nothing,
    Text(String),
    Whole(i64),
    Octets(Vec<u8>),
}

impl Cell {
    pub(in crate::store) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A row, in the order of its table's columns.
pub(in crate::store) type Row = Vec<Cell>;

/// A row as one line of JSON.
pub(super) fn to_line(row: &[Cell]) -> String {
    let value = |cell: &Cell| match cell {
        Cell::Nothing => Value::Null,
        Cell::Text(text) => Value::from(text.as_str()),
        Cell::Whole(number) => Value::from(*number),
        Cell::Octets(octets) => Value::from(URL_SAFE_NO_PAD.encode(octets)),
    };
    Value::Array(row.iter().map(value).collect()).to_string()
}

/// A row of a table, from its line.
pub(super) fn of_line(table: &Table, line: &str) -> Option<Row> {
    let values: Vec<Value> = serde_json::from_str(line).ok()?;
    if values.len() != table.columns.len() {
        return None;
    }
    let cell = |(value, (_, kind)): (Value, &(&str, Kind))| match (value, kind) {
        (Value::Null, _) => Some(Cell::Nothing),
        (Value::String(text), Text) => Some(Cell::Text(text)),
        (Value::String(text), Octets) => Some(Cell::Octets(URL_SAFE_NO_PAD.decode(&text).ok()?)),
        (Value::Number(number), Whole | Flag) => Some(Cell::Whole(number.as_i64()?)),
        _ => None,
    };
    values.into_iter().zip(table.columns).map(cell).collect()
}
