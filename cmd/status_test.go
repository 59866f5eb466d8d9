package cmd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// night is a run of the demo's runbook as far as journal, router, servers and fences can tell. Nothing works on it.
type night struct {
	t       *testing.T
	runbook string
	env     map[string]string
	router  atomic.Value // what the router says
	j       *postgres.Journal
	run     string
	lease   *postgres.Lease // nil: no process is at work
}

// newNight has a run that has begun, with a router on blue.
func newNight(t *testing.T) *night {
	t.Helper()
	n := &night{t: t, runbook: demoRunbook(t), env: sides(pgtest.NewDatabase(t), pgtest.NewDatabase(t))}
	n.says("blue", "open", 0, 0)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/state" {
			fmt.Fprint(w, n.router.Load())
		}
	}))
	t.Cleanup(srv.Close)
	for _, name := range []string{"BLUE_PUBLIC", "BLUE_ADMIN", "GREEN_PUBLIC", "GREEN_ADMIN", "ROUTER_ADMIN"} {
		n.env["TIDEOVER_"+name] = srv.URL
	}
	db, err := postgres.Open(t.Context(), "control", n.env["TIDEOVER_BLUE_DSN"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	n.j = postgres.NewJournal(db)
	n.begin()
	return n
}

func (n *night) lookUp(name string) (string, bool) { v, ok := n.env[name]; return v, ok }

// begin starts a run of the runbook as the journal has it.
func (n *night) begin() {
	n.t.Helper()
	rb, err := plan.LoadRunbook(n.runbook, n.lookUp)
	if err != nil {
		n.t.Fatal(err)
	}
	profile, err := plan.LoadProfile(rb.Profile, ".")
	if err != nil {
		n.t.Fatal(err)
	}
	started := journal.RunStartedData{Name: rb.Name, Runbook: rb.Path, Hash: rb.Hash, Content: rb.Content, Profile: rb.Profile, ProfileContent: profile.Content}
	for _, s := range rb.Steps {
		started.Steps = append(started.Steps, journal.StepRef{ID: s.ID, Kind: string(s.Kind), Undoable: s.Kind != plan.Retire, Gate: s.Kind == plan.Cutover})
	}
	n.lease, err = n.j.Create(n.t.Context(), started, journaltest.Who(1),
		postgres.Document{Kind: postgres.RunbookDocument, Name: rb.Path, Text: rb.Kept.Text},
		postgres.Document{Kind: postgres.ProfileDocument, Name: rb.Profile, Text: profile.Kept.Text})
	if err != nil {
		n.t.Fatal(err)
	}
	n.run = n.lease.Run()
	n.t.Cleanup(func() { n.dies() })
}

// dies ends the process at work.
func (n *night) dies() {
	if n.lease != nil {
		n.lease.Release()
	}
	n.lease = nil
}

// upTo has every step before one finished, and that one begun.
func (n *night) upTo(step string) *night {
	n.t.Helper()
	state := n.state()
	for _, st := range state.Steps {
		n.store(st.ID, journal.StepStarted, nil)
		if st.ID == step {
			return n
		}
		n.store(st.ID, journal.StepFinished, journal.FinishedData{Seconds: 2})
	}
	n.store("", journal.RunCompleted, nil)
	return n
}

func (n *night) state() journal.State {
	n.t.Helper()
	events, err := n.j.Load(n.t.Context(), n.run, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	state, err := journal.Fold(events)
	if err != nil {
		n.t.Fatal(err)
	}
	return state
}

func (n *night) store(step string, kind journal.Kind, data any) *night {
	n.t.Helper()
	e := journal.Event{Step: step, Kind: kind}
	if data != nil {
		raw, err := json.Marshal(data)
		if err != nil {
			n.t.Fatal(err)
		}
		e.Data = raw
	}
	if _, err := n.lease.Append(n.t.Context(), e); err != nil {
		n.t.Fatal(err)
	}
	return n
}

// cutover stores the stages of the switch up to one.
func (n *night) cutover(until journal.Kind) *night {
	n.t.Helper()
	n.upTo("cutover")
	for _, kind := range []journal.Kind{journal.CutoverPreparing, journal.CutoverHolding, journal.CutoverFencing, journal.CutoverReplaying,
		journal.CutoverVerifying, journal.CutoverCommitting, journal.CutoverSwitched, journal.CutoverReleased} {
		n.store("cutover", kind, nil)
		if kind == until {
			return n
		}
	}
	return n
}

func (n *night) says(side, phase string, held, left int) *night {
	n.router.Store(fmt.Sprintf(`{"side":%q,"phase":%q,"held":%d,"until_ms":%d,"run":"r"}`, side, phase, held, left))
	return n
}

// fence sets a side's fence: seconds from now, 0 for ever.
func (n *night) fence(side string, seconds int) *night {
	n.t.Helper()
	until := "9223372036854775807"
	if seconds > 0 {
		until = fmt.Sprintf("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint + %d000000", seconds)
	}
	pgtest.Exec(n.t, n.env["TIDEOVER_"+side+"_DSN"], `CREATE SCHEMA IF NOT EXISTS tideover; CREATE SEQUENCE IF NOT EXISTS tideover.fence MINVALUE 0 START 0;
		SELECT setval('tideover.fence', `+until+`)`)
	return n
}

func (n *night) tideover(ctx context.Context, args ...string) outcome {
	n.t.Helper()
	return tideover(ctx, n.t, n.env, args...)
}

// said is what status --json answers.
type said struct {
	Phase string
	Held  bool
	Now   struct {
		Serves, Clients, Text string
		Until                 string
	}
	Ways    []struct{ Command, Does, Costs string }
	Reality struct {
		Routers []struct{ Side, Phase, Unknown string }
		Fences  []struct {
			Side          string
			Raised, Stays bool
			Unknown       string
		}
		Servers []struct{ Side, Unknown string }
		Lease   struct {
			Held    bool
			Session *postgres.Session
		}
		Waits []struct {
			Database string
			Waits    []postgres.Wait
		}
	}
}

func (n *night) status(args ...string) said {
	n.t.Helper()
	o := n.tideover(n.t.Context(), append([]string{"status", "--json"}, args...)...)
	var s said
	if err := json.Unmarshal(o.stdout, &s); err != nil || o.code != 0 {
		n.t.Fatalf("exit code %d, %v\n%s%s", o.code, err, o.stdout, o.stderr)
	}
	return s
}

// The journal says the same in several of these; only what is asked tells them apart.
func TestStatusIsWhatIsSo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                  string
		night                 func(n *night)
		serves, clients, says string
		ways                  []string
		never                 string
	}{
		{"before the switch", func(n *night) { n.upTo("replay").dies() }, "blue", "served", "nobody waits, nobody is refused", []string{"resume", "rollback"}, "requests wait"},
		{"at work", func(n *night) { n.upTo("replay") }, "blue", "served", "nobody waits", []string{"pause", "abort"}, "tideover resume"},
		{"in the hold", func(n *night) {
			n.cutover(journal.CutoverFencing).says("blue", "holding", 12, 60_000).fence("BLUE", 60)
		},
			"blue", "wait", "writes and logins wait at the router (12 now)", nil, "nobody waits"},
		{"killed in the hold", func(n *night) {
			n.cutover(journal.CutoverFencing).says("blue", "holding", 12, 60_000).fence("BLUE", 600).dies()
		},
			"blue", "wait", "then they go to blue by themselves, whose database refuses them (503) until", []string{"resume", "rollback"}, "nobody waits"},
		{"the hold has ended and the fence not", func(n *night) { n.cutover(journal.CutoverFencing).fence("BLUE", 600).dies() },
			"blue", "refused", "writes get 503, everybody's", []string{"resume", "rollback"}, "requests wait"},
		{"the hold has ended long ago", func(n *night) { n.cutover(journal.CutoverFencing).fence("BLUE", 1).dies(); n.ended("BLUE") },
			"blue", "served", "nobody waits, nobody is refused", []string{"resume", "rollback"}, "requests wait"},
		{"killed past the commit", func(n *night) { n.cutover(journal.CutoverCommitting).fence("BLUE", 0).dies() },
			"blue", "refused", "that does NOT end by itself", []string{"resume", "rollback"}, "nobody waits"},
		{"logins are let out", func(n *night) { n.cutover(journal.CutoverPreparing).says("blue", "draining", 3, 60_000) }, "blue", "wait", "new logins wait", []string{"abort"}, "writes and logins"},
		{"on the way back", func(n *night) {
			n.cutover("").store("", journal.RunUndoing, journal.ReasonData{Reason: "slow"}).says("green", "holding", 7, 60_000).fence("GREEN", 60).fence("BLUE", 0).dies()
		}, "green", "wait", "(7 now)", []string{"rollback"}, "resume upgrade"},
		{"completed", func(n *night) {
			n.completed()
		}, "green", "served", "nobody waits, nobody is refused", []string{}, "tideover resume"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t)
			tt.night(n)
			s := n.status(n.runbook)
			if s.Now.Serves != tt.serves || s.Now.Clients != tt.clients || !strings.Contains(s.Now.Text, tt.says) {
				t.Errorf("now: %+v", s.Now)
			}
			if tt.ways != nil {
				var ways []string
				for _, w := range s.Ways {
					ways = append(ways, strings.Fields(w.Command)[1])
				}
				if strings.Join(ways, " ") != strings.Join(tt.ways, " ") {
					t.Errorf("ways: %v", s.Ways)
				}
			}
			if s.Held != (n.lease != nil) || s.Reality.Lease.Held != s.Held || s.Held && s.Reality.Lease.Session.Application != "tideover/lease" {
				t.Errorf("held %t, lease %+v", s.Held, s.Reality.Lease)
			}
			o := n.tideover(t.Context(), "status", n.runbook)
			first, _, _ := strings.Cut(string(o.stdout), "\n")
			if o.code != 0 || !strings.HasPrefix(first, tt.serves) || !strings.Contains(first, strings.SplitN(tt.says, ", everybody", 2)[0]) {
				t.Errorf("exit code %d, first line %q", o.code, first)
			}
			if strings.Contains(string(o.stdout), tt.never) {
				t.Errorf("says %q:\n%s", tt.never, o.stdout)
			}
		})
	}
}

