-- A client may prove who it is by a key of its own (RFC 7523). Of each proof its id is kept until it has run out, so that it
-- serves once.
-- +goose Up
CREATE TABLE oauth_client_keys (
    client_id text PRIMARY KEY REFERENCES oauth_client (id) ON DELETE CASCADE,
    jwks jsonb NOT NULL DEFAULT '{"keys": []}',
    jwks_uri text NOT NULL DEFAULT ''
);
CREATE TABLE oauth_assertion (
    signature text PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX oauth_assertion_expires_idx ON oauth_assertion (expires_at);

-- +goose Down
DROP TABLE oauth_assertion, oauth_client_keys;
