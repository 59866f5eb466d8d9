package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/metrics"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/steps"
)

// work is a step made of a function.
type work struct {
	id  string
	run func(context.Context, *steps.Progress) error
}

func (w work) ID() string                                        { return w.id }
func (w work) Done(context.Context) (bool, error)                { return false, nil }
func (w work) Run(ctx context.Context, p *steps.Progress) error  { return w.run(ctx, p) }
func (w work) Undo(ctx context.Context, p *steps.Progress) error { return nil }
func nothing(context.Context, *steps.Progress) error             { return nil }
func serve(t *testing.T) *metrics.Server                         { t.Helper(); return serveAt(t, "127.0.0.1:0") }
func never(t *testing.T) func(time.Duration) {
	return func(time.Duration) { t.Error("somebody is waited for") }
}

func serveAt(t *testing.T, address string) *metrics.Server {
	t.Helper()
	s, err := metrics.Serve(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runner is a run whose events go where tideover run lets them go, to the last one.
func runner(t *testing.T, s *metrics.Server, list ...steps.Step) (run func() error) {
	t.Helper()
	store := journaltest.NewMemory()
	d := journal.RunStartedData{Name: "test", Runbook: "test.yaml", Hash: "h"}
	for _, step := range list {
		d.Steps = append(d.Steps, journal.StepRef{ID: step.ID(), Kind: "fake", Undoable: true})
	}
	lease, err := store.Create(t.Context(), d, journaltest.Who(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Release)
	events, err := store.Load(t.Context(), lease.Run(), 0)
	if err != nil {
		t.Fatal(err)
	}
	inbox := report.NewInbox(s.Run.Sink)
	r, err := steps.NewRunner(steps.Config{Lease: lease, Events: events, Hash: "h", Steps: list, Sinks: []journal.Sink{inbox.Put}})
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		err := r.Run(t.Context())
		if !inbox.Close(time.Minute) {
			t.Error("an event was not taken")
		}
		return err
	}
}

func closing(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, s *metrics.Server) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	return string(body)
}

// Scrapers that ask and do not read, more than are answered at once, hold up neither the run nor the end of its process.
func TestScrapersThatStand(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for i := range 4000 { // so that an answer is longer than what kernels keep for who does not read
		s.Run.Timed(journal.Timing{What: journal.TimedCall, Name: fmt.Sprintf("a participant of a long name, number %d", i), Call: "prepare"})
	}
	stand := func() {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Address())
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.(*net.TCPConn).SetReadBuffer(1)
		if _, err = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err == nil {
			_, err = io.ReadFull(c, make([]byte, 16)) // it is being answered
		}
		if err != nil {
			t.Error(err)
		}
	}
	run := runner(t, s, work{"a", func(ctx context.Context, p *steps.Progress) error {
		var standing sync.WaitGroup
		for range 6 {
			standing.Go(stand)
		}
		standing.Wait()
		for i := range int64(2000) {
			p.Report(i, 0, "rows", "")
		}
		return p.Note(ctx, "warn", "x")
	}}, work{"b", nothing})
	if err := run(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closing(t, s.Close(ctx, time.Hour, func(time.Duration) {}))
}

// The end of a run is there until it was scraped once more, where somebody has scraped before.
func TestLastScrape(t *testing.T) {
	t.Parallel()
	s := serve(t)
	run := runner(t, s, work{"a", func(context.Context, *steps.Progress) error {
		get(t, s)
		return errors.New("it is wrong")
	}})
	if err := run(); err == nil {
		t.Fatal("the run has not failed")
	}
	var last string
	closing(t, s.Close(t.Context(), time.Hour, func(time.Duration) {
		last = get(t, s)
	}))
	for _, want := range []string{`outcome="failed",run="run1"} 1`, "tideover_run_step_failures_total", "go_goroutines", "process_start_time_seconds"} {
		if !strings.Contains(last, want) {
			t.Errorf("no %s in\n%s", want, last)
		}
	}
}

// Who has never asked is not waited for.
func TestNobodyAsked(t *testing.T) {
	t.Parallel()
	s := serve(t)
	if !s.Loopback() {
		t.Errorf("%s is called an address that others reach", s.Address())
	}
	closing(t, s.Close(t.Context(), time.Hour, never(t)))
	everywhere := serveAt(t, "0.0.0.0:0")
	if everywhere.Loopback() {
		t.Errorf("%s is called an address of this machine alone", everywhere.Address())
	}
	closing(t, everywhere.Close(t.Context(), time.Hour, never(t)))
}

func TestAddress(t *testing.T) {
	t.Parallel()
	taken := serve(t)
	t.Cleanup(func() { closing(t, taken.Close(t.Context(), 0, never(t))) })
	for _, address := range []string{"", "9464", "127.0.0.1", "127.0.0.1:99999", "nowhere.invalid:9464", taken.Address()} {
		s, err := metrics.Serve(t.Context(), address)
		var wrong *metrics.AddressError
		if !errors.As(err, &wrong) || wrong.ExitCode() != 2 || !strings.Contains(err.Error(), "--metrics-addr "+address) || !strings.Contains(wrong.Hint(), "127.0.0.1:9464") {
			t.Errorf("%q: %v, %v", address, s, err)
		}
	}
}
