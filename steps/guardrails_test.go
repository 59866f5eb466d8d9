package steps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/plan"
)

// guarded is a cutover step on two empty databases, with a green server that answers and one router.
func guarded(t *testing.T, green http.HandlerFunc, state *string) *cutoverStep {
	t.Helper()
	profile, err := plan.LoadProfile("bundled", "")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(green)
	t.Cleanup(server.Close)
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, *state) }))
	t.Cleanup(control.Close)
	env := &Env{Run: "run", Term: 1, Upgrade: Upgrade{Profile: profile, Runbook: &plan.Runbook{
		Green: plan.Service{Public: server.URL, Admin: server.URL}, Router: &plan.Router{Admin: []string{control.URL}, Token: "0123456789abcdef"},
	}}}
	for name, db := range map[string]**postgres.DB{"blue": &env.Blue, "green": &env.Green} {
		if *db, err = postgres.Open(t.Context(), name, pgtest.NewDatabase(t)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((*db).Close)
	}
	return &cutoverStep{base: base{id: "cutover"}, env: env, spec: &plan.CutoverSpec{MaxTransaction: time.Minute, MinDisk: 1}}
}

func TestGuardrails(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	state := `{"side":"blue","phase":"open"}`
	s := guarded(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }, &state)
	path := filepath.Join(t.TempDir(), "flag")
	participant, err := cutover.Build(plan.NewParticipant("flag", &plan.FileSpec{Path: path, Blue: "b", Green: "g"}))
	if err != nil {
		t.Fatal(err)
	}
	put := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("b")
	sw := &cutover.Switch{Participants: []cutover.Participant{participant}}
	looks := map[string]func(context.Context, *Progress) error{}
	for _, g := range s.guardrails(nil, sw) {
		looks[g.name] = g.look
	}
	if len(looks) != len(Guardrails) {
		t.Errorf("%d guardrails, %d names", len(looks), len(Guardrails))
	}
	delete(looks, "replay-lag") // needs a whole upgrade; TestParkedChangesStopTheCutover has one
	now := time.Now().UTC()
	closed := fmt.Sprintf("%02d:00-%02d:00", (now.Hour()+2)%24, (now.Hour()+3)%24)
	var tx pgx.Tx
	for _, tt := range []struct {
		guardrail  string
		make, mend func()
		says       string
	}{
		{"window", func() { s.spec.Window = closed }, func() { s.spec.Window = "" }, "outside of the runbook's window"},
		{"long-transactions", func() {
			conn, err := pgx.Connect(t.Context(), s.env.Blue.DSN())
			if err == nil {
				tx, err = conn.Begin(t.Context())
			}
			if err == nil {
				_, err = tx.Exec(t.Context(), `SELECT 1`)
			}
			if err != nil {
				t.Fatal(err)
			}
			s.spec.MaxTransaction = time.Nanosecond
		}, func() {
			conn := tx.Conn()
			if err := errors.Join(tx.Rollback(t.Context()), conn.Close(t.Context())); err != nil {
				t.Error(err)
			}
		}, "pid "},
		{"green-health", func() { status = http.StatusServiceUnavailable }, func() { status = http.StatusOK }, "not ready"},
		{"green-warm", func() { status = http.StatusInternalServerError }, func() { status = http.StatusOK }, "answers an introspection with 500"},
		{"disk", func() { s.spec.MinDisk = 1 << 40 }, func() { s.spec.MinDisk = 1 }, "MiB of free disk space"},
		{"participants", func() { put("g") }, func() { put("b") }, `participant "flag" is on "green"`},
		{"participants", func() { state = `{"side":"green","phase":"open"}` }, func() { state = `{"side":"blue","phase":"open"}` }, "points at green"},
		{"participants", func() { state = `{"side":"blue","phase":"holding","run":"other"}` }, func() { state = `{"side":"blue","phase":"holding","run":"run"}` }, `for run "other"`},
	} {
		if err := looks[tt.guardrail](t.Context(), nil); err != nil {
			t.Errorf("%s, before: %v", tt.guardrail, err)
		}
		tt.make()
		if err := looks[tt.guardrail](t.Context(), nil); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.guardrail, err, tt.says)
		}
		tt.mend()
		if err := looks[tt.guardrail](t.Context(), nil); err != nil {
			t.Errorf("%s, mended: %v", tt.guardrail, err)
		}
	}
	failure := &GuardrailError{Name: "disk", Err: errors.New("x")}
	if failure.ExitCode() != 4 || !strings.Contains(failure.Hint(), "--override disk") {
		t.Errorf("%v", failure)
	}
	if _, err := ParseOverride([]string{"parked"}); err == nil {
		t.Error("parked changes can be overridden")
	}
}

// A role that may not run programs on the server: its disk is not looked at, and that is known.
func TestDiskWithoutPrivilege(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	role := fmt.Sprintf("weak_%d", time.Now().UnixNano())
	if _, err := conn.Exec(t.Context(), `CREATE ROLE `+role+` LOGIN PASSWORD 'weak'`); err != nil {
		t.Fatal(err)
	}
	defer conn.Exec(context.WithoutCancel(t.Context()), `DROP ROLE `+role)
	cfg := conn.Config()
	db, err := postgres.Open(t.Context(), "blue", fmt.Sprintf("postgres://%s:weak@%s:%d/%s", role, cfg.Host, cfg.Port, cfg.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if free, known, err := preflight.FreeSpace(t.Context(), db.Pool()); known || err != nil || free != 0 {
		t.Errorf("%d %v %v", free, known, err)
	}
}
