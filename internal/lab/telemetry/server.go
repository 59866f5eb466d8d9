// Package telemetry measures what an upgrade does to the live system: what the OAuth servers use, what green's database
// did, and how long queries waited for locks of ours.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// ServerSample is one reading of an OAuth server's Prometheus metrics: the process and Go collectors that client_golang
// registers by default, as Hydra and the bundled server expose them.
type ServerSample struct {
	At         time.Time
	RSS        float64 // bytes
	Heap       float64 // bytes in use
	Goroutines float64
	CPU        float64 // seconds since the process began
}

// ServerUse is what a server used between two samples. CPUCores is an average; the rest is the larger reading.
type ServerUse struct {
	RSSMB, HeapMB, CPUCores float64
	Goroutines              int
}

// Sample reads the metrics at url, such as http://127.0.0.1:4445/metrics/prometheus.
func Sample(ctx context.Context, url string) (ServerSample, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return ServerSample{}, fmt.Errorf("metrics %s: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ServerSample{}, fmt.Errorf("metrics: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return ServerSample{}, fmt.Errorf("metrics %s: status %d", url, resp.StatusCode)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return ServerSample{}, fmt.Errorf("metrics %s: %w", url, err)
	}
	return ServerSample{
		At:         time.Now(),
		RSS:        gauge(families, "process_resident_memory_bytes"),
		Heap:       gauge(families, "go_memstats_heap_inuse_bytes"),
		Goroutines: gauge(families, "go_goroutines"),
		CPU:        gauge(families, "process_cpu_seconds_total"),
	}, nil
}

// Between says what was used from a to b.
func Between(a, b ServerSample) ServerUse {
	use := ServerUse{
		RSSMB:      round(math.Max(a.RSS, b.RSS) / (1 << 20)),
		HeapMB:     round(math.Max(a.Heap, b.Heap) / (1 << 20)),
		Goroutines: int(math.Max(a.Goroutines, b.Goroutines)),
	}
	if seconds := b.At.Sub(a.At).Seconds(); seconds > 0 {
		use.CPUCores = math.Round((b.CPU-a.CPU)/seconds*1000) / 1000
	}
	return use
}

func gauge(families map[string]*dto.MetricFamily, name string) float64 {
	family, ok := families[name]
	if !ok || len(family.GetMetric()) == 0 {
		return 0
	}
	m := family.GetMetric()[0]
	switch {
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	default:
		return m.GetUntyped().GetValue()
	}
}

func round(v float64) float64 { return math.Round(v*10) / 10 }
