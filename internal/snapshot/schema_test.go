package snapshot_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

// features has one of everything that a copy can trip over.
const features = `
CREATE EXTENSION btree_gist;
CREATE SCHEMA "Other Schema";
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (a integer, m mood);
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
CREATE SEQUENCE counter START 5 INCREMENT 7;
SELECT nextval('counter'), nextval('counter');
CREATE SEQUENCE untouched START 42;
CREATE TABLE everything (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s serial, n numeric(20, 5), f float8, t text, b bytea, j json, jb jsonb,
	ts timestamptz, d date, iv interval, u uuid, ip inet, moods mood[], p pair, pairs pair[], e email, m mood, ints integer[],
	r int4range, rc regclass, x xml, bits varbit, c char(10), twice bigint GENERATED ALWAYS AS (id * 2) STORED, gone integer);
ALTER TABLE everything DROP COLUMN gone;
INSERT INTO everything (n, f, t, b, j, jb, ts, d, iv, u, ip, moods, p, pairs, e, m, ints, r, rc, x, bits, c)
SELECT i / 3.0, sqrt(i), E'line\n\t\\ ' || i, decode(md5(i::text), 'hex'), '{"a":  1}', '{"b": [1, null]}', now() - i * interval '1 hour',
	'infinity', '1 mon 3 days', gen_random_uuid(), '10.0.0.1/8', '{sad,happy}', (1, 'ok'::mood)::pair, ARRAY[(2, 'sad'::mood)::pair], 'a@b', 'happy',
	ARRAY[1, NULL, 3], '[1,5)', 'everything', '<a/>', B'1010', 'x' FROM generate_series(1, 500) i;
INSERT INTO everything (t) VALUES (NULL), ('');
INSERT INTO everything (t, b) VALUES (repeat('large ', 2000000), decode(repeat('00ff', 3000000), 'hex'));
CREATE TABLE "Select" ("from" integer, "Über ""x""" text, PRIMARY KEY ("from"));
INSERT INTO "Select" VALUES (1, 'one');
CREATE TABLE "Other Schema"."a.b; --" (v text);
INSERT INTO "Other Schema"."a.b; --" VALUES ('v'), ('v');
CREATE TABLE empty_one (id integer PRIMARY KEY);
DO $$BEGIN EXECUTE (SELECT 'CREATE TABLE wide (' || string_agg('c' || i || CASE i % 4 WHEN 0 THEN ' int' WHEN 1 THEN ' text' WHEN 2 THEN ' timestamptz' ELSE ' numeric' END, ', ') || ')'
	FROM generate_series(1, 200) i); END$$;
INSERT INTO wide (c4, c5, c6, c7, c200, c197) SELECT i, 'five', now(), i / 7.0, i, NULL FROM generate_series(1, 50) i;
COMMENT ON TABLE wide IS 'two hundred columns'; COMMENT ON COLUMN wide.c200 IS 'the last'; COMMENT ON TYPE mood IS 'how it is';
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE ranged (id integer, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE ranged_1 PARTITION OF ranged FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE ranged_2 PARTITION OF ranged DEFAULT;
INSERT INTO ranged SELECT i, '2020-06-01'::date + i FROM generate_series(1, 400) i;
CREATE INDEX ON ranged (at);
CREATE TABLE hashed (m mood, v integer) PARTITION BY HASH (m);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT (ARRAY['sad', 'ok', 'happy'])[i % 3 + 1]::mood, i FROM generate_series(1, 90) i;
CREATE TABLE booked (room integer, during tstzrange, EXCLUDE USING gist (room WITH =, during WITH &&));
INSERT INTO booked VALUES (1, '[2020-01-01, 2020-02-01)');
CREATE TABLE parent (id integer PRIMARY KEY, child integer);
CREATE TABLE child (id integer PRIMARY KEY, parent integer REFERENCES parent DEFERRABLE);
ALTER TABLE parent ADD FOREIGN KEY (child) REFERENCES child NOT VALID;
INSERT INTO parent VALUES (1, NULL); INSERT INTO child VALUES (1, 1);
CREATE INDEX child_expression ON child ((parent + 1)) WHERE parent > 0;
CREATE UNIQUE INDEX ON child (parent) INCLUDE (id);
CREATE STATISTICS child_stats ON id, parent FROM child;
CREATE VIEW v AS SELECT id, count(*) FROM parent GROUP BY parent.id, parent.child;
CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM everything;
CREATE MATERIALIZED VIEW mv2 AS SELECT * FROM mv;
CREATE UNIQUE INDEX ON mv (count);
CREATE MATERIALIZED VIEW mv_empty AS SELECT 1 AS one WITH NO DATA;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
RAISE EXCEPTION 'a trigger of the server''s ran during the copy
\restrict abc
SET statement_timeout = 0;
\unrestrict abc
';
END $$;
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON child FOR EACH ROW EXECUTE FUNCTION touched();
CREATE TRIGGER "touch it" BEFORE INSERT ON empty_one FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE empty_one ENABLE ALWAYS TRIGGER "touch it";
CREATE RULE nothing AS ON DELETE TO booked DO INSTEAD NOTHING;
ALTER TABLE child ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON child USING (id > 0);
ALTER TABLE child REPLICA IDENTITY FULL;
CREATE UNLOGGED TABLE unlogged (v integer);
INSERT INTO unlogged VALUES (1);
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE TABLE goose_db_version (id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, version_id bigint);
INSERT INTO goose_db_version (version_id) VALUES (0), (10001), (11004);
`

