// Package traces tells a collector of traces (OpenTelemetry) how long the parts of a run took: a span for what this process did, below
// it one for each step, and below that the stages of the switch, the calls to participants, and the replay's batches. All processes
// that work on a run have one trace between them.
//
// It hears the run's events and timings and asks nobody. Spans wait in a queue of limited length, and what does not fit is dropped: a
// collector that is slow, hangs or is not there costs the run nothing. They have names, numbers and kinds; no text of an error, a note
// or a statement, since those quote what others wrote.
package traces

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tideover/tideover/internal/journal"
)

const (
	queued      = 4096            // spans that wait for the collector
	together    = 512             // that it is given at once
	every       = 2 * time.Second // it is given what there is
	batchesFor  = time.Second     // batches of the replay that are one span
	givenWithin = 10 * time.Second
)

// Traces are the spans of the run that this process works on.
type Traces struct {
	to       *exporter
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	ids      *ids

	mu      sync.Mutex
	closed  bool
	all     span            // this process's work; nil before the run is known
	steps   map[string]span // by id, the last of each: what comes late still belongs to it
	gate    span
	stage   span
	batches *batches
	outcome string
}

// span is one with the context that its children have it for a parent in.
type span struct {
	trace.Span
	ctx context.Context
}

// batches are those of about a second.
type batches struct {
	step         string
	began, ended time.Time
	n, changes   int64
	failed       bool
}

// New begins. Nothing is sent before a run is known.
func New(c Config) *Traces {
	t := &Traces{to: newExporter(c), ids: &ids{}, steps: map[string]span{}}
	attributes := []attribute.KeyValue{attribute.String("service.name", "tideover"), attribute.String("service.version", c.Version)}
	t.provider = sdk.NewTracerProvider(sdk.WithIDGenerator(t.ids), sdk.WithResource(resource.NewSchemaless(append(attributes, c.Resource...)...)),
		sdk.WithBatcher(t.to, sdk.WithMaxQueueSize(queued), sdk.WithMaxExportBatchSize(together), sdk.WithBatchTimeout(every), sdk.WithExportTimeout(givenWithin)))
	t.tracer = t.provider.Tracer("github.com/tideover/tideover")
	return t
}

// Begin is the state in which this process has found the run.
func (t *Traces) Begin(s journal.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin(s.Run, s.Name, s.Term)
}

// begin needs the lock.
func (t *Traces) begin(run, name string, term int64) {
	if t.all.Span != nil || run == "" {
		return
	}
	t.ids.of(run)
	t.all = t.start(context.Background(), "run "+name, time.Now(), attribute.String("tideover.run", run), attribute.Int64("tideover.term", term))
}

func (t *Traces) start(ctx context.Context, name string, at time.Time, attributes ...attribute.KeyValue) span {
	ctx, s := t.tracer.Start(ctx, name, trace.WithTimestamp(at), trace.WithAttributes(attributes...))
	return span{s, ctx}
}

// end ends a span that has begun.
func (s *span) end(at time.Time, failed bool) {
	if s.Span == nil {
		return
	}
	if failed {
		s.SetStatus(codes.Error, "") // its text may quote what others wrote: the journal has it
	}
	s.End(trace.WithTimestamp(at))
	s.Span = nil
}

