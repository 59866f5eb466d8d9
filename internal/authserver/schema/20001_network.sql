-- Generation 2.0: many networks in one database. An upgraded database has one, with a new random id.
-- +goose Up
CREATE TABLE oauth_network (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO oauth_network DEFAULT VALUES;
ALTER TABLE oauth_client ADD COLUMN nid uuid REFERENCES oauth_network (id);
UPDATE oauth_client SET nid = (SELECT id FROM oauth_network LIMIT 1);
ALTER TABLE oauth_client ALTER COLUMN nid SET NOT NULL;
ALTER TABLE oauth_client ADD COLUMN pk uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE oauth_client ADD CONSTRAINT oauth_client_pk_key UNIQUE (pk);

-- +goose Down
ALTER TABLE oauth_client DROP COLUMN pk, DROP COLUMN nid;
DROP TABLE oauth_network;
