package snapshot

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A person who slows the copy down can't make it faster than the runbook lets it be, and what they ask for counts at once.
func TestPaceOfAPerson(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		runbook, person int64
		want            time.Duration // for 10 pieces
	}{
		{"nobody says anything", 0, 0, 0},
		{"the runbook", wireBuffer, 0, 9 * time.Second},
		{"a person", 0, wireBuffer / 2, 18 * time.Second},
		{"both, the person slower", wireBuffer, wireBuffer / 2, 18 * time.Second},
		{"both, the runbook slower", wireBuffer / 2, wireBuffer, 18 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPace(Pace{MaxRate: tt.runbook, Rate: func() int64 { return tt.person }})
			began := time.Now()
			for range 10 {
				if err := p.wait(t.Context(), wireBuffer); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(began).Round(time.Second); took != tt.want {
				t.Errorf("%s: took %s, want %s", tt.name, took, tt.want)
			}
		})
	}
}

func TestPaceIsHeldByAPerson(t *testing.T) {
	t.Parallel()
	stop := errors.New("stopped")
	p := newPace(Pace{Pass: func(context.Context) error { return stop }})
	if err := p.wait(t.Context(), 1); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
