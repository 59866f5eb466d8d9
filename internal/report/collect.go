package report

import (
	"encoding/json"
	"strings"

	"github.com/tideover/tideover/internal/journal"
)

// Collect begins a report with all that the journal knows of a run.
func Collect(s journal.State) Report {
	r := Report{Outcome: outcome(s.Phase), Run: s.Run, Steps: []StepTime{}}
	r.Reason = s.Reason
	if s.Stopped != nil {
		r.Reason, r.Stopped = s.Stopped.Reason, standingNow(&s, nil)
	}
	for _, st := range s.Steps {
		if st.Attempts > 0 {
			r.Steps = append(r.Steps, StepTime{ID: st.ID, Seconds: st.Seconds})
		}
	}
	for _, st := range s.Steps {
		r.Migrations = append(r.Migrations, figure[[]journal.StatementTime](s, "migrations."+st.ID)...)
	}
	r.Cutover = Cutover{HoldMS: s.Cutover.HoldMS, FenceMS: s.Cutover.FenceMS, Participants: s.Cutover.Participants}
	if r.Cutover.Participants == nil {
		r.Cutover.Participants = []string{}
	}
	r.Cutover.CalledOff = s.Cutover.Last != "" && !s.PastPointOfNoReturn
	r.Audit = figure[*Audit](s, "audit")
	r.Rows.Copied = figure[int64](s, "rows.copied")
	r.Rows.Quarantined = sum(s, "rows.quarantined.")
	r.Rows.Repaired = sum(s, "rows.repaired.")
	r.Revocations.Captured = figure[int64](s, "revocations.captured")
	r.Revocations.Replayed = figure[int64](s, "revocations.replayed")
	r.Revocations.Verified = figure[int64](s, "revocations.verified")
	for _, n := range s.Notes {
		if n.Level == "warn" {
			r.Notes = append(r.Notes, n.Step+": "+n.Text)
		}
	}
	return r
}

func outcome(p journal.Phase) string {
	switch p {
	case journal.Completed:
		return "completed"
	case journal.Aborted:
		return "aborted"
	case journal.RolledBack:
		return "rolled_back"
	}
	return "failed"
}

func figure[T any](s journal.State, name string) T {
	var v T
	if raw, ok := s.Figures[name]; ok {
		_ = json.Unmarshal(raw, &v) // of another version: zero, since a report must not fail
	}
	return v
}

// sum adds up the figures whose names begin with prefix, one for each step.
func sum(s journal.State, prefix string) int64 {
	var total int64
	for name := range s.Figures {
		if strings.HasPrefix(name, prefix) {
			total += figure[int64](s, name)
		}
	}
	return total
}
