package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

var cutoverKind = kindOf(plan.Cutover,
	func(b base, env *Env, c *plan.CutoverSpec) Step { return &cutoverStep{base: b, env: env, spec: c} },
	func(c *plan.CutoverSpec) (does, undo string) {
		names := []string{"router"}
		for _, p := range c.Participants {
			names = append(names, p.Name)
		}
		return fmt.Sprintf("hold, fence, last replay, verify, commit (%s), release, within %s", strings.Join(names, ", "), c.Deadline),
			"before the first commit by itself; after it by rollback, which brings revocations back to blue"
	})

// cutoverStep is the switch. It can be taken back: before the point of no return it does so by itself on every failure,
// after it Undo turns it round.
type cutoverStep struct {
	base
	env  *Env
	spec *plan.CutoverSpec
	sung bool // the canary has been heard in this process

	approached replay.Applied // what was carried back before anybody waited
}

// Done is never true: Run asks the world where it is, and finds out at once.
func (s *cutoverStep) Done(context.Context) (bool, error) { return false, nil }

// Run goes on where a crash cut it off, or makes the switch.
func (s *cutoverStep) Run(ctx context.Context, p *Progress) error {
	sw, err := s.protocol(p)
	if err != nil {
		return err
	}
	r, err := s.env.Replayer()
	if err != nil {
		return err
	}
	if err := r.Prepare(ctx); err != nil {
		return err
	}
	if last := p.State().Cutover.Last; last != "" {
		done, err := sw.Recover(ctx, last)
		if err != nil {
			return err
		}
		if done {
			return s.env.source().Finish(ctx)
		}
	}
	// From the first write on green its revocations are recorded, for the way back, and which rows are to be carried along.
	if err := replay.NewCapture(s.env.Green, s.env.Profile, plan.Green).Install(ctx, s.env.budget()); err != nil {
		return err
	}
	if err := r.LayTrail(ctx, s.env.budget()); err != nil {
		return err
	}
	figures, err := s.try(ctx, p, sw, r)
	if err != nil {
		return err
	}
	if err := s.env.source().Finish(ctx); err != nil {
		return err
	}
	if figures.LoginsLeft > 0 {
		if err := p.Note(ctx, "info", "%d logins were under way when the hold began; they start again on green", figures.LoginsLeft); err != nil {
			return err
		}
	}
	return p.Figure(ctx, "cutover", figures)
}

// try makes the switch, again where what called it off may pass.
func (s *cutoverStep) try(ctx context.Context, p *Progress, sw *cutover.Switch, r *replay.Replayer) (cutover.Figures, error) {
	for n := 1; ; n++ {
		if err := s.guard(ctx, p, r, sw); err != nil {
			return cutover.Figures{}, err
		}
		figures, err := sw.Run(ctx)
		var aborted *cutover.AbortedError
		if err == nil || n >= s.spec.Tries || ctx.Err() != nil || !errors.As(err, &aborted) || !passing(aborted) {
			return figures, err
		}
		if err := p.NoteAbout(ctx, journal.AboutRetry, "try %d of %d: %v; replay catches up, then once more", n, s.spec.Tries, aborted.Cause); err != nil {
			return figures, err
		}
	}
}

// Rehearse does all of the switch up to the point of no return, and takes it back.
func (s *cutoverStep) Rehearse(ctx context.Context, p *Progress) (cutover.Figures, error) {
	sw, err := s.protocol(p)
	if err != nil {
		return cutover.Figures{}, err
	}
	r, err := s.env.Replayer()
	if err != nil {
		return cutover.Figures{}, err
	}
	if err := r.Prepare(ctx); err != nil {
		return cutover.Figures{}, err
	}
	if err := s.guard(ctx, p, r, sw); err != nil {
		return cutover.Figures{}, err
	}
	sw.Verify = func(ctx context.Context) error {
		v, err := r.Verify(ctx)
		if err == nil && len(v.Differences) > 0 {
			err = &verifyError{v.Differences}
		}
		return err
	}
	return sw.Rehearse(ctx)
}

// passing reports whether what called a switch off may go away by itself.
func passing(e *cutover.AbortedError) bool {
	return e.Incomplete == nil && (errors.Is(e.Cause, cutover.ErrDeadline) || errors.As(e.Cause, new(*replay.WriterError)))
}

// catchingUp bounds the wait for max_lag.
const catchingUp = time.Minute

// caughtUp waits for the backlog to come down to max_lag.
func (s *cutoverStep) caughtUp(ctx context.Context, p *Progress, r *replay.Replayer) error {
	if s.spec.MaxLag <= 0 {
		return nil
	}
	var left int64
	within, cancel := context.WithTimeout(ctx, catchingUp)
	defer cancel()
	err := s.env.replayUntil(within, r, p, func(lag replay.Lag) bool {
		left = lag.Changes
		return left <= int64(s.spec.MaxLag)
	})
	if ctx.Err() == nil && within.Err() != nil {
		return &guardError{fmt.Sprintf("%d changes are not replayed yet, more than max_lag %d", left, s.spec.MaxLag),
			"wait for a quieter hour, then resume; or begin a new run with a higher max_lag"}
	}
	return err
}

