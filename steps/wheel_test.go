package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/quick"
)

// helm is a run with a process at work on it that answers what is asked.
type helm struct {
	process
	s    store
	err  chan error // of Run
	t    *testing.T
	stop func()
}

func steer(t *testing.T, s store, run string, steps []Step, edit func(*Config)) *helm {
	t.Helper()
	h := &helm{process: begin(t, s, run, steps, func(c *Config) {
		c.Sinks = nil
		c.Gate = Any{Poll{Every: 1e6, Approved: func(ctx context.Context, step string) (string, error) {
			return s.Approved(ctx, c.Lease.(journaltest.Lease).Run(), step)
		}}}
		if edit != nil {
			edit(c)
		}
	}), s: s, err: make(chan error, 1), t: t}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wheel sync.WaitGroup
	wheel.Go(func() { h.Steer(ctx, s.Journal) })
	h.stop = sync.OnceFunc(func() { cancel(); wheel.Wait() })
	t.Cleanup(h.stop)
	go func() { h.err <- h.Run(context.WithoutCancel(t.Context())) }()
	return h
}

func asked(verb, step string) journal.AskedData {
	return journal.AskedData{Verb: verb, Step: step, By: "ann", Host: "laptop", Reason: "why not"}
}

// ask is what a command of another terminal does.
func (h *helm) ask(d journal.AskedData) (done bool, answer string) {
	h.t.Helper()
	id, err := h.s.Ask(h.t.Context(), h.lease.Run(), h.lease.Term(), d)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.answered(id)
}

func (h *helm) answered(id int64) (done bool, answer string) {
	h.t.Helper()
	await.That(h.t, "an answer", func() bool {
		there, ok, text, err := h.s.Answer(h.t.Context(), id)
		done, answer = ok, text
		return err == nil && there
	})
	return done, answer
}

func (h *helm) phase(want journal.Phase) {
	h.t.Helper()
	await.That(h.t, "the run is "+string(want), func() bool { return h.State().Phase == want })
}

