-- Names and words sort by their octets, as in SQLite. Times are Unix seconds by the gateways' clocks, unless they are timestamps:
-- those are by the database's clock.
CREATE TABLE domain (
    name TEXT COLLATE "C" PRIMARY KEY,
    organisation TEXT COLLATE "C" NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    pass1 BIGINT, pass2 BIGINT, pass3 BIGINT,
    pinned BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX domain_by_organisation ON domain (organisation);
CREATE INDEX domain_by_age ON domain (last_seen);
CREATE INDEX domain_giving_way ON domain (last_seen) WHERE NOT pinned AND last_seen - first_seen < 259200;
CREATE TABLE key (
    domain TEXT COLLATE "C" NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
    key BYTEA NOT NULL,
    selector TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    is_root BOOLEAN NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    PRIMARY KEY (domain, key)
);
CREATE TABLE tally (
    domain TEXT COLLATE "C" NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
    verdict TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (domain, verdict)
);

CREATE TABLE judged (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    gateway TEXT COLLATE "C" NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX judged_by_time ON judged (at);
CREATE TABLE daily (
    day BIGINT NOT NULL,
    verdict TEXT COLLATE "C" NOT NULL,
    asked TEXT COLLATE "C" NOT NULL,
    done TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (day, verdict, asked, done)
);

-- A held message. Its facts are JSON text, because JSONB would change them. A lease is the right to release or delete it: who
-- has the lease renews it, and it ends by itself.
CREATE TABLE held (
    id TEXT COLLATE "C" PRIMARY KEY,
    gateway TEXT COLLATE "C" NOT NULL,
    verified BOOLEAN NOT NULL,
    size BIGINT NOT NULL,
    facts TEXT NOT NULL,
    lease BIGINT,
    leased_by TEXT COLLATE "C",
    leased_until TIMESTAMPTZ
);
CREATE TABLE held_piece (
    held TEXT COLLATE "C" NOT NULL REFERENCES held (id) ON DELETE CASCADE,
    number INT NOT NULL,
    octets BYTEA NOT NULL,
    PRIMARY KEY (held, number)
);
-- Mail is mostly base64 or encoded already: trying to compress it costs time and gains little.
ALTER TABLE held_piece ALTER COLUMN octets SET STORAGE EXTERNAL;
CREATE TABLE release (
    held TEXT COLLATE "C" NOT NULL REFERENCES held (id) ON DELETE CASCADE,
    number BIGINT GENERATED ALWAYS AS IDENTITY,
    gateway TEXT COLLATE "C" NOT NULL,
    step TEXT NOT NULL,
    PRIMARY KEY (held, number)
);

-- What the administrator said by command: one row.
CREATE TABLE said (
    is_only BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (is_only),
    version BIGINT NOT NULL,
    content TEXT NOT NULL
);
INSERT INTO said (version, content) VALUES (0, '{}');

CREATE TABLE probe (
    id TEXT COLLATE "C" PRIMARY KEY,
    message BYTEA NOT NULL
);

-- Written to and rolled back, to see whether that can be done.
CREATE TABLE trial (octets BYTEA NOT NULL);
