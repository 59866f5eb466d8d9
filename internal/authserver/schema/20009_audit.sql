-- Who changed what by the admin API. An entry is written in the transaction of what it tells of, and outlives its client.
-- +goose Up
CREATE TABLE oauth_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    happened_at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    address text NOT NULL DEFAULT '',
    action text NOT NULL,
    client_id text NOT NULL DEFAULT '',
    subject text NOT NULL DEFAULT '',
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX oauth_audit_client_idx ON oauth_audit (client_id, id);

-- +goose Down
DROP TABLE oauth_audit;
