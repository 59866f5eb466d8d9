package cmd_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/postgres"
)

// answers stands for the process at work: it answers the next command.
func (n *night) answers(done bool, text string) (wait func() journal.AskedData) {
	var asked journal.AskedData
	var process sync.WaitGroup
	process.Go(func() {
		await.That(n.t, "a command", func() bool {
			all, err := n.j.Commands(n.t.Context(), n.run)
			if err != nil || len(all) != 1 {
				return false
			}
			asked = all[0].Data
			return pgx.BeginFunc(n.t.Context(), n.j.DB().Pool(), func(tx pgx.Tx) error {
				return postgres.AnswerIn(n.t.Context(), tx, all[0].ID, done, text)
			}) == nil
		})
	})
	return func() journal.AskedData { process.Wait(); return asked }
}

func TestAskTheProcess(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.upTo("snapshot").store("", journal.RunAsked, journal.AskedData{Verb: journal.Throttle, Limits: journal.Limits{MaxChanges: 7}, Done: true})
	for _, tt := range []struct {
		args []string
		want journal.AskedData
	}{
		{[]string{"pause", n.runbook, "--reason", "too much"}, journal.AskedData{Verb: "pause", Reason: "too much"}},
		{[]string{"continue", "--control", n.env["TIDEOVER_BLUE_DSN"]}, journal.AskedData{Verb: "continue"}},
		{[]string{"throttle", "--max-rate", "20", n.runbook}, journal.AskedData{Verb: "throttle", Limits: journal.Limits{MaxRate: 20, MaxChanges: 7}}},
		{[]string{"abort", n.runbook, "--run", n.run}, journal.AskedData{Verb: "abort"}},
		{[]string{"deny", n.runbook, "cutover"}, journal.AskedData{Verb: "deny", Step: "cutover"}},
		{[]string{"deny", "--control", n.env["TIDEOVER_BLUE_DSN"], "cutover"}, journal.AskedData{Verb: "deny", Step: "cutover"}},
	} {
		for _, done := range []bool{true, false} {
			asked := n.answers(done, "as you say")
			o := n.tideover(t.Context(), tt.args...)
			got := asked()
			if got.By == "" || got.Host == "" || got.Command == 0 {
				t.Errorf("%v: nobody asks: %+v", tt.args, got)
			}
			got.By, got.Host, got.Command = "", "", 0
			if got != tt.want {
				t.Errorf("%v: asked %+v, want %+v", tt.args, got, tt.want)
			}
			if code := map[bool]int{true: 0, false: 1}[done]; o.code != code || !strings.Contains(o.stderr, "as you say") || len(o.stdout) > 0 {
				t.Errorf("%v: exit code %d\n%s%s", tt.args, o.code, o.stdout, o.stderr)
			}
		}
	}
	for _, args := range [][]string{{"throttle", n.runbook}, {"throttle", "--max-rate", "-1", n.runbook}, {"deny", n.runbook}, {"pause"}} {
		if o := n.tideover(t.Context(), args...); o.code != 2 {
			t.Errorf("%v: exit code %d\n%s", args, o.code, o.stderr)
		}
	}
}

// Without a process there is nobody to ask; what can be done without one is done.
func TestAskNobody(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.upTo("snapshot").dies()
	if o := n.tideover(t.Context(), "pause", n.runbook); o.code != 1 || !strings.Contains(o.stderr, "nobody to ask") || !strings.Contains(o.stderr, "tideover resume") {
		t.Errorf("pause: exit code %d\n%s", o.code, o.stderr)
	}
	if o := n.tideover(t.Context(), "abort", n.runbook); o.code != 1 || !strings.Contains(o.stderr, "tideover rollback") {
		t.Errorf("abort: exit code %d\n%s", o.code, o.stderr)
	}
	for i, want := range []string{"nobody has approved", "is withdrawn"} {
		if i == 1 {
			if o := n.tideover(t.Context(), "approve", n.runbook, "cutover"); o.code != 0 {
				t.Errorf("approve: exit code %d\n%s", o.code, o.stderr)
			}
		}
		if o := n.tideover(t.Context(), "deny", n.runbook, "cutover"); o.code != 0 || !strings.Contains(o.stderr, want) {
			t.Errorf("deny: exit code %d\n%s", o.code, o.stderr)
		}
	}
	if by, err := n.j.Approved(t.Context(), n.run, "cutover"); err != nil || by != "" {
		t.Errorf("approved by %q, %v", by, err)
	}

	n = newNight(t)
	n.completed()
	for _, args := range [][]string{{"pause"}, {"abort"}, {"throttle", "--max-rate", "1"}} {
		if o := n.tideover(t.Context(), append(args, n.runbook)...); o.code != 1 || !strings.Contains(o.stderr, "has ended: it is completed") {
			t.Errorf("%v: exit code %d\n%s", args, o.code, o.stderr)
		}
	}
}

// Without a terminal, watch prints the events up to the end of the run.
func TestWatchWithoutATerminal(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.completed()
	o := n.tideover(t.Context(), "watch", "--control", n.env["TIDEOVER_BLUE_DSN"])
	if lines := strings.Split(strings.TrimSpace(string(o.stdout)), "\n"); o.code != 0 || !strings.HasSuffix(lines[len(lines)-1], "completed") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}
