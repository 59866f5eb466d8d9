// Package rehearsal takes a runbook through a whole upgrade on a throw-away deployment, under real OAuth traffic, and has it
// judged: by the checker, which knows only what the clients saw, and by the oracle, which compares green with blue's
// final state migrated offline.
package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/steps"
)

// Options says what is to be rehearsed, and on what.
type Options struct {
	// Load reads the runbook; its ${…} references are those of the deployment (deployment.Environment), then the process's own.
	Load       func(env func(string) (string, bool)) (*plan.Runbook, *plan.Profile, error)
	Size       Size
	Executable string // the tideover binary; default: this program
	Postgres   pgserver.Origin
	Network    string
	// Participants calls the runbook's own participants and jobs; else files of the deployment play them.
	Participants bool
	Faults       []Fault    // safeguards of the run to break
	AndBack      bool       // when green has served for a while, the run is taken back: judged is blue
	Gate         steps.Gate // opens approve gates; default: they open by themselves
	Sink         journal.Sink
	Timed        func(journal.Timing) // of calls and batches; may be nil
	Log          io.Writer
	Keep         string // a folder to leave events, history, report, logs and dumps in; "": nothing is kept
	Written      []byte // the runbook as it was written, to be kept with the rest
	Version      string
	Figures      *Figures // the traffic's figures while it goes on, for a screen; may be nil
}

// Size is how much data and traffic a rehearsal has.
type Size struct {
	Seed    seed.Options
	Clients int
	Rate    float64       // requests a second
	Mix     traffic.Mix   // of the clients' actions; zero: traffic.DefaultMix
	Before  time.Duration // traffic before the run begins, for the figures
	After   time.Duration // traffic after its end
}

// Sizes are the named ones.
func Sizes() map[string]Size {
	return map[string]Size{
		"tiny": { // to see whether a runbook goes through, in as little time as its own waits leave
			Seed:    seed.Options{Clients: 10, Sessions: 300, Offending: true},
			Clients: 12, Rate: 60, Before: time.Second, After: time.Second,
		},
		"small": {
			Seed:    seed.Options{Clients: 20, Sessions: 2_000, Offending: true},
			Clients: 24, Rate: 140, Before: 4 * time.Second, After: 3 * time.Second,
		},
		"busy": { // as many requests a second as two cores bear; most are resource servers' introspections
			Mix:     readMostly(),
			Seed:    seed.Options{Clients: 20, Sessions: 2_000, Offending: true},
			Clients: 64, Rate: 500, Before: 4 * time.Second, After: 3 * time.Second,
		},
		"medium": {
			Seed:    seed.Options{Clients: 200, Sessions: 60_000, Offending: true},
			Clients: 32, Rate: 200, Before: 10 * time.Second, After: 10 * time.Second,
		},
		"large": { // to see how long a copy, a migration and a hold take; twenty minutes and more
			Seed:    seed.Options{Clients: 40, Sessions: 400_000, Offending: true},
			Clients: 32, Rate: 120, Before: 10 * time.Second, After: 10 * time.Second,
		},
	}
}

// with gives the size with these servers: the real Hydra does twice as much for a request as the bundled server does.
func (s Size) with(servers deployment.Servers) Size {
	if servers == deployment.Hydra {
		s.Rate, s.Clients, s.Seed.Sessions = s.Rate/2, s.Clients/2, s.Seed.Sessions/2
	}
	return s
}

// readMostly is traffic.DefaultMix with as many reads as a production server sees: six requests of seven.
func readMostly() traffic.Mix {
	m := traffic.DefaultMix()
	m.Introspect, m.Userinfo, m.Static = 320, 60, 40
	return m
}

// Run rehearses. The report is complete also when the run failed; the error says why it did, or that the judges hold
// something against it.
func Run(ctx context.Context, o Options) (rep report.Report, err error) {
	rep.Outcome = "failed"
	_, profile, err := o.Load(anyDeployment) // which servers are to play
	if err != nil {
		return rep, err
	}
	o.Size = o.Size.with(deployment.ServersOf(profile))
	s, err := deployment.Start(ctx, deployment.Options{Executable: o.Executable, Postgres: o.Postgres, Network: o.Network,
		Servers: deployment.ServersOf(profile), Seed: o.Size.Seed, Log: o.Log})
	if err != nil {
		return rep, fmt.Errorf("set the deployment: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	runbook, profile, err := o.Load(environment(s))
	if err != nil {
		return rep, err
	}
	onDeployment(runbook, s)
	if o.AndBack {
		if err := stay(runbook); err != nil {
			return rep, err
		}
	}
	if !o.Participants {
		if err := standIns(runbook, s, o.Log); err != nil {
			return rep, fmt.Errorf("set the deployment: %w", err)
		}
	}
	keep, err := newKeeper(o.Keep, o.Written)
	if err != nil {
		return rep, fmt.Errorf("keep the rehearsal: %w", err)
	}
	p := &performance{options: o, deployment: s, runbook: runbook, profile: profile, report: &rep, keep: keep}
	defer p.close()
	err = p.perform(ctx)
	rep.Kept = o.Keep
	if kept := keep.end(context.WithoutCancel(ctx), s, rep); kept != nil {
		err = errors.Join(err, fmt.Errorf("keep the rehearsal: %w", kept))
	}
	return rep, err
}

// coalescing is how long after a refresh the router promises the same answer to a retry, less a margin.
const coalescing = 5 * time.Second

// patience is how long a client waits for an answer: longer than a cutover's deadline usually is.
const patience = 30 * time.Second

// trafficConfig points the clients at the router, and a few of them past it at the old server.
func trafficConfig(s *deployment.Deployment, size Size, profile *plan.Profile) traffic.Config {
	return s.Clients(traffic.Config{
		Public: s.Router.Public, Admin: s.Router.Admin,
		BypassPublic: s.BlueServer.Public, BypassAdmin: s.BlueServer.Admin,
		Issuer: s.Router.Public, Clients: size.Clients, Rate: size.Rate, RetryRefresh: true, Coalescing: coalescing, Mix: size.Mix,
		Timeout:    patience,
		AppsReturn: slices.ContainsFunc(profile.CarryBack, func(c plan.CarryBack) bool { return c.Table == "oauth_client" }),
	})
}
