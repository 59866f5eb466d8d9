package cmd_test

import (
	"bytes"
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
