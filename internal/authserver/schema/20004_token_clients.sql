-- Every token has a client that exists.
-- +goose Up
ALTER TABLE oauth_code ADD CONSTRAINT oauth_code_client_fk FOREIGN KEY (client_id) REFERENCES oauth_client (id) ON DELETE CASCADE;
ALTER TABLE oauth_access ADD CONSTRAINT oauth_access_client_fk FOREIGN KEY (client_id) REFERENCES oauth_client (id) ON DELETE CASCADE;
ALTER TABLE oauth_refresh ADD CONSTRAINT oauth_refresh_client_fk FOREIGN KEY (client_id) REFERENCES oauth_client (id) ON DELETE CASCADE;
CREATE INDEX oauth_code_client_idx ON oauth_code (client_id);

-- +goose Down
DROP INDEX oauth_code_client_idx;
ALTER TABLE oauth_refresh DROP CONSTRAINT oauth_refresh_client_fk;
ALTER TABLE oauth_access DROP CONSTRAINT oauth_access_client_fk;
ALTER TABLE oauth_code DROP CONSTRAINT oauth_code_client_fk;
