package cmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/cmd"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
)

// sqlCommand runs tideover sql and gives what it prints and its exit code.
func sqlCommand(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	o := tideover(t.Context(), t, nil, append([]string{"sql"}, args...)...)
	return string(o.stdout), o.stderr, o.code
}

func migrations(t *testing.T, pairs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, pairs[i]), []byte(pairs[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const firstFile = "-- +goose Up\nCREATE TABLE a (id int PRIMARY KEY, b text);\nCREATE TABLE g (h int);\n"

func TestSQLLint(t *testing.T) {
	t.Parallel()
	dir := migrations(t, "1_a.sql", firstFile, "2_b.sql", "-- +goose Up\nCREATE INDEX i ON a (b);\nALTER TABLE g DROP COLUMN h;\n")
	out, _, code := sqlCommand(t, "lint", dir)
	if code != cmd.ExitFailed || !strings.Contains(out, "2_b.sql:2:1: blocks-writes: an index is built on a: writes wait meanwhile [rewritten]") ||
		!strings.Contains(out, "2_b.sql:3:1: breaks-old-server") {
		t.Errorf("%d: %s", code, out)
	}
	if out, _, code := sqlCommand(t, "lint", dir, "--allow", "breaks-old-server"); code != cmd.ExitDone || !strings.Contains(out, "0 must be allowed") {
		t.Errorf("%d: %s", code, out)
	}
	out, _, _ = sqlCommand(t, "lint", dir, "--format", "github")
	if !strings.Contains(out, "::error file="+dir+"/2_b.sql,line=3,col=1,title=breaks-old-server::") || !strings.Contains(out, "::warning file=") {
		t.Error(out)
	}
	for format, field := range map[string]string{"json": "statements", "sarif": "runs"} {
		out, _, code := sqlCommand(t, "lint", dir, "--format", format)
		var v map[string]any
		if err := json.Unmarshal([]byte(out), &v); err != nil || v[field] == nil || code != cmd.ExitFailed {
			t.Errorf("%s: %d %v: %s", format, code, err, out)
		}
	}
}

func TestSQLRewrite(t *testing.T) {
	t.Parallel()
	dir := migrations(t, "1_a.sql", firstFile, "2_b.sql", "-- +goose Up\nCREATE INDEX i ON a (b);\nUPDATE a SET b = '' WHERE b IS NULL;\n")
	out := filepath.Join(t.TempDir(), "out")
	if _, errs, code := sqlCommand(t, "rewrite", dir, "-o", out); code != cmd.ExitDone {
		t.Fatalf("%d: %s", code, errs)
	}
	again := filepath.Join(t.TempDir(), "again")
	if _, errs, code := sqlCommand(t, "rewrite", out, "-o", again); code != cmd.ExitDone {
		t.Fatalf("%d: %s", code, errs)
	}
	files, err := os.ReadDir(out)
	if err != nil || len(files) != 4 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range files {
		a, errA := os.ReadFile(filepath.Join(out, f.Name()))
		b, errB := os.ReadFile(filepath.Join(again, f.Name()))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s changes when it is rewritten again (%v %v)", f.Name(), errA, errB)
		}
	}
	diff, _, code := sqlCommand(t, "rewrite", dir, "--diff")
	if code != cmd.ExitDone || !strings.Contains(diff, "-CREATE INDEX i ON a (b);") || !strings.Contains(diff, "+CREATE INDEX CONCURRENTLY IF NOT EXISTS i") || strings.Contains(diff, "CREATE TABLE a ") {
		t.Errorf("%d: %s", code, diff)
	}
	offline := filepath.Join(t.TempDir(), "offline")
	if _, errs, code := sqlCommand(t, "rewrite", dir, "-o", offline, "--target", "offline"); code != cmd.ExitDone {
		t.Fatalf("%d: %s", code, errs)
	}
	if files, err := os.ReadDir(offline); err != nil || len(files) != 2 {
		t.Errorf("%v %v", files, err)
	}
}

// TestSQLMistakes: each says where, and what to do.
func TestSQLMistakes(t *testing.T) {
	t.Parallel()
	good := migrations(t, "1_a.sql", firstFile)
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no folder", []string{"lint", filepath.Join(good, "nowhere")}, "not a folder"},
		{"empty folder", []string{"lint", t.TempDir()}, "has no .sql file"},
		{"bad SQL", []string{"lint", migrations(t, "1_a.sql", "SELECT 1;\nSELEC 2;")}, "1_a.sql:2:1: syntax error"},
		{"dialect", []string{"rewrite", "-o", "x", migrations(t, "20200101000000_a.oracle.up.sql", "SELECT 1;")}, `unknown dialect "oracle"`},
		{"format", []string{"lint", good, "--format", "xml"}, "text, json, sarif, github"},
		{"input", []string{"lint", good, "--input", "rails"}, "goose, plain, pop"},
		{"hazard", []string{"lint", good, "--allow", "all"}, "blocks-writes"},
		{"not allowed", []string{"rewrite", "-o", "x", migrations(t, "1_a.sql", "DROP TABLE a;")}, "--allow breaks-old-server,loses-data"},
		{"no out", []string{"rewrite", good}, "-o"},
		{"target", []string{"rewrite", good, "-o", "x", "--target", "both"}, "live or offline"},
		{"not empty", []string{"rewrite", good, "-o", good}, "is not empty"},
		{"from", []string{"rewrite", good, "--diff", "--from", "77"}, "no migration has version 77"},
		{"rows", []string{"prove", good, "--rows", "-1"}, "at least 0"},
		{"seed", []string{"prove", good, "--seed", filepath.Join(good, "nothing")}, "--seed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, errs, code := sqlCommand(t, c.args...)
			if code != cmd.ExitUsage || !strings.Contains(errs, c.want) {
				t.Errorf("%d: %s; want %s", code, errs, c.want)
			}
		})
	}
}

