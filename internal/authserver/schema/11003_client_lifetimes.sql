-- NULL means the server's own lifetime; a number of seconds overrules it for one client.
-- +goose Up
ALTER TABLE oauth_client ADD COLUMN access_token_seconds integer;
ALTER TABLE oauth_consent_request ADD COLUMN acr text NOT NULL DEFAULT '';
UPDATE oauth_consent_request SET acr = '' WHERE acr IS NULL;

-- +goose Down
ALTER TABLE oauth_consent_request DROP COLUMN acr;
ALTER TABLE oauth_client DROP COLUMN access_token_seconds;
