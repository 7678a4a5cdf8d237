-- Messages that the policy simply delivered. They are apart from all others, so that a flood of them pushes none of the others out.
CREATE TABLE delivered (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    gateway TEXT COLLATE "C" NOT NULL,
    record TEXT NOT NULL,
    terms BIGINT[]
);
CREATE INDEX delivered_by_time ON delivered (at);

-- What judged messages are found by. A term is the start of a hash of what people ask for, with the number of a stretch before
-- it: some thousand messages that were written one after the other. So what is written at once is close together. Rows that an
-- earlier version wrote get their terms from the gateway.
ALTER TABLE judged
    DROP COLUMN message_id,
    DROP COLUMN session,
    DROP COLUMN queue_id,
    DROP COLUMN arrived_as,
    DROP COLUMN held,
    DROP COLUMN from_domain,
    DROP COLUMN domain,
    ADD COLUMN terms BIGINT[];
CREATE TABLE stretch (
    number BIGINT PRIMARY KEY,
    delivered BOOLEAN NOT NULL,
    messages BIGINT NOT NULL,
    first_id BIGINT NOT NULL,
    last_id BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);
CREATE INDEX stretch_by_id ON stretch (delivered, last_id);
CREATE INDEX judged_by_term ON judged USING gin (terms) WITH (fastupdate = off);
CREATE INDEX delivered_by_term ON delivered USING gin (terms) WITH (fastupdate = off);
CREATE INDEX judged_unread ON judged (id) WHERE terms IS NULL;
CREATE INDEX delivered_unread ON delivered (id) WHERE terms IS NULL;

-- What was found in a message, by its name. The total is that of the octets of all up to this one, of its kind.
CREATE TABLE finding (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    judged TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    delivered BOOLEAN NOT NULL,
    total BIGINT,
    findings TEXT NOT NULL
);
CREATE UNIQUE INDEX finding_of ON finding (judged);
CREATE INDEX finding_by_total ON finding (delivered, total);