// completed has the run go through, with nobody at work on it any more.
func (n *night) completed() {
	n.t.Helper()
	n.cutover("").says("green", "open", 0, 0).fence("BLUE", 0).store("cutover", journal.StepFinished, journal.FinishedData{})
	for _, step := range []string{"monitor", "retire"} {
		n.store(step, journal.StepStarted, nil).store(step, journal.StepFinished, journal.FinishedData{})
	}
	n.store("", journal.RunCompleted, nil).dies()
}

// ended waits until a side's fence is over.
func (n *night) ended(side string) {
	n.t.Helper()
	pgtest.Exec(n.t, n.env["TIDEOVER_"+side+"_DSN"], `SELECT pg_sleep(greatest(0, last_value / 1e6 - extract(epoch FROM clock_timestamp()) + 0.001)) FROM tideover.fence`)
}

// What can't be asked is unknown, and never what the journal says.
func TestStatusWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.upTo("replay")
	control := n.env["TIDEOVER_BLUE_DSN"]
	n.env = map[string]string{"TIDEOVER_CONTROL_DSN": control}
	for _, args := range [][]string{nil, {"--run", n.run}, {"--control", control}} {
		s := n.status(args...)
		if s.Now.Clients != "unknown" || !strings.Contains(s.Now.Text, "TIDEOVER_ROUTER_ADMIN is not set") || s.Reality.Fences[1].Unknown != "TIDEOVER_GREEN_DSN is not set" ||
			s.Phase != "running" || !s.Reality.Lease.Held {
			t.Errorf("%v: %+v", args, s)
		}
	}
	if err := os.Remove(n.runbook); err != nil {
		t.Fatal(err)
	}
	if o := n.tideover(t.Context(), "status"); o.code != 0 || !strings.Contains(string(o.stdout), "unknown: TIDEOVER_GREEN_DSN is not set") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	n.env["TIDEOVER_CONTROL_DSN"] = "postgres://nobody:hidden-word@127.0.0.1:1/x"
	if o := n.tideover(t.Context(), "status"); o.code != 1 || strings.Contains(o.stderr+string(o.stdout), "hidden-word") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

