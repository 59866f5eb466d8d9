package pgserver_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
)

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, tt := range quick.First(t, 5, []struct {
		name string
		o    pgserver.Options
		want string
	}{
		{"unknown source", pgserver.Options{Source: "floppy"}, `source "floppy"`},
		{"unknown network", pgserver.Options{Network: "public"}, `network "public"`},
		{"dsn without one", pgserver.Options{Source: pgserver.DSN, Name: "no-such"}, "TIDEOVER_TEST_DSN_NO_SUCH"},
		{"programs that are not there", pgserver.Options{Programs: "/nowhere"}, "/nowhere"},
		{"nobody listens", pgserver.Options{DSN: "postgres://postgres:s3cret@127.0.0.1:1/postgres"}, "127.0.0.1"},
		// Those above take no time: initdb has to run before a setting is found wrong.
		{"line break in a setting", pgserver.Options{Source: pgserver.Local, Settings: map[string]string{"a": "b\nc"}}, "line break"},
		{"unknown setting", pgserver.Options{Source: pgserver.Local, Settings: map[string]string{"no_such_setting": "1"}}, "no_such_setting"},
	}) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := pgserver.Start(t.Context(), tt.o)
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not name %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %q tells the password", err)
			}
		})
	}
}

func TestAutoSaysWhatItTook(t *testing.T) {
	quick.Skip(t)
	var log bytes.Buffer
	s := pgtest.NewServer(t, pgserver.Options{Source: pgserver.Local, Name: "given"})
	t.Setenv("TIDEOVER_TEST_DSN_AUTO_BLUE", s.DSN())
	for name, want := range map[string]pgserver.Origin{"auto-blue": pgserver.DSN, "auto-green": pgserver.Local} {
		log.Reset()
		got := pgtest.NewServer(t, pgserver.Options{Name: name, Log: &log})
		if got.Source() != want {
			t.Errorf("%s comes from %s, want %s", name, got.Source(), want)
		}
		if line := log.String(); !strings.Contains(line, string(want)) || strings.Count(line, "\n") != 1 {
			t.Errorf("%s: log %q, want one line that names %s", name, line, want)
		}
		if cfg := s.DSN(); strings.Contains(log.String(), cfg) {
			t.Error("the log tells the DSN")
		}
	}
}

func TestNoEngineGivesAHint(t *testing.T) {
	t.Parallel()
	// In a process of its own: testcontainers looks for the engine once.
	o := startOwner(t, pgserver.Container, "DOCKER_HOST=unix:///nonexistent/docker.sock", "HOME=/nonexistent")
	if got := o.says(t, "error"); !strings.Contains(got, "no Docker engine answers") {
		t.Errorf("error %q", got)
	}
	hint := o.says(t, "hint")
	for _, script := range []string{"scripts/docker/start-engine.sh", "scripts/docker/build-postgres-image.sh"} {
		if !strings.Contains(hint, script) {
			t.Errorf("hint %q does not name %s", hint, script)
		}
		if _, err := os.Stat(filepath.Join("..", "..", "..", script)); err != nil {
			t.Errorf("the hint names a script that is not there: %v", err)
		}
	}
	if left := o.left(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// reachableDir is a temporary directory that the server's account can pass.
func reachableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// programs is the folder that the server's own programs are in.
func programs(t *testing.T, s *pgserver.Server) string {
	t.Helper()
	return query[string](t, connect(t, s.DSN()), `SELECT setting FROM pg_catalog.pg_config WHERE name = 'BINDIR'`)
}

// The archive is made of this machine's Postgres, in the layout of the Maven repository, so that download, check,
// unpacking and a start from a moved prefix are all real.
func TestDownload(t *testing.T) {
	quick.Skip(t)
	prefix := filepath.Dir(programs(t, pgtest.NewServer(t, local("origin"))))
	tarball := filepath.Join(t.TempDir(), "postgres.txz")
	tar := exec.Command("tar", "-C", prefix, "--exclude=lib/bitcode", "--exclude=lib/llvmjit*", "--exclude=lib/pgxs", "-cJhf", tarball,
		"bin/postgres", "bin/initdb", "bin/pg_ctl", "lib")
	tar.Env = append(os.Environ(), "XZ_OPT=-0")
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	content, err := os.ReadFile(tarball)
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.CreateHeader(&zip.FileHeader{Name: "postgres-linux.txz", Method: zip.Store})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	fetched := 0
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Ext(r.URL.Path) != ".jar" {
			http.NotFound(w, r)
			return
		}
		fetched++
		w.Write(jar.Bytes())
	}))
	defer repository.Close()
	cache := reachableDir(t)
	t.Setenv("TIDEOVER_POSTGRES_REPOSITORY", repository.URL)
	t.Setenv("TIDEOVER_POSTGRES_CACHE", cache)

	for range 2 { // the second time from the cache
		s := pgtest.NewServer(t, pgserver.Options{Source: pgserver.Download})
		if dir := programs(t, s); !strings.HasPrefix(dir, cache) || s.Source() != pgserver.Download {
			t.Errorf("programs of %s, source %s", dir, s.Source())
		}
	}
	if fetched != 1 {
		t.Errorf("fetched %d times, want once", fetched)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "fetch-*")); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

func TestFailedDownloadGivesAHint(t *testing.T) {
	repository := httptest.NewServer(http.NotFoundHandler())
	defer repository.Close()
	cache := reachableDir(t)
	t.Setenv("TIDEOVER_POSTGRES_REPOSITORY", repository.URL)
	t.Setenv("TIDEOVER_POSTGRES_CACHE", cache)
	_, err := pgserver.Start(t.Context(), pgserver.Options{Source: pgserver.Download})
	var start *pgserver.StartError
	if !errors.As(err, &start) || len(start.Tried) != 1 || start.Tried[0].Source != pgserver.Download {
		t.Fatalf("error %v", err)
	}
	if !strings.Contains(start.Hint(), "TIDEOVER_POSTGRES_REPOSITORY") {
		t.Errorf("hint %q", start.Hint())
	}
	if left, _ := os.ReadDir(cache); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}
