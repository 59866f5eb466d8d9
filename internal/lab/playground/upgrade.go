package playground

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

// open is how long the hold stays open for a click: less than the console waits for the admin API, and than the cutover's deadline.
const open = 6 * time.Second

// watching is how long green is watched, which is as long as there is a way back: longer than a playground lives.
const watching = 7 * 24 * time.Hour

// errBack ends the monitor step of a run that is to be taken back.
var errBack = errors.New("the person at the playground goes back")

// errBusy is for a click that comes too early or too late.
var errBusy = errors.New("the upgrade is not where this can be done: go back to the page, which shows what can be done now")

// upgrade is the run, as far as it is. Its methods are what the page's buttons do.
type upgrade struct {
	options    Options
	deployment *deployment.Deployment
	router     *router.Client
	starts     chan struct{} // a click on "start"

	mu      sync.Mutex
	running bool
	session *steps.Session
	state   journal.State           // of the session before, once there is none
	gate    chan struct{}           // is closed by a click on "switch"; nil: no gate waits
	hold    chan struct{}           // is closed by a click on "go on"; nil: no hold is open
	until   time.Time               // when the hold goes on by itself
	back    context.CancelCauseFunc // ends the way forward; nil: not under way
	err     error                   // why the last run came to its end
}

func newUpgrade(o Options, d *deployment.Deployment) *upgrade {
	return &upgrade{options: o, deployment: d, starts: make(chan struct{}, 1), router: router.NewClient(d.RouterControl, d.RouterToken)}
}

// work does what clicks ask for until ctx ends.
func (u *upgrade) work(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.starts:
		}
		err := u.run(ctx)
		u.mu.Lock()
		u.running, u.err = false, err
		u.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			fmt.Fprintf(u.options.Log, "the upgrade has ended: %s\n", err)
		}
	}
}

// run takes the runbook through, and back where that is asked for.
func (u *upgrade) run(ctx context.Context) error {
	of := u.deployment.Environment()
	rb, profile, err := u.options.Load(func(name string) (string, bool) {
		if v, ok := of[name]; ok {
			return v, true
		}
		return os.LookupEnv(name)
	})
	if err != nil {
		return err
	}
	watch, sw := rb.Step(plan.Monitor), rb.Step(plan.Cutover)
	if watch == nil || sw == nil {
		return fmt.Errorf("runbook %s has no cutover and monitor step to play with", rb.Path)
	}
	long := *watch.Config.(*plan.MonitorSpec)
	long.For = watching
	watch.Config, sw.Approve = &long, true
	o := steps.Options{Upgrade: steps.Upgrade{Runbook: rb, Profile: profile, Bundled: schema.Files()}, Version: u.options.Version,
		Sink: u.options.Sink, Gate: gateFunc(u.wait), Pin: u.holdOpen}

	session, err := u.take(ctx, o)
	if err != nil {
		return err
	}
	forward, end := context.WithCancelCause(ctx)
	defer end(nil)
	u.enter(session, end)
	err = session.Run(forward)
	run := u.leave()
	if !errors.Is(context.Cause(forward), errBack) || ctx.Err() != nil {
		return err
	}
	if session, err = steps.Resume(ctx, o, run); err != nil {
		return err
	}
	u.enter(session, nil)
	defer u.leave()
	return session.Rollback(ctx, errBack.Error())
}

// take begins a run, or takes on the one that has stopped.
func (u *upgrade) take(ctx context.Context, o steps.Options) (*steps.Session, error) {
	u.mu.Lock()
	stopped, run := u.stopped(), u.state.Run
	u.mu.Unlock()
	if stopped {
		return steps.Resume(ctx, o, run)
	}
	return steps.Start(ctx, o)
}

// enter has the page show this session.
func (u *upgrade) enter(s *steps.Session, back context.CancelCauseFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.session, u.back = s, back
}

// leave gives the session back and keeps what it came to.
func (u *upgrade) leave() (run string) {
	u.mu.Lock()
	s := u.session
	u.state, u.session, u.back = s.State(), nil, nil
	run = u.state.Run
	u.mu.Unlock()
	s.Close()
	return run
}

type gateFunc func(ctx context.Context, step string) (string, error)

func (f gateFunc) Wait(ctx context.Context, step string) (string, error) { return f(ctx, step) }

// wait is the gate before the switch: a click opens it.
func (u *upgrade) wait(ctx context.Context, _ string) (string, error) {
	clicked := u.show(&u.gate, 0)
	defer u.hide(&u.gate)
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-clicked:
		return "the person at the playground", nil
	}
}

// holdOpen keeps the hold open: writes wait, green is complete and verified, and blue could still go on.
func (u *upgrade) holdOpen(ctx context.Context, _ *postgres.DB) error {
	clicked := u.show(&u.hold, open)
	defer u.hide(&u.hold)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-clicked:
	case <-time.After(open):
	}
	return nil
}

// show makes a button.
func (u *upgrade) show(button *chan struct{}, within time.Duration) <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	*button, u.until = make(chan struct{}), time.Now().Add(within)
	return *button
}

func (u *upgrade) hide(button *chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	*button = nil
}

// press is a click on a button that is closed by it.
func (u *upgrade) press(button *chan struct{}) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if *button == nil {
		return errBusy
	}
	close(*button)
	*button = nil
	return nil
}

// start begins the upgrade, or goes on with one that has stopped.
func (u *upgrade) start() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.startable() {
		return errBusy
	}
	u.running, u.err = true, nil
	u.starts <- struct{}{}
	return nil
}

// stopped says that the last run has not come to an end of its own.
func (u *upgrade) stopped() bool { return u.state.Run != "" && !u.state.Phase.Ended() }

// startable says that there is nothing under way, and that green can still be had: one that has served is kept as it is.
func (u *upgrade) startable() bool {
	return !u.running && (u.stopped() || !u.state.PastPointOfNoReturn)
}

// doSwitch opens the gate before the cutover, and goOn ends the open hold.
func (u *upgrade) doSwitch() error { return u.press(&u.gate) }
func (u *upgrade) goOn() error     { return u.press(&u.hold) }

// goBack takes the run back: at the gate before the switch, or once green serves.
func (u *upgrade) goBack() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.back == nil || u.gate == nil && !watches(u.session.State()) {
		return errBusy
	}
	u.back(errBack)
	u.back = nil
	return nil
}

// watches says that green serves and is watched: the way back stands open.
func watches(s journal.State) bool {
	for _, st := range s.Steps {
		if st.Kind == string(plan.Monitor) {
			return st.Status == journal.StepIsRunning
		}
	}
	return false
}

// now is what the page shows of the run.
type now struct {
	State                                           journal.State
	Running                                         bool
	CanStart, Stopped, CanSwitch, Open, CanRollBack bool
	Left                                            time.Duration // of the open hold
	Err                                             error
}

func (u *upgrade) look() now {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := now{State: u.state, Running: u.running, CanStart: u.startable(), Stopped: u.stopped(), CanSwitch: u.gate != nil, Open: u.hold != nil, Err: u.err}
	if u.session != nil {
		n.State = u.session.State()
	}
	n.CanRollBack = u.back != nil && (n.CanSwitch || watches(n.State))
	if n.Open {
		n.Left = max(0, time.Until(u.until)).Round(100 * time.Millisecond)
	}
	return n
}
