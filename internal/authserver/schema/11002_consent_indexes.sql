-- +goose Up
CREATE INDEX oauth_consent_request_subject_idx ON oauth_consent_request (subject, client_id);
CREATE INDEX oauth_consent_request_login_idx ON oauth_consent_request (login_challenge);
CREATE INDEX oauth_login_request_session_idx ON oauth_login_request (session_id);
CREATE INDEX oauth_login_request_client_idx ON oauth_login_request (client_id);
CREATE INDEX oauth_session_subject_idx ON oauth_session (subject);

-- +goose Down
DROP INDEX oauth_consent_request_subject_idx, oauth_consent_request_login_idx, oauth_login_request_session_idx,
    oauth_login_request_client_idx, oauth_session_subject_idx;