func healthy(ctx context.Context, base, path string) error {
	if base == "" || path == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("green's server does not answer: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("green's server is not ready: %s answers %s", base+path, resp.Status)
	}
	return nil
}

// guardError stops a cutover before it has touched anything.
type guardError struct{ text, hint string }

func (e *guardError) Error() string { return e.text }
func (e *guardError) Hint() string  { return e.hint }

// protocol is the switch with this run's databases and participants.
func (s *cutoverStep) protocol(p *Progress) (*cutover.Switch, error) {
	participants, err := s.env.participants(s.id, s.spec.Participants)
	if err != nil {
		return nil, err
	}
	sw := &cutover.Switch{
		Ticket: cutover.Ticket{Run: s.env.Run, Term: s.env.Term}, Try: p.State().Cutover.Tries, Calls: &s.env.calls, Participants: participants, Router: cutover.Routers(s.env.routers()),
		Fence: s.env.blueFence(), Green: s.env.greenFence(), Pin: s.env.Pin,
		Deadline: s.spec.Deadline, DrainLogins: s.spec.DrainLogins, GiveBack: 30 * time.Second, Forward: time.Minute,
		Record:  func(ctx context.Context, kind journal.Kind, data any) error { return p.Event(ctx, kind, data) },
		Settle:  func(ctx context.Context) error { return s.settle(ctx, p) },
		Replay:  func(ctx context.Context) error { return s.lastReplay(ctx, p) },
		Verify:  func(ctx context.Context) error { return s.verify(ctx, p) },
		Wake:    func(ctx context.Context) error { return replay.Wake(ctx, s.env.Green, s.env.budget()) },
		Reverse: func(ctx context.Context) error { return s.reverse(ctx, p) },

		Approach: func(ctx context.Context) (err error) {
			s.approached, err = replay.NewReverse(s.env.Blue, s.env.Green, s.env.Profile).Approach(ctx)
			return err
		},
	}
	return sw, nil
}

// near is a backlog that costs the hold no more than an empty one.
const near = 50

// settle takes the replay over from the background, and brings the backlog down while writes still go on: else the hold
// would begin with a wait for the batch that is under way, and for what has come since.
func (s *cutoverStep) settle(ctx context.Context, p *Progress) error {
	if err := p.StopBackground(); err != nil {
		return err
	}
	r, err := s.env.Replayer()
	if err != nil {
		return err
	}
	for range 4 { // on a busy server some are always left
		applied, err := r.Batch(ctx)
		if err != nil || applied.Changes <= near {
			return err
		}
	}
	return nil
}

// lastReplay brings over what is left, with blue fenced: nothing comes after it.
func (s *cutoverStep) lastReplay(ctx context.Context, p *Progress) error {
	if err := p.StopBackground(); err != nil {
		return err
	}
	r, err := s.env.Replayer()
	if err != nil {
		return err
	}
	applied, err := r.Drain(ctx)
	if err != nil {
		return err
	}
	if len(applied.Parked) > 0 {
		return &parkedError{applied.Parked}
	}
	// Replayed rows move no sequence.
	var copied map[string]snapshot.Mark
	if raw, ok := s.env.State().Figures[copiedSequences]; ok {
		if err := json.Unmarshal(raw, &copied); err != nil {
			return fmt.Errorf("figure %q: %w", copiedSequences, err)
		}
	}
	_, err = snapshot.AdvanceSequences(ctx, s.env.Blue, s.env.Green, r.RenamedSequences(), copied)
	return err
}

// unparked has what is parked tried once more: a person may have mended what it is.
func unparked(ctx context.Context, r *replay.Replayer) error {
	parked, err := r.Retry(ctx)
	if err == nil && len(parked) > 0 {
		err = &parkedError{parked}
	}
	return err
}

type parkedError struct{ changes []string }

func (e *parkedError) Error() string {
	return fmt.Sprintf("%d changes could not be replayed, the first: %s", len(e.changes), e.changes[0])
}

func (e *parkedError) Hint() string {
	return "\"SELECT table_name, key, error FROM tideover.change WHERE parked_at IS NOT NULL AND applied_at IS NULL\" on blue names all of them; mend the row there, what refuses it on green, or the profile's rule, then resume: they are tried again"
}

