package estimate

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	mb = 1 << 20
	gb = 1 << 30
)

// TestText: each case is a golden file, so that a person reads what operators will read.
func TestText(t *testing.T) {
	t.Parallel()
	sessions := []Table{{Name: "public.hydra_oauth2_access", Bytes: 8 * gb, Rows: 31_000_000, Indexes: 4 * gb}, {Name: "public.hydra_oauth2_refresh", Bytes: 3 * gb, Rows: 11_000_000, Indexes: 2 * gb},
		{Name: "public.hydra_oauth2_flow", Bytes: 900 * mb, Rows: 2_100_000, Indexes: 300 * mb}, {Name: "public.hydra_client", Bytes: 3 * mb, Rows: 1200, Indexes: mb},
		{Name: "public.hydra_jwk", Bytes: 1 << 14, Rows: 2, Indexes: 1 << 14}, {Name: `public."a\x1b[31mtable"`, Bytes: 1 << 13}}
	measured := Rates{Read: 60 * mb, From: "public.hydra_oauth2_access", Sample: 32 * mb, Write: 45 * mb, Index: 20 * mb, Changes: 87.4}
	for name, f := range map[string]Facts{
		"large":      {Tables: sessions, Rates: measured, WAL: gb, Jobs: 4, Deadline: 10 * time.Second, Writer: 40 * time.Millisecond},
		"limited":    {Tables: sessions, Rates: measured, WAL: gb, Jobs: 4, MaxRate: 5_000_000, Deadline: 10 * time.Second, Writer: 3 * time.Minute},
		"small":      {Tables: sessions[3:5], Rates: Rates{Write: 45 * mb, Index: 20 * mb}, WAL: gb, Jobs: 2, Deadline: 10 * time.Second, Writer: 2 * time.Second},
		"unseen":     {Tables: sessions[:1], Rates: measured, WAL: gb, Jobs: 1, Deadline: 10 * time.Second, Unseen: true},
		"unmeasured": {Tables: sessions[:1], WAL: gb, Jobs: 2},
		"empty":      {Rates: measured, WAL: gb},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			Text(&b, Of(f))
			path := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || string(want) != b.String() {
				t.Errorf("%v: it says\n%s\nwant\n%s\n(go test ./internal/estimate -update)", err, &b, want)
			}
			if strings.Contains(b.String(), "\x1b") {
				t.Error("a table's name reaches the terminal as it is")
			}
		})
	}
}

// More jobs, or a looser limit, never make an estimate longer, and no range is upside down.
func TestOrder(t *testing.T) {
	t.Parallel()
	last := time.Duration(1 << 62)
	for _, jobs := range []int{1, 2, 4, 8} {
		for _, limit := range []int64{1_000_000, 50_000_000, 0} {
			e := Of(Facts{Tables: []Table{{Bytes: 10 * gb, Indexes: gb}}, Rates: Rates{Read: 30 * mb, Write: 40 * mb, Index: 10 * mb}, Jobs: jobs, MaxRate: limit})
			if e.Copy.From > e.Copy.To || e.Building.From > e.Building.To {
				t.Errorf("%d jobs, %d: %+v %+v", jobs, limit, e.Copy, e.Building)
			}
			if limit == 0 {
				if e.Copy.From >= last {
					t.Errorf("%d jobs take %s, fewer %s", jobs, e.Copy.From, last)
				}
				last = e.Copy.From
			}
		}
	}
}
