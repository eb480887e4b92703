-- What came of requests that carried an idempotency key, committed together with their effect.
-- Bodies are not kept: a retry sends its payload again, and jsonb writes it the same way again.
CREATE TABLE idempotency_keys (
    bucket integer NOT NULL,
    -- Who asked: the token's subject or the API key's owner.
    caller text NOT NULL,
    -- Empty for POST, else the 16 bytes of the item's id.
    scope bytea NOT NULL,
    key text NOT NULL,
    -- SHA-256 of everything that makes it the same request.
    fingerprint bytea NOT NULL,
    -- created, changed or deleted, else the code of the problem.
    outcome text NOT NULL,
    item_id uuid,
    -- Null where the caller owns the item.
    owner_id text,
    version bigint,
    item_created_at timestamptz,
    -- hashtextextended of the data's text, so that a rebuilt body is known to be the same.
    data_hash bigint,
    -- The data after a PATCH: the patch alone does not tell them.
    result jsonb,
    -- The variable part of a problem document; json keeps the order of its members.
    problem json,
    -- Also the item's updated_at, since both are the transaction's time.
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (bucket, caller, scope, key)
) PARTITION BY LIST (bucket);
ALTER TABLE idempotency_keys ALTER result SET STORAGE MAIN;

-- The expiry asks for the oldest.
CREATE INDEX idempotency_keys_recorded_at ON idempotency_keys (recorded_at);

-- The purge asks for the oldest tombstones, which are few.
CREATE INDEX items_deleted_at ON items (deleted_at) WHERE deleted_at IS NOT NULL;
