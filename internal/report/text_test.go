package report_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

func full() report.Report {
	return report.Report{
		Outcome: "completed", Run: "r-20260308-0400",
		Requests:       report.Requests{Total: 184233, Held: 412, HoldMSP50: 310.4, HoldMSMax: 851.2, P95MSBefore: 12.14, P95MSAfter: 9.81},
		Revocations:    report.Revocations{Captured: 1204, Replayed: 1204, Verified: 1204, Acknowledged: 1310, InWindow: 96},
		Authorizations: report.Authorizations{Issued: 45220},
		Rows:           report.Rows{Copied: 2400000, Updated: 132500, Inserted: 114700, Quarantined: 3, Repaired: 226},
		Oracle:         report.Oracle{Tables: 23, RowsCompared: 1250332},
		Audit:          &report.Audit{Passes: 1, Rows: map[string]int64{"token": 41000, "client": 12}},
		Cutover:        report.Cutover{HoldMS: 842, FenceMS: 640, Participants: []string{"billing", "router"}},
		LongestBlockMS: 37,
		Steps: []report.StepTime{{ID: "preflight", Seconds: 0.84}, {ID: "capture", Seconds: 1.21}, {ID: "snapshot", Seconds: 37.6},
			{ID: "cleanup", Seconds: 0.46}, {ID: "migrate", Seconds: 12.4}, {ID: "replay", Seconds: 9.3}, {ID: "validate", Seconds: 3.1},
			{ID: "cutover", Seconds: 1.21}, {ID: "monitor", Seconds: 120.3}, {ID: "retire", Seconds: 0.22}},
		Servers: report.Servers{
			Before: report.Server{P95MS: 12.14, RSSMB: 182, HeapMB: 95.3, Goroutines: 1084, CPUCores: 0.42},
			After:  report.Server{P95MS: 9.81, RSSMB: 141, HeapMB: 61.9, Goroutines: 611, CPUCores: 0.3},
		},
		Database: report.Database{RowsUpdated: 132500, RowsInserted: 2514700, TempBytes: 41 << 20, Commits: 1022},
		Notes:    []string{"the access-token lifetime was 1h for 9 minutes"},
	}
}

func broke() report.Report {
	r := full()
	r.Outcome, r.Reason = "failed", "the checker holds 2 things against the run"
	r.Requests.Failed = 1204
	r.Revocations.Replayed, r.Revocations.Verified, r.Revocations.Lost = 1203, 1202, 2
	r.Authorizations.Lost, r.Oracle.Differences = 1, 5
	for i := range 100 {
		r.Findings = append(r.Findings, fmt.Sprintf("revocation %d: the token was accepted again after \x1b[2Jthe switch\n", i))
		r.Notes = append(r.Notes, "note")
		r.Steps = append(r.Steps, report.StepTime{ID: fmt.Sprintf("another-step-%d", i), Seconds: 4000})
	}
	return r
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		report report.Report
	}{
		{"completed", full()},
		{"failed", broke()},
		{"stopped", report.Report{Outcome: "failed", Run: "r1", Reason: "interrupted", Stopped: "blue serves; every failure gives blue back",
			Cutover: report.Cutover{CalledOff: true, HoldMS: 12, Participants: []string{"billing", "router"}}}},
		{"stopped-early", report.Report{Outcome: "aborted", Run: "r1", Reason: "step \"migrate\": waited 3s for a lock"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var plain, coloured strings.Builder
			report.Text(&plain, tt.report, false)
			report.Text(&coloured, tt.report, true)
			golden(t, "text-"+tt.name+".golden", plain.String())
			if lines := strings.Count(plain.String(), "\n"); lines > 40 {
				t.Errorf("%d lines, want 40 at most", lines)
			}
			if strings.Contains(plain.String(), "\x1b") {
				t.Error("an escape sequence without colour")
			}
			if got := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(coloured.String(), ""); got != plain.String() {
				t.Errorf("colour changes the words:\n%s", got)
			}
		})
	}
}

