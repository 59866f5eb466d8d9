package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/rehearsal"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/internal/tui"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/testdata"
)

const demoLong = `Demo upgrades a live OAuth server from generation 1.1 to 2.0, on two throw-away Postgres servers, under real OAuth
traffic, and has the result judged: the checker, which knows only what the clients saw, and the oracle, which compares
green with blue's final state migrated offline; by what the servers' API said of everything before the run and says after it; and
by what an operator would find left behind. With --and-back the run is rolled back while clients go on, and blue is judged.
Everything is removed at the end.

The Postgres servers are found in this order: a DSN that is given (TIDEOVER_TEST_DSN_BLUE and _GREEN), local binaries, a
container, a download.

EXIT STATUS
  0 completed, and nothing was lost  1 failed  2 usage  5 the judges found a fault  130 interrupted`

const rehearseLong = `Rehearse takes your runbook through the whole upgrade on the same throw-away deployment as the demo: its blue and green
are replaced by throw-away servers, everything else is done as written, under traffic, and judged. Use it in CI.

The runbook's ${TIDEOVER_BLUE_DSN}, ${TIDEOVER_GREEN_DSN}, ${TIDEOVER_BLUE_PUBLIC}, ${TIDEOVER_BLUE_ADMIN},
${TIDEOVER_GREEN_PUBLIC}, ${TIDEOVER_GREEN_ADMIN}, ${TIDEOVER_ROUTER_ADMIN} and ${TIDEOVER_ROUTER_TOKEN} are those of the
deployment; whatever the runbook says, its sides and its router are replaced by the deployment's. Its participants and paused jobs
are played by files, so that nothing of the real run is switched or stopped; --with-participants calls the real ones.

The bundled OAuth server plays old and new, or, where the profile is of Ory Hydra, the real one: the programs hydra-v1 and
hydra-v2, which "make hydra" builds, beside tideover, in bin or on the PATH, or those that TIDEOVER_HYDRA_V1 and
TIDEOVER_HYDRA_V2 name. The command "hydra" of a migrate step is then the new one.

EXIT STATUS
  0 completed, and nothing was lost  1 failed  2 usage  5 the judges found a fault  130 interrupted`

// rehearsalFlags are the flags of demo and rehearse.
type rehearsalFlags struct {
	runFlags
	size     string
	postgres string
	network  string
	keep     bool
	andBack  bool
	faults   []string

	participants bool
}

func (f *rehearsalFlags) add(c *cobra.Command) {
	f.runFlags.add(c, false)
	f.observeFlags.add(c)
	c.Flags().StringVar(&f.size, "size", "small", "how much data and traffic: tiny, small, busy, medium or large")
	addPostgres(c, &f.postgres, &f.network)
	c.Flags().BoolVar(&f.keep, "keep", false, "keep the events, the traffic's history, the report, all logs and a dump of both databases in a new folder here")
	c.Flags().BoolVar(&f.andBack, "and-back", false, "when green has served for a while, roll back under traffic, and judge blue")
	c.Flags().StringSliceVar(&f.faults, "fault", nil, "switch a safeguard off, to see the judges say so: "+strings.Join(rehearsal.FaultNames(), ", "))
	c.Flags().Lookup("fault").Hidden = true
}

// NewDemoCmd is tideover demo.
func NewDemoCmd(std *IO) *cobra.Command {
	var f rehearsalFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Upgrade a live OAuth server on throw-away Postgres, and prove that nothing was lost",
		Long:  demoLong,
		Args:  exactArgs(0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			data, err := testdata.Runbooks.ReadFile("runbooks/demo.yaml")
			if err != nil {
				return err
			}
			return rehearse(c.Context(), std, f, "demo", data, demoRunbook)
		},
	}
	f.add(c)
	return c
}

// demoRunbook reads the demo's runbook and its profile.
func demoRunbook(env func(string) (string, bool)) (*plan.Runbook, *plan.Profile, error) {
	data, err := testdata.Runbooks.ReadFile("runbooks/demo.yaml")
	if err != nil {
		return nil, nil, err
	}
	rb, err := plan.ParseRunbook("demo.yaml", data, env)
	if err != nil {
		return nil, nil, err
	}
	rb.Path = "demo.yaml"
	profile, err := plan.LoadProfile(rb.Profile, ".")
	return rb, profile, err
}

