package steps

import (
	"context"
	"errors"
	"os"
	"os/user"
	"sync"
	"time"

	"github.com/tideover/tideover/cutover"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/replay"
)

// Options is what a process needs to work on a run.
type Options struct {
	Upgrade
	Sink     journal.Sink
	Timed    func(journal.Timing) // Env.Timed
	Gate     Gate                 // besides tideover approve, which always opens a gate
	Version  string
	Override []string                                            // guardrails of the cutover that a person goes past (Guardrails)
	Pin      func(ctx context.Context, green *postgres.DB) error // Env.Pin
}

// Session is a run that this process holds. It is closed with Close, whatever Run or Rollback returned.
type Session struct {
	env     *Env
	lease   *postgres.Lease
	runner  *Runner
	journal *postgres.Journal
	tell    *notifier
}

// Start begins a new run and takes it.
func Start(ctx context.Context, o Options) (*Session, error) {
	if err := CheckMigrations(o.Upgrade); err != nil {
		return nil, err
	}
	return open(ctx, o, func(j *postgres.Journal, s *Session, built []Step) (*postgres.Lease, error) {
		if err := checkMigrationsAt(ctx, o.Upgrade, s.env.Blue.DSN()); err != nil {
			return nil, err
		}
		if err := s.env.notCompleted(ctx, j); err != nil {
			return nil, err
		}
		return j.Create(ctx, journal.RunStartedData{
			Name: o.Runbook.Name, Runbook: o.Runbook.Path, Hash: o.Runbook.Hash, Version: o.Version,
			Steps: references(o.Runbook, built), Content: o.Runbook.Content, Profile: o.Runbook.Profile, ProfileContent: o.Profile.Content,
		}, holder(), o.documents()...)
	})
}

// Resume takes a run over that has no living process.
func Resume(ctx context.Context, o Options, run string) (*Session, error) {
	return open(ctx, o, func(j *postgres.Journal, s *Session, built []Step) (*postgres.Lease, error) {
		return j.Take(ctx, run, holder())
	})
}

func open(ctx context.Context, o Options, take func(*postgres.Journal, *Session, []Step) (*postgres.Lease, error)) (_ *Session, err error) {
	s := &Session{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	s.env = &Env{Upgrade: o.Upgrade, Override: o.Override, Timed: o.Timed}
	if err := s.env.connect(ctx); err != nil {
		return nil, err
	}
	control := s.env.Blue
	if o.Runbook.Control.DSN != "" {
		if control, err = s.env.open(ctx, "control", o.Runbook.Control.DSN); err != nil {
			return nil, err
		}
	}
	if o.Pin != nil {
		s.env.Pin = func(ctx context.Context) error { return o.Pin(ctx, s.env.Green) }
	}
	built, err := Build(s.env)
	if err != nil {
		return nil, err
	}
	j := postgres.NewJournal(control)
	s.journal = j
	if s.lease, err = take(j, s, built); err != nil {
		return nil, err
	}
	events, err := s.lease.Load(ctx, 0)
	if err != nil {
		return nil, err
	}
	if s.env.ApprovedRows, err = j.ApprovedRows(ctx, s.lease.Run()); err != nil {
		return nil, err
	}
	gates := Any{Poll{Every: time.Second, Approved: func(ctx context.Context, step string) (string, error) { return j.Approved(ctx, s.lease.Run(), step) }}}
	if o.Gate != nil {
		gates = append(gates, o.Gate)
	}
	then, err := contentIn(ctx, j, s.lease.Run())
	if err != nil {
		return nil, err
	}
	s.tell = newNotifier(o.Runbook.Name, o.Runbook.Notify, func(text string) { s.runner.warn(journal.AboutUntold, text) })
	s.runner, err = NewRunner(Config{Lease: s.lease, Events: events, Hash: o.Runbook.Hash, Steps: built, Gate: gates, Sinks: append(sinks(o.Sink), s.tell.sink),
		Approval: func(ctx context.Context, step string) (journal.ApprovedData, error) {
			return j.Approval(ctx, s.lease.Run(), step)
		},
		Now: Content{o.Runbook.Content, o.Profile.Content}, Then: then})
	if err != nil {
		return nil, err
	}
	s.env.Run, s.env.Term, s.env.State = s.lease.Run(), s.lease.Term(), s.runner.State
	return s, nil
}

// Run goes forward, or on with a way back that has begun.
func (s *Session) Run(ctx context.Context) error {
	return s.steered(ctx, func() error { return s.runner.Run(ctx) })
}

// steered answers what persons at other terminals ask for while work goes on.
func (s *Session) steered(ctx context.Context, work func() error) error {
	steering, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wheel sync.WaitGroup
	wheel.Go(func() { s.runner.Steer(steering, s.journal) })
	wheel.Go(func() { newWaits(s.runner, s.env.opened...).watch(steering) })
	telling, untell := context.WithCancel(context.WithoutCancel(ctx))
	defer untell()
	s.tell.begin(telling)
	err := work()
	stop()
	wheel.Wait()
	last := time.AfterFunc(notifyLast, untell)
	defer last.Stop()
	s.tell.close()
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), wheelTimeout)
	defer cancel()
	_ = s.journal.Leave(leaving, s.lease.Run(), s.lease.Term()) // who asked withdraws it otherwise
	return err
}

// Cost is what a rollback would cost now.
type Cost struct {
	Sessions []string      // that green alone knows, as table and key
	Lost     []replay.Lost // what green's clients have written and blue would not have
}

// Cost looks what a rollback would cost, past the point of no return; nothing before it. It reads each of green's tables once.
func (s *Session) Cost(ctx context.Context) (c Cost, err error) {
	if !s.env.pastPointOfNoReturn() {
		return c, nil
	}
	if c.Sessions, err = replay.NewReverse(s.env.Blue, s.env.Green, s.env.Profile).OnlyGreen(ctx); err != nil {
		return c, err
	}
	c.Lost, err = s.env.lost(ctx)
	return c, err
}

// Rollback takes the run back.
func (s *Session) Rollback(ctx context.Context, reason string) error {
	return s.steered(ctx, func() error { return s.runner.Rollback(ctx, reason) })
}

// RehearseCutover does everything of the cutover up to the point of no return, and takes it back.
func (s *Session) RehearseCutover(ctx context.Context) (cutover.Figures, error) {
	return s.runner.Rehearse(ctx)
}

// State is what the journal says of the run now.
func (s *Session) State() journal.State { return s.runner.State() }

// Close gives the run back and closes the connections.
func (s *Session) Close() {
	if s.env != nil && s.env.replayer != nil {
		s.env.replayer.Disconnect()
	}
	if s.lease != nil {
		s.lease.Release()
	}
	if s.env != nil {
		s.env.close()
	}
}

// holder is this process.
func holder() journal.Holder {
	h := journal.Holder{PID: os.Getpid()}
	h.Host, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	} else if !errors.Is(err, os.ErrNotExist) {
		h.User = os.Getenv("USER")
	}
	return h
}

func sinks(s journal.Sink) []journal.Sink {
	if s == nil {
		return nil
	}
	return []journal.Sink{s}
}
