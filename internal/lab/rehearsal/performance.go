package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/telemetry"
	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/internal/oracle"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

// performance is one rehearsal on its deployment.
type performance struct {
	options    Options
	deployment *deployment.Deployment
	runbook    *plan.Runbook
	profile    *plan.Profile
	report     *report.Report
	keep       *keeper
	elders     *elders
	inventory  *inventory
	job        *job

	generator *traffic.Generator
	pin       *oracle.Pin
	compared  *oracle.Comparison // before the way back; nil: not yet
	state     journal.State
}

func (p *performance) close() {
	if p.pin != nil {
		p.pin.Close(context.Background())
	}
}

// perform has the traffic go on through the whole of the run, then judges.
func (p *performance) perform(ctx context.Context) error {
	var err error
	if p.generator, err = traffic.New(ctx, trafficConfig(p.deployment, p.options.Size, p.profile)); err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	if p.elders, err = meet(ctx, p.deployment.Router, p.deployment.Seeded); err != nil {
		return err
	}
	if p.elders.job != nil {
		p.job = newJob(p.deployment, deployment.ServersOf(p.profile), *p.elders.job)
	}
	if p.inventory, err = takeInventory(ctx, p.elders, p.deployment.Seeded); err != nil {
		return fmt.Errorf("ask for what is older than the rehearsal: %w", err)
	}
	if p.options.Figures != nil {
		p.options.Figures.generator.Store(p.generator)
	}
	clients, stop := context.WithCancel(ctx)
	defer stop()
	load, loaded := errgroup.WithContext(clients)
	load.Go(func() error { return p.generator.Run(loaded) })

	runErr := p.upgrade(ctx)
	stop()
	if err := load.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		runErr = errors.Join(runErr, fmt.Errorf("traffic: %w", err))
	}
	if ctx.Err() != nil {
		return errors.Join(runErr, context.Cause(ctx))
	}
	return errors.Join(runErr, p.judge(ctx))
}

// upgrade runs the runbook between a while of traffic before and a while after, and takes the figures.
func (p *performance) upgrade(ctx context.Context) error {
	size := p.options.Size
	green, err := postgres.Open(ctx, "green", p.deployment.GreenDSN)
	if err != nil {
		return err
	}
	defer green.Close()
	blue, err := postgres.Open(ctx, "blue", p.deployment.BlueDSN)
	if err != nil {
		return err
	}
	defer blue.Close()

	p.generator.Mark(markBefore)
	before, err := p.watchServer(ctx, p.deployment.BlueServer.Metrics, size.Before)
	if err != nil {
		return err
	}
	statsBefore, err := telemetry.SampleDatabase(ctx, green.Pool())
	if err != nil {
		return err
	}
	probe, err := startProbes(ctx, blue, green)
	if err != nil {
		return err
	}
	var was traces
	if was.blue, err = tracesOf(ctx, blue); err != nil {
		return err
	}
	if was.green, err = tracesOf(ctx, green); err != nil {
		return err
	}
	if was.lifetimes, err = lifetimesOf(ctx, blue); err != nil {
		return err
	}
	p.generator.Mark(markRun)
	runErr := p.run(ctx, blue, green)
	p.generator.Mark(markAfter)
	longest, probeErr := probe.stop()
	if runErr != nil {
		return errors.Join(runErr, probeErr)
	}
	after, err := p.watchServer(ctx, p.deployment.GreenServer.Metrics, size.After)
	if err != nil {
		return err
	}
	p.generator.Mark(markEnd)
	if err := p.over(ctx, blue, green, was, longest); err != nil {
		return err
	}
	statsAfter, err := telemetry.SampleDatabase(ctx, green.Pool())
	if err != nil {
		return err
	}
	p.report.LongestBlockMS = longest.Milliseconds()
	p.report.Servers = report.Servers{Before: server(before), After: server(after)}
	did := statsAfter.Since(statsBefore)
	p.report.Database = report.Database(did)
	p.report.Rows.Updated, p.report.Rows.Inserted = did.RowsUpdated, did.RowsInserted
	return probeErr
}

