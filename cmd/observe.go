package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/metrics"
	"github.com/tideover/tideover/internal/report"
)

// observeFlags are for machines that watch a run from outside.
type observeFlags struct {
	metrics string
	linger  time.Duration
}

func (f *observeFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.metrics, "metrics-addr", "", "answer Prometheus at this `HOST:PORT`, under /metrics, while the run goes on (docs/metrics.md)")
	c.Flags().DurationVar(&f.linger, "metrics-linger", 2*time.Minute, "with --metrics-addr: how long a run that is over waits at most for who has asked before to ask once more, so that the end is seen")
}

// observers are told of the run, and never wait for by it.
type observers struct {
	err    io.Writer
	linger time.Duration
	server *metrics.Server
	inbox  *report.Inbox
}

// observe gets everything ready that may be impossible: it comes before anything is changed.
func (f *observeFlags) observe(ctx context.Context, std *IO) (*observers, error) {
	o := &observers{err: std.Err, linger: f.linger}
	if f.metrics == "" {
		return o, nil
	}
	server, err := metrics.Serve(ctx, f.metrics)
	if err != nil {
		return nil, err
	}
	o.server, o.inbox = server, report.NewInbox(server.Run.Sink)
	fmt.Fprintf(std.Err, "metrics at http://%s/metrics\n", server.Address())
	if !server.Loopback() {
		fmt.Fprintf(std.Err, "warning: --metrics-addr %s is not of this machine alone: whoever reaches it reads names of steps, participants and the runbook, and how the run goes\n", f.metrics)
	}
	return o, nil
}

// begin is the state that the run was found in.
func (o *observers) begin(s journal.State) {
	if o.server != nil {
		o.server.Run.Begin(s)
	}
}

// Sink takes the run's events.
func (o *observers) Sink(e journal.Event) {
	if o.inbox != nil {
		o.inbox.Put(e)
	}
}

// Timed takes how long calls and batches took.
func (o *observers) Timed(t journal.Timing) {
	if o.server != nil {
		o.server.Run.Timed(t)
	}
}

// close is for when the run was given back: who asks then gets its end.
func (o *observers) close() {
	if o.inbox != nil {
		o.inbox.Close(lastWords)
	}
	if o.server != nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) // the run's may have ended
		defer stop()
		_ = o.server.Close(ctx, o.linger, func(d time.Duration) {
			fmt.Fprintf(o.err, "the run is over and given back; waiting until its end is scraped, %s at most (--metrics-linger; Ctrl-C ends it)\n", d.Round(100*time.Millisecond))
		})
	}
}
