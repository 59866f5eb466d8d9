//go:build hydra

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/plan"
)

// TestHydraWays takes Hydra from 1.11.10 to 2.3.0, under traffic and with old rows, as people run it who do otherwise than a rehearsal.
func TestHydraWays(t *testing.T) {
	const salt = "not-guessed-by-anybody"
	for _, tt := range slice.Pick(t, 0, []struct {
		name     string
		options  deployment.Options
		pairwise string
	}{
		{name: "ordinary roles", options: deployment.Options{Ordinary: true}},
		{name: "another schema", options: deployment.Options{Ordinary: true, Schema: "auth"}},
		{name: "JWT access tokens", options: deployment.Options{Settings: []string{"STRATEGIES_ACCESS_TOKEN=jwt"}}},
		{name: "pairwise subjects", pairwise: salt, options: deployment.Options{Settings: []string{
			"OIDC_SUBJECT_IDENTIFIERS_SUPPORTED_TYPES=pairwise", "OIDC_SUBJECT_IDENTIFIERS_PAIRWISE_SALT=" + salt}}},
	}) {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.options
			o.Servers, o.Seed = deployment.Hydra, seed.Options{Clients: 5, Sessions: 60, Offending: true, Secret: "seeded-client-secret-4410"}
			if o.Schema != "" {
				o.Profile = inSchema(t, o.Schema)
			}
			th := newTheatreOn(t, o, "hydra-2x.yaml", func(c *traffic.Config) { c.Rate, c.Clients, c.Timeout, c.Pairwise = 25, 6, 60*time.Second, tt.pairwise })
			edit(t, th.runbook, "command: [hydra,", `command: ["`+th.Commands()["hydra"]+`",`)
			if o.Profile != "" {
				edit(t, th.runbook, "profile: hydra", "profile: "+o.Profile)
			}
			code, _, stderr := th.play(t, nil, "run", th.runbook, "--json")
			if code != 0 {
				t.Fatalf("exit code %d\n%s", code, stderr)
			}
			t.Log(th.judge(t))
		})
	}
}

// inSchema is the built-in profile for tables in another schema.
func inSchema(t *testing.T, schema string) string {
	t.Helper()
	text, err := plan.BuiltinProfile("hydra")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "hydra.yaml")
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "schema: public", "schema: "+schema, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
