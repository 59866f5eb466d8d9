package migrate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/prove"
)

// shop is where the cases of TestBulkEndsTheSame begin.
const shop = up + `
CREATE TABLE region (id int PRIMARY KEY, label text, sorted text COLLATE "und-x-icu", plain text COLLATE "C");
INSERT INTO region VALUES (7, 'north');
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, tags text, short varchar(5), n int, code text);
CREATE UNIQUE INDEX customer_name_uq ON customer (name);
CREATE INDEX customer_code_idx ON customer (code);
CREATE TABLE purchase (id int PRIMARY KEY, customer_id int CONSTRAINT purchase_customer_fk REFERENCES customer (id) ON DELETE CASCADE, buyer text, total numeric, note text);
INSERT INTO customer SELECT i, 'name ' || i, CASE i % 4 WHEN 0 THEN '' WHEN 1 THEN NULL WHEN 2 THEN 'a|b' ELSE '[]' END, 'c' || i % 10, i, 'code ' || i % 7 FROM generate_series(1, 300) i;
INSERT INTO purchase SELECT i, 1 + i % 300, 'name ' || 1 + i % 300, i / 3.0, CASE WHEN i % 5 > 0 THEN 'x' || i END FROM generate_series(1, 900) i;
CREATE TABLE seen (id int);
INSERT INTO seen VALUES (1);
CREATE VIEW shown AS SELECT seen::text AS whole FROM seen;
CREATE FUNCTION filled() RETURNS text LANGUAGE sql STABLE AS 'SELECT whole FROM shown';
CREATE TABLE log (id int, n text DEFAULT filled());`

