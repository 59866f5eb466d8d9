-- Tokens belong to a flow now. A token whose consent has no flow loses the link.
-- +goose Up
ALTER TABLE oauth_code DROP CONSTRAINT oauth_code_consent_challenge_fkey;
ALTER TABLE oauth_access DROP CONSTRAINT oauth_access_consent_challenge_fkey;
ALTER TABLE oauth_refresh DROP CONSTRAINT oauth_refresh_consent_challenge_fkey;
UPDATE oauth_code t SET consent_challenge = NULL WHERE NOT EXISTS (SELECT 1 FROM oauth_flow f WHERE f.consent_challenge = t.consent_challenge);
UPDATE oauth_access t SET consent_challenge = NULL WHERE NOT EXISTS (SELECT 1 FROM oauth_flow f WHERE f.consent_challenge = t.consent_challenge);
UPDATE oauth_refresh t SET consent_challenge = NULL WHERE NOT EXISTS (SELECT 1 FROM oauth_flow f WHERE f.consent_challenge = t.consent_challenge);
ALTER TABLE oauth_code ADD CONSTRAINT oauth_code_flow_fk FOREIGN KEY (consent_challenge) REFERENCES oauth_flow (consent_challenge) ON DELETE CASCADE;
ALTER TABLE oauth_access ADD CONSTRAINT oauth_access_flow_fk FOREIGN KEY (consent_challenge) REFERENCES oauth_flow (consent_challenge) ON DELETE CASCADE;
ALTER TABLE oauth_refresh ADD CONSTRAINT oauth_refresh_flow_fk FOREIGN KEY (consent_challenge) REFERENCES oauth_flow (consent_challenge) ON DELETE CASCADE;
DROP TABLE oauth_consent_handled, oauth_consent_request, oauth_login_handled, oauth_login_request;
