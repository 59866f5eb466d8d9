-- Generation 1.1: refresh reuse ends the whole chain, so chains are looked up by request_id all the time.
-- +goose Up
CREATE INDEX oauth_access_request_id_idx ON oauth_access (request_id);
CREATE INDEX oauth_refresh_request_id_idx ON oauth_refresh (request_id);
CREATE INDEX oauth_code_request_id_idx ON oauth_code (request_id);
CREATE INDEX oauth_access_client_subject_idx ON oauth_access (client_id, subject);
CREATE INDEX oauth_refresh_client_subject_idx ON oauth_refresh (client_id, subject);
CREATE INDEX oauth_access_consent_idx ON oauth_access (consent_challenge);
CREATE INDEX oauth_refresh_consent_idx ON oauth_refresh (consent_challenge);
CREATE INDEX oauth_code_consent_idx ON oauth_code (consent_challenge);

-- +goose Down
DROP INDEX oauth_access_request_id_idx, oauth_refresh_request_id_idx, oauth_code_request_id_idx,
    oauth_access_client_subject_idx, oauth_refresh_client_subject_idx, oauth_access_consent_idx,
    oauth_refresh_consent_idx, oauth_code_consent_idx;
