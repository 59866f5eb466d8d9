package oracle_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

var profile = &plan.Profile{
	Schema: "public", Bookkeeping: []string{"goose_db_version"},
	Green: plan.GreenTables{
		Constants: []plan.ColumnRef{{Table: "oauth_client", Column: "nid"}, {Table: "oauth_flow", Column: "nid"}},
		Volatile:  []plan.ColumnRef{{Table: "oauth_client", Column: "pk"}, {Table: "oauth_code", Column: "session_data"}},
		Ignore:    []string{"oauth_network"},
	},
	Rules: []plan.Rule{
		{Name: "owner", Phase: "before", Table: "oauth_client", Where: "t.owner = ''", Fix: []string{"UPDATE oauth_client SET owner = 'nobody' WHERE owner = ''"}},
		{Name: "no-client", Phase: "before", Table: "oauth_refresh", Where: "NOT EXISTS (SELECT FROM oauth_client c WHERE c.id = t.client_id)", Quarantine: true},
	},
}

const seed = `
INSERT INTO oauth_client (id, owner) SELECT 'app-' || i, CASE WHEN i % 2 = 0 THEN 'me' ELSE '' END FROM generate_series(1, 50) i;
INSERT INTO oauth_session (id, subject) SELECT 's' || i, 'u' || i FROM generate_series(1, 50) i;
INSERT INTO oauth_login_request (challenge, verifier, client_id, session_id, request_url)
	SELECT 'l' || i, 'lv' || i, 'app-' || i, 's' || i, 'https://x' FROM generate_series(1, 50) i;
INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id) SELECT 'c' || i, 'cv' || i, 'l' || i, 'app-' || i FROM generate_series(1, 50) i;
INSERT INTO oauth_code (signature, request_id, client_id, consent_challenge, session_data, expires_at) VALUES ('code', 'q', 'app-1', 'c1', '{}', now());
INSERT INTO oauth_refresh (signature, request_id, client_id, consent_challenge, expires_at)
	SELECT 'r' || i, 'q' || i, CASE WHEN i > 45 THEN 'gone' ELSE 'app-' || i END, 'c' || i, now() FROM generate_series(1, 50) i;`

type world struct {
	blue, green *postgres.DB
	migrator    *migrate.Goose
	rules       *cleanup.Runner
}

