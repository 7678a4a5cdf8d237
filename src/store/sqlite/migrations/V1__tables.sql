CREATE TABLE domain (
    name TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    pass1 INTEGER, pass2 INTEGER, pass3 INTEGER,
    pinned INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX domain_by_organisation ON domain (organisation);
CREATE INDEX domain_by_age ON domain (last_seen);
CREATE TABLE key (
    domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
    key BLOB NOT NULL,
    selector TEXT NOT NULL,
    state TEXT NOT NULL,
    is_root INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (domain, key)
) WITHOUT ROWID;
CREATE TABLE tally (
    domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
    verdict TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (domain, verdict)
) WITHOUT ROWID;
CREATE TABLE judged (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX judged_by_time ON judged (at);
CREATE TABLE daily (
    day INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    asked TEXT NOT NULL,
    done TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (day, verdict, asked, done)
) WITHOUT ROWID;
PRAGMA user_version = 1;
