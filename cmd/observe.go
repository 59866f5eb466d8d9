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
	"github.com/tideover/tideover/internal/traces"
)

// observeFlags are for machines that watch a run from outside.
type observeFlags struct {
	metrics string
	linger  time.Duration
	otlp    string
}

// tracesWithin bounds the wait for a collector of traces at the end.
const tracesWithin = 5 * time.Second

func (f *observeFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.metrics, "metrics-addr", "", "answer Prometheus at this `HOST:PORT`, under /metrics, while the run goes on (docs/metrics.md)")
	c.Flags().DurationVar(&f.linger, "metrics-linger", 2*time.Minute, "with --metrics-addr: how long a run that is over waits at most for who has asked before to ask once more, so that the end is seen")
	c.Flags().StringVar(&f.otlp, "otlp", "", "give a collector of traces at this `URL` a span for each step, stage and call, by OTLP over HTTP; OTEL_EXPORTER_OTLP_ENDPOINT does the same")
}

// observers are told of the run, and never wait for by it.
type observers struct {
	err    io.Writer
	linger time.Duration
	server *metrics.Server
	inbox  *report.Inbox
	traces *traces.Traces
}

// observe gets everything ready that may be impossible: it comes before anything is changed.
func (f *observeFlags) observe(ctx context.Context, std *IO) (*observers, error) {
	o := &observers{err: std.Err, linger: f.linger}
	config, err := traces.Read(f.otlp, std.Env)
	if err != nil {
		return nil, usageError{err}
	}
	for _, text := range config.Warnings {
		fmt.Fprintf(std.Err, "warning: %s\n", text)
	}
	if f.metrics != "" {
		if err := o.serve(ctx, std, f.metrics); err != nil {
			return nil, err
		}
	}
	if config.URL != nil {
		config.Version = version
		o.traces = traces.New(config)
	}
	return o, nil
}

// serve begins to answer Prometheus.
func (o *observers) serve(ctx context.Context, std *IO, address string) error {
	server, err := metrics.Serve(ctx, address)
	if err != nil {
		return err
	}
	o.server, o.inbox = server, report.NewInbox(server.Run.Sink)
	fmt.Fprintf(std.Err, "metrics at http://%s/metrics\n", server.Address())
	if !server.Loopback() {
		fmt.Fprintf(std.Err, "warning: --metrics-addr %s is not of this machine alone: whoever reaches it reads names of steps, participants and the runbook, and how the run goes\n", address)
	}
	return nil
}

// begin is the state that the run was found in.
func (o *observers) begin(s journal.State) {
	if o.server != nil {
		o.server.Run.Begin(s)
	}
	if o.traces != nil {
		o.traces.Begin(s)
	}
}

// Sink takes the run's events.
func (o *observers) Sink(e journal.Event) {
	if o.inbox != nil {
		o.inbox.Put(e)
	}
	if o.traces != nil {
		o.traces.Sink(e)
	}
}

// Timed takes how long calls and batches took.
func (o *observers) Timed(t journal.Timing) {
	if o.server != nil {
		o.server.Run.Timed(t)
	}
	if o.traces != nil {
		o.traces.Timed(t)
	}
}

// close is for when the run was given back: who asks then gets its end.
func (o *observers) close() {
	if o.inbox != nil {
		o.inbox.Close(lastWords)
	}
	if o.traces != nil {
		ctx, cancel := context.WithTimeout(context.Background(), tracesWithin) // the run's may have ended
		defer cancel()
		if err := o.traces.Close(ctx); err != nil {
			fmt.Fprintf(o.err, "warning: %v\n", err)
		}
	}
	if o.server != nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) // the run's may have ended
		defer stop()
		_ = o.server.Close(ctx, o.linger, func(d time.Duration) {
			fmt.Fprintf(o.err, "the run is over and given back; waiting until its end is scraped, %s at most (--metrics-linger; Ctrl-C ends it)\n", d.Round(100*time.Millisecond))
		})
	}
}
