package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "write the golden files")

const docs = "../../docs"

// all are the table and the histograms.
func all() []metric { return slices.Concat(table, []metric{callSeconds, batchSeconds}) }

// The page lists every metric as the code has it.
func TestPage(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- metrics -->\n", "<!-- /metrics -->\n"
	var b bytes.Buffer
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range all() {
		kind, labels := "gauge", append([]string{"run"}, m.labels...)
		if m.kind == counter {
			kind = "counter"
		}
		if m.name == callSeconds.name || m.name == batchSeconds.name {
			kind, labels = "histogram", m.labels
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, kind, strings.Join(labels, ", "), m.help)
	}
	path := filepath.Join(docs, "metrics.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, there := strings.Cut(rest, end)
	if !ok || !there {
		t.Fatalf("%s has no place for the table", path)
	}
	want := before + begin + b.String() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(page) {
		t.Error("docs/metrics.md is not what the code says; run: go test ./internal/metrics -update")
	}
}

// Every metric that is there has a unit or counts, and none is there twice.
func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range all() {
		if seen[m.name] || m.help == "" || !strings.HasPrefix(m.name, "tideover_run_") || strings.HasSuffix(m.name, "_total") != (m.kind == counter) {
			t.Errorf("%+v", m)
		}
		seen[m.name] = true
	}
	ch := make(chan *prometheus.Desc, len(table))
	New().Describe(ch)
	if len(ch) != len(table) {
		t.Errorf("%d of %d are described", len(ch), len(table))
	}
}

var name = regexp.MustCompile(`tideover_(?:run|router)_[a-z_]+`)

// known are the names of all metrics, the router's too.
func known(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, m := range all() {
		names[m.name] = true
	}
	for _, m := range []metric{callSeconds, batchSeconds} {
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			names[m.name+part] = true
		}
	}
	source, err := os.ReadFile("../../cutover/router/stats.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range name.FindAllString(string(source), -1) {
		names[n], names[n+"_bucket"], names[n+"_sum"], names[n+"_count"] = true, true, true, true
	}
	return names
}

// What rules, dashboard and page name is there.
func TestFilesNameWhatIsThere(t *testing.T) {
	t.Parallel()
	names := known(t)
	for _, file := range []string{"metrics.md", "metrics/alerts.yaml", "metrics/alerts_test.yaml", "metrics/dashboard.json", "metrics/prometheus.yml"} {
		text, err := os.ReadFile(filepath.Join(docs, file))
		if err != nil {
			t.Fatal(err)
		}
		found := name.FindAllString(string(text), -1)
		for _, n := range found {
			if !names[n] {
				t.Errorf("%s names %s: there is no such metric", file, n)
			}
		}
		if len(found) == 0 && file != "metrics/prometheus.yml" {
			t.Errorf("%s names no metric", file)
		}
	}
}

type rules struct {
	Groups []struct {
		Rules []struct {
			Alert       string
			Expr        string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

func alerts(t *testing.T) (all rules) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docs, "metrics/alerts.yaml"))
	if err == nil {
		err = yaml.Unmarshal(text, &all)
	}
	if err != nil || len(all.Groups) == 0 {
		t.Fatal(all, err)
	}
	return all
}

// Each rule is explained on the page, says what it is about, and is played by alerts_test.yaml.
func TestRules(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(docs, "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	played, err := os.ReadFile(filepath.Join(docs, "metrics/alerts_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range alerts(t).Groups[0].Rules {
		if r.Labels["severity"] == "" || !strings.Contains(r.Annotations["summary"], "$labels.run") {
			t.Errorf("%s says too little: %+v", r.Alert, r)
		}
		if !strings.Contains(string(page), "`"+r.Alert+"`") {
			t.Errorf("docs/metrics.md does not explain %s", r.Alert)
		}
		if !strings.Contains(string(played), "alertname: "+r.Alert+"\n") {
			t.Errorf("alerts_test.yaml does not play %s", r.Alert)
		}
	}
}
