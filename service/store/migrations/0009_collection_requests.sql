-- Changes of definitions that had an idempotency key, in the first shard alone, where definitions
-- are changed. `kind` is what the request did; number, version, definition and updated_at are those
-- of the collection as it left it, with which a retry is answered.
CREATE TABLE collection_requests (
    caller text NOT NULL,
    name text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    kind text NOT NULL CHECK (kind IN ('created', 'changed', 'dropped')),
    number smallint NOT NULL,
    version bigint NOT NULL,
    definition jsonb NOT NULL,
    updated_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, name, key)
);
CREATE INDEX collection_requests_recorded_at ON collection_requests (recorded_at);
