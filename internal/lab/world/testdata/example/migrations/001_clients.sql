ALTER TABLE auth.app RENAME TO client;
ALTER TABLE auth.client RENAME COLUMN app_key TO client_id;
ALTER TABLE auth.given RENAME COLUMN app_key TO client_id;
ALTER TABLE auth.given ADD COLUMN scope_list text[];
UPDATE auth.given SET scope_list = string_to_array(scopes, ' ');
ALTER TABLE auth.given DROP COLUMN scopes;
ALTER TABLE billing.contract RENAME COLUMN app_key TO client_id;
ALTER TABLE billing.contract ADD COLUMN currency text NOT NULL DEFAULT 'EUR';
