package oracle_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/plan"
)

// Tables that no profile names are compared, in any schema, but for somebody else's.
func TestOtherSchemas(t *testing.T) {
	t.Parallel()
	const objects = `
CREATE SCHEMA "Second One"; CREATE SCHEMA jobs; CREATE SCHEMA tideover;
CREATE TABLE public.token (id int PRIMARY KEY, v text); INSERT INTO public.token VALUES (1, 'a');
CREATE TABLE public.audit (id int PRIMARY KEY); INSERT INTO public.audit VALUES (1);
CREATE TABLE "Second One".token (id int PRIMARY KEY, v text); INSERT INTO "Second One".token VALUES (1, 'a'), (2, 'b');
CREATE SEQUENCE "Second One".tickets;
CREATE TABLE jobs.queue (id int PRIMARY KEY); INSERT INTO jobs.queue VALUES (1);
CREATE TABLE tideover.applied (id int PRIMARY KEY)`
	p := &plan.Profile{Schema: "public", Others: []string{"jobs.*", "public.audit"}}
	left, right := connect(t, pgtest.NewDatabase(t)), connect(t, pgtest.NewDatabase(t))
	for _, conn := range []*pgx.Conn{left, right} {
		if _, err := conn.PgConn().Exec(t.Context(), objects).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := oracle.Compare(t.Context(), left, right, p, oracle.Clock{}); err != nil || c.Count != 0 || c.Tables != 2 || c.Unseen["audit"] != 1 {
		t.Fatalf("alike: %+v, %v", c, err)
	}
	if _, err := left.Exec(t.Context(), `SELECT nextval('"Second One".tickets')`); err != nil {
		t.Fatal(err)
	}
	var mark uint64
	if err := right.QueryRow(t.Context(), `SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint`).Scan(&mark); err != nil {
		t.Fatal(err)
	}
	const other = `UPDATE "Second One".token SET v = 'z' WHERE id = 2; DELETE FROM "Second One".token WHERE id = 1; CREATE INDEX late ON "Second One".token (v);
		TRUNCATE jobs.queue; DELETE FROM public.audit; CREATE TABLE jobs.more (); INSERT INTO tideover.applied VALUES (1); CREATE SCHEMA third; CREATE TABLE third.late (id int)`
	if _, err := right.PgConn().Exec(t.Context(), other).ReadAll(); err != nil {
		t.Fatal(err)
	}
	c, err := oracle.Compare(t.Context(), left, right, p, oracle.Clock{})
	if err != nil {
		t.Fatal(err)
	}
	want := []oracle.Difference{
		{Table: "Second One.token", Key: "index late", Kind: oracle.Schema, Columns: []string{"extra"}},
		{Table: "Second One.token", Key: `["1"]`, Kind: oracle.Missing},
		{Table: "Second One.token", Key: `["2"]`, Kind: oracle.Differs, Columns: []string{"v"}},
		{Table: "Second One.tickets", Key: "next number", Kind: oracle.Schema, Columns: []string{"behind"}},
		{Table: "third.late", Key: "relation", Kind: oracle.Schema, Columns: []string{"extra"}},
	}
	if diff := cmp.Diff(want, c.Differences); diff != "" {
		t.Error(diff)
	}
	if aside, err := c.SetAside(t.Context(), right, p, mark); err != nil || aside != 1 {
		t.Errorf("written since: %d set aside, %v", aside, err)
	}
}
