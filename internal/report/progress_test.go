package report_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

func TestLogOfALongCopy(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	sink := report.Lines(&b)
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, p := range []struct {
		after time.Duration
		data  journal.ProgressData
	}{
		{0, journal.ProgressData{Done: 1, Total: 4 << 30, Unit: "bytes"}},
		{10 * time.Second, journal.ProgressData{Done: 1 << 30, Total: 4 << 30, Unit: "bytes"}},
		{31 * time.Second, journal.ProgressData{Done: 2 << 30, Total: 4 << 30, Unit: "bytes", Rows: 1200000, LeftS: 31,
			Parts: []journal.PartProgress{{Name: "public.t", Done: 1 << 30, Total: 3 << 30, Rows: 500000, LeftS: 62}}}},
		{32 * time.Second, journal.ProgressData{Done: 2 << 30, Total: 4 << 30, Unit: "bytes", Note: "held: 9 sessions"}},
		{33 * time.Second, journal.ProgressData{Done: 2 << 30, Total: 4 << 30, Unit: "bytes", Note: "held: 9 sessions"}},
		{90 * time.Second, journal.ProgressData{Done: 5, Total: 10, Unit: "steps"}},
	} {
		data, err := json.Marshal(p.data)
		if err != nil {
			t.Fatal(err)
		}
		sink(journal.Event{Step: "snapshot", Kind: journal.StepProgress, Time: at.Add(p.after), Data: data})
	}
	want := "12:00:31.000  snapshot: 50%, 2.0 GB of 4.0 GB, 1,200,000 rows, ETA 31s; public.t 33%, 1.0 GB of 3.0 GB, 500,000 rows, ETA 1m02s\n" +
		"12:00:32.000  snapshot: 50%, 2.0 GB of 4.0 GB; held: 9 sessions\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
