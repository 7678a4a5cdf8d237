-- What a held message is found by, and how it is with it. Rows that an earlier version wrote get theirs from the gateway, which
-- reads their facts: what strangers wrote there is not for SQL to read.
ALTER TABLE held
    ADD COLUMN received BIGINT,
    ADD COLUMN senders TEXT NOT NULL DEFAULT '',
    ADD COLUMN recipients TEXT NOT NULL DEFAULT '',
    ADD COLUMN domains TEXT NOT NULL DEFAULT '',
    ADD COLUMN verdict TEXT NOT NULL DEFAULT '',
    ADD COLUMN message_id TEXT,
    ADD COLUMN in_doubt BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN delivered BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN requested BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN keep BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN expires BIGINT;
CREATE INDEX held_unread ON held (id) WHERE received IS NULL;

-- What is to be sent. One that is done is remembered until it expires, so that nobody puts it there again. A lease is by the
-- database's clock.
CREATE TABLE letter (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    recipient TEXT COLLATE "C" NOT NULL,
    about TEXT COLLATE "C",
    content TEXT NOT NULL,
    octets BIGINT NOT NULL,
    since BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    due BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    done BOOLEAN NOT NULL DEFAULT FALSE,
    lease BIGINT,
    leased_until TIMESTAMPTZ
);
CREATE UNIQUE INDEX letter_once ON letter (kind, about, recipient) WHERE about IS NOT NULL;
CREATE INDEX letter_waiting ON letter (due, octets, since) WHERE NOT done;
CREATE INDEX letter_done ON letter (expires) WHERE done;
-- How many letters did not fit.
CREATE TABLE letter_more (is_only BOOLEAN PRIMARY KEY CHECK (is_only), count BIGINT NOT NULL);

-- What was done to held mail. It outlives the message.
CREATE TABLE deed (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    held TEXT COLLATE "C",
    message_id TEXT COLLATE "C",
    record TEXT NOT NULL
);
CREATE INDEX deed_by_time ON deed (at);
CREATE INDEX deed_by_held ON deed (held) WHERE held IS NOT NULL;
CREATE INDEX deed_by_message_id ON deed (message_id) WHERE message_id IS NOT NULL;

-- Where the state was moved to: no gateway starts with this one any more.
CREATE TABLE moved (at BIGINT NOT NULL, destination TEXT NOT NULL);
