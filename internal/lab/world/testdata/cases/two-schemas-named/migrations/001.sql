ALTER TABLE auth.account ADD COLUMN active boolean NOT NULL DEFAULT true;
ALTER TABLE billing.account RENAME COLUMN iban TO number;
ALTER TABLE billing.invoice RENAME TO bill;
ALTER TABLE billing.bill SET SCHEMA auth;
UPDATE auth.bill b SET note = a.number FROM billing.account a WHERE a.id = b.account;