// A run that was put down is not called failed, and a switch that was called off has switched nothing.
func TestTextOfAStoppedRun(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		state journal.State
		says  string
		never []string
	}{
		{"before", journal.State{Phase: journal.Stopped, Stopped: &journal.StoppedData{Reason: "interrupted"}}, "STOPPED  blue serves", []string{"FAILED", "did not end as it should"}},
		{"in the switch", journal.State{Phase: journal.SwitchingStopped, Stopped: &journal.StoppedData{Reason: "x"}, Cutover: journal.Cutover{Last: journal.CutoverHolding, Participants: []string{"router"}}},
			"STOPPED  the switch was cut off", []string{"FAILED", "switched:"}},
		{"called off", journal.State{Phase: journal.Aborted, Cutover: journal.Cutover{Last: journal.CutoverAborted, Participants: []string{"router"}}}, "ABORTED", []string{"switched:"}},
		{"past", journal.State{Phase: journal.SwitchedStopped, PastPointOfNoReturn: true, Stopped: &journal.StoppedData{Reason: "x"},
			Cutover: journal.Cutover{Last: journal.CutoverReleased, HoldMS: 5, Participants: []string{"router"}}}, "switched: router", []string{"FAILED", "called off"}},
	} {
		var b strings.Builder
		report.Text(&b, report.Collect(tt.state), false)
		if !strings.Contains(b.String(), tt.says) {
			t.Errorf("%s: lacks %q:\n%s", tt.name, tt.says, b.String())
		}
		for _, never := range tt.never {
			if strings.Contains(b.String(), never) {
				t.Errorf("%s: says %q:\n%s", tt.name, never, b.String())
			}
		}
	}
}

// What was never measured must not look proved.
func TestTextDoesNotProveWhatNobodyAsked(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	report.Text(&b, report.Report{Outcome: "completed"}, false)
	if strings.Contains(b.String(), "✓") {
		t.Errorf("a mark of proof in an empty report:\n%s", b.String())
	}
}

func TestTextMarksEachBrokenPromise(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*report.Report)
	}{
		{"requests", func(r *report.Report) { r.Requests.Failed = 1 }},
		{"revocations", func(r *report.Report) { r.Revocations.Lost = 1 }},
		{"revocations", func(r *report.Report) { r.Revocations.Replayed-- }},
		{"revocations", func(r *report.Report) { r.Revocations.Verified-- }},
		{"authorizations", func(r *report.Report) { r.Authorizations.Lost = 1 }},
		{"oracle", func(r *report.Report) { r.Oracle.Differences = 1 }},
	} {
		r := full()
		tt.change(&r)
		var b strings.Builder
		report.Text(&b, r, false)
		if !strings.Contains(b.String(), "  ✗ "+tt.name) {
			t.Errorf("%s is broken and not marked:\n%s", tt.name, b.String())
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ got, want string }{
		{report.Thousands(0), "0"}, {report.Thousands(999), "999"}, {report.Thousands(1000), "1,000"},
		{report.Thousands(int64(-1234567)), "-1,234,567"}, {report.Thousands(int64(-1 << 63)), "-9,223,372,036,854,775,808"},
		{report.Bytes(1023), "1023 B"}, {report.Bytes(1536), "1.5 KB"}, {report.Bytes(1<<20 - 1), "1.0 MB"}, {report.Bytes(41 << 20), "41 MB"},
		{report.Took(-time.Second), "0.0s"}, {report.Took(9960 * time.Millisecond), "10s"}, {report.Took(59600 * time.Millisecond), "1m00s"},
		{report.Took(185 * time.Second), "3m05s"}, {report.Took(time.Hour - time.Millisecond), "1h00m"}, {report.Took(127 * time.Minute), "2h07m"},
		{report.Plain("a\x1b[31m\nb\u202e"), "a[31m b"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
