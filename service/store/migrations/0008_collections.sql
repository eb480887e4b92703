-- Which collection an item is of: 0 is the one that always exists, `items`. A constant default is
-- kept in the catalog, so that no row is rewritten.
ALTER TABLE items ADD COLUMN collection smallint NOT NULL DEFAULT 0;

-- The other collections, the same rows in every shard; the first shard's count where they differ.
CREATE TABLE collections (
    -- Never given to another collection, because rows and cached entries may still have it.
    number smallint PRIMARY KEY CHECK (number >= 1),
    -- Null once dropped.
    name text UNIQUE,
    -- Counts every change of any definition.
    version bigint NOT NULL,
    definition jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    dropped_at timestamptz,
    CHECK ((name IS NULL) = (dropped_at IS NOT NULL))
);

-- Fails with HS001 unless a write was checked with the definition as it is. Until the transaction
-- ends nobody can change the definition, which takes this lock in the other mode. Volatile, and so
-- each statement has a snapshot of its own: the second sees what was committed while the first
-- waited.
CREATE FUNCTION check_definition(of_collection smallint, checked_version bigint)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(x'636f6c6c'::integer, of_collection);
    IF NOT EXISTS (SELECT FROM collections
                    WHERE number = of_collection AND version = checked_version
                      AND dropped_at IS NULL) THEN
        RAISE EXCEPTION 'the definition of collection % has changed', of_collection
              USING ERRCODE = 'HS001';
    END IF;
END
$$;
