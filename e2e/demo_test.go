package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/internal/report"
)

// TestDemo is the main job: the whole upgrade under traffic, with nothing lost. It is what the demo does, less its waits for
// the eye.
func TestDemo(t *testing.T) {
	quick.Skip(t)
	runbook := briskRunbook(t, "demo.yaml")
	t.Chdir(t.TempDir())
	o := tideover(t.Context(), t, nil, "rehearse", runbook, "--json", "--size", "tiny", "--keep")
	if o.code != 0 {
		t.Fatalf("exit code %d\n%s", o.code, o.stderr)
	}
	r := reportOf(t, o)
	wantClean(t, r)
	if r.Requests.Total == 0 || r.Revocations.Acknowledged == 0 || r.Revocations.InWindow == 0 {
		t.Errorf("too little was tried to prove anything: %+v %+v", r.Requests, r.Revocations)
	}
	if r.Revocations.Captured == 0 || r.Revocations.Captured != r.Revocations.Replayed || r.Revocations.Replayed != r.Revocations.Verified {
		t.Errorf("captured = replayed = verified must hold: %+v", r.Revocations)
	}
	if r.Oracle.Tables == 0 || r.Oracle.RowsCompared == 0 {
		t.Errorf("the oracle compared nothing: %+v", r.Oracle)
	}
	if r.Rows.Repaired == 0 || r.Rows.Quarantined == 0 {
		t.Errorf("the seeded offending rows were not met: %+v", r.Rows)
	}
	keptByDemo(t, o, r)
}

