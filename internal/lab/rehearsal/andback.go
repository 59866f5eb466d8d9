package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

// onGreen is how long green serves at least before a rehearsal goes back.
const onGreen = 3 * time.Second

// errBack ends the monitor step of a run that is to be taken back.
var errBack = errors.New("the rehearsal goes back")

// stay has a runbook watch green until somebody goes back.
func stay(rb *plan.Runbook) error {
	step := rb.Step(plan.Monitor)
	if step == nil {
		return fmt.Errorf("runbook %s has no monitor step: there and back goes back while green is watched", rb.Path)
	}
	spec := *step.Config.(*plan.MonitorSpec)
	spec.For = time.Hour
	step.Config = &spec
	return nil
}

// watched calls back once green has served for a while under the monitor step.
func (p *performance) watched(ctx context.Context, back func()) journal.Sink {
	var once sync.Once
	return func(e journal.Event) {
		if e.Kind == journal.StepStarted && p.kindOf(e.Step) == string(plan.Monitor) {
			once.Do(func() {
				go func() {
					select {
					case <-ctx.Done():
					case <-time.After(max(onGreen, p.options.Size.After)):
						back()
					}
				}()
			})
		}
	}
}

// back compares green at the switch while blue stands still, then takes the run back.
func (p *performance) back(ctx context.Context, o steps.Options, run string) error {
	comparison, err := p.consult(ctx)
	if err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	p.compared = &comparison
	session, err := steps.Resume(ctx, o, run)
	if err != nil {
		return err
	}
	defer session.Close()
	err = session.Rollback(ctx, "there and back")
	p.state = session.State()
	return err
}
