-- A refresh token may be used again for a short while after its first use, so that a retry is not theft.
-- +goose Up
ALTER TABLE oauth_refresh ADD COLUMN first_used_at timestamptz;
ALTER TABLE oauth_refresh ADD COLUMN successor text;

-- +goose Down
ALTER TABLE oauth_refresh DROP COLUMN successor, DROP COLUMN first_used_at;
