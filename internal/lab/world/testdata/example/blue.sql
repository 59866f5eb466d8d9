CREATE SCHEMA auth;
CREATE TABLE auth.app (app_key text PRIMARY KEY, name text NOT NULL);
CREATE TABLE auth.given (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, app_key text NOT NULL REFERENCES auth.app ON DELETE CASCADE,
    person text NOT NULL, scopes text NOT NULL DEFAULT '', revoked_at timestamptz);    -- revoked: a soft delete
CREATE TABLE auth.denied (token text PRIMARY KEY);                                     -- revoked: a deny list
CREATE TABLE auth.visit (at timestamptz NOT NULL DEFAULT now(), person text);          -- no key
CREATE SCHEMA billing;
CREATE TABLE billing.contract (app_key text PRIMARY KEY REFERENCES auth.app ON DELETE CASCADE, plan text NOT NULL);
