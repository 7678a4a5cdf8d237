-- Who may use the console. What tells whether a password is right is a text that the database does not read.
CREATE TABLE account (
    name TEXT PRIMARY KEY,
    password TEXT NOT NULL,
    role TEXT NOT NULL,
    language TEXT,
    time_zone TEXT,
    created INTEGER NOT NULL
) WITHOUT ROWID;
-- Who has logged in. Of the token there is only a hash.
CREATE TABLE session (
    token BLOB PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    csrf TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_by_account ON session (account, created);
CREATE INDEX session_by_age ON session (created);
PRAGMA user_version = 5;
