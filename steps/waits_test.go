package steps

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/postgres"
)

// Whom a session of ours waits for is noted once, without a value of theirs.
func TestWaitsAreNamed(t *testing.T) {
	for _, tt := range []struct {
		name, more, end string
		says            func(pid uint32) (begins, ends string)
	}{
		{"session", "", `ROLLBACK`, func(pid uint32) (string, string) {
			return fmt.Sprintf("pid %d (nightly-report, role ", pid), ": INSERT INTO public.effect …"
		}},
		{"prepared transaction", `PREPARE TRANSACTION 'left open'`, `ROLLBACK PREPARED 'left open'`, func(uint32) (string, string) {
			return `the prepared transaction "left open" of role `, ", which COMMIT PREPARED or ROLLBACK PREPARED ends"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { testWaitIsNamed(t, tt.more, tt.end, tt.says) })
	}
}

func testWaitIsNamed(t *testing.T, more, ends string, says func(pid uint32) (begins, ends string)) {
	t.Parallel()
	s := newStore(t)
	begun, end := make(chan struct{}), make(chan struct{})
	p := begin(t, s, "", []Step{working("one", begun, end)}, nil)
	done := make(chan error, 1)
	go func() { done <- p.Run(context.WithoutCancel(t.Context())) }()
	<-begun
	theirs, err := pgx.Connect(t.Context(), s.db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close(context.WithoutCancel(t.Context()))
	for _, sql := range []string{`SET application_name = 'nightly-report'`, `BEGIN`, `INSERT INTO public.effect VALUES ('hidden-word', 1)`, more} {
		if sql == "" {
			continue
		}
		if _, err := theirs.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := postgres.Connect(t.Context(), "capture", s.db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close(context.WithoutCancel(t.Context()))
	locked := make(chan error, 1)
	go func() {
		_, err := ours.Exec(context.WithoutCancel(t.Context()), `CREATE INDEX ON public.effect (step)`)
		locked <- err
	}()
	await.That(t, "a wait", func() bool {
		found, err := s.db.Waits(t.Context())
		return err == nil && len(found) == 1
	})
	w := newWaits(p.Runner, s.db)
	for look, want := range []int{0, 1, 1, 1} {
		w.look(t.Context())
		if notes := p.State().Notes; len(notes) != want {
			t.Errorf("look %d: %d notes, want %d", look+1, len(notes), want)
		}
	}
	head, tail := says(theirs.PgConn().PID())
	for _, n := range p.State().Notes {
		if n.Level != "warn" || n.Step != "one" || !strings.HasPrefix(n.Text, "capture waits for a lock on control, for "+head) || !strings.HasSuffix(n.Text, tail) {
			t.Errorf("note %+v", n)
		}
	}
	if _, err := theirs.Exec(t.Context(), ends); err != nil {
		t.Fatal(err)
	}
	if err := <-locked; err != nil {
		t.Error(err)
	}
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if state := fold(t, s, p.lease.Run()); state.Phase != journal.Completed {
		t.Errorf("the run is %s", state.Phase)
	}
}
