-- Lists and details of a client become JSON. A text that is no JSON stops the migration.
-- +goose Up
ALTER TABLE oauth_client
    ALTER COLUMN redirect_uris DROP DEFAULT, ALTER COLUMN redirect_uris TYPE jsonb USING redirect_uris::jsonb, ALTER COLUMN redirect_uris SET DEFAULT '[]',
    ALTER COLUMN post_logout_redirect_uris DROP DEFAULT, ALTER COLUMN post_logout_redirect_uris TYPE jsonb USING post_logout_redirect_uris::jsonb, ALTER COLUMN post_logout_redirect_uris SET DEFAULT '[]',
    ALTER COLUMN grant_types DROP DEFAULT, ALTER COLUMN grant_types TYPE jsonb USING grant_types::jsonb, ALTER COLUMN grant_types SET DEFAULT '[]',
    ALTER COLUMN response_types DROP DEFAULT, ALTER COLUMN response_types TYPE jsonb USING response_types::jsonb, ALTER COLUMN response_types SET DEFAULT '[]',
    ALTER COLUMN audience DROP DEFAULT, ALTER COLUMN audience TYPE jsonb USING audience::jsonb, ALTER COLUMN audience SET DEFAULT '[]';
ALTER TABLE oauth_client_details
    ALTER COLUMN contacts DROP DEFAULT, ALTER COLUMN contacts TYPE jsonb USING contacts::jsonb, ALTER COLUMN contacts SET DEFAULT '[]',
    ALTER COLUMN metadata DROP DEFAULT, ALTER COLUMN metadata TYPE jsonb USING metadata::jsonb, ALTER COLUMN metadata SET DEFAULT '{}';
ALTER TABLE oauth_client ADD CONSTRAINT oauth_client_owner_check CHECK (owner <> '');

-- +goose Down
ALTER TABLE oauth_client DROP CONSTRAINT oauth_client_owner_check;
ALTER TABLE oauth_client_details ALTER COLUMN contacts TYPE text, ALTER COLUMN metadata TYPE text;
ALTER TABLE oauth_client ALTER COLUMN redirect_uris TYPE text, ALTER COLUMN post_logout_redirect_uris TYPE text,
    ALTER COLUMN grant_types TYPE text, ALTER COLUMN response_types TYPE text, ALTER COLUMN audience TYPE text;