// working is a step that works until it is let go or ended.
func working(id string, begun chan<- struct{}, end <-chan struct{}) *fake {
	return &fake{id: id, run: func(ctx context.Context, _ *Progress) error {
		begun <- struct{}{}
		select {
		case <-end:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}}
}

func TestPauseAndContinue(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	begun, end := make(chan struct{}), make(chan struct{})
	passes := make(chan struct{})
	h := steer(t, s, "", []Step{
		working("one", begun, end),
		&fake{id: "two", run: func(ctx context.Context, p *Progress) error {
			begun <- struct{}{}
			<-passes
			if err := p.Pass(ctx); err != nil {
				return err
			}
			close(passes)
			return nil
		}},
	}, nil)
	<-begun
	if done, answer := h.ask(asked(journal.Continue, "")); done || answer != "nothing is paused" {
		t.Errorf("continue: %t, %s", done, answer)
	}
	if done, answer := h.ask(asked(journal.Pause, "")); !done || !strings.Contains(answer, "when step one is through") {
		t.Errorf("pause: %t, %s", done, answer)
	}
	if done, answer := h.ask(asked(journal.Pause, "")); done || !strings.Contains(answer, "paused already, by ann") {
		t.Errorf("pause again: %t, %s", done, answer)
	}
	close(end)
	await.That(t, "step one is through", func() bool { return h.State().Steps[0].Status == journal.StepIsFinished })
	if done, _ := h.ask(asked(journal.Throttle, "")); !done { // the process has had every chance to go on by now
		t.Error("it can't be throttled while it is paused")
	}
	if st := h.State(); st.Steps[1].Attempts != 0 || st.Paused == nil || st.Paused.By != "ann" {
		t.Errorf("step two has begun: %+v", st.Steps[1])
	}
	if done, _ := h.ask(asked(journal.Continue, "")); !done {
		t.Error("it does not go on")
	}
	<-begun
	if done, _ := h.ask(asked(journal.Pause, "")); !done {
		t.Error("it can't be paused in a step")
	}
	passes <- struct{}{}
	if done, _ := h.ask(asked(journal.Continue, "")); !done {
		t.Error("it does not go on in a step")
	}
	<-passes
	if err := <-h.err; err != nil {
		t.Fatal(err)
	}
	if fold(t, s, h.lease.Run()).Phase != journal.Completed {
		t.Error("not completed")
	}
}

func TestAbort(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	begun := make(chan struct{})
	undone := make(chan string, 2)
	one := working("one", begun, nil)
	one.undo = func(context.Context, *Progress) error { undone <- "one"; return nil }
	h := steer(t, s, "", []Step{one}, nil)
	<-begun
	if done, answer := h.ask(asked(journal.Abort, "")); !done || !strings.Contains(answer, "taken back") {
		t.Errorf("%t, %s", done, answer)
	}
	var back *RolledBackError
	if err := <-h.err; !errors.As(err, &back) || back.ExitCode() != exitStopped || !strings.Contains(err.Error(), "asked for by ann on laptop: why not") {
		t.Errorf("the run ends with %v", err)
	}
	state := fold(t, s, h.lease.Run())
	if state.Phase != journal.Aborted || state.Steps[0].Error != "" || !strings.Contains(state.Reason, "ann on laptop") || len(undone) != 1 {
		t.Errorf("state %+v", state)
	}
}

// What can't be taken back is not aborted, and goes on.
func TestAbortWithoutAWayBack(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	begun, end := make(chan struct{}), make(chan struct{})
	h := steer(t, s, "", []Step{noWayBack{working("one", begun, end)}}, nil)
	<-begun
	if done, answer := h.ask(asked(journal.Abort, "")); done || !strings.Contains(answer, "no way back") {
		t.Errorf("%t, %s", done, answer)
	}
	close(end)
	if err := <-h.err; err != nil {
		t.Error(err)
	}
}

// Abort comes at each stage of the switch: before the point of no return the run is taken back, after it nothing is, and the
// answer says which.
func TestAbortInTheSwitch(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, at := range []journal.Kind{journal.CutoverPreparing, journal.CutoverFencing, journal.CutoverVerifying, journal.CutoverCommitting, journal.CutoverSwitched} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			begun, end := make(chan struct{}), make(chan struct{})
			cut := &fake{id: "cutover", run: func(ctx context.Context, p *Progress) error {
				for _, kind := range []journal.Kind{journal.CutoverPreparing, journal.CutoverHolding, journal.CutoverFencing, journal.CutoverReplaying,
					journal.CutoverVerifying, journal.CutoverCommitting, journal.CutoverSwitched, journal.CutoverReleased} {
					// The context is the one that the real protocol goes on with past the point: none that ends.
					if err := p.Event(context.WithoutCancel(ctx), kind, nil); err != nil {
						return errors.Join(err, p.Event(context.WithoutCancel(ctx), journal.CutoverAborted, nil))
					}
					if kind == at {
						begun <- struct{}{}
						<-end
					}
				}
				return nil
			}}
			h := steer(t, s, "", []Step{cut}, nil)
			<-begun
			done, answer := h.ask(asked(journal.Abort, ""))
			pause, why := h.ask(asked(journal.Pause, ""))
			close(end)
			err := <-h.err
			past := at == journal.CutoverCommitting || at == journal.CutoverSwitched
			state := fold(t, s, h.lease.Run())
			if done == past || past && !strings.Contains(answer, "tideover rollback") {
				t.Errorf("abort: %t, %s", done, answer)
			}
			if pause || why == "" {
				t.Errorf("pause: %t, %s", pause, why)
			}
			if past && (err != nil || state.Phase != journal.Completed) || !past && state.Phase != journal.Aborted {
				t.Errorf("the run is %s, %v", state.Phase, err)
			}
		})
	}
}

// Deny shuts the gate: the run stops before it, and a resume waits there again, whatever was approved before.
func TestDeny(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	begun, end := make(chan struct{}), make(chan struct{})
	steps := []Step{working("one", begun, end), &fake{id: "gate"}}
	h := steer(t, s, "", steps, nil)
	<-begun
	run := h.lease.Run()
	if err := s.Approve(t.Context(), run, "gate", "ben", "", ""); err != nil {
		t.Fatal(err)
	}
	if done, answer := h.ask(asked(journal.Deny, "gate")); !done || !strings.Contains(answer, "stays shut") {
		t.Errorf("deny: %t, %s", done, answer)
	}
	for step, want := range map[string]string{"one": "no gate", "nonsense": "no gate"} {
		if done, answer := h.ask(asked(journal.Deny, step)); done || !strings.Contains(answer, want) {
			t.Errorf("deny %s: %t, %s", step, done, answer)
		}
	}
	close(end)
	h.phase(journal.Waiting)
	if done, answer := h.ask(asked(journal.Deny, "gate")); !done || !strings.Contains(answer, "stops before gate") {
		t.Errorf("deny: %t, %s", done, answer)
	}
	var stopped *StoppedError
	if err := <-h.err; !errors.As(err, &stopped) || stopped.ExitCode() != exitStopped {
		t.Errorf("the run ends with %v", err)
	}
	h.stop()
	if state := fold(t, s, run); state.Phase != journal.Stopped || !strings.Contains(state.Stopped.Reason, "deny asked for by ann") || state.Steps[1].ApprovedBy != "" {
		t.Errorf("state %+v", state)
	}
	h.lease.Release()
	again := steer(t, s, run, steps, nil)
	again.phase(journal.Waiting)
	if err := s.Approve(t.Context(), run, "gate", "ben", "", ""); err != nil {
		t.Fatal(err)
	}
	if err := <-again.err; err != nil {
		t.Error(err)
	}
}

