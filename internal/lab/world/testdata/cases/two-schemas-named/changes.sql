UPDATE auth.account SET email = 'changed' WHERE id = 3;
INSERT INTO billing.invoice VALUES (101, 3, 7);
UPDATE billing.account SET iban = 'FR' WHERE id = 4;
DELETE FROM auth.account WHERE id = 5;
INSERT INTO billing.denied VALUES ('new', 9);
DELETE FROM billing.denied WHERE token = 'old';
UPDATE billing.invoice SET id = 1000 WHERE id = 6;
TRUNCATE billing.denied;
INSERT INTO billing.denied VALUES ('newer', 10);
