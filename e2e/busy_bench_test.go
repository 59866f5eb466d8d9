package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/report"
)

// BenchmarkBusyCutover is the demo at 500 requests a second: writes wait for less than a second, none fails, and what is
// never held waits for no more than 50 ms in the router.
func BenchmarkBusyCutover(b *testing.B) {
	for range b.N {
		c := exec.CommandContext(b.Context(), binary, "demo", "--size", "busy", "--json")
		var stdout, stderr bytes.Buffer
		c.Stdout, c.Stderr, c.Env = &stdout, &stderr, os.Environ()
		if err := c.Run(); err != nil {
			b.Fatalf("%v\n%s", err, stderr.String())
		}
		var last journal.Event
		lines := bufio.NewScanner(&stdout)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			last = journal.Event{}
			if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
				b.Fatal(err)
			}
		}
		var r report.Report
		if err := json.Unmarshal(last.Data, &r); err != nil {
			b.Fatal(err)
		}
		q := r.Requests
		b.ReportMetric(float64(q.Total), "requests")
		b.ReportMetric(float64(q.Held), "held")
		b.ReportMetric(q.HoldMSMax, "ms-held-max")
		b.ReportMetric(q.ReadWaitMSMax, "ms-read-wait-max")
		b.ReportMetric(q.ReadMSInHold, "ms-read-in-hold-max")
		if q.Failed != 0 || q.HoldMSMax >= 1000 || q.ReadWaitMSMax > 50 {
			b.Errorf("%+v", q)
		}
	}
}
