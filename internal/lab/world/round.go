package world

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Round is a way there and back.
type Round struct {
	Outcome
	Planned int      // exit status of "plan --connect" before the run; only where the world has a cast
	Plan    string   // what it said
	Answers []string // blue's to the questions, one text each, once it serves again; nil where the run was refused
	Traces  []Trace  // what the world's own code saw, in sessions that are not the lab's
}

// Round takes a world over the switch, has green's clients write, takes the run back and asks blue some questions. Green is held against
// blue's last state by the program itself and by our judge, before anybody writes there.
func (p *Pair) Round(ctx context.Context, w *World, onGreen string, questions ...string) (o Round, err error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, err := p.set(ctx, w)
	defer func() {
		o.Took = time.Since(start)
		err = errors.Join(err, s.strike(context.WithoutCancel(ctx)))
	}()
	if err != nil {
		return o, err
	}
	r := newRun(s)
	r.until = "retire"
	o.Verdict = Equal
	if w.Cast != nil {
		out, err := r.command(ctx, "plan", "--connect", "upgrade.yaml").CombinedOutput()
		if o.Planned, err = exitStatus(err); err != nil {
			return o, err
		}
		o.Plan = string(out)
	}
	code, err := r.process(ctx, 0, "run", "--json", "upgrade.yaml")
	r.writers.wait()
	if err != nil {
		o.Log = r.log()
		return o, err
	}
	if code == -1 {
		err = r.back(ctx, &o, onGreen, questions)
	} else {
		o.refused(r, code)
		err = r.takeBack(ctx, &o.Outcome)
	}
	for _, e := range r.writers.errors {
		o.find("a client's write failed: %s", e)
	}
	o.Log = r.log()
	if err != nil {
		return o, err
	}
	o.Traces, err = s.traces(ctx)
	return o, err
}

// back is the way back, once green serves.
func (r *run) back(ctx context.Context, o *Round, onGreen string, questions []string) error {
	if out, err := r.command(ctx, "verify", "--full", "upgrade.yaml").CombinedOutput(); err != nil {
		o.find("verify: %v: %s", err, out)
	}
	r.judgeGreen(ctx, &o.Outcome)
	green := r.green
	if c := r.world.Cast; c != nil {
		var err error
		if green, err = r.as(r.green, c.Server); err != nil {
			return err
		}
	}
	if err := r.psql(ctx, green, r.world.named(onGreen)); err != nil {
		return fmt.Errorf("green's clients: %w", err)
	}
	for _, dsn := range []string{r.blue, r.green} {
		open, err := ask[string](ctx, dsn, openSQL)
		if err != nil {
			return err
		}
		for _, what := range open {
			o.find("what is tideover's is open to others: %s", what)
		}
	}
	if code, err := r.process(ctx, 0, "rollback", "--json", "upgrade.yaml"); err != nil {
		return err
	} else if code != 0 {
		o.find("the rollback ended with exit status %d: %s", code, r.reason())
	}
	for _, q := range questions {
		found, err := ask[string](ctx, r.blue, r.world.named(q))
		if err != nil {
			return err
		}
		o.Answers = append(o.Answers, fmt.Sprint(found))
	}
	return nil
}

// openSQL lists what somebody else than its owner may do with the program's own tables, but for looking at them; nobody else may look at the
// word that opens the fence.
const openSQL = `
SELECT DISTINCT pg_catalog.format('%s on %s by %s', a.privilege_type, c.relname, coalesce(pg_catalog.to_regrole(a.grantee::pg_catalog.text)::pg_catalog.text, 'everybody'))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, pg_catalog.aclexplode(c.relacl) a
WHERE n.nspname = 'tideover' AND a.grantee <> c.relowner AND (a.privilege_type <> 'SELECT' OR c.relname = 'pass')
UNION ALL
SELECT DISTINCT pg_catalog.format('%s on schema tideover', a.privilege_type) FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
WHERE n.nspname = 'tideover' AND a.grantee <> n.nspowner AND a.privilege_type = 'CREATE'
ORDER BY 1`

// ThereAndBack is a [Pair.Round] that must not be refused, nor find anything: the error says what it was.
func (p *Pair) ThereAndBack(ctx context.Context, w *World, onGreen string, questions ...string) (answers []string, log string, err error) {
	o, err := p.Round(ctx, w, onGreen, questions...)
	if err == nil && o.Verdict != Equal {
		err = fmt.Errorf("%s: %s %q", o.Verdict, o.Reason, o.Findings)
	}
	return o.Answers, o.Log, err
}
