-- Devices without a browser get their tokens by a code that a person types elsewhere (RFC 8628). Only hashes of the codes
-- are kept. state: 1 asked, 2 typed, 3 granted, 4 refused, 5 used.
-- +goose Up
CREATE TABLE oauth_device (
    signature text PRIMARY KEY,
    user_signature text NOT NULL,
    client_id text NOT NULL REFERENCES oauth_client (id) ON DELETE CASCADE,
    scope text NOT NULL,
    audience jsonb NOT NULL DEFAULT '[]',
    login_challenge text,
    consent_challenge text,
    subject text NOT NULL DEFAULT '',
    granted_scope text NOT NULL DEFAULT '',
    session_data jsonb NOT NULL DEFAULT '{}',
    state smallint NOT NULL DEFAULT 1,
    poll_seconds integer NOT NULL,
    polled_at timestamptz,
    requested_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX oauth_device_user_signature_key ON oauth_device (user_signature);
CREATE INDEX oauth_device_client_idx ON oauth_device (client_id);
CREATE INDEX oauth_device_expires_idx ON oauth_device (expires_at);

-- +goose Down
DROP TABLE oauth_device;
