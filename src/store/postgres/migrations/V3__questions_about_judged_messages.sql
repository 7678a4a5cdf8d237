-- What people know of a message when they ask what became of it.
ALTER TABLE judged
    ADD COLUMN message_id TEXT COLLATE "C",
    ADD COLUMN session TEXT COLLATE "C",
    ADD COLUMN queue_id TEXT COLLATE "C",
    ADD COLUMN arrived_as TEXT COLLATE "C",
    ADD COLUMN held TEXT COLLATE "C",
    ADD COLUMN from_domain TEXT COLLATE "C",
    ADD COLUMN domain TEXT COLLATE "C";
-- No text has a NUL, and a record that has one cannot be taken apart.
UPDATE judged SET
    message_id = record::json ->> 'message_id',
    session = record::json ->> 'session',
    from_domain = record::json ->> 'from_domain',
    domain = record::json ->> 'domain'
WHERE position('\u0000' IN record) = 0;
CREATE INDEX judged_by_message_id ON judged (message_id);
CREATE INDEX judged_by_session ON judged (session);
CREATE INDEX judged_by_queue_id ON judged (queue_id) WHERE queue_id IS NOT NULL;
CREATE INDEX judged_by_arrived_as ON judged (arrived_as) WHERE arrived_as IS NOT NULL;
CREATE INDEX judged_by_held ON judged (held) WHERE held IS NOT NULL;
CREATE INDEX judged_by_from_domain ON judged (from_domain);
CREATE INDEX judged_by_domain ON judged (domain);
