package steps

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tideover/tideover/plan"
)

// TestFinishInPlace: an upgrade in place has no other side to clean, and lets jobs go on all the same.
func TestFinishInPlace(t *testing.T) {
	t.Parallel()
	job := filepath.Join(t.TempDir(), "job")
	if err := os.WriteFile(job, []byte("paused"), 0o600); err != nil {
		t.Fatal(err)
	}
	jobs := []plan.ParticipantSpec{plan.NewParticipant("janitor", &plan.FileSpec{Path: job, Blue: "goes on", Green: "paused"})}
	env := &Env{Run: "r", Term: 1, Upgrade: Upgrade{Runbook: &plan.Runbook{Steps: []plan.StepSpec{
		{ID: "pause", Kind: plan.PauseJobs, Config: &plan.PauseJobsSpec{Jobs: jobs}},
		{ID: "migrate", Kind: plan.Migrate, Config: &plan.MigrateSpec{Target: "live"}},
		{ID: "retire", Kind: plan.Retire, Config: &plan.RetireSpec{}},
	}}}}
	built, err := Build(env)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may come again after a crash
		if err := built[2].Run(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if content, err := os.ReadFile(job); err != nil || string(content) != "goes on" {
			t.Errorf("the job is %q, %v", content, err)
		}
	}
}