func TestSQLProve(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dir := migrations(t, "1_a.sql", firstFile, "2_b.sql", "-- +goose Up\nCREATE INDEX i ON a (b);\n")
	out, errs, code := sqlCommand(t, "prove", dir, "--from", "1")
	if code != cmd.ExitDone || !strings.Contains(out, "the same: schema by pg_dump, and 200 rows in 2 tables") {
		t.Errorf("%d: %s %s", code, out, errs)
	}
	out, _, code = sqlCommand(t, "prove", dir, "--json", "--rows", "0")
	var v struct {
		Same    bool
		Scripts []any
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || !v.Same || len(v.Scripts) != 2 || code != cmd.ExitDone {
		t.Errorf("%d %v: %s", code, err, out)
	}
}

func TestSQLArrange(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	dir := migrations(t, "1_a.sql", firstFile+"INSERT INTO a VALUES (1, 'x');\n", "2_b.sql", "-- +goose Up\nALTER TABLE a ADD COLUMN c int;\nUPDATE a SET c = 3;\nUPDATE a SET b = 'y';\nUPDATE a SET b = b || 'z';\nCREATE INDEX i ON a (b);\n",
		"3_c.sql", "-- +goose NO TRANSACTION\n-- +goose Up\nCREATE INDEX CONCURRENTLY j ON a (c);\n")
	out, errs, code := sqlCommand(t, "arrange", dir, "--database", dsn)
	for _, want := range []string{"-- 2_b.sql:2: the column comes with its value\n", "-- 2_b.sql:4: 2 updates in one\n", "-- at the end, side by side", "-- 2_b.sql:6: at the end\nCREATE INDEX i ON a (b);", "1 more files, from 3_c.sql on"} {
		if !strings.Contains(out, want) {
			t.Errorf("exit code %d: %q is not in\n%s\n%s", code, want, out, errs)
		}
	}
	if tables := pgtest.Tables(t, dsn); len(tables) > 0 {
		t.Errorf("it has made %v", tables)
	}
	if _, errs, code := sqlCommand(t, "arrange", dir); code != cmd.ExitUsage || !strings.Contains(errs, "--database") {
		t.Errorf("without a database: %d: %s", code, errs)
	}
}
