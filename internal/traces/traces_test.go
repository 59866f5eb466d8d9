package traces_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/traces"
	"github.com/tideover/tideover/steps"
)

// collector keeps what it is given.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	bodies  [][]byte
	spans   []*tracepb.Span
	about   []*common.KeyValue // the resource
	headers http.Header
	path    string
	refuse  int // calls that are answered 503
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var data tracepb.TracesData
		if err == nil {
			err = proto.Unmarshal(body, &data)
		}
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.refuse > 0 {
			c.refuse--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		c.bodies, c.headers, c.path = append(c.bodies, body), r.Header, r.URL.Path
		for _, rs := range data.ResourceSpans {
			c.about = rs.Resource.Attributes
			for _, ss := range rs.ScopeSpans {
				c.spans = append(c.spans, ss.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// tree says which span is below which, with its attributes.
func (c *collector) tree() (lines []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	named := map[string]string{"": ""}
	for _, s := range c.spans {
		named[string(s.SpanId)] = s.Name
	}
	for _, s := range c.spans {
		line := s.Name
		for id := string(s.ParentSpanId); id != ""; {
			i := slices.IndexFunc(c.spans, func(o *tracepb.Span) bool { return string(o.SpanId) == id })
			if i < 0 {
				line = "somebody > " + line
				break
			}
			line, id = named[id]+" > "+line, string(c.spans[i].ParentSpanId)
		}
		for _, a := range s.Attributes {
			line += fmt.Sprintf(" %s=%s", strings.TrimPrefix(a.Key, "tideover."), text(a.Value))
		}
		if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
			line += " ERROR " + s.Status.Message
		}
		for _, e := range s.Events {
			line += " (" + e.Name + ")"
		}
		if s.EndTimeUnixNano < s.StartTimeUnixNano || s.StartTimeUnixNano == 0 {
			line += " which ends before it begins"
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	slices.Sort(lines)
	return lines
}

func text(v *common.AnyValue) string {
	switch v := v.Value.(type) {
	case *common.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	case *common.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *common.AnyValue_StringValue:
		return v.StringValue
	}
	return "?"
}

func config(t *testing.T, flag string, env map[string]string) traces.Config {
	t.Helper()
	c, err := traces.Read(flag, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// work is a step made of a function.
type work struct {
	id  string
	run func(context.Context, *steps.Progress) error
}

func (w work) ID() string                                        { return w.id }
func (w work) Done(context.Context) (bool, error)                { return false, nil }
func (w work) Run(ctx context.Context, p *steps.Progress) error  { return w.run(ctx, p) }
func (w work) Undo(ctx context.Context, p *steps.Progress) error { return nil }

// run takes a run through, or on where store has one.
func run(t *testing.T, store journaltest.Store, id string, tr *traces.Traces, list ...steps.Step) error {
	t.Helper()
	d := journal.RunStartedData{Name: "up", Runbook: "up.yaml", Hash: "h"}
	for _, step := range list {
		d.Steps = append(d.Steps, journal.StepRef{ID: step.ID(), Kind: "fake", Undoable: true, Gate: step.ID() == "gated"})
	}
	var lease journaltest.Lease
	var err error
	if id == "" {
		lease, err = store.Create(t.Context(), d, journaltest.Who(1))
	} else {
		lease, err = store.Take(t.Context(), id, journaltest.Who(2))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	events, err := store.Load(t.Context(), lease.Run(), 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := steps.NewRunner(steps.Config{Lease: lease, Events: events, Hash: "h", Steps: list, Gate: steps.Open{By: "ann"}, Sinks: []journal.Sink{tr.Sink}})
	if err != nil {
		t.Fatal(err)
	}
	tr.Begin(r.State())
	return r.Run(t.Context())
}

const secret = "hunter2"

// TestSpans: a run that fails and goes on in another process is one trace, of which each part is where it belongs, and nothing is said
// of what others wrote.
func TestSpans(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	c.refuse = 1
	cfg := config(t, c.URL, map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b", "OTEL_RESOURCE_ATTRIBUTES": "where=here", "OTEL_SERVICE_NAME": "up"})
	store := journaltest.NewMemory()
	began := time.Now()
	call := func(step, name, call string, failed bool) journal.Timing {
		return journal.Timing{Step: step, What: journal.TimedCall, Name: name, Call: call, Began: time.Now(), Took: time.Millisecond, Error: failed}
	}
	batch := func(after time.Duration, n int64) journal.Timing {
		return journal.Timing{Step: "replay", What: journal.TimedBatch, Count: n, Began: began.Add(after), Took: time.Millisecond}
	}
	fail := true
	var tr *traces.Traces
	list := []steps.Step{
		work{"replay", func(ctx context.Context, p *steps.Progress) error {
			for i := range 3 {
				tr.Timed(batch(time.Duration(i)*400*time.Millisecond, 10))
			}
			tr.Timed(batch(5*time.Second, 1))
			return errors.Join(p.Note(ctx, "warn", secret), p.Checkpoint(ctx, "k", secret), p.Figure(ctx, "f", secret))
		}},
		work{"gated", func(ctx context.Context, p *steps.Progress) error {
			if fail {
				tr.Timed(call("gated", "pool", "prepare", true))
				return errors.New("key " + secret)
			}
			var errs []error
			for _, kind := range []journal.Kind{journal.CutoverPreparing, journal.CutoverHolding, journal.CutoverFencing, journal.CutoverCommitting} {
				errs = append(errs, p.Event(ctx, kind, journal.CutoverData{}))
				tr.Timed(call("gated", "pool", "commit", false))
			}
			return errors.Join(append(errs, p.Event(ctx, journal.CutoverSwitched, nil), p.Event(ctx, journal.CutoverReleased, journal.CutoverFigures{}))...)
		}},
	}
	for i := range 2 {
		tr = traces.New(cfg)
		err := run(t, store, []string{"", "run1"}[i], tr, list...)
		if (err != nil) != fail {
			t.Fatal(err)
		}
		fail = false
		if err := tr.Close(t.Context()); err != nil {
			t.Error(err)
		}
		tr.Sink(journal.Event{Run: "run1", Kind: journal.RunCompleted}) // nobody hears that any more
	}
	want := []string{
		"run up run=run1 term=1 outcome=stopped ERROR  (warning)",
		"run up > replay step=replay already_done=false",
		"run up > replay > replay batches batches=3 changes=30",
		"run up > replay > replay batches batches=1 changes=1",
		"run up > gate gated step=gated",
		"run up > gated step=gated ERROR",
		"run up > gated > prepare pool participant=pool call=prepare ERROR",
		"run up run=run1 term=2 outcome=completed",
		"run up > gated step=gated already_done=false",
		"run up > gated > cutover.preparing", "run up > gated > cutover.holding", "run up > gated > cutover.fencing",
		"run up > gated > cutover.committing", "run up > gated > cutover.switched",
	}
	for range 4 {
		want = append(want, "run up > gated > commit pool participant=pool call=commit")
	}
	slices.Sort(want)
	if d := cmp.Diff(want, c.tree()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	ids := map[string]bool{}
	for _, s := range c.spans {
		ids[hex.EncodeToString(s.TraceId)] = true
	}
	if len(ids) != 1 {
		t.Errorf("a run has %d traces", len(ids))
	}
	for _, body := range c.bodies {
		if strings.Contains(string(body), secret) {
			t.Errorf("what others wrote is told: %q", body)
		}
	}
	about := ""
	for _, a := range c.about {
		about += a.Key + "=" + text(a.Value) + " "
	}
	if c.path != "/v1/traces" || c.headers.Get("X-Key") != "a b" || c.headers.Get("Content-Type") != "application/x-protobuf" || about != "service.name=up service.version= where=here " {
		t.Errorf("%s %v %s", c.path, c.headers, about)
	}
}

// TestNobodyCollects: a collector that is not there, that hangs, or that refuses costs a run nothing, and is named at the end.
func TestNobodyCollects(t *testing.T) {
	t.Parallel()
	hangs, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hangs.Close() })
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(refuses.Close)
	for name, url := range map[string]string{"not there": "http://127.0.0.1:1", "hangs": "http://" + hangs.Addr().String(), "refuses": refuses.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := traces.New(config(t, url, nil))
			err := run(t, journaltest.NewMemory(), "", tr, work{"a", func(context.Context, *steps.Progress) error {
				for range 20_000 { // more than the queue takes
					tr.Timed(journal.Timing{Step: "a", What: journal.TimedCall, Name: "pool", Call: "side", Began: time.Now()})
				}
				return nil
			}})
			if err != nil {
				t.Errorf("the run: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if name == "hangs" {
				cancel() // its time is over
			}
			defer cancel()
			err = tr.Close(ctx)
			if err == nil || !strings.Contains(err.Error(), "the collector of traces at "+strings.TrimPrefix(url, "http://")) {
				t.Errorf("it is not said that spans are lost: %v", err)
			}
		})
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, flag string
		env        map[string]string
		url        string // "": nowhere
		warns      string
		wrong      string
	}{
		{name: "nothing"},
		{name: "flag", flag: "http://c:4318", url: "http://c:4318/v1/traces"},
		{name: "flag with a path", flag: "https://c/otlp/", url: "https://c/otlp/v1/traces"},
		{name: "environment", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, url: "http://c:4318/v1/traces"},
		{name: "environment of traces", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d/x"}, url: "http://d/x"},
		{name: "flag above environment", flag: "http://c", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d", "OTEL_SDK_DISABLED": "true"}, url: "http://c/v1/traces"},
		{name: "switched off", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}},
		{name: "another exporter", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}},
		{name: "gRPC", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, warns: "grpc"},
		{name: "an environment that can't be meant", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "c:hunter2"}, warns: "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{name: "headers in plain text", flag: "http://c", env: map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "a=hunter2"}, url: "http://c/v1/traces", warns: "plain text"},
		{name: "headers on this machine", flag: "http://127.0.0.1:4318", env: map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "a=hunter2"}, url: "http://127.0.0.1:4318/v1/traces"},
		{name: "headers that can't be read", flag: "https://c", env: map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "hunter2"}, url: "https://c/v1/traces", warns: "HEADERS"},
		{name: "no address", flag: "localhost:4318", wrong: "no address of a collector"},
		{name: "no scheme", flag: "//c", wrong: "no address of a collector"},
		{name: "another scheme", flag: "grpc://c", wrong: "no address of a collector"},
		{name: "a password", flag: "http://ann:hunter2@c", wrong: "OTEL_EXPORTER_OTLP_HEADERS"},
		{name: "a query", flag: "http://c/?key=hunter2", wrong: "OTEL_EXPORTER_OTLP_HEADERS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := traces.Read(tt.flag, func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok })
			got := ""
			if c.URL != nil {
				got = c.URL.String()
			}
			warned := strings.Join(c.Warnings, "\n")
			if got != tt.url || (tt.warns == "") != (warned == "") || !strings.Contains(warned, tt.warns) || (tt.wrong == "") != (err == nil) {
				t.Errorf("%q, %q, %v", got, warned, err)
			}
			if said := fmt.Sprint(warned, err); tt.wrong != "" && !strings.Contains(said, tt.wrong) || strings.Contains(said, secret) {
				t.Error(said)
			}
		})
	}
}