// Two persons at once: whoever's word the journal has first counts, and each is told the truth.
func TestApproveAndAbortAtOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for i := range 5 {
		h := steer(t, s, "", []Step{&fake{id: "gate", run: func(ctx context.Context, _ *Progress) error { return context.Cause(ctx) }}}, nil)
		h.phase(journal.Waiting)
		run := h.lease.Run()
		var both sync.WaitGroup
		var done bool
		var answer string
		both.Go(func() {
			if err := s.Approve(t.Context(), run, "gate", "ben", "", ""); err != nil {
				t.Error(err)
			}
		})
		id, err := s.Ask(t.Context(), run, h.lease.Term(), asked(journal.Abort, ""))
		if err != nil {
			t.Fatal(err)
		}
		both.Wait()
		<-h.err
		h.stop()
		if err := s.Leave(t.Context(), run, h.lease.Term()); err != nil {
			t.Fatal(err)
		}
		done, answer = h.answered(id)
		want := journal.Completed
		if done {
			want = journal.Aborted
		}
		if state := fold(t, s, run); state.Phase != want {
			t.Errorf("round %d: abort was answered %t, %s, and the run is %s", i, done, answer, state.Phase)
		}
		h.lease.Release()
	}
}

// A command that was asked of a process that is gone is refused by the next one; one for another run, and one from the future, are
// left alone.
func TestCommandsOfOthers(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	begun, end := make(chan struct{}), make(chan struct{})
	steps := []Step{working("one", begun, end)}
	p := begin(t, s, "", steps, nil)
	run := p.lease.Run()
	left, err := s.Ask(t.Context(), run, p.lease.Term(), asked(journal.Abort, ""))
	if err != nil {
		t.Fatal(err)
	}
	s.Kill(t, p.lease)
	h := steer(t, s, run, steps, nil)
	<-begun
	if done, answer := h.answered(left); done || !strings.Contains(answer, "a process that is gone") {
		t.Errorf("left over: %t, %s", done, answer)
	}
	if _, err := s.db.Pool().Exec(t.Context(), `INSERT INTO tideover.run (id, name, hash, runbook, term) VALUES ('other', 'o', 'h', 'o.yaml', $1)`, h.lease.Term()); err != nil {
		t.Fatal(err)
	}
	var strangers []int64
	for _, a := range []struct {
		run  string
		term int64
	}{{"other", h.lease.Term()}, {run, h.lease.Term() + 1}} {
		id, err := s.Ask(t.Context(), a.run, a.term, asked(journal.Abort, ""))
		if err != nil {
			t.Fatal(err)
		}
		strangers = append(strangers, id)
	}
	close(end)
	if err := <-h.err; err != nil {
		t.Error(err)
	}
	h.stop()
	for _, id := range strangers {
		if answered, _, answer, err := s.Answer(t.Context(), id); err != nil || answered {
			t.Errorf("a command of others was answered: %s, %v", answer, err)
		}
		if withdrawn, err := s.TakeBack(t.Context(), id); err != nil || !withdrawn {
			t.Errorf("withdrawn %t, %v", withdrawn, err)
		}
	}
}

// The process is killed once it has agreed to an abort and before it did it: the next one does it, and nothing else.
func TestKilledBetweenCommandAndDeed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	steps := []Step{&fake{id: "one", run: func(context.Context, *Progress) error { return errors.New("it must not run") }}}
	p := begin(t, s, "", steps, nil)
	run := p.lease.Run()
	id, err := s.Ask(t.Context(), run, p.lease.Term(), asked(journal.Abort, ""))
	if err != nil {
		t.Fatal(err)
	}
	p.answerAll(t.Context(), s.Journal) // and then nothing more
	s.Kill(t, p.lease)
	h := steer(t, s, run, steps, nil)
	if done, _ := h.answered(id); !done {
		t.Error("what was agreed to is not agreed to any more")
	}
	if err := <-h.err; err != nil {
		t.Error(err)
	}
	if state := fold(t, s, run); state.Phase != journal.Aborted || state.Steps[0].Attempts != 0 {
		t.Errorf("state %+v", state)
	}
}

