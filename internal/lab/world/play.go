package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verdict is what came of a world.
type Verdict string

const (
	Equal   Verdict = "equal"   // green is blue's last state, migrated
	Refused Verdict = "refused" // stopped before the hold with a reason, or in it for what a client did there, and taken back
	Wrong   Verdict = "wrong"   // anything else
)

// Outcome is a verdict with its evidence.
type Outcome struct {
	Verdict  Verdict
	Reason   string   // of a refusal: error and hint
	Early    bool     // the refusal came before the copy
	Findings []string // what is wrong
	Took     time.Duration
	Log      string // what the program said, for a person
}

func (o *Outcome) find(format string, args ...any) {
	o.Verdict = Wrong
	o.Findings = append(o.Findings, fmt.Sprintf(format, args...))
}

// limit is how long a world may take on a busy machine before it counts as stuck.
const limit = 3 * time.Minute

// inHold are reasons for which a switch may be called off in the hold: what a client does there can't be seen before.
var inHold = []string{"blue's schema has changed since it was copied", "it went while the key was off"}

// Play takes a world through an upgrade and judges it. An error is one of the world itself, such as SQL of its own that
// Postgres does not take, or of the machine: it says nothing of the program.
func (p *Pair) Play(ctx context.Context, w *World) (o Outcome, err error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, err := p.set(ctx, w)
	defer func() {
		o.Took = time.Since(start)
		if p.Keep && o.Verdict == Wrong {
			return
		}
		err = errors.Join(err, s.strike(context.WithoutCancel(ctx)))
	}()
	if err != nil {
		return o, err
	}
	r := newRun(s)
	o.Verdict = Equal
	code, err := r.upgrade(ctx)
	o.Log = r.log()
	if err != nil {
		if ctx.Err() != nil {
			o.find("stuck: it did not end within %s", limit)
			return o, nil
		}
		return o, err
	}
	for _, e := range r.writers.errors {
		o.find("a client's write failed: %s", e)
	}
	if code == 0 {
		s.judgeGreen(ctx, &o)
		return o, nil
	}
	o.refused(r, code)
	return o, r.takeBack(ctx, &o)
}

// refused judges a run that did not come to its end.
func (o *Outcome) refused(r *run, code int) {
	o.Reason, o.Early = r.reason(), !r.copied
	switch {
	case r.held && code == 4 && slices.ContainsFunc(inHold, func(text string) bool { return strings.Contains(o.Reason, text) }) && o.Verdict == Equal:
		o.Verdict = Refused
	case r.held:
		o.find("stopped in the hold, or after it, with exit status %d: %s", code, o.Reason)
	case code != 1 && code != 2 && code != 4 && code != 5:
		o.find("exit status %d: %s", code, o.Reason)
	case strings.Contains(o.Reason, "audit: green is not"):
		o.find("green went wrong, or the audit did: %s", o.Reason)
	case o.Verdict == Equal:
		o.Verdict = Refused
	}
}

func (s *scene) judgeGreen(ctx context.Context, o *Outcome) {
	found, err := s.judge(ctx)
	if m := new(migrationError); errors.As(err, &m) {
		o.find("completed, although %v", m)
		return
	}
	if err != nil {
		o.find("the judge: %v", err)
	}
	for _, f := range found {
		o.find("%s", f)
	}
}

// leftQuery lists what of ours is on blue after a run was taken back; the journal stays.
const leftQuery = `
SELECT pg_catalog.format('trigger %s on %s', tgname, tgrelid::pg_catalog.regclass) FROM pg_catalog.pg_trigger
	WHERE NOT tgisinternal AND tgname LIKE 'tideover%'
UNION ALL SELECT 'event trigger ' || evtname FROM pg_catalog.pg_event_trigger WHERE evtname LIKE 'tideover%'
UNION ALL SELECT 'slot ' || slot_name FROM pg_catalog.pg_replication_slots WHERE database = pg_catalog.current_database()
UNION ALL SELECT 'publication ' || pubname FROM pg_catalog.pg_publication WHERE pubname LIKE 'tideover%'`

// takeBack takes a refused run back and looks whether blue is as it was.
func (r *run) takeBack(ctx context.Context, o *Outcome) error {
	if r.started {
		if code, err := r.process(ctx, 0, "rollback", "--json", "upgrade.yaml"); err != nil {
			return err
		} else if code != 0 {
			o.find("refused, and then the rollback ended with exit status %d: %s", code, r.reason())
		}
	}
	o.Log = r.log()
	left, err := ask[string](ctx, r.blue, leftQuery)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		o.find("left on blue after the rollback: %s", strings.Join(left, ", "))
	}
	return nil
}
