-- How far each bulk import has come in this shard. Rows are committed together with the position,
-- so an import that was cut off goes on exactly where this shard left it.
CREATE TABLE import_positions (
    import_id text PRIMARY KEY,
    -- Tells the input apart from another one that is given under the same name by mistake.
    source_hash text NOT NULL,
    -- The id of input line 0; line n without an id of its own gets first_id + n.
    first_id uuid NOT NULL,
    -- Every input line up to this one is stored here, belongs elsewhere or was rejected.
    line bigint NOT NULL DEFAULT 0 CHECK (line >= 0),
    finished boolean NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