// The control database is cut off: the router and green still say what is so.
func TestStatusWithoutTheJournal(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.cutover(journal.CutoverCommitting).says("green", "open", 0, 0).dies()
	n.env["TIDEOVER_BLUE_DSN"] = "postgres://nobody:hidden-word@127.0.0.1:1/x"
	o := n.tideover(t.Context(), "status", n.runbook)
	if out := string(o.stdout); o.code != 1 || !strings.HasPrefix(out, "green serves; nobody waits") || !strings.Contains(out, "fence of blue") ||
		!strings.Contains(out, "The journal can't be read") || strings.Contains(out+o.stderr, "hidden-word") {
		t.Errorf("exit code %d\n%s%s", o.code, out, o.stderr)
	}
	n.env["TIDEOVER_ROUTER_ADMIN"] = "http://127.0.0.1:1"
	if o := n.tideover(t.Context(), "status", n.runbook); !strings.HasPrefix(string(o.stdout), "who serves is unknown: ") {
		t.Errorf("without a router:\n%s", o.stdout)
	}
}

// Status names whom a session of ours waits for, and no value of its statement.
func TestStatusNamesTheBlocker(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.upTo("capture")
	blue := n.env["TIDEOVER_BLUE_DSN"]
	pgtest.Exec(t, blue, `CREATE TABLE public.token (id text); INSERT INTO public.token VALUES ('a')`)
	theirs, err := pgx.Connect(t.Context(), blue)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close(context.WithoutCancel(t.Context()))
	if _, err := theirs.Exec(t.Context(), `SET application_name = 'nightly-report'; BEGIN; UPDATE public.token SET id = 'hidden-word' WHERE id = 'a'`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	ours, err := postgres.Connect(t.Context(), "capture", blue)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() {
		_, err := ours.Exec(t.Context(), `CREATE INDEX ON public.token (id)`)
		done <- err
	}()
	pid := int32(ours.PgConn().PID())
	pgtest.Exec(t, blue, fmt.Sprintf(`DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE pid = %d AND NOT granted) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$`, pid))
	s := n.status(n.runbook)
	w := s.Reality.Waits[0].Waits
	if len(w) != 1 || w[0].PID != pid || w[0].Application != "tideover/capture" || w[0].Since.IsZero() || w[0].For.PID != int32(theirs.PgConn().PID()) ||
		w[0].For.Application != "nightly-report" || w[0].For.Role == "" || !strings.HasPrefix(w[0].For.Query, "SET application_name") {
		t.Errorf("waits %+v", w)
	}
	o := n.tideover(t.Context(), "status", n.runbook)
	if out := string(o.stdout); !strings.Contains(out, "lock on blue") || !strings.Contains(out, "nightly-report") || strings.Contains(out, "hidden-word") {
		t.Errorf("says\n%s", out)
	}
	if _, err := theirs.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
