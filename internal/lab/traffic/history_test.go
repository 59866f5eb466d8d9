package traffic

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHistoryRoundTrip(t *testing.T) {
	t.Parallel()
	h := newWorld(t).history()
	h.Started = time.Date(2024, 5, 1, 12, 0, 0, 5, time.UTC)
	h.Expect = Expect{Issuer: "i", CoalescingExpected: true, Coalescing: time.Second, Reuse: time.Minute, RefreshLifetime: time.Hour, Margin: 1, NoSwitch: true, FailuresAllowed: true, AccessSurvivesRotation: true}
	var buf bytes.Buffer
	n, err := h.WriteTo(&buf)
	if err != nil || n != int64(buf.Len()) {
		t.Fatal(n, err)
	}
	if lines := strings.Count(buf.String(), "\n"); lines != len(h.Records)+2 {
		t.Errorf("%d lines for %d records", lines, len(h.Records))
	}
	got, err := ReadHistory(bytes.NewReader(buf.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, got); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	// Cut anywhere, the file is an error or a history that is not to be trusted.
	for cut := 0; cut < buf.Len()-1; cut += 37 {
		if h, err := ReadHistory(bytes.NewReader(buf.Bytes()[:cut])); err == nil && Check(h).OK() {
			t.Errorf("cut at byte %d, it passes", cut)
		}
	}
	for _, bad := range []string{"", "{}", `{"version":2}`, buf.String() + `{"at":1,"mark":"x"}`, strings.Replace(buf.String(), `"kind"`, `"kinb"`, 1)} {
		if _, err := ReadHistory(strings.NewReader(bad)); err == nil {
			t.Errorf("%.40q is read", bad)
		}
	}
}

// Records of concurrent workers are in the order of their times, with ids without gaps.
func TestRecorderOrder(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Expect{NoSwitch: true})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 200 {
				r.End(r.Begin(Request{Kind: JWKS, Target: Router}), Answer{Status: 200})
			}
		})
	}
	all.Wait()
	if ops, _, bad := fold(r.History()); len(ops) != 3200 || len(bad) > 0 {
		t.Errorf("%d requests, findings %v", len(ops), bad)
	}
	r.Begin(Request{Kind: JWKS, Target: Router})
	if _, _, bad := fold(r.History()); len(bad) != 1 || bad[0].Class != UnansweredWorker {
		t.Errorf("a request under way: %v", bad)
	}
}

func TestSummaries(t *testing.T) {
	t.Parallel()
	var ds []time.Duration
	for i := range 100 {
		ds = append(ds, ms(100-i))
	}
	if diff := cmp.Diff(Summary{100, ms(50), ms(95), ms(100)}, Summarize(ds)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Summary{1, ms(3), ms(3), ms(3)}, Summarize([]time.Duration{ms(3)})); diff != "" {
		t.Error(diff)
	}
	w := newWorld(t)
	w.revoke2.start, w.revoke2.end = 2100, 3100       // began in the hold
	w.active(1990, "s1.at1", "u1", "c1").end = 3005   // introspection is not held
	w.refused(1950, "c1", "s3.rt1").end = 3050        // sent before, answered after
	w.refused(1960, "c1", "s3.rt1").end = 2010        // drained
	w.revokeConsent(2500, "u1", "c9").Target = Bypass // not through the router
	if diff := cmp.Diff(Summary{2, ms(1000), ms(1100), ms(1100)}, w.history().Held()); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	if got := w.history().Latency(MarkReleased, "nothing", GetClient); got.Count != 1 || got.Max != ms(10) {
		t.Errorf("latency: %+v", got)
	}
	if got := w.history().Latency("no such mark", ""); got.Count != 0 {
		t.Errorf("latency from nowhere: %+v", got)
	}
}
