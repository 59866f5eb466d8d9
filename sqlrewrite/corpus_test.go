package sqlrewrite_test

import (
	"database/sql"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"golang.org/x/tools/txtar"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/prove"
	"github.com/tideover/tideover/sqlrewrite"
)

var update = flag.Bool("update", false, "write the golden parts of testdata/corpus")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(pgtest.RunTests(m))
}

// migration is one case: a script, and what is there before it.
type migration struct {
	name   string // of the case
	file   string
	sql    string
	before []string // scripts, plain SQL
}

// corpus is testdata/corpus, and the bundled server's migrations to 1.1.
func corpus(t *testing.T) []migration {
	t.Helper()
	base := read(t, "testdata/base.sql")
	paths, err := filepath.Glob("testdata/corpus/*.txtar")
	if err != nil || len(paths) < 80 {
		t.Fatalf("%d cases, %v", len(paths), err)
	}
	var all []migration
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, migration{strings.TrimSuffix(filepath.Base(p), ".txtar"), a.Files[0].Name, string(a.Files[0].Data), []string{base}})
	}
	names, err := fs.Glob(schema.Files(), "1*.sql")
	if err != nil {
		t.Fatal(err)
	}
	var before []string
	for _, n := range names {
		b, err := fs.ReadFile(schema.Files(), n)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(n, "110") {
			all = append(all, migration{"bundled " + n, n, string(b), before})
		}
		s, err := sqlrewrite.Parse(n, string(b))
		if err != nil {
			t.Fatal(err)
		}
		var up strings.Builder
		for _, st := range s.Up {
			up.WriteString(st.SQL + ";\n")
		}
		if n == "10001_init.sql" {
			up.WriteString("INSERT INTO oauth_client (id) VALUES ('a');") // without rows, no foreign key looks anything up
		}
		before = append(before[:len(before):len(before)], up.String())
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func live(t *testing.T, m migration) sqlrewrite.Rewritten {
	t.Helper()
	s, err := sqlrewrite.Parse(m.file, m.sql)
	if err != nil {
		t.Fatal(err)
	}
	r, err := sqlrewrite.Live(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// liveOn is live in the light of the catalog that the migration meets.
func liveOn(t *testing.T, m migration) sqlrewrite.Rewritten {
	t.Helper()
	s, err := sqlrewrite.Parse(m.file, m.sql)
	if err != nil {
		t.Fatal(err)
	}
	r, err := migrate.LiveOn(t.Context(), connect(t, prepared(t, m.before)), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGolden holds what each case of the corpus becomes.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, m := range corpus(t) {
		if len(m.before) != 1 || strings.HasPrefix(m.name, "bundled") {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			r := live(t, m)
			got := &txtar.Archive{Files: []txtar.File{{Name: m.file, Data: []byte(m.sql)}}}
			for _, f := range r.Files {
				if r.Changed {
					got.Files = append(got.Files, txtar.File{Name: "live/" + f.Name, Data: []byte(f.SQL)})
				}
			}
			var hazards strings.Builder
			for _, h := range r.Hazards {
				fmt.Fprintf(&hazards, "%d %s: %s\n", h.Line, h.Name, h.Text)
				if h.Hint == "" || h.Statement == "" || h.File != m.file {
					t.Errorf("%+v is not complete", h)
				}
			}
			got.Files = append(got.Files, txtar.File{Name: "hazards", Data: []byte(hazards.String())})
			path := "testdata/corpus/" + m.name + ".txtar"
			if *update {
				if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(read(t, path), string(txtar.Format(got))); diff != "" {
				t.Errorf("want -, got + (-update writes it):\n%s", diff)
			}
		})
	}
}

// TestTwice: a file of the result, rewritten again, stays as it is.
func TestTwice(t *testing.T) {
	t.Parallel()
	for _, m := range corpus(t) {
		again(t, live(t, m))
	}
}

func again(t *testing.T, r sqlrewrite.Rewritten) {
	t.Helper()
	for _, f := range r.Files {
		s, err := sqlrewrite.Parse(f.Name, f.SQL)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := sqlrewrite.Live(s)
		if err != nil {
			t.Fatal(err)
		}
		if twice.Changed || len(twice.Files) != 1 || twice.Files[0].SQL != f.SQL || twice.Files[0].Name != f.Name {
			t.Errorf("%s changes when it is rewritten again: %s\nto %+v", f.Name, f.SQL, twice.Files)
		}
	}
}

// TestSameEnd: the original and the rewritten script end in the same schema and the same rows, both applied by goose.
// Columns that the original fills differently each time are found by applying it twice.
func TestSameEnd(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, m := range slice.Pick(t, 10, corpus(t)) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			r := liveOn(t, m)
			original := sqlrewrite.File{Name: m.file, SQL: m.sql}
			want, got := apply(t, m.before, original), apply(t, m.before, r.Files...)
			if diff := cmp.Diff(dump(t, want), dump(t, got)); diff != "" {
				t.Errorf("original -, rewritten +:\n%s", diff)
			}
			a, b := connect(t, want), connect(t, got)
			tables, err := prove.CompareRows(t.Context(), a, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			if different(tables) {
				random, err := prove.Differing(t.Context(), a, connect(t, apply(t, m.before, original)))
				if err != nil {
					t.Fatal(err)
				}
				if tables, err = prove.CompareRows(t.Context(), a, b, random); err != nil {
					t.Fatal(err)
				}
			}
			if different(tables) {
				t.Errorf("the rows differ: %+v", tables)
			}
		})
	}
}

func different(tables []prove.Table) bool {
	return slices.ContainsFunc(tables, func(t prove.Table) bool { return t.Difference != "" })
}

// apply gives a database after the files.
func apply(t *testing.T, before []string, files ...sqlrewrite.File) (dsn string) {
	t.Helper()
	dsn = prepared(t, before)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	folder := fstest.MapFS{}
	for _, f := range files {
		folder[f.Name] = &fstest.MapFile{Data: []byte(f.SQL)}
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, folder, goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dsn
}

func prepared(t *testing.T, before []string) string {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	for _, b := range before {
		if _, err := conn.PgConn().Exec(t.Context(), b).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	return dsn
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func dump(t *testing.T, dsn string) string {
	t.Helper()
	out, err := prove.Dump(t.Context(), dsn, pgtest.Shared(t).BinDir())
	if err != nil {
		t.Fatal(err)
	}
	return out
}
