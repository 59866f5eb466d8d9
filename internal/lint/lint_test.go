package lint_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/lint"
)

var update = flag.Bool("update", false, "write the golden files")

// files writes pairs of name and text into a folder.
func files(t *testing.T, pairs ...string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, pairs...)
	return dir
}

func write(t *testing.T, dir string, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		name := filepath.Join(dir, filepath.FromSlash(pairs[i]))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(pairs[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// report reads and lints, and gives what was said of it too.
func report(t *testing.T, o lint.Options, allowed ...string) (*lint.Report, string) {
	t.Helper()
	var said strings.Builder
	o.Say = func(text string) { said.WriteString(text + "\n") }
	folders, err := lint.Read(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := lint.New(folders, allowed)
	if err != nil {
		t.Fatal(err)
	}
	return r, said.String()
}

// TestFormats: one report, with a finding of each level, an accepted one of each kind and an unused silence, in each format.
func TestFormats(t *testing.T) {
	t.Parallel()
	r, _ := report(t, lint.Options{Paths: []string{"testdata/migrations"}}, "moves-data")
	for _, format := range lint.Formats() {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := r.Write(&b, format); err != nil {
				t.Fatal(err)
			}
			switch format {
			case "json", "sarif", "gitlab":
				if !json.Valid(b.Bytes()) {
					t.Error("it is not JSON")
				}
			case "junit":
				if err := xml.Unmarshal(b.Bytes(), new(struct{ XMLName xml.Name })); err != nil {
					t.Error(err)
				}
			}
			path := filepath.Join("testdata", format+".golden")
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("want -, got + (-update writes it):\n%s", diff)
			}
		})
	}
	if err := r.Write(&bytes.Buffer{}, "yaml"); err == nil {
		t.Error("a format that there is not was written")
	}
}
