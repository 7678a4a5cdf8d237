-- What people know of a message when they ask what became of it.
CREATE INDEX judged_by_message_id ON judged (json_extract(record, '$.message_id'));
CREATE INDEX judged_by_session ON judged (json_extract(record, '$.session'));
CREATE INDEX judged_by_queue_id ON judged (json_extract(record, '$.queue_id')) WHERE json_extract(record, '$.queue_id') IS NOT NULL;
CREATE INDEX judged_by_arrived_as ON judged (json_extract(record, '$.arrived_as')) WHERE json_extract(record, '$.arrived_as') IS NOT NULL;
CREATE INDEX judged_by_held ON judged (json_extract(record, '$.held')) WHERE json_extract(record, '$.held') IS NOT NULL;
CREATE INDEX judged_by_from_domain ON judged (json_extract(record, '$.from_domain'));
CREATE INDEX judged_by_domain ON judged (json_extract(record, '$.domain'));
PRAGMA user_version = 4;