// ours is what a run of ours has put on blue: a schema and triggers on the server's tables.
const ours = `
CREATE SCHEMA tideover;
CREATE TABLE tideover.change (id bigint);
INSERT INTO tideover.change VALUES (1);
CREATE FUNCTION tideover.capture() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER "TRIGGER public child touched" AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION tideover.capture();
CREATE CONSTRAINT TRIGGER tideover_judge AFTER DELETE ON "Select" DEFERRABLE FOR EACH ROW EXECUTE FUNCTION tideover.capture();
CREATE TRIGGER tideover_capture AFTER INSERT ON ranged FOR EACH ROW EXECUTE FUNCTION tideover.capture();
`

const dropOurs = `DROP SCHEMA IF EXISTS tideover CASCADE;`

var profile = &plan.Profile{Schema: "public", Bookkeeping: []string{"goose_db_version", "not_there"}}

func TestSchemaIsBluesWithoutItsRows(t *testing.T) {
	t.Parallel()
	blue, into := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	run(t, blue, features)
	run(t, blue, ours)
	if err := snapshot.Schema(t.Context(), blue, into, snapshot.SchemaOptions{Profile: profile}); err != nil {
		t.Fatal(err)
	}
	run(t, blue, dropOurs)
	if diff := cmp.Diff(dump(t, blue, "--schema-only"), dump(t, into, "--schema-only")); diff != "" {
		t.Errorf("the schema differs (-blue +copy):\n%s", diff)
	}
	conn := connect(t, into)
	var rows, next, left int
	err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM goose_db_version), nextval('goose_db_version_id_seq'),
		(SELECT count(*) FROM everything) + (SELECT count(*) FROM hashed)`).Scan(&rows, &next, &left)
	if err != nil {
		t.Fatal(err)
	}
	if rows != 3 || next != 4 || left != 0 {
		t.Errorf("bookkeeping has %d rows and goes on at %d, other tables have %d rows; want 3, 4 and 0", rows, next, left)
	}
}

func TestSchemaLeavesNothingOnFailure(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blue, into := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	run(t, blue, `CREATE TABLE a (id int); CREATE TABLE b (id int);`)
	run(t, into, `CREATE TABLE b (other int);`)
	before := dump(t, into)
	if err := snapshot.Schema(t.Context(), blue, into, snapshot.SchemaOptions{}); err == nil {
		t.Fatal("no error where a table is in the way")
	}
	if diff := cmp.Diff(before, dump(t, into)); diff != "" {
		t.Errorf("something is left:\n%s", diff)
	}
}
