package cmd_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
)

func TestRunsAndHistory(t *testing.T) {
	t.Parallel()
	empty := map[string]string{"TIDEOVER_CONTROL_DSN": pgtest.NewDatabase(t)}
	if o := tideover(t.Context(), t, empty, "runs"); o.code != 0 || string(o.stdout) != "no run has been started\n" {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if o := tideover(t.Context(), t, empty, "history", "nobody"); o.code != 1 || !strings.Contains(o.stderr, "tideover runs") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}

	n := newNight(t)
	n.store("", journal.RunUndoing, journal.ReasonData{Reason: "wrong night"}).store("", journal.RunAborted, nil).dies()
	first := n.run
	n.begin()
	n.upTo("preflight").dies()
	lease, err := n.j.Take(t.Context(), n.run, journal.Holder{Host: "ops2", PID: 7, User: "ben"})
	if err != nil {
		t.Fatal(err)
	}
	n.lease = lease
	n.store("preflight", journal.StepFinished, journal.FinishedData{})
	n.store("cutover", journal.GateWaiting, journal.ReasonData{Reason: "waits"}).
		store("cutover", journal.GateApproved, journal.ApprovedData{By: "ana", Host: "laptop", Reason: "it is quiet\x1b[2J"})

	n.env["TIDEOVER_CONTROL_DSN"] = n.env["TIDEOVER_BLUE_DSN"]
	for _, args := range [][]string{{"runs", "--json"}, {"runs", "--json", n.runbook}} {
		var outcomes []string
		for _, line := range strings.Split(strings.TrimSpace(string(n.tideover(t.Context(), args...).stdout)), "\n") {
			var l struct{ Run, Name, Outcome, User, Host string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			if l.Name != "demo" || l.Host != journaltest.Who(1).Host || l.User != "ann" {
				t.Errorf("%+v", l)
			}
			outcomes = append(outcomes, l.Run+" "+l.Outcome)
		}
		if got, want := strings.Join(outcomes, ", "), n.run+" running, "+first+" aborted"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	o := n.tideover(t.Context(), "history", n.run)
	out := string(o.stdout)
	for _, want := range []string{"ann on host", "began the run", "ben on ops2", "taken by pid 7", "ana on laptop", "approved by ana: it is quiet"} {
		if !strings.Contains(out, want) {
			t.Errorf("history lacks %q", want)
		}
	}
	if o.code != 0 || strings.Contains(out, "\x1b") {
		t.Errorf("exit code %d\n%s%s", o.code, out, o.stderr)
	}
	delete(n.env, "TIDEOVER_CONTROL_DSN")
	byFile := n.tideover(t.Context(), "history", n.runbook, "--json")
	if lines := strings.Count(string(byFile.stdout), "\n"); byFile.code != 0 || lines != strings.Count(out, "\n") {
		t.Errorf("by the file: exit code %d, %d lines\n%s", byFile.code, lines, byFile.stderr)
	}
	if o := n.tideover(t.Context(), "history", n.runbook, "--run", first); !strings.Contains(string(o.stdout), "wrong night") {
		t.Errorf("the first run:\n%s%s", o.stdout, o.stderr)
	}
}
