package traces

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	callTimeout = 5 * time.Second
	tries       = 2
	answerBytes = 64 << 10
)

// exporter gives spans to a collector by OTLP over HTTP. OpenTelemetry's own one would bring gRPC with it, which nobody needs here.
type exporter struct {
	config Config
	client *http.Client

	mu     sync.Mutex
	missed int64
	last   error
}

func newExporter(c Config) *exporter {
	return &exporter{config: c, client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// ExportSpans sends spans. What can't be sent is counted, and told when the run is over: there is nobody else to tell.
func (x *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	body, err := proto.Marshal(encode(spans))
	if err == nil {
		again := true
		for i := 0; again && i < tries && ctx.Err() == nil; i++ {
			again, err = x.post(ctx, body)
		}
	}
	if err == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.missed += int64(len(spans))
	x.last = err
	return nil
}

// Shutdown has nothing to do.
func (x *exporter) Shutdown(context.Context) error { return nil }

func (x *exporter) post(ctx context.Context, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, x.config.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.config.URL.String(), bytes.NewReader(body))
	if err != nil {
		return false, errors.New("its address can't be called")
	}
	req.Header = x.config.Headers.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := x.client.Do(req)
	if err != nil {
		var quoting *url.Error // its text has the address
		if errors.As(err, &quoting) {
			err = quoting.Err
		}
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, answerBytes)) // so that the connection is kept
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, fmt.Errorf("it answers %s", resp.Status)
	}
	if resp.StatusCode/100 != 2 {
		return false, fmt.Errorf("it answers %s", resp.Status)
	}
	return false, nil
}

// lost is what the collector did not get, nil for nothing. ended is how the last of it ended.
func (x *exporter) lost(ended error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.missed > 0:
		return fmt.Errorf("%s could not be given to the collector of traces at %s: %w", plural(x.missed), x.config.URL.Host, x.last)
	case ended != nil:
		return fmt.Errorf("the last spans could not be given to the collector of traces at %s: %w", x.config.URL.Host, ended)
	}
	return nil
}

// encode makes the message of OTLP, which is the same on the wire as an ExportTraceServiceRequest. All spans are of one resource and scope.
func encode(spans []sdk.ReadOnlySpan) *tracepb.TracesData {
	scope := &tracepb.ScopeSpans{Scope: &common.InstrumentationScope{Name: spans[0].InstrumentationScope().Name}}
	for _, s := range spans {
		trace, id := s.SpanContext().TraceID(), s.SpanContext().SpanID()
		p := &tracepb.Span{
			TraceId: trace[:], SpanId: id[:], Name: s.Name(), Kind: tracepb.Span_SPAN_KIND_INTERNAL, Attributes: attributes(s.Attributes()),
			StartTimeUnixNano: nanos(s.StartTime()), EndTimeUnixNano: nanos(s.EndTime()), Status: &tracepb.Status{},
			DroppedAttributesCount: uint32(max(0, s.DroppedAttributes())), DroppedEventsCount: uint32(max(0, s.DroppedEvents())),
		}
		if s.Parent().IsValid() {
			parent := s.Parent().SpanID()
			p.ParentSpanId = parent[:]
		}
		if s.Status().Code == codes.Error {
			p.Status.Code = tracepb.Status_STATUS_CODE_ERROR
		}
		for _, e := range s.Events() {
			p.Events = append(p.Events, &tracepb.Span_Event{Name: e.Name, TimeUnixNano: nanos(e.Time), Attributes: attributes(e.Attributes)})
		}
		scope.Spans = append(scope.Spans, p)
	}
	return &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource:   &resourcepb.Resource{Attributes: attributes(spans[0].Resource().Attributes())},
		ScopeSpans: []*tracepb.ScopeSpans{scope},
	}}}
}

func nanos(t time.Time) uint64 { return uint64(max(0, t.UnixNano())) }

// attributes are of the kinds that this package makes.
func attributes(list []attribute.KeyValue) (out []*common.KeyValue) {
	for _, a := range list {
		v := &common.AnyValue{}
		switch a.Value.Type() {
		case attribute.BOOL:
			v.Value = &common.AnyValue_BoolValue{BoolValue: a.Value.AsBool()}
		case attribute.INT64:
			v.Value = &common.AnyValue_IntValue{IntValue: a.Value.AsInt64()}
		default:
			v.Value = &common.AnyValue_StringValue{StringValue: a.Value.AsString()}
		}
		out = append(out, &common.KeyValue{Key: string(a.Key), Value: v})
	}
	return out
}
