-- Messages that the policy simply delivered. They are apart from all others, so that a flood of them pushes none of the others out.
CREATE TABLE delivered (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    gateway TEXT NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX delivered_by_time ON delivered (at);

-- What judged messages are found by. A term is the start of a hash of what people ask for, with the number of a stretch before
-- it: some thousand messages that were written one after the other. So what is written at once is close together, and what is
-- forgotten goes at once. Rows that an earlier version wrote get their terms from the gateway.
CREATE TABLE term (
    term INTEGER NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (term, id)
) WITHOUT ROWID;
CREATE TABLE stretch (
    number INTEGER PRIMARY KEY,
    delivered INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    first_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL
);
CREATE INDEX stretch_by_id ON stretch (delivered, last_id);
DROP INDEX judged_by_message_id;
DROP INDEX judged_by_session;
DROP INDEX judged_by_queue_id;
DROP INDEX judged_by_arrived_as;
DROP INDEX judged_by_held;
DROP INDEX judged_by_from_domain;
DROP INDEX judged_by_domain;

-- What was found in a message, by its name. The total is that of the octets of all up to this one, of its kind.
CREATE TABLE finding (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    judged TEXT NOT NULL,
    at INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    total INTEGER,
    findings TEXT NOT NULL
);
CREATE UNIQUE INDEX finding_of ON finding (judged);
CREATE INDEX finding_by_total ON finding (delivered, total);
PRAGMA user_version = 6;