// NewRehearseCmd is tideover rehearse.
func NewRehearseCmd(std *IO) *cobra.Command {
	var f rehearsalFlags
	c := &cobra.Command{
		Use:   "rehearse RUNBOOK",
		Short: "Take your runbook through the whole upgrade on throw-away Postgres, under traffic",
		Long:  rehearseLong,
		Args:  exactArgs(1, "one runbook"),
		RunE: func(c *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return usageError{err}
			}
			return rehearse(c.Context(), std, f, args[0], data, func(env func(string) (string, bool)) (*plan.Runbook, *plan.Profile, error) {
				return loadRunbook(args[0], env)
			})
		},
	}
	f.add(c)
	c.Flags().BoolVar(&f.participants, "with-participants", false, "call the runbook's own participants and jobs")
	return c
}

// rehearse has a runbook rehearsed: written is its text, which load reads.
func rehearse(ctx context.Context, std *IO, f rehearsalFlags, title string, written []byte,
	load func(func(string) (string, bool)) (*plan.Runbook, *plan.Profile, error)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	o, err := f.options(std, title)
	if err != nil {
		return err
	}
	watched, err := f.observe(ctx, std)
	if err != nil {
		return err
	}
	defer watched.close()
	var figures rehearsal.Figures
	v := newView(ctx, std, f.runFlags, title, journal.State{}, liveTraffic(&figures), stop)
	defer v.Close()
	o.Load, o.Written, o.Sink, o.Timed, o.Version, o.Figures = load, written, report.Tee(watched.Sink, v.Sink()), watched.Timed, version, &figures
	r, err := rehearsal.Run(ctx, o)
	if err == nil || r.Run != "" {
		v.Finish(r)
	}
	v.Close()
	if o.Keep != "" {
		fmt.Fprintf(std.Err, "kept in %s\n", o.Keep)
	}
	return err
}

// liveTraffic gives the screen the clients' figures.
func liveTraffic(f *rehearsal.Figures) func() (tui.Traffic, bool) {
	return func() (tui.Traffic, bool) {
		live, ok := f.Live()
		return tui.Traffic{Requests: live.Requests, Failed: live.Failed, Rate: live.Rate, P95: live.P95, Held: live.Waiting}, ok
	}
}

// options checks the flags.
func (f *rehearsalFlags) options(std *IO, title string) (o rehearsal.Options, err error) {
	size, ok := rehearsal.Sizes()[f.size]
	if !ok {
		return o, usageErrorf("--size is %q; it can be tiny, small, busy, medium or large", f.size)
	}
	if err := checkPostgres(f.postgres, f.network); err != nil {
		return o, err
	}
	faults, err := rehearsal.ParseFaults(f.faults, f.andBack)
	if err != nil {
		return o, usageError{err}
	}
	o = rehearsal.Options{Size: size, Participants: f.participants, Postgres: pgserver.Origin(f.postgres), Network: f.network, Faults: faults, AndBack: f.andBack, Log: io.Discard}
	if !std.IsTerminal || f.noTUI || f.json {
		o.Log = std.Err
	}
	if f.keep {
		name := strings.TrimSuffix(filepath.Base(title), filepath.Ext(title))
		o.Keep, err = os.MkdirTemp(".", fmt.Sprintf("tideover-%s-%s-", name, time.Now().Format("20060102-150405")))
	}
	return o, err
}

// addPostgres adds the flags that say where throw-away Postgres comes from.
func addPostgres(c *cobra.Command, origin, network *string) {
	c.Flags().StringVar(origin, "postgres", "auto", "where throw-away Postgres comes from: auto, dsn, local, container or download")
	c.Flags().StringVar(network, "container-network", "bridge", "network of containers: bridge or host")
}

func checkPostgres(origin, network string) error {
	sources := []string{"auto", "dsn", "local", "container", "download"}
	if !slices.Contains(sources, origin) {
		return usageErrorf("--postgres is %q; it can be %s", origin, strings.Join(sources, ", "))
	}
	if network != "bridge" && network != "host" {
		return usageErrorf("--container-network is %q; it can be bridge or host", network)
	}
	return nil
}