// over looks at what an operator would: what is left of a run that is over, and how long it kept clients waiting.
func (p *performance) over(ctx context.Context, blue, green *postgres.DB, before traces, longest time.Duration) error {
	p.report.Findings = append(p.report.Findings, promised(p.runbook, longest, p.report.Cutover.HoldMS)...)
	type side struct {
		db     *postgres.DB
		before []string
	}
	sides := []side{{blue, before.blue}}
	serves := green
	if p.options.AndBack || p.runbook.InPlace() {
		serves = blue
	}
	switch {
	case p.options.AndBack: // green is of no use any more
	case p.runbook.Step(plan.Retire) == nil:
		return nil
	default:
		sides = append(sides, side{green, before.green})
	}
	for _, side := range sides {
		found, err := left(ctx, side.db, side.before)
		if err != nil {
			return err
		}
		p.report.Findings = append(p.report.Findings, found...)
	}
	now, err := lifetimesOf(ctx, serves)
	if err != nil {
		return err
	}
	p.report.Findings = append(p.report.Findings, before.lifetimes.kept(now)...)
	return nil
}

// Marks in the history, besides the steps' own.
const (
	markBefore = "before"
	markRun    = traffic.MarkRun
	markAfter  = traffic.MarkAfter
	markEnd    = "end"
)

// due is what the runbook says is to be done, with a profile.
func (p *performance) due(profile *plan.Profile) steps.Upgrade {
	return steps.Upgrade{Runbook: p.runbook, Profile: profile, Bundled: schema.Files()}
}

// run takes the runbook through, as tideover run does.
func (p *performance) run(ctx context.Context, blue, green *postgres.DB) error {
	gate := p.options.Gate
	if gate == nil {
		gate = steps.Open{By: "rehearsal"}
	}
	broken := newSaboteur(p.options.Faults, p.runbook, p.profile, blue, green, p.kindOf)
	forward, end := context.WithCancelCause(ctx)
	defer end(nil)
	o := steps.Options{
		Upgrade: p.due(broken.given), Version: p.options.Version, Gate: gate, Timed: p.options.Timed,
		Sink: report.Tee(Marks(p.generator.Mark, p.kindOf), nobodyServes(p.generator.Mark), broken.sink(ctx), p.jobs(ctx), p.options.Sink, p.keep.sink),
		Pin: func(ctx context.Context, green *postgres.DB) (err error) {
			if p.pin != nil { // of a try that was called off
				p.pin.Close(ctx)
			}
			p.pin, err = oracle.NewPin(ctx, green)
			return err
		},
	}
	if p.options.AndBack {
		o.Sink = report.Tee(o.Sink, p.watched(forward, func() { end(errBack) }))
	}
	session, err := steps.Start(ctx, o)
	if err != nil {
		return err
	}
	err = errors.Join(session.Run(forward), broken.failed())
	p.state = session.State()
	session.Close()
	if errors.Is(context.Cause(forward), errBack) && ctx.Err() == nil {
		err = errors.Join(p.back(ctx, o, p.state.Run), broken.failed())
	}
	collected := report.Collect(p.state)
	*p.report = collected
	return err
}

// jobs has the job do its work; nil: there is none.
func (p *performance) jobs(ctx context.Context) journal.Sink {
	if p.job == nil {
		return nil
	}
	return p.job.sink(ctx, deployment.ServersOf(p.profile), p.kindOf)
}

// kindOf is the mark of a step in the traffic's history: its kind, whatever its id is.
func (p *performance) kindOf(step string) string {
	for _, spec := range p.runbook.Steps {
		if spec.ID == step {
			return string(spec.Kind)
		}
	}
	return step
}

// watchServer reads a server's metrics, waits, and reads them again.
func (p *performance) watchServer(ctx context.Context, url string, during time.Duration) (telemetry.ServerUse, error) {
	first, err := telemetry.Sample(ctx, url)
	if err != nil {
		return telemetry.ServerUse{}, err
	}
	select {
	case <-ctx.Done():
		return telemetry.ServerUse{}, context.Cause(ctx)
	case <-time.After(during):
	}
	last, err := telemetry.Sample(ctx, url)
	if err != nil {
		return telemetry.ServerUse{}, err
	}
	return telemetry.Between(first, last), nil
}

func server(use telemetry.ServerUse) report.Server {
	return report.Server{RSSMB: use.RSSMB, HeapMB: use.HeapMB, Goroutines: use.Goroutines, CPUCores: use.CPUCores}
}