func open(t *testing.T, name, dsn string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func setup(t *testing.T) world {
	t.Helper()
	w := world{open(t, "blue", pgtest.NewDatabase(t)), open(t, "green", pgtest.NewDatabase(t)), migrate.NewGoose(schema.Files(), 20006), cleanup.New(profile.Rules, cleanup.Options{})}
	if err := migrate.NewGoose(schema.Files(), 11004).Migrate(t.Context(), w.blue.DSN()); err != nil {
		t.Fatal(err)
	}
	if _, err := pgtest.Pool(t, w.blue.DSN()).Exec(t.Context(), seed); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Copy(t.Context(), snapshot.Options{Blue: w.blue, Green: w.green, Profile: profile}); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, w.green.DSN())
	if _, err := w.rules.Apply(t.Context(), conn, "before"); err != nil {
		t.Fatal(err)
	}
	if err := w.migrator.Migrate(t.Context(), w.green.DSN()); err != nil {
		t.Fatal(err)
	}
	return w
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestOracleSaysYesAndNo(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	w := setup(t)
	reference, err := oracle.Expected(t.Context(), w.blue, w.green, profile, w.migrator, w.rules, "")
	if err != nil {
		t.Fatal(err)
	}
	defer reference.Drop()
	expected := connect(t, reference.DSN)
	compare := func(actual *pgx.Conn) oracle.Comparison {
		t.Helper()
		c, err := oracle.Compare(t.Context(), expected, actual, profile, oracle.Clock{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	actual := connect(t, w.green.DSN())
	c := compare(actual)
	if c.Count != 0 || c.Tables != 8 || c.Rows < 200 {
		t.Fatalf("an honest green: %+v", c)
	}
	unseen := map[string]int64{"oauth_client.pk": 50, "oauth_client.nid": 50, "oauth_flow.nid": 50, "oauth_code.session_data": 1, "oauth_network": 1}
	if diff := cmp.Diff(unseen, c.Unseen); diff != "" {
		t.Error(diff)
	}
	pin, err := oracle.NewPin(t.Context(), w.green)
	if err != nil {
		t.Fatal(err)
	}
	defer pin.Close(t.Context())
	for _, tc := range []struct {
		name, sql string
		want      oracle.Difference
	}{
		{"missing row", `DELETE FROM oauth_refresh WHERE signature = 'r7'`, oracle.Difference{Table: "oauth_refresh", Key: `["r7"]`, Kind: oracle.Missing}},
		{"extra row", `INSERT INTO oauth_session (id) VALUES ('new')`, oracle.Difference{Table: "oauth_session", Key: `["new"]`, Kind: oracle.Extra}},
		{"changed value", `UPDATE oauth_flow SET state = 129, subject = 'secret' WHERE login_challenge = 'l3'`,
			oracle.Difference{Table: "oauth_flow", Key: `["l3"]`, Kind: oracle.Differs, Columns: []string{"state", "subject"}}},
		{"null and empty", `UPDATE oauth_refresh SET successor = '' WHERE signature = 'r1'`,
			oracle.Difference{Table: "oauth_refresh", Key: `["r1"]`, Kind: oracle.Differs, Columns: []string{"successor"}}},
		{"json", `UPDATE oauth_client SET audience = '["a"]' WHERE id = 'app-1'`,
			oracle.Difference{Table: "oauth_client", Key: `["app-1"]`, Kind: oracle.Differs, Columns: []string{"audience"}}},
		{"column type", `ALTER TABLE oauth_flow ALTER state TYPE integer`, oracle.Difference{Table: "oauth_flow", Key: "column state", Kind: oracle.Schema, Columns: []string{"differs"}}},
		{"column missing", `ALTER TABLE oauth_refresh DROP COLUMN successor`, oracle.Difference{Table: "oauth_refresh", Key: "column successor", Kind: oracle.Schema, Columns: []string{"missing"}}},
		{"index", `DROP INDEX oauth_flow_session_idx`, oracle.Difference{Table: "oauth_flow", Key: "index oauth_flow_session_idx", Kind: oracle.Schema, Columns: []string{"missing"}}},
		{"constraint", `ALTER TABLE oauth_client DROP CONSTRAINT oauth_client_owner_check`,
			oracle.Difference{Table: "oauth_client", Key: "constraint oauth_client_owner_check", Kind: oracle.Schema, Columns: []string{"missing"}}},
		{"table missing", `DROP TABLE oauth_jwk`, oracle.Difference{Table: "oauth_jwk", Key: "relation", Kind: oracle.Schema, Columns: []string{"missing"}}},
		{"table extra", `CREATE TABLE more (id int PRIMARY KEY)`, oracle.Difference{Table: "more", Key: "relation", Kind: oracle.Schema, Columns: []string{"extra"}}},
		{"quarantined row lost", `DELETE FROM tideover.quarantine WHERE key = '["r46"]'`,
			oracle.Difference{Table: "tideover.quarantine", Key: `["no-client", "oauth_refresh", "[\"r46\"]"]`, Kind: oracle.Missing}},
		{"quarantined row changed", `UPDATE tideover.quarantine SET row = row || '{"subject": "x"}' WHERE key = '["r46"]'`,
			oracle.Difference{Table: "tideover.quarantine", Key: `["no-client", "oauth_refresh", "[\"r46\"]"]`, Kind: oracle.Differs}},
		{"a volatile column is emptied", `UPDATE oauth_code SET session_data = '' WHERE signature = 'code'`,
			oracle.Difference{Table: "oauth_code", Key: `["code"]`, Kind: oracle.Differs, Columns: []string{"session_data"}}},
		{"comment", `COMMENT ON COLUMN oauth_client.id IS 'x'`, oracle.Difference{Table: "oauth_client", Key: "comment id", Kind: oracle.Schema, Columns: []string{"extra"}}},
		{"storage options", `ALTER TABLE oauth_access SET (fillfactor = 50)`, oracle.Difference{Table: "oauth_access", Key: "options", Kind: oracle.Schema, Columns: []string{"extra"}}},
		{"row security", `ALTER TABLE oauth_access ENABLE ROW LEVEL SECURITY`, oracle.Difference{Table: "oauth_access", Key: "row security", Kind: oracle.Schema, Columns: []string{"extra"}}},
		{"policy", `CREATE POLICY p ON oauth_access USING (false)`, oracle.Difference{Table: "oauth_access", Key: "policy p", Kind: oracle.Schema, Columns: []string{"extra"}}},
		{"rule", `CREATE RULE r AS ON DELETE TO oauth_access DO INSTEAD NOTHING`, oracle.Difference{Table: "oauth_access", Key: "rule r", Kind: oracle.Schema, Columns: []string{"extra"}}},
		{"volatile and constant columns", `UPDATE oauth_client SET pk = gen_random_uuid(); UPDATE oauth_code SET session_data = 'other'; UPDATE oauth_network SET created_at = '2000-01-01'`, oracle.Difference{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// A transaction that is rolled back breaks green for this session alone.
			for _, sql := range []string{"BEGIN", tc.sql} {
				if _, err := actual.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			defer func() {
				if _, err := actual.Exec(t.Context(), "ROLLBACK; SET search_path = public"); err != nil {
					t.Fatal(err)
				}
			}()
			c := compare(actual)
			var want []oracle.Difference
			if tc.want.Table != "" {
				want = []oracle.Difference{tc.want}
			}
			if diff := cmp.Diff(want, c.Differences); diff != "" || c.Count != int64(len(want)) {
				t.Errorf("%d differences:\n%s", c.Count, diff)
			}
			if strings.Contains(fmt.Sprint(c), "secret") {
				t.Error("a value is shown")
			}
		})
	}
	// What happens after the pin is not seen through it.
	if _, err := pgtest.Pool(t, w.green.DSN()).Exec(t.Context(), `DELETE FROM oauth_refresh`); err != nil {
		t.Fatal(err)
	}
	if c := compare(pin.Conn()); c.Count != 0 {
		t.Errorf("through the pin: %+v", c)
	}
	if c := compare(connect(t, w.green.DSN())); c.Count != 45 {
		t.Errorf("%d differences without the pin, want 45", c.Count)
	}
}

func TestSequencesTypesAndFunctions(t *testing.T) {
	t.Parallel()
	p := &plan.Profile{Schema: "public"}
	const objects = `
CREATE TYPE public.side AS ENUM ('blue', 'green'); CREATE DOMAIN public.scope AS text CHECK (VALUE <> '');
CREATE FUNCTION public.twice(i int) RETURNS int LANGUAGE sql AS 'SELECT 2 * i';
CREATE TABLE public.numbered (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text); INSERT INTO public.numbered (v) SELECT 'x' FROM generate_series(1, 10);
CREATE SEQUENCE public.tickets; SELECT nextval('public.tickets'); SELECT nextval('public.tickets');`
	for _, tc := range []struct {
		name, sql string
		want      []oracle.Difference
	}{
		{"alike", "", nil},
		{"ahead is right", `SELECT setval('public.tickets', 1000); SELECT setval('public.numbered_id_seq', 1000)`, nil},
		{"behind its column", `SELECT setval('public.numbered_id_seq', 9)`, []oracle.Difference{
			{Table: "numbered_id_seq", Key: "next number", Kind: oracle.Schema, Columns: []string{"behind"}}}},
		{"would give the highest number again", `SELECT setval('public.numbered_id_seq', 10, false)`, []oracle.Difference{
			{Table: "numbered_id_seq", Key: "next number", Kind: oracle.Schema, Columns: []string{"behind"}}}},
		{"behind the other side", `SELECT setval('public.tickets', 1)`, []oracle.Difference{
			{Table: "tickets", Key: "next number", Kind: oracle.Schema, Columns: []string{"behind"}}}},
		{"an enum's label", `ALTER TYPE public.side ADD VALUE 'red'`, []oracle.Difference{
			{Table: "side", Key: "type", Kind: oracle.Schema, Columns: []string{"differs"}}}},
		{"a domain's check", `ALTER DOMAIN public.scope DROP CONSTRAINT scope_check`, []oracle.Difference{
			{Table: "scope", Key: "type", Kind: oracle.Schema, Columns: []string{"differs"}}}},
		{"a function's body", `CREATE OR REPLACE FUNCTION public.twice(i int) RETURNS int LANGUAGE sql AS 'SELECT 3 * i'`, []oracle.Difference{
			{Table: "twice(i integer)", Key: "function", Kind: oracle.Schema, Columns: []string{"differs"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			left, right := connect(t, pgtest.NewDatabase(t)), connect(t, pgtest.NewDatabase(t))
			for _, conn := range []*pgx.Conn{left, right} {
				if _, err := conn.PgConn().Exec(t.Context(), objects).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := right.PgConn().Exec(t.Context(), tc.sql).ReadAll(); err != nil {
				t.Fatal(err)
			}
			c, err := oracle.Compare(t.Context(), left, right, p, oracle.Clock{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, c.Differences); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRowsWithoutKeyAreCounted(t *testing.T) {
	t.Parallel()
	p := &plan.Profile{Schema: "public"}
	left, right := connect(t, pgtest.NewDatabase(t)), connect(t, pgtest.NewDatabase(t))
	for conn, rows := range map[*pgx.Conn]int{left: 3, right: 2} {
		sql := fmt.Sprintf(`CREATE TABLE public.t (v text); INSERT INTO public.t SELECT 'same' FROM generate_series(1, %d); INSERT INTO public.t VALUES (NULL);
			CREATE TABLE public.many (v int PRIMARY KEY); INSERT INTO public.many SELECT i + %d FROM generate_series(1, 3000) i`, rows, rows*10000)
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	c, err := oracle.Compare(t.Context(), left, right, p, oracle.Clock{})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[oracle.Kind]int{}
	for _, d := range c.Differences {
		if d.Table == "t" {
			kinds[d.Kind]++
		}
	}
	if diff := cmp.Diff(map[oracle.Kind]int{oracle.Missing: 1}, kinds); diff != "" {
		t.Errorf("a row that is there three times on one side and twice on the other:\n%s", diff)
	}
	if c.Count != 6001 || len(c.Differences) != oracle.Limit+1 {
		t.Errorf("%d counted, %d listed", c.Count, len(c.Differences))
	}
}

type failing struct{ cancel context.CancelFunc }

func (f failing) Migrate(ctx context.Context, _ string) error {
	f.cancel()
	return errors.Join(errors.New("broken"), ctx.Err())
}

func TestExpectedLeavesNoDatabaseBehind(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	server := pgtest.NewServer(t, pgserver.Options{Name: "oracle"})
	blueDSN, err := server.CreateDatabase(t.Context(), "blue")
	if err != nil {
		t.Fatal(err)
	}
	greenDSN, err := server.CreateDatabase(t.Context(), "green")
	if err != nil {
		t.Fatal(err)
	}
	blue, green := open(t, "blue", blueDSN), open(t, "green", greenDSN)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := oracle.Expected(ctx, blue, green, profile, failing{cancel}, cleanup.New(nil, cleanup.Options{}), ""); err == nil {
		t.Fatal("no error")
	}
	rows, err := green.Pool().Query(t.Context(), `SELECT datname FROM pg_database`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "tideover_") }) {
		t.Errorf("databases %v, %v", names, err)
	}
}
