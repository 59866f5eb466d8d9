package plan

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		window, at string
		want       bool
	}{
		{"22:00-04:00", "2026-11-25T21:59:59Z", false},
		{"22:00-04:00", "2026-11-25T22:00:00Z", true},
		{"22:00-04:00", "2026-11-26T03:59:59Z", true},
		{"22:00-04:00", "2026-11-26T04:00:00Z", false},
		{"Sat,Sun 01:00-05:00", "2026-11-28T02:00:00Z", true},
		{"Sat,Sun 01:00-05:00", "2026-11-27T02:00:00Z", false},
		{"Wed 22:00-04:00", "2026-11-26T03:00:00Z", true},  // Thursday, begun on Wednesday
		{"Wed 22:00-04:00", "2026-11-25T03:00:00Z", false}, // Wednesday, begun on Tuesday
		{"01:00-05:00 Asia/Tokyo", "2026-11-25T17:00:00Z", true},
		{"01:00-05:00 Asia/Tokyo", "2026-11-25T02:00:00Z", false},
	} {
		w, err := ParseWindow(tt.window)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Contains(at); got != tt.want {
			t.Errorf("%s at %s: %v", tt.window, tt.at, got)
		}
	}
	for _, bad := range []string{"", "22:00", "22:00-", "25:00-26:00", "22:00-22:00", "Xyz 22:00-23:00", "22:00-23:00 Nowhere/City", "22:00-23:00 UTC more"} {
		if w, err := ParseWindow(bad); err == nil {
			t.Errorf("%q: %+v", bad, w)
		}
	}
}
