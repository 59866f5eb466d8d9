-- The four login and consent tables become one. state: 1 login asked, 2 login answered, 3 login used,
-- 4 consent asked, 5 consent answered, 6 consent used, 128 login failed, 129 consent failed.
-- There is no way back: what was four rows is one.
-- +goose Up
CREATE TABLE oauth_flow (
    login_challenge text PRIMARY KEY,
    login_verifier text NOT NULL,
    nid uuid NOT NULL REFERENCES oauth_network (id),
    client_id text NOT NULL REFERENCES oauth_client (id) ON DELETE CASCADE,
    session_id text REFERENCES oauth_session (id) ON DELETE SET NULL,
    subject text NOT NULL,
    login_skip boolean NOT NULL DEFAULT false,
    request_url text NOT NULL,
    requested_scope text NOT NULL DEFAULT '',
    oidc_context jsonb NOT NULL DEFAULT '{}',
    auth_request jsonb NOT NULL DEFAULT '{}',
    requested_at timestamptz NOT NULL DEFAULT now(),
    login_remember boolean NOT NULL DEFAULT false,
    login_remember_for integer NOT NULL DEFAULT 0,
    login_context jsonb NOT NULL DEFAULT '{}',
    login_error jsonb,
    login_was_used boolean NOT NULL DEFAULT false,
    login_authenticated_at timestamptz,
    consent_challenge text,
    consent_verifier text,
    consent_skip boolean NOT NULL DEFAULT false,
    acr text NOT NULL DEFAULT '',
    granted_scope text NOT NULL DEFAULT '',
    consent_remember boolean NOT NULL DEFAULT false,
    consent_remember_for integer NOT NULL DEFAULT 0,
    consent_error jsonb,
    consent_was_used boolean NOT NULL DEFAULT false,
    consent_handled_at timestamptz,
    session_access_token jsonb NOT NULL DEFAULT '{}',
    session_id_token jsonb NOT NULL DEFAULT '{}',
    state smallint NOT NULL
);

INSERT INTO oauth_flow (login_challenge, login_verifier, nid, client_id, session_id, subject, login_skip, request_url,
    requested_scope, oidc_context, auth_request, requested_at, login_remember, login_remember_for, login_context,
    login_error, login_was_used, login_authenticated_at, consent_challenge, consent_verifier, consent_skip, acr,
    granted_scope, consent_remember, consent_remember_for, consent_error, consent_was_used, consent_handled_at,
    session_access_token, session_id_token, state)
SELECT lr.challenge, lr.verifier, (SELECT id FROM oauth_network LIMIT 1), lr.client_id, lr.session_id, lr.subject,
    lr.skip, lr.request_url, lr.requested_scope, lr.oidc_context::jsonb, lr.auth_request::jsonb, lr.requested_at,
    coalesce(lh.remember, false), coalesce(lh.remember_for, 0), coalesce(lh.context, '{}')::jsonb,
    CASE WHEN lh.error = '{}' THEN NULL ELSE lh.error::jsonb END, coalesce(lh.was_used, false), lh.authenticated_at,
    cr.challenge, cr.verifier, coalesce(cr.skip, false), coalesce(cr.acr, ''), coalesce(ch.granted_scope, ''),
    coalesce(ch.remember, false), coalesce(ch.remember_for, 0),
    CASE WHEN ch.error = '{}' THEN NULL ELSE ch.error::jsonb END, coalesce(ch.was_used, false), ch.handled_at,
    coalesce(ch.session_access_token, '{}')::jsonb, coalesce(ch.session_id_token, '{}')::jsonb,
    CASE
        WHEN lh.error IS NOT NULL THEN 128
        WHEN ch.error IS NOT NULL THEN 129
        WHEN ch.was_used THEN 6
        WHEN ch.challenge IS NOT NULL THEN 5
        WHEN cr.challenge IS NOT NULL THEN 4
        WHEN lh.was_used THEN 3
        WHEN lh.challenge IS NOT NULL THEN 2
        ELSE 1
    END
FROM oauth_login_request lr
LEFT JOIN oauth_login_handled lh ON lh.challenge = lr.challenge
LEFT JOIN oauth_consent_request cr ON cr.login_challenge = lr.challenge
LEFT JOIN oauth_consent_handled ch ON ch.challenge = cr.challenge;

CREATE UNIQUE INDEX oauth_flow_login_verifier_key ON oauth_flow (login_verifier);
CREATE UNIQUE INDEX oauth_flow_consent_challenge_key ON oauth_flow (consent_challenge);
CREATE UNIQUE INDEX oauth_flow_consent_verifier_key ON oauth_flow (consent_verifier);
CREATE INDEX oauth_flow_subject_client_idx ON oauth_flow (subject, client_id);
CREATE INDEX oauth_flow_session_idx ON oauth_flow (session_id);
