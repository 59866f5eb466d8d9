package report_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/report"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// contract lists the fields that other programs rely on. -update does not change it.
var contract = []string{
	"outcome",
	"requests.total", "requests.failed", "requests.held", "requests.hold_ms_p50", "requests.hold_ms_max",
	"requests.p95_ms_before", "requests.p95_ms_after",
	"revocations.captured", "revocations.replayed", "revocations.verified", "revocations.lost",
	"authorizations.issued", "authorizations.lost",
	"rows.copied", "rows.updated", "rows.inserted", "rows.quarantined", "rows.repaired",
	"oracle.tables", "oracle.rows_compared", "oracle.differences",
	"cutover.hold_ms", "cutover.fence_ms", "cutover.participants",
	"longest_block_ms",
	"steps[].id", "steps[].seconds",
	"servers.before.p95_ms", "servers.before.rss_mb", "servers.before.heap_mb", "servers.before.goroutines", "servers.before.cpu_cores",
	"servers.after.p95_ms", "servers.after.rss_mb", "servers.after.heap_mb", "servers.after.goroutines", "servers.after.cpu_cores",
	"database.rows_updated", "database.rows_inserted", "database.temp_bytes", "database.commits",
}

func TestReportFields(t *testing.T) {
	t.Parallel()
	got := fields(reflect.TypeFor[report.Report](), "")
	golden(t, "report-fields.golden", strings.Join(got, "\n")+"\n")
	for _, want := range contract {
		if !slices.Contains(got, want+" always") {
			t.Errorf("field %q is not in every report", want)
		}
	}
}

// fields lists the JSON paths of a type, and whether each is in every document.
func fields(t reflect.Type, prefix string) []string {
	var list []string
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		presence := " always"
		if options != "" {
			presence = " " + options
		}
		path, of := prefix+name, t.Field(i).Type
		if of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct {
			path, of = path+"[]", of.Elem()
		}
		if of.Kind() == reflect.Struct {
			list = append(list, fields(of, path+".")...)
			continue
		}
		list = append(list, path+presence)
	}
	return list
}

// What a program finds in the report of a run that never came to the cutover: zeros, not missing keys.
func TestEmptyReportHasEveryObject(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(report.Report{Outcome: "failed"})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, path := range contract {
		top, _, _ := strings.Cut(strings.ReplaceAll(path, "[]", ""), ".")
		if _, ok := got[top]; !ok {
			t.Errorf("%q is missing", top)
		}
	}
}
