INSERT INTO auth.app VALUES ('a', 'one'), ('b', 'two'), ('c', 'three');
INSERT INTO auth.given (app_key, person, scopes) VALUES ('a', 'anna', 'openid email'), ('a', 'bert', 'openid'), ('b', 'anna', ''), ('c', 'carl', 'openid');
INSERT INTO auth.denied VALUES ('old');
INSERT INTO auth.visit (person) VALUES ('anna'), ('anna');
INSERT INTO billing.contract VALUES ('a', 'free'), ('b', 'paid');
