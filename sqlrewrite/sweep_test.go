package sqlrewrite_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/sqlrewrite"
)

// sweep is migrations as people write them, of the kinds that other linters have rules about locks and rewriting for. The last file is
// judged; bad ones must be found, by one of the names, and good ones let be.
var sweep = []struct {
	rule  string
	bad   string // names that would do, with spaces between; "": it is good
	files []string
}{
	// squawk: adding-field-with-default
	{"a volatile default", "rewrites-table", []string{"ALTER TABLE account ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid();"}},
	{"a default of the clock's", "rewrites-table", []string{"ALTER TABLE account ADD COLUMN seen timestamptz DEFAULT clock_timestamp();"}},
	{"a default of random()", "rewrites-table", []string{`ALTER TABLE "account" ADD "bucket" double precision DEFAULT (random() * 100)`}},
	{"a default of a sequence", "rewrites-table", []string{"CREATE SEQUENCE n; ALTER TABLE account ADD COLUMN n bigint DEFAULT nextval('n');"}},
	{"a generated column", "rewrites-table", []string{"ALTER TABLE account ADD COLUMN low text GENERATED ALWAYS AS (lower(name)) STORED;"}},
	{"a constant default", "", []string{"ALTER TABLE account ADD COLUMN level int NOT NULL DEFAULT 1;"}},
	{"a stable default", "", []string{"ALTER TABLE account ADD COLUMN made timestamptz NOT NULL DEFAULT now();"}},
	{"a constant array", "", []string{"ALTER TABLE account ADD COLUMN tags text[] DEFAULT '{}'::text[], ADD COLUMN extra jsonb NOT NULL DEFAULT '{}';"}},
	{"the default of rows to come", "", []string{"ALTER TABLE account ADD COLUMN token uuid;", "ALTER TABLE account ALTER COLUMN token SET DEFAULT gen_random_uuid();"}},
	{"a volatile default in a new table", "", []string{"CREATE TABLE account (token uuid DEFAULT gen_random_uuid(), n serial, low text);"}},
	{"a column of a table of the same file", "", []string{"CREATE TABLE account (id int);\nALTER TABLE account ADD COLUMN token uuid DEFAULT gen_random_uuid();"}},
	{"the same, if it isn't there", "", []string{"CREATE TABLE IF NOT EXISTS account (id int);\nALTER TABLE account ADD COLUMN token uuid DEFAULT gen_random_uuid();"}},

	// adding-foreign-key-constraint, constraint-missing-not-valid
	{"a foreign key", "blocks-writes", []string{"ALTER TABLE mail ADD CONSTRAINT mail_account FOREIGN KEY (account_id) REFERENCES account (id);"}},
	{"a foreign key of a new column", "blocks-writes", []string{"ALTER TABLE mail ADD COLUMN account_id bigint REFERENCES account (id) ON DELETE CASCADE;"}},
	{"a foreign key, validated in the same transaction", "blocks-writes holds-lock", []string{"ALTER TABLE mail ADD CONSTRAINT f FOREIGN KEY (account_id) REFERENCES account (id) NOT VALID;\nALTER TABLE mail VALIDATE CONSTRAINT f;"}},
	{"a check", "blocks-reads", []string{"ALTER TABLE account ADD CONSTRAINT positive CHECK (balance >= 0);"}},
	{"a check, validated in the same transaction", "holds-lock blocks-reads", []string{"BEGIN;\nALTER TABLE account ADD CONSTRAINT positive CHECK (balance >= 0) NOT VALID;\nALTER TABLE account VALIDATE CONSTRAINT positive;\nCOMMIT;"}},
	{"a check of a new column", "blocks-reads", []string{"ALTER TABLE account ADD COLUMN age int CHECK (age > 0);"}},
	{"a foreign key, not valid", "", []string{"ALTER TABLE mail ADD CONSTRAINT mail_account FOREIGN KEY (account_id) REFERENCES account (id) NOT VALID;"}},
	{"validated later", "", []string{"ALTER TABLE mail ADD CONSTRAINT mail_account FOREIGN KEY (account_id) REFERENCES account (id) NOT VALID;", "ALTER TABLE mail VALIDATE CONSTRAINT mail_account;"}},
	{"a check, not valid", "", []string{"ALTER TABLE account ADD CONSTRAINT positive CHECK (balance >= 0) NOT VALID;"}},
	{"a foreign key of a new table", "", []string{"CREATE TABLE mail (id bigint PRIMARY KEY, account_id bigint NOT NULL REFERENCES account (id));\nCREATE INDEX ON mail (account_id);"}},
	{"a constraint that goes", "", []string{"ALTER TABLE mail DROP CONSTRAINT mail_account;"}},

	// adding-not-nullable-field, adding-required-field
	{"NOT NULL", "blocks-reads", []string{"ALTER TABLE account ALTER COLUMN name SET NOT NULL;"}},
	{"NOT NULL for several", "blocks-reads", []string{"ALTER TABLE account ALTER name SET NOT NULL, ALTER mail SET NOT NULL;"}},
	{"a required column", "fails-on-rows", []string{"ALTER TABLE account ADD COLUMN name text NOT NULL;"}},
	{"back-fill and NOT NULL in one transaction", "blocks-reads writes-whole-table", []string{"ALTER TABLE account ADD COLUMN level int DEFAULT 1;\nUPDATE account SET level = 1 WHERE level IS NULL;\nALTER TABLE account ALTER COLUMN level SET NOT NULL;"}},
	{"NOT NULL behind a check that holds", "", []string{"ALTER TABLE account ALTER name SET DEFAULT ''; ALTER TABLE account ADD CONSTRAINT named CHECK (name IS NOT NULL) NOT VALID;", "ALTER TABLE account VALIDATE CONSTRAINT named;",
		"ALTER TABLE account ALTER COLUMN name SET NOT NULL;\nALTER TABLE account DROP CONSTRAINT named;"}},
	{"NOT NULL behind a check that isn't validated", "blocks-reads", []string{"ALTER TABLE account ADD CONSTRAINT named CHECK (name IS NOT NULL) NOT VALID;", "ALTER TABLE account ALTER COLUMN name SET NOT NULL;"}},
	{"NOT NULL behind a check that has gone", "blocks-reads", []string{"ALTER TABLE account ADD CONSTRAINT named CHECK (name IS NOT NULL);", "ALTER TABLE account DROP CONSTRAINT named;", "ALTER TABLE account ALTER COLUMN name SET NOT NULL;"}},
	{"NOT NULL as the check goes", "blocks-reads", []string{"ALTER TABLE account ADD CONSTRAINT named CHECK (name IS NOT NULL);", "ALTER TABLE account ALTER COLUMN name SET NOT NULL, DROP CONSTRAINT named;"}},
	{"NOT NULL behind a check of another name", "blocks-reads", []string{"ALTER TABLE account ADD CONSTRAINT named CHECK (name IS NOT NULL);", "ALTER TABLE account RENAME COLUMN name TO old; ALTER TABLE account RENAME COLUMN other TO name;", "ALTER TABLE account ALTER COLUMN name SET NOT NULL;"}},
	{"NOT NULL behind a check that says less", "blocks-reads", []string{"ALTER TABLE account ADD CONSTRAINT named CHECK (name IS NOT NULL OR gone);", "ALTER TABLE account ALTER COLUMN name SET NOT NULL;"}},
	{"NOT NULL behind code", "blocks-reads", []string{"ALTER TABLE account ADD CONSTRAINT named CHECK (name IS NOT NULL);", "DO 'BEGIN END';", "ALTER TABLE account ALTER COLUMN name SET NOT NULL;"}},
	{"an index of a table that an earlier file made if it wasn't there", "blocks-writes", []string{"CREATE TABLE account (name text);", "CREATE TABLE IF NOT EXISTS account (name text);\nCREATE INDEX account_name ON account (name);"}},
	{"NOT NULL behind a check that says more", "", []string{"ALTER TABLE account ALTER name SET DEFAULT ''; ALTER TABLE account ADD CONSTRAINT named CHECK (name IS NOT NULL AND length(name) > 0) NOT VALID;", "ALTER TABLE account VALIDATE CONSTRAINT named;", "ALTER TABLE account ALTER COLUMN name SET NOT NULL;"}},
	{"NOT NULL that goes", "", []string{"ALTER TABLE account ALTER COLUMN name DROP NOT NULL;"}},
	{"a column that may be NULL", "", []string{"ALTER TABLE account ADD COLUMN IF NOT EXISTS nick text;"}},
	{"NOT NULL in a new table", "", []string{"CREATE TABLE account (id bigint, name text);\nALTER TABLE account ALTER COLUMN name SET NOT NULL;"}},

	// adding-serial-primary-key-field
	{"a serial key", "rewrites-table", []string{"ALTER TABLE account ADD COLUMN id serial PRIMARY KEY;"}},
	{"an identity", "rewrites-table", []string{"ALTER TABLE account ADD COLUMN id bigint GENERATED BY DEFAULT AS IDENTITY;"}},
	{"a key", "blocks-reads", []string{"ALTER TABLE account ADD PRIMARY KEY (id);"}},
	{"a key on an index", "", []string{"CREATE UNIQUE INDEX CONCURRENTLY account_id ON account (id);", "ALTER TABLE account ADD CONSTRAINT account_pk UNIQUE USING INDEX account_id;"}},

	// disallowed-unique-constraint
	{"a unique constraint", "blocks-reads", []string{"ALTER TABLE account ADD CONSTRAINT one_mail UNIQUE (mail);"}},
	{"a unique column", "blocks-reads", []string{"ALTER TABLE account ADD COLUMN mail text UNIQUE;"}},
	{"an exclusion", "blocks-reads", []string{"ALTER TABLE stay ADD CONSTRAINT one_guest EXCLUDE USING gist (room WITH =, during WITH &&);"}},

	// require-concurrent-index-creation, -deletion, -reindex, -partition-detach, ban-concurrent-index-creation-in-transaction
	{"an index", "blocks-writes", []string{"CREATE INDEX account_name ON account (name);"}},
	{"a unique index, if it isn't there", "blocks-writes", []string{"CREATE UNIQUE INDEX IF NOT EXISTS account_mail ON public.account USING btree (lower(mail)) WHERE NOT gone;"}},
	{"an index of a table of an earlier file", "blocks-writes", []string{"CREATE TABLE account (name text);", "CREATE INDEX account_name ON account (name);"}},
	{"an index that goes", "blocks-reads", []string{"DROP INDEX IF EXISTS account_name;"}},
	{"an index that is built anew", "blocks-reads blocks-writes", []string{"REINDEX INDEX account_name;"}},
	{"a table's indexes built anew", "blocks-reads blocks-writes", []string{"REINDEX TABLE account;"}},
	{"a partition that goes", "detaches-at-once", []string{"ALTER TABLE log DETACH PARTITION log_2020;"}},
	{"concurrently, in a transaction", "not-split", []string{"BEGIN;\nCREATE INDEX CONCURRENTLY account_name ON account (name);\nALTER TABLE account ADD COLUMN a int;\nCOMMIT;\nSELECT 1;"}},
	{"an index, concurrently", "", []string{"CREATE INDEX CONCURRENTLY IF NOT EXISTS account_name ON account (name);"}},
	{"an index that goes, concurrently", "", []string{"DROP INDEX CONCURRENTLY IF EXISTS account_name;"}},
	{"built anew, concurrently", "", []string{"REINDEX INDEX CONCURRENTLY account_name;"}},
	{"detached, concurrently", "", []string{"ALTER TABLE log DETACH PARTITION log_2020 CONCURRENTLY;"}},
	{"an index of a new table", "", []string{"CREATE TABLE account (name text);\nCREATE UNIQUE INDEX account_name ON account (name);"}},
	{"an index of a table that is made if it isn't there", "", []string{"CREATE TABLE IF NOT EXISTS account (name text);\nCREATE INDEX IF NOT EXISTS account_name ON account (name);"}},

	// changing-column-type
	{"a wider number", "rewrites-table", []string{"ALTER TABLE account ALTER COLUMN id TYPE bigint;"}},
	{"by an expression", "rewrites-table", []string{"ALTER TABLE account ALTER COLUMN data TYPE jsonb USING data::jsonb;"}},
	{"a shorter text", "rewrites-table", []string{"CREATE TABLE account (name varchar(100));", "ALTER TABLE account ALTER COLUMN name SET DATA TYPE varchar(50);"}},
	{"a time zone", "rewrites-table", []string{"CREATE TABLE account (seen timestamp);", "ALTER TABLE account ALTER COLUMN seen TYPE timestamptz USING seen AT TIME ZONE 'UTC';"}},
	{"a longer text", "", []string{"CREATE TABLE account (name varchar(50));", "ALTER TABLE account ALTER COLUMN name TYPE varchar(100);"}},
	{"any text", "", []string{"CREATE TABLE account (name varchar(50));", "ALTER TABLE account ALTER COLUMN name TYPE text;"}},
	{"a wider numeric", "", []string{"CREATE TABLE account (n numeric(10, 2));", "ALTER TABLE account ALTER COLUMN n TYPE numeric(12, 2);"}},

	// ban-drop-column, -table, -database, ban-truncate-cascade, renaming-column, -table, prefer-repack
	{"a column that goes", "breaks-old-server", []string{"ALTER TABLE account DROP COLUMN IF EXISTS name;"}},
	{"a table that goes", "loses-data", []string{"DROP TABLE IF EXISTS account CASCADE;"}},
	{"a database that goes", "unknown loses-data", []string{"DROP DATABASE shop;"}},
	{"all rows that go", "loses-data", []string{"TRUNCATE account CASCADE;"}},
	{"a column's new name", "breaks-old-server", []string{"ALTER TABLE account RENAME COLUMN name TO full_name;"}},
	{"a table's new name", "breaks-old-server", []string{"ALTER TABLE account RENAME TO customer;"}},
	{"all rows written again", "rewrites-table", []string{"VACUUM FULL account;"}},
	{"in another order", "rewrites-table", []string{"CLUSTER account USING account_pk;"}},
	{"another place", "rewrites-table", []string{"ALTER TABLE account SET TABLESPACE fast;"}},
	{"logged from now on", "rewrites-table", []string{"ALTER TABLE account SET LOGGED;"}},
	{"a view that reads it all", "blocks-reads", []string{"REFRESH MATERIALIZED VIEW totals;"}},
	{"a view, concurrently", "", []string{"REFRESH MATERIALIZED VIEW CONCURRENTLY totals;"}},
	{"a table of its own that goes", "", []string{"CREATE TABLE work (id int);\nINSERT INTO work SELECT 1;\nDROP TABLE work;"}},
	{"a vacuum", "", []string{"VACUUM (ANALYZE) account;"}},

	// require-timeout-settings, transaction-nesting, and what people write around
	{"a nested transaction", "not-split", []string{"BEGIN;\nALTER TABLE account ADD CONSTRAINT a CHECK (b > 0);\nCOMMIT;\nBEGIN;\nCREATE INDEX i ON account (b);\nCOMMIT;"}},
	{"a lock", "holds-lock", []string{"LOCK TABLE account IN ACCESS EXCLUSIVE MODE;\nUPDATE account SET a = 1;"}},
	{"all rows written", "writes-whole-table", []string{"UPDATE account SET level = 0;"}},
	{"many rows deleted", "writes-whole-table", []string{"DELETE FROM mail WHERE sent < now() - interval '1 year';"}},
	{"limits of time", "", []string{"SET lock_timeout = '1s';\nSET LOCAL statement_timeout = '5s';\nALTER TABLE account ADD COLUMN a int;"}},
	{"a transaction around", "", []string{"BEGIN;\nALTER TABLE account ADD COLUMN a int;\nCOMMIT;"}},
	{"a comment", "", []string{"COMMENT ON COLUMN account.name IS 'x';"}},
	{"an enumeration's value", "", []string{"ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad' BEFORE 'sad';"}},
	{"one row", "", []string{"UPDATE setting SET value = 'x' WHERE id = 7;"}},
	{"rows", "", []string{"INSERT INTO setting (id, value) VALUES (1, 'a'), (2, 'b') ON CONFLICT DO NOTHING;"}},
	{"rights", "", []string{"GRANT SELECT ON account TO reader;"}},
	{"a view", "", []string{"CREATE OR REPLACE VIEW v AS SELECT id FROM account;"}},
	{"statistics", "", []string{"ALTER TABLE account ALTER COLUMN name SET STATISTICS 500;"}},
}

// TestSweep: every bad one is found, and none of the good ones, of which one in ten would do.
func TestSweep(t *testing.T) {
	t.Parallel()
	bad, good := 0, 0
	for _, c := range sweep {
		var pairs []string
		for i, text := range c.files {
			pairs = append(pairs, fmt.Sprintf("%d_x.sql", i+1), text)
		}
		s, err := sqlrewrite.ReadFolder(inFolder(pairs...), sqlrewrite.PlainFormat)
		if err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		findings, err := sqlrewrite.Lint(s.Scripts[len(s.Scripts)-1:], nil)
		if err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		var names []string
		for _, f := range findings {
			if !f.Note || c.bad != "" {
				names = append(names, f.Rule)
			}
		}
		if c.bad == "" {
			if good++; len(names) > 0 {
				t.Errorf("a good one is flagged: %s: %v", c.rule, findings)
			}
			continue
		}
		if bad++; !slices.ContainsFunc(strings.Fields(c.bad), func(n string) bool { return slices.Contains(names, n) }) {
			t.Errorf("a bad one isn't found: %s: %v, not %s", c.rule, names, c.bad)
		}
	}
	if bad < 30 || good < 30 {
		t.Errorf("only %d bad ones, and %d good ones", bad, good)
	}
}
