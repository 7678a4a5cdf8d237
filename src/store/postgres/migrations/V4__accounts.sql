-- Who may use the console. What tells whether a password is right is a text that the database does not read.
CREATE TABLE account (
    name TEXT COLLATE "C" PRIMARY KEY,
    password TEXT NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    language TEXT,
    time_zone TEXT,
    created BIGINT NOT NULL
);
-- Who has logged in. Of the token there is only a hash.
CREATE TABLE session (
    token BYTEA PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    csrf TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX session_by_account ON session (account, created);
CREATE INDEX session_by_age ON session (created);
