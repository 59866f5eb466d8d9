package steps

import (
	"context"
	"errors"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
)

// deaf is a lease whose answers are lost from time to time: the event is stored, the caller gets an error.
type deaf struct {
	journaltest.Lease
	lost func(journal.Event) bool
}

func (d deaf) Append(ctx context.Context, e journal.Event) (journal.Event, error) {
	stored, err := d.Lease.Append(ctx, e)
	if err == nil && d.lost(e) {
		return e, errors.New("connection reset by peer")
	}
	return stored, err
}

func (d deaf) Load(ctx context.Context, after int64) ([]journal.Event, error) {
	return d.Lease.(loader).Load(ctx, after)
}

// An event that was stored though its append ended in an error is neither lost nor stored again.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	steps := []Step{&fake{id: "one"}, &fake{id: "two"}}
	p := begin(t, m, "", steps, func(c *Config) {
		c.Lease = deaf{c.Lease.(journaltest.Lease), func(e journal.Event) bool { return e.Kind == journal.StepFinished && e.Step == "one" }}
	})
	var stopped *StoppedError
	if err := p.Run(t.Context()); !errors.As(err, &stopped) {
		t.Fatalf("got %v", err)
	}
	state := fold(t, m, p.lease.Run())
	if state.Phase != journal.Stopped || p.State().Seq != state.Seq {
		t.Errorf("stored: phase %s, seq %d; known: seq %d", state.Phase, state.Seq, p.State().Seq)
	}
	for i, e := range *p.shown {
		if e.Seq != int64(i+1) {
			t.Errorf("shown as number %d: %d %s", i+1, e.Seq, e.Kind)
		}
	}
	p.lease.Release()
	if err := begin(t, m, p.lease.Run(), steps, nil).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestNoSteps(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	p := begin(t, m, "", nil, nil)
	if err := p.Run(t.Context()); err != nil || p.State().Phase != journal.Completed {
		t.Errorf("phase %s, %v", p.State().Phase, err)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	m := journaltest.NewMemory()
	p := begin(t, m, "", []Step{&fake{id: "one", run: func(ctx context.Context, p *Progress) error {
		for i := range int64(10_000) {
			p.Report(i+1, 10_000, "rows", "")
		}
		return p.Checkpoint(ctx, "bad", func() {})
	}}}, nil)
	if err := p.Run(t.Context()); err == nil {
		t.Error("a checkpoint that is no JSON was taken")
	}
	seen, last := 0, journal.Event{}
	for _, e := range *p.shown {
		if e.Seq == 0 {
			seen, last = seen+1, e
		}
	}
	if seen < 2 || seen > 1000 || string(last.Data) != `{"done":10000,"total":10000,"unit":"rows"}` || last.Run != p.lease.Run() {
		t.Errorf("shown %d times, last %s", seen, last.Data)
	}
}
