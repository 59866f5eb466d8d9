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
