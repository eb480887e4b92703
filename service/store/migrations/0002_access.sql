-- Who may ask. Only the first shard's rows count; the tables are everywhere, unused and empty,
-- so that every shard has one schema.
CREATE TABLE api_keys (
    id text PRIMARY KEY,
    -- SHA-256 of the whole key: it has 256 random bits, so there is nothing to stretch or salt.
    secret_hash bytea NOT NULL UNIQUE,
    owner_id text NOT NULL,
    scope text NOT NULL,
    quota integer,
    window_s integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CHECK ((quota IS NULL) = (window_s IS NULL))
);

CREATE TABLE oauth_clients (
    id text PRIMARY KEY,
    secret_hash bytea NOT NULL,
    name text NOT NULL,
    scope text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

-- Private keys of the built-in issuer, in the clear: see docs/decisions/0050-access-records.md.
CREATE TABLE signing_keys (
    kid text PRIMARY KEY,
    jwk text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Published before it signs, so that every worker knows it by then.
    signs_from timestamptz NOT NULL,
    -- Null for the one key that is not being replaced.
    verifies_until timestamptz
);
CREATE UNIQUE INDEX signing_keys_one_current ON signing_keys ((true)) WHERE verifies_until IS NULL;
