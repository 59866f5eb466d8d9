package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/invariant"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/replay"
)

// Verdict is how blue and green compare.
type Verdict struct {
	Serving     string           `json:"serving"` // "blue", "green", or "nobody" while blue is fenced
	Invariants  VerdictParts     `json:"invariants"`
	Revocations *VerdictRevoked  `json:"revocations,omitempty"` // none where blue's changes are not recorded
	Full        *VerdictCompared `json:"full,omitempty"`
}

// VerdictParts are the profile's invariants.
type VerdictParts struct {
	Asked       int                    `json:"asked"`
	Differences []invariant.Difference `json:"differences"`
}

// VerdictRevoked is what was revoked on blue, and what green refuses of it.
type VerdictRevoked struct {
	replay.Tally
	Kinds       map[string]replay.Tally `json:"kinds"`
	Asked       int64                   `json:"asked"`
	Waiting     int                     `json:"waiting"` // changes and revocations that replay has still to bring
	Differences []string                `json:"differences"`
}

// VerdictCompared is blue's present state, migrated offline, against green.
type VerdictCompared struct {
	Tables      int                 `json:"tables"`
	Rows        int64               `json:"rows"`
	Count       int64               `json:"count"`         // of differences; of each table the first thousand are listed
	Later       int64               `json:"changed_since"` // rows that green's own clients have changed since the switch
	Differences []oracle.Difference `json:"differences"`
}

// Differ counts the differences.
func (v *Verdict) Differ() int64 {
	n := int64(len(v.Invariants.Differences))
	if v.Revocations != nil {
		n += int64(len(v.Revocations.Differences))
	}
	if v.Full != nil {
		n += v.Full.Count
	}
	return n
}

// While blue is written, what differs in one round can be on its way. What differs alike in so many is not.
const (
	verifyRounds = 3
	verifyPause  = time.Second
)

// greenMark is the figure that says where green's own transactions begin.
const greenMark = "green.mark"

// Verify compares both sides outside of a run, and changes nothing on them. With full it also migrates blue's present state
// offline, in a database on green's server that it drops again. state is the run's, or the zero value.
func Verify(ctx context.Context, u Upgrade, state journal.State, full bool) (v Verdict, err error) {
	rb, env := u.Runbook, &Env{Upgrade: u, State: func() journal.State { return state }}
	if rb.InPlace() {
		return v, fmt.Errorf("runbook %s upgrades one database in place: there are no two sides to compare", rb.Path)
	}
	defer env.close()
	if err := env.connect(ctx); err != nil {
		return v, err
	}
	if v.Serving, err = env.serving(ctx); err != nil {
		return v, err
	}
	if err := env.verifyInvariants(ctx, &v); err != nil {
		return v, err
	}
	if err := env.verifyRevocations(ctx, &v); err != nil {
		return v, err
	}
	if full {
		err = env.verifyFull(ctx, &v)
	}
	return v, err
}

// serving says which side takes writes.
func (e *Env) serving(ctx context.Context) (string, error) {
	if e.pastPointOfNoReturn() && e.State().Phase != journal.RolledBack {
		return "green", nil
	}
	fenced, err := e.blueFence().Raised(ctx)
	if fenced {
		return "nobody", err
	}
	return "blue", err
}

// rounds asks until two answers in a row have nothing in common, or until what they have in common has lasted.
func rounds[D comparable](ctx context.Context, live bool, ask func() ([]D, error)) ([]D, error) {
	var lasting []D
	for round := 1; ; round++ {
		found, err := ask()
		if err != nil {
			return nil, err
		}
		if round > 1 {
			found = slices.DeleteFunc(found, func(d D) bool { return !slices.Contains(lasting, d) })
		}
		lasting = found
		if !live || len(lasting) == 0 || round == verifyRounds {
			return lasting, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(verifyPause):
		}
	}
}

func (e *Env) verifyInvariants(ctx context.Context, v *Verdict) error {
	asked := (&validateStep{env: e}).asked()
	v.Invariants.Asked = len(asked)
	var err error
	v.Invariants.Differences, err = rounds(ctx, v.Serving == "blue", func() ([]invariant.Difference, error) {
		return invariant.Check(ctx, e.Blue, e.Green, e.Profile.Schema, asked)
	})
	return err
}