// The answer's transaction was stored, and the connection broke before anybody said so: what was agreed to is done all the same.
func TestAnswerThatWasStoredUnseen(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	begun, end := make(chan struct{}), make(chan struct{})
	p := begin(t, s, "", []Step{working("one", begun, end), &fake{id: "two"}}, nil)
	done := make(chan error, 1)
	go func() { done <- p.Run(context.WithoutCancel(t.Context())) }()
	<-begun
	for _, verb := range []string{journal.Pause, journal.Abort} {
		d := asked(verb, "")
		d.Done = true
		e, err := event("", journal.RunAsked, d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.lease.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		p.rec.mu.Lock()
		p.rec.behind = true
		p.rec.mu.Unlock()
		if err := p.rec.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.turn()
		if verb == journal.Pause {
			short, cancel := context.WithCancelCause(t.Context())
			cancel(errCrash)
			if err := p.wheel.pass(short); !errors.Is(err, errCrash) {
				t.Errorf("it is not paused: %v", err)
			}
		}
	}
	if err := <-done; !errors.As(err, new(*RolledBackError)) {
		t.Errorf("the run ends with %v", err)
	}
	if state := fold(t, s, p.lease.Run()); state.Phase != journal.Aborted {
		t.Errorf("the run is %s", state.Phase)
	}
}

// A process that is killed before it answers leaves the command to be withdrawn: nobody does it later.
func TestKilledBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := []Step{&fake{id: "one"}}
	p := begin(t, s, "", m, nil)
	id, err := s.Ask(t.Context(), p.lease.Run(), p.lease.Term(), asked(journal.Pause, ""))
	if err != nil {
		t.Fatal(err)
	}
	s.Kill(t, p.lease)
	if withdrawn, err := s.TakeBack(t.Context(), id); err != nil || !withdrawn {
		t.Fatalf("withdrawn %t, %v", withdrawn, err)
	}
	h := steer(t, s, p.lease.Run(), m, nil)
	if err := <-h.err; err != nil {
		t.Error(err)
	}
}

const verbsBegin, verbsEnd = "<!-- verbs -->\n", "<!-- /verbs -->\n"

// The table in docs/operations.md is what the code refuses.
func TestVerbsAreInTheDocs(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("\n| stage |")
	for _, v := range Verbs() {
		b.WriteString(" `" + v + "` |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(Verbs())) + "\n")
	for _, stage := range Stages() {
		b.WriteString("| " + string(stage) + " |")
		for _, v := range Verbs() {
			reason := Refusal(v, stage)
			if reason == "" {
				reason = "yes"
			} else {
				reason = "no: " + reason
			}
			b.WriteString(" " + reason + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(page), verbsBegin)
	table, _, closed := strings.Cut(after, verbsEnd)
	if !ok || !closed || table != b.String() {
		t.Errorf("docs/operations.md, between %q and %q, is to have\n%s", strings.TrimSpace(verbsBegin), strings.TrimSpace(verbsEnd), b.String())
	}
}

// Every phase that has a process is one of the stages, and at none of them may everything be asked.
func TestStageOf(t *testing.T) {
	t.Parallel()
	seen := map[Stage]bool{}
	for _, phase := range journal.Phases() {
		if phase.Ended() || phase == journal.New {
			continue
		}
		s := journal.State{Phase: phase, PastPointOfNoReturn: phase.PastPointOfNoReturn(), Cutover: journal.Cutover{Last: journal.CutoverFencing}}
		seen[StageOf(&s)] = true
		if phase.PastPointOfNoReturn() && Refusal(journal.Abort, StageOf(&s)) == "" {
			t.Errorf("%s can be aborted", phase)
		}
	}
	s := journal.State{Phase: journal.Switching, Cutover: journal.Cutover{Last: journal.CutoverPreparing}}
	seen[StageOf(&s)] = true
	if len(seen) != len(Stages()) {
		t.Errorf("stages %v, want all of %v", fmt.Sprint(seen), Stages())
	}
}
