package plan

import (
	"fmt"
	"slices"
)

// moment is a step kind at one point of a run: clean-up is two of them, and so is migrate.
type moment string

const (
	cleanupBefore moment = "cleanup (phase: before)"
	cleanupAfter  moment = "cleanup (phase: after)"
	offline       moment = "migrate (target: offline)"
	live          moment = "migrate (target: live)"
)

func momentOf(s StepSpec) moment {
	switch c := s.Config.(type) {
	case *CleanupSpec:
		if c.Phase == "after" {
			return cleanupAfter
		}
		return cleanupBefore
	case *MigrateSpec:
		if c.Target == "live" {
			return live
		}
		return offline
	}
	return moment(s.Kind)
}

// precedence is a pair of moments that can only come in this order, and what goes wrong in the other.
type precedence struct {
	first, then moment
	because     string
}

var order = []precedence{
	{"token-lifetimes", "capture", "the change of every client is captured"},
	{"pause-jobs", "snapshot", "clean-up jobs go on while blue is copied"},
	{"capture", "snapshot", "changes made during the copy are lost"},
	{"snapshot", cleanupBefore, "green is still empty"},
	{"snapshot", offline, "green is still empty"},
	{cleanupBefore, offline, "the migrations meet the rows that it repairs"},
	{offline, cleanupAfter, "its rules meet the old schema"},
	{offline, "replay", "changes of the new shape meet the old schema"},
	{cleanupAfter, "replay", "it meets rows that are newer than the copy"},
	{offline, "validate", "its questions meet the old schema"},
	{"compat-views", live, "the server in use meets columns that it doesn't know"},
	{live, "validate", "its questions meet the old schema"},
	{offline, "cutover", "green's server meets the old schema"},
	{"replay", "cutover", "all changes are carried over while requests wait"},
	{"token-lifetimes", "cutover", "it comes when blue writes no tokens any more"},
	{"cutover", "monitor", "there is nothing to watch yet"},
	{live, "monitor", "there is nothing to watch yet"},
}

// needs says which moments (one of them) a moment can't do without.
var needs = []struct {
	step moment
	any  []moment
	way  string
}{
	{cleanupBefore, []moment{"snapshot"}, "clean-up works on the copy"},
	{cleanupAfter, []moment{offline}, "these rules are written for the new schema"},
	{offline, []moment{"snapshot"}, "the migrations run on the copy"},
	{"compat-views", []moment{live}, "views are for a database that is migrated while it serves"},
	{"replay", []moment{"capture"}, "only captured changes can be replayed"},
	{"replay", []moment{offline}, "changes go through the same migrations as the copy"},
	{"validate", []moment{offline, live}, "there is nothing to compare"},
	{"cutover", []moment{offline}, "green has nothing to serve"},
	{"monitor", []moment{"cutover", live}, "there is nothing to watch"},
}

// once lists what a runbook has at most once.
var once = []moment{
	"preflight", "token-lifetimes", "pause-jobs", "compat-views", "capture", "snapshot", cleanupBefore, offline, cleanupAfter,
	"replay", "cutover", "retire",
}

// checkOrder holds the steps against the tables above.
func (d *decoder) checkOrder(rb *Runbook) {
	steps := make([]moment, len(rb.Steps))
	first := make(map[moment]int)
	for i, s := range rb.Steps {
		if s.Config == nil || s.Kind == Migrate && s.Config.(*MigrateSpec).Target == "" ||
			s.Kind == Cleanup && s.Config.(*CleanupSpec).Phase == "" {
			return // said already; whatever is said of the order now would be a guess
		}
		m := momentOf(s)
		steps[i] = m
		if before, ok := first[m]; ok && slices.Contains(once, m) {
			d.add(item("steps", i), "a runbook has one "+string(m), "%s is steps[%d] already", m, before)
			continue
		}
		if _, ok := first[m]; !ok {
			first[m] = i
		}
	}
	d.checkNeeds(first)
	for _, p := range order {
		i, ok := first[p.first]
		j := slices.Index(steps, p.then)
		if ok && j >= 0 && j < i {
			d.add(item("steps", j), fmt.Sprintf("move it behind steps[%d]: as it stands, %s", i, p.because), "%s comes before %s", p.then, p.first)
		}
	}
	if i, ok := first["preflight"]; ok && i > 0 {
		d.add(item("steps", i), "make it the first step: it looks before anything is changed", "preflight comes after %s", steps[0])
	}
	if i, ok := first["retire"]; ok && i < len(steps)-1 {
		d.add(item("steps", i), "make it the last step: it removes what the others need", "retire comes before %s", steps[i+1])
	}
	d.checkLive(steps)
	d.checkDeferred(rb)
}

// checkDeferred: what a migration puts off is run by retire, which must not come while the old server serves.
func (d *decoder) checkDeferred(rb *Runbook) {
	for i, s := range rb.Steps {
		m, ok := s.Config.(*MigrateSpec)
		if !ok || len(m.Defer) == 0 {
			continue
		}
		if j := slices.IndexFunc(rb.Steps, func(s StepSpec) bool { return s.Kind == Retire && s.Approve }); j < 0 {
			d.add(join(item("steps", i), "defer"), "end the runbook with a `retire` that has `approve: true`, and approve it when the old server is gone",
				"nothing runs what is put off")
		}
	}
}

func (d *decoder) checkNeeds(first map[moment]int) {
	for _, n := range needs {
		i, ok := first[n.step]
		if !ok || slices.ContainsFunc(n.any, func(m moment) bool { _, there := first[m]; return there }) {
			continue
		}
		want := string(n.any[0])
		for _, m := range n.any[1:] {
			want += " or " + string(m)
		}
		d.add(item("steps", i), n.way, "%s needs %s before it", n.step, want)
	}
}

// checkLive keeps the two ways of upgrading apart.
func (d *decoder) checkLive(steps []moment) {
	i := slices.Index(steps, live)
	if i < 0 {
		return
	}
	for j, m := range steps {
		switch m {
		case "capture", "snapshot", cleanupBefore, cleanupAfter, offline, "replay", "cutover":
			d.add(item("steps", j), "an upgrade in place has no green: write two runbooks, one for each upgrade",
				"%s and %s (steps[%d]) can't be in one runbook", m, live, i)
		}
	}
}
