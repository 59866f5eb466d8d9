package cmd_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/cmd"
)

// TestHelp: every command says what it is for, and how it is called.
func TestHelp(t *testing.T) {
	t.Parallel()
	var paths [][]string
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		paths = append(paths, path)
		for _, sub := range c.Commands() {
			walk(sub, append(path[:len(path):len(path)], sub.Name()))
		}
	}
	walk(cmd.NewRootCmd(&cmd.IO{}), nil)
	if len(paths) < 20 {
		t.Fatalf("only %d commands were found", len(paths))
	}
	for _, path := range paths {
		o := tideover(t.Context(), t, nil, append(path, "--help")...)
		if usage := "tideover " + strings.Join(path, " "); o.code != 0 || !strings.Contains(string(o.stdout), "Usage:\n  "+strings.TrimSpace(usage)) || o.stderr != "" {
			t.Errorf("%s --help: exit code %d\n%s%s", usage, o.code, o.stdout, o.stderr)
		}
	}
}

// TestWrongCommandLine: what can't be meant is exit code 2, and names what was wrong.
func TestWrongCommandLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"figures of a run that another process has", []string{"watch", "--metrics-addr", "127.0.0.1:0", "a.yaml"}, "--metrics-addr"},
		{"a flag that there is not", []string{"plan", "--conect"}, "--conect"},
		{"no runbook", []string{"run"}, "one runbook"},
		{"two runbooks", []string{"status", "a.yaml", "b.yaml"}, "one runbook"},
		{"no such runbook", []string{"plan", "nowhere.yaml"}, "nowhere.yaml"},
		{"a size that there is not", []string{"demo", "--size", "huge"}, "small, busy, medium or large"},
		{"a source that there is not", []string{"demo", "--postgres", "magic"}, "container"},
		{"a network that there is not", []string{"demo", "--container-network", "moon"}, "bridge or host"},
		{"a switch without a rehearsal", []string{"cutover", "upgrade.yaml"}, "--rehearse"},
		{"a server without a database", []string{"server", "serve"}, "TIDEOVER_SERVER_DSN"},
		{"a server without a secret", []string{"server", "serve", "--dsn", "postgres://127.0.0.1:1/x"}, "TIDEOVER_SYSTEM_SECRET"},
		{"a console without a server", []string{"console", "serve"}, "--admin"},
		{"a console without users", []string{"console", "serve", "--admin", "http://127.0.0.1:1", "--public", "http://127.0.0.1:1"}, "--users"},
		{"a console of users that are not there", []string{"console", "serve", "--admin", "http://127.0.0.1:1", "--public", "http://127.0.0.1:1", "--users", "nowhere.users"}, "nowhere.users"},
		{"a router without a token", router("--profile", "bundled"), "TIDEOVER_ROUTER_TOKEN"},
		{"a router that trusts a name", router("--profile", "bundled", "--trusted-proxy", "balancer"), "balancer"},
		{"a router of an unknown profile", router("--profile", "bundeld"), "bundled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := tideover(t.Context(), t, nil, tt.args...)
			if o.code != 2 || !strings.Contains(o.stderr, tt.says) || len(o.stdout) > 0 {
				t.Errorf("exit code %d; want 2 and %q\n%s%s", o.code, tt.says, o.stdout, o.stderr)
			}
		})
	}
}

// router is a router's command line that is complete but for what args say.
func router(args ...string) []string {
	const nobody = "http://127.0.0.1:1"
	return append([]string{"router", "--blue-public", nobody, "--blue-admin", nobody, "--green-public", nobody, "--green-admin", nobody}, args...)
}
