package cmd_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/cmd"
	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/testdata"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

// outcome is what one call of the command line did.
type outcome struct {
	code   int
	stdout []byte
	stderr string
}

// tideover calls the command line in this process, with no environment but env.
func tideover(ctx context.Context, t *testing.T, env map[string]string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := cmd.NewRootCmd(&cmd.IO{In: strings.NewReader(""), Out: &stdout, Err: &stderr,
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	root.SetArgs(args)
	code := cmd.Report(&stderr, root.ExecuteContext(ctx))
	return outcome{code: code, stdout: stdout.Bytes(), stderr: stderr.String()}
}

// bothSides are two databases, empty and of both schemas, and the demo's runbook with the environment that names them.
// No server and no router is there.
func bothSides(t *testing.T) (runbook string, env map[string]string) {
	t.Helper()
	return demoRunbook(t), sides(migrated(t, "1.1"), migrated(t, "2.0"))
}

// sides is the environment of the demo's runbook with these databases, and nobody at any other address.
func sides(blue, green string) map[string]string {
	env := map[string]string{"TIDEOVER_BLUE_DSN": blue, "TIDEOVER_GREEN_DSN": green, "TIDEOVER_ROUTER_TOKEN": "x"}
	for _, name := range []string{"BLUE_PUBLIC", "BLUE_ADMIN", "GREEN_PUBLIC", "GREEN_ADMIN", "ROUTER_ADMIN"} {
		env["TIDEOVER_"+name] = "http://127.0.0.1:1"
	}
	return env
}

// demoRunbook is a copy of the demo's runbook.
func demoRunbook(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "demo.yaml")
	text, err := testdata.Runbooks.ReadFile("runbooks/demo.yaml")
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// migrated is a database of a generation's schema.
func migrated(t *testing.T, generation string) (dsn string) {
	t.Helper()
	dsn = pgtest.NewDatabase(t)
	if err := authserver.Migrate(t.Context(), dsn, generation); err != nil {
		t.Fatal(err)
	}
	return dsn
}
