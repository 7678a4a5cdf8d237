-- memory.sqlite as waxseal makes it in form 1, with something in each table.
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
CREATE INDEX IF NOT EXISTS domain_giving_way ON domain (last_seen) WHERE pinned = 0 AND last_seen - first_seen < 259200;
INSERT INTO domain VALUES ('a.example', 'a.example', 1795392000, 1795392003, 1795392003, 1795392002, 1795392001, 0);
INSERT INTO domain VALUES ('mail.b.example', 'b.example', 1795392000, 1795392000, 1795392000, NULL, NULL, 1);
INSERT INTO key VALUES ('a.example', X'8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'gate1', 'accepted', 0, 1795392000, 1795392003);
INSERT INTO tally VALUES ('a.example', 'missing', 1);
INSERT INTO tally VALUES ('a.example', 'pass', 4);
INSERT INTO judged (at, record) VALUES (1795392005, '{"at":1795392005,"session":"19zzp00001","verdict":"missing","reason":null,"known":"memory","trust":null,"asked":"mark","done":"mark","from_domain":"a.example","domain":null,"reverse_path":"office@a.example","recipients":1,"message_id":"<1@a.example>","attachments":[],"summary":"no seal, although a.example was seen to seal"}');
INSERT INTO daily VALUES (20780, 'missing', 'mark', 'mark', 1);
INSERT INTO daily VALUES (20780, 'pass', 'deliver', 'deliver', 4);
PRAGMA user_version = 1;
