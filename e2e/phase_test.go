package e2e

import (
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/traffic"
)

// busyBetween fails the test where between two of these marks, in this order, no client had a request under way: then
// nothing was proved of that time. A mark counts from when it was set last.
func busyBetween(t *testing.T, h *traffic.History, marks ...string) {
	t.Helper()
	at, underway := map[string]time.Duration{}, map[int64]time.Duration{}
	for _, r := range h.Records {
		if r.Mark != "" {
			at[r.Mark] = r.At
		}
	}
	busy := make([]int, len(marks))
	for _, r := range h.Records {
		if r.Request != nil {
			underway[r.Op] = r.At
		}
		if r.Answer == nil {
			continue
		}
		for i := range marks[1:] {
			if underway[r.Op] < at[marks[i+1]] && r.At > at[marks[i]] {
				busy[i]++
			}
		}
	}
	for i, mark := range marks {
		if at[mark] == 0 {
			t.Errorf("the traffic's history has no mark %q", mark)
		}
		if i+1 < len(marks) && busy[i] == 0 {
			t.Errorf("from %s to %s there was no traffic", mark, marks[i+1])
		}
	}
}

// enough is how many revocations, and how many tokens, are wanted from green before it is left again.
const enough = 5

// livedOnGreen says whether clients have revoked and been given enough since green serves.
func (th *theatre) livedOnGreen() bool {
	var released time.Duration
	revoked, issued := 0, 0
	kinds := map[int64]traffic.Kind{}
	for _, r := range th.traffic.History().Records {
		switch {
		case r.Mark == traffic.MarkReleased:
			released = r.At
		case r.Request != nil && released > 0:
			kinds[r.Op] = r.Request.Kind
		case r.Answer != nil && r.Answer.Status/100 == 2 && kinds[r.Op].Revokes():
			revoked++
		case r.Answer != nil && r.Answer.Issued != nil && kinds[r.Op] != "":
			issued++
		}
	}
	return revoked >= enough && issued >= enough
}
