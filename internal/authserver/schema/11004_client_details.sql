-- What an app says of itself moves out of the row that every token request reads.
-- +goose Up
CREATE TABLE oauth_client_details (
    client_id text PRIMARY KEY REFERENCES oauth_client (id) ON DELETE CASCADE,
    contacts text NOT NULL DEFAULT '[]',
    metadata text NOT NULL DEFAULT '{}'
);
INSERT INTO oauth_client_details (client_id, contacts, metadata) SELECT id, contacts, metadata FROM oauth_client;
ALTER TABLE oauth_client DROP COLUMN contacts, DROP COLUMN metadata;

-- +goose Down
ALTER TABLE oauth_client ADD COLUMN contacts text NOT NULL DEFAULT '[]', ADD COLUMN metadata text NOT NULL DEFAULT '{}';
UPDATE oauth_client c SET contacts = d.contacts, metadata = d.metadata FROM oauth_client_details d WHERE d.client_id = c.id;
DROP TABLE oauth_client_details;