// verify asks whether all that was captured is in force on green.
func (s *cutoverStep) verify(ctx context.Context, p *Progress) error {
	r, err := s.env.Replayer()
	if err != nil {
		return err
	}
	v, err := r.Verify(ctx)
	if err != nil {
		return err
	}
	for name, n := range map[string]int64{"revocations.captured": v.Captured, "revocations.replayed": v.Replayed, "revocations.verified": v.Verified} {
		if err := p.Figure(ctx, name, n); err != nil {
			return err
		}
	}
	if err := s.env.unmoved(ctx); err != nil { // once more, now that nobody can change anything
		return err
	}
	mark, err := oracle.Mark(ctx, s.env.Green)
	if err != nil {
		return err
	}
	if err := p.Figure(ctx, greenMark, mark); err != nil {
		return err
	}
	if len(v.Differences) == 0 {
		return nil
	}
	return &verifyError{v.Differences}
}

type verifyError struct{ differences []string }

func (e *verifyError) Error() string {
	return fmt.Sprintf("%d revocations or changes are not in force on green, the first: %s", len(e.differences), e.differences[0])
}

func (e *verifyError) Hint() string {
	return "blue serves on; resume replays and asks again. If it stays, look at the revocation's green.apply and green.living in the profile"
}

// ExitCode is 5: blue and green differ.
func (e *verifyError) ExitCode() int { return 5 }

// reverse brings the revocations that were made on green back to blue.
func (s *cutoverStep) reverse(ctx context.Context, p *Progress) error {
	back := replay.NewReverse(s.env.Blue, s.env.Green, s.env.Profile)
	applied, err := back.Drain(ctx)
	if err != nil {
		return err
	}
	applied.Upserted, applied.Deleted = applied.Upserted+s.approached.Upserted, applied.Deleted+s.approached.Deleted
	v, err := back.Verify(ctx)
	if err != nil {
		return err
	}
	if len(v.Differences) > 0 {
		return &verifyError{v.Differences}
	}
	only, err := back.OnlyGreen(ctx)
	if err != nil {
		return err
	}
	named := only[:min(len(only), mostNamed)]
	refused := applied.Parked[:min(len(applied.Parked), mostNamed)]
	if err := p.Figure(ctx, "rollback", map[string]any{"revocations": applied.Revoked, "only_green": len(only), "sessions": named,
		"carried": applied.Upserted + applied.Deleted, "not_carried": append([]string{}, refused...)}); err != nil {
		return err
	}
	if len(s.env.Profile.CarryBack) > 0 {
		if err := p.Note(ctx, "info", "%d rows written on green are on blue, %d are deleted there", applied.Upserted, applied.Deleted); err != nil {
			return err
		}
	}
	if len(applied.Parked) > 0 {
		if err := p.Note(ctx, "warn", "%d rows of green that blue can't hold stay on green alone: %s", len(applied.Parked), few(applied.Parked)); err != nil {
			return err
		}
	}
	return p.Note(ctx, "warn", "%d revocations brought back to blue; %d sessions are known to green alone and end here: %s", applied.Revoked, len(only), few(only))
}

// mostNamed is how many sessions that only green knows the journal names: an event must stay readable.
const mostNamed = 10_000

// few shows the first names of a list. They are signatures and ids, never tokens.
func few(names []string) string {
	const shown = 20
	if len(names) <= shown {
		return fmt.Sprint(names)
	}
	return fmt.Sprintf("%v and %d more", names[:shown], len(names)-shown)
}

// left names what green's clients have written and blue has not got, once blue serves: nobody writes on green any more. That it can't be
// told is no reason to stop.
func (s *cutoverStep) left(ctx context.Context, p *Progress) error {
	lost, err := s.env.lost(ctx)
	if err != nil {
		return p.Note(ctx, "warn", "what green's clients have written and blue has not got can't be told: %v", err)
	}
	if err := p.Figure(ctx, "rollback.lost", append([]replay.Lost{}, lost...)); err != nil {
		return err
	}
	for _, l := range lost {
		if err := p.Note(ctx, "warn", "written on green, and not on blue: %s", l); err != nil {
			return err
		}
	}
	return nil
}

// lost lists what a way back leaves on green, so far.
func (e *Env) lost(ctx context.Context) ([]replay.Lost, error) {
	mark, ok, err := e.greenSince()
	if err != nil || !ok {
		return nil, err
	}
	return replay.NewReverse(e.Blue, e.Green, e.Profile).Lost(ctx, mark)
}

// Undo gives blue back: a switch that was cut off is looked at, one that went through is turned round.
func (s *cutoverStep) Undo(ctx context.Context, p *Progress) error {
	state := p.State()
	if state.Cutover.Last == "" {
		return nil
	}
	sw, err := s.protocol(p)
	if err != nil {
		return err
	}
	if state.PastPointOfNoReturn {
		if err := sw.Back(ctx); err != nil {
			return err
		}
		return s.left(ctx, p)
	}
	_, err = sw.Recover(ctx, state.Cutover.Last)
	var aborted *cutover.AbortedError
	if errors.As(err, &aborted) && aborted.Incomplete == nil {
		return nil
	}
	return err
}
