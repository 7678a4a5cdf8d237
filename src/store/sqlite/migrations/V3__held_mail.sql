-- A held message: what it is found by, how it is with it, and its facts as JSON text. Its octets are in the folder `quarantine`,
-- and what is here is there as well, so that a database that was lost can be made anew.
CREATE TABLE held (
    id TEXT PRIMARY KEY,
    gateway TEXT NOT NULL,
    verified INTEGER NOT NULL,
    size INTEGER NOT NULL,
    received INTEGER NOT NULL,
    senders TEXT NOT NULL,
    recipients TEXT NOT NULL,
    domains TEXT NOT NULL,
    verdict TEXT NOT NULL,
    message_id TEXT,
    in_doubt INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    requested INTEGER NOT NULL DEFAULT 0,
    keep INTEGER NOT NULL DEFAULT 0,
    expires INTEGER,
    facts TEXT NOT NULL,
    facts_size INTEGER GENERATED ALWAYS AS (length(CAST(facts AS BLOB))) STORED
);
-- How much is held is asked for all the time.
CREATE INDEX held_usage ON held (verified, size, facts_size);

-- What is to be sent. One that is done is remembered until it expires, so that nobody puts it there again.
CREATE TABLE letter (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    recipient TEXT NOT NULL,
    about TEXT,
    content TEXT NOT NULL,
    octets INTEGER NOT NULL,
    since INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,
    lease INTEGER,
    leased_until INTEGER
);
CREATE UNIQUE INDEX letter_once ON letter (kind, about, recipient) WHERE about IS NOT NULL;
CREATE INDEX letter_waiting ON letter (due, octets, since) WHERE done = 0;
CREATE INDEX letter_done ON letter (expires) WHERE done = 1;
-- How many letters did not fit.
CREATE TABLE letter_more (is_only INTEGER PRIMARY KEY CHECK (is_only = 1), count INTEGER NOT NULL);

-- What was done to held mail. It outlives the message.
CREATE TABLE deed (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    held TEXT,
    message_id TEXT,
    record TEXT NOT NULL
);
CREATE INDEX deed_by_time ON deed (at);
CREATE INDEX deed_by_held ON deed (held) WHERE held IS NOT NULL;
CREATE INDEX deed_by_message_id ON deed (message_id) WHERE message_id IS NOT NULL;

-- As in PostgreSQL, so that a state can be moved from one to the other.
ALTER TABLE judged ADD COLUMN gateway TEXT NOT NULL DEFAULT 'gateway';
PRAGMA user_version = 3;