func (e *Env) verifyRevocations(ctx context.Context, v *Verdict) error {
	found, err := replay.Verify(ctx, e.Blue, e.Green, e.Profile, 0)
	if errors.Is(err, replay.ErrNoCapture) {
		return nil
	}
	if err != nil {
		return err
	}
	v.Revocations = &VerdictRevoked{Tally: found.Tally, Kinds: found.Kinds, Asked: found.Asked, Waiting: len(found.Waiting), Differences: found.Differences}
	if v.Serving == "blue" {
		v.Revocations.Differences = slices.DeleteFunc(found.Differences, func(d string) bool { return slices.Contains(found.Waiting, d) })
	}
	return nil
}

func (e *Env) verifyFull(ctx context.Context, v *Verdict) (err error) {
	v.Full, err = e.compareAll(ctx, v.Serving == "blue", func() error { return nil })
	return err
}

// compareAll compares every row of green with a migration of blue's present state. On a blue that is written (live) a difference
// counts that stays for several rounds; settle comes before each of them.
func (e *Env) compareAll(ctx context.Context, live bool, settle func() error) (*VerdictCompared, error) {
	migrator, err := e.judge()
	if err != nil {
		return nil, err
	}
	approved := map[string]int64{}
	for _, rule := range e.Profile.Rules {
		approved[rule.Name] = math.MaxInt64 // what a person has to approve is the run's business
	}
	rules := cleanup.New(e.Profile.Rules, cleanup.Options{Schemas: e.Profile.Schemas(), Approved: approved})
	var last oracle.Comparison
	var later int64
	byName := map[string]oracle.Difference{}
	kept, err := rounds(ctx, live, func() ([]string, error) {
		if err := settle(); err != nil {
			return nil, err
		}
		if last, later, err = e.compareOnce(ctx, migrator, rules); err != nil {
			return nil, err
		}
		if live { // sequences come along in the hold
			last.Ignore(func(d oracle.Difference) bool {
				return d.Kind == oracle.Schema && slices.Equal(d.Columns, []string{oracle.Behind})
			})
		}
		var names []string
		for _, d := range last.Differences {
			byName[d.String()] = d
			names = append(names, d.String())
		}
		return names, nil
	})
	if err != nil {
		return nil, err
	}
	full := &VerdictCompared{Tables: last.Tables, Rows: last.Rows, Count: last.Count - int64(len(last.Differences)-len(kept)), Later: later}
	for _, name := range kept {
		full.Differences = append(full.Differences, byName[name])
	}
	return full, nil
}

// compareOnce migrates blue as it is now and compares green with it.
func (e *Env) compareOnce(ctx context.Context, m oracle.Migrator, rules *cleanup.Runner) (c oracle.Comparison, later int64, err error) {
	reference, err := oracle.Expected(ctx, e.Blue, e.Green, e.Profile, m, rules, "")
	if err != nil {
		return c, 0, err
	}
	defer reference.Drop()
	expected, err := postgres.Connect(ctx, "oracle", reference.DSN)
	if err != nil {
		return c, 0, err
	}
	defer expected.Close(context.WithoutCancel(ctx))
	actual, err := e.Green.ConnectAs(ctx, "oracle")
	if err != nil {
		return c, 0, err
	}
	defer actual.Close(context.WithoutCancel(ctx))
	clock := reference.Clock
	if clock.Since, err = oracle.Ago(ctx, actual, e.State().Started); err != nil {
		return c, 0, err
	}
	if c, err = oracle.Compare(ctx, expected, actual, e.Profile, clock); err != nil {
		return c, 0, err
	}
	if mark, ok, err := e.greenSince(); err != nil || !ok {
		return c, 0, err
	} else if later, err = c.SetAside(ctx, actual, e.Profile, mark); err != nil {
		return c, 0, err
	}
	return c, later, nil
}

// greenSince is the number of green's first transaction after the switch; false before it.
func (e *Env) greenSince() (mark uint64, ok bool, err error) {
	raw, ok := e.State().Figures[greenMark]
	if !ok || !e.pastPointOfNoReturn() {
		return 0, false, nil
	}
	if err := json.Unmarshal(raw, &mark); err != nil {
		return 0, false, fmt.Errorf("figure %q: %w", greenMark, err)
	}
	return mark, true, nil
}
