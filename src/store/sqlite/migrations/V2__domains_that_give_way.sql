-- Else a memory that is full of old acquaintances is searched from end to end for each newcomer. Early versions made this index
-- whenever they started.
CREATE INDEX IF NOT EXISTS domain_giving_way ON domain (last_seen) WHERE pinned = 0 AND last_seen - first_seen < 259200;
PRAGMA user_version = 2;
