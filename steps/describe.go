package steps

import (
	"fmt"
	"strings"

	"github.com/tideover/tideover/plan"
)

// Description is what plan says of a step.
type Description struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	Does string `json:"does"`
	Undo string `json:"undo"`
	Gate bool   `json:"gate,omitempty"`
}

// Describe says what each step of a runbook would do, and how it is taken back. It needs no connection.
func Describe(rb *plan.Runbook) []Description {
	described := make([]Description, 0, len(rb.Steps))
	for _, spec := range rb.Steps {
		does, undo := describe(spec)
		described = append(described, Description{ID: spec.ID, Kind: string(spec.Kind), Does: does, Undo: undo, Gate: spec.Approve})
	}
	return described
}

func describe(spec plan.StepSpec) (does, undo string) {
	switch c := spec.Config.(type) {
	case *plan.PreflightSpec:
		return "looks at both databases, and counts the rows that the new constraints would refuse", "nothing to undo"
	case *plan.TokenLifetimesSpec:
		return fmt.Sprintf("raises access-token lifetimes to %s", c.AccessToken), "restored"
	case *plan.PauseJobsSpec:
		return fmt.Sprintf("pauses %d downstream jobs until the run is over", len(c.Jobs)), "they go on"
	case *plan.CompatViewsSpec:
		return "puts views with explicit columns in front of the tables, and waits until every session of the server uses them", "taken away"
	case *plan.CaptureSpec:
		switch c.Source {
		case "logical":
			return "makes a replication slot on blue that gives every change", "slot dropped"
		case "outbox":
			return fmt.Sprintf("takes every change from %s, which the server writes", c.Outbox), "queue dropped"
		}
		if c.OnError == "mark-incomplete" {
			return "installs triggers on blue that record every change, or mark the run as one that can only be taken back", "triggers removed"
		}
		return "installs triggers on blue that record every change", "triggers removed"
	case *plan.SnapshotSpec:
		return fmt.Sprintf("copies blue into green from one snapshot, %d tables at a time", c.Jobs), "green emptied"
	case *plan.CleanupSpec:
		return fmt.Sprintf("runs the profile's rules %s the migrations", c.Phase), "with green"
	case *plan.MigrateSpec:
		return describeMigrate(c)
	case *plan.ReplaySpec:
		return fmt.Sprintf("brings changes over until at most %d wait, and keeps going", c.UntilLag), "scratch databases dropped"
	case *plan.ValidateSpec:
		if c.Repair {
			return "asks the invariants on both sides, and repairs differences from blue", "nothing to undo"
		}
		return "asks the invariants on both sides", "nothing to undo"
	case *plan.CutoverSpec:
		names := []string{"router"}
		for _, p := range c.Participants {
			names = append(names, p.Name)
		}
		return fmt.Sprintf("hold, fence, last replay, verify, commit (%s), release, within %s", strings.Join(names, ", "), c.Deadline),
			"before the first commit by itself; after it by rollback, which brings revocations back to blue"
	case *plan.MonitorSpec:
		return fmt.Sprintf("watches green for %s; more than %.1f %% of errors stop it", c.For, c.MaxErrorRate*100), "nothing to undo"
	case *plan.RetireSpec:
		return "removes triggers and scratch databases; blue stays, read-only", "none: it is the end"
	}
	return string(spec.Kind), ""
}

func describeMigrate(c *plan.MigrateSpec) (does, undo string) {
	what := "migrations of " + c.Source
	if len(c.Command) > 0 {
		what = strings.Join(c.Command, " ")
	}
	if c.Target == "live" {
		what += " on blue, in place, under the lock budget"
		if len(c.Defer) > 0 {
			what += "; " + strings.Join(c.Defer, " and ") + " wait for retire"
		}
		return what, "none: a point of no return"
	}
	return what + " on green, which serves nobody yet", "green emptied"
}