// keptByDemo looks at what --keep has left: the judges come to the same end from it.
func keptByDemo(t *testing.T, o outcome, r report.Report) {
	t.Helper()
	dirs, err := filepath.Glob("tideover-demo-*")
	if err != nil || len(dirs) != 1 || !strings.Contains(o.stderr, dirs[0]) {
		t.Fatalf("--keep has left %v (%v), and stderr says\n%s", dirs, err, o.stderr)
	}
	f, err := os.Open(filepath.Join(dirs[0], "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := traffic.ReadHistory(f)
	if err != nil {
		t.Fatal(err)
	}
	if v := traffic.Check(h); len(v.Findings) > 0 || v.Requests != r.Requests.Total {
		t.Errorf("the kept history: %s", v)
	}
	busyBetween(t, h, "before", "run", "replay", traffic.MarkHold, traffic.MarkReleased, "after", "end")
	var kept report.Report
	data, err := os.ReadFile(filepath.Join(dirs[0], "report.json"))
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil || kept.Outcome != "completed" || kept.Kept != dirs[0] && kept.Kept != "./"+dirs[0] {
		t.Errorf("the kept report: %v, outcome %q, kept in %q", err, kept.Outcome, kept.Kept)
	}
	for _, name := range []string{"runbook.yaml", "events.jsonl", "report.txt", "blue-postgres.log", "green-postgres.log", "blue.dump", "green.dump"} {
		if info, err := os.Stat(filepath.Join(dirs[0], name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	tellsNoToken(t, dirs[0], o)
}

// tellsNoToken looks whether a token is in anything that a demo printed or kept but the dumps. The databases hold the
// hash of every token: so each word is hashed, and must not be one of theirs.
func tellsNoToken(t *testing.T, dir string, o outcome) {
	t.Helper()
	hashes := map[string]bool{}
	for _, side := range []string{"blue", "green"} {
		rows, err := exec.CommandContext(t.Context(), "pg_restore", "--data-only", "--file=-", filepath.Join(dir, side+".dump")).Output()
		if err != nil {
			t.Fatalf("read %s's dump: %v", side, err)
		}
		for _, hash := range regexp.MustCompile(`\b[0-9a-f]{64}\b`).FindAllString(string(rows), -1) {
			hashes[hash] = true
		}
	}
	if len(hashes) < 1000 {
		t.Fatalf("only %d hashes in the dumps", len(hashes))
	}
	texts := map[string][]byte{"stdout": o.stdout, "stderr": []byte(o.stderr)}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".dump" {
			if texts[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range texts {
		for _, w := range words.FindAll(text, -1) {
			if hashes[authserver.Signature(string(w))] {
				t.Errorf("%s shows a token: %.8s…", name, w)
			}
		}
	}
}

// TestThereAndBack rolls the demo's run back when green has served for a while.
func TestThereAndBack(t *testing.T) {
	slice.In(t, 6)
	o := tideover(t.Context(), t, onPair(t), "rehearse", briskRunbook(t, "demo.yaml"), "--json", "--size", "tiny", "--and-back")
	if o.code != 0 {
		t.Fatalf("exit code %d\n%s", o.code, o.stderr)
	}
	r := reportOf(t, o)
	if r.Outcome != "rolled_back" || r.Requests.Failed != 0 || r.Revocations.Lost != 0 || r.Authorizations.Lost != 0 || r.Oracle.RowsCompared == 0 || len(r.Findings) != 0 {
		t.Errorf("outcome %s, %+v, %+v, %+v, %+v\n%s", r.Outcome, r.Requests, r.Revocations, r.Authorizations, r.Oracle, strings.Join(r.Findings, "\n"))
	}
}

func wantClean(t *testing.T, r report.Report) {
	t.Helper()
	if r.Outcome != "completed" || r.Requests.Failed != 0 || r.Revocations.Lost != 0 || r.Authorizations.Lost != 0 || r.Oracle.Differences != 0 || len(r.Findings) != 0 {
		t.Errorf("outcome %s, failed %d, lost revocations %d, lost authorizations %d, oracle differences %d\n%s", r.Outcome,
			r.Requests.Failed, r.Revocations.Lost, r.Authorizations.Lost, r.Oracle.Differences, strings.Join(r.Findings, "\n"))
	}
}

// TestFaults switches one safeguard off at a time. The judges must report just the loss that follows: a judge that
// can't say no makes every green run worthless.
func TestFaults(t *testing.T) {
	quick.Skip(t)
	tests := []struct {
		fault string
		// lost says whether the report names the loss.
		lost func(report.Report) bool
		says string
	}{
		{"no-capture", func(r report.Report) bool {
			return r.Revocations.Lost > 0 && r.Authorizations.Lost > 0 && r.Oracle.Differences > 0
		}, "lost revocations, lost authorizations and oracle differences"},
		{"no-last-replay", func(r report.Report) bool {
			return r.Revocations.Lost+r.Authorizations.Lost > 0 && r.Oracle.Differences > 0
		}, "something lost and oracle differences"},
		{"no-fence", func(r report.Report) bool {
			return slices.ContainsFunc(r.Findings, func(f string) bool { return strings.Contains(f, "two-writers") }) && r.Oracle.Differences > 0
		}, "two writers and oracle differences"},
		{"no-repair", func(r report.Report) bool {
			older := slices.ContainsFunc(r.Findings, func(f string) bool { return strings.Contains(f, "older than the run") })
			return r.Authorizations.Lost > 0 && r.Oracle.Differences > 0 && older
		}, "lost authorizations, also of sessions that are older than the run, and oracle differences"},
		{"no-carry", func(r report.Report) bool { return r.Outcome == "rolled_back" && r.Authorizations.Lost > 0 }, "apps lost on the way back"},
		{"no-reverse", func(r report.Report) bool { return r.Outcome == "rolled_back" && r.Revocations.Lost > 0 }, "revocations lost on the way back"},
	}
	for _, tt := range slice.Pick(t, 0, tests) {
		t.Run(tt.fault, func(t *testing.T) {
			args := []string{"demo", "--json", "--size", "small", "--fault", tt.fault}
			if tt.fault == "no-reverse" || tt.fault == "no-carry" {
				args = append(args, "--and-back")
			}
			o := tideover(t.Context(), t, onPair(t), args...)
			if o.code != 5 {
				t.Fatalf("exit code %d, want 5\n%s", o.code, o.stderr)
			}
			r := reportOf(t, o)
			if !tt.lost(r) {
				t.Errorf("want %s; got revocations %+v, authorizations %+v, oracle %+v\n%s", tt.says, r.Revocations, r.Authorizations,
					r.Oracle, strings.Join(r.Findings, "\n"))
			}
		})
	}
}
