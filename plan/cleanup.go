package plan

import (
	"fmt"
	"maps"
	"slices"
)

// Cleanup runs the profile's rules of one phase.
const Cleanup StepKind = "cleanup"

// CleanupSpec are the fields of a cleanup.
type CleanupSpec struct {
	Phase   string           `yaml:"phase"`        // "before" or "after" the migrations
	Approve map[string]int64 `yaml:"approve_rows"` // rule → rows that a person has approved, above expect_at_most
}

const (
	cleanupBefore moment = "cleanup (phase: before)"
	cleanupAfter  moment = "cleanup (phase: after)"
)

var cleanup = kind{
	name:     Cleanup,
	standard: CleanupSpec{},
	fields: fields{
		"phase":        {Doc: "Which rules run: those before or after the migrations.", Required: true, Enum: []string{"before", "after"}},
		"approve_rows": {Doc: "Rule → rows that a person has approved, above the rule's `expect_at_most`."},
	},
	check: checked(func(d *decoder, _ *Runbook, path string, c *CleanupSpec) {
		for rule, rows := range c.Approve {
			if rows < 0 {
				d.add(join(join(path, "approve_rows"), shown(rule)), "", "must be at least 0")
			}
		}
	}),
	fit:     fitCleanup,
	hazards: cleanupHazards,
	order: order{
		after: []precedence{
			{"snapshot", cleanupBefore, "green is still empty"},
			{offline, cleanupAfter, "its rules meet the old schema"},
		},
		moment: func(config any) moment {
			return map[string]moment{"before": cleanupBefore, "after": cleanupAfter}[config.(*CleanupSpec).Phase]
		},
		onGreen: []moment{cleanupBefore, cleanupAfter},
		needs: []need{
			{cleanupBefore, []moment{"snapshot"}, "clean-up works on the copy"},
			{cleanupAfter, []moment{offline}, "these rules are written for the new schema"},
		},
	},
}

func fitCleanup(f *fitting, config any) {
	c := config.(*CleanupSpec)
	var rules []string
	for _, r := range f.p.Rules {
		if r.Phase == c.Phase {
			rules = append(rules, r.Name)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(c.Approve)) {
		if !slices.Contains(rules, rule) {
			f.add("approve_rows."+shown(rule), suggest(rule, rules), "profile "+f.p.Name+" has no such rule in phase "+c.Phase)
		}
	}
}

func cleanupHazards(h *hazards) {
	copied := h.rb.Step(Snapshot)
	if copied == nil {
		return
	}
	for _, phase := range []string{"before", "after"} {
		count := 0
		for _, r := range h.p.Rules {
			if r.Phase == phase {
				count++
			}
		}
		runs := false
		for _, s := range h.rb.Steps {
			c, ok := s.Config.(*CleanupSpec)
			runs = runs || ok && c.Phase == phase
		}
		if count > 0 && !runs {
			cause := h.rb.Step(Migrate)
			if cause == nil {
				cause = copied
			}
			h.add(AuthorizationsKept, cause, fmt.Sprintf("add `- step: cleanup` with `phase: %s`", phase),
				"the profile's %d rules for %s the migrations do not run on the copy: rows that they repair are lost or wrong on green", count, phase)
		}
	}
}
