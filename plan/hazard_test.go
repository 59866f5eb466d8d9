package plan_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/plan"
)

func bundled(t *testing.T) *plan.Profile {
	t.Helper()
	p, err := plan.LoadProfile("bundled", "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestHazards changes the demo, which keeps all guarantees but a person's word before the end of the way back, and looks
// which guarantee each change gives up, and where. Every hazard has a text and a hint.
func TestHazards(t *testing.T) {
	t.Parallel()
	const router = "router:\n  admin: [\"${TIDEOVER_ROUTER_ADMIN}\"]\n  token: ${TIDEOVER_ROUTER_TOKEN}\n"
	participants := func(commit string) string {
		return "drain_logins: 2s\n    participants: [{name: app, kind: exec, commit: [\"" + commit + "\"], abort: [a], status: [b]}]"
	}
	for _, tt := range []struct {
		name string
		edit []string // old, new
		with func(*plan.Profile)
		want []string
	}{
		{name: "demo"},
		{name: "no capture", edit: []string{"  - step: capture\n", "", "  - step: replay\n    steady_for: 3s\n", ""}, want: []string{"G1 snapshot", "G2 snapshot"}},
		{name: "logical", edit: []string{"- step: capture\n", "- step: capture\n    source: logical\n"}},
		{name: "logical without a limit", edit: []string{"- step: capture\n", "- step: capture\n    source: logical\n    max_wal_mb: 0\n"}, want: []string{"G3 capture"}},
		{name: "outbox", edit: []string{"- step: capture\n", "- step: capture\n    source: outbox\n    outbox: box\n"}, want: []string{"G1 capture", "G2 capture"}},
		{name: "no replay", edit: []string{"  - step: replay\n    steady_for: 3s\n", ""}, want: []string{"G3 cutover"}},
		{name: "no pause-jobs", edit: []string{"  - step: pause-jobs\n    jobs: []\n", ""}, want: []string{"G2 snapshot"}},
		{name: "no cleanup before", edit: []string{"  - step: cleanup\n    phase: before\n", ""}, want: []string{"G2 migrate"}},
		{name: "no cleanup after", edit: []string{"  - step: cleanup\n    phase: after\n", ""}, want: []string{"G2 migrate"}},
		{name: "no validate", edit: []string{"  - step: validate\n    repair: true\n", ""}, want: []string{"G2 cutover"}},
		{name: "validate too late", edit: []string{"  - step: validate\n    repair: true\n", "", "  - step: monitor", "  - step: validate\n  - step: monitor"}, want: []string{"G2 cutover"}},
		{name: "no router", edit: []string{router, "", "drain_logins: 2s", participants("c")}, want: []string{"G3 cutover"}},
		{name: "long deadline", edit: []string{"deadline: 20s", "deadline: 31s"}, want: []string{"G3 cutover"}},
		{name: "vendor's command", edit: []string{"source: bundled\n    to: 20009", "command: [vendor, migrate]"}, want: []string{"G3 migrate"}},
		{name: "password in a command", edit: []string{"drain_logins: 2s", participants("psql postgres://u:pw@h/d")}, want: []string{"G8 cutover"}},
		{name: "token in a command", edit: []string{"source: bundled\n    to: 20009", "command: [vendor, --token=abc]"}, want: []string{"G3 migrate", "G8 migrate"}},
		{name: "a control address elsewhere", edit: []string{"admin: [\"${TIDEOVER_ROUTER_ADMIN}\"]", "admin: [\"http://router.example:9000\", \"http://router.example:9000\"]"}, want: []string{"G8 "}},
		{name: "a control address with TLS", edit: []string{"admin: [\"${TIDEOVER_ROUTER_ADMIN}\"]", "admin: [\"https://router.example:9000\", \"http://[::1]:9000\"]"}},
		{name: "a database elsewhere", edit: []string{"dsn: ${TIDEOVER_BLUE_DSN}", "dsn: postgres://u@db.example/auth?sslmode=prefer"}, want: []string{"G8 "}},
		{name: "a database elsewhere, in words", edit: []string{"dsn: ${TIDEOVER_BLUE_DSN}", "dsn: host=db.example user=u"}, want: []string{"G8 "}},
		{name: "a database elsewhere, with TLS", edit: []string{"dsn: ${TIDEOVER_BLUE_DSN}", "dsn: postgres://u@db.example/auth?sslmode=verify-full"}},
		{name: "a socket", edit: []string{"dsn: ${TIDEOVER_BLUE_DSN}", "dsn: host=/run/postgresql user=u"}},
		{name: "a password in the file", edit: []string{"dsn: ${TIDEOVER_BLUE_DSN}", "dsn: postgres://u:pw@127.0.0.1/auth"}, want: []string{"G8 "}},
		{name: "a password in the file, in words", edit: []string{"dsn: ${TIDEOVER_BLUE_DSN}", "dsn: host=127.0.0.1 password=pw"}, want: []string{"G8 "}},
		{name: "a password from the environment", edit: []string{"dsn: ${TIDEOVER_BLUE_DSN}", "dsn: host=127.0.0.1 password=${TIDEOVER_ROUTER_TOKEN}"}},
		{name: "unsigned calls", edit: []string{"drain_logins: 2s", "drain_logins: 2s\n    participants: [{name: app, kind: http, url: \"http://127.0.0.1:1\"}]"}, want: []string{"G8 cutover"}},
		{name: "signed calls", edit: []string{"drain_logins: 2s", "drain_logins: 2s\n    participants: [{name: app, kind: http, url: \"http://127.0.0.1:1\", secret: \"${TIDEOVER_ROUTER_TOKEN}\"}]"}},
		{name: "long locks", edit: []string{"steps:", "locks: {timeout: 2s}\nsteps:"}, want: []string{"G7 "}},
		{name: "journal on green", edit: []string{"steps:", "control: {dsn: \"${TIDEOVER_GREEN_DSN}\"}\nsteps:"}, want: []string{"G4 snapshot"}},
		{name: "a gate before retire", edit: []string{"- step: retire", "- step: retire\n    approve: true"}, want: []string{"-G6 retire"}},
		{
			name: "in place", edit: []string{"  - step: preflight\n", "  - step: preflight\n  - step: migrate\n    target: live\n    command: [vendor]\n  - step: retire\nx:\n"},
			want: []string{"G6 migrate", "G7 migrate", "-G6 retire"},
		},
		{
			name: "in place, allowed hazards", edit: []string{"  - step: preflight\n", "  - step: preflight\n  - step: migrate\n    target: live\n    source: x\n    allow: [opaque, not-split, loses-data, breaks-old-server]\n  - step: retire\nx:\n"},
			want: []string{"G6 migrate", "G2 migrate", "G3 migrate", "G7 migrate", "-G6 retire"},
		},
		{name: "no revocations", with: func(p *plan.Profile) { p.Revocations = nil }, want: []string{"G1 cutover"}},
		{name: "no apply on green", with: func(p *plan.Profile) { p.Revocations[0].Green.Apply = "" }, want: []string{"G1 cutover"}},
		{name: "no question to green", with: func(p *plan.Profile) { p.Revocations[0].Green.Living = "" }, want: []string{"G1 cutover"}},
		{name: "no judge on green", with: func(p *plan.Profile) { p.Revocations[0].Green.Judge = "" }, want: []string{"G6 cutover"}},
		{name: "no apply on blue", with: func(p *plan.Profile) { p.Revocations[0].Blue.Apply = "" }, want: []string{"G6 cutover"}},
		{name: "unknown table", with: func(p *plan.Profile) { p.Revocations[0].Blue.Table = "none" }, want: []string{"G1 cutover"}},
		{name: "sessions not named", with: func(p *plan.Profile) { p.Green.LivingOnly = "" }, want: []string{"G6 cutover"}},
		{name: "no invariants", with: func(p *plan.Profile) { p.Invariants = nil }, want: []string{"G2 validate"}},
		{
			name: "an uncaptured table", with: func(p *plan.Profile) {
				p.Tables = append(p.Tables, plan.Table{Name: "x", Capture: new(bool)})
			}, want: []string{"G2 capture"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := string(demo(t))
			for i := 0; i < len(tt.edit); i += 2 {
				if !strings.Contains(text, tt.edit[i]) {
					t.Fatalf("the demo has no %q", tt.edit[i])
				}
				text = strings.Replace(text, tt.edit[i], tt.edit[i+1], 1)
			}
			if before, _, ok := strings.Cut(text, "\nx:\n"); ok {
				text = before
			}
			rb, err := plan.ParseRunbook("demo.yaml", []byte(text), environment)
			if err != nil {
				t.Fatal(err)
			}
			p := bundled(t)
			if tt.with != nil {
				tt.with(p)
			}
			want := append([]string{"G6 retire"}, tt.want...)
			if i := slices.Index(want, "-G6 retire"); i > 0 {
				want = slices.Delete(want, i, i+1)[1:]
			}
			var got []string
			for _, h := range plan.Hazards(rb, p) {
				got = append(got, fmt.Sprintf("%s %s", h.Guarantee, h.Step))
				if h.Text == "" || h.Hint == "" {
					t.Errorf("says nothing: %+v", h)
				}
				if strings.Contains(h.Text+h.Hint, secret) || strings.Contains(h.Text, "pw@") {
					t.Errorf("shows a secret: %+v", h)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(strings.Join(want, ", "), strings.Join(got, ", ")); diff != "" {
				t.Errorf("hazards (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNothingSwitches: a runbook that was put together without the loader.
func TestNothingSwitches(t *testing.T) {
	t.Parallel()
	rb := &plan.Runbook{Steps: []plan.StepSpec{{ID: "go", Kind: plan.Cutover, Config: plan.NewConfig(plan.Cutover)}}}
	for _, h := range plan.Hazards(rb, &plan.Profile{}) {
		if h.Guarantee == plan.NoFailedRequest && h.Step == "go" {
			return
		}
	}
	t.Error("no hazard")
}

// TestInit: the scaffold keeps every guarantee, and loads as it is.
func TestInit(t *testing.T) {
	t.Parallel()
	for _, opts := range []plan.InitOptions{{}, {Name: `a "quoted": name #1`, Profile: "bundled"}, {Profile: "./mine.yaml"}} {
		data := plan.Init(opts)
		rb, err := plan.ParseRunbook("new.yaml", data, environment)
		if err != nil {
			t.Fatalf("%+v:\n%v\n%s", opts, err, data)
		}
		if opts.Name != "" && rb.Name != opts.Name || opts.Profile != "" && rb.Profile != opts.Profile {
			t.Errorf("name %q, profile %q", rb.Name, rb.Profile)
		}
		if all := plan.Hazards(rb, bundled(t)); len(all) > 0 {
			t.Errorf("hazards: %+v", all)
		}
		if _, err := plan.ParseRunbook("new.yaml", data, nil); err == nil || !strings.Contains(err.Error(), "TIDEOVER_BLUE_DSN is not set") {
			t.Errorf("without environment: %v", err)
		}
	}
}

// TestDemoVariables: the demo's environment is a contract with those that start it.
func TestDemoVariables(t *testing.T) {
	t.Parallel()
	want := []string{
		"TIDEOVER_BLUE_ADMIN", "TIDEOVER_BLUE_DSN", "TIDEOVER_BLUE_PUBLIC", "TIDEOVER_GREEN_ADMIN", "TIDEOVER_GREEN_DSN",
		"TIDEOVER_GREEN_PUBLIC", "TIDEOVER_ROUTER_ADMIN", "TIDEOVER_ROUTER_TOKEN",
	}
	for _, data := range [][]byte{demo(t), plan.Init(plan.InitOptions{})} {
		var asked []string
		_ = os.Expand(strings.ReplaceAll(string(data), "${NAME}", ""), func(name string) string {
			if strings.HasPrefix(name, "TIDEOVER_") {
				asked = append(asked, name)
			}
			return ""
		})
		slices.Sort(asked)
		if diff := cmp.Diff(want, slices.Compact(asked)); diff != "" {
			t.Errorf("variables (-want +got):\n%s", diff)
		}
	}
}