// TestBulkEndsTheSame: arranged statements end as the files do one after the other: in the same schema and the same rows, or in
// the same error.
func TestBulkEndsTheSame(t *testing.T) {
	t.Parallel()
	for _, tc := range quick.First(t, 1, []struct {
		name  string
		files []string // statements of each file
		notes string   // what must have been made of them, in their order
		code  string   // of the error
	}{
		{name: "a column comes with its value", notes: "the column comes with its value, validated at the end, validated", files: []string{
			`ALTER TABLE customer ADD COLUMN region int; ALTER TABLE customer ADD CONSTRAINT customer_region_fk FOREIGN KEY (region) REFERENCES region (id);`,
			`UPDATE customer SET region = (SELECT id FROM region LIMIT 1);`, `ALTER TABLE customer ALTER region SET NOT NULL; INSERT INTO customer VALUES (999, 'x', NULL, NULL, 1, '', 7);`}},
		{name: "a constant value", notes: "the column comes with its value", files: []string{`ALTER TABLE customer ADD COLUMN kind text`, `UPDATE customer SET kind = 'it''s "new" %s'`}},
		{name: "no value", notes: "the column comes with its value", files: []string{`ALTER TABLE customer ADD COLUMN kind text`, `UPDATE customer SET kind = (SELECT label FROM region WHERE id = 0)`}},
		{name: "the source changes in between", files: []string{`ALTER TABLE customer ADD COLUMN kind text`, `UPDATE region SET label = 'south'`, `UPDATE customer SET kind = (SELECT label FROM region LIMIT 1)`}},
		{name: "the column is read in between", files: []string{`ALTER TABLE customer ADD COLUMN kind text`,
			`UPDATE purchase SET note = (SELECT coalesce(kind, 'none') FROM customer c WHERE c.id = customer_id)`, `UPDATE customer SET kind = 'k'`}},
		{name: "rows come in between", files: []string{`ALTER TABLE customer ADD COLUMN kind text DEFAULT 'old'`, `INSERT INTO customer VALUES (999, 'x')`, `UPDATE customer SET kind = 'k' WHERE n > 3`}},
		{name: "the value is of the row", files: []string{`ALTER TABLE customer ADD COLUMN kind int`, `UPDATE customer SET kind = (SELECT n FROM region)`}},
		{name: "updates in one", notes: "6 updates in one", files: []string{`ALTER TABLE customer ADD COLUMN j jsonb NOT NULL DEFAULT '[]'`,
			`UPDATE customer SET tags = '[]' WHERE tags = ''; UPDATE customer SET code = 'none' WHERE tags IS NULL;`,
			`UPDATE customer SET j = cast('["' || replace(tags, '|', '","') || '"]' AS jsonb) WHERE tags <> '[]'; UPDATE customer c SET n = c.n + 1, code = tags, tags = code WHERE c.n % 2 = 0;`,
			`UPDATE customer SET n = n / 2.0; UPDATE customer SET code = n;`}},
		{name: "a collation of a column's own", files: []string{`UPDATE region SET sorted = 'B', plain = 'B'; UPDATE region SET label = 'sorted' WHERE sorted < 'a'; UPDATE region SET label = label || ' plain' WHERE plain < 'a';`}},
		{name: "a collation of a new column's own", files: []string{`ALTER TABLE customer ADD COLUMN c text COLLATE "und-x-icu", ADD COLUMN d text COLLATE "C"; UPDATE customer SET c = 'B', d = 'B'; UPDATE customer SET code = 'sorted' WHERE c < 'a'; UPDATE customer SET code = 'plain' || code WHERE d < 'a';`}},
		{name: "what needs a cast", code: "42804", files: []string{`ALTER TABLE customer ADD j jsonb`, `UPDATE customer SET tags = '[]'; UPDATE customer SET j = tags`}},
		{name: "a number for a truth", code: "42804", files: []string{`ALTER TABLE customer ADD b boolean`, `UPDATE customer SET tags = '[]'; UPDATE customer SET b = 1`}},
		{name: "literals that are text by then", code: "42804", files: []string{`ALTER TABLE customer ADD j jsonb`, `UPDATE customer SET tags = '[]'; UPDATE customer SET j = CASE WHEN n > 5 THEN '[]' ELSE '{}' END`}},
		{name: "a fill that needs a cast", code: "42804", files: []string{`ALTER TABLE customer ADD b boolean`, `UPDATE customer SET b = 1`}},
		{name: "a fill from a table that needs a cast", code: "42804", files: []string{`UPDATE region SET label = '7'; ALTER TABLE customer ADD b int`, `UPDATE customer SET b = (SELECT label FROM region LIMIT 1)`}},
		{name: "a fill of text for something else", code: "42804", files: []string{`ALTER TABLE customer ADD b json`, `UPDATE customer SET b = (SELECT '{}' FROM region LIMIT 1)`}},
		{name: "a fill of what can be put there", notes: "the column comes with its value", files: []string{`ALTER TABLE customer ADD b bigint`, `UPDATE customer SET b = (SELECT id FROM region LIMIT 1)`}},
		{name: "a fill of no rows", notes: "the column comes with its value", files: []string{`INSERT INTO region VALUES (8), (9); CREATE TABLE empty (id int); ALTER TABLE empty ADD c int;`, `UPDATE empty SET c = (SELECT 1 / (id - id) FROM region)`}},
		{name: "a fill whose source a key changes", files: []string{`ALTER TABLE region ADD UNIQUE (label); CREATE TABLE town (label text REFERENCES region (label) ON UPDATE CASCADE); INSERT INTO town VALUES ('north'); ALTER TABLE customer ADD COLUMN kind text;`,
			`UPDATE region SET label = 'south'`, `UPDATE customer SET kind = (SELECT label FROM town LIMIT 1)`}},
		{name: "a fill that a view sees", files: []string{`ALTER TABLE seen ADD COLUMN kind text`, `UPDATE purchase SET note = (SELECT min(whole) FROM shown)`, `UPDATE seen SET kind = 'k'`}},
		{name: "a fill that a function sees", files: []string{`ALTER TABLE seen ADD COLUMN kind text`, `UPDATE purchase SET note = filled()`, `UPDATE seen SET kind = 'k'`}},
		{name: "a fill that a default sees", files: []string{`ALTER TABLE seen ADD COLUMN kind text`, `INSERT INTO log (id) VALUES (1)`, `UPDATE seen SET kind = 'k'`}},
		{name: "an index of an expression is a check, though it goes", code: "22012", files: []string{`CREATE INDEX e ON customer ((1 / (n - 5)))`, `DROP INDEX e`}},
		{name: "an index with a condition is a check, though it goes", code: "22012", files: []string{`CREATE INDEX e ON customer (n) WHERE 1 / (n - 5) > 0`, `DROP INDEX e`}},
		{name: "lengths are kept", code: "22001", files: []string{`UPDATE customer SET short = 'abc' WHERE n = 1; UPDATE customer SET short = name`}},
		{name: "an error in the middle of some", code: "22P02", files: []string{`ALTER TABLE customer ADD j jsonb`, `UPDATE customer SET tags = '"' WHERE n = 5; UPDATE customer SET j = tags::jsonb WHERE tags = '"'`}},
		{name: "a trigger counts", files: []string{
			"-- +goose StatementBegin\nCREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE region SET id = id + 1; RETURN NEW; END $$;\n-- +goose StatementEnd\nCREATE TRIGGER count BEFORE UPDATE ON customer FOR EACH STATEMENT EXECUTE FUNCTION counted();",
			`UPDATE customer SET n = 1; UPDATE customer SET n = 2; ALTER TABLE customer ADD COLUMN x int; UPDATE customer SET x = 1;`}},
		{name: "a function of the user's", files: []string{
			"-- +goose StatementBegin\nCREATE FUNCTION lower(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN UPDATE region SET id = id + 1; RETURN $1; END $$;\n-- +goose StatementEnd",
			`UPDATE customer SET n = lower(n) WHERE n < 5; UPDATE customer SET n = lower(n) WHERE n < 5;`}},
		{name: "indexes at the end", notes: "at the end, at the end, at the end", files: []string{`CREATE INDEX a ON customer (code, n); CREATE INDEX gone ON customer (code); CREATE UNIQUE INDEX u ON purchase (id, buyer);`,
			`UPDATE customer SET code = 'x' WHERE n = 3; DROP INDEX gone; DROP INDEX customer_code_idx;`, `CREATE INDEX customer_code_idx ON customer (n, code); ALTER TABLE customer ADD COLUMN z int`}},
		{name: "an index is a check", code: "23505", files: []string{`CREATE UNIQUE INDEX u ON customer (code)`, `DROP INDEX u`}},
		{name: "an index is a check, though its rows go", code: "23505", files: []string{`CREATE UNIQUE INDEX u ON customer (code)`, `UPDATE customer SET code = name`}},
		{name: "indexes whose columns change", notes: "put off, put off, put off, at the end", files: []string{`CREATE INDEX a ON customer (code); CREATE INDEX b ON customer ((n + 1)) WHERE tags <> ''; CREATE INDEX c ON customer (n, short); CREATE INDEX IF NOT EXISTS a ON purchase (id);`,
			`ALTER TABLE customer RENAME COLUMN code TO kode; ALTER TABLE customer DROP COLUMN short; ALTER TABLE customer ALTER COLUMN n TYPE bigint; ALTER INDEX a RENAME TO aa;`, `CREATE INDEX ON customer (kode); CREATE INDEX ON customer (kode); CREATE INDEX customer_kode_idx9 ON customer (kode)`}},
		{name: "a foreign key rests on a new index", notes: "put off, validated at the end, validated", files: []string{`DROP INDEX customer_name_uq; CREATE UNIQUE INDEX customer_name_uq ON customer (name);`,
			`ALTER TABLE purchase ADD CONSTRAINT by_name FOREIGN KEY (buyer) REFERENCES customer (name) ON UPDATE CASCADE;`, `UPDATE customer SET name = 'new ' || name; UPDATE customer SET name = upper(name);`}},
		{name: "a foreign key acts each time", files: []string{`CREATE TABLE made (k int UNIQUE); CREATE TABLE kept (pk int REFERENCES made (k) ON UPDATE SET NULL); INSERT INTO made VALUES (1); INSERT INTO kept VALUES (1);`,
			`UPDATE made SET k = k + 1000; UPDATE made SET k = k - 1000;`}},
		{name: "an index goes along with LIKE", notes: "put off", files: []string{`CREATE INDEX customer_n ON customer (n); CREATE TABLE alike (LIKE customer INCLUDING INDEXES);`}},
		{name: "names are chosen around an index that waits", notes: "put off, put off, put off", files: []string{`CREATE INDEX foo_code_key ON customer (n); CREATE TABLE foo (code text UNIQUE);`,
			`CREATE INDEX foo_id_idx ON customer (n); ALTER TABLE foo ADD COLUMN id int; CREATE INDEX ON foo (id);`, `CREATE INDEX foo_id_key ON customer (n); ALTER TABLE foo ADD UNIQUE (id);`}},
		{name: "foreign keys are validated", notes: "validated at the end, validated", files: []string{`ALTER TABLE purchase DROP CONSTRAINT purchase_customer_fk`, `ALTER TABLE purchase ADD CONSTRAINT again FOREIGN KEY (customer_id) REFERENCES customer (id) ON DELETE SET NULL`, `ALTER TABLE purchase RENAME COLUMN note TO remark`}},
		{name: "a foreign key is a check", code: "23503", files: []string{`UPDATE purchase SET note = 'nobody'`, `ALTER TABLE purchase ADD CONSTRAINT bad FOREIGN KEY (note) REFERENCES customer (name)`, `ALTER TABLE purchase DROP CONSTRAINT bad`}},
		{name: "a foreign key is a check, though its rows go", code: "23503", files: []string{`UPDATE purchase SET note = 'nobody'`, `ALTER TABLE purchase ADD CONSTRAINT bad FOREIGN KEY (note) REFERENCES customer (name)`, `DELETE FROM purchase`}},
		{name: "an index goes with what rests on it", notes: "validated at the end, validated, at the end", files: []string{`ALTER TABLE purchase ADD CONSTRAINT by_name FOREIGN KEY (buyer) REFERENCES customer (name)`, `DROP INDEX customer_name_uq CASCADE`, `CREATE UNIQUE INDEX customer_name_uq ON customer (name, n)`}},
		{name: "another schema", files: []string{`CREATE SCHEMA other; CREATE TABLE other.customer (code text, n int); INSERT INTO other.customer VALUES ('q', 1);`,
			`CREATE INDEX i ON customer (code); CREATE INDEX i ON other.customer (code); DROP INDEX other.i; UPDATE other.customer SET n = n + 1; UPDATE other.customer SET n = n * 2;`}, notes: "put off"},
		{name: "not null is a check", code: "23502", files: []string{`ALTER TABLE customer ADD COLUMN kind int`, `ALTER TABLE customer ALTER kind SET NOT NULL`, `UPDATE customer SET kind = 1`}},
		{name: "partitions, children and generated columns", files: []string{`CREATE TABLE p (id int, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); INSERT INTO p VALUES (1, 'a'), (2, 'b'); CREATE TABLE child (extra int) INHERITS (customer); INSERT INTO child (id, name, n) VALUES (5000, 'kid', 3);`,
			`UPDATE p SET v = v || '!'; UPDATE p SET v = v || '?'; UPDATE customer SET n = n + 1; UPDATE customer SET n = n * 2; CREATE INDEX pv ON p (v); ALTER TABLE region ADD COLUMN g int GENERATED ALWAYS AS (id * 2) STORED; UPDATE region SET id = 8; UPDATE region SET id = 9;`}},
		{name: "tables move and go", notes: "put off, put off", files: []string{`CREATE INDEX a ON purchase (note); ALTER TABLE purchase RENAME TO sale; CREATE INDEX b ON sale (note); CREATE TABLE tmp AS SELECT * FROM sale; CREATE INDEX t ON tmp (id); DROP TABLE tmp;`,
			`CREATE TABLE sale_new (LIKE sale INCLUDING ALL); INSERT INTO sale_new SELECT * FROM sale; DROP TABLE sale; ALTER TABLE sale_new RENAME TO sale; UPDATE sale SET note = 'q'; UPDATE sale SET note = note || buyer;`}},
		{name: "code in between", notes: "at the end, at the end", files: []string{`CREATE INDEX a ON purchase (note); ALTER TABLE customer ADD COLUMN kind int;`, "-- +goose StatementBegin\nDO $$ BEGIN EXECUTE 'DROP INDEX a'; INSERT INTO region SELECT count(*) FROM customer WHERE kind IS NULL; END $$;\n-- +goose StatementEnd", `UPDATE customer SET kind = 1; CREATE INDEX a ON purchase (buyer)`}},
		{name: "its own transaction", notes: "at the end, 2 updates in one", files: []string{`CREATE INDEX a ON purchase (note);`, "-- +goose NO TRANSACTION\nCREATE INDEX CONCURRENTLY b ON purchase (buyer);", `UPDATE customer SET n = n + 1; UPDATE customer SET n = n * 2;`}},
	}) {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			list := []string{"1_shop.sql", shop}
			for i, f := range tc.files {
				head := up
				if rest, is := strings.CutPrefix(f, "-- +goose NO TRANSACTION\n"); is {
					head, f = "-- +goose NO TRANSACTION\n"+up, rest
				}
				if !strings.HasSuffix(f, "-- +goose StatementEnd") {
					f = strings.TrimSuffix(f, ";") + ";"
				}
				list = append(list, fmt.Sprintf("%d_f.sql", i+2), head+f)
			}
			fsys := files(list...)
			var dumps, codes [2]string
			var conns [2]*pgx.Conn
			var notes []string
			for i, o := range [2]migrate.Option{migrate.AsWritten(), migrate.Arranged()} {
				dsn := pgtest.NewDatabase(t)
				if err := migrate.NewGoose(fsys, 1, migrate.AsWritten()).Migrate(t.Context(), dsn); err != nil {
					t.Fatal(err)
				}
				err := migrate.NewGoose(fsys, 0, o, migrate.Timed(func(x migrate.Timing) {
					if _, note, ok := strings.Cut(x.What, " ["); ok {
						notes = append(notes, strings.TrimSuffix(note, "]"))
					}
				})).Migrate(t.Context(), dsn)
				if codes[i] = postgres.Code(err); err != nil && codes[i] == "" {
					t.Fatal(err)
				}
				conns[i] = connect(t, dsn)
				if dumps[i], err = prove.Dump(t.Context(), dsn, pgtest.Shared(t).BinDir()); err != nil {
					t.Fatal(err)
				}
			}
			if codes[0] != tc.code || codes[1] != tc.code {
				t.Fatalf("error as written %q, arranged %q; want %q", codes[0], codes[1], tc.code)
			}
			if tc.code != "" {
				return
			}
			if d := cmp.Diff(dumps[0], dumps[1]); d != "" {
				t.Errorf("the schema differs:\n%s", d)
			}
			tables, err := prove.CompareRows(t.Context(), conns[0], conns[1], nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, table := range tables {
				if table.Difference != "" {
					t.Errorf("%s: %s", table.Name, table.Difference)
				}
			}
			if got := strings.Join(notes, ", "); got != tc.notes {
				t.Errorf("made of it: %s; want %s", got, tc.notes)
			}
		})
	}
}
