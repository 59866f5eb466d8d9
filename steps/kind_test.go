package steps

import (
	"context"
	"strings"
	"testing"

	"github.com/tideover/tideover/plan"
)

// TestEveryKind: each kind that a runbook can name is built and told, and a plan that says "none" is of a point of no
// return.
func TestEveryKind(t *testing.T) {
	t.Parallel()
	for _, name := range plan.Kinds() {
		configs := []any{plan.NewConfig(name)}
		if name == plan.Migrate {
			configs = []any{&plan.MigrateSpec{Target: "offline"}, &plan.MigrateSpec{Target: "live"}}
		}
		for _, config := range configs {
			rb := &plan.Runbook{Steps: []plan.StepSpec{{ID: "a", Kind: name, Config: config}}}
			built, err := Build(&Env{Upgrade: Upgrade{Runbook: rb, Profile: &plan.Profile{}}})
			if err != nil {
				t.Errorf("%v", err)
				continue
			}
			told := Describe(rb)[0]
			if told.Does == "" || told.Undo == "" {
				t.Errorf("%s: plan says %q, undo %q", name, told.Does, told.Undo)
			}
			if _, irreversible := built[0].(Irreversible); irreversible != strings.HasPrefix(told.Undo, "none: ") {
				t.Errorf("%s: plan says %q of its undo, a point of no return: %t", name, told.Undo, irreversible)
			}
		}
	}
}

type forgetful struct{ base }

func (forgetful) Done(context.Context) (bool, error)   { return false, nil }
func (forgetful) Run(context.Context, *Progress) error { return nil }

// TestForgottenUndo: a step that has no Undo and does not say why is a mistake, not a point of no return.
func TestForgottenUndo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		step Step
		ok   bool
	}{
		{"neither", forgetful{}, false},
		{"nothing to undo", struct {
			forgetful
			NothingToUndo
		}{}, true},
		{"point of no return", struct {
			forgetful
			pointOfNoReturn
		}{}, true},
		{"both", struct {
			forgetful
			NothingToUndo
			pointOfNoReturn
		}{}, false},
	} {
		build := func(base, *Env, *plan.RetireSpec) Step { return tt.step }
		k := kindOf(plan.Retire, build, func(*plan.RetireSpec) (string, string) { return "", "" })
		_, err := k.step(nil, &plan.StepSpec{ID: "a", Kind: plan.Retire, Config: &plan.RetireSpec{}})
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
