package e2e

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
)

// TestRollbackAfterThePoint switches to green, at the second try because a long write is in the way of the first, lets
// clients work and revoke there, and goes back, killed on the way. Blue serves then, and every revocation made on green
// holds on it.
func TestRollbackAfterThePoint(t *testing.T) {
	quick.Skip(t)
	th := newTheatre(t)
	before := pgtest.Schema(t, th.BlueDSN)
	// Between prepare, when the long write begins, and the fence logins are waited for.
	edit(t, th.runbook, "deadline: 20s", "deadline: 3s", "drain_logins: 500ms", "drain_logins: 2s", "    for: 1s", "    for: 10m")

	var end func()
	aborted := 0
	code, pressed, stderr := th.signal(t, os.Interrupt, func(e journal.Event) bool {
		switch {
		case e.Kind == journal.CutoverPreparing && end == nil: // the fence's triggers are there, and logins are let out before it goes up
			end = longWrite(t, th.BlueDSN)
		case e.Kind == journal.CutoverAborted:
			aborted++
			end()
		}
		return e.Kind == journal.StepProgress && e.Step == "monitor" && th.livedOnGreen()
	}, "run", th.runbook, "--json")
	if !pressed {
		t.Fatalf("ended by itself with %d\n%s", code, stderr)
	}
	if code != 130 {
		t.Errorf("exit code %d after an interrupt, want 130", code)
	}
	if aborted == 0 {
		t.Error("the long write was in nobody's way")
	}
	if !strings.Contains(stderr, "tideover rollback") {
		t.Errorf("stderr does not name the way back:\n%s", stderr)
	}

	var brought struct {
		Revocations int `json:"revocations"`
		OnlyGreen   int `json:"only_green"`
		Sessions    []string
	}
	look := func(e journal.Event) {
		var figure struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		}
		if e.Kind == journal.StepFigure && json.Unmarshal(e.Data, &figure) == nil && figure.Name == "rollback" {
			if err := json.Unmarshal(figure.Value, &brought); err != nil {
				t.Error(err)
			}
		}
	}
	code, killed, stderr := th.play(t, func(e journal.Event) bool { look(e); return e.Kind == journal.CutoverAborting }, "rollback", th.runbook, "--json")
	if !killed {
		t.Fatalf("rollback ended by itself with %d\n%s", code, stderr)
	}
	if code, _, stderr = th.play(t, func(e journal.Event) bool { look(e); return false }, "rollback", th.runbook, "--json"); code != 0 {
		t.Fatalf("rollback: exit code %d\n%s", code, stderr)
	}
	if brought.Revocations == 0 || brought.OnlyGreen == 0 || len(brought.Sessions) != brought.OnlyGreen {
		t.Errorf("the way back brought %+v: green had no traffic, or nobody looked", brought)
	}
	if after := pgtest.Schema(t, th.BlueDSN); after != before {
		t.Errorf("blue's schema is not as it was:\n%s", cmp.Diff(before, after))
	}
	v := th.judge(t)
	t.Logf("%d revocations came back, %d sessions are known to green alone: %s", brought.Revocations, brought.OnlyGreen, v)
}

// longWrite leaves a write of blue open until end is called.
func longWrite(t *testing.T, dsn string) (end func()) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `UPDATE public.oauth_jwk SET kid = kid WHERE false`); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		if err := tx.Commit(ctx); err != nil {
			t.Error(err)
		}
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return end
}

// edit replaces texts of a file in pairs.
func edit(t *testing.T, path string, pairs ...string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(data), pairs[i]) {
			t.Fatalf("%s does not say %q", path, pairs[i])
		}
	}
	if err := os.WriteFile(path, []byte(strings.NewReplacer(pairs...).Replace(string(data))), 0o600); err != nil {
		t.Fatal(err)
	}
}
