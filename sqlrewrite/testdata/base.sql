-- What is there before each migration of the corpus.
CREATE SCHEMA other;
CREATE TABLE client (id text PRIMARY KEY, name text, owner text);
CREATE TABLE token (
    sig text PRIMARY KEY,
    client_id text,
    subject text NOT NULL DEFAULT '',
    n integer CONSTRAINT token_n_check1 CHECK (n <> 13),
    active boolean DEFAULT true
);
CREATE INDEX token_subject_idx ON token (subject);
CREATE TABLE spare (id integer);
CREATE TABLE part (id integer, at date) PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE part_2 (id integer, at date);
CREATE VIEW living AS SELECT sig, subject FROM token WHERE active;
CREATE MATERIALIZED VIEW summary AS SELECT subject, count(*) AS tokens FROM token GROUP BY subject;
CREATE UNIQUE INDEX summary_idx ON summary (subject);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
INSERT INTO client SELECT 'c' || i, 'name', 'owner' FROM generate_series(1, 20) i;
INSERT INTO token SELECT 's' || i, 'c' || i, 'subject', i + 20, true FROM generate_series(1, 20) i;
CREATE TABLE other.thing (id integer PRIMARY KEY, v text);
CREATE INDEX thing_old_idx ON other.thing (v);
CREATE TABLE nobody (id integer);
CREATE TABLE who (subject text PRIMARY KEY);
CREATE TABLE pair (a integer, b text, c text REFERENCES client, v integer, w varchar(20), PRIMARY KEY (a, b));
CREATE TABLE "Odd Table" ("a Key" uuid PRIMARY KEY, "the Value" text);
CREATE FUNCTION pick() RETURNS text LANGUAGE sql VOLATILE AS 'SELECT ''c7''';
INSERT INTO other.thing SELECT i, CASE WHEN i % 2 = 0 THEN 'new' END FROM generate_series(1, 30) i;
INSERT INTO who VALUES ('subject');
INSERT INTO pair SELECT i % 7, 'b' || i, 'c1', i, 'w' FROM generate_series(1, 50) i;
INSERT INTO "Odd Table" SELECT ('00000000-0000-0000-0000-0000000000' || i)::uuid, CASE WHEN i % 3 = 0 THEN 'old' END FROM generate_series(10, 40) i;
INSERT INTO spare VALUES (1), (2), (NULL);
INSERT INTO part VALUES (1, '2020-06-01'), (2, '2020-07-01');
