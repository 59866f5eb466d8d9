package postgres_test

import (
	"context"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

// hostile is what a database, a role in it and the connection string may set.
var hostile = map[string]string{
	"DateStyle": "'SQL, DMY'", "IntervalStyle": "'sql_standard'", "TimeZone": "'Asia/Kathmandu'", "extra_float_digits": "-15",
	"bytea_output": "'escape'", "standard_conforming_strings": "off", "client_encoding": "'LATIN1'", "row_security": "on",
	"search_path": "evil, pg_catalog", "lock_timeout": "'30s'", "statement_timeout": "'30s'", "idle_in_transaction_session_timeout": "'30s'",
	"idle_session_timeout": "'30s'", "default_transaction_isolation": "'serializable'",
	"default_transaction_deferrable": "on", "check_function_bodies": "off", "array_nulls": "off", "transform_null_equals": "on",
	"quote_all_identifiers": "on", "xmlbinary": "'hex'", "xmloption": "'document'", "gin_fuzzy_search_limit": "3", "backslash_quote": "on",
	"plpgsql.extra_errors": "'all'", "lc_monetary": "'C.UTF-8'", "jit": "on",
}

// pinned are the values that our sessions have all the same.
var pinned = map[string]string{
	"DateStyle": "ISO, MDY", "IntervalStyle": "postgres", "TimeZone": "UTC", "extra_float_digits": "3", "bytea_output": "hex",
	"standard_conforming_strings": "on", "client_encoding": "UTF8", "row_security": "off",
	"lock_timeout": "0", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0",
	"default_transaction_isolation": "read committed", "default_transaction_deferrable": "off",
	"check_function_bodies": "on", "array_nulls": "on", "transform_null_equals": "off", "quote_all_identifiers": "off",
	"xmlbinary": "base64", "xmloption": "content", "gin_fuzzy_search_limit": "0", "backslash_quote": "safe_encoding",
	"plpgsql.extra_errors": "none", "lc_monetary": "C", "jit": "off", "tideover.pass": "", "session_replication_role": "origin",
	"search_path": "pg_catalog, pg_temp",
}

func makeHostile(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	database := pgx.Identifier{conn.Config().Database}.Sanitize()
	sql := "CREATE SCHEMA evil;\n"
	for name, value := range hostile {
		sql += "ALTER DATABASE " + database + " SET " + name + " = " + value + ";\n"
		sql += "ALTER ROLE CURRENT_USER IN DATABASE " + database + " SET " + name + " = " + value + ";\n"
	}
	// What catches names that are not qualified, as a role that may create something in a schema of the path can.
	sql += `CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'caught'; END$$;
		CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'caught'; END$$;
		CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
		CREATE OPERATOR evil.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same)`
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// settingsOf asks a session what it has, in words that no setting changes.
func settingsOf(t *testing.T, conn *pgconn.PgConn) map[string]string {
	t.Helper()
	got := map[string]string{}
	for name := range pinned {
		results, err := conn.Exec(t.Context(), "SELECT pg_catalog.current_setting('"+name+"', true)").ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got[name] = string(results[0].Rows[0][0])
	}
	return got
}

// Every session that this package opens has the same settings, whatever database, role and connection string set.
func TestSettingsArePinned(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	makeHostile(t, dsn)
	dsn = edit(t, dsn, func(u *url.URL) {
		u.RawQuery += "&options=" + escape("-c IntervalStyle=iso_8601 -c geqo=off") + "&statement_timeout=40000"
	})
	db := open(t, dsn)
	doors := map[string]func() (*pgconn.PgConn, error){
		"the pool": func() (*pgconn.PgConn, error) {
			conn, err := db.Pool().Acquire(t.Context())
			if err != nil {
				return nil, err
			}
			return conn.Hijack().PgConn(), nil
		},
		"ConnectAs":          func() (*pgconn.PgConn, error) { return bare(db.ConnectAs(t.Context(), "test")) },
		"DB.ConnectThrough":  func() (*pgconn.PgConn, error) { return bare(db.ConnectThrough(t.Context(), "test", nil)) },
		"Connect":            func() (*pgconn.PgConn, error) { return bare(postgres.Connect(t.Context(), "test", dsn)) },
		"ConnectReplication": func() (*pgconn.PgConn, error) { return db.ConnectReplication(t.Context(), "test") },
		"Configure": func() (*pgconn.PgConn, error) {
			cfg, err := pgx.ParseConfig(dsn)
			if err != nil {
				return nil, err
			}
			postgres.Configure(cfg, "test")
			return bare(pgx.ConnectConfig(t.Context(), cfg))
		},
	}
	for name, door := range doors {
		conn, err := door()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(pinned, settingsOf(t, conn)); diff != "" {
			t.Errorf("%s: settings (-want +got):\n%s", name, diff)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// escape writes a parameter of a URL as every reader understands it.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func bare(conn *pgx.Conn, err error) (*pgconn.PgConn, error) {
	if err != nil {
		return nil, err
	}
	return conn.PgConn(), nil
}

// Postgres' own programs have them, too, and what the connection string asks for beside.
func TestProgramsArePinned(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	makeHostile(t, dsn)
	cfg, err := pgx.ParseConfig(edit(t, dsn, func(u *url.URL) {
		u.RawQuery += "&options=" + escape(`-c geqo=off -c application_name=a\ b`) + "&work_mem=5MB&TimeZone=Asia/Tokyo"
	}))
	if err != nil {
		t.Fatal(err)
	}
	show := exec.CommandContext(t.Context(), filepath.Join(pgtest.Shared(t).BinDir(), "psql"), "-XAt", "-d", dsn,
		"-c", "SHOW DateStyle", "-c", "SHOW search_path", "-c", "SHOW geqo", "-c", "SHOW work_mem", "-c", "SHOW TimeZone")
	show.Env = append(os.Environ(), "PGOPTIONS="+postgres.ProgramOptions(cfg), "PGCLIENTENCODING=UTF8")
	out, err := show.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "ISO, MDY\npg_catalog, pg_temp\noff\n5MB\nUTC\n"
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("settings of psql (-want +got):\n%s", diff)
	}
}

// Nobody opens a session by another door. Those who may have no database of a run: they start servers, play their clients,
// measure, or talk to PgBouncer's console.
func TestNobodyConnectsOtherwise(t *testing.T) {
	t.Parallel()
	opens := regexp.MustCompile(`\b(pgx\.Connect\w*|pgconn\.Connect\w*|pgxpool\.New\w*|sql\.Open\w*|stdlib\.Open\w*)\(`)
	allowed := []string{"internal/postgres/", "internal/lab/", "internal/authserver/", "internal/prove/", "cutover/pgbouncer.go", "internal/migrate/goose.go", "testdata/"}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(filepath.ToSlash(name), a) }) {
			return err
		}
		text, err := os.ReadFile(path)
		if found := opens.Find(text); found != nil {
			t.Errorf("%s calls %s: a session of ours is opened by internal/postgres, which gives it its settings", name, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
