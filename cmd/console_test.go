package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/cmd"
)

// TestConsoleHash prints a line that has no password, and refuses names and passwords that nobody should have.
func TestConsoleHash(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, user, stdin string
		code              int
		out, says         string
	}{
		{"a password", "Ann", "correct horse\n", 0, "ann:$argon2id$v=19$m=19456,t=2,p=1$", ""},
		{"a short one", "ann", "horse\n", 2, "", "fewer than 8"},
		{"none", "ann", "", 2, "", "fewer than 8"},
		{"a long one", "ann", strings.Repeat("x", 1025), 2, "", "longer than 1024"},
		{"a name with a colon", "a:b", "correct horse", 2, "", "user name"},
		{"the name of what nobody owns", "unknown", "correct horse", 2, "", "user name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			root := cmd.NewRootCmd(&cmd.IO{In: strings.NewReader(tt.stdin), Out: &stdout, Err: &stderr, Env: func(string) (string, bool) { return "", false }})
			root.SetArgs([]string{"console", "hash", tt.user})
			code := cmd.Report(&stderr, root.ExecuteContext(t.Context()))
			if code != tt.code || !strings.HasPrefix(stdout.String(), tt.out) || !strings.Contains(stderr.String(), tt.says) || strings.Contains(stdout.String(), "horse") {
				t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
			}
		})
	}
}

// TestConsoleServe: the page is there at the address that is printed, and the end of the context ends it.
func TestConsoleServe(t *testing.T) {
	t.Parallel()
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, stdout := io.Pipe()
	var stderr bytes.Buffer
	root := cmd.NewRootCmd(&cmd.IO{In: strings.NewReader(""), Out: stdout, Err: &stderr, Env: func(string) (string, bool) { return "", false }})
	root.SetArgs([]string{"console", "serve", "--admin", "http://127.0.0.1:1", "--public", "http://127.0.0.1:1", "--users", users, "--listen", "127.0.0.1:0", "--title", "Our service"})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- cmd.Report(&stderr, root.ExecuteContext(ctx))
		stdout.Close()
	}()
	var at struct {
		Console string `json:"console"`
	}
	if err := json.NewDecoder(out).Decode(&at); err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(at.Console + "/login")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), "Our service") {
		t.Errorf("the log-in page: %d %v\n%s", res.StatusCode, err, body)
	}
	stop()
	if code := <-done; code != 0 && code != 130 {
		t.Errorf("exit code %d\n%s", code, &stderr)
	}
}