// Sink takes the run's events. It only puts ended spans into a queue, which never waits.
func (t *Traces) Sink(e journal.Event) {
	if e.Kind == journal.StepProgress {
		return
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	switch e.Kind {
	case journal.RunStarted:
		t.another(e, now)
	case journal.RunTaken:
		if t.all.Span != nil {
			t.all.SetAttributes(attribute.Int64("tideover.term", read[journal.RunTakenData](e).Term))
		}
	case journal.RunAsked:
		d := read[journal.AskedData](e)
		t.tell("asked", attribute.String("tideover.verb", d.Verb), attribute.Bool("tideover.done", d.Done))
	case journal.RunStopped, journal.RunCompleted, journal.RunAborted, journal.RunRolledBack:
		t.outcome = strings.TrimPrefix(string(e.Kind), "run.")
	case journal.RunUndoing:
		t.tell("going back")
	case journal.StepStarted:
		t.step(e.Step, e.Step, now)
	case journal.StepUndoing:
		t.step(e.Step, "undo "+e.Step, now)
	case journal.StepFinished:
		if s := t.steps[e.Step]; s.Span != nil {
			s.SetAttributes(attribute.Bool("tideover.already_done", read[journal.FinishedData](e).AlreadyDone))
		}
		t.endStep(e.Step, now, false)
	case journal.StepUndone:
		t.endStep(e.Step, now, false)
	case journal.StepFailed:
		t.endStep(e.Step, now, true)
	case journal.StepNote:
		if d := read[journal.NoteData](e); d.Level == "warn" {
			t.tell("warning", attribute.String("tideover.step", e.Step), attribute.String("tideover.about", d.About))
		}
	case journal.GateWaiting:
		t.gate.end(now, false)
		t.gate = t.start(t.under(""), "gate "+e.Step, now, attribute.String("tideover.step", e.Step))
	case journal.GateApproved:
		t.gate.end(now, false)
	default:
		if strings.HasPrefix(string(e.Kind), "cutover.") {
			t.cutover(e, now)
		}
	}
}

// another is a run that begins in this process. It needs the lock, as do those below.
func (t *Traces) another(e journal.Event, now time.Time) {
	if t.all.Span != nil && t.ids.run == e.Run {
		return
	}
	t.endAll(now)
	t.begin(e.Run, read[journal.RunStartedData](e).Name, 1)
}

// tell notes something at the span of the whole.
func (t *Traces) tell(what string, attributes ...attribute.KeyValue) {
	if t.all.Span != nil {
		t.all.AddEvent(what, trace.WithAttributes(attributes...))
	}
}

// under is where a part of a step belongs, or, for a step that has not begun here, of the whole.
func (t *Traces) under(step string) context.Context {
	if s, ok := t.steps[step]; ok {
		return s.ctx
	}
	if t.all.ctx != nil {
		return t.all.ctx
	}
	return context.Background()
}

func (t *Traces) step(id, name string, now time.Time) {
	t.endStep(id, now, false)
	delete(t.steps, id)
	t.steps[id] = t.start(t.under(""), name, now, attribute.String("tideover.step", id))
}

func (t *Traces) endStep(id string, now time.Time, failed bool) {
	s := t.steps[id]
	s.end(now, failed)
	if s.ctx != nil {
		t.steps[id] = s
	}
}

// cutover makes a span of each stage of the switch, from its event to the next one.
func (t *Traces) cutover(e journal.Event, now time.Time) {
	t.stage.end(now, false)
	if e.Kind == journal.CutoverReleased || e.Kind == journal.CutoverAborted {
		return
	}
	t.stage = t.start(t.under(e.Step), string(e.Kind), now)
}

// Timed takes how long calls and batches took.
func (t *Traces) Timed(d journal.Timing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	switch d.What {
	case journal.TimedCall:
		s := t.start(t.under(d.Step), d.Call+" "+d.Name, d.Began, attribute.String("tideover.participant", d.Name), attribute.String("tideover.call", d.Call))
		s.end(d.Began.Add(d.Took), d.Error)
	case journal.TimedBatch:
		t.batch(d)
	}
}

// batch gathers batches: one span for each would be more than a collector wants.
func (t *Traces) batch(d journal.Timing) {
	if b := t.batches; b != nil && (b.step != d.Step || d.Began.Sub(b.began) > batchesFor) {
		t.endBatches()
	}
	if t.batches == nil {
		t.batches = &batches{step: d.Step, began: d.Began}
	}
	b := t.batches
	b.ended, b.n, b.changes, b.failed = d.Began.Add(d.Took), b.n+1, b.changes+d.Count, b.failed || d.Error
}

func (t *Traces) endBatches() {
	b := t.batches
	if b == nil {
		return
	}
	s := t.start(t.under(b.step), "replay batches", b.began, attribute.Int64("tideover.batches", b.n), attribute.Int64("tideover.changes", b.changes))
	s.end(b.ended, b.failed)
	t.batches = nil
}

// endAll ends what has begun.
func (t *Traces) endAll(now time.Time) {
	t.endBatches()
	t.gate.end(now, false)
	t.stage.end(now, false)
	for id := range t.steps {
		t.endStep(id, now, false)
	}
	if t.all.Span != nil {
		t.all.SetAttributes(attribute.String("tideover.outcome", t.outcome))
	}
	t.all.end(now, t.outcome == "stopped")
	t.steps, t.outcome = map[string]span{}, ""
}

// Close gives the collector what is left, until ctx ends at most. The error says what it did not get.
func (t *Traces) Close(ctx context.Context) error {
	t.mu.Lock()
	t.endAll(time.Now())
	t.closed = true
	t.mu.Unlock()
	err := t.provider.Shutdown(ctx)
	return t.to.lost(err)
}

// ids give all spans of a run the same trace, whichever process they are of.
type ids struct {
	mu    sync.Mutex
	run   string
	trace trace.TraceID
}

func (g *ids) of(run string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.run = run
	sum := sha256.Sum256([]byte("tideover run " + run))
	copy(g.trace[:], sum[:])
}

// NewIDs are those of a span without a parent.
func (g *ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.trace, g.NewSpanID(ctx, g.trace)
}

// NewSpanID is that of a span with one.
func (g *ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	for !id.IsValid() {
		n := rand.Uint64()
		for i := range id {
			id[i] = byte(n >> (8 * i))
		}
	}
	return id
}

func read[T any](e journal.Event) (v T) {
	_ = json.Unmarshal(e.Data, &v) // our own
	return v
}

// plural is "1 span", "2 spans".
func plural(n int64) string {
	if n == 1 {
		return "1 span"
	}
	return fmt.Sprintf("%d spans", n)
}
