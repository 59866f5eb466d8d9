-- Generation 1.0: the first schema. JSON is kept in text columns, as the servers of its time did.
-- +goose Up
CREATE TABLE oauth_client (
    id text PRIMARY KEY,
    name text NOT NULL DEFAULT '',
    owner text NOT NULL DEFAULT '',
    secret_hash text NOT NULL DEFAULT '',
    redirect_uris text NOT NULL DEFAULT '[]',
    post_logout_redirect_uris text NOT NULL DEFAULT '[]',
    grant_types text NOT NULL DEFAULT '[]',
    response_types text NOT NULL DEFAULT '[]',
    scope text NOT NULL DEFAULT '',
    audience text NOT NULL DEFAULT '[]',
    contacts text NOT NULL DEFAULT '[]',
    metadata text NOT NULL DEFAULT '{}',
    token_endpoint_auth_method text NOT NULL DEFAULT 'client_secret_basic',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE oauth_session (
    id text PRIMARY KEY,
    subject text NOT NULL DEFAULT '',
    remember boolean NOT NULL DEFAULT false,
    authenticated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE oauth_login_request (
    challenge text PRIMARY KEY,
    verifier text NOT NULL UNIQUE,
    client_id text NOT NULL REFERENCES oauth_client (id) ON DELETE CASCADE,
    session_id text REFERENCES oauth_session (id) ON DELETE CASCADE,
    subject text NOT NULL DEFAULT '',
    skip boolean NOT NULL DEFAULT false,
    request_url text NOT NULL,
    requested_scope text NOT NULL DEFAULT '',
    oidc_context text NOT NULL DEFAULT '{}',
    auth_request text NOT NULL DEFAULT '{}',
    requested_at timestamptz NOT NULL DEFAULT now()
);

-- error is '{}' where the login was accepted, and the error as JSON where it was rejected.
CREATE TABLE oauth_login_handled (
    challenge text PRIMARY KEY REFERENCES oauth_login_request (challenge) ON DELETE CASCADE,
    subject text NOT NULL DEFAULT '',
    remember boolean NOT NULL DEFAULT false,
    remember_for integer NOT NULL DEFAULT 0,
    acr text NOT NULL DEFAULT '',
    context text NOT NULL DEFAULT '{}',
    error text NOT NULL DEFAULT '{}',
    was_used boolean NOT NULL DEFAULT false,
    authenticated_at timestamptz,
    handled_at timestamptz NOT NULL DEFAULT now()
);

-- A consent outlives the login session that it was given in: login_challenge goes NULL at log-out.
CREATE TABLE oauth_consent_request (
    challenge text PRIMARY KEY,
    verifier text NOT NULL UNIQUE,
    login_challenge text REFERENCES oauth_login_request (challenge) ON DELETE SET NULL,
    client_id text NOT NULL REFERENCES oauth_client (id) ON DELETE CASCADE,
    subject text NOT NULL DEFAULT '',
    skip boolean NOT NULL DEFAULT false,
    requested_scope text NOT NULL DEFAULT '',
    oidc_context text NOT NULL DEFAULT '{}',
    request_url text NOT NULL DEFAULT '',
    auth_request text NOT NULL DEFAULT '{}',
    requested_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE oauth_consent_handled (
    challenge text PRIMARY KEY REFERENCES oauth_consent_request (challenge) ON DELETE CASCADE,
    granted_scope text NOT NULL DEFAULT '',
    remember boolean NOT NULL DEFAULT false,
    remember_for integer NOT NULL DEFAULT 0,
    session_access_token text NOT NULL DEFAULT '{}',
    session_id_token text NOT NULL DEFAULT '{}',
    error text NOT NULL DEFAULT '{}',
    was_used boolean NOT NULL DEFAULT false,
    handled_at timestamptz NOT NULL DEFAULT now()
);

-- request_id names the chain: the code and every access and refresh token that descends from it.
CREATE TABLE oauth_code (
    signature text PRIMARY KEY,
    request_id text NOT NULL,
    client_id text NOT NULL,
    subject text NOT NULL DEFAULT '',
    consent_challenge text REFERENCES oauth_consent_request (challenge) ON DELETE CASCADE,
    scope text NOT NULL DEFAULT '',
    session_data text NOT NULL DEFAULT '{}',
    active boolean NOT NULL DEFAULT true,
    requested_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

CREATE TABLE oauth_access (
    signature text PRIMARY KEY,
    request_id text NOT NULL,
    client_id text NOT NULL,
    subject text NOT NULL DEFAULT '',
    consent_challenge text REFERENCES oauth_consent_request (challenge) ON DELETE CASCADE,
    scope text NOT NULL DEFAULT '',
    audience text NOT NULL DEFAULT '[]',
    session_data text NOT NULL DEFAULT '{}',
    requested_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

-- A used refresh token stays as a row with active = false. Generation 1.0 refuses it, and no more.
CREATE TABLE oauth_refresh (
    signature text PRIMARY KEY,
    request_id text NOT NULL,
    client_id text NOT NULL,
    subject text NOT NULL DEFAULT '',
    consent_challenge text REFERENCES oauth_consent_request (challenge) ON DELETE CASCADE,
    scope text NOT NULL DEFAULT '',
    audience text NOT NULL DEFAULT '[]',
    session_data text NOT NULL DEFAULT '{}',
    active boolean NOT NULL DEFAULT true,
    requested_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

-- keydata is a private JWK (RFC 7517), sealed with the server's system secret.
CREATE TABLE oauth_jwk (
    kid text PRIMARY KEY,
    use text NOT NULL DEFAULT 'sig',
    alg text NOT NULL,
    keydata text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE oauth_jwk, oauth_refresh, oauth_access, oauth_code, oauth_consent_handled, oauth_consent_request,
    oauth_login_handled, oauth_login_request, oauth_session, oauth_client;
