CREATE TABLE photo (id int PRIMARY KEY, picture oid);
INSERT INTO photo VALUES (1, NULL), (2, NULL);
