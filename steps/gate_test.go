package steps

import (
	"context"
	"errors"
	"testing"
	"time"
)

// shut is a door that never opens by itself.
type shut struct{ left chan struct{} }

func (s shut) Wait(ctx context.Context, _ string) (string, error) {
	<-ctx.Done()
	close(s.left)
	return "", ctx.Err()
}

func TestGates(t *testing.T) {
	t.Parallel()
	asked := 0
	poll := Poll{Every: time.Millisecond, Approved: func(_ context.Context, step string) (string, error) {
		if asked++; asked < 3 {
			return "", nil
		}
		return "ann:" + step, nil
	}}
	left := make(chan struct{})
	by, err := Any{shut{left}, poll}.Wait(t.Context(), "cutover")
	if err != nil || by != "ann:cutover" || asked != 3 {
		t.Errorf("opened by %q after %d questions, %v", by, asked, err)
	}
	select {
	case <-left:
	default:
		t.Error("Any has returned before its doors")
	}
	broken := errors.New("the journal is down")
	if _, err := (Any{Poll{Every: time.Second, Approved: func(context.Context, string) (string, error) { return "", broken }}}).Wait(t.Context(), "x"); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, g := range []Gate{Any{}, Any{shut{make(chan struct{})}}, Poll{Every: time.Second, Approved: func(context.Context, string) (string, error) { return "", nil }}} {
		if by, err := g.Wait(ctx, "x"); by != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("%T: %q, %v", g, by, err)
		}
	}
}
